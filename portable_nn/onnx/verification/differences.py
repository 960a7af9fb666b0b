"""Differences of two arrays, how large they may be, and how much a value varies over the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from portable_nn.core.graph import format_shape
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.tolerances import ATOL, RTOL

LAST_DIGITS: Final = 8
"""Units in the last place by which two roundings of one number may always differ."""


class Tolerance(NamedTuple):
    """The absolute and the relative tolerance of a comparison."""

    atol: float = ATOL
    rtol: float = RTOL

    @classmethod
    def of(cls, standard: float, atol: float | None, rtol: float | None) -> Tolerance:
        """The given limits, and the standard one where none is given."""
        return cls(standard if atol is None else atol, standard if rtol is None else rtol)

    def pair(self, name: str, ours: Array, theirs: Array) -> Pair:
        """An output as each side has it, with how far it may differ."""
        return Pair(name, ours, theirs, self.allowed(theirs))

    def allowed(self, array: Array) -> float:
        """The largest allowed difference to an element of ``array``, an output."""
        return self.atol + max(self.rtol, LAST_DIGITS * precision(array)) * magnitude(array)

    def allowed_within(self, array: Array, spread: float, floor: float, terms: float) -> float:
        """The largest allowed difference to an element of ``array``, a value on the way.

        Both tolerances are relative to its ``spread`` over the inputs; added are the last digits of its largest
        magnitude, and of ``floor``, the magnitude that an operator works with inside. Roundings of a sum of many
        ``terms`` grow as the square root of their number.
        """
        digits = max(LAST_DIGITS, math.sqrt(terms)) * precision(array) * max(magnitude(array), floor)
        return (self.atol + self.rtol) * spread + digits


class Pair(NamedTuple):
    """One value, as each side has it, and how far the two may be apart."""

    name: str
    ours: Array
    theirs: Array
    allowed: float = 0.0

    def admits(self, found: Difference) -> bool:
        """True if the two are of one type, and their difference is no larger than it may be."""
        return same_type(self.ours, self.theirs) and found.max_abs_error <= self.allowed

    def said(self, one: str, other: str, place: int | None = None) -> str:
        """The value in words as the sides ``one`` and ``other`` have it: their types, or the elements at a place."""
        at, values = "", [*map(kind_of, self[1:3])]
        if place is not None:
            index = ", ".join(map(str, np.unravel_index(place, self.ours.shape)))
            at, values = f"[{index}]" * bool(index), [f"{each.flat[place]}" for each in (self.ours, self.theirs)]
        return f"'{self.name}'{at} is {values[0]} in {one} and {values[1]} in {other}"


def kind_of(array: Array) -> str:
    """The element type and shape of an array in words."""
    return f"{array.dtype.name} {format_shape(array.shape)}"


class Difference(NamedTuple):
    """The largest absolute difference in one output, and the same relative to its largest magnitude."""

    max_abs_error: float = 0.0
    max_rel_error: float = 0.0

    def or_more(self, other: Difference) -> Difference:
        """The larger of each."""
        return Difference(*map(max, self, other))

    def cells(self) -> tuple[str, str]:
        """Both in words, for a row of a table; infinite are those of other shapes, or of a number and no number."""
        if math.isinf(self.max_abs_error):
            return "not comparable", ""
        return f"{self.max_abs_error:.1e}", f"{self.max_rel_error:.1e}"

    def as_json(self) -> dict[str, float | None]:
        """Both for programs; JSON has no infinity, which is null."""
        return {name: number if math.isfinite(number) else None for name, number in self._asdict().items()}


def difference(ours: Array, theirs: Array) -> Difference:
    """The difference of two arrays; infinite where only one has a finite number, or shapes differ."""
    largest = largest_gap(ours, theirs)
    return Difference(largest, largest / (magnitude(theirs) or 1.0))


def differences(ours: NamedArrays, theirs: NamedArrays) -> dict[str, Difference]:
    """The differences of arrays by name, of all that ``ours`` has."""
    return {name: difference(array, theirs[name]) for name, array in ours.items()}


def largest(found: Iterable[Mapping[str, Difference]]) -> dict[str, Difference]:
    """The largest differences by name of several runs."""
    worst = dict[str, Difference]()
    for each in found:
        worst |= {name: apart.or_more(worst.get(name, apart)) for name, apart in each.items()}
    return worst


def largest_gap(ours: Array, theirs: Array) -> float:
    """The largest absolute difference of an element; infinite where only one is a finite number, or shapes differ."""
    if ours.shape != theirs.shape:
        return math.inf
    if ours.dtype.kind == "f" and ours.size:
        with np.errstate(all="ignore"):
            apart = ours - theirs
            found = abs(max(-float(apart.min()), float(apart.max())))  # Never -0.0.
        if np.isfinite(found):
            return found
    return float(gaps(ours, theirs).max(initial=0.0))


def gaps(ours: Array, theirs: Array) -> Array:
    """The absolute differences of the elements; infinite where only one is a finite number."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))


def finite_gaps(one: Array, other: Array) -> Array:
    """The absolute differences of the elements, 0 where one is no finite number."""
    found = gaps(one, other)
    return np.where(np.isfinite(found), found, 0.0)


def magnitude(array: Array) -> float:
    """The largest finite magnitude."""
    if array.dtype.kind == "f" and array.size:
        low, high = float(array.min()), float(array.max())
        if np.isfinite(low) and np.isfinite(high):
            return abs(max(-low, high))
    return float(np.abs(array, where=np.isfinite(array), out=np.zeros(array.shape)).max(initial=0.0))


def precision(array: Array) -> float:
    """The distance of 1 to the next number; 0 for whole numbers."""
    return float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0


def same_type(ours: Array, theirs: Array) -> bool:
    """True if two arrays have the same shape and element type."""
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype


def spread(one: Array, other: Array) -> float:
    """The typical difference of an element of a value between two inputs: its standard deviation over the inputs.

    That of all elements where data-dependent sizes differ.
    """
    if one.shape != other.shape:
        return deviation(np.concatenate([one.ravel(), other.ravel()]))
    if one.dtype.kind == "f" and one.dtype.itemsize >= _EXACT_BYTES:
        with np.errstate(all="ignore"):
            apart = (one - other).ravel()
            found = float(np.dot(apart, apart))
        if np.isfinite(found):
            return float(np.sqrt(found / max(1, apart.size) / 2))
    apart = finite_gaps(one, other)
    return float(np.sqrt(np.mean(np.square(apart)) / 2)) if apart.size else 0.0


_EXACT_BYTES: Final = 4
"""Shorter floats are summed in float64."""


def deviation(array: Array) -> float:
    """The standard deviation of the finite elements."""
    with np.errstate(all="ignore"):
        found = float(array.std()) if array.size and array.dtype.itemsize >= _EXACT_BYTES else np.nan
    if np.isfinite(found):
        return found
    numbers = array.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return float(numbers.std()) if numbers.size else 0.0
