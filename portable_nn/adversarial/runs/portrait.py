"""Phase portraits: the vector field of a game on a grid, and trajectories from several starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.options import Option, finite_array
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import Method
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.simulation import STEPS, simulate
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array

STARTS: Final = ((0.6, 0.7), (-1.2, 0.4), (0.3, -1.5))
"""The default starts of the trajectories."""

GRID: Final = 21
"""The default number of grid points along each side."""

REACH: Final = 2.0
"""The default half-width of the grid."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A game of two variables on a grid (n, n), and trajectories.

    Attributes:
        x, y: the points of the grid.
        value: f there, (n, n).
        flow: the direction of the players, -F = (∂f/∂x, -∂f/∂y), (n, n, 2).
        ascent: the gradient of f, (∂f/∂x, ∂f/∂y), (n, n, 2).
        results: a run for each start.
    """

    game: Game
    x: Array
    y: Array
    value: Array
    flow: Array
    ascent: Array
    results: tuple[Result, ...]


def portrait(
    game: Any = "bilinear",
    method: str | Method = "simultaneous",
    starts: object = None,
    learning_rate: Any = 0.1,
    steps: int = STEPS,
    *,
    grid: int = GRID,
    reach: float = REACH,
    **arguments: Any,
) -> Portrait:
    """The vector field of a game of two variables on a grid, and a run from each start.

    Args:
        game, method, learning_rate, steps, arguments: as in ``simulate``.
        starts: points (m, 2); by default ``STARTS``.
        grid: points along each side.
        reach: the grid covers [-reach, reach] in x and y.

    Raises ``UsageError`` for a game of more than two variables.
    """
    found = find_game(game)
    if found.size != 2:
        raise UsageError(
            f"the field can be shown of a game of two numbers; '{found.name}' has {found.size}: {found.players[0]} of "
            f"x and {found.players[1]} of y"
        )
    count = int(Option(GRID, "grid", 2, 1000, whole=True).check("grid", grid))
    limit = finite_array("reach", reach, "a number above 0")
    if limit.ndim or limit <= 0:
        raise UsageError(f"reach must be a number above 0, not {reach!r}")
    places = np.linspace(-limit, limit, count)
    x, y = np.meshgrid(places, places)
    points = np.stack([x, y], axis=-1)
    wanted = "points of 2 numbers, one for each run"
    begin = np.atleast_2d(finite_array("starts", STARTS if starts is None else starts, wanted))
    if begin.ndim != 2 or begin.shape[1] != 2 or not begin.size:
        raise UsageError(f"starts must be {wanted}; their shape is {begin.shape}")
    results = tuple(simulate(found, method, point, learning_rate, steps, **arguments) for point in begin)
    with np.errstate(all="ignore"):
        flow, value = 0.0 - found.field(points), found.value(points) + 0.0  # No zeros with a sign.
    return Portrait(found, x, y, value, flow, flow * [1, -1] + 0.0, results)
