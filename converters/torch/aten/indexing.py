"""Operators that read or write at places that tensors give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.torch.aten.layout import END
from portable_nn.converters.torch.aten.rows import (
    Size,
    Use,
    axis_of,
    expanded,
    filled,
    reshaped,
    row,
    shape_of,
    size_along,
    sliced,
    transposed,
)
from portable_nn.core.dims import broadcast
from portable_nn.core.errors import RefusalError
from portable_nn.operators import FLOATS, Symbol, cast, constant, emit, integers, sizes, unsqueezed


@row("index.Tensor", "_unsafe_index.Tensor")
def _index(use: Use, x: Symbol, indices: Sequence[Symbol | None]) -> Symbol:
    """Of several indices, each place is one vector of a table of places."""
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if any(index.dtype in ("bool", "uint8") for _, index in given):
        use.refuse("places that are given by a mask, whose number depends on the data")
    axes = [axis for axis, _ in given]
    if len(given) == 1:
        return emit("Gather", x, given[0][1], axis=axes[0])
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    places = _places([index for _, index in given])
    found = emit("GatherND", transposed(x, [*axes, *rest]), places)
    if not adjacent or axes[0] == 0:
        return found
    rank = len(places.shape) - 1
    before = list(range(rank, rank + axes[0]))
    return transposed(found, [*before, *range(rank), *range(rank + axes[0], len(found.shape))])


def _places(indices: Sequence[Symbol]) -> Symbol:
    """Indices that broadcast to one shape, as one table with the axis of coordinates last."""
    shape = broadcast(*(index.shape for index in indices))
    if shape is None:
        raise RefusalError("indices that do not broadcast")
    wide = []
    for index in indices:
        whole: list[Size] = []
        for axis, dim in enumerate(shape):
            source = next(each for each in indices if _has(each, axis, len(shape), dim))
            whole.append(dim if isinstance(dim, int) else size_along(source, axis - len(shape)))
        wide.append(unsqueezed(expanded(index, whole), len(shape)))
    return emit("Concat", *wide, axis=-1)


def _has(index: Symbol, axis: int, rank: int, dim: Any) -> bool:
    place = axis - rank + len(index.shape)
    return dim == 1 or (place >= 0 and index.shape[place] == dim)


@row("index_select")
def _index_select(use: Use, x: Symbol, dim: int, index: Symbol) -> Symbol:
    return emit("Gather", x, index, axis=axis_of(dim, len(x.shape)))


@row("gather", "take_along_dim")
def _gather(use: Use, x: Symbol, dim: int, index: Any, sparse_grad: bool = False) -> Symbol:
    """The index may be smaller than the tensor along other axes, which ONNX does not allow."""
    if use.target.startswith("aten.take"):
        dim, index = index, dim
    axis = axis_of(dim, len(x.shape))
    for other, (size, wanted) in enumerate(zip(x.shape, index.shape, strict=True)):
        if other != axis and size != wanted:
            x = sliced(x, other, 0, size_along(index, other))
    return emit("GatherElements", x, index, axis=axis)


def _fitted(source: Any, index: Symbol, dtype: str) -> Symbol:
    """A number, or the part of a tensor, for each place of an index."""
    whole = shape_of(index)
    if not isinstance(source, Symbol):
        return filled(source, whole, dtype)
    for axis, (size, wanted) in enumerate(zip(source.shape, index.shape, strict=True)):
        source = source if size == wanted else sliced(source, axis, 0, whole[axis])
    return reshaped(source, whole)


@row("scatter.src", "scatter.value", "scatter_add", "scatter.reduce", "scatter.value_reduce")
def _scatter(use: Use, x: Symbol, dim: int, index: Symbol, source: Any, reduce: str | None = None) -> Symbol:
    source = _fitted(source, index, x.dtype)
    reduction = "add" if "scatter_add" in use.target else {None: None, "add": "add", "multiply": "mul"}[reduce]
    return emit("ScatterElements", x, index, source, axis=axis_of(dim, len(x.shape)), reduction=reduction)


_COMBINED: Final[Mapping[str, tuple[str, Callable[[str], float]]]] = {
    "sum": ("add", lambda dtype: 0),
    "mean": ("add", lambda dtype: 0),
    "prod": ("mul", lambda dtype: 1),
    "amax": ("max", lambda dtype: -np.inf if dtype in FLOATS else np.iinfo(dtype).min),
    "amin": ("min", lambda dtype: np.inf if dtype in FLOATS else np.iinfo(dtype).max),
}
"""The reductions of PyTorch as those of the standard, and the number that changes nothing in them."""


@row("scatter_reduce.two")
def _scatter_reduce(
    use: Use, x: Symbol, dim: int, index: Symbol, source: Symbol, reduce: str, include_self: bool = True
) -> Symbol:
    """Without the entries themselves, those that anything is put into begin with what changes nothing."""
    if x.dtype == "bool" or (reduce == "mean" and x.dtype not in FLOATS):
        use.refuse(f"scatter_reduce with reduce='{reduce}' of {x.dtype}, which ScatterElements does not have")
    (reduction, neutral), axis = _COMBINED[reduce], axis_of(dim, len(x.shape))

    def scattered(into: Symbol, value: Any, how: str | None) -> Symbol:
        return emit("ScatterElements", into, index, _fitted(value, index, x.dtype), axis=axis, reduction=how)

    begun = x if include_self else scattered(x, neutral(x.dtype), None)
    made = scattered(begun, source, reduction)
    if reduce != "mean":
        return made
    counted = filled(int(include_self), shape_of(x), x.dtype)
    return made / emit("Max", scattered(counted, 1, "add"), constant(1, x.dtype))


@row("searchsorted", "bucketize")
def _searchsorted(
    use: Use,
    sequence: Any,
    values: Any,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Symbol | None = None,
) -> Symbol:
    """The number of entries of the sequence that are below a value, or not above it; all of them are for NaN."""
    if use.target.startswith("aten.bucketize"):
        sequence, values = values, sequence
    if sorter is None:
        use.state(sequence, lambda drawn, size: np.sort(drawn, axis=-1), sequence.shape[-1])
    else:
        sequence = emit("GatherElements", sequence, sorter, axis=-1)
    sequence, values = (use.promoted(each, use.common) for each in (sequence, values))
    if len(sequence.shape) > 1:
        sequence = unsqueezed(sequence, -2)
    reached = emit("Greater" if right or side == "right" else "GreaterOrEqual", sequence, unsqueezed(values, -1))
    return emit("ReduceSum", cast(emit("Not", reached), use.dtype), integers([-1]), keepdims=0)


@row("index_put")
def _index_put(
    use: Use, x: Symbol, indices: Sequence[Symbol | None], values: Symbol, accumulate: bool = False
) -> Symbol:
    given = [index for index in indices if index is not None]
    if len(given) == 1 and given[0].dtype == "bool":
        if values.shape in ((), (1,)) and indices[0] is not None:
            mask = given[0]
            rank = len(mask.shape)
            return emit("Where", unsqueezed(mask, *range(rank, len(x.shape))), values, x)
        use.refuse("places that are given by a mask, whose number depends on the data")
    if len(given) != len(indices):
        use.refuse("places along axes that are not the first")
    places = _places(given)
    whole = [*(size_along(places, axis) for axis in range(len(places.shape) - 1)),
             *(size_along(x, axis) for axis in range(len(given), len(x.shape)))]  # fmt: skip
    return emit("ScatterND", x, places, expanded(values, whole), reduction="add" if accumulate else None)


@row("slice_scatter")
def _slice_scatter(
    use: Use, x: Symbol, source: Symbol, dim: int = 0, start: Size | None = None, end: Size | None = None, step: int = 1
) -> Symbol:
    """The part before the slice, the new part, and the part behind it."""
    axis = axis_of(dim, len(x.shape))
    size = x.shape[axis]
    start, end = 0 if start is None else start, END if end is None else end
    if step != 1:
        if not (isinstance(size, int) and isinstance(start, int) and isinstance(end, int)):
            use.refuse("every so many places along an axis of open size")
        places = list(range(size))[start:end:step]
        rank = len(x.shape)
        index = constant(places, "int64")
        index = unsqueezed(index, *[other for other in range(rank) if other != axis])
        index = emit("Expand", index, sizes(source))
        return emit("ScatterElements", x, index, source, axis=axis)
    parts = [sliced(x, axis, 0, start)] if not isinstance(start, int) or start != 0 else []
    parts.append(source)
    if not isinstance(end, int) or end < (size if isinstance(size, int) else END):
        parts.append(sliced(x, axis, end, END))
    return emit("Concat", *parts, axis=axis) if len(parts) > 1 else source


@row("select_scatter")
def _select_scatter(use: Use, x: Symbol, source: Symbol, dim: int, index: int) -> Symbol:
    axis = axis_of(dim, len(x.shape))
    return _slice_scatter(use, x, unsqueezed(source, axis), axis, index, END if index == -1 else index + 1)


@row("copy", "copy_")
def _copy(use: Use, x: Symbol, source: Symbol, non_blocking: bool = False) -> Symbol:
    return expanded(use.promoted(source), shape_of(x))


@row("one_hot")
def _one_hot(use: Use, x: Symbol, num_classes: int = -1) -> Symbol:
    if num_classes < 0:
        use.refuse("as many classes as there are in the data: give num_classes")
    return emit("OneHot", x, integers([num_classes]), integers([0, 1]))
