"""Operators that join and cut."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.core.dims import total
from portable_nn.operators.base import (
    ALL,
    REQUIRED,
    Attr,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    cut_fields,
    emit,
    emit_all,
    format_shape,
    integers,
    register,
    sizes,
)
from portable_nn.sizes.receptive import combine


def _concat_type(use: OperatorContext) -> Type:
    types = [use.type(index) for index in range(len(use.types))]
    axis = use.axis(use.int("axis"), len(types[0].shape))
    for type in types[1:]:
        if type.dtype != types[0].dtype:
            use.fail(f"its inputs have different element types: {', '.join(t.dtype for t in types)}")
        first, other = types[0].shape, type.shape
        if len(first) != len(other) or first[:axis] + first[axis + 1 :] != other[:axis] + other[axis + 1 :]:
            use.fail(f"{format_shape(first)} and {format_shape(other)} differ outside axis {axis}")
    shape = list(types[0].shape)
    shape[axis] = total(type.shape[axis] for type in types)
    contents = [type.constant for type in types]
    known = [constant_value for constant_value in contents if constant_value is not None]
    joined = tuple(dim for constant_value in known for dim in constant_value) if len(known) == len(contents) else None
    return Type(types[0].dtype, tuple(shape), joined)


def _concat(n: KernelContext) -> list[Step]:
    axis, out, start = n.attribute_axis(), n.out(), 0
    steps: list[Step] = []
    for x in n.x:
        stop = start + x.shape[axis]
        steps.append(partial(np.copyto, out[(slice(None),) * axis + (slice(start, stop),)], x))
        start = stop
    return steps


def _concat_gradient(n: GradientContext) -> tuple[Symbol, ...]:
    axis = n.attribute_axis()
    parts = [n.x[i].shape[axis] for i in range(n.inputs)]
    known = [part for part in parts if isinstance(part, int)]
    split = integers(known)
    if len(known) < len(parts):
        split = emit("Concat", *(sizes(n.x[i], [axis]) for i in range(n.inputs)), axis=0)
    return emit_all("Split", n.dy, split, axis=axis, outputs=n.inputs)


_FAR = 2**31 - 1
"""An end from here on, or one as far before the first element, means the end of the axis, however long it is."""


def _slices(use: OperatorContext) -> tuple[list[slice], list[Dim]]:
    """A slice for each axis, and the shape of the output.

    Ends count from the back where negative and are moved into the axis; with a negative step the start is at least 0,
    where Python's slices would be empty. Of an axis of symbolic size, any number of cells can be cut off each end, and
    the rest be reversed; the size is right for an axis that has as many cells.
    """
    shape = use.type().shape
    places_in = partial(use.numbers, allowed=("int32", "int64"))
    starts, ends = places_in(1), places_in(2)
    axes = tuple(use.axis(axis, len(shape)) for axis in (places_in(3) if use.has(3) else range(len(starts))))
    steps = places_in(4) if use.has(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        use.fail("starts, ends, axes and steps must be of one length")
    if len(set(axes)) != len(axes):
        use.fail(f"the axes {axes} name one axis twice")
    result, slices = list(shape), [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            use.fail("a step of 0 moves nowhere")
        size = shape[axis]
        if not isinstance(size, int):
            if step == 1 and start >= 0 and (end < 0 or end >= _FAR):
                slices[axis] = slice(start, end if end < 0 else None)
                result[axis] = total([size, -start, min(end, 0)])
            elif (start, step) == (-1, -1) and end <= -_FAR:
                slices[axis] = slice(None, None, -1)
            else:
                use.fail(f"it slices axis {axis}, whose size {size} is unknown")
            continue
        first, last, _ = slice(start, end, step).indices(size)
        places = range(max(first, 0), last, step) if size else range(0)
        # A negative step may run past the front: numpy writes that end as None.
        slices[axis] = slice(places.start, None if last < 0 else last, step) if places else slice(0, 0)
        result[axis] = len(places)
    return slices, result


def _slice_type(use: OperatorContext) -> Type:
    slices, shape = _slices(use)
    constant_value = use.type().constant
    return Type(
        use.type().dtype,
        tuple(shape),
        constant_value[slices[0]] if constant_value is not None and len(shape) == 1 else None,
    )


def _slice_gradient(n: GradientContext) -> list[Symbol | None]:
    """Zeros with the gradient at the places that were read, by reversing, spreading and padding."""
    slices, _ = _slices(n)
    dy = n.dy
    rank = len(dy.shape)
    before, after = [0] * rank, [0] * rank
    for axis, part in enumerate(slices):
        size, length = n.x[0].shape[axis], dy.shape[axis]
        if part == slice(None):
            continue
        if part.step is not None and part.step < 0:
            dy = emit("Slice", dy, integers([-1]), integers([-(2**62)]), integers([axis]), integers([-1]))
        if not isinstance(size, int) or not isinstance(length, int):
            before[axis], after[axis] = part.start or 0, -(part.stop or 0)
            continue
        places = range(size)[part]
        spread = abs(places.step)
        if spread > 1 and length:
            dy = _spread_apart(dy, axis, length, spread)
        before[axis] = min(places, default=0)
        after[axis] = size - before[axis] - (spread * (length - 1) + 1 if length else 0)
    if any(before) or any(after):
        dy = emit("Pad", dy, integers([*before, *after]))
    return [dy] + [None] * (n.inputs - 1)


def _spread_apart(value: Symbol, axis: int, length: int, step: int) -> Symbol:
    """Put ``step - 1`` zeros between the elements along ``axis``."""
    rank = len(value.shape)
    apart = emit("Unsqueeze", value, integers([axis + 1]))
    pads = [0] * (2 * (rank + 1))
    pads[rank + 1 + axis + 1] = step - 1
    joined = emit("Reshape", emit("Pad", apart, integers(pads)), _sizes_with(value, axis, length * step))
    return emit("Slice", joined, integers([0]), integers([step * (length - 1) + 1]), integers([axis]))


def _sizes_with(value: Symbol, axis: int, size: int) -> Symbol:
    """The shape of ``value`` with ``size`` along ``axis``, as Reshape takes it."""
    earlier, later = [0] * axis, value.shape[axis + 1 :]
    known = [dim for dim in later if isinstance(dim, int)]
    if len(known) == len(later):
        return integers([*earlier, size, *known])
    return emit("Concat", integers([*earlier, size]), sizes(value, range(axis + 1, len(value.shape))), axis=0)


def _concat_fields(use: FieldContext) -> Fields | None:
    """Along the axis of the concatenation they are known only where all inputs see everything."""
    fields = combine([fields for fields in use.fields if fields is not None])
    return fields if fields[use.axis(0)] is None else None


register(
    Operator(
        "Concat",
        ("inputs*",),
        _concat_type,
        _concat,
        _concat_gradient,
        {"axis": Attr(int, REQUIRED)},
        outputs=("concat_result",),
        passes=ALL,
        receptive=_concat_fields,
        batch_inputs="all",
    )
)
register(
    Operator(
        "Slice",
        ("data", "starts", "ends", "axes?", "steps?"),
        _slice_type,
        lambda n: n.view(n.x[0][tuple(_slices(n)[0])]),
        _slice_gradient,
        passes=(0,),
        receptive=cut_fields,
    )
)
