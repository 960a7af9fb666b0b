"""The worst examples of many, and a fair sample of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.operators.registry import Array

POINTS: Final = 3000
"""The number of examples that are drawn in a scatter."""

KEPT: Final = 2**17
"""The number of elements of a sample that are kept, in whole examples, and at least those that are drawn."""

MOST_PARTS: Final = 1000


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

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.parts: list[tuple[Array, Array]] = []
        self.held = 0

    def update(self, rows: Array) -> None:
        """Add rows ``(n, width)``: those with the least random numbers stay."""
        self.parts.append((self.rng.random(len(rows)), rows))
        self.held += len(rows)
        most = max(POINTS, KEPT // rows.shape[1])
        if self.held > 2 * most or len(self.parts) > MOST_PARTS:
            self._keep(most)

    def rows(self, most: int | None = None) -> Array:
        """Those that are kept, in their order, of which there are ``most`` at most."""
        self._keep(max(POINTS, KEPT // self.parts[0][1].shape[1]))
        keys, rows = self.parts[0]
        return rows[_least(keys, most or len(keys))]

    def _keep(self, most: int) -> None:
        keys, rows = map(np.concatenate, zip(*self.parts, strict=True))
        kept = _least(keys, most)
        self.parts, self.held = [(keys[kept], rows[kept])], len(kept)


def _least(keys: Array, count: int) -> Array:
    """The places of so many of the least keys, in their order."""
    return np.sort(np.argpartition(keys, count)[:count]) if len(keys) > count else np.arange(len(keys))
