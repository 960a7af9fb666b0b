"""Rows of arrays that stay where they are stored, and are read in pieces when they are needed.

Memory maps, datasets of HDF5 and zarr, and whatever else has a shape, a dtype and slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from mmap import mmap
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from portable_nn.core.arrays import NUMBERS
from portable_nn.core.errors import DataError, FormatError, PortableNNError, UsageError
from portable_nn.core.foreign_values import is_path, is_picture, is_sparse, is_table, is_tensor
from portable_nn.core.text import said
from portable_nn.plain.packing import Meaning

Array: TypeAlias = NDArray[Any]

WHOLE: Final = 2**26
"""The bytes up to which an array is read at once, and is an array in memory from then on."""

KIND: Final = "same_kind"
"""The casting of rows to the type that all have: whole numbers stay whole, and a missing value is not one of them."""

PIECE: Final = 2**20
"""The bytes of the rows that are read together, unless one chunk has more."""

BLOCKS: Final = 100
"""The least number of blocks to draw from, of as many rows."""

UNEVEN: Final = 2**24
"""The most bytes that are read together so that a chunk of a lighter array is not read twice."""


@dataclass(frozen=True)
class Stored:
    """Rows of an array that are read when they are needed.

    Args:
        name: what messages call it.
        dtype: the type of its numbers.
        shape: its shape; the first axis is that of the rows.
        chunk: how many rows are stored together, so that one cannot be read without the others.
        read: the rows from a place to before another one.
        notes: what is left unread, in words.
        meanings: what its numbers mean, or those of each array that stands side by side in it.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: int
    read: Callable[[int, int], Array]
    notes: tuple[str, ...] = ()
    meanings: tuple[Meaning, ...] = ()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Array:
        """The rows of a slice. Raises ``DataError`` where they cannot be read, or are not what the shape says."""
        start, stop, _ = part.indices(len(self))
        wanted = (max(0, stop - start), *self.shape[1:])
        if not wanted[0]:
            return np.empty(wanted, self.dtype)
        try:
            found = self.read(start, stop)
        except FormatError as error:
            raise DataError(self.name, error.reason) from error
        except PortableNNError:
            raise
        except Exception as error:  # Whatever the library that reads them raises.
            raise DataError(self.name, f"rows {start:,} to {stop - 1:,} cannot be read {said(error)}") from error
        if found.shape != wanted or found.dtype.kind not in NUMBERS or not np.can_cast(found.dtype, self.dtype, KIND):
            raise DataError(self.name, f"expected {self.dtype} {wanted} of its rows, found {found.dtype} {found.shape}")
        return found.astype(self.dtype, copy=False)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def changed(self, rest: tuple[int, ...], dtype: np.dtype[Any], change: Callable[[Array], Array]) -> Stored:
        """The same rows as ``change`` makes them: each then has the shape ``rest``."""
        read = self.read
        shape = (len(self), *rest)
        return replace(self, shape=shape, dtype=dtype, read=lambda start, stop: change(read(start, stop)))

    def part(self, start: int, stop: int) -> Stored:
        """Some of its rows."""
        read = self.read
        return replace(
            self, shape=(stop - start, *self.shape[1:]), read=lambda low, high: read(start + low, start + high)
        )


@dataclass(frozen=True)
class Blocks:
    """Some of the blocks of ``size`` rows that arrays of one length consist of; the last one may have fewer.

    Args:
        size: the rows of a block.
        count: the rows of an array.
        chosen: the numbers of the blocks, from 0 and in their order.
    """

    size: int
    count: int
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        missing = -self.count % self.size if len(self.chosen) and (self.chosen[-1] + 1) * self.size > self.count else 0
        return len(self.chosen) * self.size - missing

    def of(self, x: Stored) -> Stored:
        """These rows of ``x``."""
        return replace(
            x,
            shape=(len(self), *x.shape[1:]),
            chunk=x.chunk if self.size % x.chunk == 0 else 1,
            read=lambda start, stop: np.concatenate([x[low:high] for low, high in self._runs(start, stop)]),
        )

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The slices with the rows from one place to before another, as few as possible."""
        first, last = start // self.size, (stop - 1) // self.size
        blocks = self.chosen[first : last + 1]
        ends = np.flatnonzero(np.diff(blocks) != 1)
        for low, high in zip([0, *(ends + 1)], [*ends, last - first], strict=True):
            begin = int(blocks[low]) * self.size + (start % self.size if low == 0 else 0)
            end = int(blocks[high]) * self.size + ((stop - 1) % self.size + 1 if high == last - first else self.size)
            yield begin, end


def held_out(arrays: Iterable[Stored], share: float, seed: int) -> tuple[Blocks, Blocks]:
    """The rows to train on, and about a ``share`` of them to hold out, drawn in blocks: the pieces that are read.

    Of fewer than ``BLOCKS`` pieces, a block is a hundredth of the rows. So data that are sorted, by class or by time,
    are judged all over, and no chunk is read for a few of its rows. Those are held out that the order
    ``default_rng(seed).permutation(blocks)`` begins with; both sides have one at least, unless ``share`` is 0.
    """
    found = list(arrays)
    count = len(found[0])
    size = min(piece_of(found), max(1, count // BLOCKS))
    chunk = max(each.chunk for each in found)
    size = size // chunk * chunk or size
    blocks = -(-count // size)
    most = min(blocks - 1, max(1, round(blocks * share))) if share else 0
    order = np.random.default_rng(seed).permutation(blocks)
    return Blocks(size, count, np.sort(order[most:])), Blocks(size, count, np.sort(order[:most]))


def rows_of(x: Any, name: str) -> Any:
    """Stored data as ``Stored``, or as an array where they take little memory; data in memory as they are.

    Raises ``UsageError`` where it is stored, and holds no real numbers. Messages call it ``name``.
    """
    found = next((kind(x, name) for is_one, kind in _KINDS if is_one(x)), None)
    if found is None:
        return x
    if found.dtype.kind not in NUMBERS:
        raise UsageError(f"{name} must hold real numbers, not {found.dtype}")
    return found if len(found) * found.row_bytes > WHOLE else found[:]


def as_stored(x: Stored | Array, name: str) -> Stored:
    """An array in memory with the interface of what is stored."""
    return x if isinstance(x, Stored) else Stored(name, x.dtype, x.shape, 1, lambda start, stop: x[start:stop])


def piece_of(arrays: Iterable[Stored], most: int | None = None) -> int:
    """The number of rows that are read together: whole chunks, of about ``most`` bytes in all arrays, ``PIECE`` by
    default.

    The chunks are those of the array with the largest rows, or longer ones of another, if that takes little memory.
    """
    found = list(arrays)
    row = max(1, sum(each.row_bytes for each in found))
    heaviest = max(found, key=lambda each: each.row_bytes)
    chunk = max(each.chunk for each in found if each is heaviest or each.chunk * row <= UNEVEN)
    return chunk * max(1, (PIECE if most is None else most) // (chunk * row))


def pieces(count: int, size: int) -> Iterator[tuple[int, int]]:
    """The places where pieces of ``size`` among ``count`` rows begin and end."""
    return ((start, min(start + size, count)) for start in range(0, count, size))


# -- kinds

AROUND: Final = 2**21
"""The bytes around those that are read of a memory map which the system may map as well."""


def _mapped(x: Any, name: str) -> Stored:
    return Stored(name, x.dtype, x.shape, 1, partial(_read_mapped, x))


def _read_mapped(x: Any, start: int, stop: int) -> Array:
    """A copy of some rows of a memory map, whose pages do not stay in the memory of this process."""
    found = np.array(x[start:stop], subok=False)
    mapping: Any = x
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    # In a private map (mode "c") they may hold changes that are nowhere else.
    if found.size and x.mode != "c" and isinstance(mapping, mmap) and hasattr(mapping, "madvise"):
        import mmap as module

        begin = np.frombuffer(mapping, np.uint8, 1).ctypes.data
        low, high = (place - begin for place in byte_bounds(x[start:stop]))
        low = max(0, low - AROUND) // module.PAGESIZE * module.PAGESIZE
        mapping.madvise(module.MADV_DONTNEED, low, min(high + AROUND, len(mapping)) - low)
    return found


def _can_be_sliced(x: Any) -> bool:
    """True if this is an array that is not in memory: those that are can be given to others as they are."""
    if isinstance(x, np.ndarray | np.generic | list | tuple | Mapping | Stored) or hasattr(x, "__dlpack__"):
        return False
    if is_path(x) or is_picture(x) or is_table(x) or is_tensor(x) or is_sparse(x) or hasattr(x, "to_numpy"):
        return False
    if not hasattr(x, "__getitem__") or not hasattr(x, "dtype"):
        return False
    shape = getattr(x, "shape", None)
    return isinstance(shape, tuple) and bool(shape) and all(isinstance(size, int | np.integer) for size in shape)


def _sliced(x: Any, name: str) -> Stored | None:
    """A dataset of HDF5 or zarr, an array of dask, or another one with a shape, a dtype and slices."""
    try:
        dtype = np.dtype(x.dtype)
    except TypeError:
        return None
    chunks = getattr(x, "shards", None) or getattr(x, "chunks", None)
    first = chunks[0] if isinstance(chunks, tuple) and chunks else 1
    chunk = max(first) if isinstance(first, tuple) else int(first)
    shape = tuple(map(int, x.shape))
    return Stored(name, dtype, shape, max(1, chunk), lambda start, stop: np.asarray(x[start:stop]))


_KINDS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, str], Stored | None]], ...]] = (
    (lambda x: isinstance(x, Stored), lambda x, name: x),
    (lambda x: isinstance(x, np.memmap) and x.ndim > 0, _mapped),
    (_can_be_sliced, _sliced),
)
"""The kinds of what is stored: how each is recognised, and how its rows are read."""
