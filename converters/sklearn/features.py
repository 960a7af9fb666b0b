"""The features of a pipeline as symbols."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from portable_nn.core.errors import UsageError
from portable_nn.data.raw import Raw
from portable_nn.layers import Layer
from portable_nn.operators import Symbol, constant, emit


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


def is_gap(value: Any) -> bool:
    """True for what stands where a value is missing: ``None`` or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


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

    def by_column(self, features: Features, make: Callable[[int, Symbol], Symbol]) -> Features:
        """The features that ``make`` makes of each column, its place and its numbers (batch, 1), side by side."""
        made = [make(place, features.taken([place]).symbol) for place in range(len(features))]
        whole = emit("Concat", *made, axis=1) if len(made) > 1 else made[0]
        return self.named("Identity", whole)

    def named(self, operator: str, *inputs: Symbol, **attributes: Any) -> Features:
        """The last node, which bears the name of the step."""
        return self.computed(self.emit(operator, *inputs, **attributes))
