"""Sources of real examples and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from portable_nn.core.arrays import as_array
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.operators import Array, Leaf, NamedArrays

Draws: TypeAlias = "Callable[[int, np.random.Generator], dict[str, Array]]"
"""``(count, generator)`` → examples by name, whose first axis is ``count``."""


def normal(wanted: Mapping[str, Leaf]) -> Draws:
    """A function that draws noise for each input, by name: each element from N(0, 1)."""

    def one(leaf: Leaf, count: int, rng: np.random.Generator) -> Array:
        dtype = np.float32 if leaf.dtype == "float32" else np.float64
        shape = (count, *(int(dim) for dim in leaf.shape[1:]))
        return rng.standard_normal(shape, dtype=dtype).astype(leaf.dtype, copy=False)

    return lambda count, rng: {name: one(leaf, count, rng) for name, leaf in wanted.items()}


def draws(source: Any, wanted: Mapping[str, Leaf], what: str) -> Draws:
    """A function that draws a batch from ``source``, by the names of the inputs in ``wanted``.

    ``source`` is an array (n, …) or a dict of such arrays, of which examples are drawn with replacement, or
    a function ``(count, generator) → examples``.
    Raises ``ShapeError`` or ``UsageError`` where it does not fit.
    """
    if callable(source):
        check(named(source(2, np.random.default_rng(0)), wanted, what), wanted, what)
        return lambda count, rng: named(source(count, rng), wanted, what)
    arrays = {name: as_array(array, f"{what}: '{name}'") for name, array in named(source, wanted, what).items()}
    check(arrays, wanted, what)
    counts = {name: len(array) for name, array in arrays.items()}
    total = next(iter(counts.values()))
    if set(counts.values()) != {total} or not total:
        counts_text = ", ".join(f"'{name}' has {count}" for name, count in counts.items())
        raise ShapeError(f"{what} must have the same number of examples everywhere, at least 1: {counts_text}")
    arrays = {name: array.astype(wanted[name].dtype, copy=False) for name, array in arrays.items()}

    def draw(count: int, rng: np.random.Generator) -> dict[str, Array]:
        places = rng.integers(total, size=count)
        return {name: array[places] for name, array in arrays.items()}

    return draw


def named(given: Any, wanted: Mapping[str, Leaf], what: str) -> dict[str, Array]:
    """``given`` as a dict by the names in ``wanted``; an array is accepted where there is one name."""
    if not isinstance(given, Mapping):
        if len(wanted) != 1:
            raise UsageError(f"{what} must be a dict of arrays by the names {', '.join(wanted)}")
        given = {next(iter(wanted)): given}
    if set(given) != set(wanted):
        raise UsageError(f"{what} must have the names {', '.join(wanted)}, not {', '.join(map(str, given)) or 'none'}")
    return {name: given[name] for name in wanted}


def check(arrays: NamedArrays, wanted: Mapping[str, Leaf], what: str) -> None:
    """Raise ``ShapeError`` where an array's examples do not have the shape of its input."""
    for name, leaf in wanted.items():
        array = np.asarray(arrays[name])
        if array.shape[1:] != leaf.shape[1:] or not array.ndim or array.dtype.kind not in "fiub":
            needed = format_shape(("n", *leaf.shape[1:]))
            raise ShapeError(f"{what}: '{name}' must be {leaf.dtype} {needed}, not {array.dtype} {array.shape}")
