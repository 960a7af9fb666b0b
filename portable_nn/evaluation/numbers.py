"""The scores of a model that predicts numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.evaluation.intervals import LEAST, Interval, known, of_mean, reach, reasons
from portable_nn.evaluation.number_results import NumberEvaluation, NumberFigures
from portable_nn.evaluation.worst import POINTS, Sample, Worst, WorstOf
from portable_nn.operators.registry import Array

LEVELS: Final[dict[float, float]] = {
    0.5: 0.6744897501960817,
    0.8: 1.2815515655446004,
    0.9: 1.6448536269514722,
    0.95: 1.959963984540054,
    0.99: 2.5758293035489004,
}
"""Shares of a normal distribution, and in how many deviations from its mean they lie."""


class NumberScores:
    """Sums over examples, from which the figures follow; their intervals follow from a sample.

    Args:
        names: what the numbers are; or empty.
        units: their units; or empty.
        worst: how many of the worst examples are kept.
    """

    def __init__(self, names: Sequence[str] = (), units: Sequence[str] = (), worst: int = 0) -> None:
        self.names, self.units = tuple(names), tuple(units)
        self.count = 0
        self.origin, self.scale = np.empty(0), np.empty(0)
        """The mean and deviation of the first targets, from which sums are taken, so that they keep their digits."""
        self.sums: Array = np.zeros(0)
        self.inside: Array = np.zeros(0)
        self.losses = 0.0
        self.sample, self.worst = Sample(), WorstOf(worst)

    def update(
        self,
        predicted: Array,
        targets: Array,
        inputs: Sequence[str] = (),
        x: Array | None = None,
        logvars: Array | None = None,
    ) -> None:
        """Add examples.

        Args:
            predicted: the numbers of the model, ``(n, numbers)``.
            targets: those of the data.
            inputs: the names of the examples; needed for the worst.
            x: what the network got, ``(n, …)``.
            logvars: the logarithms of the variances that the model predicts, if it does.
        """
        predicted, targets = predicted.astype(np.float64), targets.astype(np.float64)
        if not self.count:
            self.origin, spread = targets.mean(axis=0), targets.std(axis=0)
            self.scale = np.where(spread > 0, spread, 1.0)
        errors, offsets = predicted - targets, targets - self.origin
        squares = errors**2
        sums = np.stack([term.sum(axis=0) for term in (errors, np.abs(errors), squares, offsets, offsets**2)])
        self.sums = self.sums + sums if self.count else sums
        self.count += len(errors)
        losses = squares.mean(axis=1)
        if logvars is not None:
            losses = (0.5 * (logvars + squares * np.exp(-logvars) + math.log(2 * math.pi))).mean(axis=1)
            distances = np.abs(errors) * np.exp(-logvars / 2)
            inside = np.stack([(distances <= reach).sum(axis=0) for reach in LEVELS.values()])
            self.inside = self.inside + inside if self.inside.size else inside
        self.losses += float(losses.sum())
        self.sample.update(np.concatenate([predicted, targets, losses[:, np.newaxis]], axis=1))
        scores = np.abs(errors / self.scale).max(axis=1)
        self.worst.update(
            [
                Worst(
                    inputs[place],
                    tuple(targets[place].tolist()),
                    tuple(predicted[place].tolist()),
                    float(scores[place]),
                    x=None if x is None else x[place].copy(),
                )
                for place in self.worst.places(scores)
            ]
        )

    def result(self, notes: Sequence[str] = (), left_out: int = 0) -> NumberEvaluation:
        """The figures of all examples so far, of which there is at least one."""
        loss, width = self.losses / self.count, self.sums.shape[1]
        rows = self.sample.rows()
        is_likelihood = bool(self.inside.size)  # Which may be negative.
        interval = of_mean(loss, rows[:, -1], self.count, LEAST["loss"], positive=not is_likelihood)
        return NumberEvaluation(
            self.count,
            loss,
            known(interval),
            tuple(self._figures(place, rows[:, place], rows[:, width + place]) for place in range(width)),
            self.sample.rows(POINTS)[:, :-1].reshape(-1, 2, width),
            tuple(self.worst.found),
            list(notes),
            left_out,
            reasons({"loss": interval}),
        )

    def _figures(self, place: int, predicted: Array, targets: Array) -> NumberFigures:
        """The figures of one number; ``predicted`` and ``targets`` are those of the sample."""
        e, absolute, e2, d, d2 = (float(each) for each in self.sums[:, place] / self.count)
        variance = max(d2 - d**2, 0.0)
        is_constant = variance <= (np.finfo(np.float64).eps * max(abs(self.origin[place]), 1e-300)) ** 2
        errors = predicted - targets
        mse = of_mean(e2, errors**2, self.count, LEAST["rmse"], positive=True)
        r2 = None if is_constant else 1 - e2 / variance
        intervals = {
            "rmse": mse if isinstance(mse, str) else (math.sqrt(mse[0]), math.sqrt(mse[1])),
            "mae": of_mean(absolute, np.abs(errors), self.count, LEAST["mae"], positive=True),
            "r2": None if r2 is None else _interval_of_r2(r2, mse, errors, targets, self.count),
            "bias": of_mean(e, errors, self.count, LEAST["bias"]),
        }
        return NumberFigures(
            self.names[place] if place < len(self.names) else "",
            self.units[place] if place < len(self.units) else "",
            math.sqrt(e2),
            absolute,
            r2,
            e,
            float(self.origin[place]) + d,
            math.sqrt(variance),
            **{f"{name}_interval": known(each) for name, each in intervals.items()},
            coverage=dict(zip(LEVELS, (self.inside[:, place] / self.count).tolist(), strict=True))
            if self.inside.size
            else {},
            too_few=reasons(intervals),
        )


def _interval_of_r2(r2: float, mse: Interval | str, errors: Array, targets: Array, count: int) -> Interval | str:
    """The interval of R², by the logarithm of 1 - R², which is that of one mean square less that of another.

    It has one where the first of them, ``mse``, has.
    """
    squares, spreads = errors**2, (targets - targets.mean()) ** 2
    parts = [each / (each.mean() or 1.0) - 1 for each in (squares, spreads)]
    ends = reach([parts[0], -parts[1]], count, LEAST["r2"])
    if isinstance(ends, str) or isinstance(mse, str):
        return ends if isinstance(ends, str) else mse
    return 1 - (1 - r2) * math.exp(ends[1]), 1 - (1 - r2) * math.exp(-ends[0])
