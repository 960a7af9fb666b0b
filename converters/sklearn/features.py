"""The features of a pipeline as symbols, and the columns of the table that they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portable_nn.core.errors import UsageError
from portable_nn.format.meaning import Column, Missing, Statistics, Unknown
from portable_nn.layers import Layer
from portable_nn.operators import Symbol, constant, emit

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Raw:
    """A column of the table that goes in, as far as the steps of the pipeline tell what it is.

    Attributes:
        name: its name.
        unit: its unit.
        words: its categories in the order of their numbers; empty for numbers.
        unknown: how other words are met.
        missing: how missing values are met.
        gap: what scikit-learn has in the place of a missing value.
        statistics: those of its numbers, if they are known.
        codes: the numbers that scikit-learn takes alone, where they are categories; or empty.
        place: where it is in the rows that the pipeline takes.
        bare: whether a step takes its numbers as they are, and no missing one, even if others do.
    """

    name: str
    unit: str = ""
    words: list[str] = field(default_factory=list)
    unknown: Unknown = "other"
    missing: Missing = "refuse"
    gap: Any = float("nan")
    statistics: Statistics | None = None
    codes: tuple[float, ...] = ()
    place: int = 0
    bare: bool = False

    def code(self, word: str) -> float:
        """The number of a word, which is a category from now on."""
        if word not in self.words:
            self.words.append(word)
        return float(self.words.index(word))

    @property
    def column(self) -> Column:
        """As the manifest has it."""
        if self.words:
            return Column(self.name, categories=tuple(self.words), unknown=self.unknown, missing=self.missing)
        missing: Missing = "refuse" if self.bare else self.missing
        return Column(self.name, self.unit, missing=missing, statistics=self.statistics)

    def admitted(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Drawn numbers, as far as need be replaced by such that scikit-learn takes."""
        if not self.codes or self.words:
            return cells
        known = np.array(self.codes, cells.dtype)
        return np.where(np.isnan(cells), cells, known[np.nan_to_num(np.abs(cells) * 1000).astype(int) % len(known)])

    def values(self, cells: Floats) -> NDArray[Any]:
        """The cells that scikit-learn takes for the numbers that the network takes."""
        if not self.words:
            return cells
        known = dict(enumerate(self.words))
        return np.array([self.gap if np.isnan(each) else known.get(int(each), STRANGE) for each in cells], object)


STRANGE = "\x00"
"""A word that is no category: no text that people read."""


@dataclass(frozen=True)
class Features:
    """Features side by side, (batch, n).

    Attributes:
        symbol: their numbers.
        raw: for each the column that it is, as it is or with missing values filled; ``None`` for what was computed.
        places: where each is in ``symbol``, if some that no step uses are not; or empty.
    """

    symbol: Symbol
    raw: tuple[Raw | None, ...]
    places: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.raw)

    def taken(self, places: Sequence[int]) -> Features:
        """Some of the features."""
        places = list(places)
        if places == list(range(len(self))):
            return self
        raw = tuple(self.raw[place] for place in places)
        if self.places:
            places = [self.places[place] for place in places]
            if places == list(range(int(self.symbol.shape[1]))):
                return Features(self.symbol, raw)
        return Features(emit("Gather", self.symbol, constant(np.array(places, np.int64), "int64"), axis=1), raw)


def joined(parts: Sequence[Features]) -> Features:
    """Features of several steps side by side."""
    if len(parts) == 1:
        return parts[0]
    symbol = emit("Concat", *(part.symbol for part in parts), axis=1)
    return Features(symbol, tuple(raw for part in parts for raw in part.raw))


def numbers_of(features: Features, what: str) -> Symbol:
    """The symbol of features that must be numbers, none of which is missing unless something computes with that."""
    if words := [raw.name for raw in features.raw if raw is not None and raw.words]:
        raise UsageError(f"{what} reads columns of words as numbers: {', '.join(words)}")
    for raw in features.raw:
        if raw is not None:
            raw.bare = True
    return features.symbol


class Step(Layer):
    """A step of a pipeline: its nodes and numbers, which no training changes, have its name."""

    def __init__(self, name: str, notes: list[str]) -> None:
        super().__init__(re.sub(r"[^\w.\-]+", "_", name))
        self.title, self.notes = name, notes

    def __call__(self, x: Symbol) -> Symbol:
        """A step is made by its function."""
        raise NotImplementedError

    def frozen(self, role: str, values: ArrayLike, x: Symbol) -> Symbol:
        """Numbers that no training changes."""
        array = np.asarray(values, np.float64)
        return self.parameter(role, array.shape, x.dtype, array, trainable=False)

    def numbers(self, features: Features) -> Symbol:
        """The symbol of features that must be numbers."""
        return numbers_of(features, self.title)

    def computed(self, symbol: Symbol) -> Features:
        """Features that are no columns any more."""
        return Features(symbol, (None,) * int(symbol.shape[1]))

    def named(self, operator: str, *inputs: Symbol, **attributes: Any) -> Features:
        """The last node, which bears the name of the step."""
        return self.computed(self.emit(operator, *inputs, **attributes))
