"""TopK: the largest or smallest elements along an axis, and their indices."""

from __future__ import annotations

from typing import Final

import numpy as np

from portable_nn.core.dims import OPEN
from portable_nn.operators.base import (
    NUMBERS,
    Array,
    Attr,
    Dim,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Type,
    emit,
    register,
    zeros_like,
)

SPARSE: Final = 16
"""From so many times K elements on, selecting K before sorting is faster than sorting all."""


def _type(use: OperatorContext) -> tuple[Type, Type]:
    x = use.type()
    use.check_dtype(x.dtype, NUMBERS)
    if use.output_count < 2:
        use.fail("it has two outputs, Values and Indices, not 1")
    axis, [count] = use.attribute_axis(), use.constant(1, single=True)
    size = x.shape[axis]
    if isinstance(count, int) and (count < 0 or (isinstance(size, int) and count > size)):
        use.fail(f"K must be 0 to {size}, the size of axis {axis}, not {count}")
    return _typed(use, count)


def _typed(use: OperatorContext, count: Dim) -> tuple[Type, Type]:
    (dtype, shape, _), axis = use.type(), use.attribute_axis()
    shape = (*shape[:axis], count, *shape[axis + 1 :])
    return Type(dtype, shape), Type("int64", shape)


def _sorted(x: Array, count: int, *, largest: bool) -> Array:
    """The places of the first ``count`` elements along the last axis; of equal ones, the one at the lowest index
    first."""
    if not largest:
        return np.argsort(x, axis=-1, kind="stable")[..., :count]
    # Reversed twice, equal elements keep their order.
    places = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1][..., :count]
    found: Array = x.shape[-1] - 1 - places
    return found


def _selected(x: Array, count: int, *, largest: bool) -> Array:
    """As ``_sorted``, without sorting the other elements."""
    place = x.shape[-1] - count if largest else count - 1
    edge = np.partition(x, place, axis=-1)[..., place : place + 1]
    if x.dtype.kind == "f" and np.isnan(np.max(x)):
        return _sorted(x, count, largest=largest)  # NaN compares with nothing.
    beyond, level = x > edge if largest else x < edge, x == edge
    # Of those at the edge, as many as are still missing, from the lowest index on.
    missing = count - np.count_nonzero(beyond, axis=-1, keepdims=True)
    taken = beyond | (level & (np.cumsum(level, axis=-1, dtype=np.intp) <= missing))
    places = np.nonzero(taken)[-1].reshape(*x.shape[:-1], count)
    order = _sorted(np.take_along_axis(x, places, -1), count, largest=largest)
    return np.take_along_axis(places, order, -1)


def _top(n: KernelContext) -> list[Step]:
    """Sorted, also with ``sorted=0``."""
    axis = n.attribute_axis()
    x, values, indices = (np.moveaxis(array, axis, -1) for array in (n.x[0], n.out(0), n.out(1)))
    count, largest = values.shape[-1], bool(n.int("largest"))
    find = _selected if count * SPARSE <= x.shape[-1] else _sorted

    def run() -> None:
        places = find(x, count, largest=largest)
        indices[...] = places
        values[...] = np.take_along_axis(x, places, -1)

    return [run] if values.size else []


register(
    Operator(
        "TopK",
        ("X", "K"),
        _type,
        _top,
        # The gradient goes to the places that the values were taken from.
        lambda n: [emit("ScatterElements", zeros_like(n.x[0]), n.y[1], n.dy, axis=n.attribute_axis())],
        {"axis": Attr(int, -1), "largest": Attr(int, 1), "sorted": Attr(int, 1)},
        outputs=("Values", "Indices"),
        family="reduction",
        passes=(0,),
        samples={1: Interval(1, 1)},
        unsized=lambda use: _typed(use, OPEN),
    )
)
