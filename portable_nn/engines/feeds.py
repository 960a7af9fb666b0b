"""Checking that arrays fit the inputs of a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from portable_nn.core.errors import ShapeError, listed
from portable_nn.core.graph import Dim, Value, format_shape
from portable_nn.operators.registry import Array


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
    arrays = {name: np.asarray(feeds[name]) for name in names if name in feeds}
    bound: dict[Dim, tuple[int, str]] = {}
    faults += [
        fault for value in inputs if value.name in arrays for fault in _mismatches(value, arrays[value.name], bound)
    ]
    if faults:
        raise ShapeError(listed(faults, where))
    return {value.name: arrays[value.name].astype(value.dtype, copy=False) for value in inputs} if cast else arrays


def _mismatches(value: Value, array: Array, bound: dict[Dim, tuple[int, str]]) -> Iterator[str]:
    """Why ``array`` cannot be the input ``value``; ``bound`` collects the symbolic dimensions, and by which input."""
    wanted, found = value.shape, array.shape
    if len(found) != len(wanted) or any(
        size != (dim if isinstance(dim, int) else bound.setdefault(dim, (size, value.name))[0])
        for dim, size in zip(wanted, found, strict=True)
    ):
        known = ", ".join(
            f"{dim} is {size} by '{name}'"
            for dim, (size, name) in bound.items()
            if dim in wanted and name != value.name
        )
        where, hint = f" where {known}" if known else "", ""
        if found == wanted[1:]:
            hint = ": one example alone is x[np.newaxis]"
        yield f"input '{value.name}' needs {format_shape(wanted)}{where}, not {format_shape(found)}{hint}"
    if array.dtype != value.dtype and not np.can_cast(array.dtype, value.dtype, "same_kind"):
        yield f"input '{value.name}' needs {value.dtype}, not {array.dtype}"
