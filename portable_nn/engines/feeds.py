"""Checking that arrays fit the inputs of a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.core.arrays import as_array
from portable_nn.core.arrays import cast as as_type
from portable_nn.core.dims import evaluated, is_name, names_in, static
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.foreign_values import is_path, is_picture, is_table
from portable_nn.core.graph import Dim, Shape, Value, format_shape
from portable_nn.operators.registry import Array, NamedArrays


def fitted(
    inputs: Sequence[Value], feeds: Mapping[str, Any], where: str = "", *, cast: bool = True
) -> dict[str, Array]:
    """``feeds`` as an array for each of ``inputs``; with ``cast`` of its type, if that is of the same kind.

    Raises ``ShapeError`` that lists every input that is missing, unknown, or of another shape or type; a symbolic
    dimension must be the same in all of them.
    """
    names = [value.name for value in inputs]
    faults = [f"'{name}' is not one of the inputs {', '.join(names)}" for name in feeds if name not in names]
    faults += [f"input '{name}' is missing" for name in names if name not in feeds]
    arrays = {name: as_array(feeds[name], f"input '{name}'") for name in names if name in feeds}
    bound = _bound(inputs, arrays)
    faults += [
        fault for value in inputs if value.name in arrays for fault in _mismatches(value, arrays[value.name], bound)
    ]
    if faults:
        raise ShapeError(listed(faults, where))
    if not cast:
        return arrays
    return {value.name: as_type(arrays[value.name], value.dtype, f"input '{value.name}'") for value in inputs}


def _bound(inputs: Sequence[Value], arrays: NamedArrays) -> dict[Dim, tuple[int, str]]:
    """The symbolic dimensions, and by which input; formulas by the names in them, where all of these are known."""
    found: dict[Dim, tuple[int, str]] = {}
    for value in inputs:
        shape = arrays[value.name].shape if value.name in arrays else ()
        if len(shape) == len(value.shape):
            for dim, size in zip(value.shape, shape, strict=True):
                if isinstance(dim, str):
                    found.setdefault(dim, (size, value.name))
    sizes = {dim: size for dim, (size, _) in found.items() if is_name(dim)}
    for dim, (size, name) in found.items():
        if dim not in sizes:
            number = evaluated(dim, sizes)
            found[dim] = size if number is None else number, name
    return found


def _mismatches(value: Value, array: Array, bound: Mapping[Dim, tuple[int, str]]) -> Iterator[str]:
    """Why ``array`` cannot be the input ``value`` where the symbolic dimensions are as ``bound`` has them."""
    wanted, found = value.shape, array.shape
    if len(found) != len(wanted) or any(
        size != (dim if isinstance(dim, int) else bound[dim][0]) for dim, size in zip(wanted, found, strict=True)
    ):
        read = {*wanted, *names_in(wanted)} if len(found) == len(wanted) else ()
        known = ", ".join(
            f"{dim} is {size} by '{name}'" for dim, (size, name) in bound.items() if dim in read and name != value.name
        )
        where, hint = f" where {known}" if known else "", _hint(wanted, found)
        yield f"input '{value.name}' needs {format_shape(wanted)}{where}, not {format_shape(found)}{hint}"
    if array.dtype != value.dtype and not np.can_cast(array.dtype, value.dtype, "same_kind"):
        yield f"input '{value.name}' needs {value.dtype}, not {array.dtype}"


def _hint(wanted: Shape, found: tuple[int, ...]) -> str:
    """The change that probably makes the wanted shape of the one that was found."""
    example = static(wanted[1:])
    if found == wanted[1:]:
        return ": one example alone is x[np.newaxis]"
    if example is None or len(example) < 2 or found[1:] == example:
        return ""
    if any(math.prod(rest) == math.prod(example) and _same_order(rest, example) for rest in (found, found[1:])):
        return f": x.reshape{(-1, *example)} has this shape"
    if len(example) == 3 and found[1:] == (*example[1:], example[0]):
        return ": np.moveaxis(x, -1, 1) puts the channels first"
    if len(example) == 3 and len(found) in (2, 3):
        return ": pnn.predict(network, picture) takes pictures of any size, as files or PIL images"
    return ""


def _same_order(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """True if two shapes have the same axes but for those of length 1, or one of them has all in one axis."""
    bare = [[size for size in shape if size != 1] for shape in (one, other)]
    return min(map(len, bare)) <= 1 or bare[0] == bare[1]


def check_kind(x: Any) -> None:
    """Raise ``UsageError`` for what is no array of numbers, but something that ``pnn.predict`` takes."""
    first = x[0] if isinstance(x, (list, tuple)) and x else x
    for is_one, what, call in _OTHER_KINDS:
        if is_one(first):
            given = f"[{call}, …]" if first is not x else call
            raise UsageError(f"Network.predict takes arrays of numbers, not {what}: use pnn.predict(network, {given})")


_OTHER_KINDS: Final = (
    (is_path, "paths", "path"),
    (is_picture, "pictures", "picture"),
    (is_table, "tables", "table"),
)
"""The kinds of values that ``predict`` of a network is given by mistake: a function that recognises each, and its name
in messages."""
