"""``nn.EmbeddingBag``: the vectors of an embedding added up, averaged or compared within bags of any length."""

from __future__ import annotations

from portable_nn.converters.torch.aten.rows import Use, filled, row, size_along, sliced
from portable_nn.operators import Array, Symbol, cast, constant, count_up, emit, integers, sizes, squeezed, unsqueezed

_SUM, _MEAN, _MAX = range(3)
"""The modes, as PyTorch counts them."""


@row("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def _embedding_bag(
    use: Use,
    weight: Symbol,
    indices: Symbol,
    offsets: Symbol,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Symbol | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> list[Symbol | None]:
    """Bags of one length, which PyTorch makes of a matrix of indices, are an axis; others are added up by their number.

    Only the first of the results is made: the others are what PyTorch's gradient needs.
    """
    if scale_grad_by_freq:
        use.note("embedding_bag: gradients are not divided by the frequency of an entry here (scale_grad_by_freq)")
    table = _matrix(indices, offsets)
    index = indices if table is None else table
    found = emit("Gather", weight, index)
    if per_sample_weights is not None:
        each = per_sample_weights if table is None else emit("Reshape", per_sample_weights, sizes(table))
        found = found * unsqueezed(each, len(index.shape))
    kept: Symbol | None = None
    if padding_idx is not None and padding_idx >= 0:
        is_padding = emit("Equal", index, constant(padding_idx, index.dtype))
        kept = unsqueezed(emit("Not", is_padding), len(index.shape))
    if table is not None:
        return [_along(found, kept, mode), None, None, None]
    _state(use, offsets, indices, include_last_offset)
    made = _largest(found, kept, offsets) if mode == _MAX else _added(found, kept, offsets, mode)
    return [sliced(made, 0, 0, -1) if include_last_offset else made, None, None, None]


def _matrix(indices: Symbol, offsets: Symbol) -> Symbol | None:
    """The matrix of which the indices are the rows one after another, where each bag is one row."""
    origin = indices.origin
    if origin.operator is None or origin.operator.name != "Reshape" or origin.inputs[0] is None:
        return None
    table = origin.inputs[0]
    if len(table.shape) != 2:
        return None
    rows, length = table.shape
    known, start = offsets.type.constant, offsets.origin
    if isinstance(rows, int) and isinstance(length, int) and known == tuple(range(0, rows * length, length or 1)):
        return table
    if start.operator is None or start.operator.name != "Range":
        return None
    first, _, step = (each.type.constant if each is not None else None for each in start.inputs)
    return table if first == (0,) and step == (length,) else None


def _along(found: Symbol, kept: Symbol | None, mode: int) -> Symbol:
    """Bags that are an axis, (bags, length, features)."""
    axis = integers([1])
    if mode == _MAX:
        if kept is None:
            return emit("ReduceMax", found, axis, keepdims=0)
        least = emit("ReduceMax", emit("Where", kept, found, constant(float("-inf"), found.dtype)), axis, keepdims=0)
        return emit("Where", _any(kept), least, _zero(found))
    if kept is None:
        return emit("ReduceMean" if mode == _MEAN else "ReduceSum", found, axis, keepdims=0)
    total = emit("ReduceSum", emit("Where", kept, found, _zero(found)), axis, keepdims=0)
    return (
        total if mode == _SUM else total / _at_least_one(emit("ReduceSum", cast(kept, found.dtype), axis, keepdims=0))
    )


def _added(found: Symbol, kept: Symbol | None, offsets: Symbol, mode: int) -> Symbol:
    """The sum or mean of each bag: every vector is added to the row of the bag that it lies in."""
    bags, features = size_along(offsets, 0), size_along(found, 1)
    marks = filled(0, [emit("Add", sizes(found, [0]), integers([1]))], "int64")
    marks = emit("ScatterElements", marks, cast(offsets, "int64"), filled(1, [bags], "int64"), axis=0, reduction="add")
    bag = emit("CumSum", sliced(marks, 0, 0, -1), constant(0, "int64")) - 1
    place = unsqueezed(bag, 1)
    if kept is not None:
        found = emit("Where", kept, found, _zero(found))
    total = emit("ScatterND", filled(0, [bags, features], found.dtype), place, found, reduction="add")
    if mode == _SUM:
        return total
    one = filled(1, [size_along(found, 0), 1], found.dtype) if kept is None else cast(kept, found.dtype)
    count = emit("ScatterND", filled(0, [bags, 1], found.dtype), place, one, reduction="add")
    return total / _at_least_one(count)


def _largest(found: Symbol, kept: Symbol | None, offsets: Symbol) -> Symbol:
    """The largest of each bag, of all vectors that do not lie outside it; 0 where it is empty."""
    begin = cast(offsets, "int64")
    count = sizes(found, [0])
    end = emit("Concat", sliced(begin, 0, 1, 2**62), count, axis=0)
    place = unsqueezed(count_up(squeezed(count, 0)), 0)
    is_inside = emit(
        "And", emit("GreaterOrEqual", place, unsqueezed(begin, 1)), emit("Less", place, unsqueezed(end, 1))
    )
    if kept is not None:
        is_inside = emit("And", is_inside, emit("Transpose", kept, perm=[1, 0]))
    is_inside = unsqueezed(is_inside, 2)
    every = emit("Where", is_inside, unsqueezed(found, 0), constant(float("-inf"), found.dtype))
    largest = emit("ReduceMax", every, integers([1]), keepdims=0)
    return emit("Where", _any(is_inside), largest, _zero(found))


def _any(mask: Symbol) -> Symbol:
    """True if a mask is true anywhere along the axis of a bag."""
    return cast(emit("ReduceSum", cast(mask, "int32"), integers([1]), keepdims=0), "bool")


def _zero(like: Symbol) -> Symbol:
    return constant(0, like.dtype)


def _at_least_one(count: Symbol) -> Symbol:
    return emit("Max", count, constant(1, count.dtype))


def _state(use: Use, offsets: Symbol, indices: Symbol, include_last_offset: bool) -> None:
    """Say which offsets PyTorch takes: the first is 0, none is less than the one before, and a last one is the end."""
    if len(indices.shape) != 1:
        use.refuse("offsets of a matrix of indices")

    def make(drawn: Array, size: int) -> Array:
        found = drawn.copy()
        found[:] = sorted((7 * (place + int(each))) % (size + 1) for place, each in enumerate(drawn))
        if include_last_offset:
            found[-1:] = size
        found[:1] = 0
        return found

    use.state(offsets, make, indices.shape[0])
