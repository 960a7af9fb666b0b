"""Convolutions: ordinary, depthwise, separable, transposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from portable_nn import layers
from portable_nn.converters.keras.layers.activations import activated, applied, function_name
from portable_nn.converters.keras.layers.recurrent import read_options, states_of
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, back, by_axes, by_channels, channels_first, known
from portable_nn.converters.layers.gates import KERAS
from portable_nn.converters.layers.weights import depthwise, kernel
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, emit_all, unsqueezed


def options_of(spec: Spec, axes: int, paddings: Sequence[str] = ("valid", "same")) -> dict[str, Any]:
    """The options of the window of a layer."""
    dilation = spec.wholes("dilation_rate", axes, 1)
    return {
        "kernel": spec.wholes("kernel_size", axes),
        "stride": spec.wholes("strides", axes, 1),
        "dilation": dilation,
        "padding": spec.choice("padding", paddings, "valid"),
    }


def made_conv(axes: int, filters: int, options: dict[str, Any], **more: Any) -> Layer:
    """A convolution over so many axes."""
    if options["padding"] == "causal":
        options = {name: value for name, value in options.items() if name != "padding"} | {"causal": True}
    made: Layer = getattr(layers, f"Conv{axes}d")(filters, **options, **more)
    return made


Make: TypeAlias = Callable[[Spec, int, int], Callable[[Symbol], Symbol]]


def _row(name: str, *, most: int = 3) -> Callable[[Make], Make]:
    """Decorate ``make(layer, axes, channels)``, which makes a layer with the channels behind the batch."""

    def add(make: Make) -> Make:
        LAYERS.row(**by_axes(name, most=most))(partial(_convolution, make))
        return make

    return add


def _convolution(make: Make, axes: int, spec: Spec, x: Held) -> Held:
    """A layer with the channels behind the batch, and its activation."""
    symbol, first = by_channels(spec, x, axes + 2)
    for unused in ("filters", "groups"):
        spec.get(unused)
    spec.only("lora_rank", None)
    channels = known(symbol.shape[1], "the channels")
    return activated(spec, back(spec.once(lambda: make(spec, axes, channels))(symbol), first))


@_row("Conv{}")
def _conv(spec: Spec, axes: int, channels: int) -> Layer:
    """The kernel is (…, in / groups, filters)."""
    filters, groups = spec.whole("filters"), spec.whole("groups", 1)
    options = options_of(spec, axes, ("valid", "same", "causal") if axes == 1 else ("valid", "same"))
    weights = spec.linear(kernel, (*options["kernel"], channels // groups, filters), filters)
    return made_conv(axes, filters, options, groups=groups, name=spec.name, **weights)


@_row("DepthwiseConv{}", most=2)
def _depthwise(spec: Spec, axes: int, channels: int) -> Layer:
    """Each channel by itself; the kernel is (…, in, multiplier)."""
    times, options = spec.whole("depth_multiplier", 1), options_of(spec, axes)
    weights = spec.linear(depthwise, (*options["kernel"], channels, times), channels * times)
    return made_conv(axes, channels * times, options, groups=channels, name=spec.name, **weights)


@_row("SeparableConv{}", most=2)
def _separable(spec: Spec, axes: int, channels: int) -> Callable[[Symbol], Symbol]:
    """A depthwise convolution without a bias, then one with a kernel of 1."""
    times, filters, options = spec.whole("depth_multiplier", 1), spec.whole("filters"), options_of(spec, axes)
    weight = depthwise(spec.weight(*options["kernel"], channels, times))
    more = {"groups": channels, "bias": False, "weight_initial": weight, "name": f"{spec.name}.depthwise"}
    one = made_conv(axes, channels * times, options, **more)
    weights = spec.linear(kernel, (*[1] * axes, channels * times, filters), filters)
    other = made_conv(axes, filters, {"kernel": 1, "padding": 0}, name=spec.name, **weights)
    return lambda symbol: other(one(symbol))


@_row("Conv{}Transpose")
def _transposed(spec: Spec, axes: int, channels: int) -> Layer:
    """The kernel is (…, filters, in)."""
    filters, options = spec.whole("filters"), options_of(spec, axes)
    weights = spec.linear(kernel, (*options["kernel"], filters, channels), filters)
    options |= _cut(spec, axes, options)
    made: Layer = getattr(layers, f"ConvTranspose{axes}d")(filters, name=spec.name, **options, **weights)
    return made


def _cut(spec: Spec, axes: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The cells that are cut off both ends of the output, and added to its end.

    Without ``output_padding``, "valid" gives size · stride + max(kernel - stride, 0) and "same" size · stride, as
    Keras's documentation has it.
    """
    extra = None if spec.get("output_padding") is None else spec.wholes("output_padding", axes, least=0)
    cut, added = [], []
    for axis, (size, stride, dilation) in enumerate(
        zip(options["kernel"], options["stride"], options["dilation"], strict=True)
    ):
        reach = dilation * (size - 1) + 1
        over = reach - stride
        if options["padding"] == "valid":
            total, more = 0, max(-over, 0) if extra is None else extra[axis]
        elif extra is None:
            total, more = max(over, 0), max(-over, 0)
        else:
            spread = reach + reach % 2 - 2 + extra[axis]  # What is added at both ends of the input, as TensorFlow does.
            begin = min(spread - spread // 2, reach - 1)
            end = spread - begin
            cut.append((reach - 1 - begin, max(reach - 1 - end, 0)))
            added.append(max(end - reach + 1, 0))
            continue
        cut.append((total // 2, total - total // 2))
        added.append(more)
    return {"padding": cut, "output_padding": tuple(added)}


MAX_STEPS: Final = 1000
"""The number of steps that are written one after the other."""


@LAYERS.row(**by_axes("ConvLSTM{}"))
def conv_lstm(axes: int, spec: Spec, x: Held, initial_state: Any = None) -> Any:
    """ConvLSTM1D, 2D and 3D over (batch, steps, …, channels)."""
    options, first = read_options(spec), channels_first(spec)
    if x.rank != axes + 3:
        spec.refuse(f"it needs {axes + 3} axes, and its input has {x.rank}")
    if x.mask or options.zeros:
        spec.refuse("masked steps have no counterpart here")
    steps = known(x.shape[1], "the steps")
    if steps > MAX_STEPS:
        spec.refuse(f"its {steps} steps are more than {MAX_STEPS}, and are written one after the other")
    conv, recurrent = spec.once(lambda: _convolutions(spec, axes, known(x.shape[2 if first else -1], "the channels")))
    states = [by_channels(spec, each, axes + 2)[0] for each in states_of(initial_state, 2)]
    made = list[Symbol]()
    for step in range(steps)[:: -1 if options.backwards else 1]:
        part = emit("Gather", x.plain, constant(step, "int64"), axis=1)
        gates = conv(part if first else Held(part).moved)
        if states:
            gates = gates + recurrent(states[0])
        states = _next(spec, gates, states)
        made.append(states[0])
    last = [back(each, first) for each in states]
    result = last[0]
    if options.sequences:
        lifted = [unsqueezed(each if first else Held(moved=each).plain, 1) for each in made]
        result = Held(emit("Concat", *lifted, axis=1, name=spec.next_name()))
    return [result, *last] if options.state else result


def _convolutions(spec: Spec, axes: int, channels: int) -> tuple[Layer, Layer]:
    """That of the input, and that of the state, with the gates one behind the other."""
    filters, bias = spec.whole("filters"), spec.flag("use_bias", True)
    given = options_of(spec, axes)
    window = given["kernel"]
    for option in ("dropout", "recurrent_dropout"):
        if spec.number(option):
            spec.differs(f"{option} ")
    for unused in ("unit_forget_bias", "seed"):
        spec.get(unused)
    cell = spec.inside(spec.config, "ConvLSTMCell", f"{spec.name}.cell", "cell")
    weight = kernel(cell.weight(*window, channels, 4 * filters))
    state = kernel(cell.weight(*window, filters, 4 * filters))
    shift = cell.weight(4 * filters) if bias else 0
    name = f"{spec.name}.input"
    more = {"kernel": window, "stride": 1, "dilation": 1, "padding": "same"}
    return (
        made_conv(axes, 4 * filters, given, bias=bias, name=name, weight_initial=weight, bias_initial=shift),
        made_conv(axes, 4 * filters, more, bias=False, name=f"{spec.name}.recurrent", weight_initial=state),
    )


def _next(spec: Spec, gates: Symbol, states: list[Symbol]) -> list[Symbol]:
    """The next state and cell."""
    outer = function_name(spec.get("activation", "tanh"))
    inner = function_name(spec.get("recurrent_activation", "sigmoid"))

    def bent(value: Symbol, function: str, role: str) -> Symbol:
        return applied(spec, function, Held(value), f"{spec.name}.{role}").plain

    by_gate = dict(zip(KERAS["LSTM"].keras, emit_all("Split", gates, outputs=4, axis=1, num_outputs=4), strict=True))
    new = bent(by_gate["i"], inner, "i") * bent(by_gate["g"], outer, "c")
    cell = new + bent(by_gate["f"], inner, "f") * states[1] if states else new
    return [bent(by_gate["o"], inner, "o") * bent(cell, outer, "h"), cell]
