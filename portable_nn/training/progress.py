"""The progress of a training: a bar in a terminal, a bar of HTML in a notebook, and lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from portable_nn.core.html import html_table
from portable_nn.core.text import grouped, quantity

SECONDS: Final = 0.25
"""The time that a bar stands at least, so that the page is not redrawn at each batch."""

FEW: Final = 20
"""The lines, at most, that epochs have where there is no bar; the first has one more."""

MEASURED, LONG = 2.0, 40.0
"""Seconds: by so many steps the time of a training is told, and a shorter training is not worth a line."""

SHOWN: Final = 10
"""The epochs, the last ones, that stand below the bar."""


class Page:
    """HTML for ``IPython.display.display``."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return self.html


def notebook() -> Callable[[str], None] | None:
    """The function that shows HTML in the output of the running cell, and replaces what it has shown; ``None`` outside
    of notebooks.

    IPython is not imported: where a notebook runs, it is there.
    """
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):  # A terminal has IPython too, but no kernel.
        return None
    handles: list[Any] = []

    def show(html: str) -> None:
        if handles:
            handles[0].update(Page(html))
        else:
            handles.append(ipython.display.display(Page(html), display_id=True))

    return show


class Bar:
    """No progress is shown."""

    def step(self) -> None:
        """A batch is done."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is done."""


class Lines(Bar):
    """A line on stderr for each epoch, or, of more than ``FEW``, for the first, some between, and the last.

    Before them, a training that takes longer has a line with its ``steps`` and the time that they may take.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs, self.every, self.row = epochs, -(-epochs // FEW), dict[str, float]()
        self.steps, self.done, self.begun = steps, 0, 0.0

    def step(self) -> None:
        """Say how long it takes, as soon as that is known."""
        now = time.monotonic()
        if not self.done:  # The time of the first step is that of compiling.
            self.begun = now
        elif self.steps and now - self.begun >= MEASURED:
            left = (now - self.begun) / self.done * self.steps
            if left >= LONG:
                print(f"{quantity(self.steps, 'step')}, about {left / 60:,.0f} min", file=sys.stderr, flush=True)
            self.steps = 0
        self.done += 1

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print it, or keep it for the end."""
        self.row = {**row}
        if row["epoch"] == 1 or row["epoch"] % self.every == 0:
            self.end()

    def end(self) -> None:
        """Print the last epoch, unless it has been."""
        if self.row:
            print(epoch_line(self.row, self.epochs), file=sys.stderr, flush=True)
            self.row = {}


def epoch_line(row: Mapping[str, float], epochs: int) -> str:
    """``epoch 3 of 10  loss 0.1234  val_loss 0.2345``."""
    figures = [f"{name} {grouped(value, 4)}" for name, value in row.items() if name not in {"epoch", "learning_rate"}]
    return "  ".join([f"epoch {int(row['epoch']):>{len(str(epochs))}} of {epochs}", *figures])


class NotebookBar(Bar):
    """The bar of a training: ``step`` after each batch, ``epoch`` with the metrics of each epoch."""

    def __init__(self, show: Callable[[str], None], epochs: int, batches: int, done: int) -> None:
        self._show, self.epochs, self.batches, self.done = show, epochs, batches, done
        self.rows: list[Mapping[str, float]] = []
        self.count = 0
        self.shown = 0.0
        self.show()

    def step(self) -> None:
        """A batch is done."""
        self.done += 1
        if time.monotonic() - self.shown >= SECONDS:
            self.show()

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is done."""
        self.rows = [*self.rows, row][-SHOWN:]
        self.count = int(row["epoch"])
        self.done = self.count * self.batches
        self.show()

    def show(self) -> None:
        """Show how it stands."""
        total = max(1, self.epochs * self.batches)
        title = f"{self.count:,} of {quantity(self.epochs, 'epoch')}"
        bar = f'<progress value="{min(self.done, total)}" max="{total}" style="width: 20em"></progress>'
        headings = [f">{name}" for name in self.rows[0]] if self.rows else []
        cells = [[f"{value:.6g}" for value in row.values()] for row in self.rows]
        self._show(f"<div>{bar}{html_table(title, headings, cells)}</div>")
        self.shown = time.monotonic()


@contextmanager
def progress_bar(
    progress: bool | None, epochs: int, batches: int, done: int = 0, *, lines: bool = True
) -> Iterator[Bar]:
    """The epochs on stderr, from the batch after ``done`` on: they stay above a bar, which goes on with the batches.

    ``None`` shows the bar where stderr is a terminal, and the epochs alone elsewhere, or nothing without ``lines``. A
    notebook has both in the output of its cell.
    """
    if progress is False:
        yield Bar()
        return
    if show := notebook():
        bar = NotebookBar(show, epochs, batches, done)
        yield bar
        bar.show()
        return
    if progress is None and not sys.stderr.isatty():
        shown = Lines(epochs, epochs * batches - done)
        try:
            yield shown if lines else Bar()
        finally:
            shown.end()
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
