"""Operators that move, shape and make values without computing on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from portable_nn.dims import broadcast, product, quotient, total
from portable_nn.graph import Dim, Shape, Tensor, format_shape
from portable_nn.operators.elementwise import ANY, fit
from portable_nn.operators.registry import (
    INTEGERS,
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


def _like(use: Use, shape: Sequence[Dim]) -> Type:
    return Type(use.type().dtype, tuple(shape))


def _as_shape(n: Bound) -> Step | None:
    """The input's memory under the output's shape: a view wherever the input is contiguous."""
    shape = n.output_shape()
    if n.x[0].flags.c_contiguous:
        return n.view(n.x[0].reshape(shape))
    out = n.out()
    return partial(np.copyto, out.reshape(n.x[0].shape), n.x[0])


def _reshaped_like_input(n: Backward) -> list[Symbol | None]:
    """What flows back, in the shape of the input."""
    shape = n.x[0].shape
    unknown = [axis for axis, dim in enumerate(shape) if not isinstance(dim, int)]
    if len(unknown) > 1:
        return [emit("Reshape", n.dy, sizes(n.x[0])), None][: n.inputs]
    target = integers(-1 if axis in unknown else dim for axis, dim in enumerate(shape))  # type: ignore[misc]
    return [emit("Reshape", n.dy, target), None][: n.inputs]


def _reshape_type(use: Use) -> Type:
    shape, wanted = use.type().shape, list(use.content(1))
    for axis, dim in enumerate(wanted):
        if dim == 0 and not use.int("allowzero"):
            if axis >= len(shape):
                use.fail(f"shape {format_shape(tuple(wanted))} copies axis {axis}, which the input does not have")
            wanted[axis] = shape[axis]
    if wanted.count(-1) > 1 or any(isinstance(dim, int) and dim < -1 for dim in wanted):
        use.fail(f"shape {format_shape(tuple(wanted))} may have one size of -1, and none below it")
    size = product(shape)
    if -1 in wanted:
        rest = quotient(size, product(dim for dim in wanted if dim != -1))
        if rest is not None:
            wanted[wanted.index(-1)] = rest
    if -1 in wanted or (product(wanted) != size):
        use.fail(f"an input of shape {format_shape(shape)} cannot take the shape {format_shape(use.content(1))}")
    return _like(use, wanted)


def _flatten_type(use: Use) -> Type:
    shape = use.type().shape
    axis = use.int("axis")
    if not -len(shape) <= axis <= len(shape):
        use.fail(f"axis {axis} is outside an input of {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    return _like(use, [product(shape[:axis]), product(shape[axis:])])


def _permutation(use: Use) -> tuple[int, ...]:
    rank = len(use.type().shape)
    perm = use.ints("perm")
    if perm is None:
        return tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        use.fail(f"perm {perm} is no permutation of the {rank} axes of {format_shape(use.type().shape)}")
    return perm


def _transpose_type(use: Use) -> Type:
    return _like(use, [use.type().shape[axis] for axis in _permutation(use)])


def _transpose_gradient(n: Backward) -> Symbol:
    perm = _permutation(n)
    return emit("Transpose", n.dy, perm=[perm.index(axis) for axis in range(len(perm))])


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


def _squeezed_axes(use: Use) -> tuple[int, ...]:
    shape = use.type().shape
    if not use.has(1):
        return tuple(axis for axis, dim in enumerate(shape) if dim == 1)
    axes = use.axes(use.numbers(1), len(shape))
    for axis in axes:
        if shape[axis] != 1:
            use.fail(f"axis {axis} of {format_shape(shape)} is not of size 1")
    return axes


def _squeeze_type(use: Use) -> Type:
    axes = _squeezed_axes(use)
    shape = tuple(dim for axis, dim in enumerate(use.type().shape) if axis not in axes)
    return Type(use.type().dtype, shape, use.type().content)


def _unsqueeze_type(use: Use) -> Type:
    axes = use.numbers(1)
    rank = len(use.type().shape) + len(axes)
    places, rest = use.axes(axes, rank), iter(use.type().shape)
    shape = tuple(1 if axis in places else next(rest) for axis in range(rank))
    return Type(use.type().dtype, shape, use.type().content if rank == 1 else None)


def _expand_type(use: Use) -> Type:
    target = use.content(1)
    shape = broadcast(use.type().shape, target)
    if shape is None:
        use.fail(f"{format_shape(use.type().shape)} does not broadcast to {format_shape(target)}")
    return _like(use, shape)


def _expand(n: Bound) -> None:
    n.view(np.broadcast_to(n.x[0], n.output_shape()))


def _shape_type(use: Use) -> Type:
    shape: Shape = use.type().shape
    content = shape[_range(use)]
    return Type("int64", (len(content),), content)


def _range(use: Use) -> slice:
    return slice(use.int("start"), use.int("end") if "end" in use.attributes else None)


def _shape(n: Bound) -> None:
    n.view(np.array(n.x[0].shape[_range(n)], np.int64))


def _size_type(use: Use) -> Type:
    return Type("int64", (), (product(use.type().shape),))


def _pad_type(use: Use) -> Type:
    shape, before, after = _pads(use)
    sizes = [dim if not (a or b) else total([dim, a, b]) for dim, a, b in zip(shape, before, after, strict=True)]
    return _like(use, sizes)


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


_LITERALS = {"value_int": "int64", "value_ints": "int64", "value_float": "float32", "value_floats": "float32"}


def _literal(use: Use) -> Array:
    if len(use.attributes) != 1:
        use.fail("it needs one value")
    [(name, value)] = use.attributes.items()
    if isinstance(value, Tensor):
        fits = value.dtype in ANY and min(value.shape, default=0) >= 0 and len(value.data) == math.prod(value.shape)
        if not fits:
            use.fail(f"its value is no {value.dtype} array of shape {format_shape(value.shape)}")
        return _array(use, value.data, value.dtype).reshape(value.shape)
    return _array(use, value, _LITERALS[name])


def _array(use: Use, data: Any, dtype: str) -> Array:
    try:
        return np.array(data, dtype)
    except OverflowError:
        use.fail(f"its value has numbers outside {dtype}")


def _constant_type(use: Use) -> Type:
    array = _literal(use)
    content = tuple(array.ravel().tolist()) if array.dtype.kind in "iu" and array.ndim <= 1 else None
    return Type(str(array.dtype), array.shape, content)


def _one_hot_type(use: Use) -> Type:
    indices, depth = use.type(0), use.content(1, INTEGERS)
    if indices.dtype not in INTEGERS:
        use.fail(f"indices must be integers, not {indices.dtype}")
    if use.type(2).shape != (2,) or len(depth) != 1:
        use.fail("depth must be one number and values must be the pair (off, on)")
    axis = use.axis(use.int("axis"), len(indices.shape) + 1)
    return Type(use.type(2).dtype, (*indices.shape[:axis], depth[0], *indices.shape[axis:]))


def _one_hot(n: Bound) -> list[Step]:
    indices, values, out = n.x[0], n.x[2], n.out()
    moved = np.moveaxis(out, n.axis(n.int("axis"), out.ndim), -1)
    depth = moved.shape[-1]
    grid: tuple[Array, ...] = tuple(np.indices(indices.shape, sparse=True))

    def run() -> None:
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


def _identity_type(use: Use) -> Type:
    return use.type()


def _through(n: Backward) -> list[Symbol | None]:
    return [n.dy]


register(Operator("Identity", ("input",), _identity_type, lambda n: n.view(n.x[0]), _through))
register(
    Operator(
        "Reshape", ("data", "shape"), _reshape_type, _as_shape, _reshaped_like_input, {"allowzero": Attr(int, 0)},
        outputs=("reshaped",),
    )
)  # fmt: skip
register(Operator("Flatten", ("input",), _flatten_type, _as_shape, _reshaped_like_input, {"axis": Attr(int, 1)}))
register(Operator("Squeeze", ("data", "axes?"), _squeeze_type, _as_shape, _reshaped_like_input, outputs=("squeezed",)))
register(Operator("Unsqueeze", ("data", "axes"), _unsqueeze_type, _as_shape, _reshaped_like_input,
                  outputs=("expanded",)))  # fmt: skip
register(
    Operator(
        "Transpose", ("data",), _transpose_type, lambda n: n.view(n.x[0].transpose(_permutation(n))),
        _transpose_gradient, {"perm": Attr(tuple)}, outputs=("transposed",),
    )
)  # fmt: skip
register(
    Operator(
        "Concat", ("inputs*",), _concat_type, _concat, _concat_gradient, {"axis": Attr(int, REQUIRED)},
        outputs=("concat_result",),
    )
)  # fmt: skip
register(Operator("Slice", ("data", "starts", "ends", "axes?", "steps?"), _slice_type, _slice, _slice_gradient))
register(Operator("Expand", ("input", "shape"), _expand_type, _expand, lambda n: [fit(n.dy, n.x[0]), None]))
register(
    Operator(
        "Shape", ("data",), _shape_type, _shape, None, {"start": Attr(int, 0), "end": Attr(int)}, outputs=("shape",)
    )
)
register(Operator("Size", ("data",), _size_type, lambda n: n.view(np.array(n.x[0].size, np.int64)), None,
                  outputs=("size",)))  # fmt: skip
register(
    Operator(
        "Pad", ("data", "pads", "constant_value?", "axes?"), _pad_type, _pad, _pad_gradient,
        {"mode": Attr(str, "constant")},
    )
)  # fmt: skip
register(
    Operator(
        "Constant", (), _constant_type, lambda n: n.view(_literal(n)), None,
        {"value": Attr(Tensor), "value_int": Attr(int), "value_ints": Attr(tuple), "value_float": Attr(float),
         "value_floats": Attr(tuple, item=float)},
    )
)  # fmt: skip
register(Operator("OneHot", ("indices", "depth", "values"), _one_hot_type, _one_hot, None, {"axis": Attr(int, -1)}))
