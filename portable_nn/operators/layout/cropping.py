"""CenterCropPad: crop to the middle along some axes, and pad with zeros along others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from portable_nn.core.dims import OPEN
from portable_nn.core.errors import Fault, GraphError
from portable_nn.operators.base import (
    Attr,
    GradientContext,
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
    sizes,
)


def _places(use: OperatorContext) -> tuple[int, ...]:
    """The axes that change, in the order of the sizes."""
    rank, given = len(use.type().shape), use.ints("axes")
    places = tuple(range(rank)) if given is None else tuple(use.axis(axis, rank) for axis in given)
    use.axes(places, rank)
    return places


def _centre_type(use: OperatorContext) -> Type:
    places, wanted = _places(use), use.constant(1, ("int32", "int64"))
    if len(wanted) != len(places):
        use.fail(f"shape must have a size for each of the {len(places)} axes, not {format_shape(wanted)}")
    if min((size for size in wanted if isinstance(size, int)), default=0) < 0:
        use.fail(f"shape must hold sizes of 0 or more, not {format_shape(wanted)}")
    shape = list(use.type().shape)
    for axis, size in zip(places, wanted, strict=True):
        shape[axis] = size
    return use.like(shape)


def _middle(size: int, other: int) -> slice:
    """The cells of an axis of ``size`` that one of ``other`` has as well; what is odd is left over behind them."""
    start = max(size - other, 0) // 2
    return slice(start, start + min(size, other))


def _centre(n: KernelContext) -> list[Step]:
    x, out = n.x[0], n.out()
    inside = tuple(_middle(size, other) for size, other in zip(out.shape, x.shape, strict=True))
    kept = tuple(_middle(size, other) for size, other in zip(x.shape, out.shape, strict=True))
    padded = out[inside].size < out.size
    copy = partial(np.copyto, out[inside], x[kept])
    return [partial(out.fill, 0), copy] if padded else [copy]


def _centre_gradient(n: GradientContext) -> list[Symbol | None]:
    """The gradient is padded with zeros where the input was cropped, and cropped where the input was padded."""
    places = _places(n)
    return [emit("CenterCropPad", n.dy, sizes(n.x[0], places), axes=places) if places else n.dy, None]


def _centre_lowering(x: Symbol, shape: Symbol, *, axes: Sequence[int] | None = None) -> Symbol:
    rank = len(x.shape)
    places = range(rank) if axes is None else [axis % rank for axis in axes]
    starts, ends, before, after = ([0] * len(places) for _ in range(4))
    for place, (axis, wanted) in enumerate(zip(places, shape.type.constant or [OPEN] * len(places), strict=True)):
        size = x.shape[axis]
        if not isinstance(size, int) or not isinstance(wanted, int):
            raise GraphError([Fault("", f"before opset 18, sizes must be known: {format_shape(x.shape)}")])
        kept, inside = _middle(size, wanted), _middle(wanted, size)
        starts[place], ends[place] = kept.start, kept.stop
        before[place], after[place] = inside.start, wanted - inside.stop
    cut = emit("Slice", x, integers(starts), integers(ends), integers(places))
    pads = [0] * (2 * rank)
    for axis, first, last in zip(places, before, after, strict=True):
        pads[axis], pads[rank + axis] = first, last
    return emit("Pad", cut, integers(pads))


register(
    Operator(
        "CenterCropPad",
        ("input_data", "shape"),
        _centre_type,
        _centre,
        _centre_gradient,
        {"axes": Attr(tuple)},
        outputs=("output_data",),
        lowering=_centre_lowering,
        passes=(0,),
        unsized=lambda use: use.opened(len(use.type().shape), _places(use)),
    )
)
