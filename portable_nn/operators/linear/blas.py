"""The functions of numpy's BLAS that numpy does not offer: gemm with accumulation (c ← alpha·a·b + beta·c), and the
number of threads.

numpy brings a BLAS library with it, and that library has the call under the names of the CBLAS standard. Where it is
found, a step of gradient descent needs no array for the gradient and one pass less over the weights; where it is not
(numpy built on another BLAS), callers do the same in two steps. Another library's BLAS, such as scipy's, will not do:
the thread pools of two of them in one process slow each other down a hundredfold. Nor will threadpoolctl: it takes 7
to 236 µs to set the number of threads, where a whole prediction takes 10 µs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from portable_nn.operators.base import Array, Step

ROW_MAJOR, NO_TRANS, TRANS = 101, 111, 112
"""CBLAS_ORDER and CBLAS_TRANSPOSE."""


@cache
def _routine(name: str, argument_types: tuple[Any, ...], result: Any = None) -> Any:
    """A routine of numpy's own BLAS with 64-bit integers, or ``None``."""
    try:
        numpy_itself = import_module("numpy._core._multiarray_umath")
        routine = getattr(ctypes.CDLL(numpy_itself.__file__), f"scipy_{name}64_")
    except (ImportError, OSError, AttributeError):
        return None
    routine.argtypes, routine.restype = argument_types, result
    return routine


def has_threads_to_set() -> bool:
    """True if ``single_threaded`` can set the number of threads."""
    return _threads() is not None and _set_threads() is not None


@contextmanager
def single_threaded() -> Iterator[None]:
    """Products on one thread each, so that several threads can compute some at once; in the whole process."""
    find, change = _threads(), _set_threads()
    before = find() if find and change else 1
    if before == 1:
        yield
        return
    change(1)
    try:
        yield
    finally:
        change(before)


@cache
def core_name() -> str | None:
    """The processor that OpenBLAS has chosen its kernels for, such as ``Haswell``; ``None`` of another BLAS."""
    routine = _routine("openblas_get_corename", (), ctypes.c_char_p)
    return routine().decode() if routine else None


def _threads() -> Any:
    return _routine("openblas_get_num_threads", (), ctypes.c_int)


def _set_threads() -> Any:
    return _routine("openblas_set_num_threads", (ctypes.c_int,))


def accumulate(a: Array, b: Array, c: Array, alpha: float, beta: float) -> Step | None:
    """A step that does c ← alpha·a·b + beta·c in place, or ``None`` where BLAS cannot.

    a is (m, k), b is (k, n), c is (m, n) and contiguous by rows, all of one type; a and b may
    be parts of larger arrays.
    """
    real = {"float32": ctypes.c_float, "float64": ctypes.c_double}.get(c.dtype.name)
    layouts = _layout(a), _layout(b)
    if real is None or not c.flags.c_contiguous or None in layouts or 0 in (*a.shape, *b.shape):
        return None
    kind = "s" if real is ctypes.c_float else "d"
    size, flag, pointer = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p
    (trans_a, stride_a), (trans_b, stride_b) = layouts  # type: ignore[misc]
    (m, k), n = a.shape, b.shape[1]
    types = (flag, flag, flag, size, size, size, real, pointer, size, pointer, size, real, pointer, size)
    routine = _routine(f"cblas_{kind}gemm", types)
    if routine is None:
        return None
    arguments = (
        ROW_MAJOR,
        trans_a,
        trans_b,
        m,
        n,
        k,
        alpha,
        a.ctypes.data,
        stride_a,
        b.ctypes.data,
        stride_b,
        beta,
        c.ctypes.data,
        n,
    )
    keep = a, b, c

    def step(keep: object = keep) -> None:
        # The addresses stay right: a plan's arrays never move, and this function keeps them alive.
        routine(*arguments)

    return step


def _layout(array: Array) -> tuple[int, int] | None:
    """The layout of ``array``: whether BLAS must transpose it, and the distance between its rows; ``None`` where BLAS
    cannot take it."""
    (rows, columns), (down, right), size = array.shape, array.strides, array.itemsize
    if array.flags.c_contiguous:
        return NO_TRANS, max(1, columns)
    if array.flags.f_contiguous:
        return TRANS, max(1, rows)
    if right == size and down % size == 0 and down >= columns * size:
        return NO_TRANS, down // size
    return (TRANS, right // size) if down == size and right % size == 0 and right >= rows * size else None
