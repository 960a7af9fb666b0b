"""The hashes of tensors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import xxhash

from portable_nn.core.graph import Value
from portable_nn.core.memory import CHUNK
from portable_nn.core.tensors import NamedArrays, to_bytes
from portable_nn.format.packed import pack

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


def hashes(tensors: NamedArrays, values: Iterable[Value]) -> dict[str, dict[str, str]]:
    """The hashes of all tensors as a file has them, by kind and by name. Threads compute those of large tensors.

    The ``values`` say which are packed.

    No tensor is kept after it was hashed, so that only a few mapped ones are in memory at once.
    """
    known = {value.name: value for value in values}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        large = {name: pool.submit(_hash, tensors, known[name]) for name in tensors if tensors[name].nbytes > SMALL}
        found = {name: _hash(tensors, known[name]) for name in tensors if name not in large}
        found |= {name: each.result() for name, each in large.items()}
    return {kind: {name: each[kind] for name, each in found.items()} for kind in HASHES}


def _hash(tensors: NamedArrays, value: Value) -> dict[str, str]:
    data = to_bytes(pack(value, tensors[value.name])).data
    found = {kind: make() for kind, make in HASHES.items()}
    for start in range(0, len(data), CHUNK):
        for each in found.values():
            each.update(data[start : start + CHUNK])
    return {kind: each.hexdigest() for kind, each in found.items()}
