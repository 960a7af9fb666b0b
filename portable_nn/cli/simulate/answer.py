"""How the commands of ``simulate`` answer: numbers in words, CSV, pictures, and a bar while it takes long."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portable_nn.cli.conventions import Printer
from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import check_animation, check_picture
from portable_nn.core.text import fields, size

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from portable_nn.adversarial import Forecast, Game

DASH = "-"


def check(printer: Printer, *, plot: Path | None = None, gif: Path | None = None, table: Path | None = None) -> None:
    """Find out before the work, and not after it, that the answer could not be given. Raises ``UsageError``."""
    if plot:
        check_picture(plot)
    if gif:
        check_animation(gif)
    if table and str(table) == DASH and printer.is_json:
        raise UsageError("--csv - and --format json both write to standard output: give --csv a file")


def give(
    printer: Printer,
    text: str,
    data: Mapping[str, Any],
    *,
    table: Path | None = None,
    rows: Callable[[], Iterable[Sequence[Any]]] | None = None,
    plot: Path | None = None,
    figure: Callable[[], Figure] | None = None,
    gif: Path | None = None,
    frames: Callable[[], list[Image]] | None = None,
) -> None:
    """Write the files that are wanted, and print the result; where CSV goes to standard output, say it beside."""
    drawn, moved = figure() if plot and figure else None, frames() if gif and frames else None
    made = [*_write(printer, table, rows), *_draw(plot, drawn, gif, moved)]
    text = text.rstrip("\n") + "\n"
    if made:
        text += "\n" + fields((done, f"{path} ({size(path.stat().st_size)})") for done, path in made)
    if table and str(table) == DASH:
        for line in text.splitlines():
            printer.note(line)
        return
    printer.result(text, {**clean(data), "files": [str(path) for _, path in made]})


def _write(
    printer: Printer, table: Path | None, rows: Callable[[], Iterable[Sequence[Any]]] | None
) -> Iterator[tuple[str, Path]]:
    if table is None or rows is None:
        return
    with printer.to(table) as file:
        csv.writer(file, lineterminator="\n").writerows(map(_cells, rows()))
    if str(table) != DASH:
        yield "written", table


def _cells(row: Sequence[Any]) -> list[Any]:
    """Numbers in as many digits as they have; what is no number is left empty."""
    return ["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row]


def _draw(
    plot: Path | None, drawn: Figure | None, gif: Path | None, moved: list[Image] | None
) -> Iterator[tuple[str, Path]]:
    from portable_nn.core.plotting import save, save_animation

    if plot and drawn is not None:
        save(drawn, plot)
        yield "drawn", plot
    if gif and moved is not None:
        save_animation(moved, gif)
        yield "animated", gif


def clean(value: Any) -> Any:
    """Data for JSON: arrays as lists, what is no number as null, and infinity as the word "inf"."""
    if isinstance(value, Mapping):
        return {key: clean(part) for key, part in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [clean(part) for part in value]
    if isinstance(value, complex):
        return [clean(value.real), clean(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def factor(value: float | None) -> str:
    """A factor in eight digits after the point, or in as many as tell it from 1."""
    if value is None or math.isnan(value):
        return DASH
    if abs(value - 1) < 5e-9:
        return next((text for digits in (10, 12) if float(text := f"{value:.{digits}f}") != 1), "1")
    return f"{value:.8f}" if value == 0 or 1e-4 < value < 1000 else f"{value:.6g}"


def limit(value: float | None) -> str:
    """Up to which rate the distance does not grow."""
    if value is None or math.isnan(value):
        return DASH
    return "none" if value == 0 else "any" if math.isinf(value) else f"{value:.7g}"


def limit_in_words(value: float | None) -> str:
    """The same as a part of a sentence; nothing where it is not known."""
    text = limit(value)
    return {DASH: "", "none": "no rate: it grows at small ones too", "any": "every rate"}.get(text, f"a rate of {text}")


def number(value: float) -> str:
    """A number in six digits."""
    return DASH if math.isnan(value) else f"{value:.6g}"


def title(game: Game) -> str:
    """A game by its name, with its formula."""
    return game.title if game.name in {game.title, "custom"} else f"{game.name}, f = {game.title}"


def names(game: Game) -> list[str]:
    """What the numbers of a point are called: x and y, or x0, x1, … and y0, y1, …."""
    return [
        player if count == 1 else f"{player}{place}"
        for player, count in zip("xy", game.players, strict=True)
        for place in range(count)
    ]


def point(values: Iterable[float]) -> str:
    """(0.6, 0.7)."""
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def rate_text(rate: Any) -> str:
    """A rate as it was written."""
    return f"{rate[0]:g} for x and {rate[1]:g} for y" if isinstance(rate, tuple) else f"{rate:g}"


def foretold(row: Forecast) -> dict[str, Any]:
    """What is known beforehand, for programs."""
    return {
        "method": row.method.name,
        "options": dict(row.options),
        "gradients_per_step": row.cost,
        "closed_form": row.closed_form,
        "spectral_radius": row.spectral_radius,
        "stability_limit": row.stability_limit,
    }


@contextmanager
def bar(printer: Printer, what: str) -> Iterator[Callable[[int, int], object] | None]:
    """A bar on standard error where that is a terminal; gives what is to be told how much is done, of how much."""
    if printer.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(what, total=None)
        yield lambda done, total: display.update(task, completed=done, total=total)
