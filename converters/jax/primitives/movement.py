"""Primitives that move, repeat, take or make elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from portable_nn.converters.jax.primitives.table import Call, Held, held_constant, row
from portable_nn.converters.jax.sizes import is_known
from portable_nn.operators import Symbol, cast, count_up, emit, emit_all, integers, squeezed, unsqueezed

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
    parts = [each for each in values if each.shape[axis] != 0] or values[:1]
    return call.held(emit("Concat", *(call.exact(each, axes) for each in parts), axis=axes.index(axis)), axes)


@row("stack")
def _stack(call: Call, *values: Held) -> Held:
    axis = call.params["axis"]
    parts = [unsqueezed(call.exact(each), axis) for each in values]
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


@row("pad")
def _pad(call: Call, x: Held, value: Held) -> Held:
    low, high, inside = zip(*call.params["padding_config"], strict=True)
    symbol, number = call.exact(x), cast(value.symbol, x.symbol.dtype)
    for axis, between in enumerate(inside):
        if between:
            symbol = _spread(symbol, x.shape, axis, int(between), number)
    if not any((*low, *high)):
        return call.held(symbol)
    return call.held(emit("Pad", symbol, integers([int(each) for each in (*low, *high)]), number))


def _spread(x: Symbol, shape: Sequence[Any], axis: int, between: int, value: Symbol) -> Symbol:
    """``x`` with so many elements more behind each but the last along an axis."""
    rank, at = len(x.shape), integers([axis])
    apart = unsqueezed(x, axis + 1)
    pads = [0] * (rank + 1)
    wide = emit("Pad", apart, integers([*pads, *pads[: axis + 1], between, *pads[axis + 2 :]]), value)
    sizes = [emit("Shape", x, start=place, end=place + 1) for place in range(rank)]
    sizes[axis] = sizes[axis] * integers([between + 1])
    known = all(map(is_known, shape))
    wanted = (
        integers([int(size) * (between + 1 if place == axis else 1) for place, size in enumerate(shape)])
        if known
        else emit("Concat", *sizes, axis=0)
    )
    return emit("Slice", emit("Reshape", wide, wanted), integers([0]), integers([-between]), at)


# -- what is made


@row("iota")
def _iota(call: Call) -> Held:
    axis = call.params["dimension"]
    size = call.shape[axis]
    if is_known(size):
        known = held_constant(np.arange(size, dtype=call.dtype))
        if len(call.shape) == 1:
            return known
        if not known.symbol.shape:
            return call.held(known.symbol)
        numbers = known.symbol
    else:
        end = squeezed(call.size(size), 0)
        numbers = cast(count_up(end), call.dtype)
    new = [each for each in range(len(call.shape)) if each != axis]
    return call.held(emit("Unsqueeze", numbers, integers(new)) if new else numbers)


@row("dim_as_value")
def _size(call: Call) -> Held:
    return call.held(cast(squeezed(call.size(call.params["dim"]), 0), call.dtype))
