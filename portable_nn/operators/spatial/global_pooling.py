"""Global pools: the mean, the maximum or the p-norm of all cells of each channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from portable_nn.operators.base import (
    DTYPE_CODES,
    FLOATS,
    INTERNAL,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    emit,
    format_shape,
    integers,
    memory_order,
    per_example_fields,
    register,
    sizes,
)
from portable_nn.operators.spatial.average_pooling import lp_inner, power, root
from portable_nn.operators.spatial.pool_windows import check_norm, pool
from portable_nn.operators.spatial.window import spatial_sizes


def _global_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    check_norm(use)
    return use.like([*use.type().shape[:2], *(1 for _ in spatial_sizes(use))])


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _global_average(n: KernelContext) -> list[Step]:
    out = n.out()
    size = n.filled((), out.dtype, max(1, math.prod(n.x[0].shape[2:])))
    return [*_sum_of_cells(n, n.x[0], out), partial(np.divide, out, size, out=out)]


def _sum_of_cells(n: KernelContext, x: Array, out: Array) -> list[Step]:
    """The sum over all cells of each channel; over the slowest axis first, where that is one of space."""
    slowest = memory_order(x)[0]
    if slowest < 2 or x.ndim < 4:
        return [partial(np.add.reduce, x, axis=_spatial(x), keepdims=True, out=out)]
    part = n.scratch_like(x[(slice(None),) * slowest + (slice(1),)])
    return [
        partial(np.add.reduce, x, axis=slowest, keepdims=True, out=part),
        partial(np.add.reduce, part, axis=_spatial(x), keepdims=True, out=out),
    ]


def _global_average_gradient(n: GradientContext) -> Symbol:
    x = n.x[0]
    axes = list(range(2, len(x.shape)))
    known = [dim for dim in x.shape[2:] if isinstance(dim, int)]
    if len(known) == len(axes):
        return emit("Expand", n.dy / math.prod(known), sizes(x))
    count = emit("Cast", emit("ReduceProd", sizes(x, axes), keepdims=0), to=DTYPE_CODES[x.dtype])
    return emit("Expand", n.dy / count, sizes(x))


def _global_max(n: KernelContext) -> Step:
    x = n.x[0]
    return partial(np.maximum.reduce, x, axis=_spatial(x), keepdims=True, out=n.out(), initial=-np.inf)


def _global_max_gradient(n: GradientContext) -> Symbol:
    kernel = [dim for dim in n.x[0].shape[2:] if isinstance(dim, int)]
    if len(kernel) < len(n.x[0].shape) - 2:
        n.fail(f"its gradient needs known sizes, not {format_shape(n.x[0].shape)}")
    return emit("MaxPoolGrad", n.dy, n.x[0], n.y[0], domain=INTERNAL, kernel_shape=kernel)


def _global_lp(n: KernelContext) -> list[Step]:
    p, out = n.int("p"), n.out()
    steps, powers = power(n, n.x[0], p)
    total = partial(np.add.reduce, powers, axis=_spatial(powers), keepdims=True, out=out)
    return [*steps, total, *root(n, out, p)]


def _global_lp_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime 1.32 has no kernel for the newest version."""
    return _global_norm if opset >= 22 else None


def _global_norm(x: Symbol, *, p: int = 2) -> Symbol:
    axes = integers(range(2, len(x.shape)))
    if p < 3:
        return emit(f"ReduceL{p}", x, axes)
    return emit("ReduceSum", emit("Abs", x) ** p, axes) ** (1 / p)


def _global_lp_gradient(n: GradientContext) -> Symbol:
    outer, inner = lp_inner(n, n.int("p"))
    return outer * inner


register(
    pool(
        "GlobalAveragePool",
        ("X",),
        _global_type,
        _global_average,
        _global_average_gradient,
        receptive=per_example_fields,
        summary="mean",
    )
)
register(
    pool(
        "GlobalMaxPool",
        ("X",),
        _global_type,
        _global_max,
        _global_max_gradient,
        receptive=per_example_fields,
        summary="max",
    )
)
register(
    pool(
        "GlobalLpPool",
        ("X",),
        _global_type,
        _global_lp,
        _global_lp_gradient,
        {"p": Attr(int, 2)},
        # OpenCV 5.0 lacks it, tract 0.23 computes something else.
        portability=Portability(substitute=_global_lp_substitute, portable=lambda use: _global_norm),
        receptive=per_example_fields,
    )
)
