"""The progress of a long run, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

LINES: Final = 30.0
"""Seconds from one line to the next, where standard error is no terminal."""

Show: TypeAlias = Callable[[int, int | None], None]
"""Takes how many are done, and of how many, where that is known."""


@contextmanager
def counting(what: str, *, shown: bool = True) -> Iterator[Show]:
    """Show how many of ``what`` are done: as a bar in a terminal, otherwise as a line now and then."""
    if not shown:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(what) as show:
            yield show
    else:
        yield _lines(what)


def _lines(what: str) -> Show:
    last: tuple[float, int] | None = None

    def show(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        last = last or (now, done)
        if now - last[0] < LINES:
            return
        rate = (done - last[1]) / max(now - last[0], 1e-9)
        last = now, done
        left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
        of = f" of {total:,}" if total else ""
        print(f"{done:,}{of} {what}, {_speed(rate)}{left}", file=sys.stderr, flush=True)

    return show


@contextmanager
def _bar(what: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task(what, total=None, speed="")

        def show(done: int, total: int | None) -> None:
            rate = display.tasks[0].speed  # That of the last half minute.
            display.update(task, completed=done, total=total, speed="" if rate is None else _speed(rate))

        yield show


def _speed(rate: float) -> str:
    """``1,234 per second``, and of slow ones ``0.25 per second``."""
    return f"{rate:,.0f} per second" if rate >= 10 else f"{rate:.2g} per second"
