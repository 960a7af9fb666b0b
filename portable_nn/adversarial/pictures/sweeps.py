"""Methods by learning rates: measured convergence factors as colours, and stability limits as lines."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from portable_nn.adversarial.pictures.paper import (
    Axes,
    Figure,
    Look,
    colour_bar,
    diverging,
    game_in_words,
    legend_below,
    legend_line,
    sheet,
)
from portable_nn.adversarial.runs.sweeping import Sweep
from portable_nn.adversarial.runs.verdict import GROWING
from portable_nn.core.plotting import BLACK, style
from portable_nn.operators import Array

REACH: Final = 0.5
"""The distance from 1 of the strongest colours."""
FLATTER: Final = 3
"""The colour is this root of the distance of the factor from 1, as most are close to it."""
TICKS: Final = (0.5, 0.7, 0.9, 0.98, 1, 1.02, 1.1, 1.3, 1.5)
LIMIT: Final[Look] = {"color": BLACK, "linewidth": 2.4, "solid_capstyle": "butt"}
UNKNOWN: Final = "#C4C4C4"


@style()
def sweep(swept: Sweep) -> Figure:
    """Measured convergence factors, methods by learning rates: blue converges, white cycles, orange diverges.

    A black line marks the stability limit of each method, with its value.
    """
    rows = len(swept.methods)
    title = f"convergence factor per step, measured over {swept.steps:,} steps"
    paper = sheet(11, 2.3 + max(0.42 * rows, 2.2), [game_in_words(swept.game), title])
    axes = paper.add_subplot()
    edges = _edges(swept.rates)
    factors = np.where(
        np.isnan(swept.measured), np.where(np.isin(swept.status, [*GROWING]), np.inf, np.nan), swept.measured
    )
    colours = diverging().with_extremes(bad=UNKNOWN)
    shades = np.ma.masked_invalid(np.clip(factors, 1 - 2 * REACH, 1 + 2 * REACH))
    mesh = axes.pcolormesh(
        edges,
        np.arange(rows + 1) - 0.5,
        shades,
        cmap=colours,
        norm=_norm(),
        edgecolors="white",
        linewidth=0.3,
        gid="factors",
    )
    axes.set(xscale="log", xlabel="learning rate η", ylim=(rows - 0.5, -0.5), xlim=(edges[0], edges[-1]))
    axes.set_yticks(range(rows), labels=list(swept.names))
    axes.tick_params(axis="y", length=0)
    _rates_axis(axes)
    for place, limit in enumerate(swept.limits):
        _limit(axes, place, float(limit), edges)
    # The bar has the same width in pictures of all heights.
    look = {"extend": "both", "extendfrac": 0.24 / rows, "pad": 0.02, "aspect": max(18, 3.1 * rows), "format": "%g"}
    colour_bar(mesh, axes, "convergence factor per step", ticks=TICKS, **look)
    _legend(axes, bool(shades.mask.any()))
    return paper


def _edges(rates: Array) -> Array:
    """The edges of the columns, at the geometric means of neighbouring rates: (r + 1,)."""
    logs = np.log(rates)
    if len(logs) == 1:
        return np.asarray(rates[0] * np.array([0.8, 1.25]))
    middles = (logs[1:] + logs[:-1]) / 2
    ends = [2 * logs[0] - middles[0]], [2 * logs[-1] - middles[-1]]
    return np.asarray(np.exp(np.concatenate([ends[0], middles, ends[1]])))


def _norm() -> Any:
    """From factors to colours: 1 is in the middle, and small differences from it are visible."""
    from matplotlib.colors import FuncNorm

    both = (
        lambda factor: np.sign(factor - 1) * np.abs(factor - 1) ** (1 / FLATTER),
        lambda shade: 1 + np.sign(shade) * np.abs(shade) ** FLATTER,
    )
    return FuncNorm(both, vmin=1 - REACH, vmax=1 + REACH)


def _rates_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e4 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _limit(axes: Axes, place: int, limit: float, edges: Array) -> None:
    """The line at a method's stability limit, and its value; at the edge where it is 0 or infinite."""
    from matplotlib.patheffects import withStroke

    if np.isnan(limit):
        return
    words = {0.0: "0", np.inf: "∞"}.get(limit, f"{limit:.4g}")
    if edges[0] < limit < edges[-1]:
        axes.plot([limit, limit], [place - 0.5, place + 0.5], gid=f"limit {place}", **LIMIT)
    right = limit > edges[0] * (edges[-1] / edges[0]) ** 0.8
    at = float(np.clip(limit, edges[0], edges[-1]))
    axes.annotate(
        words,
        (at, place),
        (-5 if right else 5, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center_baseline",
        fontsize=8.5,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _legend(axes: Axes, gaps: bool) -> None:
    from matplotlib.patches import Patch

    handles: list[Any] = [legend_line(label="stability limit (theory)", **LIMIT)]
    handles += [Patch(color=UNKNOWN, label="not measured")] if gaps else []
    legend_below(axes, len(handles), handles)
