"""What all readers of plain files share: the listing of a file, and the mapping of its tensors by name."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import RLock
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np

from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.format.tensors import ITEM_SIZES, Array, value_fault

NUMBERS: Final[Mapping[str, int]] = {**ITEM_SIZES, "complex64": 8, "complex128": 16}
"""The types of numbers that plain files may hold, as numpy calls them, and the bytes of one."""

MAX_TENSORS: Final = 2**17
MAX_RANK: Final = 64
"""The most axes that an array of numpy can have."""

MAX_BYTES: Final = 2**63 - 1
"""The longest file that a file system can hold."""

RATIO: Final = 1100
"""The largest compression ratio. Deflate reaches 1,032, with zeros; a decompression bomb claims more."""


@dataclass(frozen=True)
class Entry:
    """The header of a tensor. ``dtype`` is numpy's name of its type, or the file's where numpy has none."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


class Opened(NamedTuple):
    """A file that is open for reading.

    Args:
        path: where it is.
        file: the open file.
        size: its bytes.
        stack: closes it, and whatever else a kind puts there.
        text: whether arrays of text are listed as well.
    """

    path: Path
    file: FileIO
    size: int
    stack: ExitStack
    text: bool


class Place(NamedTuple):
    """Where an array lies: the open file, the first byte in it, the stored type, and the order, ``"C"`` or ``"F"``."""

    file: FileIO
    offset: int
    dtype: np.dtype[Any]
    order: Literal["C", "F"] = "C"


class Listing(NamedTuple):
    """The contents of a file.

    Args:
        entries: the tensors, by name.
        read: reads one by its name.
        skipped: why other things in the file cannot be read, by name.
        notes: what else is unusual, in words.
        metadata: other text, by key.
        places: of the tensors that can be mapped, where they are.
    """

    entries: Mapping[str, Entry]
    read: Callable[[str], Array]
    skipped: Mapping[str, str] = MappingProxyType({})
    notes: Sequence[str] = ()
    metadata: Mapping[str, str] = MappingProxyType({})
    places: Mapping[str, Place] = MappingProxyType({})


class PlainTensors(Mapping[str, Array]):
    """The arrays in a file by name; each is read at every access.

    They have the byte order of this machine and belong to the caller. The file stays open until ``close``, the end of a
    ``with`` block, or until this object is garbage.
    """

    def __init__(self, path: str | Path, listing: Listing, stack: ExitStack) -> None:
        """``stack`` closes the file."""
        self.path = Path(path)
        self._listing = listing
        self._lock = RLock()
        self._close = weakref.finalize(self, stack.close)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The header of each tensor, in the order of the file."""
        return MappingProxyType(self._listing.entries)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was skipped, and what is unusual, in words."""
        skipped = [f"{name!r} {reason}: it is skipped" for name, reason in self._listing.skipped.items()]
        return (*skipped, *self._listing.notes)

    @property
    def skipped(self) -> Mapping[str, str]:
        """The names of arrays and other objects that cannot be read, and why."""
        return MappingProxyType(self._listing.skipped)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Other text that the file holds, by key."""
        return MappingProxyType(self._listing.metadata)

    def __getitem__(self, name: str) -> Array:
        """The array of a name.

        Raises:
            KeyError: there is none.
            UsageError: the file was closed.
            FormatError: its data are damaged.
            UnsupportedError: numpy has no such type.
        """
        array = self._read(name, self._listing.read)
        if fault := value_fault(array, allow_nonfinite=True):
            raise FormatError(self.path, f"{name!r} {fault}")
        return array

    def mapped(self, name: str) -> Array | None:
        """As ``self[name]``, but a read-only ``numpy.memmap`` in the stored byte order; or ``None``."""
        if (place := self._listing.places.get(name)) is None:
            return None
        shape = self._listing.entries[name].shape
        return self._read(name, lambda _: np.memmap(place.file, place.dtype, "r", place.offset, shape, place.order))

    def _read(self, name: str, read: Callable[[str], Array]) -> Array:
        if name not in self._listing.entries:
            raise KeyError(name)
        with self._lock:
            if not self._close.alive:
                raise UsageError(f"{self.path}: is closed, so {name!r} cannot be read any more")
            return read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listing.entries)

    def __len__(self) -> int:
        return len(self._listing.entries)

    def __contains__(self, name: object) -> bool:
        return name in self._listing.entries

    def close(self) -> None:
        """Close the file. What was read stays; nothing more can be."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def entry(dtype: str, shape: tuple[int, ...]) -> Entry:
    """The entry of a type that numpy has."""
    return Entry(dtype, shape, math.prod(shape) * NUMBERS[dtype])


def shape_fault(shape: Sequence[object], itemsize: float) -> str | None:
    """The fault of a shape, if any: too many axes, or more bytes than any machine has, with each size at least 1.

    ``itemsize`` is the bytes of one element.
    """
    if len(shape) > MAX_RANK:
        return f"has {len(shape)} axes; at most {MAX_RANK} are allowed"
    sizes = [size for size in shape if type(size) is int and size >= 0]
    if len(sizes) < len(shape):
        return f"has a shape that is no row of whole numbers from 0: {tuple(shape)}"
    if math.prod(max(size, 1) for size in sizes) * itemsize > MAX_BYTES:
        return f"has a shape that no memory can hold: {format_shape(tuple(sizes))}"
    return None


def count_fault(count: int) -> str | None:
    """The fault of a file with so many tensors, if any."""
    return f"holds {count} tensors; at most {MAX_TENSORS} are allowed" if count > MAX_TENSORS else None


def overlaps(spans: Iterable[tuple[str, int, int]]) -> Iterator[str]:
    """The faults of spans (name, start, stop) that overlap in a file, as in decompression bombs."""
    before, end = "", 0
    for start, stop, name in sorted((start, stop, name) for name, start, stop in spans if stop > start):
        if start < end:
            yield f"{name!r} lies in the same bytes as {before!r}"
        if stop > end:
            before, end = name, stop
