"""Made-up rows, on which estimators are fitted for all that they keep, before they get the numbers of a network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from portable_nn.converters.sklearn.features import STRANGE
from portable_nn.converters.sklearn.values import Array, Value, source
from portable_nn.data.columns import TRUTH, word_of
from portable_nn.format.meaning import Column

COUNT: Final = 8
"""The rows that are made up, or more where there are more categories or components."""


@dataclass(frozen=True)
class Rows:
    """What goes in, as scikit-learn takes it.

    Attributes:
        columns: the columns; such without a name for arrays.
        words: for each column what stands in the table for its categories; empty for numbers.
        gaps: for each column what stands in the place of a missing word, NaN or ``None``.
        names: the names of the columns of a frame; empty for arrays.
        classes: the classes that are predicted; empty for numbers.
    """

    columns: tuple[Column, ...]
    words: tuple[Array, ...]
    gaps: tuple[float | None, ...]
    names: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()

    def origins(self, x: Value) -> list[int | None]:
        """For each feature the column that it is, as it is or with missing values filled; ``None`` for others."""
        if x.kind == "row":
            return list(range(x.width))
        if x.kind == "taken":
            found = self.origins(x.base)
            return [found[place] for place in x.of["places"]]
        if x.kind == "filled":
            return [*self.origins(x.base), *(None for _ in x.of.get("indicators", ()))]
        return [None] * x.width

    def is_raw(self, x: Value) -> bool:
        """Whether features are columns as they are."""
        return source(x)[0].kind == "row"

    def framed(self, cells: Sequence[Array], x: Value) -> Any:
        """Columns of cells as what an estimator gets of features: a frame if they are named, or an array."""
        if self.names and self.is_raw(x):
            names = [self.names[place] for place in source(x)[1]]
            if len(set(names)) == len(names):
                return frame_of(names, cells)
        if any(each.dtype.kind == "O" for each in cells):
            return np.stack([each.astype(object) for each in cells], axis=1)
        return np.stack(cells, axis=1) if len(cells) else np.zeros((COUNT, 0))

    def made_up(self, x: Value, count: int = COUNT) -> Any:
        """Numbers above 0 for features, of which no two are the same; words for columns of words."""
        count = max(count, x.width + 2)
        numbers = 1 + np.random.default_rng(0).random((count, x.width))
        return self.framed(
            [self._cells(place, each) for place, each in zip(self.origins(x), numbers.T, strict=True)], x
        )

    def _cells(self, place: int | None, numbers: Array) -> Array:
        words = () if place is None else self.words[place]
        return np.array([words[row % len(words)] for row in range(len(numbers))], object) if len(words) else numbers

    def given(self, rows: Array) -> Any:
        """Rows of the network, (n, columns), as scikit-learn takes them."""
        cells = [self._decoded(rows[:, place].astype(np.float64), place) for place in range(len(self.words))]
        if not self.names:
            return self.framed(cells, Value("row", len(cells)))
        return frame_of(self.names, cells)

    def _decoded(self, numbers: Array, place: int) -> Array:
        words = self.words[place]
        if not len(words):
            return numbers
        known: Mapping[int, Any] = dict(enumerate(words))
        other = STRANGE if any(isinstance(word, str) for word in words) else -(2**30)
        found = [self.gaps[place] if np.isnan(each) else known.get(int(each), other) for each in numbers]
        return np.array(found, object if any(isinstance(word, (str, bool)) for word in words) else np.float64)


def frame_of(names: Sequence[str], cells: Sequence[Array]) -> Any:
    """Columns as a frame of pandas, in which words and what is missing stay what they are."""
    import pandas as pd

    return pd.DataFrame({name: pd.Series(each, dtype=each.dtype) for name, each in zip(names, cells, strict=True)})


def spelled(column: Column) -> Array:
    """What pandas makes of the words of a column when it reads a CSV file: numbers and booleans are such there."""
    words = column.categories
    if words and set(words) <= TRUTH.keys():
        return np.array([bool(TRUTH[word]) for word in words], object)
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return np.array(words, object)
    if any(word_of(number) != word for number, word in zip(numbers, words, strict=True)):
        return np.array(words, object)
    return np.array([int(number) if number.is_integer() else number for number in numbers], object)


def fitted(estimator: Any, x: Any, y: Any = None) -> Any:
    """An estimator, fitted without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(x, y)


def stand_in(width: int) -> Any:
    """A transformer of ``width`` features, in whose place a fitted one comes."""
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(lambda x: np.zeros((len(x), width)))


def named(steps: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Steps with names that scikit-learn takes, of which no two are the same."""
    found = list[tuple[str, Any]]()
    for name, each in steps:
        name = name.strip("_").replace("__", "_") or "step"
        name = f"{name}-step" if name in RESERVED else name
        used = {other for other, _ in found}
        names = (name if number == 1 else f"{name}-{number}" for number in range(1, len(used) + 2))
        found.append((next(each for each in names if each not in used), each))
    return found


RESERVED: Final = frozenset(
    {"force_int_remainder_cols", "memory", "n_jobs", "remainder", "sparse_threshold", "steps", "transform_input",
     "transformer_weights", "transformers", "verbose", "verbose_feature_names_out"}
)  # fmt: skip
"""Options of pipelines, which no step can have as its name."""
