"""How much of a run a picture shows, and of which plane: a run may go to the end of all numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from portable_nn.adversarial.game import Game, norm
from portable_nn.adversarial.result import Result
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

Window: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

TOO_FAR: Final = 100.0
"""How far from where it plays, beside its size, a run may go and all of it be shown."""

FAR: Final = 30.0
"""Where a run leaves the picture that goes farther still."""

UNIT: Final = 0.5
"""The size of a game about which nothing else is known: its functions bend at 1 or so."""

MARGIN: Final = 0.08
"""What is left free around a run, beside its size."""


@dataclass(frozen=True)
class View:
    """One run as far as it is shown: the steps ``t`` (n,) and points ``z`` (n, d), the last of which may be outside.

    ``centre`` is what it is seen from: the equilibrium nearest to the start, or the start. ``leaves`` tells whether the
    run goes on where no picture can follow; ``whole`` (all kept steps, d) is all of it.
    """

    result: Result
    t: Array
    z: Array
    centre: Array
    leaves: bool
    whole: Array

    @property
    def game(self) -> Game:
        """What is played."""
        return self.result.game

    @cached_property
    def window(self) -> Window:
        """The square of the plane in which the run is, with what is free around it: its sides of x and of y."""
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
        """What is to be said where not all is shown; else nothing."""
        if not self.leaves:
            return ""
        return f"the first {self.t[-1]:,} of {self.result.t[-1]:,} steps: then it leaves the picture"


def view_of(result: Result) -> View:
    """One run as far as it can be shown. Raises ``UsageError`` for many runs at once."""
    if result.z.ndim != 2:
        runs = int(np.prod(result.z.shape[1:-1]))
        raise UsageError(
            f"this picture is of one run, and the result has {runs:,}: simulate from one start at one rate, or draw "
            f"field(game, results)"
        )
    return _view(result, result.z)


def views_of(result: Result) -> list[View]:
    """Each run of a result as far as it can be shown."""
    runs = result.z.reshape(len(result.t), -1, result.game.size)
    return [_view(result, runs[:, run]) for run in range(runs.shape[1])]


def plane_view(result: Result) -> View:
    """One run of a game in the plane. Raises ``UsageError`` for other games, and for many runs."""
    check_plane(result.game)
    return view_of(result)


def check_plane(game: Game) -> None:
    """Raise ``UsageError`` for a game that is not played in a plane."""
    if game.players != (1, 1):
        raise UsageError(
            f"this picture is of players with one number each, and in the game '{game.name}' x has {game.players[0]} "
            f"and y has {game.players[1]}: run(result) draws what there is to see of them"
        )


def check_value(game: Game) -> None:
    """Raise ``UsageError`` for a game whose field does not come from one function f, so that f cannot be drawn."""
    first, at = game.players[0], game.jacobian(np.zeros(game.size))
    if game.linear and not np.allclose(at[:first, first:], -at[first:, :first].T):
        raise UsageError(
            f"the game '{game.name}' is not of zero sum, so there is no f to draw: field(game, results) can"
        )


def window_of(parts: list[Array]) -> Window:
    """The square around points, each part (n, 2 or more), with room."""
    points = np.concatenate([part[:, :2] for part in parts])
    points = points[np.isfinite(points).all(-1)]
    low, high = points.min(axis=0), points.max(axis=0)
    half = float((high - low).max()) / 2
    half = half * (1 + 2 * MARGIN) if half > 1e-12 * max(1.0, float(np.abs(points).max())) else UNIT
    return tuple((float(m - half), float(m + half)) for m in (low + high) / 2)  # type: ignore[return-value]


def inside(points: Array, window: Window) -> Array:
    """Those of points (m, 2) that are in a window."""
    low, high = np.array(window).T
    return np.asarray(points[((points[:, :2] >= low) & (points[:, :2] <= high)).all(-1)])


def _size(game: Game, start: Array, centre: Array) -> float:
    """How large what is going on is at the beginning: the start's distance, or that of the equilibria."""
    others = norm(game.equilibria - centre) if len(game.equilibria) else np.zeros(1)
    return max(UNIT, float(norm(start - centre)), float(others.max()))


def _view(result: Result, z: Array) -> View:
    game, start = result.game, z[0]
    equilibria = game.equilibria
    centre = equilibria[np.argmin(norm(equilibria - start))] if len(equilibria) else start
    size = _size(game, start, centre)
    lengths = norm(z - centre)
    lengths = np.where(np.isnan(lengths), np.inf, lengths)
    if lengths.max() <= TOO_FAR * size:
        return View(result, result.t, z, centre, leaves=False, whole=z)
    end = _end(lengths, FAR * size)
    return View(result, result.t[:end], z[:end], centre, leaves=True, whole=z)


def _end(lengths: Array, limit: float) -> int:
    """How many points there are up to the first beyond a limit, and with it, unless it is too far for a line there."""
    beyond = lengths > limit
    if not beyond.any():
        return len(lengths)
    first = int(np.argmax(beyond))
    return max(1, first + bool(lengths[first] < 1e6 * limit))


def within(points: Array, window: Window) -> Array:
    """Points (n, 2) up to the first that is well outside a window, and with it: what can be drawn there."""
    low, high = np.array(window).T
    lengths = norm(points - (low + high) / 2)
    return points[: _end(np.where(np.isnan(lengths), np.inf, lengths), 2 * float((high - low).max()))]
