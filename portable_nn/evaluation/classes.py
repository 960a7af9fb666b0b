"""The scores of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.evaluation.intervals import (
    LEAST,
    LEAST_OF_CLASS,
    Interval,
    effective,
    known,
    of_mean,
    reasons,
    share,
    student,
    too_few,
)
from portable_nn.evaluation.reliability import ReliabilityScores
from portable_nn.evaluation.results import ClassEvaluation, ClassFigures
from portable_nn.evaluation.worst import Sample, Worst, WorstOf
from portable_nn.operators.registry import Array

MOST_KEPT: Final = 2_000_000
"""The most numbers of several classes that are kept for the area under the ROC curve."""


class ClassScores:
    """Sums over examples, from which the figures follow; for the area under the ROC curve numbers are kept for each.

    The loss has its interval from a sample of the losses.

    Args:
        names: the classes.
        threshold: where no class has this probability, the model is unsure.
        worst: how many of the worst examples are kept.
    """

    def __init__(self, names: Sequence[str], threshold: float = 0.0, worst: int = 0) -> None:
        self.names, self.threshold = tuple(names), threshold
        self.confusion = np.zeros((len(names), len(names)), np.int64)
        self.count = self.sure = self.sure_right = 0
        self.losses, self.sample = 0.0, Sample()
        self.reliability = ReliabilityScores()
        self.odds: list[tuple[Array, Array]] = []
        self.worst = WorstOf(worst)

    def update(self, logs: Array, classes: Array, inputs: Sequence[str] = (), x: Array | None = None) -> None:
        """Add examples.

        Args:
            logs: the logarithms of the probabilities, ``(n, classes)``.
            classes: the numbers of the right classes, ``(n,)``.
            inputs: the names of the examples; needed for the worst.
            x: what the network got, ``(n, …)``.
        """
        rows = np.arange(len(logs))
        best = logs.argmax(axis=1)
        right, confidence = best == classes, np.exp(logs[rows, best])
        sums = np.exp(logs).sum(axis=1)
        losses = np.where(np.abs(sums - 1) > 1e-3, np.log(sums), 0.0) - logs[rows, classes]
        cells = np.bincount(classes * len(self.names) + best, minlength=self.confusion.size)
        self.confusion += cells.reshape(self.confusion.shape)
        self.count += len(logs)
        self.losses += float(losses.sum())
        self.sample.update(losses[:, np.newaxis])
        self.reliability.update(confidence, right)
        sure = confidence >= self.threshold
        self.sure, self.sure_right = self.sure + int(sure.sum()), self.sure_right + int((sure & right).sum())
        if len(self.names) == 2:
            self.odds.append((logs[:, 1] - logs[:, 0], classes))
        elif self.count * len(self.names) <= MOST_KEPT:
            self.odds.append((logs, classes))
        else:
            self.odds.clear()
        self.worst.update(
            [
                Worst(
                    inputs[place],
                    self.names[classes[place]],
                    self.names[best[place]],
                    float(losses[place]),
                    float(confidence[place]),
                    None if x is None else x[place].copy(),
                )
                for place in self.worst.places(losses)
            ]
        )

    def result(self, notes: Sequence[str] = (), left_out: int = 0) -> ClassEvaluation:
        """The figures of all examples so far, of which there is at least one."""
        hits, support, taken = np.diag(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        present = support + taken > 0
        loss = self.losses / self.count
        f1 = 2 * hits / np.maximum(support + taken, 1)
        low, high = share(hits.sum(), self.count)
        auc, auc_interval = self._auc()
        few = self._too_few(support)
        intervals = {
            "loss": of_mean(loss, self.sample.rows()[:, 0], self.count, LEAST["loss"], positive=True),
            "f1": few or _interval_of_f1(self.confusion),
            "auc": auc_interval and (few or auc_interval),
        }
        return ClassEvaluation(
            self.count,
            float(hits.sum() / self.count),
            (float(low), float(high)),
            loss,
            known(intervals["loss"]),
            float(support.max() / self.count),
            _figures(self.names, hits, support, taken),
            float((hits / np.maximum(taken, 1))[present].mean()),
            float((hits / np.maximum(support, 1))[present].mean()),
            float(f1[present].mean()),
            known(intervals["f1"]),
            self.confusion,
            self.reliability.result(),
            auc,
            known(intervals["auc"]),
            self.count - self.sure,
            self.sure_right / self.sure if self.sure else None,
            tuple(self.worst.found),
            list(notes),
            left_out,
            reasons(intervals),
        )

    def _too_few(self, support: Array) -> str:
        """The rarest class and its count, if that is too small; or empty."""
        rarest = int(support.argmin())
        few = support[rarest] < LEAST_OF_CLASS
        return too_few(support[rarest], LEAST_OF_CLASS, f" of class '{self.names[rarest]}'") if few else ""

    def _auc(self) -> tuple[float | None, Interval | str | None]:
        """The area under the ROC curve: of several classes, the mean of each against the others."""
        if not self.odds:
            return None, None
        scores, classes = map(np.concatenate, zip(*self.odds, strict=True))
        if scores.ndim == 1:
            return _auc(scores, classes == 1)
        found = [_auc(scores[:, place], classes == place)[0] for place in range(len(self.names))]
        areas = [area for area in found if area is not None]
        return (float(np.mean(areas)) if len(areas) == len(found) else None), None


def _figures(names: Sequence[str], hits: Array, support: Array, taken: Array) -> tuple[ClassFigures, ...]:
    shares = [(hits, taken), (hits, support), (hits, support + taken - hits)]
    bounds = [np.stack(share(*each), axis=1) for each in shares]
    bounds[2] = 2 * bounds[2] / (1 + bounds[2])
    values = [hits / np.where(count, count, 1) for _, count in shares]
    values[2] = 2 * values[2] / (1 + values[2])
    found = []
    for place, name in enumerate(names):
        known = [bool(count[place]) for _, count in shares]
        precision, recall, f1 = (float(value[place]) if k else None for value, k in zip(values, known, strict=True))
        ends = [(float(b[place, 0]), float(b[place, 1])) if k else None for b, k in zip(bounds, known, strict=True)]
        found.append(ClassFigures(name, precision, recall, f1, int(support[place]), int(taken[place]), *ends))
    return tuple(found)


def _interval_of_f1(confusion: Array) -> Interval | str:
    """The interval of the mean F1, a function of the shares of the cells: by its gradient, and their covariance.

    Both are those of a matrix in which one more example of each class is taken for others, so that a perfect sample
    has a variance, too. Where no example is right there is none.
    """
    if not confusion.trace():
        return "0 right answers"
    classes = len(confusion)
    wrong = 1 - np.eye(classes)
    cells = confusion + wrong / max(classes - 1, 1)
    both = cells.sum(axis=0) + cells.sum(axis=1)
    hits = np.diag(cells)
    pull = 2 * hits / both**2  # Each example of a class, or taken for it, lowers its F1 by so much.
    gradient = (np.diag(2 / both) - pull - pull[:, np.newaxis]) / classes
    mean = (cells * gradient).sum() / cells.sum()
    f1 = float((2 * hits / both).mean())
    count = effective(f1, float((cells * (gradient - mean) ** 2).sum()))
    low, high = share((2 * np.diag(confusion) / (confusion.sum(axis=0) + confusion.sum(axis=1))).mean() * count, count)
    return float(low), float(high)


def _auc(scores: Array, positive: Array) -> tuple[float | None, Interval | str | None]:
    """The area under the ROC curve, and its interval.

    The variance is that of DeLong et al. (1988), by midranks as in Sun and Xu (2014), with one more example of each
    class that is above half of the others. Its degrees of freedom are those of Welch and Satterthwaite.
    """
    ups, downs = int(positive.sum()), int((~positive).sum())
    if not ups or not downs:
        return None, None
    ranks = _midranks(scores)
    above = (ranks[positive] - _midranks(scores[positive])) / downs  # The share of the others that each is above.
    below = 1 - (ranks[~positive] - _midranks(scores[~positive])) / ups
    area = float(above.mean())
    sides = [np.append(side, 0.5) for side in (above, below)]
    variances = [side.var() / (len(side) - 1) ** 2 * len(side) for side in sides]
    variance = float(sum(variances))
    if not variance:
        return area, "all examples are alike"
    freedom = variance**2 / sum(each**2 / (len(side) - 1) for each, side in zip(variances, sides, strict=True))
    count = effective(float(np.mean([side.mean() for side in sides])), variance)
    low, high = share(area * count, count, student(freedom), step=0)
    return area, (float(low), float(high))


def _midranks(values: Array) -> Array:
    """The ranks from 1; equal values have the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[places]
