"""Reductions, sorting and sums along an axis."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from portable_nn.converters.array import cumulated
from portable_nn.converters.torch.aten.normalization import vector_norm
from portable_nn.converters.torch.aten.rows import (
    Size,
    Use,
    axes_of,
    axis_of,
    count,
    filled,
    row,
    size_along,
    sliced,
    swapped,
    vector,
)
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers, squeezed, unsqueezed


@row(mean="ReduceMean", sum="ReduceSum", prod="ReduceProd", logsumexp="ReduceLogSumExp")
@row(amax="ReduceMax", amin="ReduceMin", **{"max.default": "ReduceMax", "min.default": "ReduceMin"})
def _reduced(operator: str, use: Use, x: Symbol, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Symbol:
    x = use.promoted(x)
    return emit(operator, x, integers(axes_of(dim, len(x.shape))), keepdims=int(keepdim)) if x.shape else x


@row("any", "all")
def _any(use: Use, x: Symbol, dim: Any = None, keepdim: bool = False) -> Symbol:
    operator = "ReduceMax" if use.target.startswith("aten.any") else "ReduceMin"
    numbers = cast(cast(x, "bool"), "int32")
    return cast(emit(operator, numbers, integers(axes_of(dim, len(x.shape))), keepdims=int(keepdim)), "bool")


@row("max.dim", "min.dim")
def _extreme(use: Use, x: Symbol, dim: int, keepdim: bool = False) -> tuple[Symbol, Symbol]:
    """The element and its place; the gradient goes to this element alone."""
    operator = "ArgMax" if use.target.startswith("aten.max") else "ArgMin"
    place = emit(operator, x, axis=dim, keepdims=1)
    found = emit("GatherElements", x, place, axis=dim)
    if keepdim:
        return found, place
    axis = axis_of(dim, len(x.shape))
    return squeezed(found, axis), squeezed(place, axis)


@row("argmax", "argmin")
def _arg(use: Use, x: Symbol, dim: int | None = None, keepdim: bool = False) -> Symbol:
    operator = "ArgMax" if use.target.startswith("aten.argmax") else "ArgMin"
    if dim is None:
        return emit(operator, emit("Reshape", x, integers([-1])), axis=0, keepdims=0)
    return emit(operator, x, axis=dim, keepdims=int(keepdim))


def _moments(
    x: Symbol, dim: Any = None, unbiased: Any = None, keepdim: bool = False, correction: Any = None
) -> tuple[Symbol, Symbol]:
    """The variance and the mean. Older overloads have whether it is unbiased for the correction."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    axes = axes_of(dim, len(x.shape))
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    mean = emit("ReduceMean", x, integers(axes), keepdims=1)
    centred = x - mean
    total = emit("ReduceSum", centred * centred, integers(axes), keepdims=int(keepdim))
    number = count(x, axes)
    variance = total / (number - correction if correction else number)
    return variance, mean if keepdim else emit("Squeeze", mean, integers(axes))


@row("var")
def _var(use: Use, x: Symbol, *arguments: Any, **options: Any) -> Symbol:
    return _moments(x, *arguments, **options)[0]


@row("std")
def _std(use: Use, x: Symbol, *arguments: Any, **options: Any) -> Symbol:
    return emit("Sqrt", _var(use, x, *arguments, **options))


@row("var_mean")
def _var_mean(use: Use, x: Symbol, *arguments: Any, **options: Any) -> tuple[Symbol, Symbol]:
    return _moments(x, *arguments, **options)


@row("std_mean")
def _std_mean(use: Use, x: Symbol, *arguments: Any, **options: Any) -> tuple[Symbol, Symbol]:
    variance, mean = _moments(x, *arguments, **options)
    return emit("Sqrt", variance), mean


@row("cumsum")
def _cumsum(use: Use, x: Symbol, dim: int, dtype: Any = None) -> Symbol:
    return emit("CumSum", use.promoted(x), constant(axis_of(dim, len(x.shape)), "int64"))


@row("logcumsumexp")
def _logcumsumexp(use: Use, x: Symbol, dim: int) -> Symbol:
    """For each entry the logarithm of a sum over those up to it, less the largest of them, so that none overflows."""
    x = swapped(use.promoted(x), dim, -1)
    if not x.shape:
        return x
    size, info = size_along(x, -1), np.finfo(x.dtype)
    low, high = constant(info.min, x.dtype), constant(info.max, x.dtype)
    seen, entries = emit("Trilu", filled(True, [size, size], "bool"), upper=0), unsqueezed(x, -2)
    most = emit("ReduceMax", emit("Where", seen, entries, low), integers([-1]), keepdims=1)
    most = emit("Clip", most, low, high)
    total = emit("ReduceSum", emit("Exp", emit("Where", seen, entries - most, low)), integers([-1]), keepdims=0)
    return swapped(emit("Log", total) + squeezed(most, -1), dim, -1)


@row("topk")
def _topk(use: Use, x: Symbol, k: Size, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Symbol, ...]:
    return emit_all("TopK", x, vector([k]), outputs=2, axis=dim, largest=int(largest), sorted=int(sorted))


@row("sort", "sort.stable")
def _sort(
    use: Use, x: Symbol, dim: int = -1, descending: bool = False, stable: bool | None = None
) -> tuple[Symbol, ...]:
    return _topk(use, x, size_along(x, dim), dim, descending)


@row("kthvalue")
def _kth(use: Use, x: Symbol, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Symbol, Symbol]:
    """The k-th smallest element, counted from 1, and its place."""
    axis = axis_of(dim, len(x.shape))
    values, places = (
        sliced(each, axis, k - 1, k) for each in emit_all("TopK", x, integers([k]), outputs=2, axis=axis, largest=0)
    )
    return (values, places) if keepdim else (squeezed(values, axis), squeezed(places, axis))


@row("median")
def _median(use: Use, x: Symbol, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower one of two in the middle."""
    is_whole = dim is None
    if is_whole:
        x, dim = emit("Reshape", x, integers([-1])), 0
    size = x.shape[dim or 0] if is_whole else x.shape[axis_of(int(dim or 0), len(x.shape))]
    if not isinstance(size, int):
        use.refuse("the median along an axis of open size")
    found = _kth(use, x, (size + 1) // 2, int(dim or 0), keepdim)
    return found[0] if is_whole else found


@row(cummax="Max", cummin="Min", cumprod="Mul")
def _cumulative(operator: str, use: Use, x: Symbol, dim: int, dtype: Any = None) -> Any:
    """Extremes, without their places, and products, for axes of known size alone."""
    axis = axis_of(dim, len(x.shape))
    size = x.shape[axis]
    if not isinstance(size, int):
        use.refuse("along an axis of open size")
    found = cumulated(partial(emit, operator), use.promoted(x), axis, size)
    return found if operator == "Mul" else (found, None)


@row("_cdist_forward", "cdist", "_euclidean_dist")
def _cdist(use: Use, a: Symbol, b: Symbol, p: float = 2.0, compute_mode: int | None = None) -> Symbol:
    """The distances of the rows of one from those of the other."""
    rank = len(a.shape)
    between = unsqueezed(a, rank - 1) - unsqueezed(b, len(b.shape) - 2)
    return vector_norm(between, p, [-1])


@row("argsort", "argsort.stable")
def _argsort(use: Use, x: Symbol, dim: int = -1, descending: bool = False, stable: bool | None = None) -> Symbol:
    return _sort(use, x, dim, descending)[1]


@row("count_nonzero")
def _count_nonzero(use: Use, x: Symbol, dim: Any = None) -> Symbol:
    return emit("ReduceSum", cast(cast(x, "bool"), "int64"), integers(axes_of(dim, len(x.shape))), keepdims=0)
