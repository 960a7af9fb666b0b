"""How far a long run is, on standard error."""

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
    begun: tuple[float, int] | None = None
    last = time.monotonic()

    def show(done: int, total: int | None) -> None:
        nonlocal begun, last
        now = time.monotonic()
        begun = begun or (now, done)
        if now - last < LINES:
            return
        last = now
        rate = (done - begun[1]) / max(now - begun[0], 1e-9)
        left = f" of {total:,} {what}, {(total - done) / rate:,.0f} s left" if total and rate else f" {what}"
        print(f"{done:,}{left}", file=sys.stderr, flush=True)

    return show


@contextmanager
def _bar(what: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task(what, total=None)
        yield lambda done, total: display.update(task, completed=done, total=total)
