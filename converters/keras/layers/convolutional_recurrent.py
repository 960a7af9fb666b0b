"""ConvLSTM: an LSTM whose products are convolutions, one after the other over a known number of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.activations import applied, function_name
from portable_nn.converters.keras.layers.channels import WORDS, back, channels_first, known
from portable_nn.converters.keras.layers.convolutions import kernel_first, made_conv
from portable_nn.converters.keras.layers.recurrent import read_options
from portable_nn.converters.keras.spec import Spec
from portable_nn.core.errors import RefusalError
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, emit_all, integers

MAX_STEPS: Final = 1000
"""The number of steps that are written one after the other."""


def conv_lstm(axes: int) -> Callable[..., Any]:
    """ConvLSTM1D, 2D and 3D over (batch, steps, …, channels)."""

    def build(spec: Spec, x: Held, initial_state: Any = None) -> Any:
        options, first = read_options(spec), channels_first(spec)
        if x.rank != axes + 3:
            spec.refuse(f"it needs {axes + 3} axes, and its input has {x.rank}")
        if x.mask is not None or options.zeros:
            spec.refuse("masked steps have no counterpart here")
        steps = known(x.shape[1], "the steps")
        if steps > MAX_STEPS:
            spec.refuse(f"its {steps} steps are more than {MAX_STEPS}, and are written one after the other")
        conv, recurrent = spec.once(
            lambda: _convolutions(spec, axes, known(x.shape[2 if first else -1], "the channels"))
        )
        states = _states(initial_state, first, axes)
        made = list[Symbol]()
        for step in reversed(range(steps)) if options.backwards else range(steps):
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

    return build


def _convolutions(spec: Spec, axes: int, channels: int) -> tuple[Layer, Layer]:
    """That of the input, and that of the state, with the gates one behind the other."""
    filters, bias = spec.whole("filters"), spec.flag("use_bias", True)
    kernel = spec.wholes("kernel_size", axes)
    given = {
        "kernel": kernel,
        "stride": spec.wholes("strides", axes, 1),
        "dilation": spec.wholes("dilation_rate", axes, 1),
        "padding": spec.choice("padding", ("valid", "same"), "valid"),
    }
    for option in ("dropout", "recurrent_dropout"):
        if spec.number(option):
            spec.differs(f"{option} ")
    for unused in ("unit_forget_bias", "seed"):
        spec.get(unused)
    cell = spec.inside(spec.config, "ConvLSTMCell", f"{spec.name}.cell", "cell")
    weight = kernel_first(cell.weight(*kernel, channels, 4 * filters))
    state = kernel_first(cell.weight(*kernel, filters, 4 * filters))
    shift = cell.weight(4 * filters) if bias else 0
    name = f"{spec.name}.input"
    more = {"kernel": kernel, "stride": 1, "dilation": 1, "padding": "same"}
    return (
        made_conv(axes, 4 * filters, given, bias=bias, name=name, weight_initial=weight, bias_initial=shift),
        made_conv(axes, 4 * filters, more, bias=False, name=f"{spec.name}.recurrent", weight_initial=state),
    )


def _states(given: Any, first: bool, axes: int) -> list[Symbol]:
    """The state and the cell that a call gives, with the channels first; none for zeros."""
    if given is None:
        return []
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(isinstance(each, Held) for each in given):
        raise RefusalError("it takes 2 initial states")
    if any(each.rank != axes + 2 for each in given):
        raise RefusalError(f"its states have {axes + 2} axes")
    return [each.plain if first else each.moved for each in given]


def _next(spec: Spec, gates: Symbol, states: list[Symbol]) -> list[Symbol]:
    """The next state and cell; Keras has the gates in the order i, f, c, o."""
    outer = function_name(spec.get("activation", "tanh"))
    inner = function_name(spec.get("recurrent_activation", "sigmoid"))

    def bent(value: Symbol, function: str, role: str) -> Symbol:
        return applied(spec, function, Held(value), f"{spec.name}.{role}").plain

    i, f, c, o = emit_all("Split", gates, outputs=4, axis=1, num_outputs=4)
    new = bent(i, inner, "i") * bent(c, outer, "c")
    cell = new + bent(f, inner, "f") * states[1] if states else new
    return [bent(o, inner, "o") * bent(cell, outer, "h"), cell]


LAYERS: Final[Mapping[str, Callable[..., Any]]] = {
    f"ConvLSTM{word}": conv_lstm(axes) for axes, word in enumerate(WORDS, 1)
}
"""The function that makes each layer: ``(layer, tensor, …) → tensor or tensors``."""
