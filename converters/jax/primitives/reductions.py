"""Sums, products and extremes along axes and over windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from portable_nn.converters.array import cumulated
from portable_nn.converters.jax.primitives.table import Axes, Call, Held, row
from portable_nn.converters.jax.sizes import is_known
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers


def _left(axes: Axes, gone: Sequence[int]) -> Axes:
    """The axes that stay, by their number in the output."""
    kept = [axis for axis in axes if axis not in gone]
    return tuple(sorted(kept).index(axis) for axis in kept)


@row(reduce_sum="ReduceSum", reduce_max="ReduceMax", reduce_min="ReduceMin", reduce_prod="ReduceProd")
def _reduced(operator: str, call: Call, x: Held) -> Held:
    gone = tuple(call.params["axes"])
    if not gone:  # Operators take no axes for all of them.
        return call.held(x.symbol, x.axes)
    axes = x.axes if x.symbol.shape else tuple(range(len(x.shape)))
    places = integers([axes.index(axis) for axis in gone])
    return call.held(emit(operator, call.exact(x, axes), places, keepdims=0), _left(axes, gone))


@row("reduce_and", "reduce_or")
def _logical(call: Call, x: Held) -> Held:
    """The extremes of truth values as numbers."""
    numbers = x._replace(symbol=cast(x.symbol, "int32"))
    found = _reduced("ReduceMin" if call.name == "reduce_and" else "ReduceMax", call, numbers)
    return found._replace(symbol=cast(found.symbol, "bool"))


@row("argmax", "argmin")
def _arg(call: Call, x: Held) -> Held:
    [axis] = call.params["axes"]
    axes = x.axes if x.symbol.shape else tuple(range(len(x.shape)))
    operator = "ArgMax" if call.name == "argmax" else "ArgMin"
    symbol = call.exact(x, axes)
    symbol = cast(symbol, "int32") if symbol.dtype == "bool" else symbol
    found = emit(operator, symbol, axis=axes.index(axis), keepdims=0)
    return call.held(cast(found, call.dtype), _left(axes, [axis]))


@row("cumsum")
def _cumulative_sum(call: Call, x: Held) -> Held:
    found = emit("CumSum", call.exact(x), constant(call.params["axis"], "int64"), reverse=int(call.params["reverse"]))
    return call.held(found)


def _added_in_logs(a: Symbol, b: Symbol) -> Symbol:
    """log(exp a + exp b)."""
    return emit("Max", a, b) + emit("Log", 1 + emit("Exp", -emit("Abs", a - b)))


_CUMULATIVE: Final[Mapping[str, Callable[[Symbol, Symbol], Symbol]]] = {
    "cumprod": lambda a, b: a * b,
    "cummax": lambda a, b: emit("Max", a, b),
    "cummin": lambda a, b: emit("Min", a, b),
    "cumlogsumexp": _added_in_logs,
}
"""The function by which each combines two elements."""


@row(**_CUMULATIVE)
def _cumulative(combine: Callable[[Symbol, Symbol], Symbol], call: Call, x: Held) -> Held:
    axis, size = call.params["axis"], x.shape[call.params["axis"]]
    if not is_known(size):
        call.refuse("along an axis of an open size")
    return call.held(cumulated(combine, call.exact(x), axis, size, reverse=call.params["reverse"]))


@row("top_k")
def _top(call: Call, x: Held) -> list[Held]:
    axis = call.params.get("axis", len(x.shape) - 1)
    values, places = emit_all("TopK", call.exact(x), integers([call.params["k"]]), axis=axis, outputs=2)
    return [call.held(values), call.held(cast(places, str(call.outs[1].dtype)), index=1)]


@row("sort")
def _sort(call: Call, *values: Held) -> list[Held]:
    """The first by size, and the others as the first."""
    axis = call.params["dimension"]
    if call.params["num_keys"] != 1:
        call.refuse("by several keys")
    first, places = emit_all(
        "TopK", call.exact(values[0]), call.size(values[0].shape[axis]), axis=axis, largest=0, outputs=2
    )
    others = [emit("GatherElements", call.exact(each), places, axis=axis) for each in values[1:]]
    return [call.held(symbol, index=index) for index, symbol in enumerate((first, *others))]


# -- windows


def _channels_first(call: Call, window: Sequence[int]) -> Axes:
    """The axes with two that no window slides along in front: the first, and the last if that can be."""
    moves = zip(window, call.params["window_strides"], call.params["padding"], strict=True)
    still = [axis for axis, move in enumerate(moves) if move == (1, 1, (0, 0))]
    if len(still) < 2:
        call.refuse("over all axes but one: a pool leaves examples and channels")
    lead = (still[0], still[-1])
    return (*lead, *(axis for axis in range(len(window)) if axis not in lead))


@row("reduce_window_max", "reduce_window_min", "reduce_window_sum")
def _window(call: Call, x: Held) -> Held:
    params = call.params
    window, pads = params["window_dimensions"], params["padding"]
    axes = _channels_first(call, window)
    if set(params["base_dilation"]) != {1}:
        call.refuse("of a dilated base")
    places = axes[2:]
    options: dict[str, Any] = {
        "kernel_shape": [int(window[axis]) for axis in places],
        "strides": [int(params["window_strides"][axis]) for axis in places],
        "dilations": [int(params["window_dilation"][axis]) for axis in places],
        "pads": [int(pads[axis][side]) for side in (0, 1) for axis in places],
    }
    symbol = call.exact(x, axes)
    if not places:
        return call.held(symbol, axes)
    if call.name == "reduce_window_sum":
        found = emit("AveragePool", symbol, count_include_pad=1, **options) * math.prod(options["kernel_shape"])
    elif call.name == "reduce_window_max":
        found = emit("MaxPool", symbol, **options)
    else:
        found = -emit("MaxPool", -symbol, **options)
    return call.held(found, axes)
