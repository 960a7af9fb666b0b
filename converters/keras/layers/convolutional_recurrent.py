"""ConvLSTM: an LSTM whose products are convolutions, one after the other over a known number of steps."""

from __future__ import annotations

from typing import Any, Final

from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.activations import applied, function_name
from portable_nn.converters.keras.layers.channels import back, by_axes, by_channels, channels_first, known
from portable_nn.converters.keras.layers.convolutions import made_conv, options_of
from portable_nn.converters.keras.layers.recurrent import read_options, states_of
from portable_nn.converters.keras.layers.rows import LAYERS
from portable_nn.converters.keras.spec import Spec
from portable_nn.converters.layers.gates import KERAS
from portable_nn.converters.layers.weights import kernel
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, emit_all, integers

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
        lifted = [emit("Unsqueeze", each if first else Held(moved=each).plain, integers([1])) for each in made]
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
