"""Sources of real examples and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from portable_nn.core.errors import ShapeError
from portable_nn.core.graph import Value
from portable_nn.engines.feeds import fitted
from portable_nn.operators import Array, Leaf

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
    Raises ``ShapeError`` where it does not fit.
    """
    if callable(source):
        taken(source(2, np.random.default_rng(0)), wanted, what)
        return lambda count, rng: _named(source(count, rng), wanted)
    arrays = taken(source, wanted, what)
    total = len(next(iter(arrays.values())))
    if not total:
        raise ShapeError(f"{what} must have at least one example")

    def draw(count: int, rng: np.random.Generator) -> dict[str, Array]:
        places = rng.integers(total, size=count)
        return {name: array[places] for name, array in arrays.items()}

    return draw


def taken(given: Any, wanted: Mapping[str, Leaf], what: str) -> dict[str, Array]:
    """Examples as arrays by the names in ``wanted``. Raises ``ShapeError``, which calls them ``what``."""
    inputs = [Value(name, leaf.dtype, ("batch", *leaf.shape[1:])) for name, leaf in wanted.items()]
    return fitted(inputs, _named(given, wanted), what)


def _named(given: Any, wanted: Mapping[str, Leaf]) -> dict[str, Any]:
    """Examples by name; an array is that of the first."""
    return {**given} if isinstance(given, Mapping) else dict.fromkeys([*wanted][:1], given)
