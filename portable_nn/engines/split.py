"""A plan whose large steps are computed by two threads, half of the array each.

It serves where a batch cannot be computed in two halves, as with batch normalization: the steps stay in their order,
and each of them is cut along the axis that is the slowest in memory. Products are then of one thread each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.engines.plan import Plan
from portable_nn.engines.threads import side_by_side
from portable_nn.operators import Array, Step, memory_order
from portable_nn.operators.linear.blas import single_threaded

PRODUCT: Final = 8_000_000
"""Multiply-adds of a product from which two threads are faster: handing over work takes 20 to 50 µs."""
ELEMENTS: Final = 2**18
"""Elements of an array from which two threads are faster at anything else."""
ROWS: Final = 16
"""A product of two matrices is cut at a multiple of so many rows."""


class SplitPlan(Plan):
    """A ``Plan`` that computes its large steps on two cores; the numbers do not depend on whether there are two."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        quiet = Context()
        quiet.run(np.seterr, all="ignore")
        halves = [halved(step) for step in self._run]
        self._run = tuple(
            partial(side_by_side, pair[0], partial(quiet.run, pair[1])) if pair else step
            for step, pair in zip(self._run, halves, strict=True)
        )
        self._is_split = any(halves)

    def _run_steps(self) -> None:
        if not self._is_split:
            return super()._run_steps()
        with single_threaded():
            return super()._run_steps()


def halved(step: Step) -> tuple[Step, Step] | None:
    """Two steps that together do what ``step`` does, in any order; ``None`` where it is small, or not known."""
    if not isinstance(step, partial):
        return None
    function, arrays, options = step.func, list(step.args), dict(step.keywords)
    if function is np.dot and len(arrays) == 3:
        return _rows(*arrays)
    if function is np.copyto and len(arrays) == 2 and not options:
        return _parts(np.copyto, arrays[0], arrays)
    out = options.pop("out", None)
    if not isinstance(function, np.ufunc) or not isinstance(out, np.ndarray):
        return None
    if function is np.matmul:
        return _stack(arrays[0], arrays[1], out)
    if function.signature:  # Its axes are not those of ``out``.
        return None
    return _parts(partial(function, **options), out, [*arrays, out])


def _rows(a: Array, b: Array, out: Array) -> tuple[Step, Step] | None:
    """The product of two matrices, cut between two of its rows."""
    middle = a.shape[0] // 2 // ROWS * ROWS
    if middle == 0 or math.prod(a.shape) * b.shape[-1] < PRODUCT:
        return None
    return partial(np.dot, a[:middle], b, out[:middle]), partial(np.dot, a[middle:], b, out[middle:])


def _stack(a: Array, b: Array, out: Array) -> tuple[Step, Step] | None:
    """A stack of products, cut along its longest axis."""
    lead = out.shape[:-2]
    if not lead or max(lead) < 2 or out.size * a.shape[-1] < PRODUCT:
        return None
    return _cut(np.matmul, lead.index(max(lead)), out, [a, b, out])


def _parts(function: Any, out: Array, arrays: Sequence[Any]) -> tuple[Step, Step] | None:
    """A function of single elements, cut along the axis of ``out`` that is the slowest in memory."""
    axis = next((axis for axis in memory_order(out) if out.shape[axis] > 1), None)
    if axis is None or out.size < ELEMENTS or any(map(partial(_reaches_beyond, out), arrays)):
        return None
    return _cut(function, axis, out, arrays)


def _reaches_beyond(out: Array, array: Any) -> bool:
    """True if an array shares memory with ``out`` and is not ``out``: one half could read what the other writes."""
    if not isinstance(array, np.ndarray) or not np.may_share_memory(out, array):
        return False
    here, there = (each.__array_interface__ for each in (out, array))
    return (here["data"], out.shape, out.strides) != (there["data"], array.shape, array.strides)


def _cut(function: Any, axis: int, out: Array, arrays: Sequence[Any]) -> tuple[Step, Step]:
    """``function`` of the first and of the second half of all ``arrays`` along an axis of ``out``, the last of them."""
    middle = out.shape[axis] // 2
    steps = []
    for part in (slice(None, middle), slice(middle, None)):
        pieces = [_piece(array, axis - out.ndim, part) for array in arrays]
        written = {} if function is np.copyto else {"out": pieces.pop()}
        steps.append(partial(function, *pieces, **written))
    return steps[0], steps[1]


def _piece(array: Any, axis: int, part: slice) -> Any:
    """The part of an array along an axis counted from the end, along which it may be broadcast."""
    if not isinstance(array, np.ndarray) or array.ndim < -axis or array.shape[axis] == 1:
        return array
    place: Any = (..., part, *(slice(None),) * (-axis - 1))
    return array[place]
