"""The calibration of probabilities, and the temperature that improves it.

Of answers that are given 80 %, 80 % are right if the model is calibrated: Guo, Pleiss, Sun and Weinberger, ICML 2017,
arXiv:1706.04599.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.evaluation.intervals import share
from portable_nn.evaluation.probabilities import LEAST
from portable_nn.operators.registry import Array

BINS: Final = 15
"""Bins of equal width, as in the paper: (0, 1/15], (1/15, 2/15], …"""

HOTTEST: Final = 100.0
"""Temperatures are sought from 1/100 to 100."""

MOST_STEPS: Final = 100

PART: Final = 2**18
"""Numbers that are computed with at once."""


@dataclass(frozen=True)
class Bin:
    """The answers whose probability is above ``low``, up to ``high``.

    ``confidence`` is the mean of their probabilities, ``accuracy`` the share of right ones, and ``interval`` its
    95 % interval.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Reliability:
    """The bins that hold answers, and what they sum up to.

    Attributes:
        bins: those that hold answers.
        ece: the expected calibration error: Σ count · |accuracy - confidence| / Σ count.
        by_chance: about what the error of a perfectly calibrated model would be on answers like these: it falls with
            their number.
    """

    bins: tuple[Bin, ...]
    ece: float
    by_chance: float


class ReliabilityScores:
    """Sums over answers, bin by bin."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.right = np.zeros(BINS, np.int64)
        self.confidence, self.variance = np.zeros(BINS), np.zeros(BINS)

    def update(self, confidence: Array, right: Array) -> None:
        """Add answers with their probabilities ``(n,)``, and whether each is right."""
        places = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
        self.counts += np.bincount(places, minlength=BINS)
        self.right += np.bincount(places[right], minlength=BINS)
        self.confidence += np.bincount(places, confidence, BINS)
        self.variance += np.bincount(places, confidence * (1 - confidence), BINS)

    def result(self) -> Reliability:
        """Of all answers so far."""
        low, high = share(self.right, self.counts)
        edges = np.linspace(0, 1, BINS + 1).tolist()
        bins = tuple(
            Bin(edges[i], edges[i + 1], count, self.confidence[i] / count, self.right[i] / count, (low[i], high[i]))
            for i, count in enumerate(self.counts.tolist())
            if count
        )
        total = float(self.counts.sum())
        ece = float(np.abs(self.right - self.confidence).sum() / total)
        # The mean of |x| of a normal distribution is √(2/π) of its deviation.
        return Reliability(bins, ece, float(np.sqrt(2 / np.pi * self.variance).sum() / total))


def parts(rows: Array) -> Iterator[slice]:
    """Slices of rows that are a megabyte or two of numbers each."""
    size = max(1, PART // max(1, rows.shape[1]))
    for start in range(0, len(rows), size):
        yield slice(start, start + size)


def logits_of(numbers: Array, kind: str) -> Array:
    """Logits ``(n, classes)`` that have the probabilities of outputs ``(n, width)`` of some ``kind``."""
    if kind == "probabilities":
        clipped = numbers.clip(LEAST, 1 - LEAST)
        numbers = np.log(clipped) - (np.log1p(-clipped) if numbers.shape[1] == 1 else 0)
    return np.concatenate([np.zeros_like(numbers), numbers], axis=1) if numbers.shape[1] == 1 else numbers


def fit_temperature(logits: Array, classes: Array) -> float:
    """The temperature with the least mean negative log-likelihood of ``classes`` ``(n,)``.

    In β = 1/T it is convex: its slope, the mean of Σ p·z - z[class] for p = softmax(β·z), is 0 in one place, which
    Newton's method finds, or where that leaves the bracket, bisection.

    Raises ``UsageError`` where no temperature from 1/100 to 100 is best.
    """

    def slope(beta: float) -> tuple[float, float]:
        first = second = 0.0
        for part in parts(logits):
            z = logits[part] - logits[part].max(axis=1, keepdims=True)
            p = np.exp(beta * z)
            p /= p.sum(axis=1, keepdims=True)
            mean = (p * z).sum(axis=1)
            first += float((mean - z[np.arange(len(z)), classes[part]]).sum())
            second += float(((p * z * z).sum(axis=1) - mean**2).sum())
        return first / len(logits), second / len(logits)

    low, high = 1 / HOTTEST, HOTTEST
    if slope(low)[0] >= 0:
        raise UsageError(
            "no temperature improves these predictions: the right classes have no larger logits than the others, as if "
            "the model knew nothing of these examples, or their labels were those of other classes"
        )
    if slope(high)[0] <= 0:
        raise UsageError(
            "no temperature is best for these predictions: nearly each is right, and a lower one is always better. "
            "Take more examples, which the model was not trained on"
        )
    beta = 1.0
    for _ in range(MOST_STEPS):
        first, second = slope(beta)
        low, high = (beta, high) if first < 0 else (low, beta)
        step = beta - first / second if second > 0 else low
        new = step if low < step < high else (low * high) ** 0.5
        if abs(new - beta) <= 1e-12 * beta:
            break
        beta = new
    return 1 / beta
