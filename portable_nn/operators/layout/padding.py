"""Padding with a constant or with copies of elements, and CenterCropPad, which crops to the middle and pads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.core.dims import OPEN, difference, product, smallest, total
from portable_nn.core.errors import Fault, GraphError
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    REQUIRED,
    Array,
    Attr,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    KernelContext,
    Limit,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    emit,
    format_shape,
    integers,
    lookup,
    memory_order,
    moved_fields,
    register,
    sizes,
)
from portable_nn.sizes.operation import Operation, Window

COPIED: Final[Mapping[str, Callable[[int, int], int]]] = {
    "edge": lambda place, size: min(max(place, 0), size - 1),
    "reflect": lambda place, size: size - 1 - abs(place % max(1, 2 * size - 2) - size + 1),
    "wrap": lambda place, size: place % size,
}
"""The cell of an axis that is copied to ``place``, counted from the first: negative before it, ``size`` or more behind
it.

A border wider than the axis repeats it, as in numpy.pad, which the standard refers to; onnxruntime and PyTorch refuse
that for ``reflect``.
"""


def pads_of(use: OperatorContext, axes_input: int = 3) -> list[tuple[Dim, Dim]]:
    """The numbers of cells that each axis gets before and behind it; a negative number takes some away."""
    rank = len(use.type().shape)
    if use.string("mode") not in {"constant", *COPIED}:
        use.fail(f"mode '{use.string('mode')}' is not supported")
    pads, axes = use.constant(1), list(range(rank))
    if use.has(axes_input):
        axes = [use.axis(axis, rank) for axis in use.numbers(axes_input, ("int32", "int64"))]
        use.axes(axes, rank)
    if len(pads) != 2 * len(axes):
        use.fail(f"{len(axes)} axes need {2 * len(axes)} pads, not {len(pads)}")
    found = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    return [found.get(axis, (0, 0)) for axis in range(rank)]


def known_pads(use: OperatorContext, axes_input: int = 3) -> list[tuple[int, int]]:
    """As ``pads_of``, where no size may be symbolic."""
    use.numbers(1)
    return pads_of(use, axes_input)  # type: ignore[return-value]


def _pad_type(use: OperatorContext) -> Type:
    if use.has(2) and (use.type(2).dtype != use.type().dtype or product(use.type(2).shape) != 1):
        use.fail(f"constant_value must be one {use.type().dtype}, not {use.type(2)}")
    sides = zip(use.type().shape, pads_of(use), strict=True)
    return use.like(_padded(use, axis, dim, *pads) for axis, (dim, pads) in enumerate(sides))


def _padded(use: OperatorContext, axis: int, dim: Dim, before: Dim, after: Dim) -> Dim:
    size = total([dim, before, after]) if before or after else dim
    if isinstance(size, int) and size < 0:
        use.fail(f"pads {before} and {after} take away more than the {dim} cells of axis {axis}")
    left, mode = total([dim, smallest(before, 0), smallest(after, 0)]), use.string("mode")
    if mode != "constant" and isinstance(left, int) and left < 1 and left != size:
        use.fail(f"mode '{mode}' needs a cell to copy, and pads {before} and {after} leave none of axis {axis}")
    return size


def _kept(size: int, before: int, after: int) -> tuple[slice, slice]:
    """The cells of an axis of ``size`` that stay, and where they are when it is padded."""
    count = max(0, size + min(before, 0) + min(after, 0))
    first, goal = max(-before, 0), max(before, 0)
    return slice(first, first + count), slice(goal, goal + count)


def _borders(mode: str, kept: slice, size: int) -> list[tuple[slice, slice]]:
    """The borders of a padded axis of ``size``, in pieces that are copies of one slice each: (piece, slice).

    A slice of one cell is copied to each cell of its piece.
    """
    count = kept.stop - kept.start
    pieces: list[list[tuple[int, int]]] = []
    for place in [*range(kept.start), *range(kept.stop, size)]:
        source = kept.start + COPIED[mode](place - kept.start, count)
        if pieces and _continues(pieces[-1], place, source):
            pieces[-1].append((place, source))
        else:
            pieces.append([(place, source)])
    return [(slice(piece[0][0], piece[-1][0] + 1), _from_to(piece[0][1], piece[-1][1])) for piece in pieces]


def _continues(piece: list[tuple[int, int]], place: int, source: int) -> bool:
    last_place, last = piece[-1]
    step = piece[1][1] - piece[0][1] if len(piece) > 1 else source - last
    return place == last_place + 1 and source - last == step and abs(step) <= 1


def _from_to(first: int, last: int) -> slice:
    """The slice from one cell to another, both included, forwards or backwards."""
    if last >= first:
        return slice(first, last + 1)
    return slice(first, last - 1 if last else None, -1)


def _pad(n: KernelContext) -> list[Step]:
    """The inside, then axis by axis, from the one that runs fastest in memory, copies of slabs of the output itself."""
    x, mode, pads = n.x[0], n.string("mode"), known_pads(n)
    kept = [_kept(size, *pair) for size, pair in zip(x.shape, pads, strict=True)]
    inside = _at(x, [source for source, _ in kept])
    if inside.shape == n.output_shape():
        n.view(inside)
        return []
    out = n.out(order=memory_order(x))
    region = [goal for _, goal in kept]
    copy = partial(np.copyto, _at(out, region), inside)
    if mode == "constant":
        return [partial(np.copyto, out, n.x[2].reshape(())) if n.has(2) else partial(out.fill, 0), copy]
    steps: list[Step] = [copy]
    for axis in reversed(memory_order(x)):
        for border, source in _borders(mode, region[axis], out.shape[axis]):
            steps.append(partial(np.copyto, _at(out, region, axis, border), _at(out, region, axis, source)))
        region[axis] = slice(None)
    return steps


def _at(array: Array, region: list[slice], axis: int = 0, places: slice | None = None) -> Array:
    """The part of ``array`` in ``region``, with ``places`` for its slice along ``axis``."""
    parts: list[Any] = [places if place == axis and places else part for place, part in enumerate(region)]
    view: Array = array[(*parts, ...)]  # The ellipsis makes it an array even where there is no axis.
    return view


def _pad_gradient(n: GradientContext) -> list[Symbol | None]:
    pads, mode = pads_of(n), n.string("mode")
    if mode != "constant":
        axes = n.x[3] if n.has(3) else None
        return [emit("PadGrad", n.dy, n.x[1], axes, domain=INTERNAL, mode=mode)]
    inside = n.dy
    if any(map(any, pads)):
        cut = [-cells for side in zip(*pads, strict=True) for cells in side if isinstance(cells, int)]
        if len(cut) == 2 * len(pads):
            inside = emit("Pad", n.dy, integers(cut))
        else:
            inside = emit("Pad", n.dy, emit("Neg", n.x[1]), None, n.x[3] if n.has(3) else None)
    if not n.has(2):
        return [inside]
    border = emit("ReduceSum", n.dy, keepdims=0) - emit("ReduceSum", inside, keepdims=0)
    return [inside, None, emit("Reshape", border, sizes(n.x[2]))]


def _pad_grad_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    if use.string("mode") == "constant":
        use.fail("mode 'constant' is not supported")
    shape: list[Dim] = []
    for axis, (dim, (before, after)) in enumerate(zip(use.type().shape, pads_of(use, 2), strict=True)):
        size = difference(dim, total([before, after])) if before or after else dim
        if isinstance(size, int) and size < 0:
            use.fail(f"pads {before} and {after} do not fit into the {dim} cells of axis {axis}")
        _padded(use, axis, size, before, after)
        shape.append(size)
    return use.like(shape)


def _pad_grad(n: KernelContext) -> list[Step]:
    """The gradient of a border is added to the cells that it copies, in the reverse order of ``Pad``."""
    dy, out, mode = n.x[0], n.out(order=memory_order(n.x[0])), n.string("mode")
    kept = [_kept(size, *pair) for size, pair in zip(out.shape, known_pads(n, 2), strict=True)]
    sums = n.scratch_like(dy)
    steps: list[Step] = [partial(np.copyto, sums, dy)]
    region = [slice(None)] * dy.ndim
    for axis in memory_order(dy):
        for border, source in _borders(mode, kept[axis][1], dy.shape[axis]):
            flowing, to = _at(sums, region, axis, border), _at(sums, region, axis, source)
            if flowing.shape != to.shape:
                line = n.scratch(to.shape, dy.dtype)
                steps.append(partial(np.add.reduce, flowing, axis=axis, keepdims=True, out=line))
                flowing = line
            steps.append(partial(np.add, to, flowing, out=to))
        region[axis] = kept[axis][1]
    inside = [source for source, _ in kept]
    if _at(out, inside).shape != out.shape:
        steps.append(partial(out.fill, 0))
    return [*steps, partial(np.copyto, _at(out, inside), _at(sums, region))]


def _pad_grad_lowering(dy: Symbol, pads: Symbol, axes: Symbol | None = None, *, mode: str) -> Symbol:
    """Axis by axis: the middle, and each piece of the borders with zeros around it."""
    types = [dy.type, pads.type, axes.type if axes else None]
    widths = known_pads(OperatorContext(lookup("PadGrad", INTERNAL), types, {"mode": mode}), 2)
    for axis, (before, after) in enumerate(widths):
        size = dy.shape[axis]
        if not (before or after):
            continue
        if not isinstance(size, int):
            reason = f"the gradient of Pad in mode '{mode}' needs the size of axis {axis} in standard operators"
            raise GraphError([Fault("", f"{reason}, and it is the unknown {size}")])
        source, middle = _kept(size - before - after, before, after)
        found = _cut(dy, axis, middle)
        for border, copied in _borders(mode, middle, size):
            piece, cells = _cut(dy, axis, border), range(size)[copied]
            if len(cells) == 1:
                piece = emit("ReduceSum", piece, integers([axis]), keepdims=1)
            elif cells.step < 0:
                piece = emit("Slice", piece, integers([-1]), integers([-(2**62)]), integers([axis]), integers([-1]))
            found += _between(piece, axis, min(cells) - middle.start, middle.stop - max(cells) - 1)
        dy = _between(found, axis, source.start, size - before - after - source.stop)
    return dy


def _cut(value: Symbol, axis: int, part: slice) -> Symbol:
    return emit("Slice", value, integers([part.start]), integers([part.stop]), integers([axis]))


def _between(value: Symbol, axis: int, before: int, after: int) -> Symbol:
    """``value`` with zeros before and behind it along ``axis``."""
    if not (before or after):
        return value
    pads = [0] * (2 * len(value.shape))
    pads[axis], pads[axis + len(value.shape)] = before, after
    return emit("Pad", value, integers(pads))


def _pad_fields(use: FieldContext) -> Fields | None:
    """Pads are those of a convolution whose kernel is one cell."""
    pads, rank = use.setting("pads", 1, ()), len(use.input)
    pairs = [*zip(map(int, pads[:rank]), map(int, pads[rank:]), strict=False)]
    if len(pads) != 2 * rank or any(map(any, pairs[:2])):
        return None
    return moved_fields(
        use, Operation("conv", tuple(Window(1, pad_begin=begin, pad_end=end) for begin, end in pairs[2:]))
    )


_WRAP = Limit(
    "mode",
    lambda use, shape: use.string("mode") == "wrap",
    "OpenVINO 2026.4 refuses it",
    "concatenate slices of the input",
)

register(
    Operator(
        "Pad",
        ("data", "pads", "constant_value?", "axes?"),
        _pad_type,
        _pad,
        _pad_gradient,
        {"mode": Attr(str, "constant")},
        passes=(0,),
        settings=(2,),
        receptive=_pad_fields,
        batch_inputs="all",
        portability=Portability(since={("mode", "wrap"): 19}, limits=(_WRAP,)),
        unsized=lambda use: use.opened(len(use.type().shape)),
    )
)
register(
    Operator(
        "PadGrad",
        ("dY", "pads", "axes?"),
        _pad_grad_type,
        _pad_grad,
        lambda n: [emit("Pad", n.dy, n.x[1], None, n.x[2] if n.has(2) else None, mode=n.string("mode"))],
        {"mode": Attr(str, REQUIRED)},
        outputs=("dX",),
        domain=INTERNAL,
        lowering=_pad_grad_lowering,
    )
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
