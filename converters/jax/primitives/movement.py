"""What moves, repeats, takes or makes elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from portable_nn.converters.jax.primitives.table import Call, Held, held_constant, row
from portable_nn.converters.jax.sizes import is_known
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers

FAR = 2**31 - 1


@row("transpose")
def _transpose(call: Call, x: Held) -> Held:
    """The axes alone change; a node that needs another order makes one."""
    order = call.params["permutation"]
    return call.held(x.symbol, tuple(order.index(axis) for axis in x.axes))


@row("reshape")
def _reshape(call: Call, x: Held) -> Held:
    if not x.symbol.shape:
        return call.held(x.symbol)
    return call.held(call.reshaped(call.exact(x), call.shape))


@row("squeeze")
def _squeeze(call: Call, x: Held) -> Held:
    gone = call.params["dimensions"]
    if not x.symbol.shape:
        return call.held(x.symbol)
    symbol = emit("Squeeze", x.symbol, integers([x.axes.index(axis) for axis in gone])) if gone else x.symbol
    kept = [axis for axis in x.axes if axis not in gone]
    return call.held(symbol, tuple(sorted(kept).index(axis) for axis in kept))


@row("expand_dims")
def _expand_dims(call: Call, x: Held) -> Held:
    return call.held(emit("Unsqueeze", call.laid(x), integers(call.params["dimensions"])))


@row("broadcast_in_dim")
def _broadcast(call: Call, x: Held, *sizes: Held) -> Held:
    """New axes have the size 1 until a node needs more."""
    if not x.symbol.shape:
        return call.held(x.symbol)
    places = call.params["broadcast_dimensions"]
    new = [axis for axis in range(len(call.shape)) if axis not in places]
    symbol = call.laid(x)
    return call.held(emit("Unsqueeze", symbol, integers(new)) if new else symbol)


@row("concatenate")
def _concatenate(call: Call, *values: Held) -> Held:
    axis = call.params["dimension"]
    axes = values[0].axes if values[0].symbol.shape else tuple(range(len(call.shape)))
    return call.held(emit("Concat", *(call.exact(each, axes) for each in values), axis=axes.index(axis)), axes)


@row("stack")
def _stack(call: Call, *values: Held) -> Held:
    axis = call.params["axis"]
    parts = [emit("Unsqueeze", call.exact(each), integers([axis])) for each in values]
    return call.held(emit("Concat", *parts, axis=axis))


@row("tile")
def _tile(call: Call, x: Held) -> Held:
    return call.held(emit("Tile", call.exact(x), integers([int(each) for each in call.params["reps"]])))


@row("split")
def _split(call: Call, x: Held) -> list[Held]:
    axis, parts = call.params["axis"], [int(size) for size in call.params["sizes"]]
    found = emit_all("Split", call.exact(x), integers(parts), axis=axis, outputs=len(parts))
    return [call.held(symbol, index=place) for place, symbol in enumerate(found)]


@row("rev")
def _reverse(call: Call, x: Held) -> Held:
    axes = call.params["dimensions"]
    back = integers([-1] * len(axes))
    return call.held(emit("Slice", call.exact(x), back, integers([-FAR - 1] * len(axes)), integers(axes), back))


@row("slice")
def _slice(call: Call, x: Held) -> Held:
    starts, ends = call.params["start_indices"], call.params["limit_indices"]
    steps = call.params["strides"] or (1,) * len(starts)
    cut = [
        axis
        for axis, size in enumerate(x.shape)
        if not (is_known(starts[axis]) and starts[axis] == 0 and str(ends[axis]) == str(size) and steps[axis] == 1)
    ]
    if not cut:
        return x
    sides = (call.sizes([side[axis] for axis in cut]) for side in (starts, ends))
    return call.held(emit("Slice", call.exact(x), *sides, integers(cut), integers([int(steps[axis]) for axis in cut])))


@row("dynamic_slice")
def _dynamic_slice(call: Call, x: Held, *starts: Held) -> Held:
    """The start is moved so far that the slice ends inside."""
    symbol, sizes = call.exact(x), call.params["slice_sizes"]
    for axis, (start, size, whole) in enumerate(zip(starts, sizes, x.shape, strict=True)):
        if str(size) == str(whole):
            continue
        last = emit("Sub", call.size(whole), call.size(size))
        first = emit("Max", emit("Min", cast(start.symbol, "int64"), last), integers([0]))
        if not is_known(size):
            raise call.refuse("of an open size")
        symbol = emit("Gather", symbol, first + integers(range(size)), axis=axis)
    return call.held(symbol)


@row("dynamic_update_slice")
def _update_slice(call: Call, x: Held, part: Held, *starts: Held) -> Held:
    """At places that are known: what is before, the part, and what is behind."""
    cut = [axis for axis in range(len(x.shape)) if str(part.shape[axis]) != str(x.shape[axis])]
    if not cut:
        return part
    if len(cut) > 1:
        raise call.refuse("along several axes")
    [axis] = cut
    size, whole = part.shape[axis], x.shape[axis]
    if not is_known(size) or not is_known(whole):
        raise call.refuse("of an open size")
    first = int(np.clip(call.known(starts[axis]), 0, whole - size))
    symbol, at = call.exact(x), integers([axis])
    before = emit("Slice", symbol, integers([0]), integers([first]), at)
    behind = emit("Slice", symbol, integers([first + size]), integers([whole]), at)
    return call.held(emit("Concat", before, call.exact(part), behind, axis=axis))


@row("pad")
def _pad(call: Call, x: Held, value: Held) -> Held:
    low, high, inside = zip(*call.params["padding_config"], strict=True)
    if any(inside):
        raise call.refuse("between elements")
    pads = integers([int(each) for each in (*low, *high)])
    return call.held(emit("Pad", call.exact(x), pads, cast(value.symbol, x.symbol.dtype)))


# -- places that are data


@row("gather")
def _gather(call: Call, x: Held, places: Held) -> Held:
    """What takes whole slices along one axis, as embeddings do."""
    numbers, sizes = call.params["dimension_numbers"], call.params["slice_sizes"]
    axes = numbers.start_index_map
    whole = all(str(size) == str(dim) for axis, (size, dim) in enumerate(zip(sizes, x.shape, strict=True))
                if axis not in axes)  # fmt: skip
    one = tuple(numbers.collapsed_slice_dims) == tuple(axes) and len(axes) == 1
    if numbers.operand_batching_dims or not one or not whole or sizes[axes[0]] != 1:
        raise call.refuse("of anything but whole slices along one axis")
    [axis] = axes
    rank = len(places.shape) - 1
    indices = emit("Squeeze", call.exact(places), integers([rank]))
    size = x.shape[axis]
    if "CLIP" in str(call.params["mode"]) and is_known(size):
        zero, last = constant(0, indices.dtype), constant(size - 1, indices.dtype)
        indices = emit("Max", emit("Min", indices, last), zero)
    found = emit("Gather", call.exact(x), indices, axis=axis)
    offsets = list(numbers.offset_dims)
    batch = [each for each in range(len(call.shape)) if each not in offsets]
    return call.held(found, (*offsets[:axis], *batch, *offsets[axis:]))


# -- what is made


@row("iota")
def _iota(call: Call) -> Held:
    axis = call.params["dimension"]
    size = call.shape[axis]
    if is_known(size):
        numbers = held_constant(np.arange(size, dtype=call.dtype)).symbol
    else:
        end = emit("Squeeze", call.size(size), integers([0]))
        numbers = cast(emit("Range", constant(0, "int64"), end, constant(1, "int64")), call.dtype)
    new = [each for each in range(len(call.shape)) if each != axis]
    return call.held(emit("Unsqueeze", numbers, integers(new)) if new else numbers)


@row("dim_as_value")
def _size(call: Call) -> Held:
    return call.held(cast(emit("Squeeze", call.size(call.params["dim"]), integers([0])), call.dtype))


def stacked(call_shape: Sequence[Any], parts: Sequence[Symbol]) -> Symbol:
    """Values of one shape along a new first axis."""
    return emit("Concat", *(emit("Unsqueeze", part, integers([0])) for part in parts), axis=0)
