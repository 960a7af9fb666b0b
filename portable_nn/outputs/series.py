"""Predictions for consecutive rows, thinned on their way to what a picture can show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from portable_nn.operators.registry import Array
from portable_nn.prediction.prediction import Prediction
from portable_nn.prediction.predictions import UNSURE, Predictions

COLUMNS: Final = 2048
"""A series is drawn in no more columns than this, each of the mean, the least and the greatest of its rows."""


class Columns:
    """Sums, the least, the greatest, and how many there are, of the rows in each column; of several numbers each.

    A column has one row at first. Where there are too many columns, each two become one: memory stays the same however
    many rows come.
    """

    def __init__(self, width: int) -> None:
        self.rows, self.size = 0, 1
        self.total = np.zeros((COLUMNS, width))
        self.count = np.zeros((COLUMNS, width), np.int64)
        self.least, self.greatest = np.full((COLUMNS, width), np.inf), np.full((COLUMNS, width), -np.inf)

    def add(self, values: Array) -> None:
        """Add the next rows (n, width); NaN where there is no number."""
        for start in range(0, len(values), COLUMNS):
            self._add(values[start : start + COLUMNS])

    def _add(self, values: Array) -> None:
        while self.rows + len(values) > COLUMNS * self.size:
            self._merge()
        places = (self.rows + np.arange(len(values))) // self.size
        there = ~np.isnan(values)
        np.add.at(self.total, places, np.where(there, values, 0))
        np.add.at(self.count, places, there)
        np.minimum.at(self.least, places, np.where(there, values, np.inf))
        np.maximum.at(self.greatest, places, np.where(there, values, -np.inf))
        self.rows += len(values)

    def _merge(self) -> None:
        half = COLUMNS // 2
        for array, join, empty in (
            (self.total, np.add, 0),
            (self.count, np.add, 0),
            (self.least, np.minimum, np.inf),
            (self.greatest, np.maximum, -np.inf),
        ):
            array[:half] = join(array[::2], array[1::2])
            array[half:] = empty
        self.size *= 2

    @property
    def places(self) -> Array:
        """The middle of the rows of each column."""
        return np.arange(-(-self.rows // self.size)) * self.size + (self.size - 1) / 2

    @property
    def mean(self) -> Array:
        """The means (columns, width); NaN where a column has no number."""
        used = slice(len(self.places))
        with np.errstate(invalid="ignore"):
            return np.asarray(self.total[used] / np.where(self.count[used], self.count[used], np.nan))

    @property
    def span(self) -> tuple[Array, Array]:
        """The least and the greatest, likewise."""
        used = slice(len(self.places))
        none = self.count[used] == 0
        return np.where(none, np.nan, self.least[used]), np.where(none, np.nan, self.greatest[used])


class Series:
    """The predictions of a model in the order of the rows, in little memory however many there are.

    Args:
        predictions: those that will be given to ``add``, all of them in their order.

    Attributes:
        columns: the numbers; of classes, the probability of the predicted one, and then 1 for this one and 0 for the
            others, the last of which is "unsure". None before the first row without an error.
        classes: the names of the classes with the last one; empty where the model predicts quantities.
    """

    def __init__(self, predictions: Predictions) -> None:
        self.of = predictions
        self.columns: Columns | None = None
        self.classes: list[str] = []
        self._early = 0

    @property
    def is_gaussian(self) -> bool:
        """True if the numbers are means, and then as many standard deviations."""
        return self.of.kind == "gaussian"

    def watching(self, batches: Iterable[list[Prediction]]) -> Iterator[list[Prediction]]:
        """The same batches, each of which is added."""
        for batch in batches:
            self.add(batch)
            yield batch

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Add the next rows. Those with an error are gaps."""
        good = [each for each in predictions if each.error is None]
        if self.columns is None:
            if not good:
                self._early += len(predictions)
                return
            self.classes = [*self.of.classes, UNSURE] if not good[0].values else []
            self.columns = Columns(1 + len(self.classes) if self.classes else len(good[0].values))
            self.columns.add(np.full((self._early, self.columns.total.shape[1]), np.nan))
        values = np.full((len(predictions), self.columns.total.shape[1]), np.nan)
        places = {name: place for place, name in enumerate(self.classes, start=1)}
        for row, each in zip(values, predictions, strict=True):
            if each.error is not None:
                continue
            if each.values:
                row[:] = each.values
            else:
                row[1:] = 0
                row[0], row[places[each.label or UNSURE]] = each.probability, 1
        self.columns.add(values)
