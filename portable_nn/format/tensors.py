"""The bytes of tensors, their hashes, and the check of their values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import xxhash

from portable_nn.core.memory import CHUNK, Bytes

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ITEM_SIZES: Final[Mapping[str, int]] = {
    "float64": 8, "int64": 8, "uint64": 8,
    "float32": 4, "int32": 4, "uint32": 4,
    "float16": 2, "int16": 2, "uint16": 2,
    "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""The element types that a file may hold, by numpy's name, and the size of one element in bytes."""

_NAMES: Final = {np.dtype(name).char: name for name in ITEM_SIZES}

SMALL: Final = 2**18
"""Tensors of up to this many bytes are hashed in the calling thread: starting another one takes longer."""

DIGEST: Final = "SHA-256"
"""The cryptographic hash, which identifies a network."""

CHECKSUM: Final = "XXH3-128"
"""The fast hash, which detects damage. https://github.com/Cyan4973/xxHash"""


class Hash(Protocol):
    """A hash of hashlib or xxhash."""

    def update(self, data: Any, /) -> None:
        """Hash further bytes."""

    def hexdigest(self) -> str:
        """The hash of all bytes so far, in hexadecimal."""


HASHES: Final[Mapping[str, Callable[..., Hash]]] = {DIGEST: hashlib.sha256, CHECKSUM: xxhash.xxh3_128}
"""The hashes that a manifest holds of each tensor. Both release the interpreter's lock."""

DIGITS: Final[Mapping[str, int]] = {DIGEST: 64, CHECKSUM: 32}
"""The number of their hexadecimal digits."""


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


def hashes(tensors: Mapping[str, Array]) -> dict[str, dict[str, str]]:
    """The hashes of all tensors, by kind and by name. Threads compute those of large tensors.

    No tensor is kept after it was hashed, so that only a few mapped ones are in memory at once.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pending: dict[str, Future[dict[str, str]] | dict[str, str]] = {}
        for name in tensors:
            large = tensors[name].nbytes > SMALL
            pending[name] = pool.submit(_hash, tensors, name) if large else _hash(tensors, name)
        found = {name: each if isinstance(each, dict) else each.result() for name, each in pending.items()}
    return {kind: {name: each[kind] for name, each in found.items()} for kind in HASHES}


def _hash(tensors: Mapping[str, Array], name: str) -> dict[str, str]:
    data = to_bytes(tensors[name]).data
    found = {kind: make() for kind, make in HASHES.items()}
    for start in range(0, len(data), CHUNK):
        for each in found.values():
            each.update(data[start : start + CHUNK])
    return {kind: each.hexdigest() for kind, each in found.items()}


def value_fault(array: Array, *, allow_nonfinite: bool) -> str | None:
    """The fault in the values of ``array``, which may be a part of a tensor, or ``None``."""
    if array.dtype == np.bool and array.size and array.view(np.uint8).max() > 1:
        return "is bool, but has bytes other than 0 and 1"
    if not allow_nonfinite and not is_finite(array):
        return "holds NaN or infinite values"
    return None


def is_finite(array: Array) -> bool:
    """Whether ``array`` has neither NaN nor infinity.

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
