"""The picture of predictions for consecutive rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLUE, PALETTE, drawn, figure, style, tint
from portable_nn.core.text import quantity
from portable_nn.outputs.series import Columns, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS: Final = 4
"""So many quantities are drawn."""

NAMED: Final = 7
"""So many classes have colours of their own; the rest are one."""

UNCERTAIN: Final = 6.0
"""The multiple of the uncertainty of a tenth of all predictions from which on there is no line."""

GREY: Final = "#5A5A5A"
PALE: Final = "#C8C8C8"
UNKNOWN: Final = "#EFEFEF"


@style()
def sheet(series: Series, title: str = "") -> Figure:
    """Draw a series: a panel for each of up to four quantities, or the classes and their probabilities.

    A quantity is a line through the means of the columns, between their least and greatest, where a column has several
    rows; of a model that predicts normal distributions, in a band of one standard deviation either way.

    Raises:
        UsageError: no row could be predicted.
        MissingPackageError: matplotlib is missing.
    """
    columns = series.columns
    if columns is None:
        raise UsageError("there is nothing to draw: no row could be predicted")
    width = columns.total.shape[1]
    count = 2 if series.classes else min(PANELS, width // 2 if series.is_gaussian else width)
    height = 1.25 + 2.3 * count
    page = figure(11.0, height)
    page.text(0.03, 1 - 0.32 / height, drawn(title), fontsize=12.5, weight="bold", va="center")
    each = "" if columns.size == 1 else f"; each column of the picture is {columns.size:,} of them"
    page.text(0.03, 1 - 0.62 / height, f"{quantity(columns.rows, 'row')}{each}", color=GREY, fontsize=9.5, va="center")
    sides = {"left": 0.08, "right": 0.98, "top": 1 - 0.98 / height, "bottom": 0.55 / height}
    grid = page.add_gridspec(count, 1, hspace=0.3, **sides)
    panels = [page.add_subplot(grid[place]) for place in range(count)]
    if series.classes:
        _classes(panels[0], series, columns)
        _probability(panels[1], columns)
    else:
        for place, axes in enumerate(panels):
            _quantity(axes, series, columns, place)
        _legend(panels[0])
    for axes in panels:
        axes.set_xlim(-0.5, max(columns.rows - 0.5, 0.5))
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    panels[-1].set_xlabel("row, from 0")
    return page


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=8.5, ncols=5, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0)


def _quantity(axes: Axes, series: Series, columns: Columns, place: int) -> None:
    x, line = columns.places, columns.mean[:, place]
    low, high = least, greatest = [each[:, place] for each in columns.span]
    if series.is_gaussian:
        spread = columns.mean[:, columns.total.shape[1] // 2 + place]
        low, high = line - spread, line + spread
        unsure = np.isnan(line) & ~np.isnan(spread)
        unknown = unsure | (spread > UNCERTAIN * np.nanquantile(spread, 0.1))
        if unknown.any():
            edges = np.arange(len(x) + 1) * columns.size - 0.5
            whole = axes.get_xaxis_transform()
            axes.stairs(unknown, edges, fill=True, color=UNKNOWN, transform=whole, label="very uncertain")
        kept = (np.where(unknown, np.nan, each) for each in (line, least, greatest, low, high))
        line, least, greatest, low, high = kept
        axes.fill_between(x, low, high, color=BLUE, alpha=0.3, linewidth=0, label="± one predicted standard deviation")
    if columns.size > 1:
        axes.plot(x, least, color=PALE, linewidth=0.6, label="least and greatest")
        axes.plot(x, greatest, color=PALE, linewidth=0.6)
    axes.plot(x, line, color=BLUE, linewidth=1.0, label="predicted" if columns.size == 1 else "mean")
    seen = ~np.isnan(line)
    if seen.any():
        bottom, top = float(low[seen].min()), float(high[seen].max())
        margin = 0.05 * (top - bottom) or 0.5
        axes.set_ylim(bottom - margin, top + margin)
    names = series.of.quantities
    axes.set_ylabel(drawn(names[place] if names else f"value {place}"))


def _classes(axes: Axes, series: Series, columns: Columns) -> None:
    """The classes of the rows of each column, one above the other."""
    shares = np.nan_to_num(columns.mean[:, 1:])
    totals = shares.sum(axis=0)
    named = sorted(place for place in np.argsort(-totals[:-1], kind="stable")[:NAMED].tolist() if totals[place])
    others = np.delete(shares[:, :-1], named, axis=1).sum(axis=1)
    parts = [(series.classes[place], PALETTE[place % NAMED], shares[:, place]) for place in named]
    parts += [("others", GREY, others), ("unsure", PALE, shares[:, -1])]
    edges = np.arange(len(shares) + 1) * columns.size - 0.5
    below = np.zeros(len(shares))
    for name, colour, share in parts:
        if share.any():
            axes.stairs(below + share, edges, baseline=below, fill=True, color=colour, label=drawn(name))
        below = below + share
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of rows")
    _legend(axes)


def _probability(axes: Axes, columns: Columns) -> None:
    """The probability of the predicted class."""
    if columns.size > 1:
        least, greatest = (each[:, 0] for each in columns.span)
        axes.fill_between(columns.places, least, greatest, color=tint(BLUE, 0.35), linewidth=0)
    axes.plot(columns.places, columns.mean[:, 0], color=BLUE, linewidth=0.9)
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("probability")
