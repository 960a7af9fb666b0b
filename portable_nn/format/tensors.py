"""Arrays and the bytes that files hold of them: little-endian, row-major."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.memory import Bytes

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ITEM_SIZES: Final[Mapping[str, int]] = {
    "float64": 8, "int64": 8, "uint64": 8,
    "float32": 4, "int32": 4, "uint32": 4,
    "float16": 2, "int16": 2, "uint16": 2,
    "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""The element types that a file may hold, by numpy's name, and the bytes of one element."""

BLANK_DIGEST: Final = "0" * 64
"""Stands for a digest that is not known yet."""

_WORTH_A_THREAD: Final = 2**18
"""Bytes from which another thread hashes an array sooner than this one (hashlib releases the interpreter's lock)."""


def to_bytes(array: Array) -> Bytes:
    """The little-endian, row-major bytes of ``array``, shape ``(array.nbytes,)``; a view wherever one can be had."""
    stored = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return stored.reshape(-1).view(np.uint8)


def from_bytes(data: Bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """The array of ``dtype`` and ``shape`` whose bytes are ``data``; a view on a little-endian machine."""
    stored = data.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return stored.astype(dtype, copy=False)


def digest(array: Array) -> str:
    """SHA-256 of the bytes of ``array``, in hexadecimal."""
    return hashlib.sha256(to_bytes(array).data).hexdigest()


def digests(arrays: Collection[Array]) -> list[str]:
    """The digest of each array. Threads hash the large ones while this one hashes the small ones."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        large = pool.map(digest, [array for array in arrays if array.nbytes >= _WORTH_A_THREAD])
        return [next(large) if array.nbytes >= _WORTH_A_THREAD else digest(array) for array in arrays]
