"""The parameters of a network, into which its user may write at any time."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import xxhash

from portable_nn.core.arrays import as_array, check_range
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.forks import Locked
from portable_nn.core.graph import Value, format_shape
from portable_nn.operators.registry import Array, NamedArrays


class _Lender:
    """The base of an array that is handed out: numpy keeps it as long as any view of that array is alive."""

    def __init__(self, array: Array) -> None:
        self.array, self.__array_interface__ = array, array.__array_interface__


class Weights(Locked, NamedArrays):
    """Name → array. Write into the arrays (``[...] =``) to change the weights; names, shapes and types are fixed.

    ``changed`` says whether that may have happened. Nobody can write into an array that nobody holds, so only those are
    hashed that were handed out since the last time, or of which a view, a ``memoryview`` or a tensor of another
    package is still alive.
    """

    def __init__(self, arrays: NamedArrays) -> None:
        super().__init__()
        self.arrays = arrays
        """The same arrays, for whoever only reads them: ``changed`` does not notice writes into these."""
        self._lent: dict[str, weakref.ReferenceType[Array]] = {}
        self._hashes: dict[str, bytes] | None = None

    def __getitem__(self, name: str) -> Array:
        array = self.arrays[name]
        if not array.flags.writeable or not array.size:
            return array
        with self._lock:
            found = self._held(name)
            if found is None:
                if self._hashes is not None and name not in self._hashes:
                    self._hashes[name] = _hash(array)
                found = np.asarray(_Lender(array))
                self._lent[name] = weakref.ref(found)
            return found

    def __call__(self) -> NoReturn:
        """Raises ``UsageError``: it is a mapping."""
        raise UsageError(
            "parameters is a mapping here: network.parameters['dense_1.weight'], and its items() and values()"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        rows = (f"{name}: {array.dtype} {array.shape}" for name, array in self.arrays.items())
        return f"<Weights {', '.join(rows)}>"

    def _held(self, name: str) -> Array | None:
        """The array that was handed out, if anybody still holds it or a view of it."""
        lent = self._lent.get(name)
        return lent() if lent else None

    def watch(self) -> None:
        """Begin to watch for changes: from what the weights are now."""
        with self._lock:
            self._hashes = {name: _hash(self.arrays[name]) for name in self._lent if self._held(name) is not None}

    def changed(self) -> bool:
        """True if any weight differs from what it was when ``watch`` was called last; true before the first call."""
        with self._lock:
            if self._hashes is None:
                return True
            for name, before in tuple(self._hashes.items()):
                is_held = self._held(name) is not None  # Asked first: what nobody holds then is not written any more.
                if _hash(self.arrays[name]) != before:
                    return True
                if not is_held:
                    del self._hashes[name]
        return False


def _hash(array: Array) -> bytes:
    """The XXH3 of the elements, 128 bits."""
    return xxhash.xxh3_128_digest((array.T if array.flags.f_contiguous else np.ascontiguousarray(array)).data)


def check_fit(expected: Mapping[str, Value], found: Mapping[str, Any], where: str) -> None:
    """Raise a ``ShapeError`` that lists every tensor that is missing, unknown, or of another shape or type."""
    faults = []
    for name, value in expected.items():
        if name not in found:
            faults.append(f"tensor '{name}' {format_shape(value.shape)} is missing")
            continue
        try:
            array = as_array(found[name], f"tensor '{name}'")
            check_range(array, value.dtype, f"tensor '{name}'")
        except UsageError as error:
            faults.append(str(error))
            continue
        if array.shape != value.shape:
            faults.append(
                f"tensor '{name}' must have shape {format_shape(value.shape)}, not {format_shape(array.shape)}"
            )
        elif not np.can_cast(array.dtype, value.dtype, "same_kind"):
            faults.append(f"tensor '{name}' must be {value.dtype}, not {array.dtype}")
    faults.extend(f"tensor '{name}' belongs to no node" for name in found if name not in expected)
    if faults:
        raise ShapeError(listed(faults, where))
