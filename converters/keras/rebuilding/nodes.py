"""Attributes of nodes as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array


def whole(node: Node, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    found = node.attributes.get(name, default)
    assert isinstance(found, int)
    return found


def wholes(node: Node, name: str, default: Sequence[int]) -> list[int]:
    """An attribute that is whole numbers."""
    found = node.attributes.get(name)
    return [int(each) for each in found] if isinstance(found, tuple) else list(default)


def real(node: Node, name: str, default: float) -> float:
    """An attribute that is a number."""
    found = node.attributes.get(name, default)
    assert isinstance(found, int | float)
    return float(found)


def finite(array: Array) -> Array:
    """The array with the largest numbers for infinite ones, which the text of a Keras file has none of."""
    return np.nan_to_num(array, nan=np.nan) if array.dtype.kind == "f" else array
