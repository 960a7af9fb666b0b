"""Pools: the maximum, mean or p-norm of each window, in any number of spatial axes.

These are separable, and computed axis by axis: k + k steps and not k · k. Every step is one numpy call over slices,
whatever the memory layout of the arrays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from portable_nn.operators import limits
from portable_nn.operators.base import (
    DTYPE_CODES,
    FLOATS,
    INTERNAL,
    REQUIRED,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    constant,
    emit,
    emit_all,
    format_shape,
    integers,
    laid_in,
    lookup,
    memory_order,
    per_example_fields,
    register,
    sizes,
)
from portable_nn.operators.spatial.window import ATTRIBUTES, per_axis, reaching, slide, spatial_sizes, taps, windows
from portable_nn.sizes.operation import Window

pool = partial(Operator, outputs=("Y",), family="reduction", batch_inputs="all")
"""A pool, with the facts that most of them share."""

POOL = {**ATTRIBUTES, "kernel_shape": Attr(tuple, REQUIRED), "ceil_mode": Attr(int, 0)}


def _windows(use: OperatorContext, shape: Shape) -> list[Window]:
    return windows(use, per_axis(use, "kernel_shape", len(shape) - 2), shape[2:])


def _check_norm(use: OperatorContext) -> None:
    if "p" in use.operator.attributes:
        use.at_least("p")


def _type(use: OperatorContext, allowed: frozenset[str] = FLOATS) -> Type:
    use.check_dtype(use.type().dtype, allowed)
    _check_norm(use)
    found = spatial_sizes(use)
    kernels = _windows(use, use.type().shape)
    if any(max(w.pads) >= w.extent for w in kernels):
        use.fail(f"pads {use.ints('pads')} leave windows that see no cell: they must be less than the kernel spans")
    return use.like([*use.type().shape[:2], *slide(use, kernels, found, ceil=bool(use.int("ceil_mode")))])


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * (axis + 2), part)


def _fold(
    n: KernelContext, x: Array, found: Sequence[Window], out: Array, combine: Callable[..., Any], neutral: float
) -> list[Step]:
    """Reduce each window, one axis after the other; ``neutral`` is the value of the padding."""
    steps: list[Step] = []
    order = memory_order(x)
    sliding = [axis for axis, w in enumerate(found) if (x.shape[axis + 2], 1) != (out.shape[axis + 2], w.kernel)]
    if not sliding:
        return [partial(np.copyto, out, x)]
    for axis in sliding:
        w, count, size = found[axis], out.shape[axis + 2], x.shape[axis + 2]
        shape = [*x.shape[: axis + 2], count, *x.shape[axis + 3 :]]
        target = out if axis == sliding[-1] else laid_in(order, n.scratch(tuple(shape[a] for a in order), x.dtype))
        moves = [taps(w, tap, size, count) for tap in range(w.kernel)]
        parts = [(target[_along(axis, to)], x[_along(axis, at)]) for to, at in moves if to.stop > to.start]
        full = [place for place, (to, _) in enumerate(parts) if to.shape == target.shape]
        if len(full) > 1:
            (_, first), (_, second) = parts.pop(full[1]), parts.pop(full[0])
            steps.append(partial(combine, second, first, out=target))
        elif full:
            steps.append(partial(np.copyto, target, parts.pop(full[0])[1]))
        else:
            steps.append(partial(target.fill, neutral))
        steps.extend(partial(combine, to, part, out=to) for to, part in parts)
        x = target
    return steps


def _unfold(n: KernelContext, y: Array, found: Sequence[Window], out: Array) -> list[Step]:
    """Add each cell of ``y`` to all the cells of its window, one axis after the other."""
    steps: list[Step] = []
    order = memory_order(y)
    sliding = [axis for axis, w in enumerate(found) if (y.shape[axis + 2], 1) != (out.shape[axis + 2], w.kernel)]
    if not sliding:
        return [partial(np.copyto, out, y)]
    for axis in reversed(sliding):
        w, count, size = found[axis], y.shape[axis + 2], out.shape[axis + 2]
        shape = [*y.shape[: axis + 2], size, *y.shape[axis + 3 :]]
        target = out if axis == sliding[0] else laid_in(order, n.scratch(tuple(shape[a] for a in order), y.dtype))
        moves = [taps(w, tap, size, count) for tap in range(w.kernel)]
        parts = [(target[_along(axis, at)], y[_along(axis, to)]) for to, at in moves if to.stop > to.start]
        apart = w.stride >= w.extent
        if not apart or sum(part.shape[axis + 2] for _, part in parts) < size:
            steps.append(partial(target.fill, 0))
        if apart:
            steps.extend(partial(np.copyto, cells, part) for cells, part in parts)
        else:
            steps.extend(partial(np.add, cells, part, out=cells) for cells, part in parts)
        y = target
    return steps


# -- MaxPool


def _max_type(use: OperatorContext) -> tuple[Type, Type]:
    use.choice("storage_order", (0, 1))
    values = _type(use, FLOATS | {"int8", "uint8"})
    return values, Type("int64", values.shape)


def _lowest(dtype: np.dtype[Any]) -> float:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _max_pool(n: KernelContext) -> list[Step]:
    x, found = n.x[0], _windows(n, n.type().shape)
    out = n.out(order=memory_order(x))
    steps = _fold(n, x, found, out, np.maximum, _lowest(x.dtype))
    return steps if n.output_count == 1 else [*steps, *_indices(n, x, found)]


def _indices(n: KernelContext, x: Array, found: Sequence[Window]) -> list[Step]:
    """The index of each maximum in the flattened input; the first one where several are equal."""
    out, rank = n.out(1), len(found)
    places, kernel = out.shape[2:], tuple(w.kernel for w in found)
    # Room for the pads, and for what a last window of ceil_mode sees beyond them.
    ends = [
        max(0, (c - 1) * w.stride + w.extent - w.pad_begin - s)
        for c, w, s in zip(places, found, x.shape[2:], strict=True)
    ]
    shape = (*x.shape[:2], *(w.pad_begin + s + end for w, s, end in zip(found, x.shape[2:], ends, strict=True)))
    padded = n.own(shape, x.dtype)
    padded.fill(_lowest(x.dtype))
    inside: Any = (..., *(slice(w.pad_begin, w.pad_begin + s) for w, s in zip(found, x.shape[2:], strict=True)))
    strides = [stride * w.stride for w, stride in zip(found, padded.strides[2:], strict=True)]
    steps_of_taps = [stride * w.dilation for w, stride in zip(found, padded.strides[2:], strict=True)]
    view = as_strided(padded, (*out.shape, *kernel), (*padded.strides[:2], *strides, *steps_of_taps))
    # The cell that each tap of each window meets, along each axis.
    cells = [
        np.arange(c)[:, None] * w.stride + np.arange(w.kernel) * w.dilation - w.pad_begin
        for c, w in zip(places, found, strict=True)
    ]
    axes = range(rank) if n.int("storage_order") == 0 else range(rank)[::-1]
    weights, size = [0] * rank, 1
    for axis in reversed(axes):
        weights[axis], size = size, size * x.shape[axis + 2]
    grids = np.ix_(*(np.arange(c) for c in places))
    first = (np.arange(math.prod(out.shape[:2])) * size).reshape(*out.shape[:2], *(1,) * rank)

    def run() -> None:
        best = np.unravel_index(view.reshape(*out.shape, -1).argmax(axis=-1), kernel)
        np.copyto(out, first)
        for axis in range(rank):
            np.add(out, cells[axis][grids[axis], best[axis]] * weights[axis], out=out)

    return [partial(np.copyto, padded[inside], x), run] if out.size else []


def _without(use: OperatorContext, *names: str) -> dict[str, Any]:
    return {name: value for name, value in use.attributes.items() if name not in names}


def _max_grad_type(use: OperatorContext) -> Type:
    dy, x, y = use.type(0), use.type(1), use.type(2)
    wanted = _type(OperatorContext(use.operator, [x], use.attributes))
    if dy != wanted or y != wanted:
        use.fail(f"dY and Y must be {wanted} for an X of {x}, not {dy} and {y}")
    return Type(x.dtype, x.shape)


def _max_grad(n: KernelContext) -> list[Step]:
    """dY goes to the first of the largest elements of each window."""
    dy, x, y = n.x
    found = _windows(n, n.type(1).shape)
    out = n.out(order=memory_order(x))
    here, taken = n.scratch_like(y, np.bool_), n.scratch_like(y, np.bool_)
    apart = all(w.stride >= w.extent for w in found)
    share = out if apart else n.scratch_like(y)
    steps: list[Step] = [partial(taken.fill, False)]
    read = 0
    for tap in itertools.product(*(range(w.kernel) for w in found)):
        sides = zip(found, tap, x.shape[2:], y.shape[2:], strict=True)
        at, cells = _slices(taps(w, t, size, count) for w, t, size, count in sides)
        target, mask, used = out[cells], here[at], taken[at]
        read += target.size
        # Of two booleans, "greater" is "this one, and not that one".
        steps.append(partial(np.equal, x[cells], y[at], out=mask))
        steps.append(partial(np.greater, mask, used, out=mask))
        steps.append(partial(np.logical_or, used, mask, out=used))
        part = target if apart else share[at]
        steps.append(partial(np.multiply, dy[at], mask, out=part))
        if not apart:
            steps.append(partial(np.add, target, part, out=target))
    if apart and read == out.size:
        return steps
    return [partial(out.fill, 0), *steps]


def _slices(pairs: Iterable[tuple[slice, slice]]) -> tuple[Any, Any]:
    """Indices into the positions and into the cells, from a pair of slices for each spatial axis."""
    positions, cells = zip(*pairs, strict=True)
    return (..., *positions), (..., *cells)


def _max_indices(x: Symbol, attributes: dict[str, Any]) -> Symbol:
    return emit("Reshape", emit_all("MaxPool", x, outputs=2, **attributes)[1], integers([-1]))


def _max_grad_gradient(n: GradientContext) -> list[Symbol | None]:
    picked = emit("GatherElements", emit("Reshape", n.dy, integers([-1])), _max_indices(n.x[1], dict(n.attributes)))
    return [emit("Reshape", picked, sizes(n.x[0])), None, None]


def _max_grad_lowering(dy: Symbol, x: Symbol, y: Symbol, **attributes: Any) -> Symbol:
    zeros = emit("Reshape", emit("Expand", constant(0, x.dtype), sizes(x)), integers([-1]))
    flat = emit("Reshape", dy, integers([-1]))
    found = emit("ScatterElements", zeros, _max_indices(x, attributes), flat, reduction="add")
    return emit("Reshape", found, sizes(x))


# -- AveragePool and LpPool


def _cells_seen(
    use: OperatorContext, found: Sequence[Window], shape: tuple[int, ...], places: tuple[int, ...], *, pads: bool
) -> Array:
    """The number of cells in each window, (1, 1, positions …): with ``pads``, those of the padding as well."""
    counts = np.ones((1, 1, *(1,) * len(found)))
    for axis, (w, size, count) in enumerate(zip(found, shape[2:], places[2:], strict=True)):
        cells = np.arange(count)[:, None] * w.stride + np.arange(w.kernel) * w.dilation - w.pad_begin
        low, high = (-w.pad_begin, size + w.pad_end) if pads else (0, size)
        seen = np.count_nonzero((cells >= low) & (cells < high), axis=1)
        counts = counts * seen.reshape(*(1,) * (axis + 2), -1, *(1,) * (len(found) - axis - 1))
    return counts


def _average_pool(n: KernelContext) -> list[Step]:
    x, found = n.x[0], _windows(n, n.type().shape)
    out = n.out(order=memory_order(x))
    counts = _cells_seen(n, found, x.shape, out.shape, pads=bool(n.int("count_include_pad")))
    share = counts.astype(out.dtype)
    if out.size and (counts == counts.flat[0]).all():
        share = n.filled((), out.dtype, float(counts.flat[0]))
    return [*_fold(n, x, found, out, np.add, 0), partial(np.divide, out, share, out=out)]


def _count(n: GradientContext, x: Symbol, y: Symbol, *, pads: bool) -> Symbol:
    """The number of cells in each window, as a constant."""
    found = _windows(n, x.shape)
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
    options = _without(n, "count_include_pad", "p")
    return emit("PoolSpread", small, big, domain=INTERNAL, **options)


def _average_gradient(n: GradientContext) -> Symbol:
    return _spread(n, n.dy / _count(n, n.x[0], n.y[0], pads=bool(n.int("count_include_pad"))), n.x[0])


def _power(n: KernelContext, x: Array, p: int) -> tuple[list[Step], Array]:
    """|x| ** p."""
    work = n.scratch_like(x)
    if p == 2:
        return [partial(np.multiply, x, x, out=work)], work
    steps: list[Step] = [partial(np.absolute, x, out=work)]
    return steps + ([partial(np.power, work, n.filled((), x.dtype, p), out=work)] if p > 1 else []), work


def _root(n: KernelContext, out: Array, p: int) -> list[Step]:
    if p == 2:
        return [partial(np.sqrt, out, out=out)]
    return [partial(np.power, out, n.filled((), out.dtype, 1 / p), out=out)] if p > 1 else []


def _lp_pool(n: KernelContext) -> list[Step]:
    p, out = n.int("p"), n.out(order=memory_order(n.x[0]))
    steps, powers = _power(n, n.x[0], p)
    return [*steps, *_fold(n, powers, _windows(n, n.type().shape), out, np.add, 0), *_root(n, out, p)]


def _lp_inner(n: GradientContext, p: int) -> tuple[Symbol, Symbol]:
    """The two factors of the gradient: dy · y ** (1 - p), spread over the window, and sign(x) · |x| ** (p - 1)."""
    x, y = n.x[0], n.y[0]
    if p == 1:
        return n.dy, emit("Sign", x)
    if p == 2:
        return n.dy / y, x
    return n.dy * y ** (1.0 - p), emit("Sign", x) * emit("Abs", x) ** (p - 1.0)


def _lp_gradient(n: GradientContext) -> Symbol:
    outer, inner = _lp_inner(n, n.int("p"))
    return _spread(n, outer, n.x[0]) * inner


def _spread_type(use: OperatorContext) -> Type:
    big = use.type(1)
    use.expect(0, _type(OperatorContext(use.operator, [big], use.attributes)), f" for an X of {big}")
    return Type(big.dtype, big.shape)


def _pool_spread(n: KernelContext) -> list[Step]:
    out = n.out(order=memory_order(n.x[0]))
    return _unfold(n, n.x[0], _windows(n, n.type(1).shape), out)


def _spread_gradient(n: GradientContext) -> list[Symbol | None]:
    mean = emit("AveragePool", n.dy, count_include_pad=1, **n.attributes)
    return [mean * _count(n, n.x[1], n.x[0], pads=True), None]


def _spread_lowering(small: Symbol, big: Symbol, **attributes: Any) -> Symbol:
    """A transposed convolution with a kernel of ones, every channel for itself."""
    use = OperatorContext(SPREAD, [small.type, big.type], attributes)
    found = _windows(use, big.shape)
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


# -- what onnxruntime cannot run


def _reached(use: OperatorContext) -> list[Window] | None:
    """The windows with the pads that give ``ceil_mode``'s result without it; ``None`` where a size is not known."""
    sizes = [size for size in spatial_sizes(use) if isinstance(size, int)]
    found = _windows(use, use.type().shape)
    if len(sizes) < len(found):
        return None
    return [reaching(w, size) if use.int("ceil_mode") else w for w, size in zip(found, sizes, strict=True)]


def _max_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime refuses pads that are not less than the kernel, although a dilated window reaches further."""
    found = _reached(use)
    wide = found is not None and any(max(w.pads) >= w.kernel for w in found)
    return _max_of_padded if wide and use.output_count == 1 else None


def _max_of_padded(x: Symbol, **attributes: Any) -> Symbol:
    found = _reached(OperatorContext(lookup("MaxPool"), [x.type], attributes))
    assert found is not None
    pads = integers([0, 0, *(w.pad_begin for w in found), 0, 0, *(w.pad_end for w in found)])
    padded = emit("Pad", x, pads, constant(_lowest(np.dtype(x.dtype)), x.dtype))
    options = {name: value for name, value in attributes.items() if name not in ("auto_pad", "pads", "ceil_mode")}
    return emit("MaxPool", padded, **options)


def _average_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """Runtimes disagree on how many cells a window counts that stands over the end of the padding."""
    both = use.int("ceil_mode") and use.int("count_include_pad")
    found = _reached(use) if both else None
    return _average_corrected if found is not None and found != _windows(use, use.type().shape) else None


def _average_corrected(x: Symbol, **attributes: Any) -> Symbol:
    """The mean with the cells behind the padding, times the count of cells with them and divided by that without."""
    use = OperatorContext(lookup("AveragePool"), [x.type], attributes)
    found, windows = _reached(use), _windows(use, x.shape)
    assert found is not None
    sizes = tuple(size for size in x.shape[2:] if isinstance(size, int))
    places = slide(use, windows, sizes, ceil=True)
    seen = _cells_seen(use, windows, (0, 0, *sizes), (0, 0, *(int(count) for count in places)), pads=True)
    options = {name: value for name, value in attributes.items() if name not in ("auto_pad", "ceil_mode")}
    pads = [w.pad_begin for w in found] + [w.pad_end for w in found]
    mean = emit("AveragePool", x, **{**options, "pads": pads})
    return mean * constant(math.prod(w.kernel for w in found) / seen, x.dtype)


# -- global pools


def _global_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    _check_norm(use)
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
    steps, powers = _power(n, n.x[0], p)
    total = partial(np.add.reduce, powers, axis=_spatial(powers), keepdims=True, out=out)
    return [*steps, total, *_root(n, out, p)]


def _global_lp_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime 1.32 has no kernel for the newest version."""
    return _global_norm if opset >= 22 else None


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


def _global_norm(x: Symbol, *, p: int = 2) -> Symbol:
    axes = integers(range(2, len(x.shape)))
    if p < 3:
        return emit(f"ReduceL{p}", x, axes)
    return emit("ReduceSum", emit("Abs", x) ** p, axes) ** (1 / p)


def _global_lp_gradient(n: GradientContext) -> Symbol:
    outer, inner = _lp_inner(n, n.int("p"))
    return outer * inner


register(
    Operator(
        "MaxPool",
        ("X",),
        _max_type,
        _max_pool,
        lambda n: emit("MaxPoolGrad", n.dy, n.x[0], n.y[0], domain=INTERNAL, **_without(n, "storage_order")),
        {**POOL, "storage_order": Attr(int, 0)},
        outputs=("Y", "Indices"),
        substitute=_max_substitute,
        limits=(limits.POOL,),
        family="reduction",
        window=("pool", "max"),
        batch_inputs="all",
        summary="max",
    )
)
register(
    Operator(
        "MaxPoolGrad",
        ("dY", "X", "Y"),
        _max_grad_type,
        _max_grad,
        _max_grad_gradient,
        POOL,
        outputs=("dX",),
        domain=INTERNAL,
        lowering=_max_grad_lowering,
        family="reduction",
    )
)
register(
    pool(
        "AveragePool",
        ("X",),
        _type,
        _average_pool,
        _average_gradient,
        {**POOL, "count_include_pad": Attr(int, 0)},
        substitute=_average_substitute,
        limits=(limits.POOL,),
        window=("pool", "average"),
        summary="mean",
    )
)
register(
    pool(
        "LpPool",
        ("X",),
        _type,
        _lp_pool,
        _lp_gradient,
        {**POOL, "p": Attr(int, 2)},
        portable=_lp_portable,
        window=("pool", "lp"),
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
        substitute=_global_lp_substitute,
        portable=lambda use: _global_norm,  # OpenCV 5.0 lacks it, tract 0.23 computes something else.
        receptive=per_example_fields,
    )
)
