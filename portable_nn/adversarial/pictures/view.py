"""The part of a run, and the part of the plane, that a picture shows: a run may diverge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array

Limits: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

TOO_FAR: Final = 100.0
"""A run is shown in full up to this distance, relative to the size of the game."""

FAR: Final = 30.0
"""The distance at which a run that goes farther is cut off."""

UNIT: Final = 0.5
"""The smallest size of a game."""

MARGIN: Final = 0.08
"""The margin around a run, relative to its size."""


@dataclass(frozen=True)
class View:
    """The part of one run that is shown.

    Attributes:
        result: the run.
        t, z: the steps (n,) and points (n, d) that are shown; the last may be outside the axes.
        centre: the equilibrium nearest to the start, or the start.
        leaves: whether the run goes farther than is shown.
        whole: all recorded points.
    """

    result: Result
    t: Array
    z: Array
    centre: Array
    leaves: bool
    whole: Array

    @property
    def game(self) -> Game:
        """The game."""
        return self.result.game

    @cached_property
    def window(self) -> Limits:
        """The limits of x and of y: a square around the run, with margins."""
        extra = [self.centre[None]] if len(self.game.equilibria) else []
        if not self.leaves:
            return window_of([self.z, *extra])
        points = self.z[:-1] if len(self.z) > 1 else self.z
        return window_of([points, 2 * self.centre - points])

    @property
    def equilibria(self) -> Array:
        """Those in the window: (m, 2)."""
        return inside(self.game.equilibria, self.window)

    @property
    def words(self) -> str:
        """A note where not all is shown; else empty."""
        if not self.leaves:
            return ""
        return f"the first {self.t[-1]:,} of {self.result.t[-1]:,} steps: then it leaves the axes"


def view_of(result: Result) -> View:
    """The view of one run. Raises ``UsageError`` for many runs at once."""
    if result.z.ndim != 2:
        runs = int(np.prod(result.z.shape[1:-1]))
        raise UsageError(
            f"this picture is of one run, and the result has {runs:,}: simulate from one start at one rate, or draw "
            f"field(game, results)"
        )
    return _view(result, result.z)


def views_of(result: Result) -> list[View]:
    """The view of each run of a result."""
    runs = result.z.reshape(len(result.t), -1, result.game.size)
    return [_view(result, runs[:, run]) for run in range(runs.shape[1])]


def plane_view(result: Result) -> View:
    """The view of one run of a game in the plane. Raises ``UsageError`` for other games, and for many runs."""
    check_plane(result.game)
    return view_of(result)


def check_plane(game: Game) -> None:
    """Raise ``UsageError`` for a game that is not played in a plane."""
    if game.players != (1, 1):
        raise UsageError(
            f"this picture is of players with one number each, and in the game '{game.name}' x has {game.players[0]} "
            f"and y has {game.players[1]}: run(result) draws their variables"
        )


def has_value(game: Game) -> bool:
    """True if the vector field of a game is that of a payoff f."""
    first, at = game.players[0], game.jacobian(np.zeros(game.size))
    return not game.linear or np.allclose(at[:first, first:], -at[first:, :first].T)


def check_value(game: Game) -> None:
    """Raise ``UsageError`` for a game without a payoff f, which cannot be drawn."""
    if not has_value(game):
        raise UsageError(
            f"the game '{game.name}' is not of zero sum, so there is no f to draw: field(game, results) can"
        )


def window_of(parts: list[Array], margin: float = MARGIN) -> Limits:
    """The square around points, each part (n, 2 or more), with a margin relative to its size."""
    points = np.concatenate([part[:, :2] for part in parts])
    points = points[np.isfinite(points).all(-1)]
    low, high = points.min(axis=0), points.max(axis=0)
    half = float((high - low).max()) / 2
    half = half * (1 + 2 * margin) if half > 1e-12 * max(1.0, float(np.abs(points).max())) else UNIT
    return tuple((float(m - half), float(m + half)) for m in (low + high) / 2)  # type: ignore[return-value]


def inside(points: Array, window: Limits) -> Array:
    """Those of points (m, 2) that are in a window."""
    low, high = np.array(window).T
    return np.asarray(points[((points[:, :2] >= low) & (points[:, :2] <= high)).all(-1)])


def _view(result: Result, z: Array) -> View:
    start, equilibria = z[0], result.game.equilibria
    centre = equilibria[np.argmin(norm(equilibria - start))] if len(equilibria) else start
    # The size of a game: the distance of the start or of the other equilibria from the centre.
    size = max(UNIT, float(norm(start - centre)), float(norm(equilibria - centre).max(initial=0.0)))
    lengths = norm(z - centre)
    lengths = np.where(np.isnan(lengths), np.inf, lengths)
    if lengths.max() <= TOO_FAR * size:
        return View(result, result.t, z, centre, leaves=False, whole=z)
    end = _end(lengths, FAR * size)
    return View(result, result.t[:end], z[:end], centre, leaves=True, whole=z)


def _end(lengths: Array, limit: float) -> int:
    """The number of points up to and including the first beyond a limit, unless that is too far to draw a line to."""
    beyond = lengths > limit
    if not beyond.any():
        return len(lengths)
    first = int(np.argmax(beyond))
    return max(1, first + bool(lengths[first] < 1e6 * limit))


def within(points: Array, window: Limits) -> Array:
    """Points (n, 2) up to and including the first that is well outside a window."""
    low, high = np.array(window).T
    lengths = norm(points - (low + high) / 2)
    return points[: _end(np.where(np.isnan(lengths), np.inf, lengths), 2 * float((high - low).max()))]
