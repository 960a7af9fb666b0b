"""AveragePool and LpPool, the mean or the p-norm of each window in any number of axes; and pools of all cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from portable_nn.operators import limits
from portable_nn.operators.base import (
    DTYPE_CODES,
    FLOATS,
    INTERNAL,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    constant,
    emit,
    format_shape,
    integers,
    lookup,
    memory_order,
    per_example_fields,
    register,
    sizes,
)
from portable_nn.operators.spatial.pool_windows import (
    POOL,
    attributes_but,
    check_norm,
    fold,
    pool,
    pool_type,
    reached,
    unfold,
    visits,
    windows_of,
)
from portable_nn.operators.spatial.window import slide, spatial_sizes
from portable_nn.sizes.operation import Window


def _cells_seen(
    use: OperatorContext, found: Sequence[Window], shape: tuple[int, ...], places: tuple[int, ...], *, pads: bool
) -> Array:
    """The number of cells in each window, (1, 1, positions …): with ``pads``, those of the padding as well."""
    counts = np.ones((1, 1, *(1,) * len(found)))
    for axis, (w, size, count) in enumerate(zip(found, shape[2:], places[2:], strict=True)):
        low, high = (-w.pad_begin, size + w.pad_end) if pads else (0, size)
        starts = np.arange(count) * w.stride - w.pad_begin
        before, until = (np.clip(-((starts - end) // w.dilation), 0, w.kernel) for end in (low, high))
        seen = until - before
        counts = counts * seen.reshape(*(1,) * (axis + 2), -1, *(1,) * (len(found) - axis - 1))
    return counts


def _average_pool(n: KernelContext) -> list[Step]:
    x, found = n.x[0], windows_of(n, n.type().shape)
    out = n.out(order=memory_order(x))
    counts = _cells_seen(n, found, x.shape, out.shape, pads=bool(n.int("count_include_pad")))
    share = counts.astype(out.dtype)
    if out.size and (counts == counts.flat[0]).all():
        share = n.filled((), out.dtype, float(counts.flat[0]))
    return [*fold(n, x, found, out, np.add, 0), partial(np.divide, out, share, out=out)]


def _count(n: GradientContext, x: Symbol, y: Symbol, *, pads: bool) -> Symbol:
    """The number of cells in each window, as a constant."""
    found = windows_of(n, x.shape)
    known = [dim for dim in (*x.shape[2:], *y.shape[2:]) if isinstance(dim, int)]
    if len(known) < 2 * len(found):
        if (
            n.attributes.get("ceil_mode")
            or (any(any(w.pads) for w in found) and not pads)
            or n.string("auto_pad").startswith("SAME")
        ):
            n.fail(f"its gradient needs known sizes, not {format_shape(x.shape)}")
        return constant(math.prod(w.kernel for w in found), x.dtype)
    seen = _cells_seen(n, found, (0, 0, *known[: len(found)]), (0, 0, *known[len(found) :]), pads=pads)
    return constant(seen.flat[0] if (seen == seen.flat[0]).all() else seen, x.dtype)


def _spread(n: GradientContext, small: Symbol, big: Symbol) -> Symbol:
    options = attributes_but(n, "count_include_pad", "p")
    return emit("PoolSpread", small, big, domain=INTERNAL, **options)


def power(n: KernelContext, x: Array, p: int) -> tuple[list[Step], Array]:
    """|x| ** p."""
    work = n.scratch_like(x)
    if p == 2:
        return [partial(np.multiply, x, x, out=work)], work
    steps: list[Step] = [partial(np.absolute, x, out=work)]
    return steps + ([partial(np.power, work, n.filled((), x.dtype, p), out=work)] if p > 1 else []), work


def root(n: KernelContext, out: Array, p: int) -> list[Step]:
    """The p-th root of ``out``, in place."""
    if p == 2:
        return [partial(np.sqrt, out, out=out)]
    return [partial(np.power, out, n.filled((), out.dtype, 1 / p), out=out)] if p > 1 else []


def _lp_pool(n: KernelContext) -> list[Step]:
    p, out = n.int("p"), n.out(order=memory_order(n.x[0]))
    steps, powers = power(n, n.x[0], p)
    return [*steps, *fold(n, powers, windows_of(n, n.type().shape), out, np.add, 0), *root(n, out, p)]


def lp_inner(n: GradientContext, p: int) -> tuple[Symbol, Symbol]:
    """The two factors of the gradient: dy · y ** (1 - p), spread over the window, and sign(x) · |x| ** (p - 1)."""
    x, y = n.x[0], n.y[0]
    if p == 1:
        return n.dy, emit("Sign", x)
    if p == 2:
        return n.dy / y, x
    return n.dy * y ** (1.0 - p), emit("Sign", x) * emit("Abs", x) ** (p - 1.0)


def _lp_gradient(n: GradientContext) -> Symbol:
    outer, inner = lp_inner(n, n.int("p"))
    return _spread(n, outer, n.x[0]) * inner


def _spread_type(use: OperatorContext) -> Type:
    big = use.type(1)
    use.expect(0, pool_type(OperatorContext(use.operator, [big], use.attributes)), f" for an X of {big}")
    return Type(big.dtype, big.shape)


def _pool_spread(n: KernelContext) -> list[Step]:
    out = n.out(order=memory_order(n.x[0]))
    return unfold(n, n.x[0], windows_of(n, n.type(1).shape), out)


def _spread_gradient(n: GradientContext) -> list[Symbol | None]:
    mean = emit("AveragePool", n.dy, count_include_pad=1, **n.attributes)
    return [mean * _count(n, n.x[1], n.x[0], pads=True), None]


def _spread_lowering(small: Symbol, big: Symbol, **attributes: Any) -> Symbol:
    """A transposed convolution with a kernel of ones, every channel for itself."""
    use = OperatorContext(SPREAD, [small.type, big.type], attributes)
    found = windows_of(use, big.shape)
    spatial = range(2, len(big.shape))
    rest = [
        (count - 1) * w.stride + w.extent - w.pad_begin - size
        if isinstance(size, int) and isinstance(count, int)
        else w.pad_end
        for w, count, size in zip(found, small.shape[2:], big.shape[2:], strict=True)
    ]
    alone = emit("Reshape", small, emit("Concat", integers([-1, 1]), sizes(small, spatial), axis=0))
    kernel = [w.kernel for w in found]
    spread = emit(
        "ConvTranspose",
        alone,
        constant(np.ones((1, 1, *kernel)), small.dtype),
        strides=[w.stride for w in found],
        dilations=[w.dilation for w in found],
        pads=[w.pad_begin for w in found] + [max(0, end) for end in rest],
        output_padding=[max(0, -end) for end in rest],
    )
    return emit("Reshape", spread, sizes(big))


def _average_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """Runtimes disagree on how many cells a window counts that stands over the end of the padding."""
    both = use.int("ceil_mode") and use.int("count_include_pad")
    found = reached(use) if both else None
    return _average_corrected if found is not None and found != windows_of(use, use.type().shape) else None


def _average_corrected(x: Symbol, **attributes: Any) -> Symbol:
    """The mean with the cells behind the padding, times the count of cells with them and divided by that without."""
    use = OperatorContext(lookup("AveragePool"), [x.type], attributes)
    found, windows = reached(use), windows_of(use, x.shape)
    assert found is not None
    sizes = tuple(size for size in x.shape[2:] if isinstance(size, int))
    places = slide(use, windows, sizes, ceil=True)
    seen = _cells_seen(use, windows, (0, 0, *sizes), (0, 0, *(int(count) for count in places)), pads=True)
    options = {name: value for name, value in attributes.items() if name not in ("auto_pad", "ceil_mode")}
    pads = [w.pad_begin for w in found] + [w.pad_end for w in found]
    mean = emit("AveragePool", x, **{**options, "pads": pads})
    return mean * constant(math.prod(w.kernel for w in found) / seen, x.dtype)


def _lp_portable(use: OperatorContext) -> Callable[..., Symbol] | None:
    """tract 0.23, OpenCV 5.0 and MNN 3.6 lack it. The mean of a window that reaches over the pads is another."""
    plain = not use.int("ceil_mode") and use.string("auto_pad") == "NOTSET"
    return _lp_of_means if plain and all(each == 1 for each in use.ints("dilations") or ()) else None


def _lp_of_means(x: Symbol, *, p: int = 2, **attributes: Any) -> Symbol:
    """The p-norm of each window, by the mean of the powers and the number of cells."""
    cells = math.prod(attributes["kernel_shape"])
    options = {name: value for name, value in attributes.items() if name != "dilations"}
    powers = x * x if p == 2 else emit("Abs", x) if p == 1 else emit("Abs", x) ** p
    total = emit("AveragePool", powers, **options, count_include_pad=1) * cells
    return emit("Sqrt", total) if p == 2 else total if p == 1 else total ** (1 / p)


register(
    pool(
        "AveragePool",
        ("X",),
        pool_type,
        _average_pool,
        lambda n: _spread(n, n.dy / _count(n, n.x[0], n.y[0], pads=bool(n.int("count_include_pad"))), n.x[0]),
        {**POOL, "count_include_pad": Attr(int, 0)},
        portability=Portability(substitute=_average_substitute, limits=(limits.POOL,)),
        window=("pool", "average"),
        visits=visits,
        summary="mean",
    )
)
register(
    pool(
        "LpPool",
        ("X",),
        pool_type,
        _lp_pool,
        _lp_gradient,
        {**POOL, "p": Attr(int, 2)},
        portability=Portability(portable=_lp_portable),
        window=("pool", "lp"),
        visits=visits,
    )
)
SPREAD = register(
    Operator(
        "PoolSpread",
        ("dY", "X"),
        _spread_type,
        _pool_spread,
        _spread_gradient,
        POOL,
        outputs=("dX",),
        domain=INTERNAL,
        lowering=_spread_lowering,
        family="reduction",
    )
)


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
        portability=Portability(  # onnxruntime 1.32 has no kernel for the newest version.
            substitute=lambda use, opset: _global_norm if opset >= 22 else None, portable=lambda use: _global_norm
        ),
        receptive=per_example_fields,
    )
)
