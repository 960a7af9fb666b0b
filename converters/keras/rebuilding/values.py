"""The values of a graph as Keras has them: tensors, weights, and sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from portable_nn.core.graph import Dim
from portable_nn.core.tensors import Array


class Fixed(NamedTuple):
    """A value that no input decides: a weight, what nodes make of some, or a constant, which has no ``names``.

    ``moved``: whether it is a weight, or its entries in another order, and nothing that is computed from weights.
    """

    array: Array
    trained: bool
    names: tuple[str, ...]
    moved: bool = True


class Laid(NamedTuple):
    """A Keras tensor for a value of the graph, whose axis i is axis ``axes[i]`` of the tensor."""

    tensor: Any
    axes: tuple[int, ...]


class Sizes(NamedTuple):
    """Sizes of which some are open, as lists of them give shapes: they have no tensor."""

    sizes: tuple[Dim | float, ...]


Made = Fixed | Laid | Sizes


def plain(rank: int) -> tuple[int, ...]:
    """The axes of a tensor in the order of the graph."""
    return tuple(range(rank))


def last(rank: int) -> tuple[int, ...]:
    """The axes of a tensor with the channels last."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 1 else plain(rank)


def finite(array: Array) -> Array:
    """The array with the largest numbers for infinite ones, which the text of a Keras file has none of."""
    return np.asarray(np.nan_to_num(array, nan=np.nan)) if array.dtype.kind == "f" else array
