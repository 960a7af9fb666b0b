"""Tensors as files store them: element types, bytes and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.memory import Bytes

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

NamedArrays: TypeAlias = Mapping[str, Array]
"""Arrays by name."""

ITEM_SIZES: Final[Mapping[str, int]] = {
    "float64": 8, "int64": 8, "uint64": 8,
    "float32": 4, "int32": 4, "uint32": 4,
    "float16": 2, "int16": 2, "uint16": 2,
    "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""The element types that a file may hold, by numpy's name, and the size of one element in bytes."""

_NAMES: Final = {np.dtype(name).char: name for name in ITEM_SIZES}


def signature(array: Array) -> tuple[str, tuple[int, ...]]:
    """The dtype of ``array``, by its name in a file, and its shape; ``dtype.name`` of numpy is slow."""
    return _NAMES.get(array.dtype.char) or array.dtype.name, array.shape


def to_bytes(array: Array) -> Bytes:
    """The little-endian, row-major bytes of ``array``, shape ``(array.nbytes,)``; a view where possible."""
    stored = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return stored.reshape(-1).view(np.uint8)


def from_bytes(data: Bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """The array of ``dtype`` and ``shape`` whose bytes are ``data``; a view on a little-endian machine."""
    stored = data.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return stored.astype(dtype, copy=False)


def value_fault(array: Array, *, allow_nonfinite: bool) -> str | None:
    """The fault in the values of ``array``, which may be a part of a tensor, or ``None``."""
    if array.dtype == np.bool and array.size and array.view(np.uint8).max() > 1:
        return "is bool, but has bytes other than 0 and 1"
    if not allow_nonfinite and not is_finite(array):
        return "holds NaN or infinite values"
    return None


def is_finite(array: Array) -> bool:
    """True if ``array`` has neither NaN nor infinity.

    Their exponent is all ones, so that their bits, as signed and as unsigned integers, are at least those of infinity:
    the fastest way to find them, and it needs no memory.
    """
    if array.dtype.kind != "f" or not array.size:
        return True
    for kind, infinity in (("i", np.inf), ("u", -np.inf)):
        whole = array.dtype.str.replace("f", kind)
        if array.view(whole).max() >= np.asarray(infinity, array.dtype).view(whole):
            return False
    return True
