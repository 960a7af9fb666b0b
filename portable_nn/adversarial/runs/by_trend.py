"""What becomes of a run by the trend of a longer one, as far as the eigenvalues at the equilibrium allow it."""

from __future__ import annotations

from typing import Final

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.runs.by_theory import noisy
from portable_nn.adversarial.runs.tracks import (
    CLOSE,
    HORIZON,
    ROUNDED,
    Run,
    Track,
    farthest_at_first,
    growth_to_come,
    in_words,
    late_lengths,
    local_game,
)
from portable_nn.adversarial.runs.trend import FLAT, Trend, trend
from portable_nn.adversarial.runs.verdict import CONVERGED, CYCLES, DIVERGES, ELSEWHERE, FAILED, STAYS, Verdict
from portable_nn.adversarial.theory.forecast import local_factor
from portable_nn.adversarial.theory.local import limit_radius
from portable_nn.adversarial.theory.schedules import remaining
from portable_nn.adversarial.theory.updates import radii
from portable_nn.operators.registry import Array

NEAR: Final = 0.4
"""The distance up to which the linearisation at an equilibrium is taken for the game."""

SAME: Final = 1e-9
"""A local spectral radius this close to 1 decides nothing."""

AT_REST: Final = 1e-9
"""Points that move less than this, relative to their size, are at rest."""

IRREGULAR: Final = 0.15
"""The logarithms of the largest distances of windows differ by less than this where a run stays, if irregularly."""

TINY: Final = 1e-6
"""A distance of about 0, relative to the size of the point."""

REGULAR: Final = 1.1
"""A cycle whose largest distance is at most so many times the smallest is regular."""

ROOM: Final = 1.25
"""How much farther away than it was seen an irregular run may go."""

NOT_YET: Final = 0.6
"""A run that comes to this share of a bound at most has not come there yet."""

ALIKE: Final = 0.8
"""The share of the farthest that copies of an irregular run must come to."""

MANY: Final = 8
"""Irregular runs must turn so often for their bounds to be known, and not come so near that rounding holds them."""

CLEARLY: Final = 4.0
"""A noisy distance that has become so many times as large grows."""

STIFF: Final = 30.0
"""What is to be followed for fewer steps than the verdict is on must change by so much less."""

SLOW: Final = 1.5
"""The ratio of the bounds of a distance that hardly changes, under a falling rate."""


def by_trend(run: Run) -> Verdict:
    """The trend of a longer run, and what the eigenvalues at the equilibrium allow."""
    long = run.longer()
    if long.failure:
        return Verdict(FAILED, run.words.found.factor, False, long.failure)
    if not long.finite.all():
        return run.words.overflows(DIVERGES, long.t, long.points, long.lengths, int(np.argmin(long.finite)))
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
    if long.last < HORIZON * run.track.last:
        return verdict
    first, late = farthest_at_first(run), late_lengths(run, long)
    if verdict.status in {CYCLES, STAYS}:
        if late.max() < NOT_YET * verdict.high:
            return run.words.unsettled(long.last, float(long.lengths[-1]))
        low, high = min(verdict.low, float(late.min())), max(verdict.high, float(late.max()))
        if (low, high) == (verdict.low, verdict.high):
            return verdict
        if verdict.status == CYCLES:
            return _cycle(run, long, low, high)
        return run.words.within(high, "it neither converges nor diverges")
    wrong = late.max() < first if verdict.status == DIVERGES else late.max() > max(first, CLOSE)
    return run.words.unsettled(long.last, float(long.lengths[-1])) if wrong else verdict


def _radius(run: Run, point: Array) -> float | None:
    """The spectral radius of the method, with its states, at a point where F = 0; ``None`` where it is not known."""
    local = local_game(run.game, point)
    if local is None or run.later:
        return None
    if not run.method.has_operator:
        found = limit_radius(run.method, local, run.rates, run.options)
        x, y = run.rates
        return local_factor(run.method, local, x, run.options) if found is None and x == y else found
    radius = float(radii(run.method, local, np.array([run.rates]), run.options)[0])
    return radius if np.isfinite(radius) else None


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
        holds = found.width == 0 and run.method.linear  # At rest, where no memory of it can move it.
    elif radius is not None and radius < 1 - SAME:
        falls = found.falls or found.falls_faster
        holds = close or (found.declines and length <= NEAR * scale) or (falls and length <= scale)
    elif run.later and run.method.has_operator:
        growth = growth_to_come(run, long.last, nearest)
        near = found.declines and length <= NEAR * scale
        holds = close or (near and growth == -np.inf) or (found.falls and growth == 0)
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
        return run.words.make(ELSEWHERE, f"it converges to {in_words(end)}, where F = 0, but {kind.words}")
    return run.words.make(CONVERGED, f"to {in_words(end)}, another equilibrium, where ‖F‖ is {residual:.4g}")


def _is_regular(game: Game, point: Array) -> bool:
    """Whether F is 0 there alone, and not all around."""
    sizes = np.linalg.svd(game.jacobian(point), compute_uv=False)
    return bool(sizes[-1] > 1e-6)


def _bounded(run: Run, long: Track, found: Trend, horizon: float) -> Verdict | None:
    """It stays where it is."""
    if run.later:
        return _halted(run, long, found) or _slowing(run, long, found, horizon)
    if not run.still:
        return _noisy_trend(run, long, found, horizon)
    low, high = float(found.low[:2].min()), float(found.high[:2].max())
    size = 1 + float(norm(long.points[-1]))
    if found.low[0] <= TINY * size and not found.turns:
        return None  # So close to where F = 0, methods with a memory may not have begun to leave.
    if found.width * max(1.0, horizon) <= AT_REST * size:
        return run.words.stays(low, high, "the point does not move")
    if not found.turns:
        if not found.settles(horizon if horizon <= 1 else STIFF * horizon):
            return None
        rests = run.words.stays(low, high, f"it hardly changes in {long.last:,} steps")
        # Of several solutions of an implicit step rounding errors may choose one, which copies show.
        chooses = run.method.implicit and not run.game.linear
        return _irregular(run, long, found, rests) if chooses else rests
    if found.settles(horizon):
        regular = run.method.linear or float(found.high[0]) <= REGULAR * float(found.low[0])
        return (
            _cycle(run, long, *found.settled) if regular else _irregular(run, long, found, _cycle(run, long, low, high))
        )
    logs = np.log(found.high[:3])
    steps = -np.diff(logs)
    if np.ptp(logs) <= IRREGULAR and (steps[0] * steps[1] <= 0 or np.abs(steps).max() * max(1, horizon) <= IRREGULAR):
        within = run.words.within(high * np.exp(float(np.ptp(logs))), "it neither converges nor diverges")
        return _irregular(run, long, found, within)
    return None


def _from_the_horizon(run: Run, long: Track) -> Array:
    """The distances of the second half of what a verdict is on, and all after that."""
    return np.asarray(long.lengths[long.t > min(HORIZON * run.track.last, long.last) / 2])


def _irregular(run: Run, long: Track, found: Trend, verdict: Verdict) -> Verdict | None:
    """The same, if copies of the run have the same bounds; else it is irregular, and only known not to go far away."""
    tracks = [long, *run.copies()]
    if not all(track.finite.all() for track in tracks):
        return None
    late, after = ([part(run, track) for track in tracks] for part in (late_lengths, _from_the_horizon))
    ends = [[part.min() for part in after], [part.max() for part in after], [part.max() for part in late]]
    if len(tracks) > 1 and all(np.ptp(np.log(np.maximum(end, 1e-300))) <= FLAT for end in ends):
        return verdict
    farthest = float(max(ends[1]))
    turns = found.crossings * min(1.0, HORIZON * run.track.last / long.last)
    if min(ends[2]) < ALIKE * farthest or turns < MANY or found.low.min() <= ROUNDED * farthest:
        return None
    return run.words.within(ROOM * farthest, "irregularly, it neither converges nor diverges")


def _noisy_trend(run: Run, long: Track, found: Trend, horizon: float) -> Verdict | None:
    """Noise, on what is no linear map: copies with other noise must agree."""
    if np.ptp(np.log(np.maximum(found.typical[:3], 1e-300))) > 2 * IRREGULAR or not found.turns or horizon > 1:
        return None
    copies = run.copies()
    halves = [track.lengths[track.t > track.last / 2] for track in (long, *copies)]
    sizes = np.array([np.sqrt(np.mean(np.square(half))) for half in halves])
    if not np.isfinite(sizes).all() or np.ptp(np.log(sizes)) > 2 * IRREGULAR or (not copies and not run.method.linear):
        return None
    return noisy(run, long)


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
        tail = _from_the_horizon(run, long)
        low, high = float(tail.min()), float(tail.max())
        why = f"it hardly moves in {long.last:,} steps, as the learning rate falls"
        seen = long.last >= HORIZON * run.track.last
        return run.words.stays(low, high, why) if seen and high <= SLOW * low else None
    reach = 2 * found.width * rest / half if half else 0.0
    if reach > 0.05 * end:
        return None
    low, high = min(float(found.low[0]), end - reach), max(float(found.high[0]), end + reach)
    return run.words.stays(low, high, "the learning rate falls too fast to go on")


def _cycle(run: Run, long: Track, low: float, high: float) -> Verdict:
    """A cycle within these bounds, which the longer run has shown."""
    return run.words.cycles(low, high, float(run.track.lengths[-1]), long.last)


def _slowing(run: Run, long: Track, found: Trend, horizon: float) -> Verdict | None:
    """A falling rate that slows a motion down which goes no farther away."""
    if run.still and found.turns and found.settles(horizon):
        return _cycle(run, long, *found.settled)
    if horizon > 1 or np.ptp(np.log(np.maximum(found.high[:3], 1e-300))) > IRREGULAR:
        return None
    tail = _from_the_horizon(run, long)
    why = f"in {long.last:,} steps, ever more slowly as the learning rate falls, it neither converges nor diverges"
    return run.words.within(float(tail.max()), why, float(tail.min()))


def _grows_by_itself(run: Run, found: Trend) -> bool:
    """Whether a noisy distance grows clearly, or does so with other noise too."""
    if found.typical[0] > CLEARLY * farthest_at_first(run):
        return True
    others = [trend(copy.t, copy.points, copy.lengths) for copy in run.copies()]
    return len(others) > 0 and all(other is not None and other.grows(other.typical) for other in others)


def _growth(run: Run, long: Track, found: Trend) -> Verdict:
    """It goes away, or it is not clear."""
    words, end = run.words, float(long.lengths[-1])
    if found.grows(found.typical) and (found.rises if run.still else _grows_by_itself(run, found)):
        return words.make(DIVERGES, f"{words.what} grows, to {end:.4g} after {long.last:,} steps")
    change = float(np.log(found.high[0] / found.high[1])) if found.high[1] > 0 and found.high[0] > 0 else 0.0
    tendency = "" if abs(change) < 0.01 else ", and falling" if change < 0 else ", and growing"
    return words.unsettled(long.last, end, tendency)
