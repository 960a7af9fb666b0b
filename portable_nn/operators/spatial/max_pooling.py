"""MaxPool: the maximum of each window, and where it is."""

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
    emit_all,
    integers,
    lookup,
    memory_order,
    register,
    sizes,
)
from portable_nn.operators.spatial.pool_windows import (
    POOL,
    attributes_but,
    fold,
    pool_type,
    reached,
    visits,
    windows_of,
)
from portable_nn.operators.spatial.window import taps
from portable_nn.sizes.operation import Window


def _max_type(use: OperatorContext) -> tuple[Type, Type]:
    use.choice("storage_order", (0, 1))
    values = pool_type(use, FLOATS | {"int8", "uint8"})
    return values, Type("int64", values.shape)


def _lowest(dtype: np.dtype[Any]) -> float:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _max_pool(n: KernelContext) -> list[Step]:
    x, found = n.x[0], windows_of(n, n.type().shape)
    out = n.out(order=memory_order(x))
    steps = fold(n, x, found, out, np.maximum, _lowest(x.dtype))
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


def _max_grad_type(use: OperatorContext) -> Type:
    dy, x, y = use.type(0), use.type(1), use.type(2)
    wanted = pool_type(OperatorContext(use.operator, [x], use.attributes))
    if dy != wanted or y != wanted:
        use.fail(f"dY and Y must be {wanted} for an X of {x}, not {dy} and {y}")
    return Type(x.dtype, x.shape)


def _max_grad(n: KernelContext) -> list[Step]:
    """dY goes to the first of the largest elements of each window."""
    dy, x, y = n.x
    found = windows_of(n, n.type(1).shape)
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
    return steps if apart and read == out.size else [partial(out.fill, 0), *steps]


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


def _max_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime refuses pads that are not less than the kernel, although a dilated window reaches further."""
    found = reached(use)
    wide = found is not None and any(max(w.pads) >= w.kernel for w in found)
    return _max_of_padded if wide and use.output_count == 1 else None


def _max_of_padded(x: Symbol, **attributes: Any) -> Symbol:
    found = reached(OperatorContext(lookup("MaxPool"), [x.type], attributes))
    assert found is not None
    pads = integers([0, 0, *(w.pad_begin for w in found), 0, 0, *(w.pad_end for w in found)])
    padded = emit("Pad", x, pads, constant(_lowest(np.dtype(x.dtype)), x.dtype))
    options = {name: value for name, value in attributes.items() if name not in ("auto_pad", "pads", "ceil_mode")}
    return emit("MaxPool", padded, **options)


register(
    Operator(
        "MaxPool",
        ("X",),
        _max_type,
        _max_pool,
        lambda n: emit("MaxPoolGrad", n.dy, n.x[0], n.y[0], domain=INTERNAL, **attributes_but(n, "storage_order")),
        {**POOL, "storage_order": Attr(int, 0)},
        outputs=("Y", "Indices"),
        portability=Portability(substitute=_max_substitute, limits=(limits.POOL,)),
        family="reduction",
        window=("pool", "max"),
        visits=lambda use, y: visits(use, y) if use.output_count == 1 else [*y, *(use.ints("kernel_shape") or ())],
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
