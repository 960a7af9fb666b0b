"""Operators that join, cut, repeat and reverse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from portable_nn.core.dims import agreed_shape, difference, is_at_least, product, rounded_quotient, smallest, total
from portable_nn.operators.base import (
    ALL,
    ANY,
    APART,
    REQUIRED,
    Attr,
    Dim,
    Ends,
    FieldContext,
    Fields,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    cast,
    cut_fields,
    elements,
    emit,
    emit_all,
    format_shape,
    integers,
    length,
    register,
    sizes,
)
from portable_nn.sizes.receptive import combine


def _concat_type(use: OperatorContext) -> Type:
    types = [use.type(index) for index in range(len(use.types))]
    axis = use.axis(use.int("axis"), len(types[0].shape))
    dtype, shape = use.common_dtype(ANY), list(types[0].shape)
    for type in types[1:]:
        both = agreed_shape((*shape[:axis], 0, *shape[axis + 1 :]), (*type.shape[:axis], 0, *type.shape[axis + 1 :]))
        if both is None or len(type.shape) != len(shape):
            use.fail(f"{format_shape(types[0].shape)} and {format_shape(type.shape)} differ outside axis {axis}")
        shape = list(both)
    shape[axis] = total(type.shape[axis] for type in types)
    return Type(dtype, tuple(shape))


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


def cuts_of(use: OperatorContext) -> list[tuple[int, Dim, Dim, int]]:
    """The axis, start, end and step of each slice, as the inputs say them."""
    starts, ends = (use.constant(index, ("int32", "int64")) for index in (1, 2))
    places_in = partial(use.numbers, allowed=("int32", "int64"))
    axes = [use.axis(axis, len(use.type().shape)) for axis in (places_in(3) if use.has(3) else range(len(starts)))]
    steps = places_in(4) if use.has(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        use.fail("starts, ends, axes and steps must be of one length")
    if len(set(axes)) != len(axes):
        use.fail(f"the axes {tuple(axes)} name one axis twice")
    if 0 in steps:
        use.fail("a step of 0 moves nowhere")
    return list(zip(axes, starts, ends, steps, strict=True))


def _unsized_slice(use: OperatorContext) -> Type:
    """Computed starts, ends or steps decide the axes that are known to be sliced, or any."""
    rank, count = len(use.type().shape), use.length_of(1)
    axes = use.type(3).constant if use.has(3) else range(count) if isinstance(count, int) else None
    return use.opened(rank, None if axes is None else {use.axis(int(axis), rank) for axis in axes})


def slices_of(use: OperatorContext) -> tuple[list[slice], list[Dim]]:
    """A slice for each axis, and the shape of the output.

    Ends count from the back where negative and are moved into the axis; with a negative step the start is at least 0,
    where Python's slices would be empty. Where a size, a start or an end is symbolic, the slice is right for a start
    that is inside the axis and not behind the end, and its places, of which one may be a name, are for the size alone.
    """
    shape = use.type().shape
    result, slices = list(shape), [slice(None)] * len(shape)
    for axis, start, end, step in cuts_of(use):
        size = shape[axis]
        if isinstance(size, str) or isinstance(start, str) or isinstance(end, str):
            slices[axis], result[axis] = _open_slice(use, size, start, end, axis, step)
            continue
        first, last, _ = slice(start, end, step).indices(size)
        places = range(max(first, 0), last, step) if size else range(0)
        # A negative step may run past the front: numpy writes that end as None.
        slices[axis] = slice(places.start, None if last < 0 else last, step) if places else slice(0, 0)
        result[axis] = len(places)
    return slices, result


def _open_slice(use: OperatorContext, size: Dim, start: Dim, end: Dim, axis: int, step: int) -> tuple[slice, Dim]:
    """The slice of an axis, and how many cells it has, where one of the sizes is symbolic."""
    if step < 0:
        if (start, step) != (-1, -1) or not isinstance(end, int) or end > -_FAR:
            use.fail(f"it slices axis {axis}, whose size {size} is unknown, backwards from {start} to {end}")
        return slice(None, None, -1), size
    first = _from_front(start, size)
    last = size if isinstance(end, int) and end >= _FAR else smallest(_from_front(end, size), size)
    cells = difference(last, first)
    return slice(first, last, step), rounded_quotient("ceil", cells, step)


def _from_front(place: Dim, size: Dim) -> Dim:
    """A start or end that is not negative; one that is known to be so counts from the back."""
    backwards = place < 0 if isinstance(place, int) else is_at_least(-1, place) or is_at_least(0, place)
    return total([size, place]) if backwards else place


def _slice_type(use: OperatorContext) -> Type:
    slices, shape = slices_of(use)
    constant_value = use.type().constant
    return Type(
        use.type().dtype,
        tuple(shape),
        constant_value[slices[0]] if constant_value is not None and len(shape) == 1 else None,
    )


def _slice_gradient(n: GradientContext) -> list[Symbol | None]:
    """Zeros with the gradient at the places that were read, by reversing, spreading and padding."""
    slices, _ = slices_of(n)
    dy = n.dy
    rank = len(dy.shape)
    before, after = list[int | Symbol]([0] * rank), list[int | Symbol]([0] * rank)
    for axis, part in enumerate(slices):
        size, length = n.x[0].shape[axis], n.y[0].shape[axis]
        if part in (slice(None), slice(0, size, 1)):
            continue
        if part.step is not None and part.step < 0:
            dy = emit("Slice", dy, integers([-1]), integers([-(2**62)]), integers([axis]), integers([-1]))
        if not isinstance(size, int) or not isinstance(length, int):
            before[axis], after[axis] = _open_sides(n, axis, part)
            continue
        places = range(size)[part]
        spread = abs(places.step)
        if spread > 1 and length:
            dy = _spread_apart(dy, axis, length, spread)
        before[axis] = first = min(places, default=0)
        after[axis] = size - first - (spread * (length - 1) + 1 if length else 0)
    pads = [*before, *after]
    if any(pads):
        known = [pad for pad in pads if isinstance(pad, int)]
        parts = (pad if isinstance(pad, Symbol) else integers([pad]) for pad in pads)
        dy = emit("Pad", dy, integers(known) if len(known) == len(pads) else emit("Concat", *parts, axis=0))
    return [dy] + [None] * (n.inputs - 1)


def _open_sides(n: GradientContext, axis: int, part: slice) -> tuple[int | Symbol, int | Symbol]:
    """The numbers of cells of an axis in front of a slice with a symbolic size, and behind it."""
    size = n.x[0].shape[axis]
    if part.step is not None and part.step < 0:
        return 0, 0
    if part.step != 1:
        n.fail(f"its gradient in steps of {part.step} needs a known size of axis {axis}, not {size}")
    before, after = part.start, difference(size, part.stop)
    whole, cut = sizes(n.x[0], [axis]), sizes(n.y[0], [axis])
    if isinstance(after, str) and not isinstance(before, str):
        return before, whole - cut - before
    if isinstance(before, str) and not isinstance(after, str):
        return whole - cut - after, after
    if isinstance(before, int) and isinstance(after, int):
        return before, after
    axes = list(n.numbers(3, ("int32", "int64"))) if n.has(3) else list(range(len(n.x[0].shape)))
    place = [use % len(n.x[0].shape) for use in axes].index(axis)
    start = cast(emit("Slice", n.x[1], integers([place]), integers([place + 1])), "int64")
    start = start if n.constant(1, ("int32", "int64"))[place] == before else start + whole
    return start, whole - cut - start


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


def _concat_ends(use: OperatorContext, given: Sequence[Ends | None]) -> Ends | None:
    """Along the last axis those of all inputs, one after the other."""
    found = list[tuple[Dim, Dim]]()
    for index, ends in enumerate(given):
        shape = use.type(index).shape
        count = shape[-1] if use.attribute_axis() == len(shape) - 1 else None
        if ends is None or not isinstance(count, int) or count > APART:
            return None
        found += ends * (count if len(ends) == 1 else 1)
    return tuple(found) if len(found) <= APART else None


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
        constant=lambda use, type: tuple(item for index in range(len(use.types)) for item in elements(use, index)),
        ends=_concat_ends,
        receptive=_concat_fields,
        batch_inputs="all",
        polynomial=True,
    )
)
register(
    Operator(
        "Slice",
        ("data", "starts", "ends", "axes?", "steps?"),
        _slice_type,
        lambda n: n.view(n.x[0][tuple(slices_of(n)[0])]),
        _slice_gradient,
        passes=(0,),
        receptive=cut_fields,
        unsized=_unsized_slice,
        polynomial=True,
    )
)


def _tile_type(use: OperatorContext) -> Type:
    (dtype, shape, _), repeats = use.type(), use.constant(1)
    if len(repeats) != len(shape):
        use.fail(f"repeats must have a number for each of the {len(shape)} axes, not {format_shape(repeats)}")
    if min((number for number in repeats if isinstance(number, int)), default=0) < 0:
        use.fail(f"repeats must be 0 or more, not {format_shape(repeats)}")
    found = tuple(product(pair) for pair in zip(shape, repeats, strict=True))
    return Type(dtype, found)


def _tile(n: KernelContext) -> Step:
    """One copy: every axis of the output is cut into the repetitions and what is repeated."""
    x, out = n.x[0], n.out()
    if not out.size:
        return partial(out.fill, 0)
    apart = [size for whole, part in zip(out.shape, x.shape, strict=True) for size in (whole // part, part)]
    return partial(np.copyto, out.reshape(apart), x[(*(np.newaxis, slice(None)) * x.ndim, ...)])


def _tile_gradient(n: GradientContext) -> list[Symbol | None]:
    rank = len(n.x[0].shape)
    both = emit("Concat", n.x[1], sizes(n.x[0]), axis=0)
    apart = emit("Gather", both, integers(place for axis in range(rank) for place in (axis, rank + axis)))
    shared = emit("Reshape", n.dy, apart, allowzero=1) if rank else n.dy
    return [emit("ReduceSum", shared, integers(range(0, 2 * rank, 2)), keepdims=0) if rank else shared, None]


register(
    Operator(
        "Tile",
        ("input", "repeats"),
        _tile_type,
        _tile,
        _tile_gradient,
        passes=(0,),
        samples={1: Interval(1, 2)},
        unsized=lambda use: use.opened(len(use.type().shape)),
        constant=lambda use, type: elements(use, 0) * (length(type) // max(1, len(elements(use, 0)))),
    )
)


def _axes(use: OperatorContext) -> tuple[int, int]:
    """The axis of the batch, and that of time."""
    axes = use.int("batch_axis"), use.int("time_axis")
    if sorted(axes) != [0, 1]:
        use.fail(f"batch_axis and time_axis must be 0 and 1 or 1 and 0, not {axes[0]} and {axes[1]}")
    return axes


def _reverse_type(use: OperatorContext) -> Type:
    (dtype, shape, _), (batch, _) = use.type(), _axes(use)
    use.check_dtype(dtype, ANY)
    if len(shape) < 2:
        use.fail(f"input must have a batch axis and a time axis, not {format_shape(shape)}")
    use.expect(1, Type("int64", (shape[batch],)))
    return use.like(shape)


def _reverse(n: KernelContext) -> Step:
    x, out, lengths = n.x[0], n.out(), n.x[1]
    source, target = (np.moveaxis(array, _axes(n), (0, 1)) for array in (x, out))
    longest = source.shape[1]

    def run() -> None:
        np.copyto(out, x)
        for before, after, steps in zip(source, target, lengths.tolist(), strict=True):
            if not 0 <= steps <= longest:
                n.fail(f"a sequence of length {steps} does not fit the time axis, which has {longest} elements")
            if steps > 1:
                after[:steps] = before[steps - 1 :: -1]

    return run


register(
    Operator(
        "ReverseSequence",
        ("input", "sequence_lens"),
        _reverse_type,
        _reverse,
        lambda n: [emit("ReverseSequence", n.dy, n.x[1], **n.attributes), None],
        {"batch_axis": Attr(int, 1), "time_axis": Attr(int, 0)},
        outputs=("Y",),
        rearranges=True,
    )
)
