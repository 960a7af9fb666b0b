"""What becomes of a run: by the eigenvalues where they decide it, else by the trend of a longer run.

Each rule returns a verdict, or ``None`` where it does not apply; the first that does has the word.
"""

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
from portable_nn.adversarial.runs.trend import Trend, trend
from portable_nn.adversarial.runs.verdict import (
    CONVERGED,
    CONVERGES,
    CYCLES,
    DIVERGES,
    ELSEWHERE,
    FAILED,
    OVERFLOWED,
    STAYS,
    Verdict,
    Words,
)
from portable_nn.adversarial.theory.forecast import near_equilibrium
from portable_nn.adversarial.theory.local import Modes, Pair, is_smooth, limit_radius, log_radius, modes
from portable_nn.adversarial.theory.schedules import remaining
from portable_nn.adversarial.theory.updates import radii
from portable_nn.operators.registry import Array

HORIZON: Final = 50
"""A verdict is on a run so many times as long."""

CLOSE: Final = 1e-9
"""The distance, relative to the first, at which a run has converged."""

NEAR: Final = 0.4
"""The distance up to which the linearisation at an equilibrium is taken for the game."""

SAME: Final = 1e-9
"""A local spectral radius this close to 1 decides nothing."""

AT_REST: Final = 1e-9
"""Points that move less than this, relative to their size, are at rest."""

SETTLED: Final = 6.0
"""Time constants after which noise has made a run forget its start."""

BATCHES: Final = 20
"""Parts of a run over random samples, whose growth is compared with its spread."""

SURE: Final = 5.0
"""Standard errors that a mean growth must be from 0."""

IRREGULAR: Final = 0.15
"""The logarithms of the largest distances of windows differ by less than this where a run stays, if irregularly."""

SLOW: Final = 1.5
"""The ratio of the bounds of a distance that hardly changes, under a falling rate."""

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
    """

    game: Game
    method: Method
    options: MethodOptions
    rates: Pair
    later: Callable[[Array], Array] | None
    noise: float
    track: Track
    longer: Callable[[], Track]

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
        found = self.words.multiplied(CONVERGED if near else CONVERGES, factor, length, after)
        if not len(self.game.equilibria):
            return found
        point = self.game.equilibria[int(np.argmin(norm(self.game.equilibria - end.points[-1])))]
        kind = kind_of(self.game, point)
        if not kind.is_equilibrium:
            return self.words.make(ELSEWHERE, f"it converges to {_text(point)}, where F = 0, but {kind.words}")
        return replace(found, message=f"{found.message}, {kind.words}") if kind.x_gains else found


def judge(run: Run) -> Verdict:
    """The verdict on a run."""
    track = run.track
    if track.failure:
        return Verdict(FAILED, float("nan"), False, track.failure)
    if track.lengths[0] == 0 and run.still and np.isfinite(track.points).all():
        return _at_the_start(run)
    if not track.finite.all():
        return run.words.overflows(OVERFLOWED, track.t, track.lengths, int(np.argmin(track.finite)))
    for rule in (_by_modes, _by_schedule, _by_noise, _by_samples):
        found = rule(run)
        if found:
            return found
    return _by_trend(run)


def _at_the_start(run: Run) -> Verdict:
    kind = kind_of(run.game, run.track.points[0])
    if kind.is_equilibrium:
        return Verdict(CONVERGED, 1.0, True, "converged: the start is an equilibrium")
    return run.words.make(ELSEWHERE, f"at the start F = 0, but {kind.words}")


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


def _by_modes(run: Run) -> Verdict | None:
    """A matrix that is the same at each step: the largest eigenvalue of those that the start has."""
    if not (run.exact and run.still) or run.later:
        return None
    found = run.modes(run.rates, run.track.points[0])
    if found is None or found.growth(present=False) > found.growth():
        return None  # Rounding errors may bring in what the start does not have.
    growth = found.growth()
    if growth < 0:
        return run.converging(run.track, found.factor)
    if growth > 0:
        return run.words.multiplied(DIVERGES, found.factor, float(run.track.lengths[-1]))
    orbit = found.orbit()
    if orbit is None:
        return None
    low, high, moves = orbit
    return run.words.cycles(low, high) if moves else run.words.stays(low, high, "the point does not move")


def _by_schedule(run: Run) -> Verdict | None:
    """A matrix that changes with the rate: the sum of the logarithms of its spectral radius over all steps."""
    if not (run.exact and run.still and run.later):
        return None
    left = _left(run, run.track.last)
    end = float(run.track.lengths[-1])
    if left is None:
        return None
    if left == -np.inf:
        return run.converging(run.track, None)
    if left == np.inf:
        return run.words.make(DIVERGES, f"{run.words.what} grows, ever more slowly, to {end:.4g}")
    long = run.longer()
    found = run.modes(_at(run, long.last), long.points[-1])
    orbit = None if found is None else found.orbit()
    rest = abs(_left(run, long.last) or 0.0)
    tail = long.lengths[len(long.lengths) // 2 :]
    low, high = float(tail.min()), float(tail.max())
    if orbit is not None and rest == 0:
        low, high = min(low, orbit[0]), max(high, orbit[1])
    return run.words.stays(low * np.exp(-rest), high * np.exp(rest), "the learning rate falls too fast to go on")


def _at(run: Run, step: int) -> Pair:
    """The rates at a step."""
    _, share = run.share()
    rate = float(run.rate(np.array([float(step)]))[0])
    return share[0] * rate, share[1] * rate


def _left(run: Run, step: int, at: Array | None = None) -> float | None:
    """The logarithm by which the distance still grows after a step, by the linearisation at an equilibrium."""
    local = near_equilibrium(run.game) if at is None else _local(run.game, at)
    found = None if local is None else log_radius(run.method, local, run.options, run.share()[1])
    return None if found is None else remaining(found, run.rate, step)


def _by_noise(run: Run) -> Verdict | None:
    """Noise on a linear map: it keeps the run away from where it would converge."""
    if not (run.exact and run.noise) or run.game.sampled:
        return None
    if run.later:
        return _by_falling_noise(run)
    found = run.modes(run.rates, run.track.points[0])
    if found is None:
        return None
    growth, size = found.growth(present=False), found.largest(present=False)[0] ** (1 / found.repeats)
    if growth > 0:
        return run.words.make(DIVERGES, f"{run.words.what} is multiplied by {size:.7g} per step, besides the noise")
    long = run.longer()
    end = float(run.track.lengths[-1])
    if growth == 0:
        return run.words.unsettled(long.last, end, ", and the noise adds up")
    if -np.log(size) * long.last / 2 < SETTLED + np.log(max(1.0, float(run.track.lengths[0]) / max(end, 1e-300))):
        return run.words.unsettled(long.last, end, f", multiplied by {size:.7g} per step besides the noise")
    return _noisy(run, long)


def _by_falling_noise(run: Run) -> Verdict | None:
    """Noise on steps that become smaller: where they contract in proportion to the rate, what it adds goes to 0."""
    left, end = _left(run, run.track.last), float(run.track.lengths[-1])
    if left == np.inf:
        return run.words.make(DIVERGES, f"{run.words.what} grows, ever more slowly, to {end:.4g}, besides the noise")
    local = near_equilibrium(run.game)
    factor = None if local is None else log_radius(run.method, local, run.options, run.share()[1])
    if factor is None or left != -np.inf:
        return None
    once, twice = factor(np.array([1e-6, 2e-6]))
    # By the rate, and not its square, of which the noise has as much.
    return run.converging(run.longer(), None) if twice / once < 2.5 else None


def _noisy(run: Run, long: Track) -> Verdict:
    """Noise keeps it at about the distances of the second half of the longer run."""
    tail = long.lengths[len(long.lengths) // 2 :]
    typical = float(np.sqrt(np.mean(np.square(tail))))
    return run.words.within(float(tail.max()), f"noise keeps it at about {typical:.4g}", float(tail.min()))


def _by_samples(run: Run) -> Verdict | None:
    """A linear game of which each step plays a random sample: the mean growth of the logarithm of the distance."""
    if (
        not (run.game.linear and run.game.sampled and run.method.linear and len(run.game.equilibria))
        or run.later
        or run.noise
    ):
        return None
    long = run.longer()
    usable = np.isfinite(long.lengths) & (long.lengths > 1e-280)
    end = len(usable) if usable.all() else int(np.argmin(usable))
    if end < 4 * BATCHES:
        return None
    logs = np.log(long.lengths[:end])
    edges = np.linspace(end // 5, end - 1, BATCHES + 1).astype(int)
    steps = np.diff(logs[edges]) / np.diff(long.t[edges])
    mean, error = float(steps.mean()), float(steps.std(ddof=1) / np.sqrt(BATCHES))
    if abs(mean) <= SURE * error or abs(logs[-1] - logs[0]) < 1 or np.sign(logs[-1] - logs[0]) != np.sign(mean):
        return run.words.unsettled(long.last, float(run.track.lengths[-1]))
    if mean < 0:
        return run.converging(long, None)
    return run.words.make(DIVERGES, f"{run.words.what} is multiplied by about {np.exp(mean):.7g} per step")


def _by_trend(run: Run) -> Verdict:
    """The trend of a longer run, and what the eigenvalues at the equilibrium allow."""
    long = run.longer()
    if long.failure:
        return Verdict(FAILED, run.words.found.factor, False, long.failure)
    if not long.finite.all():
        return run.words.overflows(DIVERGES, long.t, long.lengths, int(np.argmin(long.finite)))
    end = float(long.lengths[-1])
    found = trend(long.t, long.points, long.lengths)
    if found is None:
        return run.words.unsettled(long.last, end)
    horizon = HORIZON * run.track.last / long.last
    arrived = _arrival(run, long, found) if run.still else None
    verdict = arrived or _bounded(run, long, found, horizon) or _growth(run, long, found)
    return _at_the_horizon(run, long, verdict)


def _at_the_horizon(run: Run, long: Track, verdict: Verdict) -> Verdict:
    """The same, if it is true after ``HORIZON`` times the steps too, where the longer run goes as far."""
    first = run.track.lengths[run.track.t >= run.track.last / 2].max()
    late = long.lengths[(long.t > HORIZON * run.track.last / 2) & (long.t <= HORIZON * run.track.last)]
    if long.last < HORIZON * run.track.last or not len(late):
        return verdict
    if verdict.status in {CYCLES, STAYS}:
        low, high = min(verdict.low, float(late.min())), max(verdict.high, float(late.max()))
        if (low, high) == (verdict.low, verdict.high):
            return verdict
        if verdict.status == CYCLES:
            return run.words.cycles(low, high)
        return run.words.within(high, "it neither converges nor diverges", low)
    wrong = late.max() < first if verdict.status == DIVERGES else late.max() > max(first, CLOSE)
    return run.words.unsettled(long.last, float(long.lengths[-1])) if wrong else verdict


def _local(game: Game, point: Array) -> Game | None:
    """The linearisation at a point; ``None`` where F has a kink."""
    return linear_game(game.jacobian(point), game.players) if is_smooth(game, point) else None


def _radius(run: Run, point: Array) -> float | None:
    """The spectral radius of the method, with its states, at a point where F = 0; ``None`` where it is not known."""
    local = _local(run.game, point)
    if local is None or run.later:
        return None
    if not run.method.has_operator:
        return limit_radius(run.method, local, run.rates, run.options)
    found = float(radii(run.method, local, np.array([run.rates]), run.options)[0])
    return found if np.isfinite(found) else None


def _arrival(run: Run, long: Track, found: Trend) -> Verdict | None:
    """It comes to a point where F = 0, and that holds it."""
    game, end, length = run.game, long.points[-1], float(long.lengths[-1])
    scale = 1 + float(norm(end))
    if not len(game.equilibria):
        return run.converging(long, None) if found.falls and not run.later else None
    nearest = game.equilibria[int(np.argmin(norm(game.equilibria - end)))]
    radius = _radius(run, nearest)
    close = length <= CLOSE * max(1.0, float(run.track.lengths[0]))
    if radius is not None and radius > 1 + SAME:
        holds = False
    elif radius is not None and radius < 1 - SAME:
        falls = found.falls or found.falls_faster
        holds = close or (found.declines and length <= NEAR * scale) or (falls and length <= scale)
    elif run.later and run.method.has_operator:
        holds = close or (found.declines and length <= NEAR * scale and _left(run, long.last, nearest) == -np.inf)
    elif run.later:
        holds = close or found.falls
    else:
        holds = close or (found.falls and radius is not None)
    if holds:
        slow = radius is None or radius > 1 - SAME or not run.method.has_operator
        return run.converging(long, None if slow else radius)
    return None if run.later else _unlisted(run, long, found)


def _unlisted(run: Run, long: Track, found: Trend) -> Verdict | None:
    """A point with F = 0 that is none of those known."""
    end = long.points[-1]
    scale = 1 + float(norm(end))
    if found.width > AT_REST * scale or float(long.lengths[-1]) <= 1e-6 * scale:
        return None
    step = np.linalg.lstsq(run.game.jacobian(end), run.game.field(end), rcond=1e-9)[0]
    residual, first = float(norm(run.game.field(end))), float(norm(run.game.field(run.track.points[0])))
    if residual > CLOSE * max(first, 1e-300) or norm(step) > AT_REST * scale or not _is_regular(run.game, end):
        return None
    radius = _radius(run, end)
    if radius is None or radius > 1 + SAME:
        return None
    kind = kind_of(run.game, end)
    if not kind.is_equilibrium:
        return run.words.make(ELSEWHERE, f"it converges to {_text(end)}, where F = 0, but {kind.words}")
    return run.words.make(CONVERGED, f"to {_text(end)}, another equilibrium, where ‖F‖ is {residual:.4g}")


def _is_regular(game: Game, point: Array) -> bool:
    """Whether F is 0 there alone, and not all around."""
    sizes = np.linalg.svd(game.jacobian(point), compute_uv=False)
    return bool(sizes[-1] > 1e-6)


def _bounded(run: Run, long: Track, found: Trend, horizon: float) -> Verdict | None:
    """It stays where it is."""
    low, high = float(found.low[:2].min()), float(found.high[:2].max())
    scale = 1 + float(norm(long.points[-1]))
    words = run.words
    if run.later:
        return _halted(run, long, found)
    if not run.still:
        logs = np.log(np.maximum(found.typical[:3], 1e-300))
        return _noisy(run, long) if np.ptp(logs) <= 2 * IRREGULAR and found.turns else None
    if found.width <= AT_REST * scale * min(1.0, 1 / horizon):
        flat = float(norm(run.game.field(long.points[-1]))) <= CLOSE or not max(run.rates)
        return words.stays(low, high, "the point does not move") if flat else None
    if not found.turns:
        return None
    if found.stays(found.high, horizon) and found.stays(found.low, horizon):
        return words.cycles(*found.settled)
    logs = np.log(found.high[:3])
    steps = -np.diff(logs)
    if np.ptp(logs) <= IRREGULAR and (steps[0] * steps[1] <= 0 or np.abs(steps).max() * max(1, horizon) <= IRREGULAR):
        return words.within(high * np.exp(float(np.ptp(logs))), "it neither converges nor diverges", low)
    return None


def _halted(run: Run, long: Track, found: Trend) -> Verdict | None:
    """A falling rate whose steps become too small to get anywhere else."""
    try:
        rest = remaining(lambda rate: rate, run.rate, long.last)
        half = float(run.rate(np.arange(long.last // 2 + 1.0, long.last + 1)).sum())
    except Exception:  # A function of the user's, which need not know later steps.
        return None
    if rest is None:
        return None
    end = float(long.lengths[-1])
    if not np.isfinite(rest):
        tail = long.lengths[len(long.lengths) // HORIZON :]
        low, high = float(tail.min()), float(tail.max())
        why = f"it hardly moves in {long.last:,} steps, as the learning rate falls"
        seen = long.last >= HORIZON * run.track.last
        return run.words.stays(low, high, why) if seen and high <= SLOW * low else None
    reach = 2 * found.width * rest / half if half else 0.0
    if reach > 0.05 * end:
        return None
    low, high = min(float(found.low[0]), end - reach), max(float(found.high[0]), end + reach)
    return run.words.stays(low, high, "the learning rate falls too fast to go on")


def _growth(run: Run, long: Track, found: Trend) -> Verdict:
    """It goes away, or it is not clear."""
    words, end = run.words, float(long.lengths[-1])
    if found.grows(found.typical) and (found.grows(found.high) or not run.still):
        return words.make(DIVERGES, f"{words.what} grows, to {end:.4g} after {long.last:,} steps")
    change = float(np.log(found.high[0] / found.high[1])) if found.high[1] > 0 and found.high[0] > 0 else 0.0
    tendency = "" if abs(change) < 0.01 else ", and falling" if change < 0 else ", and growing"
    return words.unsettled(long.last, end, tendency)


def _text(point: Array) -> str:
    """(0.6, 0.7)."""
    return "(" + ", ".join(f"{value:.6g}" for value in point.tolist()) + ")"
