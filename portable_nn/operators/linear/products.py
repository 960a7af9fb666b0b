"""Matrix products in tiles that OpenBLAS computes at once: without packing them first, and on one thread.

OpenBLAS copies ("packs") the factors of a product into an order of its own, which does not pay where one of them has
few rows, and it divides large products among all threads, which does not pay where waking one takes longer than the
product. Both depend on rows · columns · depth alone. ``np.matmul`` over a stack of tiles, views of the same arrays, so
chooses for each product what is faster, and changes nothing for other threads of the process, as setting OpenBLAS's
number of threads would.

The tiles follow from the shapes and the processor. Each element is summed over the whole depth in one go, as ever.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from portable_nn.operators.linear.blas import core_name
from portable_nn.operators.registry import Array, Step

UNPACKED: Final = 1_000_000
"""Multiply-adds up to which OpenBLAS's kernels for AVX-512 compute a float32 product without packing it."""
ON_ONE_THREAD: Final = 262_144
"""Multiply-adds up to which OpenBLAS computes a product on one thread, packed or not."""
SMALL: Final = 4_000_000
"""Multiply-adds up to which a product is computed on one thread: up to 80 µs, of which a second one would save few."""
WIDTH: Final = 64
"""The fewest columns of a tile: four vector registers."""
HEIGHT: Final = 16
"""The fewest rows of a tile that is not as high as the product."""
ROWS: Final = 16
"""The rows of a transposed factor that are multiplied by at once, where the other one has few."""
NEAR: Final = 1024
"""Columns of a matrix up to which it may be read once for each row of tiles: its rows then share pages of memory."""


class Tile(NamedTuple):
    """The rows and columns of the tiles that a product is cut into."""

    rows: int
    columns: int


def product(a: Array, b: Array, out: Array) -> list[Step]:
    """The steps that compute out = a · b; stacks of matrices broadcast, as in ``np.matmul``."""
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    tile = tiled(m, k, n, out.dtype) if all(_has_rows(each) for each in (a, b, out)) else None
    if tile is None:
        if a.ndim == 3 and len(a) == len(b) == 1:
            return [partial(np.dot, a[0], b[0], out[0])]
        return [partial(np.matmul, a, b, out=out)]
    whole = n // tile.columns * tile.columns
    spans = [(0, whole, tile.columns), (whole, n, n - whole)]
    above = _cut(a, tile.rows, k)
    return [
        partial(np.matmul, above, _cut(b[..., start:end], k, width), out=_cut(out[..., start:end], tile.rows, width))
        for start, end, width in spans
        if width
    ]


def matrix_product(a: Array, b: Array, out: Array) -> list[Step]:
    """The steps that compute out = a · b for matrices: on one thread up to ``SMALL``, otherwise as BLAS does best."""
    if not in_parts(a.size * b.shape[1], out.dtype):
        return [partial(np.dot, a, b, out)]
    by_rows = all(map(_has_rows, (a, b, out))) and tiled(*a.shape, b.shape[1], out.dtype)
    return product(a, b, out) if by_rows else product_of_transposed(a, b.T, out)


def product_of_transposed(a: Array, b: Array, out: Array) -> list[Step]:
    """The steps that compute out = a · bᵀ for matrices: in parts where that is faster, or keeps it on one thread."""
    (m, k), n = a.shape, len(b)
    if in_parts(m * k * n, out.dtype):
        if m <= WIDTH and (rows := min(ROWS, _rows_on_one_thread(m, k, out.dtype))):
            pairs = zip(_stacks(b, rows), _stacks(out.T, rows), strict=True)
            return [partial(np.matmul, a, part.swapaxes(1, 2), out=found.swapaxes(1, 2)) for part, found in pairs]
        if (rows := _rows_on_one_thread(k, n, out.dtype)) >= HEIGHT:
            pairs = zip(_stacks(a, rows), _stacks(out, rows), strict=True)
            return [partial(np.matmul, part, b.T, out=found) for part, found in pairs]
    return [partial(np.dot, a, b.T, out)]


def in_parts(work: int, dtype: np.dtype[np.generic]) -> bool:
    """True if a product of so many multiply-adds belongs on one thread, and OpenBLAS would divide it."""
    return dtype in (np.float32, np.float64) and _most(dtype) < work <= SMALL and core_name() is not None


def parts_of_rows(a: Array, b: Array) -> list[slice]:
    """The rows of the product a · b, in parts for one thread where the product belongs there."""
    (m, k), n, dtype = a.shape, b.shape[1], b.dtype
    rows = _rows_on_one_thread(k, n, dtype) if in_parts(m * k * n, dtype) else 0
    return [slice(start, start + rows) for start in range(0, m, rows)] if rows >= 8 else [slice(m)]


def _rows_on_one_thread(k: int, n: int, dtype: np.dtype[np.generic]) -> int:
    """The most rows that OpenBLAS multiplies by (k, n) on one thread, a multiple of 8 from there on."""
    rows = _most(dtype) // (k * n)
    return rows - rows % 8 if rows > 8 else rows


def _stacks(matrix: Array, rows: int) -> list[Array]:
    """Views of a matrix as a stack of matrices with so many rows, and of the rows that are left, if any."""
    whole = len(matrix) // rows * rows
    found = [matrix[:whole].reshape(-1, rows, matrix.shape[1]), matrix[None, whole:]]
    return [stack for stack in found if stack.size]


def _has_rows(array: Array) -> bool:
    """True if the elements of a row are next to each other, and the rows apart."""
    return array.strides[-1] == array.itemsize and array.strides[-2] >= array.shape[-1] * array.itemsize


def _cut(array: Array, rows: int, columns: int) -> Array:
    """(…, m, n) as (…, m / rows, n / columns, rows, columns), a view."""
    *lead, m, n = array.shape
    *strides, down, right = array.strides
    shape = (*lead, m // rows, n // columns, rows, columns)
    return as_strided(array, shape, (*strides, down * rows, right * columns, down, right))


@cache
def tiled(m: int, k: int, n: int, dtype: np.dtype[np.generic]) -> Tile | None:
    """The tiles for a product of (m, k) and (k, n); ``None`` where BLAS does best with it as a whole."""
    most, work = _most(dtype), m * k * n
    if work <= most or not (most == UNPACKED or work <= SMALL) or core_name() is None:
        return None
    for rows in (m, *(rows for rows in range(m // 2, HEIGHT - 1, -1) if m % rows == 0 and rows % 8 == 0)):
        columns = most // (rows * k)
        if columns >= n:
            return Tile(rows, n)
        if columns >= WIDTH and (rows == m or n <= NEAR):
            columns -= columns % WIDTH
            even = -(-n // columns)
            return Tile(rows, n // even if n % even == 0 and n // even >= WIDTH // 2 else columns)
    return None


@cache
def has_unpacked_kernels() -> bool:
    """True if this processor is one for which OpenBLAS has kernels that do not pack small products."""
    return core_name() in {"SkylakeX", "Cooperlake", "Sapphirerapids"}


def wakes_threads(step: Step) -> bool:
    """True if a step is a product that OpenBLAS divides among its threads."""
    if not isinstance(step, partial) or step.func not in (np.dot, np.matmul):
        return False
    a, b = step.args[:2]
    return int(a.shape[-2] * a.shape[-1] * b.shape[-1]) > _most(b.dtype)


def _most(dtype: np.dtype[np.generic]) -> int:
    """Multiply-adds up to which OpenBLAS computes a product on one thread."""
    return UNPACKED if dtype == np.float32 and has_unpacked_kernels() else ON_ONE_THREAD
