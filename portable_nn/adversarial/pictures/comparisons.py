"""The distance to the equilibrium against gradient evaluations, of several methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.adversarial.pictures.labels import COLOURS, Label, axes_at, grouped, room, write
from portable_nn.adversarial.pictures.paper import (
    THEORY,
    Axes,
    Figure,
    Look,
    distance_in_words,
    drawable,
    frame,
    game_in_words,
    legend_line,
    powers,
    rate_in_words,
    sheet,
)
from portable_nn.adversarial.pictures.trajectories import steps_axis
from portable_nn.adversarial.runs.comparison import Compared, Comparison
from portable_nn.adversarial.runs.verdict import FALLING, GROWING, WORDS, factor_text
from portable_nn.core.plotting import style
from portable_nn.operators import Array

DASHES: Final = ("solid", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
"""The lines of the first seven curves, of the next seven, and so on."""
LINE: Final[Look] = {"linewidth": 2.4, "zorder": 4}
LOWEST, HIGHEST = 1e-12, 1e6
"""The range of distances, relative to the first, that is shown: beyond it, all others would look alike."""
ALIKE: Final = 1 / 1000
"""Curves are equal in a picture up to this share of its height: less than a line's width."""
GRID: Final = 400
"""The number of places at which curves are compared."""
WIDTH: Final = 5.4
LEFT, BELOW, ABOVE = 0.9, 0.75, 0.95
"""Inches of the axes, and around them."""


@style()
def comparison(compared: Comparison) -> Figure:
    """The distance to the nearest equilibrium, or ‖F‖ where none is known, against gradient evaluations.

    There is a curve for each method, with its own colour and dashes and a label at its end; curves that are equal, with
    equal verdicts, have one label. A thin dashed line is the spectral radius on a linear game.
    """
    lines = {entry.name: drawable(entry.result.lengths) for entry in compared.entries}
    start = next((line[0] for line in lines.values() if np.isfinite(line[0])), 1.0)
    clipped = {name: np.clip(line, LOWEST * start, HIGHEST * start) for name, line in lines.items()}
    groups = equal_curves(compared, clipped)
    looks = [
        {"color": COLOURS[place % 7], "linestyle": DASHES[place // 7 % len(DASHES)], **LINE}
        for place in range(len(groups))
    ]
    needed = room([Label(_words(group), None, {}) for group in groups])
    words = f"{compared.evaluations:,} gradient evaluations each, {rate_in_words(compared.entries[0].result)}"
    height = max(4.0, needed)
    paper = sheet(11.8, height + BELOW + ABOVE, [game_in_words(compared.game), words])
    axes = axes_at(paper, LEFT, BELOW, WIDTH, height)
    for group, look in zip(groups, looks, strict=True):
        for entry in group:
            axes.plot(entry.evaluations, lines[entry.name], gid=entry.name, **look)
    powers(axes, np.concatenate([*clipped.values()]))
    steps_axis(axes, np.array([compared.evaluations]))
    if len(compared.game.equilibria) and compared.game.linear:
        for entry in compared.entries:
            _theory(axes, entry, lines[entry.name])
    if not any(np.isfinite(line).any() for line in lines.values()):
        axes.text(0.5, 0.5, "0 at every step", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
    words = "gradient evaluations (a Jacobian-vector product counts as one)"
    frame(axes, "", words, distance_in_words(compared.game), grid="y")
    both = zip(groups, looks, strict=True)
    write(axes, [Label(_words(group), _end(axes, group[0], lines), look) for group, look in both])
    return paper


def equal_curves(compared: Comparison, lines: dict[str, Array]) -> list[list[Compared]]:
    """The entries of a comparison; those whose curves cannot be told apart and whose verdicts are equal together."""
    at = np.linspace(0, compared.evaluations, GRID)
    logs = {e.name: np.log10(np.interp(at, e.evaluations, lines[e.name], right=np.nan)) for e in compared.entries}
    every = np.concatenate([*logs.values()])
    every = every[np.isfinite(every)]
    nearest = ALIKE * max(float(np.ptp(every)) if every.size else 0.0, 1e-9)

    def alike(one: Compared, other: Compared) -> bool:
        first, own = logs[one.name], logs[other.name]
        both = np.isfinite(first) & np.isfinite(own)
        whole = both.mean() > 0.9 or not (np.isfinite(first).any() or np.isfinite(own).any())
        same = whole and bool((np.abs(first - own)[both] <= nearest).all())
        return same and one.verdict.status == other.verdict.status

    return grouped(compared.entries, alike)


def _words(group: Sequence[Compared]) -> str:
    """The names of equal curves, their verdict and their factors."""
    verdict = group[0].verdict
    names = ", ".join(entry.name for entry in group)
    known = [entry.per_evaluation for entry in group if np.isfinite(entry.measured)]
    factors = ""
    if verdict.status in FALLING | GROWING and known:
        both = dict.fromkeys(factor_text(factor) for factor in (min(known), max(known)))
        factors = f", {' to '.join(both)} per gradient"
    return f"{names}: {WORDS[verdict.status]}{factors}"


def _end(axes: Axes, entry: Compared, lines: dict[str, Array]) -> tuple[float, float] | None:
    """The point where a curve ends, or leaves the axes for good; ``None`` where there is none."""
    line, (low, high) = lines[entry.name], axes.get_ylim()
    known = np.flatnonzero(np.isfinite(line))
    if len(known) < 2:
        return None
    seen = known[(line[known] >= low) & (line[known] <= high)]
    last = int(known[-1] if not len(seen) else min(known[-1], seen[-1] + 1))
    return float(entry.evaluations[last]), float(np.clip(line[last], low, high))


def _theory(axes: Axes, entry: Compared, lengths: Array) -> None:
    """The line of the theoretical convergence factor, from the start; the first has an entry in the legend."""
    factor = entry.forecast.factor
    if factor is None:
        return
    with np.errstate(all="ignore"):
        line = lengths[0] * factor ** entry.result.t.astype(float)
    look = {**THEORY, "linewidth": 0.8, "linestyle": (0, (1, 2.5))}
    axes.plot(entry.evaluations, drawable(line), gid=f"theory of {entry.name}", **look)
    axes.legend(
        handles=[legend_line(label="theory", **look)],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        frameon=False,
        fontsize=9,
    )
