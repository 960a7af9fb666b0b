"""Operators that make values: constants and one-hot codes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from portable_nn.core.dims import OPEN
from portable_nn.operators.base import (
    ANY,
    DTYPE_CODES,
    INTEGERS,
    NUMBERS,
    Array,
    Attr,
    Dim,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Tensor,
    Type,
    as_dtype,
    below,
    constant,
    emit,
    format_shape,
    integers,
    length,
    register,
)

_LITERALS = {"value_int": "int64", "value_ints": "int64", "value_float": "float32", "value_floats": "float32"}


def _literal(use: OperatorContext) -> Array:
    if len(use.attributes) != 1:
        use.fail("it needs one value")
    [(name, value)] = use.attributes.items()
    if isinstance(value, Tensor):
        fits = value.dtype in ANY and min(value.shape, default=0) >= 0 and len(value.data) == math.prod(value.shape)
        if not fits:
            use.fail(f"its value is no {value.dtype} array of shape {format_shape(value.shape)}")
        return _array(use, value.data, value.dtype).reshape(value.shape)
    return _array(use, value, _LITERALS[name])


def _array(use: OperatorContext, data: Any, dtype: str) -> Array:
    try:
        return np.array(data, dtype)
    except OverflowError:
        use.fail(f"its value has numbers outside {dtype}")


def _constant_type(use: OperatorContext) -> Type:
    array = _literal(use)
    numbers = array.view(np.uint8) if array.dtype == np.bool_ else array
    return Type(str(array.dtype), array.shape, tuple(numbers.ravel().tolist()) if array.ndim <= 1 else None)


def _repeated(use: OperatorContext) -> Array:
    """The one element that a ConstantOfShape repeats."""
    value = use.attributes.get("value")
    if not isinstance(value, Tensor):
        return np.zeros((), np.float32)
    if len(value.data) != 1 or value.dtype not in ANY:
        use.fail(f"value must be an array of one number, not {value.dtype} {format_shape(value.shape)}")
    return _array(use, value.data[0], value.dtype)


def _constant_of_shape_type(use: OperatorContext) -> Type:
    shape, value = use.constant(0), _repeated(use)
    if min((dim for dim in shape if isinstance(dim, int)), default=0) < 0:
        use.fail(f"input must hold sizes of 0 or more, not {format_shape(shape)}")
    return Type(str(value.dtype), shape)


def _constant_of_shape(n: KernelContext) -> Step | None:
    """A view of the one number; where weights are made so, all of them, which products read much faster."""
    value = _repeated(n)
    if n.is_constant(0) and value.dtype.kind == "f":
        return partial(np.copyto, n.out(), value)
    n.view(np.broadcast_to(value, n.output_shape()))
    return None


def _one_hot_type(use: OperatorContext) -> Type:
    indices = use.type(0)
    use.check_dtype(indices.dtype, NUMBERS)
    depth = use.constant(1, INTEGERS) if use.type(1).dtype in INTEGERS else tuple(map(int, use.floats(1)))
    if use.type(2).shape != (2,) or len(depth) != 1 or (isinstance(depth[0], int) and depth[0] < 0):
        use.fail("depth must be one number of 0 or more, and values must be the pair (off, on)")
    return _one_hot_of(use, depth[0])


def _one_hot_of(use: OperatorContext, depth: Dim) -> Type:
    shape = use.type().shape
    axis = use.axis(use.int("axis"), len(shape) + 1)
    return Type(use.type(2).dtype, (*shape[:axis], depth, *shape[axis:]))


def _one_hot(n: KernelContext) -> list[Step]:
    given, values, out = n.x[0], n.x[2], n.out()
    indices = given if given.dtype == np.int64 else n.scratch(given.shape, np.int64)
    moved = np.moveaxis(out, n.axis(n.int("axis"), out.ndim), -1)
    depth = moved.shape[-1]
    grid: tuple[Array, ...] = tuple(np.indices(indices.shape, sparse=True))

    def run() -> None:
        if indices is not given:
            np.copyto(indices, given, casting="unsafe")
        out.fill(values[0])
        if indices.size and indices.min() >= 0 and indices.max() < depth:
            moved[(*grid, indices)] = values[1]
        elif moved.size:
            # Negative ones count from the back; a row whose index is outside has no element that is on.
            wrapped = np.where(indices < 0, indices + depth, indices)
            inside = (wrapped >= 0) & (wrapped < depth)
            on_or_off = np.where(inside, values[1], values[0])
            np.put_along_axis(moved, np.where(inside, wrapped, 0)[..., np.newaxis], on_or_off[..., np.newaxis], -1)

    return [run]


def _below_depth(use: OperatorContext) -> Interval | None:
    depth = use.type(1).constant
    return below(int(depth[0])) if depth and not isinstance(depth[0], str) else None


def _one_hot_portable(use: OperatorContext) -> Callable[..., Symbol] | None:
    """MNN 3.6 makes nothing of it; the comparison needs a known depth."""
    depth = use.type(1).constant
    return _by_comparison if depth and not isinstance(depth[0], str) else None


def _by_comparison(indices: Symbol, depth: Symbol, values: Symbol, *, axis: int = -1) -> Symbol:
    """The second of ``values`` where the index, from the end if it is negative, is the place along the new axis, else
    the first."""
    assert depth.type.constant is not None
    count = int(depth.type.constant[0])
    rank = len(indices.shape) + 1
    place = axis % rank
    given = emit("Cast", indices, to=DTYPE_CODES["int64"]) if indices.dtype != "int64" else indices
    wrapped = emit("Where", emit("Less", given, constant(0, "int64")), given + constant(count, "int64"), given)
    shape = [count if each == place else 1 for each in range(rank)]
    places = constant(np.arange(count).reshape(shape), "int64")
    off, on = (emit("Squeeze", emit("Slice", values, integers([i]), integers([i + 1])), integers([0])) for i in (0, 1))
    return emit("Where", emit("Equal", emit("Unsqueeze", wrapped, integers([place])), places), on, off)


register(
    Operator(
        "Constant",
        (),
        _constant_type,
        lambda n: n.view(_literal(n)),
        None,
        {
            "value": Attr(Tensor),
            "value_int": Attr(int),
            "value_ints": Attr(tuple),
            "value_float": Attr(float),
            "value_floats": Attr(tuple, item=float),
        },
        polynomial=True,
    )
)
register(
    Operator(
        "ConstantOfShape",
        ("input",),
        _constant_of_shape_type,
        _constant_of_shape,
        None,
        {"value": Attr(Tensor)},
        constant=lambda use, type: (as_dtype(type.dtype, _repeated(use)),) * length(type),
        samples={0: Interval(1, 3)},
        unsized=lambda use: use.opened(use.length_of(0))._replace(dtype=str(_repeated(use).dtype)),
    )
)
register(
    Operator(
        "OneHot",
        ("indices", "depth", "values"),
        _one_hot_type,
        _one_hot,
        None,
        {"axis": Attr(int, -1)},
        portability=Portability(portable=_one_hot_portable),
        settings=(1, 2),
        unsized=lambda use: _one_hot_of(use, OPEN),
        samples={0: _below_depth, 1: Interval(1, 3)},
    )
)
