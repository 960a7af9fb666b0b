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

from portable_nn.core.files import shrunk
from portable_nn.core.memory import CHUNK
from portable_nn.format.reading import Checks, Reader, Understood
from portable_nn.format.tensors import Array, from_bytes
from portable_nn.format.validate import refuse

_DROP: Final[int | None] = getattr(mmap, "MADV_DONTNEED", None)
"""The advice that mapped pages may be dropped; the system would read them again."""


class MappedTensors(Mapping[str, Array]):
    """Read-only arrays by name. Whoever changes them takes a copy.

    Nothing of a tensor is read before it is asked for, and nothing stays in memory after its array is let go. The file
    is open as long as this is. It may be replaced meanwhile, as saving does: what is mapped is the old one. It must not
    be changed in place: what another program writes into it appears in the arrays, and where it is cut off, using an
    array that was had before ends the process.
    """

    def __init__(self, file: FileIO, where: str, understood: Understood, checks: Checks) -> None:
        """``file`` may be closed afterwards."""
        own = FileIO(os.dup(file.fileno()), "rb")
        self._reader = Reader(own, where, understood, checks)
        weakref.finalize(self._reader, own.close)
        try:
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # Nothing is left of it.
            raise shrunk(where, understood.start) from None
        self._spans = {span.name: span for span in understood.frame.spans}
        self._order = [value.name for value in understood.manifest.tensors]
        self._unchecked = set() if checks.off else set(self._order)
        self._alive: weakref.WeakValueDictionary[str, Array] = weakref.WeakValueDictionary()

    def __getitem__(self, name: str) -> Array:
        """The array. Raises ``FormatError`` where its bytes are not those that were saved."""
        if (array := self._alive.get(name)) is not None:
            return array
        span = self._spans[name]
        if name in self._unchecked:
            refuse(self._reader.where, self._reader.faults(span))
            self._unchecked.discard(name)
        start = self._reader.start + span.start
        missing = start + span.size - os.fstat(self._reader.file.fileno()).st_size
        if missing > 0:  # The process would end where such memory is read.
            raise shrunk(self._reader.where, missing)
        memory = np.frombuffer(self._mapping, np.uint8, span.size, start)  # What every view of the array keeps alive.
        if span.size >= CHUNK and _DROP is not None:
            weakref.finalize(memory, _let_go, self._mapping, start, start + span.size)
        self._alive[name] = array = from_bytes(memory, span.dtype, span.shape)
        return array

    def __iter__(self) -> Iterator[str]:
        """The names, in the manifest's order."""
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, name: object) -> bool:
        return name in self._spans

    def subset(self, names: Sequence[str]) -> MappedTensors:
        """The same with only these tensors in it."""
        found = copy(self)
        found._order, found._spans = list(names), {name: self._spans[name] for name in names}
        return found

    def verify(self) -> None:
        """Check all tensors now. Raises ``FormatError`` that lists every damaged one."""
        self._reader.verify()
        self._unchecked.clear()


def _let_go(mapping: mmap.mmap, start: int, stop: int) -> None:
    page = mmap.PAGESIZE
    first, last = start + -start % page, stop - stop % page
    if last > first and not mapping.closed and _DROP is not None:
        mapping.madvise(_DROP, first, last - first)
