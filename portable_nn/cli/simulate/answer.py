"""The output of the commands of ``simulate``: numbers as text, CSV, pictures, and a progress bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portable_nn.cli.drawing import draw, written
from portable_nn.cli.printing import Printer, Rows
from portable_nn.core.text import digits_are_asked, rounded

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from portable_nn.adversarial import Forecast, Game
    from portable_nn.adversarial.runs.verdict import Verdict

DASH = "-"
"""The text in the place of a number that is not known."""


def give(
    printer: Printer,
    text: str,
    data: Mapping[str, Any],
    rows: Rows,
    *,
    plot: Path | None = None,
    figure: Callable[[Any], Figure],
    frames: Callable[[Any], list[Image]] | None = None,
    html: Path | None = None,
    page: Callable[[], bytes] | None = None,
) -> None:
    """Write the pictures and the page that are asked for and print the result.

    ``figure`` and ``frames`` draw with the module ``adversarial.pictures``, which they get as their argument.
    """

    def pictures() -> Any:
        from portable_nn.adversarial import pictures

        return pictures

    made = draw(plot, lambda: figure(pictures()), lambda: frames(pictures()) if frames else None, html, page)
    text = text.rstrip("\n") + "\n"
    if made:
        text += "\n" + written(made)
    printer.result(text, {**clean(data), "files": [str(path) for _, path in made]}, lambda: map(_cells, rows()))


def _cells(row: Sequence[Any]) -> list[Any]:
    """Numbers in full precision; NaN is left empty."""
    return ["" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row]


def clean(value: Any) -> Any:
    """Data for JSON: arrays as lists, NaN as null, and infinity as "inf"."""
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
    """A factor with eight decimals, or as many as distinguish it from 1."""
    if value is None or math.isnan(value):
        return DASH
    if digits_are_asked():
        return rounded(value)
    if abs(value - 1) < 5e-9:
        return next((text for digits in (10, 12) if float(text := f"{value:.{digits}f}") != 1), "1")
    return f"{value:.8f}" if value == 0 or 1e-4 < value < 1000 else f"{value:.6g}"


def limit(value: float | None) -> str:
    """A stability limit."""
    return DASH if value is None or math.isnan(value) else rounded(value, 7)


def limit_in_words(value: float | None) -> str:
    """A stability limit with what its extremes mean; empty where it is not known."""
    meanings = {"0": " (unstable at small learning rates too)", "inf": " (stable at every learning rate)", DASH: ""}
    text = limit(value)
    return text.removesuffix(DASH) + meanings.get(text, "")


def number(value: float) -> str:
    """A number; NaN is not known."""
    return DASH if math.isnan(value) else rounded(value)


def title(game: Game) -> str:
    """The name of a game, with its formula."""
    return game.title if game.name in {game.title, "custom"} else f"{game.name}, f = {game.title}"


def options(values: Mapping[str, Any]) -> str:
    """The options of a method or a game, ``gamma=0.5 k=5``; those that are the learning rate by default say so."""
    return " ".join(f"{name}={'rate' if value is None else _option(value)}" for name, value in values.items())


def with_options(name: str, values: Mapping[str, Any]) -> str:
    """The name of a method, with its options if it has some."""
    return f"{name} ({options(values)})" if values else name


def _option(value: Any) -> str:
    """A number, or ``1,2/3,4``, as they are given."""
    if isinstance(value, (list, tuple)):
        return ("/" if isinstance(value[0], (list, tuple)) else ",").join(map(_option, value))
    return f"{value:g}"


def point(values: Iterable[float]) -> str:
    """(0.6, 0.7)."""
    return "(" + ", ".join(map(rounded, values)) + ")"


def predicted(row: Forecast) -> dict[str, Any]:
    """The forecast of a method from theory, for programs."""
    return {
        "method": row.method.name,
        "options": dict(row.options),
        "gradients_per_step": row.cost,
        "closed_form": row.closed_form,
        "spectral_radius": row.spectral_radius,
        "stability_limit": row.stability_limit,
    }


def judged(verdict: Verdict) -> dict[str, Any]:
    """A verdict, for programs."""
    return {
        "status": int(verdict.status),
        "verdict": verdict.message,
        "basis": verdict.basis,
        "reason": verdict.reason,
        "between": [verdict.low, verdict.high],
    }
