"""A run, and what is known of it, for the rules that say what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from portable_nn.adversarial.games.game import Game, linear_game, norm
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.runs.fitting import Fit, fit
from portable_nn.adversarial.runs.verdict import CONVERGED, CONVERGES, ELSEWHERE, Verdict, Words
from portable_nn.adversarial.theory.forecast import near_equilibrium
from portable_nn.adversarial.theory.local import Modes, Pair, is_smooth, log_radius, modes
from portable_nn.adversarial.theory.schedules import remaining
from portable_nn.operators.registry import Array

HORIZON: Final = 50
"""A verdict is on a run so many times as long."""

CLOSE: Final = 1e-9
"""The distance, relative to the first, at which a run has converged."""

ROUNDED: Final = 1e-13
"""Distances below this, relative to the norm of the equilibrium, are rounding errors."""


@dataclass(frozen=True)
class Track:
    """The points of a run (n, d) at steps (n,), their distances (n,), and why it has ended, if it has."""

    t: Array
    points: Array
    lengths: Array
    failure: str | None = None

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.t[-1])

    @property
    def finite(self) -> Array:
        """Where all is finite, (n,)."""
        return np.asarray(np.isfinite(self.points).all(-1) & np.isfinite(self.lengths))


@dataclass(frozen=True)
class Run:
    """One run, and what is known of it.

    Attributes:
        game, method, options: what was run.
        rates: those of x and y at the first step, if they are the same at all; else their base.
        later: the factors (n, 2) of the rates at steps (n,) from 1; ``None`` for a constant rate.
        noise: its standard deviation.
        track: the run.
        longer: makes a longer one, or the same where none is to be had.
        copies: makes others of that, with other noise and starts that are hardly others; or none.
    """

    game: Game
    method: Method
    options: MethodOptions
    rates: Pair
    later: Callable[[Array], Array] | None
    noise: float
    track: Track
    longer: Callable[[], Track]
    copies: Callable[[], list[Track]]

    @property
    def still(self) -> bool:
        """Whether nothing about it is random."""
        return not self.noise and not self.game.sampled

    @property
    def exact(self) -> bool:
        """Whether a step is a matrix, if the rate is constant."""
        return self.game.linear and self.method.has_operator and len(self.game.equilibria) > 0

    @cached_property
    def words(self) -> Words:
        """Makes the verdict."""
        what = "the distance" if len(self.game.equilibria) else "‖F‖"
        return Words(what, _measured(self))

    def modes(self, rates: Pair, z: Array) -> Modes | None:
        """The modes from z at constant rates."""
        return modes(self.method, self.game, rates, self.options, z - self.game.equilibria[0])

    def share(self) -> tuple[float, Pair]:
        """The larger rate, and both as shares of it."""
        top = max(self.rates) or 1.0
        return top, (self.rates[0] / top, self.rates[1] / top)

    def rate(self, t: Array) -> Array:
        """The larger rate at steps t, which must have the same factors for x and y."""
        assert self.later is not None
        factors = self.later(t)
        if not np.array_equal(factors[:, 0], factors[:, 1]):
            raise LookupError("x and y have schedules of their own")
        return np.asarray(factors[:, 0] * max(self.rates))

    def converging(self, end: Track, factor: float | None) -> Verdict:
        """It goes to the equilibrium that is nearest to the last point of a track."""
        near = bool(self.track.lengths[-1] <= CLOSE * max(1.0, float(self.track.lengths[0])))
        own = self.track if self.track.lengths[-1] < self.track.lengths[0] else end
        after = f" after {own.last:,} steps" if own.last > self.track.last else ""
        length = float(own.lengths[-1])
        status = CONVERGED if near else CONVERGES
        if self.method.anchored:
            found = self.words.make(status, f"{self.words.what} falls as 1/k, to {length:.4g}{after}")
        else:
            found = self.words.multiplied(status, factor, length, after)
        if not len(self.game.equilibria):
            return found
        point = self.game.equilibria[int(np.argmin(norm(self.game.equilibria - end.points[-1])))]
        kind = kind_of(self.game, point)
        if not kind.is_equilibrium:
            return self.words.make(ELSEWHERE, f"it converges to {in_words(point)}, where F = 0, but {kind.words}")
        return replace(found, message=f"{found.message}, {kind.words}") if kind.x_gains else found


def _measured(run: Run) -> Fit:
    """The factor per step, from the points relative to the equilibrium nearest to the last of them."""
    game, t, points = run.game, run.track.t, run.track.points
    period = run.method.period(run.options) if run.method.period else 1
    spacing = int(t[1] - t[0]) if len(t) > 1 else 1
    if len(t) > 2 and t[-1] - t[-2] != spacing:
        points = points[:-1]
    last = points[np.isfinite(points).all(-1)][-1]
    floor = 0.0
    if len(game.equilibria):
        nearest = game.equilibria[np.argmin(norm(game.equilibria - last))]
        offsets, floor = game.offset(points, nearest), ROUNDED * float(norm(nearest))
    else:
        offsets = game.field(points)
    found = fit(offsets, period // int(np.gcd(period, spacing)), floor)
    return Fit(found.factor ** (1 / spacing), found.exact)


def farthest_at_first(run: Run) -> float:
    """The largest distance of the second half of the run."""
    return float(run.track.lengths[run.track.t >= run.track.last / 2].max())


def late_lengths(run: Run, long: Track) -> Array:
    """The distances of the second half of what a verdict is on, or of all that there is of it."""
    late = long.lengths[(long.t > HORIZON * run.track.last / 2) & (long.t <= HORIZON * run.track.last)]
    return late if len(late) else long.lengths[long.t >= long.last / 2]


def local_game(game: Game, point: Array) -> Game | None:
    """The linearisation at a point; ``None`` where F has a kink."""
    return linear_game(game.jacobian(point), game.players) if is_smooth(game, point) else None


def growth_to_come(run: Run, step: int, at: Array | None = None) -> float | None:
    """The logarithm by which the distance still grows after a step, by the linearisation at an equilibrium."""
    local = near_equilibrium(run.game) if at is None else local_game(run.game, at)
    found = None if local is None else log_radius(run.method, local, run.options, run.share()[1])
    return None if found is None else remaining(found, run.rate, step)


def in_words(point: Array) -> str:
    """(0.6, 0.7)."""
    return "(" + ", ".join(f"{value:.6g}" for value in point.tolist()) + ")"
