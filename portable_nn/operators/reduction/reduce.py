"""Reductions along axes, and the positions of extremes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from portable_nn.core.dims import difference, product, total
from portable_nn.operators.base import (
    FLOATS,
    NUMBERS,
    WIDE,
    Array,
    Attr,
    Constant,
    Gradient,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    format_shape,
    integers,
    like,
    reduced,
    reduced_fields,
    register,
    sizes,
    whole,
)

EXTREME = WIDE | {"int8", "uint8", "bool"}

Reduction: TypeAlias = "Callable[[KernelContext, Array, tuple[int, ...], Array], list[Step]]"


def reduced_axes(use: OperatorContext) -> tuple[int, ...]:
    """The axes that are reduced: all of them where none are named, none with ``noop_with_empty_axes``."""
    rank = len(use.type().shape)
    if use.has(1) and use.type(1).shape != (0,):
        return use.axes(use.numbers(1), rank)
    return () if use.int("noop_with_empty_axes") else tuple(range(rank))


def _unsized(use: OperatorContext) -> Type:
    """Computed axes: any size may become 1, and so many axes go away."""
    rank, count = len(use.type().shape), use.length_of(1)
    return use.opened(rank if use.int("keepdims") else difference(rank, count))


def _axes(n: GradientContext) -> Symbol:
    """The axes that are reduced, which may be computed."""
    if not n.has(1) or n.type(1).constant is not None or n.type(1).shape == (0,):
        return integers(reduced_axes(n))
    if not isinstance(n.length_of(1), int) and not n.int("noop_with_empty_axes"):
        n.fail("its gradient needs to know how many axes there are, as none would mean all")
    return n.x[1]


def _along(n: GradientContext, name: str, value: Symbol) -> Symbol:
    """Another reduction along the same axes, which are kept."""
    return emit(name, value, _axes(n), keepdims=1, noop_with_empty_axes=n.int("noop_with_empty_axes") or None)


def _moves(n: GradientContext) -> bool:
    """True unless it is known that no axis is reduced."""
    return _axes(n).shape != (0,)


def _shape(shape: Shape, axes: tuple[int, ...], keepdims: int) -> Shape:
    if keepdims:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def _ufunc(function: np.ufunc, n: KernelContext, x: Array, axes: tuple[int, ...], out: Array) -> list[Step]:
    return [partial(function.reduce, x, axis=axes, out=out, keepdims=bool(n.int("keepdims")))]


def _extreme(
    function: np.ufunc, n: KernelContext, x: Array, axes: tuple[int, ...], out: Array, *, least: bool
) -> list[Step]:
    """The maximum of no elements is the lowest number of the type, their minimum the highest."""
    limits: tuple[float, float] = (False, True)
    if x.dtype.kind != "b":
        limits = (-np.inf, np.inf) if x.dtype.kind == "f" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    keepdims = bool(n.int("keepdims"))
    return [partial(function.reduce, x, axis=axes, out=out, keepdims=keepdims, initial=limits[least])]


def _sum(n: KernelContext, x: Array, axes: tuple[int, ...], out: Array) -> list[Step]:
    if x.ndim == 2 and axes == (0,) and x.dtype.kind == "f" and x.dtype.itemsize >= 4 and out.flags.c_contiguous:
        # The sum over rows as a product with a row of ones runs in BLAS.
        return [partial(np.dot, n.filled((x.shape[0],), x.dtype, 1), x, out.reshape(-1))]
    return _ufunc(np.add, n, x, axes, out)


def _mean(n: KernelContext, x: Array, axes: tuple[int, ...], out: Array) -> list[Step]:
    size = math.prod(x.shape[axis] for axis in axes)
    return [*_sum(n, x, axes, out), partial(np.divide, out, n.filled((), out.dtype, size), out=out)]


def _of_squares(n: KernelContext, x: Array, axes: tuple[int, ...], out: Array) -> list[Step]:
    squares = n.scratch(x.shape, x.dtype)
    return [partial(np.multiply, x, x, out=squares), *_sum(n, squares, axes, out)]


def _of_magnitudes(n: KernelContext, x: Array, axes: tuple[int, ...], out: Array) -> list[Step]:
    magnitudes = n.scratch(x.shape, x.dtype)
    return [partial(np.absolute, x, out=magnitudes), *_sum(n, magnitudes, axes, out)]


def _log_sum_exp(n: KernelContext, x: Array, axes: tuple[int, ...], out: Array) -> list[Step]:
    """log Σ exp(x - m) + m with m the maximum, or 0 where that is infinite: it overflows nowhere."""
    kept = _shape(x.shape, axes, 1)
    top, shifted = n.scratch(tuple(map(int, kept)), x.dtype), n.scratch(x.shape, x.dtype)
    endless = n.scratch(top.shape, np.bool_)
    return [
        partial(np.maximum.reduce, x, axis=axes, out=top, keepdims=True, initial=-np.inf),
        partial(np.isinf, top, out=endless),
        partial(np.copyto, top, 0, where=endless),
        partial(np.subtract, x, top, out=shifted),
        partial(np.exp, shifted, out=shifted),
        *_sum(n, shifted, axes, out),
        partial(np.log, out, out=out),
        partial(np.add, out, top.reshape(out.shape), out=out),
    ]


def _then(
    first: Reduction, function: np.ufunc, n: KernelContext, x: Array, axes: tuple[int, ...], out: Array
) -> list[Step]:
    """A reduction followed by a function of its result."""
    return [*first(n, x, axes, out), partial(function, out, out=out)]


def _kept(n: GradientContext, value: Symbol) -> Symbol:
    """A result of the reduction with the reduced axes back in place, each of size 1."""
    return value if n.int("keepdims") or not _moves(n) else emit("Unsqueeze", value, _axes(n))


def _spread(n: GradientContext, value: Symbol) -> Symbol:
    return emit("Expand", _kept(n, value), sizes(n.x[0]))


def _mean_gradient(n: GradientContext) -> Symbol:
    if not _moves(n):
        return n.dy
    axes = _axes(n)
    known = axes.type.constant is not None
    reduced = sizes(n.x[0], reduced_axes(n)) if known else emit("Gather", emit("Shape", n.x[0]), axes)
    size = emit("ReduceProd", reduced, keepdims=0)
    return _spread(n, n.dy / cast(size, n.dy.dtype))


def _extreme_gradient(n: GradientContext) -> Symbol:
    """The gradient goes to the elements that attain the extreme, in equal shares."""
    if not _moves(n):
        return n.dy
    mask = cast(emit("Equal", n.x[0], _kept(n, n.y[0])), n.dy.dtype)
    return mask * (_kept(n, n.dy) / _along(n, "ReduceSum", mask))


def _product_gradient(n: GradientContext) -> Symbol:
    """The product of all others: exact also where one element or several are zero."""
    if not _moves(n):
        return n.dy
    x = n.x[0]
    zero, one = x * 0, x * 0 + 1
    is_zero = emit("Equal", x, zero)
    others = emit("Where", is_zero, one, x)
    product = _along(n, "ReduceProd", others)
    zeros = _along(n, "ReduceSum", cast(is_zero, x.dtype))
    # With the zero itself left out: how many zeros remain among the others.
    remaining = zeros - cast(is_zero, x.dtype)
    none_left = emit("Equal", remaining, remaining * 0)
    return _kept(n, n.dy) * emit("Where", none_left, product / others, zero)


def _older_form(
    name: str, x: Symbol, axes: Symbol | None = None, *, noop_with_empty_axes: int = 0, keepdims: int = 1
) -> Symbol:
    """A reduction of booleans as one of integers, and one over no axes as Identity."""
    if noop_with_empty_axes and (axes is None or axes.shape == (0,)):
        return emit("Identity", x)
    number = cast(x, "uint8") if x.dtype == "bool" else x
    return cast(emit(name, number, axes, keepdims=keepdims), x.dtype)


def reduction(
    name: str,
    steps: Reduction,
    gradient: Gradient,
    allowed: frozenset[str] = FLOATS,
    *,
    constant: Constant | None = None,
    samples: Interval | None = None,
    summary: Literal["mean", "max"] | None = None,
    polynomial: bool = False,
) -> None:
    """Register a reduction; one that takes booleans, which the standard once did not have, has a lowering."""

    def infer(use: OperatorContext) -> Type:
        use.check_dtype(use.type().dtype, allowed)
        return Type(use.type().dtype, _shape(use.type().shape, reduced_axes(use), use.int("keepdims")))

    def kernel(n: KernelContext) -> list[Step]:
        return steps(n, n.x[0], reduced_axes(n), n.out())

    attributes = {"keepdims": Attr(int, 1, spelled=True), "noop_with_empty_axes": Attr(int, 0)}
    inputs = ("data", "axes?")

    lowering = partial(_older_form, name) if "bool" in allowed else None
    register(
        Operator(
            name,
            inputs,
            infer,
            kernel,
            gradient,
            attributes,
            outputs=("reduced",),
            lowering=lowering,
            constant=constant,
            family="reduction",
            receptive=reduced_fields,
            samples={0: samples} if samples else {},
            summary=summary,
            polynomial=polynomial,
            unsized=_unsized,
        )
    )


def _length_gradient(n: GradientContext) -> Symbol:
    """x / ‖x‖, and 0 where all is 0: of the slopes that a length has there, the shortest, and that of PyTorch."""
    length = n.y[0]
    return _kept(n, n.dy / (length + cast(emit("Equal", length, like(0, length)), length.dtype))) * n.x[0]


def _arg_type(use: OperatorContext) -> Type:
    shape = use.type().shape
    axis = use.axis(use.int("axis"), len(shape))
    use.check_dtype(use.type().dtype, NUMBERS)
    return Type("int64", _shape(shape, (axis,), use.int("keepdims")))


def _arg(function: Callable[..., Array], n: KernelContext) -> list[Step]:
    x, out = n.x[0], n.out()
    axis = n.axis(n.int("axis"), x.ndim)
    if out.size and not x.size:
        n.fail(f"axis {axis} of {format_shape(x.shape)} is empty and has no extreme")
    flat = np.squeeze(out, axis) if n.int("keepdims") else out
    if n.int("select_last_index"):
        return [partial(_last, function, x, axis, flat)]
    return [partial(function, x, axis=axis, out=flat)]


def _last(function: Callable[..., Array], x: Array, axis: int, out: Array) -> None:
    function(np.flip(x, axis), axis=axis, out=out)
    np.subtract(x.shape[axis] - 1, out, out=out)


def _total(items: Sequence[float]) -> float:
    return math.fsum(items) if any(isinstance(item, float) for item in items) else sum(items)


reduction(
    "ReduceSum",
    _sum,
    lambda n: _spread(n, n.dy),
    WIDE,
    constant=partial(reduced, _total, sizes=lambda items: total(map(whole, items))),
    polynomial=True,
)
reduction("ReduceMean", _mean, _mean_gradient, summary="mean", polynomial=True)
reduction(
    "ReduceProd",
    partial(_ufunc, np.multiply),
    _product_gradient,
    WIDE,
    constant=partial(reduced, math.prod, sizes=lambda items: product(map(whole, items))),
)
reduction(
    "ReduceMax",
    partial(_extreme, np.maximum, least=False),
    _extreme_gradient,
    EXTREME,
    constant=partial(reduced, max),
    summary="max",
)
reduction(
    "ReduceMin", partial(_extreme, np.minimum, least=True), _extreme_gradient, EXTREME, constant=partial(reduced, min)
)
reduction("ReduceSumSquare", _of_squares, lambda n: _kept(n, n.dy) * n.x[0] * 2)
reduction("ReduceL1", _of_magnitudes, lambda n: _kept(n, n.dy) * emit("Sign", n.x[0]))
reduction("ReduceL2", partial(_then, _of_squares, np.sqrt), _length_gradient)
reduction("ReduceLogSum", partial(_then, _sum, np.log), lambda n: _spread(n, n.dy / emit("Exp", n.y[0])))
reduction("ReduceLogSumExp", _log_sum_exp, lambda n: _kept(n, n.dy) * emit("Exp", n.x[0] - _kept(n, n.y[0])))

for _name, _function in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
    register(
        Operator(
            _name,
            ("data",),
            _arg_type,
            partial(_arg, _function),
            None,
            {"axis": Attr(int, 0), "keepdims": Attr(int, 1, spelled=True), "select_last_index": Attr(int, 0)},
            outputs=("reduced",),
            family="reduction",
        )
    )
