"""An overview of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portable_nn.adversarial.pictures.paper import heading, parts_of, sheet
from portable_nn.adversarial.pictures.payoffs import above_on
from portable_nn.adversarial.pictures.trajectories import coordinates_on, distance_on, orbit_on
from portable_nn.adversarial.pictures.view import has_value, view_of
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.plotting import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style()
def run(result: Result) -> Figure:
    """A run with its verdict: the payoff, the trajectory, and the iterates and the distance over the steps.

    A game of more than two variables has only the latter two; a game without a payoff all but the first.

    Raises ``UsageError`` for many runs at once.
    """
    view = view_of(result)
    if view.game.players != (1, 1):
        paper = sheet(11, 4.9, heading(result))
        parts = parts_of(paper, 1, 2)
    else:
        paper = sheet(11, 10.4, heading(result))
        first, second, *parts = parts_of(paper, 2, 2, height_ratios=(1.35, 1), width_ratios=(1.12, 1))
        orbit_on(second.add_subplot(), view)
        if has_value(view.game):
            above_on(first.add_subplot(), view)
    coordinates_on(parts[0].add_subplot(), view)
    distance_on(parts[1].add_subplot(), view)
    return paper
