"""The trend of a run: whether its distance to the equilibrium falls, grows or stays, by the halves of its steps.

The steps are cut into windows, each twice as long as the one before: the last half of the run, the quarter before it,
and so on. A distance that falls or grows by a power or an exponential of the step does so by the same factor, or more,
from window to window; one that settles changes less and less.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from portable_nn.operators.registry import Array

WINDOWS: Final = 4

FEWEST: Final = 4
"""The smallest number of points in a window."""

LEAST: Final = 0.04
"""A trend changes the logarithm of the distance by at least this from window to window."""

STEADY: Final = 0.8
"""A trend goes on where each change is at least this share of the one before."""

FLAT: Final = 0.03
"""What stays changes the logarithm of its bounds by less than this, over all that may follow."""

CALMING: Final = 0.6
"""A bound that still changes settles where each change is at most this share of the one before."""

TURNS: Final = 2
"""A cycle crosses its own middle at least so often in the last window, which is half the run."""


class Trend(NamedTuple):
    """What the windows say, the last one first.

    Attributes:
        high, low: the largest and the smallest distance in each, (k,).
        typical: the root mean square in each, (k,).
        crossings: how often the last window crosses its own middle, along the direction in which it is widest.
        width: how wide the last window is in any variable.
    """

    high: Array
    low: Array
    typical: Array
    crossings: int
    width: float

    @property
    def falls(self) -> bool:
        """Whether the distance goes on falling: at least as a power of the step does."""
        changes = -_changes(self.typical)
        steady = (changes >= LEAST).all() and (changes[:-1] >= STEADY * changes[1:]).all()
        return bool(steady and self.high[0] < self.high[2])

    @property
    def declines(self) -> bool:
        """Whether the distance falls from window to window, if ever more slowly."""
        return bool((_changes(self.high) < 0).all())

    @property
    def falls_faster(self) -> bool:
        """Whether it falls, each time by a greater factor, as an exponential does."""
        changes = -_changes(self.high)
        return bool((changes > 1e-5).all() and (changes[:-1] >= changes[1:]).all())

    @property
    def rises(self) -> bool:
        """Whether the largest distance grows from window to window."""
        return bool((np.diff(self.high) < 0).all())

    def grows(self, of: Array) -> bool:
        """Whether ``of`` goes on growing: at least as a logarithm does, by as much from window to window."""
        more = -np.diff(of)
        return bool((_changes(of) >= LEAST).all() and (more[:-1] >= STEADY * more[1:]).all())

    def settles(self, horizon: float) -> bool:
        """Whether both bounds stay as they are, or nearly so, for ``horizon`` times as many steps as there were."""
        return _stays(np.abs(_changes(self.high)), horizon) and _stays(np.abs(_changes(self.low)), horizon)

    @property
    def settled(self) -> tuple[float, float]:
        """The bounds to which those of the windows tend."""
        down, up = (min(1.0, float(of[0] / of[1])) if of[1] else 1.0 for of in (self.low, 1 / self.high))
        return float(self.low[0]) * down, float(self.high[0]) / up

    @property
    def turns(self) -> bool:
        """Whether the points go back and forth."""
        return self.crossings >= TURNS


def trend(t: Array, points: Array, lengths: Array) -> Trend | None:
    """The trend of a run of points (n, d) at steps (n,) with distances (n,); ``None`` where they are too few."""
    last = float(t[-1])
    edges = last / 2.0 ** np.arange(WINDOWS + 1)
    parts = [(t > low) & (t <= high) for high, low in pairwise(edges)]
    if min(int(part.sum()) for part in parts) < FEWEST:
        return None
    found = [lengths[part] for part in parts]
    high, low = (np.array([function(part) for part in found]) for function in (np.max, np.min))
    typical = np.array(
        [np.sqrt(np.mean(np.square(part / top))) * top if top else 0.0 for part, top in zip(found, high, strict=True)]
    )
    return Trend(high, low, typical, _crossings(points[parts[0]]), float(np.ptp(points[parts[0]], axis=0).max()))


def _changes(of: Array) -> Array:
    """The changes of the logarithm from window to window, the last one first."""
    with np.errstate(all="ignore"):
        return np.asarray(np.nan_to_num(-np.diff(np.log(of)), nan=0.0))


def _stays(changes: Array, horizon: float) -> bool:
    """Whether a bound with such changes, of its logarithm, is settled."""
    calms = horizon <= 1 and changes[0] <= 3 * FLAT and changes[0] <= CALMING * changes[1]
    return bool(
        calms or (changes[0] * max(1.0, horizon) <= FLAT and (changes[1] <= 3 * FLAT or changes[0] <= FLAT / 10))
    )


def _crossings(points: Array) -> int:
    """How often points (n, d) cross their middle, along the direction in which they are widest."""
    centred = points - (points.max(0) + points.min(0)) / 2
    size = np.abs(centred).max()
    if not size > 0:
        return 0
    _, _, directions = np.linalg.svd(centred / size, full_matrices=False)
    signs = np.sign(centred @ directions[0])
    signs = signs[signs != 0]
    return int((signs[1:] != signs[:-1]).sum())
