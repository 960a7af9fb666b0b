"""The layer that makes numbers for dense layers of the rows of a table: missing values, scales and categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import Count
from portable_nn.format.meaning import Column
from portable_nn.layers.scaling import Frozen, as_float
from portable_nn.operators import DTYPE_CODES, Symbol, constant, emit

__all__ = ["Columns"]


class Columns(Frozen):
    """The rows of a table as numbers of about the same size: (batch, columns) → (batch, features).

    First the columns of numbers: a missing one, NaN, becomes the mean or the median of its column; each is brought to
    mean 0 and standard deviation 1. Then, for columns whose missing values have an indicator, 1 where one was missing
    and 0 elsewhere. Then the columns with categories, whose numbers are indices: a 1 in the place of the category and 0
    elsewhere, or a trained vector for each category (``embedding``); zeros for what is missing or unknown. The
    arithmetic is a part of the graph, so that every runtime takes the rows as they are.

    Args:
        columns: what the columns are, as ``Network.inputs`` describes them.
        x: the training examples (n, columns), for means, medians and standard deviations.
        embedding: the length of the vector of a category; None for ones and zeros.
        standardise: whether columns of numbers are brought to mean 0 and standard deviation 1.
        name: the name of the last node.

    Raises ``UsageError`` where the examples do not fit the columns. Calling the layer raises ``GraphError`` where the
    input has another number of columns.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        x: ArrayLike,
        *,
        embedding: Count | None = None,
        standardise: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        rows = np.asarray(x, np.float64)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(columns):
            raise UsageError(f"Columns: examples must be (n, {len(columns)}), not {rows.shape}")
        self.columns = tuple(columns)
        self.embedding = None if embedding is None else int(embedding)
        self.standardise = standardise
        self._numbers = [place for place, column in enumerate(columns) if not column.categories]
        self._words = [place for place, column in enumerate(columns) if column.categories]
        numbers = rows[:, self._numbers]
        self._fill = np.array(
            [_filling(cells, columns[place]) for cells, place in zip(numbers.T, self._numbers, strict=True)]
        )
        filled = np.where(np.isnan(numbers), self._fill, numbers)
        self._mean = filled.mean(axis=0)
        std = filled.std(axis=0)
        self._std = np.where(std <= np.abs(self._mean) * np.finfo(np.float32).eps, 1.0, std)

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, columns) → (batch, features)."""
        if len(x.shape) != 2 or x.shape[1] != len(self.columns):
            raise self.invalid(f"it needs (batch, {len(self.columns)}), not {format_shape(x.shape)}")
        x = as_float(x)
        parts = [*self._scaled(x), *self._one_hot(x)]
        return self.emit("Concat", *parts, axis=1) if len(parts) > 1 else self.emit("Identity", parts[0])

    def _scaled(self, x: Symbol) -> list[Symbol]:
        """The columns of numbers, and the indicators of those that may be missing."""
        if not self._numbers:
            return []
        numbers = x if not self._words else _picked(x, self._numbers)
        kinds = [self.columns[place].missing for place in self._numbers]
        indicators: list[Symbol] = []
        if set(kinds) != {"refuse"}:
            absent = emit("IsNaN", numbers)
            numbers = emit("Where", absent, self.frozen("fill", self._fill, x), numbers)
            noted = [place for place, kind in enumerate(kinds) if kind == "indicator"]
            if noted:
                indicators = [emit("Cast", _picked(absent, noted), to=DTYPE_CODES[x.dtype])]
        if self.standardise:
            numbers = emit("Sub", numbers, self.frozen("mean", self._mean, x))
            numbers = emit("Div", numbers, self.frozen("std", self._std, x))
        return [numbers, *indicators]

    def _one_hot(self, x: Symbol) -> list[Symbol]:
        """The columns with categories: ones and zeros, or vectors."""
        if not self._words:
            return []
        counts = [len(self.columns[place].categories) for place in self._words]
        if self.embedding is None:
            places = [place for place, count in zip(self._words, counts, strict=True) for _ in range(count)]
            return [_equal(_picked(x, places), np.concatenate([np.arange(count) for count in counts]))]
        found = []
        for place, count in zip(self._words, counts, strict=True):
            vectors = self.parameter(f"vectors_{place}", (count, self.embedding), x.dtype, "lecun_normal")
            found.append(emit("MatMul", _equal(_picked(x, [place]), np.arange(count)), vectors))
        return found


def _filling(cells: NDArray[np.float64], column: Column) -> float:
    """The number that stands for a missing one."""
    present = cells[~np.isnan(cells)]
    if not len(present):
        return column.statistics.mean if column.statistics else 0.0
    return float(np.median(present) if column.missing == "median" else present.mean())


def _picked(x: Symbol, places: Sequence[int]) -> Symbol:
    return emit("Gather", x, constant(np.array(places, np.int64), "int64"), axis=1)


def _equal(x: Symbol, values: NDArray[Any]) -> Symbol:
    """1 where ``x`` (batch, n) has these values (n,), 0 elsewhere; NaN has none."""
    return emit("Cast", emit("Equal", x, constant(values, x.dtype)), to=DTYPE_CODES[x.dtype])
