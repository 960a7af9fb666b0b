"""The sheet of an evaluation: the confusion matrix or the scatter, the calibration, and the worst pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.core.plotting import BLUE, GREEN, ORANGE, VERMILLION, drawn, figure, style, tint
from portable_nn.core.text import percent, quantity
from portable_nn.evaluation.intervals import LEAST, of_mean
from portable_nn.evaluation.results import ClassEvaluation, NumberEvaluation, NumberFigures
from portable_nn.evaluation.worst import Worst
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY: Final = "#5A5A5A"
PALE: Final = "#C8C8C8"

NAMED: Final = 30
"""So many classes have their names at the matrix, ..."""
COUNTED: Final = 15
"""... and so many the counts in its cells."""

CELLS: Final = 150
"""So many cells of the matrix are drawn side by side; of more, the largest of several."""

PANELS: Final = 4
"""So many of several numbers are drawn."""

ACROSS: Final = 10
"""Pictures in a row."""

LONGEST: Final = 14
"""Characters of a name."""

FONT: Final = 7.5
CAPTION: Final = 72.0
"""Points: the size of the letters above a picture, and the width of their lines, which are at most 75 apart."""

WIDTH: Final = 11.0
SIDE: Final = 5.05
TOP: Final = 0.9
CELL: Final = 1.05
"""Inches: of the sheet, of a square panel with its labels, of the title, and of a picture with its line of text."""

RARE: Final = 0.005
"""The share of predictions at either end that may lie beyond the axes, where they would squash the others."""

SQUASHED: Final = 1.5
"""How many times as long the axes would be with them."""


@style()
def sheet(found: ClassEvaluation | NumberEvaluation, title: str = "") -> Figure:
    """Draw an evaluation; ``title`` names the model and the data. Raises ``MissingPackageError`` without matplotlib."""
    if isinstance(found, NumberEvaluation):
        return _number_sheet(found, title)
    seen = [each for each in found.worst if each.x is not None]
    pictures = [each for each in seen if each.predicted != each.expected]
    below = math.ceil(len(pictures) / ACROSS) * CELL + 0.55 if seen else 0.0
    height = TOP + SIDE + below
    sheet = figure(WIDTH, height)
    low, high = found.accuracy_interval
    _title(
        sheet,
        height,
        title,
        f"{quantity(found.examples, 'example')}, accuracy {percent(found.accuracy)} "
        f"({percent(low)} to {percent(high)}), loss {found.loss:.3g}, mean F1 {found.f1:.3g}"
        + ("" if found.auc is None else f", ROC AUC {found.auc:.4g}"),
    )
    _matrix(_axes(sheet, height, 1.15, TOP + 0.5, 4.0, 4.0), found)
    _reliability(sheet, height, found)
    for place, each in enumerate(pictures):
        left = 0.35 + place % ACROSS * (WIDTH - 0.5) / ACROSS
        top = TOP + SIDE + 0.5 + place // ACROSS * CELL
        _thumbnail(_axes(sheet, height, left, top, 0.8, 0.72), each)
    if seen:
        text = "The worst, as the network gets them: right class, and what it was taken for"
        if not pictures:
            text = "All are right" if found.accuracy == 1 else "Those with the largest losses are right"
        sheet.text(0.35 / WIDTH, 1 - (TOP + SIDE + 0.12) / height, text, fontsize=9.5, va="center")
    return sheet


def _axes(sheet: Figure, height: float, left: float, top: float, wide: float, tall: float) -> Axes:
    """Axes at a place in inches, from the left and from the top."""
    return sheet.add_axes((left / WIDTH, 1 - (top + tall) / height, wide / WIDTH, tall / height))


def _title(sheet: Figure, height: float, title: str, line: str) -> None:
    sheet.text(0.35 / WIDTH, 1 - 0.32 / height, drawn(title), fontsize=12.5, weight="bold", va="center")
    sheet.text(0.35 / WIDTH, 1 - 0.62 / height, line, fontsize=9.5, va="center", color=GREY)


def _short(text: str) -> str:
    return drawn(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _matrix(axes: Axes, found: ClassEvaluation) -> None:
    """The confusion matrix, coloured by the share of each row: right ones blue, the others vermillion."""
    from matplotlib.colors import to_rgb

    count = len(found.classes)
    support = np.maximum(found.confusion.sum(axis=1, keepdims=True), 1)
    shares = np.sqrt(found.confusion / support)  # Few wrong ones among many right ones are what is looked for.
    right = np.eye(count, dtype=bool)
    colours = np.ones((1, 1, 3))
    for colour, where in ((BLUE, right), (VERMILLION, ~right)):
        strength = 0.85 * _pooled(np.where(where, shares, 0))[:, :, np.newaxis]
        colours = colours * (1 - strength * (1 - np.array(to_rgb(colour))))
    axes.imshow(colours, interpolation="nearest", extent=(-0.5, count - 0.5, count - 0.5, -0.5))
    axes.set_xlabel("taken for", labelpad=4)
    axes.set_ylabel("class", labelpad=4)
    axes.spines[["top", "right"]].set_visible(True)
    if count <= NAMED:
        size = min(9.0, 130 / count)
        names = [_short(each.name) for each in found.classes]
        long = max(map(len, names)) * size * 0.0095 > 4.0 / count  # Inches, with a little space.
        axes.set_xticks(range(count), names, fontsize=size, rotation=90 if long else 0)
        axes.set_yticks(range(count), names, fontsize=size)
        axes.tick_params(length=0)
    if count <= COUNTED:
        longest = max(len(f"{found.confusion.max():,}"), 2)
        size = min(10.0, 4.0 * 72 / count / longest * 1.35)
        for row, column in zip(*np.nonzero(found.confusion), strict=True):
            dark = row == column and shares[row, column] > 0.6
            text = f"{found.confusion[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")


def _pooled(shares: Array) -> Array:
    """The largest shares in blocks of neighbouring classes, where there are too many classes to see each cell."""
    size = -(-len(shares) // CELLS)
    if size > 1:
        over = -len(shares) % size
        blocks = np.pad(shares, (0, over)).reshape((len(shares) + over) // size, size, -1, size)
        shares = blocks.max(axis=(1, 3))
    return shares


def _reliability(sheet: Figure, height: float, found: ClassEvaluation) -> None:
    """The accuracy of answers by their probability, and how many there are."""
    bins = found.reliability.bins
    top, left, wide = TOP + 0.5, 6.45, 4.1
    axes = _axes(sheet, height, left, top, wide, 3.0)
    middles = [each.confidence for each in bins]
    right = [each.accuracy for each in bins]
    spread = [[each.accuracy - each.interval[0] for each in bins], [each.interval[1] - each.accuracy for each in bins]]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    axes.vlines(middles, middles, right, color=ORANGE, linewidth=5, alpha=0.55, label="gap")
    axes.errorbar(
        middles, right, spread, fmt="o", color=BLUE, markersize=4.5, linewidth=1.1, capsize=2, clip_on=False,
        zorder=4, label="right answers, 95 % interval",
    )  # fmt: skip
    start = 0.0 if len(found.classes) > 2 else 0.45
    axes.set(xlim=(start, 1), ylim=(0, 1), ylabel="share that is right")
    axes.set_xticklabels([])
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.03, 0.99), ncols=3, frameon=False, fontsize=8, columnspacing=1.0,
        handlelength=1.6, handletextpad=0.5,
    )  # fmt: skip
    chance = percent(found.reliability.by_chance)
    error = f"expected calibration error {percent(found.reliability.ece)} (about {chance} by chance)"
    axes.set_title(error, fontsize=9.5, loc="left", pad=24)
    below = _axes(sheet, height, left, top + 3.12, wide, 0.88)
    widths = [each.high - each.low for each in bins]
    shares = [each.count / found.examples for each in bins]
    below.bar([each.low for each in bins], shares, widths, align="edge", color=tint(BLUE, 0.6), edgecolor="white")
    below.set(xlim=(start, 1), ylim=(0, max(shares) * 1.08), xlabel="probability of the answer", ylabel="share")
    below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    below.locator_params(axis="y", nbins=3)


def _thumbnail(axes: Axes, each: Worst) -> None:
    """A picture in a thin frame, with its class and what it was taken for above, in letters that fit."""
    from matplotlib.textpath import TextPath

    picture = drawable(each.x)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, linewidth=0.5, color=GREY)
    if picture is not None:
        axes.imshow(picture, cmap="gray", interpolation="nearest")
    lines = _short(str(each.expected)), f"as {_short(str(each.predicted))}"
    widest = max(TextPath((0, 0), line, size=FONT).get_extents().width for line in lines)
    axes.set_title("\n".join(lines), fontsize=FONT * min(1, CAPTION / max(widest, 1)), pad=2)


def drawable(x: Array | None) -> Array | None:
    """An example as a picture, ``(height, width)`` or ``(height, width, 3)`` from 0 to 1; None where it is none."""
    if x is None:
        return None
    x = x.astype(np.float64)
    side = math.isqrt(x.size)
    if x.ndim == 1 and side * side == x.size and side > 1:
        x = x.reshape(side, side)
    if x.ndim == 3 and x.shape[0] in (1, 3) and x.shape[-1] not in (1, 3):
        x = x.transpose(1, 2, 0)
    if x.ndim == 3 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[-1] != 3):
        return None
    low, high = float(x.min()), float(x.max())
    return (x - low) / (high - low if high > low else 1.0)


# -- numbers


def _number_sheet(found: NumberEvaluation, title: str) -> Figure:
    shown = found.numbers[:PANELS]
    height = TOP + SIDE * len(shown)
    sheet = figure(WIDTH, height)
    more = len(found.numbers) - len(shown)
    line = quantity(found.examples, "example") + (f"; not drawn: {quantity(more, 'number')}" if more > 0 else "")
    if len(found.sample) < found.examples:
        line += f"; {len(found.sample):,} of them, drawn at random, are shown"
    _title(sheet, height, title, f"{line}, {_figures(shown[0])}" if len(found.numbers) == 1 else line)
    for place, number in enumerate(shown):
        top = TOP + 0.35 + place * SIDE
        targets, predicted = found.sample[:, 1, place], found.sample[:, 0, place]
        _scatter(_axes(sheet, height, 1.0, top, 4.2, 4.0), number, targets, predicted)
        if len(found.numbers) > 1:
            sheet.text(0.35 / WIDTH, 1 - (top - 0.18) / height, _figures(number), fontsize=9.5, va="center")
        right = _axes(sheet, height, 6.35, top, 4.2, 4.0)
        if number.coverage:
            _coverage(right, number)
        else:
            _errors(right, number, targets, predicted)
    return sheet


def _called(number: NumberFigures, what: str) -> str:
    name = f"{what} {number.name}" if number.name else what
    return drawn(f"{name} [{number.unit}]" if number.unit else name)


def _dots(count: int) -> dict[str, Any]:
    return {"s": 9 if count > 500 else 18, "color": BLUE, "alpha": 0.3 if count > 500 else 0.6, "linewidths": 0}


def _scatter(axes: Axes, number: NumberFigures, targets: Array, predicted: Array) -> None:
    low, high = _reach(targets, predicted)
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.scatter(targets, predicted, **_dots(len(targets)))
    for marker, where in (("v", predicted < low), ("^", predicted > high)):
        edge = np.clip(predicted[where], low, high)
        axes.scatter(targets[where], edge, marker=marker, s=36, color=VERMILLION, clip_on=False, linewidths=0)
    beyond = predicted[(predicted < low) | (predicted > high)]
    if len(beyond):
        text = f"{quantity(len(beyond), 'prediction')} beyond the axes, {beyond.min():.4g} to {beyond.max():.4g}"
        axes.text(0.03, 0.97, text, transform=axes.transAxes, fontsize=8.5, color=VERMILLION, va="top")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set(xlabel=_called(number, "target"), ylabel=_called(number, "predicted"))


def _reach(targets: Array, predicted: Array) -> tuple[float, float]:
    """The ends of both axes: those of all targets and predictions, but for a few that would squash the others."""
    usual = np.concatenate([targets, np.quantile(predicted, [RARE, 1 - RARE], method="closest_observation")])
    whole = np.concatenate([targets, predicted])
    both = usual if np.ptp(whole) > SQUASHED * np.ptp(usual) else whole
    low, high = float(both.min()), float(both.max())
    pad = (high - low or 1.0) * 0.04
    return low - pad, high + pad


def _figures(number: NumberFigures) -> str:
    unit = f" {drawn(number.unit)}" if number.unit else ""
    r2 = "" if number.r2 is None else f", R² {number.r2:.4g}"
    return f"RMSE {number.rmse:.4g}{unit}, MAE {number.mae:.4g}{unit}{r2}, bias {number.bias:+.3g}{unit}"


def _errors(axes: Axes, number: NumberFigures, targets: Array, predicted: Array) -> None:
    """Errors by prediction, and their mean in ten parts of equally many examples: 0 everywhere were right."""
    errors = predicted - targets
    axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.scatter(predicted, errors, **_dots(len(errors)))
    parts = np.array_split(np.argsort(predicted, kind="stable"), 10)
    bars = []
    for part in parts:
        mean = float(errors[part].mean()) if len(part) else 0.0
        ends = of_mean(mean, errors[part], len(part), LEAST["bias"]) if len(part) else ""
        if not isinstance(ends, str):
            bars.append((float(predicted[part].mean()), mean, mean - ends[0], ends[1] - mean))
    if bars:
        middles, means, *reaches = zip(*bars, strict=True)
        axes.errorbar(
            middles, means, reaches, fmt="o", color=VERMILLION, markersize=4.5, linewidth=1.1, capsize=2, zorder=5,
            label="mean of a tenth, 95 % interval",
        )  # fmt: skip
        axes.legend(loc="upper left", frameon=False, fontsize=8.5)
    axes.set(xlabel=_called(number, "predicted"), ylabel="predicted - target")


def _coverage(axes: Axes, number: NumberFigures) -> None:
    """The share of targets in intervals that should hold some share."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    axes.plot([*number.coverage], [*number.coverage.values()], "o-", color=GREEN, clip_on=False, label="targets inside")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="share that an interval should hold", ylabel="share that it holds")
    axes.set_title("the intervals that the model predicts", fontsize=9.5, loc="left")
    axes.legend(loc="upper left", frameon=False, fontsize=8.5)
