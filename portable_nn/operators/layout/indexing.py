"""Operators that pick elements by their index, put them back, and cut an array into parts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from portable_nn.core.dims import opened, product, rounded_quotient, total
from portable_nn.operators.base import (
    NUMBERS,
    Array,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Step,
    Symbol,
    Type,
    cut_fields,
    emit,
    format_shape,
    integers,
    register,
    sizes,
    zeros_like,
)


def _axis(use: OperatorContext) -> int:
    """The axis that indices count along; fails for indices that are not integers, or constant and outside it."""
    data, indices = use.type(0), use.type(1)
    axis = use.axis(use.int("axis"), len(data.shape))
    if indices.dtype not in {"int32", "int64"}:
        use.fail(f"indices must be int32 or int64, not {indices.dtype}")
    if isinstance(size := data.shape[axis], int):
        _check_range(use, [index for index in indices.constant or () if isinstance(index, int)], axis, size)
    return axis


def _check_range(use: OperatorContext, extremes: Iterable[int], axis: int, size: int) -> None:
    for index in extremes:
        if not -size <= index < size:
            use.fail(f"index {index} is outside axis {axis}, which has {size} elements")


def range_checks(n: KernelContext, indices: Array, axis: int) -> list[Step]:
    """Fail for indices outside ``axis`` of the data: now where the second input is constant, otherwise in each run."""
    size = n.x[0].shape[axis]

    def check() -> None:
        if indices.size:
            _check_range(n, (int(indices.min()), int(indices.max())), axis, size)

    if n.is_constant(1):
        check()
        return []
    return [check]


def _gather_type(use: OperatorContext) -> Type:
    axis = _axis(use)
    (dtype, shape, elements), indices = use.type(0), use.type(1)
    result = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    if elements is None or indices.constant is None:
        return Type(dtype, result)
    return Type(dtype, result, tuple(elements[index] for index in indices.constant if isinstance(index, int)))


def _gather(n: KernelContext) -> list[Step]:
    axis = n.attribute_axis()
    # Of indices that are in range, "wrap" turns the negative ones round; unlike "raise" it needs no buffer.
    return [*range_checks(n, n.x[1], axis), partial(np.take, n.x[0], n.x[1], axis=axis, out=n.out(), mode="wrap")]


def _gather_gradient(n: GradientContext) -> list[Symbol | None]:
    """The gradient is added up at the places that the elements were taken from."""
    data, indices = n.x[0], n.x[1]
    rank, axis = len(data.shape), n.axis(n.int("axis"), len(data.shape))
    taken = emit("Unsqueeze", emit("Size", indices), integers([0]))
    if isinstance(known := product(indices.shape), int):
        taken = integers([known])
    parts = [sizes(data, range(axis))] * (axis > 0) + [taken] + [sizes(data, range(axis + 1, rank))] * (axis + 1 < rank)
    shape = emit("Concat", *parts, axis=0) if len(parts) > 1 else taken
    row = emit("Reshape", indices, emit("Concat", taken, integers([1] * (rank - axis - 1)), axis=0))
    places = emit("Expand", row, shape)
    dy = emit("Reshape", n.dy, shape)
    return [emit("ScatterElements", zeros_like(data), places, dy, axis=axis, reduction="add"), None]


def _check_indices(use: OperatorContext) -> None:
    """Fail where indices have another rank than the data, or a larger size along any other axis than ``axis``."""
    axis, shape, indices = _axis(use), use.type(0).shape, use.type(1).shape
    larger = [
        isinstance(size, int) and isinstance(index, int) and index > size and place != axis
        for place, (size, index) in enumerate(zip(shape, indices, strict=False))
    ]
    if len(shape) != len(indices) or any(larger):
        use.fail(
            f"indices {format_shape(indices)} must have as many axes as data {format_shape(shape)}, "
            f"and no more along any but axis {axis}"
        )


def _gather_elements_type(use: OperatorContext) -> Type:
    _check_indices(use)
    return use.like(use.type(1).shape)


def flat(n: KernelContext, array: Array) -> tuple[Array, list[Step]]:
    """The elements of ``array`` in the order of its axes, and the steps that copy them if the layout is another."""
    ordered, steps = n.in_order(array)
    return ordered.reshape(-1), steps


def _places(n: KernelContext) -> tuple[Array, list[Step]]:
    """The place in the data that each index points to, counted through all its elements."""
    shape, indices = n.x[0].shape, n.x[1]
    axis = n.axis(n.int("axis"), len(shape))
    strides = [int(np.prod(shape[place + 1 :])) for place in range(len(shape))]
    sides = np.indices((*indices.shape[:axis], 1, *indices.shape[axis + 1 :]), sparse=True)
    base = sum(side * stride for side, stride in zip(sides, strides, strict=True))
    places = n.scratch(indices.shape, np.int64)
    return places.reshape(-1), [
        *range_checks(n, indices, axis),
        partial(np.remainder, indices, shape[axis], out=places),
        partial(np.multiply, places, strides[axis], out=places),
        partial(np.add, places, base, out=places),
    ]


def _gather_elements(n: KernelContext) -> list[Step]:
    out = n.out()
    if not out.size:
        return []
    (data, copies), (places, steps) = flat(n, n.x[0]), _places(n)
    return [*copies, *steps, partial(np.take, data, places, out=out.reshape(-1), mode="wrap")]


def _gather_elements_gradient(n: GradientContext) -> list[Symbol | None]:
    zeros, axis = zeros_like(n.x[0]), n.int("axis")
    return [emit("ScatterElements", zeros, n.x[1], n.dy, axis=axis, reduction="add"), None]


REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scattered_type(use: OperatorContext, shape: Shape) -> Type:
    """The type of the data with ``updates``, which must be of ``shape``, put into it."""
    use.expect(2, use.like(shape), ", as the data and indices are")
    if use.choice("reduction", ("none", *REDUCTIONS)) != "none":
        use.check_dtype(use.type().dtype, NUMBERS)
    return use.like(use.type().shape)


def _scatter_elements_type(use: OperatorContext) -> Type:
    _check_indices(use)
    return scattered_type(use, use.type(1).shape)


def _scatter_elements(n: KernelContext) -> list[Step]:
    out, reduction = n.out(), n.string("reduction")
    copy = partial(np.copyto, out, n.x[0])
    if not n.x[1].size:
        return [copy]
    (updates, copies), (places, steps), cells = flat(n, n.x[2]), _places(n), out.reshape(-1)
    if reduction == "none":
        return [copy, *copies, *steps, partial(np.put, cells, places, updates, mode="wrap")]
    return [copy, *copies, *steps, partial(REDUCTIONS[reduction].at, cells, places, updates)]


def scatter_gradient(n: GradientContext) -> list[Symbol | None]:
    """As PyTorch's: with reduction none, each of several updates of one place gets its whole gradient."""
    dy, indices, reduction, kind = n.dy, n.x[1], n.string("reduction"), n.operator.name
    where = {name: n.int(name) for name in n.operator.attributes if name == "axis"}
    to_updates = emit(kind.replace("Scatter", "Gather"), dy, indices, **where)
    if reduction == "none":
        return [emit(kind, dy, indices, zeros_like(n.x[2]), **where), None, to_updates]
    if reduction != "add":
        n.fail(f"it has a gradient with reduction none and add only, not {reduction}")
    return [dy, None, to_updates]


def _parts(use: OperatorContext) -> tuple[Dim, ...]:
    """The size of each output along the axis that is split."""
    size, axis = use.type().shape[use.attribute_axis()], use.attribute_axis()
    if use.has(1):
        if use.attributes.get("num_outputs") is not None:
            use.fail("it takes the sizes of its outputs (split) or their number (num_outputs), not both")
        parts = use.constant(1)
        if min((part for part in parts if isinstance(part, int)), default=0) < 0:
            use.fail(f"the sizes {format_shape(parts)} must be 0 or more")
        # A size without a number is compared when the graph is planned.
        if isinstance(size, int) and isinstance(whole := total(parts), int) and whole != size:
            use.fail(f"the sizes {format_shape(parts)} make {whole}, but axis {axis} has {size}")
    else:
        parts = _equal_parts(use, size)
    if len(parts) != use.output_count:
        use.fail(f"it is split into {len(parts)} parts, but has {use.output_count} outputs")
    return parts


def _equal_parts(use: OperatorContext, size: Dim) -> tuple[Dim, ...]:
    """As many parts as there are outputs, all of one size but for the last, which is what remains."""
    count = use.attributes.get("num_outputs", use.output_count)
    assert isinstance(count, int)
    if count < 1:
        use.fail(f"num_outputs must be 1 or more, not {count}")
    if count != use.output_count:  # before there is a part for each
        use.fail(f"it is split into {count} parts, but has {use.output_count} outputs")
    each = rounded_quotient("ceil", size, count)
    last = total([size, product([1 - count, each])])
    if isinstance(last, int) and last < 0:
        use.fail(f"an axis of {size} cannot be split into {count} parts of {each}, of which only the last is smaller")
    return (each,) * (count - 1) + (last,)


def _split_type(use: OperatorContext) -> tuple[Type, ...]:
    (dtype, shape, constant_value), axis, start = use.type(), use.attribute_axis(), 0
    types = []
    for size in _parts(use):
        known = isinstance(size, int) and constant_value is not None
        part = constant_value[start : start + size] if known else None  # type: ignore[index, operator]
        types.append(Type(dtype, (*shape[:axis], size, *shape[axis + 1 :]), part))
        start += size if isinstance(size, int) else 0
    return tuple(types)


def _unsized_split(use: OperatorContext) -> tuple[Type, ...]:
    shape, axis = use.type().shape, use.attribute_axis()
    return tuple(use.like((*shape[:axis], opened(part), *shape[axis + 1 :])) for part in range(use.output_count))


def _split(n: KernelContext) -> None:
    axis, start = n.attribute_axis(), 0
    for index in range(n.output_count):
        stop = start + n.output_shape(index)[axis]
        n.view(n.x[0][(slice(None),) * axis + (slice(start, stop),)], index)
        start = stop


def _split_gradient(n: GradientContext) -> list[Symbol | None]:
    parts = [zeros_like(y) if dy is None else dy for y, dy in zip(n.y, n.back, strict=True)]
    joined = emit("Concat", *parts, axis=n.attribute_axis())
    return [joined if joined.shape == n.x[0].shape else emit("Reshape", joined, sizes(n.x[0]), allowzero=1), None]


def along_axis(use: OperatorContext) -> Shape:
    """Indices count along the attribute ``axis``."""
    return (use.type().shape[use.int("axis")],)


register(
    Operator(
        "Gather",
        ("data", "indices"),
        _gather_type,
        _gather,
        _gather_gradient,
        {"axis": Attr(int, 0)},
        passes=(0,),
        weights=(0,),
        indexes={1: along_axis},
        polynomial=True,
    )
)
register(
    Operator(
        "GatherElements",
        ("data", "indices"),
        _gather_elements_type,
        _gather_elements,
        _gather_elements_gradient,
        {"axis": Attr(int, 0)},
        passes=(0,),
        indexes={1: along_axis},
    )
)
register(
    Operator(
        "ScatterElements",
        ("data", "indices", "updates"),
        _scatter_elements_type,
        _scatter_elements,
        scatter_gradient,
        {"axis": Attr(int, 0), "reduction": Attr(str, "none")},
        indexes={1: along_axis},
        portability=Portability(since={("reduction", "max"): 18, ("reduction", "min"): 18}, former_names=("Scatter",)),
    )
)
register(
    Operator(
        "Split",
        ("input", "split?"),
        _split_type,
        _split,
        _split_gradient,
        {"axis": Attr(int, 0), "num_outputs": Attr(int)},
        outputs=("outputs*",),
        passes=(0,),
        rearranges=True,
        receptive=cut_fields,
        unsized=_unsized_split,
    )
)
