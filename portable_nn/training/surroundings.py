"""The surroundings of a training loop: metrics in a CSV file, Ctrl-C, and a progress bar."""

from __future__ import annotations

import csv
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

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


class Bar:
    """No progress is shown."""

    def step(self) -> None:
        """A batch is done."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is done."""


class Lines(Bar):
    """A line on stderr for each epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print it."""
        print(epoch_line(row, self.epochs), file=sys.stderr, flush=True)


def epoch_line(row: Mapping[str, float], epochs: int) -> str:
    """``epoch 3 of 10  loss 0.1234  val_loss 0.2345``."""
    figures = [f"{name} {value:.4g}" for name, value in row.items() if name not in {"epoch", "learning_rate"}]
    return "  ".join([f"epoch {int(row['epoch']):>{len(str(epochs))}} of {epochs}", *figures])


@contextmanager
def progress_bar(
    progress: bool | None, epochs: int, batches: int, done: int = 0, *, lines: bool = True
) -> Iterator[Bar]:
    """The epochs on stderr, from the batch after ``done`` on: they stay above a bar, which goes on with the batches.

    ``None`` shows the bar where stderr is a terminal, and the epochs alone elsewhere, or nothing without ``lines``.
    """
    if progress is False:
        yield Bar()
        return
    if progress is None and not sys.stderr.isatty():
        yield Lines(epochs) if lines else Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with Progress(*columns, console=console) as display:
        task = display.add_task("training", total=epochs * batches, completed=done)

        class Shown(Bar):
            def __init__(self) -> None:
                self.pending = 0

            def step(self) -> None:
                self.pending += 1
                if self.pending % 16 == 0:
                    display.advance(task, 16)

            def epoch(self, row: Mapping[str, float]) -> None:
                display.console.print(epoch_line(row, epochs))
                display.update(task, completed=int(row["epoch"]) * batches)
                self.pending = 0

        yield Shown()
