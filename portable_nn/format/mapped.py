"""Memory-mapped tensors: read-only views of a file, each verified at its first access."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from io import FileIO
from typing import Final

import numpy as np

from portable_nn.core.files import refuse, shrunk
from portable_nn.core.memory import CHUNK, Bytes, aligned
from portable_nn.core.tensors import ITEM_SIZES, Array, from_bytes
from portable_nn.format.layout import Span
from portable_nn.format.packed import unpack
from portable_nn.format.reading import Checks, Reader, VerifiedHead

_DROP: Final[int | None] = getattr(mmap, "MADV_DONTNEED", None)
"""The advice that mapped pages may be dropped; at the next access the system reads them again."""


class MappedTensors(Mapping[str, Array]):
    """Read-only arrays by name; make a copy to change one.

    No tensor is read before its first access, and its memory is released with its last array. One that another program
    has compressed, cut into pieces or put at an odd place is then read as a whole, and not mapped.

    The file stays open as long as this object exists. It may be replaced meanwhile, as ``save`` does: the old file
    stays mapped. It must not be changed in place: what another program writes into it appears in the arrays, and if it
    is truncated, access to an earlier array ends the process.
    """

    def __init__(self, file: FileIO, where: str, head: VerifiedHead, checks: Checks) -> None:
        """``file`` may be closed afterwards."""
        own = FileIO(os.dup(file.fileno()), "rb")
        self._reader = Reader(own, where, head, checks)
        weakref.finalize(self._reader, own.close)
        try:
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # The file is empty now.
            raise shrunk(where, head.start) from None
        self._spans = {span.name: span for span in head.frame.spans}
        self._order = [value.name for value in head.manifest.tensors]
        self._unchecked = set() if checks.off else set(self._order)
        self._alive: weakref.WeakValueDictionary[str, Array] = weakref.WeakValueDictionary()

    def __getitem__(self, name: str) -> Array:
        """The array. Raises ``FormatError`` where its bytes do not have the stored hash."""
        if (array := self._alive.get(name)) is not None:
            return array
        span = self._spans[name]
        start = self._reader.start + span.start
        if span.start < 0 or start % ITEM_SIZES[span.dtype]:
            memory = self._read(span)
        else:
            if name in self._unchecked:
                refuse(self._reader.where, self._reader.faults(span))
                self._unchecked.discard(name)
            if (missing := start + span.size - os.fstat(self._reader.file.fileno()).st_size) > 0:
                raise shrunk(self._reader.where, missing)  # Reading such memory would end the process.
            memory = np.frombuffer(self._mapping, np.uint8, span.size, start)  # Every view of the array keeps it alive.
            if span.size >= CHUNK and _DROP is not None:
                weakref.finalize(memory, _release, self._mapping, start, start + span.size)
        self._alive[name] = array = unpack(self._reader.values[name], from_bytes(memory, span.dtype, span.shape))
        return array

    def _read(self, span: Span) -> Bytes:
        """A tensor that cannot be mapped: another program has packed it, or put it at an odd place."""
        memory = aligned(span.size)
        refuse(self._reader.where, self._reader.faults(span, memory))
        memory.flags.writeable = False
        return memory

    def __iter__(self) -> Iterator[str]:
        """The names, in the manifest's order."""
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, name: object) -> bool:
        return name in self._spans

    def subset(self, names: Sequence[str]) -> MappedTensors:
        """The same file with only these tensors."""
        found = copy(self)
        found._order, found._spans = list(names), {name: self._spans[name] for name in names}
        return found

    def verify(self) -> None:
        """Check all tensors now. Raises ``FormatError`` that lists every damaged one."""
        self._reader.verify()
        self._unchecked.clear()


def _release(mapping: mmap.mmap, start: int, stop: int) -> None:
    first, last = start + -start % mmap.PAGESIZE, stop - stop % mmap.PAGESIZE
    if last > first and not mapping.closed and _DROP is not None:
        mapping.madvise(_DROP, first, last - first)
