"""Operators that take and put whole slices, each by a tuple of indices."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from portable_nn.operators.base import (
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Step,
    Symbol,
    Type,
    count_up,
    emit,
    format_shape,
    integers,
    register,
    size_of,
    sizes,
    zeros_like,
)
from portable_nn.operators.layout.indexing import REDUCTIONS, flat, range_checks, scatter_gradient, scattered_type


def _tuples(use: OperatorContext, batch: int = 0) -> tuple[Shape, int]:
    """The shape that the tuples make, and up to which axis of the data they reach; ``batch`` axes have them apart."""
    data, indices = use.type(0).shape, use.type(1)
    if indices.dtype != "int64":
        use.fail(f"indices must be int64, not {indices.dtype}")
    if not 0 <= batch < min(len(data), len(indices.shape)):
        use.fail(
            f"batch_dims must be 0 or more, and less than the axes of data {format_shape(data)} and of indices "
            f"{format_shape(indices.shape)}, not {batch}"
            if batch
            else f"data {format_shape(data)} and indices {format_shape(indices.shape)} must have an axis"
        )
    if data[:batch] != indices.shape[:batch]:
        use.fail(f"data {format_shape(data)} and indices {format_shape(indices.shape)} differ before axis {batch}")
    length = indices.shape[-1]
    if not isinstance(length, int) or not 0 < length <= len(data) - batch:
        use.fail(f"indices must be tuples of 1 to {len(data) - batch} numbers, not of {length}")
    return indices.shape[:-1], batch + length


def _rows(n: KernelContext, batch: int = 0) -> tuple[Array, list[Step]]:
    """The slice that each tuple points to, counted through all slices of the data."""
    shape, indices = n.x[0].shape, n.x[1]
    reach = batch + indices.shape[-1]
    weights = [math.prod(shape[axis + 1 : reach]) for axis in range(reach)]
    sides = np.indices((*shape[:batch], *(1,) * (indices.ndim - 1 - batch)), sparse=True)
    base = sum((side * weight for side, weight in zip(sides, weights[:batch], strict=False)), np.int64(0))
    rows, work = n.scratch(indices.shape[:-1], np.int64), n.scratch(indices.shape[:-1], np.int64)
    steps: list[Step] = [partial(np.copyto, rows, base)]
    for axis in range(batch, reach):
        column, size = indices[..., axis - batch], shape[axis]
        steps += range_checks(n, column, axis)
        if not size:  # Then there are no tuples either.
            continue
        steps += [
            partial(np.remainder, column, size, out=work),
            partial(np.multiply, work, weights[axis], out=work),
            partial(np.add, rows, work, out=rows),
        ]
    return rows.reshape(-1), steps


def _gather_type(use: OperatorContext) -> Type:
    lead, reach = _tuples(use, use.int("batch_dims"))
    return use.like([*lead, *use.type().shape[reach:]])


def _gather(n: KernelContext) -> list[Step]:
    out, batch = n.out(), n.int("batch_dims")
    rows, steps = _rows(n, batch)
    if not out.size:
        return steps
    data, copies = flat(n, n.x[0])
    table = (-1, out.size // rows.size)
    return [*steps, *copies, partial(np.take, data.reshape(table), rows, axis=0, out=out.reshape(table), mode="wrap")]


def _with_batch(indices: Symbol, batch: int) -> Symbol:
    """The tuples with the place of each in the batch before it."""
    if not batch:
        return indices
    rank = len(indices.shape)
    shape = emit("Concat", sizes(indices, range(rank - 1)), integers([1]), axis=0)
    places = []
    for axis in range(batch):
        count = count_up(size_of(indices, axis))
        others = integers(other for other in range(rank) if other != axis)
        places.append(emit("Expand", emit("Unsqueeze", count, others), shape))
    return emit("Concat", *places, indices, axis=-1)


def _gather_gradient(n: GradientContext) -> list[Symbol | None]:
    """The gradient is added up at the places that the elements were taken from."""
    indices = _with_batch(n.x[1], n.int("batch_dims"))
    return [emit("ScatterND", zeros_like(n.x[0]), indices, n.dy, reduction="add"), None]


def _scatter_type(use: OperatorContext) -> Type:
    lead, reach = _tuples(use)
    return scattered_type(use, (*lead, *use.type().shape[reach:]))


def _scatter(n: KernelContext) -> list[Step]:
    out, reduction = n.out(), n.string("reduction")
    rows, steps = _rows(n)
    copy = partial(np.copyto, out, n.x[0])
    if not n.x[2].size:
        return [copy, *steps]
    updates, copies = flat(n, n.x[2])
    length = updates.size // rows.size
    table = (-1,) if length == 1 else (-1, length)
    slices = out.reshape(table)
    put = slices.__setitem__
    if reduction != "none":
        put = partial(REDUCTIONS[reduction].at, slices)
    return [copy, *steps, *copies, partial(put, rows, updates.reshape(table))]


def _coordinates(use: OperatorContext) -> Shape:
    """Each row has one index for each of the first axes."""
    start, last = use.attributes.get("batch_dims", 0), use.type(1).shape[-1]
    assert isinstance(start, int)
    return use.type().shape[start : start + last] if isinstance(last, int) else ()


register(
    Operator(
        "GatherND",
        ("data", "indices"),
        _gather_type,
        _gather,
        _gather_gradient,
        {"batch_dims": Attr(int, 0)},
        passes=(0,),
        indexes={1: _coordinates},
    )
)
register(
    Operator(
        "ScatterND",
        ("data", "indices", "updates"),
        _scatter_type,
        _scatter,
        scatter_gradient,
        {"reduction": Attr(str, "none")},
        indexes={1: _coordinates},
        portability=Portability(since={("reduction", "max"): 18, ("reduction", "min"): 18}),
    )
)
