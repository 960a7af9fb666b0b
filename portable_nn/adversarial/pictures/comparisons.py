"""The distance to the equilibrium against gradient evaluations, of several methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.pictures.paper import (
    MEASURED,
    THEORY,
    distance_in_words,
    drawable,
    game_in_words,
    legend_line,
    powers,
    rate_in_words,
    sheet,
)
from portable_nn.adversarial.pictures.trajectories import steps_axis
from portable_nn.adversarial.runs.comparison import Compared, Comparison
from portable_nn.adversarial.runs.verdict import GROWING, SUCCESSES, WORDS, factor_text
from portable_nn.core.plotting import PALETTE, style
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES: Final = ("solid", (0, (6, 1.5)), (0, (2, 1)), (0, (7, 1.5, 1.5, 1.5)))
"""The lines of the first eight methods, of the next eight, and so on."""
LOWEST, HIGHEST = 1e-12, 1e6
"""The range of distances, relative to the first, that is shown: beyond it, all others would look alike."""


@style()
def comparison(compared: Comparison) -> Figure:
    """The distance to the nearest equilibrium, or ‖F‖ where none is known, against gradient evaluations.

    There is a line for each method, and a dashed one for its spectral radius on a linear game. The legend is ranked.
    """
    known = len(compared.game.equilibria) > 0
    words = f"{compared.evaluations:,} gradient evaluations each, {rate_in_words(compared.results[0])}"
    paper = sheet(11, max(5.6, 1.4 + 0.27 * len(compared.entries)), [game_in_words(compared.game), words])
    axes = paper.add_subplot()
    lines = {entry.name: drawable(entry.result.lengths) for entry in compared.entries}
    for place, entry in enumerate(compared.entries):
        look = {"color": PALETTE[place % 8], "linestyle": DASHES[place // 8 % 4], **MEASURED}
        axes.plot(entry.evaluations, lines[entry.name], label=_label(entry), gid=entry.name, **look)
    start = next((line[0] for line in lines.values() if np.isfinite(line[0])), 1.0)
    powers(axes, np.clip(np.concatenate([*lines.values()]), LOWEST * start, HIGHEST * start))
    if known and compared.game.linear:
        for entry in compared.entries:
            _theory(axes, entry, lines[entry.name])
    axes.set(
        xlabel="gradient evaluations (a Jacobian-vector product counts as one)",
        ylabel=distance_in_words(compared.game),
    )
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    steps_axis(axes, np.array([compared.evaluations]))
    _legend(axes, compared)
    return paper


def _label(entry: Compared) -> str:
    verdict = entry.verdict
    factor = (
        ""
        if verdict.status not in SUCCESSES | GROWING or not np.isfinite(entry.measured)
        else (f", {factor_text(entry.per_evaluation)} per gradient")
    )
    return f"{entry.name}: {WORDS[verdict.status]}{factor}"


def _theory(axes: Any, entry: Compared, lengths: Array) -> None:
    """The line of the theoretical convergence factor, from the start."""
    factor = entry.forecast.factor
    if factor is None:
        return
    with np.errstate(all="ignore"):
        line = lengths[0] * factor ** entry.result.t.astype(float)
    axes.plot(entry.evaluations, drawable(line), gid=f"theory of {entry.name}", **THEORY)


def _legend(axes: Any, compared: Comparison) -> None:
    order = [entry.name for entry in compared.ranked]
    handles, labels = axes.get_legend_handles_labels()
    ranked = sorted(zip(handles, labels, strict=True), key=lambda pair: order.index(pair[0].get_gid()))
    drawn = [handle for handle, _ in ranked]
    if any(str(line.get_gid()).startswith("theory") for line in axes.lines):
        drawn.append(legend_line(label="theory", **THEORY))
    axes.legend(
        handles=drawn, loc="upper left", bbox_to_anchor=(1.01, 1.01), frameon=False, fontsize=9, labelspacing=0.6
    )
