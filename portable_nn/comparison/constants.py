"""Constants of two models that are compared: those that one has alone, and the scales of steps."""

from __future__ import annotations

import hashlib

import numpy as np

from portable_nn.comparison.side import Side
from portable_nn.comparison.steps import moved_from, read_by
from portable_nn.comparison.structure import FOLDED
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import magnitude, precision


def own_errors(one: Side, other: Side) -> dict[str, float]:
    """The errors of constants that a model has alone: they may be folded, where roundings add up.

    A number for each channel may be a difference of others, of which the other model has some.
    """
    theirs, vectors = set[bytes](), dict[int, float]()
    for array in filter(_is_float, other.constants.values()):
        theirs.add(_elements(array))
        if array.ndim == 1:
            vectors[array.size] = max(vectors.get(array.size, 0.0), magnitude(array))
    found = {}
    for name, array in one.constants.items():
        if _may_be_folded(array) and _elements(array) not in theirs:
            largest = max(magnitude(array), vectors.get(array.size, 0.0) if array.ndim == 1 else 0.0)
            found[name] = FOLDED * precision(array) * largest
    for node in one.nodes if one.steps else ():
        if node.op_type == "DequantizeLinear" and node.output[0] in found:
            found[node.output[0]] += float(one.constants[node.input[1]].max()) / 2
        found |= {name: 0.5 for each in read_by(node) if (name := moved_from(one, each.name, node)[1]) in one.constants}
    return found


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _may_be_folded(array: Array) -> bool:
    """True for floats, but for one whole number alone, as the exponent 2 is."""
    return _is_float(array) and not (array.size == 1 and array.item() and float(array.item()).is_integer())


def _elements(array: Array) -> bytes:
    """The elements of an array in any order."""
    return hashlib.sha256(np.sort(array, axis=None).tobytes()).digest()
