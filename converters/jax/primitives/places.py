"""Primitives that read or write elements at places that are data: gathers and scatters, and slices that move.

Places are in range, as they must be in a graph, which refuses others; JAX reads NaN there, or writes nothing. Where a
mode or a number to fill with says what happens beyond the end, it happens here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from portable_nn.converters.jax.primitives.table import Axes, Call, Held, row
from portable_nn.converters.jax.sizes import Size, is_known
from portable_nn.operators import Symbol, cast, constant, count_up, emit, integers, squeezed, unsqueezed


def _others(rank: int, *without: Iterable[int]) -> Axes:
    """The axes that are in none of these."""
    gone = {int(axis) for axes in without for axis in axes}
    return tuple(axis for axis in range(rank) if axis not in gone)


def _is_whole(size: Size, dim: Size) -> bool:
    return str(size) == str(dim)


class _Slices(NamedTuple):
    """The slices of an array that are read or written.

    Attributes:
        axes: the axes along which their places differ.
        inner: those of these axes that a slice keeps.
        places: the places of all elements of each: a number for each of ``axes`` along the last axis, before which
            stand the axes ``inner``.
        inside: whether a slice is inside of the array.
    """

    axes: Axes
    inner: Axes
    places: Symbol
    inside: Symbol


def _slices(
    call: Call, x: Held, first: Symbol, axes: Axes, sizes: Sequence[Size], gone: Sequence[int], *, clips: bool
) -> _Slices:
    """Slices that begin at ``first`` along ``axes``; ``sizes`` are theirs along all axes, and ``gone`` not kept.

    Slices that are whole along an axis begin at 0 there. Those that end beyond the array are moved where ``clips``.
    """
    moving = [place for place, axis in enumerate(axes) if axis in gone or not _is_whole(sizes[axis], x.shape[axis])]
    if moving and len(moving) < len(axes):
        first, axes = emit("Gather", first, integers(moving), axis=-1), tuple(axes[place] for place in moving)
    last = call.sizes([x.shape[axis] - sizes[axis] for axis in axes])
    both = emit("And", emit("GreaterOrEqual", first, constant(0, "int64")), emit("LessOrEqual", first, last))
    inside = cast(emit("ReduceMin", cast(both, "int32"), integers([-1]), keepdims=0), "bool")
    if clips:
        first = emit("Max", emit("Min", first, last), constant(0, "int64"))
    inner = tuple(axis for axis in axes if axis not in gone)
    if not all(is_known(sizes[axis]) for axis in inner):
        call.refuse("of slices of an open size")
    steps = np.zeros((*(int(sizes[axis]) for axis in inner), len(axes)), np.int64)
    for place, axis in enumerate(inner):
        steps[..., axes.index(axis)] = np.arange(sizes[axis]).reshape(-1, *(1,) * (len(inner) - place - 1))
    rank = len(first.shape)
    if inner:
        first = emit("Unsqueeze", first, integers(range(rank - 1, rank - 1 + len(inner)))) + constant(steps, "int64")
    return _Slices(axes, inner, first, inside)


def _fills(call: Call) -> bool:
    """True if a number is given for the elements beyond the end; the usual ones mean that there are none."""
    number = call.params["fill_value"]
    if "FILL" not in str(call.params["mode"]) or number is None or np.isnan(number):
        return False
    if not np.issubdtype(call.dtype, np.integer):
        return True
    usual = np.iinfo(call.dtype)
    return number not in {usual.min, usual.max}


@row("gather")
def _gather(call: Call, x: Held, places: Held) -> Held:
    """Gather of places along one axis, as embeddings do, GatherND along several."""
    numbers, sizes = call.params["dimension_numbers"], call.params["slice_sizes"]
    axes, batch = tuple(map(int, numbers.start_index_map)), tuple(map(int, numbers.operand_batching_dims))
    gone, rank = numbers.collapsed_slice_dims, len(x.shape)
    if not all(_is_whole(sizes[axis], x.shape[axis]) for axis in _others(rank, axes, batch)):
        call.refuse("of the first elements along an axis")
    kept = dict(zip(_others(rank, gone, batch), map(int, numbers.offset_dims), strict=True))
    lead = tuple(map(int, numbers.start_indices_batching_dims))
    order = (*lead, *_others(len(places.shape), lead))
    fills = _fills(call)
    first, clips = cast(call.exact(places, order), "int64"), fills or "CLIP" in str(call.params["mode"])
    found = _slices(call, x, first, axes, sizes, gone, clips=clips)
    outer = _others(len(call.shape), numbers.offset_dims)
    each = (*(outer[axis] for axis in order[:-1]), *(kept[axis] for axis in found.inner))
    if len(found.axes) == 1 and not batch:
        [axis] = found.axes
        indices = squeezed(found.places, -1)
        symbol = emit("Gather", call.exact(x), indices, axis=axis)
        made = (*(kept[a] for a in range(axis)), *each, *(kept[a] for a in range(axis + 1, rank)))
    else:
        rest = _others(rank, found.axes, batch)
        data = call.exact(x, (*batch, *found.axes, *rest))
        symbol = emit("GatherND", data, found.places, batch_dims=len(batch))
        made = (*each, *(kept[axis] for axis in rest))
    if fills:
        inside = found.inside
        if new := [place for place, axis in enumerate(made) if axis not in outer]:
            inside = emit("Unsqueeze", inside, integers(new))
        symbol = emit("Where", inside, symbol, constant(call.params["fill_value"], call.dtype))
    return call.held(symbol, made)


_REDUCTIONS = {
    "scatter": "none",
    "scatter-add": "add",
    "scatter-mul": "mul",
    "scatter-min": "min",
    "scatter-max": "max",
}
_COMBINED = {"mul": "Mul", "min": "Min", "max": "Max"}


@row(**{name.replace("-", mark): reduction for name, reduction in _REDUCTIONS.items() for mark in "-_"})
def _scatter(reduction: str, call: Call, x: Held, places: Held, updates: Held) -> Held:
    """ScatterND, which has no batch: the number of an example is one of its places."""
    numbers, rank = call.params["dimension_numbers"], len(x.shape)
    axes, batch = tuple(map(int, numbers.scatter_dims_to_operand_dims)), tuple(map(int, numbers.operand_batching_dims))
    gone, window = numbers.inserted_window_dims, tuple(map(int, numbers.update_window_dims))
    kept = dict(zip(_others(rank, gone, batch), window, strict=True))
    sizes = [updates.shape[kept[axis]] if axis in kept else 1 for axis in range(rank)]
    lead = tuple(map(int, numbers.scatter_indices_batching_dims))
    order = (*lead, *_others(len(places.shape), lead))
    first, clips = cast(call.exact(places, order), "int64"), "CLIP" in str(call.params["mode"])
    found = _slices(call, x, first, axes, sizes, gone, clips=clips)
    outer = _others(len(updates.shape), window)
    each = (*(outer[axis] for axis in order[:-1]), *(kept[axis] for axis in found.inner))
    return _written(call, x, found, updates, each, kept, batch, reduction)


def _written(
    call: Call,
    x: Held,
    found: _Slices,
    updates: Held,
    each: Axes,
    kept: dict[int, int],
    batch: Axes = (),
    reduction: str = "none",
) -> Held:
    """``x`` with ``updates`` in the places of slices.

    Args:
        call: the use.
        x: the array.
        found: the slices.
        updates: what is written.
        each: the axes of ``updates`` that are those of the places.
        kept: the axis of ``updates`` for each axis of ``x`` that slices keep.
        batch: the axes of ``x`` along which each part of ``updates`` is written into its own part.
        reduction: how it is written.
    """
    rest = _others(len(x.shape), found.axes, batch)
    if not all(_is_whole(updates.shape[kept[axis]], x.shape[axis]) for axis in rest):
        call.refuse("of the first elements along an axis")
    order, indices = (*batch, *found.axes, *rest), found.places
    for place in reversed(range(len(batch))):
        indices = emit("Concat", _counted(call, x.shape[batch[place]], place, indices), indices, axis=-1)
    data, new = call.exact(x, order), call.exact(updates, (*each, *(kept[axis] for axis in rest)))
    if reduction in _COMBINED and call.params["unique_indices"]:  # ScatterND has no gradient of these.
        new, reduction = emit(_COMBINED[reduction], emit("GatherND", data, indices), new), "none"
    return call.held(emit("ScatterND", data, indices, cast(new, data.dtype), reduction=reduction), order)


def _counted(call: Call, size: Size, axis: int, like: Symbol) -> Symbol:
    """The number of each element of ``like`` along ``axis``, as places of one number."""
    if is_known(size):
        numbers = constant(np.arange(size), "int64")
    else:
        end = squeezed(call.size(size), 0)
        numbers = count_up(end)
    rank = len(like.shape)
    numbers = emit("Unsqueeze", numbers, integers([each for each in range(rank) if each != axis]))
    ones = emit("Slice", like, integers([0]), integers([1]), integers([-1]))
    return emit("Expand", numbers, emit("Shape", ones))


def _starts(starts: Sequence[Held]) -> Symbol:
    """Numbers as a row."""
    return emit("Concat", *(unsqueezed(cast(each.symbol, "int64"), 0) for each in starts), axis=0)


@row("dynamic_slice")
def _dynamic_slice(call: Call, x: Held, *starts: Held) -> Held:
    """The start is moved so far that the slice ends inside."""
    symbol, sizes = call.exact(x), call.params["slice_sizes"]
    for axis, (start, size, whole) in enumerate(zip(starts, sizes, x.shape, strict=True)):
        if _is_whole(size, whole):
            continue
        if not is_known(size):
            call.refuse("of an open size")
        last = emit("Sub", call.size(whole), call.size(size))
        first = emit("Max", emit("Min", cast(start.symbol, "int64"), last), integers([0]))
        symbol = emit("Gather", symbol, first + integers(range(size)), axis=axis)
    return call.held(symbol)


@row("dynamic_update_slice")
def _update_slice(call: Call, x: Held, part: Held, *starts: Held) -> Held:
    """At a place that is known along one axis: what is before, the part, and what is behind; ScatterND elsewhere."""
    cut = [axis for axis in range(len(x.shape)) if not _is_whole(part.shape[axis], x.shape[axis])]
    if not cut:
        return part
    place = starts[cut[0]].value
    if len(cut) > 1 or place is None or not is_known(x.shape[cut[0]]):
        found = _slices(call, x, _starts(starts), tuple(range(len(starts))), part.shape, (), clips=True)
        return _written(call, x, found, part, found.inner, {axis: axis for axis in range(len(starts))})
    [axis] = cut
    size, whole = part.shape[axis], x.shape[axis]
    first = int(np.clip(place, 0, whole - size))
    symbol, at = call.exact(x), integers([axis])
    before = emit("Slice", symbol, integers([0]), integers([first]), at)
    behind = emit("Slice", symbol, integers([first + size]), integers([whole]), at)
    return call.held(emit("Concat", before, call.exact(part), behind, axis=axis))
