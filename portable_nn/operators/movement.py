"""Operators that join, cut and pad."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.dims import product, total
from portable_nn.graph import Dim, Shape, format_shape
from portable_nn.operators.registry import (
    REQUIRED,
    Array,
    Attr,
    Backward,
    Bound,
    Operator,
    Step,
    Type,
    Use,
    register,
)
from portable_nn.operators.symbols import Symbol, emit, integers, sizes


def _concat_type(use: Use) -> Type:
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
    contents = [type.content for type in types]
    known = [content for content in contents if content is not None]
    joined = tuple(dim for content in known for dim in content) if len(known) == len(contents) else None
    return Type(types[0].dtype, tuple(shape), joined)


def _concat(n: Bound) -> list[Step]:
    axis, out, start = n.axis(n.int("axis"), n.x[0].ndim), n.out(), 0
    steps: list[Step] = []
    for x in n.x:
        stop = start + x.shape[axis]
        steps.append(partial(np.copyto, out[(slice(None),) * axis + (slice(start, stop),)], x))
        start = stop
    return steps


def _concat_gradient(n: Backward) -> list[Symbol]:
    axis = n.axis(n.int("axis"), len(n.x[0].shape))
    start, parts = 0, []
    for i in range(n.inputs):
        size = n.x[i].shape[axis]
        if not isinstance(size, int):
            n.fail(f"its gradient needs known sizes along axis {axis}, and one is {size}")
        parts.append(emit("Slice", n.dy, integers([start]), integers([start + size]), integers([axis])))
        start += size
    return parts


def _slices(use: Use) -> tuple[list[slice], list[Dim]]:
    """A slice for each axis, and the shape that comes out.

    Ends count from the back where negative and are moved into the axis; with a negative step the start is at least 0,
    where Python's slices would come out empty.
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
            if (start, step) == (0, 1) and end >= 2**31 - 1:
                continue
            use.fail(f"it slices axis {axis}, whose size {size} is not known")
        first, last, _ = slice(start, end, step).indices(size)
        places = range(max(first, 0), last, step) if size else range(0)
        # A negative step may run past the front: numpy writes that end as None.
        slices[axis] = slice(places.start, None if last < 0 else last, step) if places else slice(0, 0)
        result[axis] = len(places)
    return slices, result


def _slice_type(use: Use) -> Type:
    slices, shape = _slices(use)
    content = use.type().content
    return Type(use.type().dtype, tuple(shape), content[slices[0]] if content is not None and len(shape) == 1 else None)


def _slice(n: Bound) -> None:
    n.view(n.x[0][tuple(_slices(n)[0])])


def _slice_gradient(n: Backward) -> list[Symbol | None]:
    """Zeros with what flows back at the places that were read, by reversing, spreading and padding."""
    slices, _ = _slices(n)
    dy = n.dy
    rank = len(dy.shape)
    before, after = [0] * rank, [0] * rank
    for axis, part in enumerate(slices):
        size, length = n.x[0].shape[axis], dy.shape[axis]
        if part == slice(None):
            continue
        assert isinstance(size, int)
        assert isinstance(length, int)
        places = range(size)[part]
        if places.step < 0:
            dy = emit("Slice", dy, integers([-1]), integers([-(2**62)]), integers([axis]), integers([-1]))
            places = places[::-1]
        if places.step > 1 and length:
            dy = _spread_apart(dy, axis, length, places.step)
        before[axis] = places.start if length else 0
        after[axis] = size - before[axis] - (places.step * (length - 1) + 1 if length else 0)
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
    """The shape of ``value`` with ``size`` along ``axis``, as Reshape takes it: an unknown later size is -1."""
    later = [dim if isinstance(dim, int) else -1 for dim in value.shape[axis + 1 :]]
    return integers([*[0] * axis, size, *later])


def _pad_type(use: Use) -> Type:
    shape, before, after = _pads(use)
    sizes = [dim if not (a or b) else total([dim, a, b]) for dim, a, b in zip(shape, before, after, strict=True)]
    return use.like(sizes)


def _pads(use: Use) -> tuple[Shape, tuple[int, ...], tuple[int, ...]]:
    shape = use.type().shape
    rank = len(shape)
    if use.string("mode") != "constant":
        use.fail(f"mode '{use.string('mode')}' is not supported")
    if use.has(2) and (use.type(2).dtype != use.type().dtype or product(use.type(2).shape) != 1):
        use.fail(f"constant_value must be one {use.type().dtype}, not {use.type(2)}")
    pads = use.numbers(1)
    axes = [use.axis(axis, rank) for axis in use.numbers(3)] if use.has(3) else list(range(rank))
    if len(pads) != 2 * len(axes):
        use.fail(f"{len(axes)} axes need {2 * len(axes)} pads, not {len(pads)}")
    if min(pads, default=0) < 0:
        use.fail(f"negative pads {pads} are not supported")
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    return shape, tuple(before), tuple(after)


def _pad(n: Bound) -> list[Step]:
    _, before, _ = _pads(n)
    out, x = n.out(), n.x[0]
    places = tuple(slice(start, start + size) for start, size in zip(before, x.shape, strict=True))
    inside: Array = out[places] if places else out
    fill = partial(np.copyto, out, n.x[2].reshape(())) if n.has(2) else partial(out.fill, 0)
    return [fill, partial(np.copyto, inside, x)]


def _pad_gradient(n: Backward) -> list[Symbol | None]:
    shape, before, after = _pads(n)
    for axis, dim in enumerate(shape):
        if not isinstance(dim, int) and (before[axis] or after[axis]):
            n.fail(f"its gradient needs the size of the padded axis {axis}, which is the unknown {dim}")
    axes = [axis for axis, dim in enumerate(shape) if isinstance(dim, int)]
    ends = [before[axis] + int(shape[axis]) for axis in axes]
    inside = emit("Slice", n.dy, integers(before[axis] for axis in axes), integers(ends), integers(axes))
    if not n.has(2):
        return [inside, None, None, None][: n.inputs]
    border = emit("ReduceSum", n.dy, keepdims=0) - emit("ReduceSum", inside, keepdims=0)
    return [inside, None, emit("Reshape", border, sizes(n.x[2])), None][: n.inputs]


register(
    Operator(
        "Concat", ("inputs*",), _concat_type, _concat, _concat_gradient, {"axis": Attr(int, REQUIRED)},
        outputs=("concat_result",),
    )
)  # fmt: skip
register(Operator("Slice", ("data", "starts", "ends", "axes?", "steps?"), _slice_type, _slice, _slice_gradient))
register(
    Operator(
        "Pad", ("data", "pads", "constant_value?", "axes?"), _pad_type, _pad, _pad_gradient,
        {"mode": Attr(str, "constant")},
    )
)  # fmt: skip
