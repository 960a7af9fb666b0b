"""How good a model is that predicts numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.evaluation.intervals import around
from portable_nn.evaluation.number_results import NumberEvaluation, NumberFigures
from portable_nn.evaluation.worst import Sample, Worst, WorstOf
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
    """Sums over examples, from which the figures follow.

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
        self.losses = np.zeros(2)
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
        terms = (
            errors, np.abs(errors), squares, squares**2, offsets, offsets**2, offsets**3, offsets**4,
            squares * offsets, squares * offsets**2,
        )  # fmt: skip
        sums = np.stack([term.sum(axis=0) for term in terms])
        self.sums = self.sums + sums if self.count else sums
        self.count += len(errors)
        losses = squares.mean(axis=1)
        if logvars is not None:
            losses = (0.5 * (logvars + squares * np.exp(-logvars) + math.log(2 * math.pi))).mean(axis=1)
            distances = np.abs(errors) * np.exp(-logvars / 2)
            inside = np.stack([(distances <= reach).sum(axis=0) for reach in LEVELS.values()])
            self.inside = self.inside + inside if self.inside.size else inside
        self.losses += losses.sum(), (losses**2).sum()
        self.sample.update(np.concatenate([predicted, targets], axis=1))
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
        loss = float(self.losses[0] / self.count)
        variance = float(self.losses[1] / self.count) - loss**2
        width = self.sums.shape[1]
        return NumberEvaluation(
            self.count,
            loss,
            around(loss, variance, self.count, least=-math.inf if self.inside.size else 0),  # Likelihoods may be less.
            tuple(self._figures(place) for place in range(width)),
            self.sample.rows.reshape(-1, 2, width),
            tuple(self.worst.found),
            list(notes),
            left_out,
        )

    def _figures(self, place: int) -> NumberFigures:
        n = self.count
        e, absolute, e2, e4, d, d2, d3, d4, e2d, e2d2 = (float(each) for each in self.sums[:, place] / n)
        variance = max(d2 - d**2, 0.0)
        mse = around(e2, e4 - e2**2, n)
        is_constant = variance <= (np.finfo(np.float64).eps * max(abs(self.origin[place]), 1e-300)) ** 2
        r2, r2_interval = None, None
        if not is_constant:
            # The influence of an example on R² is (R̄·(y - ȳ)² - e²) / variance, where R̄ = 1 - R².
            left = e2 / variance
            fourth = d4 - 4 * d * d3 + 6 * d**2 * d2 - 3 * d**4
            both = e2d2 - 2 * d * e2d + d**2 * e2
            r2 = 1 - left
            r2_interval = around(r2, (e4 - 2 * left * both + left**2 * fourth) / variance**2, n)
            r2_interval = r2_interval and (r2_interval[0], min(r2_interval[1], 1.0))
        return NumberFigures(
            self.names[place] if place < len(self.names) else "",
            self.units[place] if place < len(self.units) else "",
            math.sqrt(e2),
            absolute,
            r2,
            e,
            float(self.origin[place]) + d,
            math.sqrt(variance),
            None if mse is None else (math.sqrt(max(mse[0], 0.0)), math.sqrt(mse[1])),
            around(absolute, e2 - absolute**2, n, least=0),
            r2_interval,
            around(e, e2 - e**2, n),
            {level: float(self.inside[i, place]) / n for i, level in enumerate(LEVELS)} if self.inside.size else {},
        )
