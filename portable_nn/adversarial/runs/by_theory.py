"""What becomes of a run by the eigenvalues, without a longer one where they decide alone."""

from __future__ import annotations

from typing import Final

import numpy as np

from portable_nn.adversarial.runs.tracks import HORIZON, Run, Track, farthest_at_first, growth_to_come, late_lengths
from portable_nn.adversarial.runs.trend import trend
from portable_nn.adversarial.runs.verdict import DIVERGES, Verdict
from portable_nn.adversarial.theory.forecast import near_equilibrium
from portable_nn.adversarial.theory.local import Pair, log_radius

SETTLED: Final = 6.0
"""Time constants after which noise has made a run forget its start."""

BATCHES: Final = 20
"""Parts of a run over random samples, whose growth is compared with its spread."""

SURE: Final = 5.0
"""Standard errors that a mean growth must be from 0."""


def by_rest(run: Run) -> Verdict | None:
    """Learning rates of 0, which move nobody, whatever the noise."""
    points, lengths = run.track.points, run.track.lengths
    if run.later or any(run.rates) or (points != points[0]).any():
        return None
    return run.words.stays(float(lengths[0]), float(lengths[0]), "the point does not move")


def by_modes(run: Run) -> Verdict | None:
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
    orbit = found.orbit(HORIZON * run.track.last / 2)
    if orbit is None:
        return None
    low, high, moves = orbit
    return run.words.cycles(low, high) if moves else run.words.stays(low, high, "the point does not move")


def by_schedule(run: Run) -> Verdict | None:
    """A matrix that changes with the rate: the sum of the logarithms of its spectral radius over all steps."""
    if not (run.exact and run.still and run.later):
        return None
    left = growth_to_come(run, run.track.last)
    end = float(run.track.lengths[-1])
    if left is None:
        return None
    if left == -np.inf:
        long = run.longer()
        begun = long.failure is None and long.finite.all() and late_lengths(run, long).max() < farthest_at_first(run)
        return run.converging(run.track, None) if begun else run.words.unsettled(long.last, float(long.lengths[-1]))
    if left == np.inf:
        return run.words.make(DIVERGES, f"{run.words.what} grows, ever more slowly, to {end:.4g}")
    long = run.longer()
    found = run.modes(_at(run, long.last), long.points[-1])
    orbit = None if found is None else found.orbit(0.0)
    rest = abs(growth_to_come(run, long.last) or 0.0)
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


def by_noise(run: Run) -> Verdict | None:
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
        text = f"noise adds up, and {run.words.what} grows as the square root of the number of steps, to {end:.4g}"
        return run.words.make(DIVERGES, text)
    if -np.log(size) * long.last / 2 < SETTLED + np.log(max(1.0, float(run.track.lengths[0]) / max(end, 1e-300))):
        return _slowly(run, long, size)
    return noisy(run, long)


def _slowly(run: Run, long: Track, size: float) -> Verdict:
    """A linear map that contracts too slowly for the run to have come where noise keeps it: it only comes nearer."""
    end, found = float(run.track.lengths[-1]), trend(long.t, long.points, long.lengths)
    if found is None or long.last < HORIZON * run.track.last or found.typical[0] > found.typical[-1]:
        return run.words.unsettled(long.last, end, f", multiplied by {size:.7g} per step besides the noise")
    tail = late_lengths(run, long)
    why = f"it is multiplied by {size:.7g} per step, until noise keeps it away"
    return run.words.within(float(tail.max()), why, float(tail.min()))


def _by_falling_noise(run: Run) -> Verdict | None:
    """Noise on steps that become smaller: where they contract in proportion to the rate, what it adds goes to 0."""
    left, end = growth_to_come(run, run.track.last), float(run.track.lengths[-1])
    if left == np.inf:
        return run.words.make(DIVERGES, f"{run.words.what} grows, ever more slowly, to {end:.4g}, besides the noise")
    local = near_equilibrium(run.game)
    factor = None if local is None else log_radius(run.method, local, run.options, run.share()[1])
    if factor is None or left != -np.inf:
        return None
    once, twice = factor(np.array([1e-6, 2e-6]))
    # By the rate, and not its square, of which the noise has as much.
    return run.converging(run.longer(), None) if twice / once < 2.5 else None


def noisy(run: Run, long: Track) -> Verdict:
    """Noise keeps it at about the distances of the second half of the longer run."""
    tail = long.lengths[len(long.lengths) // 2 :]
    typical = float(np.sqrt(np.mean(np.square(tail))))
    return run.words.within(float(tail.max()), f"noise keeps it at about {typical:.4g}", float(tail.min()))


def by_samples(run: Run) -> Verdict | None:
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
    if (late_lengths(run, long).max() - farthest_at_first(run)) * mean < 0:  # It has not begun.
        return run.words.unsettled(long.last, float(run.track.lengths[-1]))
    if mean < 0:
        return run.converging(long, None)
    return run.words.make(DIVERGES, f"{run.words.what} is multiplied by about {np.exp(mean):.7g} per step")
