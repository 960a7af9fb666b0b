"""How good a model is that tells classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.evaluation.class_results import ClassEvaluation, ClassFigures
from portable_nn.evaluation.intervals import Interval, Z, around, wilson
from portable_nn.evaluation.reliability import ReliabilityScores
from portable_nn.evaluation.worst import Worst, WorstOf
from portable_nn.operators.registry import Array

MOST_KEPT: Final = 2_000_000
"""The most numbers of several classes that are kept for the area under the ROC curve."""


class ClassScores:
    """Sums over examples, from which the figures follow; for the area under the ROC curve numbers are kept for each.

    Args:
        names: the classes.
        threshold: where no class has this probability, the model is unsure.
        worst: how many of the worst examples are kept.
    """

    def __init__(self, names: Sequence[str], threshold: float = 0.0, worst: int = 0) -> None:
        self.names, self.threshold = tuple(names), threshold
        self.confusion = np.zeros((len(names), len(names)), np.int64)
        self.count = self.sure = self.sure_right = 0
        self.losses = np.zeros(2)
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
        self.losses += losses.sum(), (losses**2).sum()
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
        loss, variance = self.losses[0] / self.count, self.losses[1] / self.count - (self.losses[0] / self.count) ** 2
        f1 = 2 * hits / np.maximum(support + taken, 1)
        low, high = wilson(hits.sum(), self.count)
        auc, auc_interval = self._auc()
        return ClassEvaluation(
            self.count,
            float(hits.sum() / self.count),
            (float(low), float(high)),
            float(loss),
            around(float(loss), float(variance), self.count, least=0),
            float(support.max() / self.count),
            _figures(self.names, hits, support, taken),
            float((hits / np.maximum(taken, 1))[present].mean()),
            float((hits / np.maximum(support, 1))[present].mean()),
            float(f1[present].mean()),
            _interval_of_f1(self.confusion, present, float(f1[present].mean())),
            self.confusion,
            self.reliability.result(),
            auc,
            auc_interval,
            self.count - self.sure,
            self.sure_right / self.sure if self.sure else None,
            tuple(self.worst.found),
            list(notes),
            left_out,
        )

    def _auc(self) -> tuple[float | None, Interval | None]:
        """The area under the ROC curve: of several classes, the mean of each against the others."""
        if not self.odds:
            return None, None
        scores, classes = map(np.concatenate, zip(*self.odds, strict=True))
        if scores.ndim == 1:
            return _auc(scores, classes == 1)
        areas = [_auc(scores[:, place], classes == place)[0] for place in range(len(self.names))]
        known = [area for area in areas if area is not None]
        return (float(np.mean(known)) if len(known) == len(areas) else None), None


def _figures(names: Sequence[str], hits: Array, support: Array, taken: Array) -> tuple[ClassFigures, ...]:
    shares = [(hits, taken), (hits, support), (hits, support + taken - hits)]
    bounds = [np.stack(wilson(*share), axis=1) for share in shares]
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


def _interval_of_f1(confusion: Array, present: Array, f1: float) -> Interval | None:
    """The interval of the mean F1, a function of the shares of the cells: by its gradient, and their covariance."""
    count = int(confusion.sum())
    both = (confusion.sum(axis=0) + confusion.sum(axis=1)).astype(np.float64)
    both[~present] = 1
    pull = 2 * np.diag(confusion) / both**2  # Each example of a class, or taken for it, lowers its F1 by so much.
    rows, columns = np.nonzero(confusion)
    cells = confusion[rows, columns]
    gradient = -pull[rows] - pull[columns] + np.where(rows == columns, 2 / both[rows], 0)
    gradient *= count / present.sum()
    mean = float((cells * gradient).sum() / count)
    found = around(f1, float((cells * gradient**2).sum() / count) - mean**2, count)
    return found and (max(found[0], 0.0), min(found[1], 1.0))


def _auc(scores: Array, positive: Array) -> tuple[float | None, Interval | None]:
    """The area under the ROC curve, and its interval: DeLong et al. (1988), by midranks as in Sun and Xu (2014)."""
    ups, downs = int(positive.sum()), int((~positive).sum())
    if not ups or not downs:
        return None, None
    ranks = _midranks(scores)
    above = (ranks[positive] - _midranks(scores[positive])) / downs  # The share of the others that each is above.
    below = 1 - (ranks[~positive] - _midranks(scores[~positive])) / ups
    auc = float(above.mean())
    if ups < 2 or downs < 2:
        return auc, None
    half = Z * float(np.sqrt(above.var(ddof=1) / ups + below.var(ddof=1) / downs))
    return auc, (max(auc - half, 0.0), min(auc + half, 1.0))


def _midranks(values: Array) -> Array:
    """The ranks from 1; equal values have the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: Array = (ends - (counts - 1) / 2)[places]
    return middle
