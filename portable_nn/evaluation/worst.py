"""The worst examples of many, and a fair sample of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.operators.registry import Array

POINTS: Final = 3000
"""How many examples are drawn in a scatter."""


class Worst(NamedTuple):
    """An example that a model is wrong about.

    Attributes:
        input: its name, as in ``Prediction``.
        expected: the class or the numbers in the data.
        predicted: those of the model.
        score: its loss, or the largest of its errors, by which examples are ranked.
        probability: the probability of the predicted class, if it is one.
        x: what the network got.
    """

    input: str
    expected: Any
    predicted: Any
    score: float
    probability: float | None = None
    x: Array | None = None


class WorstOf:
    """The ``count`` examples with the largest scores, among equals the first ones."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.found: list[Worst] = []

    def places(self, scores: Array) -> Sequence[int]:
        """Those in a batch that may be among the worst."""
        if not self.count:
            return ()
        if len(self.found) == self.count:
            scores = np.where(scores > self.found[-1].score, scores, -np.inf)
        order = np.argsort(-scores, kind="stable")[: self.count]
        return [int(place) for place in order if scores[place] > -np.inf]

    def update(self, examples: Sequence[Worst]) -> None:
        """Add examples of a batch."""
        self.found = sorted([*self.found, *examples], key=lambda each: -each.score)[: self.count]


class Sample:
    """Rows of numbers, each of all that came as likely as any other; drawn with a fixed seed."""

    def __init__(self, count: int = POINTS) -> None:
        self.count, self.rng = count, np.random.default_rng(0)
        self.keys, self.rows = np.empty(0), np.empty((0, 0))

    def update(self, rows: Array) -> None:
        """Add rows ``(n, width)``: those with the least random numbers stay."""
        keys = self.rng.random(len(rows))
        self.rows = np.concatenate([self.rows.reshape(-1, rows.shape[1]), rows])
        self.keys = np.concatenate([self.keys, keys])
        if len(self.keys) > self.count:
            kept = np.sort(np.argpartition(self.keys, self.count)[: self.count])
            self.keys, self.rows = self.keys[kept], self.rows[kept]
