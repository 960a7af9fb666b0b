"""The surroundings of a training loop: metrics in a CSV file, and Ctrl-C."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from portable_nn.core.atomic import reserve
from portable_nn.core.errors import FileError

Write: TypeAlias = Callable[[Mapping[str, float]], None]
"""Takes the row of an epoch."""


@contextmanager
def csv_rows(path: str | Path | None, rows: Iterable[Mapping[str, float]] = ()) -> Iterator[Write]:
    """Write ``rows`` and then each further row to a CSV file, whose columns are those of the first row.

    Raises ``FileError`` where the file cannot be opened.
    """
    if path is None:
        yield lambda row: None
        return
    try:  # Not around the block that uses it, whose errors have other causes.
        reserve(path)
        opened = Path(path).open("w", newline="", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise FileError(path, f"the metrics cannot be written: {error.strerror}") from error
    with opened as file:
        writer: csv.DictWriter[str] | None = None

        def write(row: Mapping[str, float]) -> None:
            nonlocal writer
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()

        for row in rows:
            write(row)
        yield write


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; a second one raises as usual.

    Only the main thread can; and where the process is to ignore Ctrl-C (as behind ``nohup``), it still does.
    """
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in {None, signal.SIG_IGN}:
        yield stop
        return

    def note(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
