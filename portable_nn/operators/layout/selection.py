"""Operators with a data-dependent shape, NonZero and Compress: the input that decides it must be constant."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from portable_nn.core.dims import product
from portable_nn.operators.base import (
    ANY,
    Attr,
    Dim,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    format_shape,
    integers,
    register,
)


def _found(use: OperatorContext, index: int, allowed: frozenset[str] = ANY) -> tuple[int, ...]:
    """The places of a constant list's elements that are not zero."""
    shape = use.type(index).shape
    if len(shape) > 1:
        name = use.operator.input_name(index)
        use.fail(f"input '{name}' must be a list of constants, not {format_shape(shape)}: its values decide the shape")
    known = use.constant(index, allowed)
    if any(isinstance(value, str) for value in known):
        use.fail(f"input '{use.operator.input_name(index)}' holds the unknown size {format_shape(known)}")
    return tuple(place for place, value in enumerate(known) if value)


def _non_zero(use: OperatorContext) -> tuple[Type, Any]:
    """Of an array without axes, the standard gives as many empty rows as it has elements that are not zero."""
    rank, places = len(use.type().shape), _found(use, 0)
    return Type("int64", (rank, len(places))), np.array([places] * rank, np.int64).reshape(rank, len(places))


def _kept(use: OperatorContext) -> tuple[tuple[int, ...], int | None]:
    """The places that are kept, and the axis along which; ``None`` for all elements in one row."""
    places, shape = _found(use, 1, frozenset({"bool"})), use.type().shape
    axis = use.axis(use.int("axis"), len(shape)) if "axis" in use.attributes else None
    size: Dim = product(shape) if axis is None else shape[axis]
    if isinstance(size, int) and places and places[-1] >= size:
        use.fail(f"condition keeps element {places[-1]}, but there are {size}")
    return places, axis


def _compress_type(use: OperatorContext) -> Type:
    (places, axis), shape = _kept(use), use.type().shape
    if axis is None:
        return use.like([len(places)])
    return use.like([*shape[:axis], len(places), *shape[axis + 1 :]])


def _compress(n: KernelContext) -> Step:
    places, axis = _kept(n)
    x, out = n.x[0], n.out()
    return partial(np.take, x, np.array(places, np.int64), axis=axis, out=out, mode="wrap") if out.size else out.tolist


def _compress_lowering(x: Symbol, condition: Symbol, *, axis: int | None = None) -> Symbol:
    kept = integers(place for place, value in enumerate(condition.type.constant or ()) if value)
    return emit("Gather", emit("Reshape", x, integers([-1])) if axis is None else x, kept, axis=axis or 0)


register(
    Operator(
        "NonZero",
        ("X",),
        lambda use: _non_zero(use)[0],
        lambda n: n.view(_non_zero(n)[1]),
        None,
        outputs=("Y",),
        settings=(0,),
    )
)
register(
    Operator(
        "Compress",
        ("input", "condition"),
        _compress_type,
        _compress,
        "lowering",
        {"axis": Attr(int)},
        lowering=_compress_lowering,
        settings=(1,),
    )
)
