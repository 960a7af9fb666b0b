"""The numbers that packed arrays stand for, by the conventions of CF (1.11, sections 2.5.1 and 8.1).

What is stored, times ``scale_factor``, plus ``add_offset``, is the number, in the type of these two. Compared with what
is stored, ``_FillValue``, ``missing_value`` and all outside of ``valid_range``, or ``valid_min`` and ``valid_max``, are
missing: NaN. ``_Unsigned`` says whether the bits of whole numbers are those of unsigned ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import FormatError
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import quantity, shortened

ATTRIBUTES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("scale_factor", "add_offset", "_FillValue", "valid_min", "valid_max"), 1),
    "valid_range": 2,
    "missing_value": 100,
    "_Unsigned": 0,
}
"""The attributes that are read, and the most numbers that each may have."""


MEANINGS: Final = ("units", "flag_values", "flag_meanings")
"""The attributes that say what numbers mean (sections 3.1 and 3.5)."""

MOST_CLASSES: Final = 1000
"""The most classes whose names are read."""


class Meaning(NamedTuple):
    """The meaning of numbers: their unit, or the names of the classes 0, 1, 2, …; empty where nothing says it.

    ``unread`` are the attributes that would say it, but are of a kind that is not read.
    """

    unit: str = ""
    labels: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """The attributes that say it."""
        return MEANINGS[:1] * bool(self.unit) + MEANINGS[1:] * bool(self.labels)


def meaning_of(attributes: Mapping[str, Any]) -> Meaning:
    """The meaning that ``attributes`` give, those of ``MEANINGS`` that an array has; another form of them gives none.

    >>> meaning_of({"flag_values": [0, 1, 3], "flag_meanings": "ocean lake land"}).labels
    ('ocean', 'lake', '2', 'land')
    """
    unit, values, words = (attributes.get(name, "") for name in MEANINGS)
    if labels := _labels(values.ravel().tolist() if isinstance(values, np.ndarray) else values, words):
        return Meaning("", labels)
    return Meaning(unit) if isinstance(unit, str) and unit.isprintable() and unit != "1" else Meaning()


def _labels(numbers: Any, words: Any) -> tuple[str, ...]:
    """The names of classes, of which each number has one among the words; none where they are something else."""
    names = words.split() if isinstance(words, str) and words.replace("\n", " ").isprintable() else []
    if not names or not isinstance(numbers, list):
        return ()
    called = {number: name for number, name in zip(numbers, names, strict=False) if type(number) is int}
    is_whole = len(numbers) == len(called) == len(set(names)) == len(names)
    if not is_whole or not 0 <= min(called) <= max(called) < MOST_CLASSES:
        return ()
    return tuple(called.get(number, str(number)) for number in range(max(called) + 1))


class Packing(NamedTuple):
    """The meaning of what is stored in an array.

    Args:
        seen: the type of what is stored, with the sign that it is meant to have.
        dtype: the type of the numbers.
        scale, offset: what is stored is multiplied by the one, and the other is added.
        missing: what is stored in place of a number that is missing.
        least, most: the bounds of what is valid, as it is stored.
    """

    seen: np.dtype[Any]
    dtype: np.dtype[Any]
    scale: float
    offset: float
    missing: tuple[float, ...]
    least: float
    most: float

    def unpacked(self, stored: Array, where: str | Path) -> Array:
        """The numbers. Raises ``FormatError`` where one is too large for their type."""
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False).view(self.seen)
        is_scaled = (self.scale, self.offset) != (1, 0)
        found = stored.astype(np.float64 if is_scaled else self.dtype)
        for value in self.missing:
            found[stored == value] = np.nan
        if self.least > -math.inf:
            found[stored < self.least] = np.nan
        if self.most < math.inf:
            found[stored > self.most] = np.nan
        if not is_scaled:
            return found
        try:
            with np.errstate(over="raise"):
                found *= self.scale
                found += self.offset
                return found.astype(self.dtype, copy=False)
        except FloatingPointError:
            reason = f"holds numbers that are too large for {self.dtype} with the scale_factor {self.scale:g}"
            raise FormatError(where, reason) from None


def packing_of(dtype: np.dtype[Any], attributes: Mapping[str, Any], where: str | Path) -> Packing | None:
    """The packing of an array of a type; ``None`` where it holds the numbers themselves.

    ``attributes`` are those of ``ATTRIBUTES`` that it has: numbers, arrays of numbers, or text.

    Raises ``FormatError`` where they do not say what the numbers are.
    """
    if dtype.kind not in "iuf" or not attributes:
        return None
    dtype = dtype.newbyteorder("=")
    seen = _seen(dtype, attributes.get("_Unsigned"), where)
    given = {name: _numbers(name, value, where) for name, value in attributes.items() if name != "_Unsigned"}
    scale, offset, unpacked = _factors(given, where)
    missing = _missing(given, dtype, seen, where)
    least, most = _bounds(given, dtype, seen, unpacked is not None, where)
    if unpacked is None:
        has_gaps = bool(missing) or (least, most) != (-math.inf, math.inf)
        unpacked = np.promote_types(seen, np.float32) if has_gaps and seen.kind != "f" else seen
        if unpacked == dtype and not has_gaps:
            return None
    return Packing(seen, unpacked, scale, offset, missing, least, most)


def _factors(given: NamedArrays, where: str | Path) -> tuple[float, float, np.dtype[Any] | None]:
    """The factor, the number that is added, and the type of the result; ``None`` where nothing changes.

    Raises ``FormatError`` where the factor is 0, or either is infinite or NaN.
    """
    found = {name: given[name][0] for name in ("scale_factor", "add_offset") if name in given}
    scale, offset = float(found.get("scale_factor", 1)), float(found.get("add_offset", 0))
    if not (math.isfinite(scale) and scale and math.isfinite(offset)):
        reason = (
            f"has the scale_factor {scale:g} and the add_offset {offset:g}: expected finite numbers, the first not 0"
        )
        raise FormatError(where, reason)
    types = [each.dtype if each.dtype.kind == "f" else np.float64 for each in found.values()]
    return scale, offset, None if (scale, offset) == (1, 0) else np.result_type(np.float32, *types)


def _seen(dtype: np.dtype[Any], unsigned: object, where: str | Path) -> np.dtype[Any]:
    """The type that the bits of whole numbers are meant as. Raises ``FormatError``."""
    if unsigned is None or dtype.kind == "f":
        return dtype
    kinds = {"true": "u", "false": "i"}
    if (word := str(unsigned).lower()) not in kinds:
        raise FormatError(where, f"has the attribute _Unsigned {shortened(unsigned)}: expected true or false")
    return np.dtype(f"{kinds[word]}{dtype.itemsize}")


def _numbers(name: str, value: Any, where: str | Path) -> Array:
    """The numbers of an attribute, (n,). Raises ``FormatError`` where they are none, or not as many as there may be."""
    try:
        found = np.atleast_1d(np.asarray(value))
    except ValueError:  # Lists in lists of several lengths.
        found = np.empty(0)
    if found.dtype.kind not in "iuf" or found.ndim > 1 or not 1 <= found.size <= ATTRIBUTES[name]:
        expected = quantity(ATTRIBUTES[name], "number")
        raise FormatError(where, f"has the attribute {name} {shortened(value)}: expected {expected}")
    return found


def _missing(given: NamedArrays, dtype: np.dtype[Any], seen: np.dtype[Any], where: str | Path) -> tuple[float, ...]:
    """The marks of missing numbers, as they are stored. Raises ``FormatError``."""
    fills = [(name, each) for name in ("_FillValue", "missing_value") for each in given.get(name, ())]
    marks = {_as_stored(name, each, dtype, seen, where) for name, each in fills}
    return tuple(each for each in marks if not math.isnan(each))  # NaN remains NaN.


def _as_stored(name: str, value: Any, dtype: np.dtype[Any], seen: np.dtype[Any], where: str | Path) -> float:
    """A number as what is stored is seen. Raises ``FormatError`` where it cannot be stored."""
    if seen.kind == "f":
        with np.errstate(over="ignore"):
            return float(value.astype(seen))
    number = int(value) if math.isfinite(value) and int(value) == value else None
    for kind in (seen, dtype):  # With _Unsigned, it may be written in either way.
        if number is not None and np.iinfo(kind).min <= number <= np.iinfo(kind).max:
            return int(np.array(number, kind).view(seen))
    raise FormatError(where, f"has the {name} {value:g}, which is none of the numbers that {seen} can hold")


def _bounds(
    given: NamedArrays, dtype: np.dtype[Any], seen: np.dtype[Any], is_scaled: bool, where: str | Path
) -> tuple[float, float]:
    """The bounds of what is valid, as it is stored. Raises ``FormatError``."""
    ends = {name: each for name, each in given.items() if name.startswith("valid")}
    for name, each in ends.items():
        if is_scaled and seen.kind != "f" and each.dtype.kind == "f":
            reason = (
                f"has the {name} {each.tolist()} of {each.dtype}, and stores {dtype}: is it before or after unpacking?"
            )
            raise FormatError(where, f"{reason} Expected {dtype}, for before")
        if np.isnan(each).any() or (name == "valid_range" and each.size != 2):
            raise FormatError(where, f"has the {name} {each.tolist()}: expected two numbers, or one for each end")

    def end(value: Any) -> float:
        if value.dtype == dtype and dtype != seen:
            value = value.view(seen)
        return float(value.astype(seen)) if seen.kind == "f" else value.item()

    lows = [end(ends[name][0]) for name in ("valid_min", "valid_range") if name in ends]
    highs = [end(ends[name][-1]) for name in ("valid_max", "valid_range") if name in ends]
    least, most = max([-math.inf, *lows]), min([math.inf, *highs])
    if least > most:
        raise FormatError(where, f"has a valid range from {least:g} to {most:g}, in which there is nothing")
    return least, most
