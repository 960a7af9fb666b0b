"""Tile: the array repeated along each axis."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.core.dims import product
from portable_nn.operators.base import (
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    elements,
    emit,
    format_shape,
    integers,
    length,
    register,
    sizes,
)


def _tile_type(use: OperatorContext) -> Type:
    (dtype, shape, _), repeats = use.type(), use.constant(1)
    if len(repeats) != len(shape):
        use.fail(f"repeats must have a number for each of the {len(shape)} axes, not {format_shape(repeats)}")
    if min((number for number in repeats if isinstance(number, int)), default=0) < 0:
        use.fail(f"repeats must be 0 or more, not {format_shape(repeats)}")
    found = tuple(product(pair) for pair in zip(shape, repeats, strict=True))
    return Type(dtype, found)


def _tile(n: KernelContext) -> Step:
    """One copy: every axis of the output is cut into the repetitions and what is repeated."""
    x, out = n.x[0], n.out()
    if not out.size:
        return partial(out.fill, 0)
    apart = [size for whole, part in zip(out.shape, x.shape, strict=True) for size in (whole // part, part)]
    return partial(np.copyto, out.reshape(apart), x[(*(np.newaxis, slice(None)) * x.ndim, ...)])


def _tile_gradient(n: GradientContext) -> list[Symbol | None]:
    rank = len(n.x[0].shape)
    both = emit("Concat", n.x[1], sizes(n.x[0]), axis=0)
    apart = emit("Gather", both, integers(place for axis in range(rank) for place in (axis, rank + axis)))
    shared = emit("Reshape", n.dy, apart, allowzero=1) if rank else n.dy
    return [emit("ReduceSum", shared, integers(range(0, 2 * rank, 2)), keepdims=0) if rank else shared, None]


register(
    Operator(
        "Tile",
        ("input", "repeats"),
        _tile_type,
        _tile,
        _tile_gradient,
        passes=(0,),
        samples={1: Interval(1, 2)},
        unsized=lambda use: use.opened(len(use.type().shape)),
        constant=lambda use, type: elements(use, 0) * (length(type) // max(1, len(elements(use, 0)))),
    )
)
