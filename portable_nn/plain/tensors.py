"""The base of all readers of plain files: the listing of a file, and its tensors as a mapping."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import RLock
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from portable_nn.core.errors import FileError, FormatError, UsageError
from portable_nn.core.files import MAX_BYTES, mapped_array
from portable_nn.core.forks import computing
from portable_nn.core.graph import format_shape
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.memory import Bytes
from portable_nn.core.tensors import ITEM_SIZES, Array, value_fault
from portable_nn.core.text import quantity, said
from portable_nn.plain.packing import Meaning

NUMBERS: Final[Mapping[str, int]] = {**ITEM_SIZES, "complex64": 8, "complex128": 16}
"""The element types that plain files may hold, by numpy's name, and the bytes of one element."""

MAX_TENSORS: Final = 2**17
MAX_RANK: Final = 64
"""The most axes that an array of numpy can have."""


@dataclass(frozen=True)
class Entry:
    """The header of a tensor. ``dtype`` is numpy's name of its type, or the file's where numpy has none."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


class Opened(NamedTuple):
    """A file that is open for reading.

    Args:
        path: its path.
        file: the open file.
        size: its size in bytes.
        stack: closes it, and other resources that a reader adds.
        text: whether arrays of text are listed as well.
        in_pieces: whether arrays are read in pieces: they may then have more bytes than memory, and than are stored.
    """

    path: Path
    file: FileIO
    size: int
    stack: ExitStack
    text: bool
    in_pieces: bool = False


class ArrayPlace(NamedTuple):
    """The place of a contiguous array: the open file, the offset in bytes, the stored dtype, the memory order."""

    file: FileIO
    offset: int
    dtype: np.dtype[Any]
    order: Literal["C", "F"] = "C"


class Listing(NamedTuple):
    """The contents of a file.

    Args:
        entries: the tensors, by name.
        read: reads one by its name.
        skipped: the reasons why other objects in the file cannot be read, by name.
        notes: other remarks on the file, in words.
        metadata: other text, by key.
        places: the places of those tensors that can be memory-mapped, by name.
        rows: reads some rows of one, from a place to before another, where the kind of file allows it.
        chunks: how many rows of it are stored together, by name.
        unread: the names of attributes that are not read, though they may matter, by name.
        meanings: what the numbers mean, by name.
    """

    entries: Mapping[str, Entry]
    read: Callable[[str], Array]
    skipped: Mapping[str, str] = MappingProxyType({})
    notes: Sequence[str] = ()
    metadata: Mapping[str, str] = MappingProxyType({})
    places: Mapping[str, ArrayPlace] = MappingProxyType({})
    rows: Callable[[str, int, int], Array] | None = None
    chunks: Mapping[str, int] = MappingProxyType({})
    unread: Mapping[str, Sequence[str]] = MappingProxyType({})
    meanings: Mapping[str, Meaning] = MappingProxyType({})


class PlainTensors(Mapping[str, Array], AbstractContextManager["PlainTensors"]):
    """The arrays in a file by name; each is read at every access.

    They have the byte order of this machine and belong to the caller. The file stays open until ``close``, the end of a
    ``with`` block, or until this object is garbage-collected.

    Attributes:
        path: the path of the file.
        entries: the dtype, the shape and the size of each tensor, in the order of the file.
        skipped: the names of arrays and other objects that cannot be read, and the reasons.
        metadata: other text in the file, by key.
    """

    def __init__(
        self, path: str | Path, listing: Listing, stack: ExitStack, stored: Callable[[], int] | None = None
    ) -> None:
        """``stack`` closes the file; ``stored`` counts its bytes, where they are not known to be what is listed."""
        self.path, self._listing = Path(path), listing
        self.entries, self.skipped = MappingProxyType(listing.entries), MappingProxyType(listing.skipped)
        self.metadata = MappingProxyType(listing.metadata)
        self._lock, self._stored = RLock(), stored
        self._close = weakref.finalize(self, stack.close)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the file, such as what was skipped, in words."""
        skipped = [f"{name!r} {reason}: it is skipped" for name, reason in self.skipped.items()]
        return (*skipped, *self._listing.notes)

    def __getitem__(self, name: str) -> Array:
        """The array of a name.

        Raises:
            KeyError: no array has this name.
            UsageError: the file was closed.
            FormatError: the data are damaged, or the arrays of the file claim far more memory than it stores.
            UnsupportedError: numpy lacks the element type.
        """
        self.check_claim()
        array = self._read(name, self._listing.read)
        if fault := value_fault(array, allow_nonfinite=True):
            raise FormatError(self.path, f"{name!r} {fault}")
        return array

    def check_claim(self) -> None:
        """Refuse decompression bombs and sparse files, by all arrays together: many small claims are a large one."""
        if self._stored is None:
            return
        claimed = sum(entry.bytes for entry in self.entries.values())
        if excess(claimed, 0, UNPACKED) and (fault := excess(claimed, self._stored(), UNPACKED)):
            raise FormatError(self.path, fault)
        self._stored = None

    def mapped(self, name: str) -> Array | None:
        """A read-only ``numpy.memmap`` in the stored byte order, or ``None`` where the array cannot be mapped.

        Raises ``UsageError`` where the file was closed.
        """
        if (place := self._listing.places.get(name)) is None:
            return None
        shape = self.entries[name].shape
        return self._read(
            name, lambda _: mapped_array(self.path, place.file, place.dtype, place.offset, shape, place.order)
        )

    def place(self, name: str) -> int | None:
        """The offset in the file of the little-endian, row-major bytes of an array, if they lie there in one piece."""
        found = self._listing.places.get(name)
        plain = found and found.order == "C" and found.dtype == found.dtype.newbyteorder("<")
        return found.offset if found and plain else None

    def chunk(self, name: str) -> int | None:
        """The number of rows of an array that are stored together; ``None`` where ``rows`` cannot read some of them."""
        return None if self._listing.rows is None else self._listing.chunks.get(name)

    def unread(self, name: str) -> Sequence[str]:
        """The names of the attributes of an array that are not read, though they may matter."""
        return self._listing.unread.get(name, ())

    def meaning(self, name: str) -> Meaning:
        """The meaning of the numbers of an array, as far as the file says it."""
        return self._listing.meanings.get(name, Meaning())

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Some rows of an array, of a kind of file that allows it. Raises as an access does, but for the claim."""
        read = self._listing.rows
        assert read is not None
        return self._read(name, lambda _: read(name, start, stop))

    def _read(self, name: str, read: Callable[[str], Array]) -> Array:
        if name not in self.entries:
            raise KeyError(name)
        with computing(), self._lock:
            if not self._close.alive:
                raise UsageError(f"{self.path}: is closed, so {name!r} cannot be read any more")
            return read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def close(self) -> None:
        """Close the file. Arrays that were read remain; no others can be read."""
        self._close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def entry(dtype: str, shape: tuple[int, ...]) -> Entry:
    """The entry of a tensor whose element type is in ``NUMBERS``."""
    return Entry(dtype, shape, math.prod(shape) * NUMBERS[dtype])


def shape_fault(shape: Sequence[object], itemsize: float) -> str | None:
    """The fault of a shape, if any: not sizes, too many axes, or more than ``MAX_BYTES``, where 0 counts as 1.

    ``itemsize`` is the bytes of one element.
    """
    if len(shape) > MAX_RANK:
        return f"has {len(shape)} axes; at most {MAX_RANK} are allowed"
    sizes = [size for size in shape if type(size) is int and size >= 0]
    if len(sizes) < len(shape):
        return f"has a shape that is not a list of whole numbers from 0: {tuple(shape)}"
    if math.prod(max(size, 1) for size in sizes) * itemsize > MAX_BYTES:
        return f"has a shape that no memory can hold: {format_shape(tuple(sizes))}"
    return None


def count_fault(count: int) -> str | None:
    """The fault of a file with ``count`` tensors, if any."""
    return f"holds {quantity(count, 'tensor')}; at most {MAX_TENSORS:,} are allowed" if count > MAX_TENSORS else None


def widened(memory: Bytes) -> Bytes:
    """The bytes of float32 numbers that are those of bfloat16, the upper half of a float32."""
    wide = np.zeros((len(memory) // 2, 2), "<u2")
    wide[:, 1] = memory.view("<u2")
    return wide.reshape(-1).view(np.uint8)


def overlaps(spans: Iterable[tuple[str, int, int]]) -> Iterator[str]:
    """The faults of spans (name, start, stop) in a file that overlap, as in decompression bombs."""
    before, end = "", 0
    for start, stop, name in sorted((start, stop, name) for name, start, stop in spans if stop > start):
        if start < end:
            yield f"{name!r} lies in the same bytes as {before!r}"
        if stop > end:
            before, end = name, stop


@contextmanager
def damage_reported(path: Path, what: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Convert ``errors`` of a library in the block into a ``FormatError``: ``what`` happened, and the reason."""
    try:
        yield
    except FileError:
        raise
    except errors as error:
        raise FormatError(path, f"{what} {said(error)}") from error
