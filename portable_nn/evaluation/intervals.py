"""95 % intervals: what another sample of as many examples of the same kind would give. None is drawn at random.

Two mechanisms make them all, and ``docs/sweeps.md`` has how often they hold:

- Shares have Wilson's interval with a correction for continuity (Newcombe, Statistics in Medicine 17, 1998, method 4).
  Other figures between 0 and 1 count as shares of the number of examples at which a share varies as much.
- Means, and smooth functions of them, have Student's t on a scale where they are nearly normal. The end on the side of
  the long tail is farther off, as a sample seldom holds as much of the tail as there is; the other end is nearer.

Where neither would hold, there is a text instead that says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.operators.registry import Array

Interval: TypeAlias = tuple[float, float]

Z: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

LEAST: Final = {"bias": 20, "mae": 60, "rmse": 100, "r2": 150, "loss": 100}
"""From so many examples on a figure has an interval: those that squares make, or losses, need most."""

LEAST_OF_CLASS: Final = 10
"""So many examples of each class the area under the ROC curve and the mean F1 need for theirs."""

HEAVIEST: Final = 0.6
"""The skewness of an estimate up to which it has an interval; it nears 1 where one example has most of its variance.

That example may still be a small part of the figure itself, as one of 1,000 times the mean is among 40,000.
"""

LONG: Final = 2.6
SHORT: Final = 0.25
"""Exponents of the corrections for skewness, on the side of the long tail and on the other; by docs/sweeps.md."""

ALIKE: Final = 1e-12
"""The share of a figure that it must vary by to vary at all."""


def share(hits: Any, counts: Any, z: float = Z, step: float = 1.0) -> tuple[Array, Array]:
    """The ends of the intervals of the shares ``hits / counts``; NaN where the count is 0.

    ``z`` is the quantile. Neighbouring values of the share are ``step / counts`` apart; 0 where it has all values.
    """
    hits, counts = np.asarray(hits, np.float64), np.asarray(counts, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = hits / counts + np.array([-0.5, 0.5]).reshape(2, *[1] * hits.ndim) * step / counts
        found = found.clip(0, 1)
        half = z * np.sqrt(found * (1 - found) / counts + z**2 / (4 * counts**2))
        low, high = (found + z**2 / (2 * counts) + np.stack([-half[0], half[1]])) / (1 + z**2 / counts)
    return np.where(hits == 0, np.minimum(low, 0), low).clip(0), np.where(hits == counts, 1, high).clip(None, 1)


def effective(value: float, variance: float) -> float:
    """The number of examples at which a share of this ``value`` has this ``variance``."""
    return value * (1 - value) / variance


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, to four digits from 9 degrees of freedom on.

    Source: Abramowitz and Stegun, 26.7.5.
    """
    z = Z
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def too_few(count: int, least: int, of: str = "") -> str:
    """The text for a figure of fewer examples than an interval needs."""
    return f"too few for an interval: {count:,}{of}, it needs {least}"


def reach(parts: Sequence[Array], count: int, least: int) -> Interval | str:
    """The reach of the interval of a figure, down and up; or the reason why there is none.

    Args:
        parts: the influence of each example of a sample on the figure, (n,), of mean 0; of a figure that is made of
            several means, that of each: their sum is the influence on the figure.
        count: the number of examples that the figure is made of, of which the sample is a part.
        least: how many are needed.
    """
    if count < least:
        return too_few(count, least)
    size, influence = len(parts[0]), np.sum(parts, axis=0)
    variance = float(np.mean(influence**2))
    if variance <= ALIKE**2:
        return "no interval: all examples are alike"
    tails = [0.0, 0.0]
    for part in parts:
        deviation = float(np.sqrt(np.mean(part**2)))
        third = float(np.mean(part**3)) / (deviation * variance * math.sqrt(size)) if deviation else 0.0
        tails[third > 0] += abs(third)
    if not max(tails) <= HEAVIEST:
        return "no interval: heavy tails"
    half = student(size - 1) * math.sqrt(variance * size / (size - 1) / count)
    near, far = (np.power(1 - np.array(tails), exponent) for exponent in (SHORT, LONG))
    low, high = half * near[::-1] / far
    return float(low), float(high)


def of_mean(mean: float, sample: Array, count: int, least: int, *, positive: bool = False) -> Interval | str:
    """The interval of the mean of ``count`` numbers, of which a ``sample`` (n,) is given; or why there is none.

    The scale of a mean of ``positive`` numbers is logarithmic, so that both ends are positive, too.
    """
    middle = float(sample.mean())
    scale = middle if positive else float(np.abs(sample).max())
    ends = reach([(sample - middle) / (scale or 1.0)], count, least)
    if isinstance(ends, str):
        return ends
    if positive:
        return mean * math.exp(-ends[0]), mean * math.exp(ends[1])
    return mean - scale * ends[0], mean + scale * ends[1]


def known(found: Interval | str | None) -> Interval | None:
    """An interval, or None where there is none."""
    return None if isinstance(found, str) else found


def reasons(found: Mapping[str, Interval | str | None]) -> dict[str, str]:
    """Why there is no interval, by the figure that lacks one."""
    return {name: each for name, each in found.items() if isinstance(each, str)}
