"""DeformConv: a convolution whose taps an input shifts by offsets, with interpolation between cells.

Dai et al., ICCV 2017; with a mask that weighs each tap, Zhu et al., CVPR 2019. Shapes are written with N examples,
G groups of offsets, C channels in a group, K cells of the kernel, r spatial axes, S cells of the input and O of the
output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple, NoReturn

import numpy as np

from portable_nn.core.errors import Fault, GraphError, ShapeError
from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    Dim,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    cast,
    constant,
    emit,
    format_shape,
    integers,
    register,
    sizes,
)
from portable_nn.operators.normalization.statistics import precision
from portable_nn.operators.spatial.window import plain_windows, spatial_sizes


def _numbers(use: OperatorContext, index: int, shape: Shape) -> tuple[int, ...]:
    known = tuple(dim for dim in shape if isinstance(dim, int))
    if len(known) < len(shape):
        use.fail(f"the sizes {format_shape(shape)} of input '{use.operator.input_name(index)}' must be known")
    return known


def _type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    found, weight = spatial_sizes(use), use.type(1).shape
    rank, group, groups = len(found), use.int("group"), use.int("offset_group")
    if len(weight) != rank + 2 or use.ints("kernel_shape") not in {None, weight[2:]}:
        given = use.ints("kernel_shape") or ("size",) * rank
        use.fail(f"W must be {format_shape(('filters', 'channels', *given))}, not {format_shape(weight)}")
    filters, depth, *kernel = _numbers(use, 1, weight)
    batch, channels, *_ = use.type().shape
    if min(group, groups) < 1 or channels != depth * group or filters % group or channels % groups:
        use.fail(
            f"{channels} channels do not fit {filters} filters of {depth} channels in groups: {group}, with groups of "
            f"offsets: {groups}"
        )
    cells = groups * math.prod(kernel)
    places = _places(use, kernel, found)
    wanted: dict[int, Shape] = {
        1: weight,
        2: (batch, cells * rank, *places),
        3: (filters,),
        4: (batch, cells, *places),
    }
    for index, shape in wanted.items():
        if index < 3 or use.has(index):
            use.expect(index, use.like(shape))
    return use.like([batch, filters, *places])


def _places(use: OperatorContext, kernel: Sequence[int], found: Shape) -> list[Dim]:
    """The output size along each axis: where that of the input is symbolic, the size of the offsets."""
    offsets = use.type(2).shape[2:]
    if len(offsets) != len(found):
        use.fail(f"offset must have {len(found)} spatial axes, not {format_shape(use.type(2).shape)}")
    places = list(offsets)
    for axis, (w, size) in enumerate(zip(plain_windows(use, kernel), found, strict=True)):
        if isinstance(size, int):
            try:
                places[axis] = w.output_size(size)
            except ShapeError as error:
                use.fail(f"along axis {axis + 2}: {error}")
    return places


class _Sampling(NamedTuple):
    """The sizes of the input and the output, and the cell that each tap of each window reads without an offset."""

    cells: tuple[int, ...]
    places: tuple[int, ...]
    base: list[Array]
    """For each axis (K, O)."""


def _sampling(use: OperatorContext) -> _Sampling:
    kernel = _numbers(use, 1, use.type(1).shape[2:])
    cells = _numbers(use, 0, use.type().shape[2:])
    places = _numbers(use, 2, use.type(2).shape[2:])
    base = []
    for axis, w in enumerate(plain_windows(use, kernel)):
        tap = np.indices(kernel, sparse=True)[axis] * w.dilation
        place = np.indices(places, sparse=True)[axis] * w.stride - w.pad_begin
        column, row = (np.broadcast_to(found, of).reshape(-1) for found, of in ((tap, kernel), (place, places)))
        base.append(np.add.outer(column, row))
    return _Sampling(cells, places, base)


def _kernel(n: KernelContext) -> list[Step]:
    (cells, places, base), groups, out = _sampling(n), n.int("offset_group"), n.out()
    batch, depth = n.x[0].shape[:2]
    wide, rank = precision(out.dtype), len(cells)
    strides = [math.prod(cells[axis + 1 :]) for axis in range(rank)]
    weight = n.x[1].reshape(n.int("group"), -1, math.prod(n.x[1].shape[1:]))

    def run() -> None:
        x = n.x[0].reshape(batch, groups, depth // groups, -1)
        offsets = n.x[2].reshape(batch, groups, -1, rank, math.prod(places)).astype(wide)
        positions = [offsets[:, :, :, axis] + base[axis] for axis in range(rank)]
        lows = [np.floor(position) for position in positions]
        columns: Any = 0
        for corner in itertools.product((0, 1), repeat=rank):
            share, index = np.ones((), wide), np.zeros((), np.int64)
            for axis, bit in enumerate(corner):
                cell, part = lows[axis] + bit, positions[axis] - lows[axis]
                inside = (cell >= 0) & (cell < cells[axis])
                share = share * (part if bit else 1 - part) * inside
                index = index + np.where(inside, cell, 0).astype(np.int64) * strides[axis]
            flat = index.reshape(batch, groups, 1, -1)
            columns = columns + np.take_along_axis(x, flat, axis=3) * share.reshape(flat.shape)
        if n.has(4):
            columns = columns * n.x[4].reshape(batch, groups, 1, -1)
        found = weight @ columns.reshape(batch, weight.shape[0], weight.shape[2], -1).astype(wide, copy=False)
        result = found.reshape(out.shape)
        out[...] = result + n.x[3].reshape(-1, *(1,) * rank) if n.has(3) else result

    return [run] if out.size else []


def _lowering(
    x: Symbol, w: Symbol, offset: Symbol, b: Symbol | None = None, mask: Symbol | None = None, **attributes: Any
) -> Symbol:
    """The same in operators that have gradients: the offsets get theirs through the shares of the cells."""
    inputs = [value.type if value is not None else None for value in (x, w, offset, b, mask)]
    (cells, places, base), rank = _sampling(_Unnamed(_DEFORM, inputs, attributes)), len(x.shape) - 2
    group, groups = attributes.get("group", 1), attributes.get("offset_group", 1)
    filters, depth, *kernel = (int(size) for size in w.shape)
    length, taps = math.prod(places), math.prod(kernel)
    plane = emit("Reshape", x, integers([-1, groups, group * depth // groups, math.prod(cells)]))
    moved = emit("Reshape", offset, integers([-1, groups, taps, rank, length]))
    positions = [
        emit("Gather", moved, constant(axis, "int64"), axis=3) + constant(base[axis], x.dtype) for axis in range(rank)
    ]
    lows = [emit("Floor", position) for position in positions]
    spread = emit("Concat", sizes(plane, [0, 1, 2]), integers([taps * length]), axis=0)
    found: list[Symbol] = []
    for corner in itertools.product((0, 1), repeat=rank):
        shares, indices = list[Symbol](), list[Symbol]()
        for axis, bit in enumerate(corner):
            cell, part = lows[axis] + bit, positions[axis] - lows[axis]
            last = cells[axis] - 1
            near = emit("Clip", cell, constant(0, x.dtype), constant(last, x.dtype))
            shares += [part if bit else 1 - part, cast(emit("Equal", near, cell), x.dtype)]
            indices.append(cast(near, "int64") * math.prod(cells[axis + 1 :]))
        index, share = _total(indices), reduce(lambda one, other: one * other, shares)
        flat = integers([-1, groups, 1, taps * length])
        picked = emit("GatherElements", plane, emit("Expand", emit("Reshape", index, flat), spread), axis=3)
        found.append(picked * emit("Reshape", share, flat))
    columns = _total(found)
    if mask is not None:
        columns = columns * emit("Reshape", mask, integers([-1, groups, 1, taps * length]))
    rows = emit("Reshape", columns, integers([-1, group, depth * taps, length]))
    weight = emit("Reshape", w, integers([group, filters // group, depth * taps]))
    result = emit("Reshape", weight @ rows, integers([-1, filters, *places]))
    return result if b is None else result + emit("Reshape", b, integers([filters, *(1,) * rank]))


def _total(values: Sequence[Symbol]) -> Symbol:
    return reduce(lambda one, other: one + other, values)


class _Unnamed(OperatorContext):
    """A use in a lowering; the caller names the node in errors."""

    def fail(self, message: str) -> NoReturn:
        raise GraphError([Fault("", message)])


_DEFORM = register(
    Operator(
        "DeformConv",
        ("X", "W", "offset", "B?", "mask?"),
        _type,
        _kernel,
        "lowering",
        {
            "dilations": Attr(tuple),
            "group": Attr(int, 1),
            "kernel_shape": Attr(tuple),
            "offset_group": Attr(int, 1),
            "pads": Attr(tuple),
            "strides": Attr(tuple),
        },
        outputs=("Y",),
        lowering=_lowering,
        family="linear",
    )
)
