"""Verdicts by sight: a description of the steps of a run, which says nothing of later ones."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import norm
from portable_nn.adversarial.runs.run import Run
from portable_nn.adversarial.runs.verdict import (
    FAILED,
    FELL,
    GREW,
    OVERFLOWED,
    SEEN,
    TURNED,
    VARIED,
    Verdict,
    factor_text,
)
from portable_nn.core.text import quantity
from portable_nn.operators import Array

HUGE: Final = 1e50
"""A distance below this was not about to overflow."""

SHOWN: Final = 4
"""The most numbers of a point that a verdict names."""

WINDOWS: Final = 8
"""Parts of the second half of a run that goes round, whose largest distances are compared: a turn each, or more."""

SAME: Final = 5e-4
"""Relative difference of two distances that are the same to the digits that verdicts show."""

BATCHES: Final = 20
"""Parts of a run over random samples, whose mean growth has a standard error."""

FITS: Final = 0.05
"""A law fits where its errors are at most this share of the change, in logarithms."""


class _Envelope(NamedTuple):
    """The distances (n,) at steps (n,) that say whether a run falls or grows, and the turns that it made.

    They are ``apart`` where all distances of the last turns are larger than those of the first, or smaller.
    """

    t: Array
    lengths: Array
    turns: int = 0
    apart: bool = True

    @property
    def trend(self) -> int:
        """-1 or 1 where each is smaller or larger than the one before, else 0."""
        changes = np.diff(self.lengths)
        return int((changes > 0).all()) - int((changes < 0).all())


def failed(run: Run) -> Verdict | None:
    """A step that has no solution."""
    return _failed(run.failure) if run.failure else None


def ended(run: Run) -> Verdict | None:
    """A run that overflowed, or left where f is defined."""
    finite = np.isfinite(run.points).all(-1) & np.isfinite(run.lengths)
    if finite.all():
        return None
    place = int(np.argmin(finite))
    last = max(place - 1, 0)
    t, before = int(run.t[place]), int(run.t[last])
    if np.isnan(run.lengths[place]) and (not place or run.lengths[last] < HUGE):
        z = run.points[last]
        where = f" ({', '.join(f'{value:.4g}' for value in z)})" if len(z) <= SHOWN else ""
        nan = "f or a gradient is NaN"
        if t - before == 1:
            return _failed(f"step {t:,}{where and f', from{where},'} is not defined: {nan} there")
        if not place:
            return _failed(f"{nan} at the start{where}")
        return _failed(f"between step {before:,}{where and f', at{where},'} and step {t:,} {nan}")
    by = f", multiplied by {factor_text(run.found.factor)} per step" if run.found.factor > 1 else ""
    return run.says(OVERFLOWED, SEEN, f"after {quantity(t, 'step')}", f"{run.what} is beyond the largest number{by}")


def _failed(why: str) -> Verdict:
    return Verdict(FAILED, SEEN, "", why)


def late_bounds(run: Run) -> tuple[float, float]:
    """The smallest and the largest distance of the second half."""
    late = run.lengths[run.t >= run.last / 2]
    return float(late.min()), float(late.max())


def as_seen(run: Run) -> Verdict:
    """The verdict that describes the distances of the run."""
    reason = f"in {quantity(run.last, 'step')}"
    if run.game.sampled and run.game.linear and run.method.linear and not run.noise and run.lengths.min() > 0:
        found = _exponent(run, reason)
        if found:
            return found
    low, high = late_bounds(run)
    envelope = _envelope(run)
    was = f"{run.what} was between {low:.4g} and {high:.4g} in the second half"
    if high - low <= SAME * high:
        return run.says(VARIED, SEEN, reason, f"{run.what} was {high:.4g} in the second half", low, high)
    if envelope.turns and not envelope.apart:
        return run.says(TURNED, SEEN, reason, f"{was}, in {envelope.turns} turns{_drift(envelope)}", low, high)
    if not envelope.trend:
        return run.says(VARIED, SEEN, reason, was, low, high)
    law = _law(envelope.t, envelope.lengths)
    text = f"{run.what} went from {run.lengths[0]:.4g} to {run.end:.4g}{law}"
    text += f", in {envelope.turns} turns of the second half" if envelope.turns else ""
    if run.what == "the distance":
        late, sizes = run.t >= run.last / 2, norm(run.game.field(run.points))
        text += f"; ‖F‖ went from {sizes[0]:.4g} to {sizes[-1]:.4g}{_law(run.t[late], sizes[late])}"
    return run.says(FELL if envelope.trend < 0 else GREW, SEEN, reason, text, low, high)


def _drift(envelope: _Envelope) -> str:
    """The slow change of the turns in words; "" where there is none."""
    if not envelope.trend:
        return ""
    change = 100 * abs(envelope.lengths[-1] / envelope.lengths[0] - 1)
    law = _law(envelope.t, envelope.lengths)
    return f", drifting {'outwards' if envelope.trend > 0 else 'inwards'} by {change:.2g} %{law}"


def _exponent(run: Run, reason: str) -> Verdict | None:
    """The mean growth of the logarithm of the distance, with its standard error over parts of the run."""
    if len(run.t) < 4 * BATCHES:
        return None
    logs, edges = np.log(run.lengths), np.linspace(len(run.t) // 5, len(run.t) - 1, BATCHES + 1).astype(int)
    steps = np.diff(logs[edges]) / np.diff(run.t[edges])
    mean, error = float(steps.mean()), float(steps.std(ddof=1) / np.sqrt(BATCHES))
    status = VARIED if abs(mean) < 2 * error else FELL if mean < 0 else GREW
    low, high = late_bounds(run)
    text = (
        f"{run.what} went from {run.lengths[0]:.4g} to {run.end:.4g}; the Lyapunov exponent, the mean growth of its "
        f"logarithm per step, is {mean:.3g}, with a standard error of {error:.2g}"
    )
    return run.says(status, SEEN, reason, text, low, high)


def _envelope(run: Run) -> _Envelope:
    """The largest distance of each part of the second half if the run goes round there, else all of its distances."""
    late = run.t >= run.last / 2
    t, points, lengths = run.t[late], run.points[late], run.lengths[late]
    turns = _crossings(points) // 2
    if turns < 2:
        return _Envelope(t, lengths)
    parts = np.array_split(np.arange(len(t)), min(WINDOWS, turns))
    places = [int(part[np.argmax(lengths[part])]) for part in parts]
    first, last = lengths[parts[0]], lengths[parts[-1]]
    apart = bool(first.max() < last.min() or last.max() < first.min())
    # Points miss the farthest place of a turn by up to half a step: of n a turn, by 1 - cos(π/n) of the distance.
    missed = 1 - np.cos(np.pi * min(1.0, turns / len(t)))
    if not apart and (len(parts) < WINDOWS or abs(np.log(lengths[places[-1]] / lengths[places[0]])) <= missed):
        return _Envelope(t[:2], lengths[:1].repeat(2), turns, apart)  # No drift is seen.
    return _Envelope(t[places], lengths[places], turns, apart)


def _crossings(points: Array) -> int:
    """The number of times that points (n, d) cross their middle, along the direction in which they are widest."""
    centred = points - (points.max(0) + points.min(0)) / 2
    size = np.abs(centred).max()
    if not size > 0:
        return 0
    _, _, directions = np.linalg.svd(centred / size, full_matrices=False)
    signs = np.sign(centred @ directions[0])
    signs = signs[signs != 0]
    return int((signs[1:] != signs[:-1]).sum())


def _law(t: Array, lengths: Array) -> str:
    """The exponential or the power of the step that distances follow, whichever fits better; "" where neither does."""
    if len(t) < 3 or not (lengths > 0).all() or not t[0]:
        return ""
    logs, steps = np.log(lengths), t.astype(float)
    change = float(np.ptp(logs))
    fits = []
    for by, text in ((steps, "multiplied by about {} per step"), (np.log(steps), "about as k^{}")):
        slope, base = np.polyfit(by - by.mean(), logs, 1)
        law = f"{slope:.3g}" if "k" in text else factor_text(float(np.exp(slope)))
        fits.append((float(np.abs(slope * (by - by.mean()) + base - logs).max()), text.format(law)))
    error, words = min(fits)
    return f", {words}" if change and error <= FITS * change else ""
