"""95 % intervals, all of them closed forms.

Wilson's for shares (Wilson, JASA 22, 1927); for others those of the central limit theorem, by the delta method where a
figure is a function of means. They say what another sample of as many examples of the same kind would give.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.operators.registry import Array

Interval: TypeAlias = tuple[float, float]

Z: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson(hits: Any, counts: Any) -> tuple[Array, Array]:
    """The ends of the intervals of the shares ``hits / counts``; NaN where the count is 0."""
    hits, counts = np.asarray(hits, np.float64), np.asarray(counts, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = hits / counts
        middle = share + Z**2 / (2 * counts)
        half = Z * np.sqrt(share * (1 - share) / counts + Z**2 / (4 * counts**2))
        scale = 1 + Z**2 / counts
        low, high = (middle - half) / scale, (middle + half) / scale
    return np.where(hits == 0, np.minimum(low, 0), low).clip(0), np.where(hits == counts, 1, high).clip(None, 1)


def around(estimate: float, variance: float, count: int, least: float = -math.inf) -> Interval | None:
    """The interval of a mean of ``count`` numbers with this ``variance``; None where that is not known.

    No number is below ``least``, and so neither is the interval.
    """
    if count < 2 or not math.isfinite(variance):
        return None
    half = Z * math.sqrt(max(variance, 0.0) / (count - 1))
    return max(estimate - half, least), estimate + half
