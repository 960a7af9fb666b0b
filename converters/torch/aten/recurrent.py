"""Recurrent layers. The parameters stay as PyTorch has them; nodes bring their gates into the order of ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.torch.aten.normalization import dropped
from portable_nn.converters.torch.aten.rows import Use, filled, row, size_along, sliced, unsqueezed
from portable_nn.core.graph import Dim
from portable_nn.operators import Array, Symbol, cast, emit, emit_all, integers


def _ordered(order: Sequence[int], weight: Symbol) -> Symbol:
    """A weight or bias of one direction with its gates in the order of ONNX, and an axis of directions in front."""
    if len(order) == 1:
        return unsqueezed(weight, 0)
    rows, *rest = (int(size) for size in weight.shape)
    gates = emit("Reshape", weight, integers([len(order), rows // len(order), *rest]))
    return emit("Reshape", emit("Gather", gates, integers(order), axis=0), integers([1, rows, *rest]))


def _joined(parts: Sequence[Symbol], axis: int) -> Symbol:
    return parts[0] if len(parts) == 1 else emit("Concat", *parts, axis=axis)


def _is_zero(value: Symbol) -> bool:
    """True if the value is made of zeros, which is what the operators begin with anyway."""
    origin = value.origin
    if origin.operator is None or origin.operator.name != "Expand" or origin.inputs[0] is None:
        return False
    return origin.inputs[0].type.constant == (0,)


def _zeros_like(value: Symbol) -> Symbol:
    return filled(0, [size_along(value, axis) for axis in range(len(value.shape))], value.dtype)


def _with_first_state(x: Symbol, w: Symbol, state: Symbol, recurrent: Sequence[Symbol]) -> tuple[Symbol, Symbol]:
    """Inputs and weights in which the projected states before the first step are features of that step alone.

    There is no state h of which a given one is the projection; but all that becomes of it is its product with W_hh.
    """
    steps, ways = size_along(x, 0), len(recurrent)
    size = recurrent[0].shape[2]
    parts, columns = [x], [w]
    for way, weight in enumerate(recurrent):
        own = sliced(state, 0, way, way + 1) if ways > 1 else state
        less = steps - 1 if isinstance(steps, int) else emit("Sub", steps, integers([1]))
        rest = filled(0, [less, size_along(state, 1), int(size)], state.dtype)
        parts.append(emit("Concat", *((rest, own) if way else (own, rest)), axis=0))
        none = filled(0, [int(size) for size in weight.shape], weight.dtype)
        columns.append(_joined([weight if other == way else none for other in range(ways)], 0))
    return emit("Concat", *parts, axis=2), emit("Concat", *columns, axis=2)


def _layers(
    use: Use,
    kind: str,
    x: Symbol,
    states: Sequence[Symbol],
    params: Sequence[Symbol],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    lengths: Symbol | None = None,
) -> tuple[Symbol, ...]:
    """The states of the last layer in each step, and those of all layers after the last."""
    operator, order, attributes = _KINDS[kind]
    directions, each = 2 if bidirectional else 1, 4 if has_biases else 2
    options: dict[str, Any] = {
        name: value * directions if isinstance(value, list) else value for name, value in attributes.items()
    }
    is_projected = len(params) != num_layers * directions * each
    each += is_projected
    y = emit("Transpose", x, perm=[1, 0, 2]) if batch_first else x
    first = [None if _is_zero(state) else state for state in states]
    final: list[tuple[Symbol, ...]] = []
    for layer in range(num_layers):
        if layer and dropout:
            y = dropped(use, y, dropout, train)
        own = [params[(layer * directions + way) * each :][:each] for way in range(directions)]
        w = _joined([_ordered(order, part[0]) for part in own], 0)
        biases = [_joined([_ordered(order, part[place]) for place in (2, 3)], 1) for part in own if has_biases]
        begin = [
            state
            if state is None or num_layers == 1
            else sliced(state, 0, layer * directions, (layer + 1) * directions)
            for state in first
        ]
        recurrent = [_ordered(order, part[1]) for part in own]
        if is_projected:
            if begin[0] is not None:
                y, w = _with_first_state(y, w, begin[0], recurrent)
                begin[0] = None if begin[1] is None else _zeros_like(begin[1])
            recurrent = [r @ part[-1] for r, part in zip(recurrent, own, strict=True)]
        y, *last = emit_all(
            operator, y, w, _joined(recurrent, 0), _joined(biases, 0) if biases else None, lengths, *begin,
            outputs=len(states) + 1, hidden_size=int(recurrent[0].shape[2]),
            direction="bidirectional" if bidirectional else None, **options,
        )  # fmt: skip
        if is_projected:
            back = [unsqueezed(emit("Transpose", part[-1], perm=[1, 0]), 0) for part in own]
            down = _joined(back, 0)
            y, last[0] = y @ down, last[0] @ down
        final.append(tuple(last))
        if bidirectional:
            y = emit("Transpose", y, perm=[0, 2, 1, 3])
            y = emit("Reshape", y, integers([0, 0, 2 * int(y.shape[3])]))
        else:
            y = emit("Squeeze", y, integers([1]))
    y = emit("Transpose", y, perm=[1, 0, 2]) if batch_first else y
    return y, *(_joined(state, 0) for state in zip(*final, strict=True))


_KINDS: Final[Mapping[str, tuple[str, Sequence[int], Mapping[str, Any]]]] = {
    "lstm": ("LSTM", (0, 3, 1, 2), {}),
    "gru": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "rnn_tanh": ("RNN", (0,), {}),
    "rnn_relu": ("RNN", (0,), {"activations": ["Relu"]}),
}
"""For each of PyTorch's, the operator, its attributes, and for each gate of ONNX its place in PyTorch: i, f, g, o there
and i, o, f, c here; r, z, n there and z, r, h here."""


@row("portable_nn.recurrent")
def _recurrent(
    use: Use,
    kind: str,
    x: Symbol,
    lengths: Symbol | None,
    descending: bool,
    states: Sequence[Symbol],
    params: Sequence[Symbol],
    *options: Any,
) -> tuple[Symbol, ...]:
    """The outputs that ``padded.recurrent_layers`` makes of a layer; the last option says if the batch comes first."""
    if lengths is not None:
        _state(use, lengths, descending, x.shape[1 if options[-1] else 0])
        lengths = cast(lengths, "int32")
    return _layers(use, kind, x, states, params, *(*options, lengths))


@row("lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input")
def _input(
    use: Use, x: Symbol, states: Symbol | Sequence[Symbol], params: Sequence[Symbol], *options: Any
) -> tuple[Symbol, ...]:
    begin = [states] if isinstance(states, Symbol) else states
    return _layers(use, use.target.split(".")[1], x, begin, params, *options)


def _state(use: Use, lengths: Symbol, descending: bool, steps: Dim) -> None:
    """Say which lengths PyTorch takes: 1 or more, at most the steps, of which one example has all."""

    def make(drawn: Array, size: int) -> Array:
        found = drawn.copy()
        found[:] = [1 + (int(each) + 5 * place) % size for place, each in enumerate(drawn)]
        found[:1] = size
        return np.sort(found)[::-1].copy() if descending else found

    use.state(lengths, make, steps)
