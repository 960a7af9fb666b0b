"""Recurrent layers. The parameters stay as PyTorch has them; nodes bring their gates into the order of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.converters.torch.aten.normalization import dropped
from portable_nn.converters.torch.aten.rows import Refused, Use, row, sliced, unsqueezed
from portable_nn.operators import Symbol, emit, emit_all, integers

_LSTM, _GRU, _RNN = (0, 3, 1, 2), (1, 0, 2), (0,)
"""For each gate of ONNX, its place in PyTorch: i, f, g, o there and i, o, f, c here; r, z, n there and z, r, h here."""


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
    """Whether it is made of zeros, which is what the operators begin with anyway."""
    origin = value.origin
    if origin.operator is None or origin.operator.name != "Expand" or origin.inputs[0] is None:
        return False
    return origin.inputs[0].type.constant == (0,)


def _layers(
    use: Use,
    operator: str,
    order: Sequence[int],
    x: Symbol,
    states: Sequence[Symbol],
    params: Sequence[Symbol],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    **options: Any,
) -> tuple[Symbol, ...]:
    """The states of the last layer in each step, and those of all layers after the last."""
    directions, each = 2 if bidirectional else 1, 4 if has_biases else 2
    if len(params) != num_layers * directions * each:
        raise Refused("a proj_size, which no operator of ONNX has; proj_size=0 and a layer nn.Linear behind it")
    y = emit("Transpose", x, perm=[1, 0, 2]) if batch_first else x
    first = [None if _is_zero(state) else state for state in states]
    final: list[tuple[Symbol, ...]] = []
    for layer in range(num_layers):
        if layer and dropout:
            y = dropped(use, y, dropout, train)
        own = [params[(layer * directions + way) * each :][:each] for way in range(directions)]
        w, r = (_joined([_ordered(order, part[place]) for part in own], 0) for place in range(2))
        biases = [_joined([_ordered(order, part[place]) for place in (2, 3)], 1) for part in own if has_biases]
        begin = [
            state
            if state is None or num_layers == 1
            else sliced(state, 0, layer * directions, (layer + 1) * directions)
            for state in first
        ]
        y, *last = emit_all(
            operator, y, w, r, _joined(biases, 0) if biases else None, None, *begin, outputs=len(states) + 1,
            hidden_size=int(own[0][1].shape[1]), direction="bidirectional" if bidirectional else None, **options,
        )  # fmt: skip
        final.append(tuple(last))
        if bidirectional:
            y = emit("Transpose", y, perm=[0, 2, 1, 3])
            y = emit("Reshape", y, integers([0, 0, 2 * int(y.shape[3])]))
        else:
            y = emit("Squeeze", y, integers([1]))
    y = emit("Transpose", y, perm=[1, 0, 2]) if batch_first else y
    return y, *(_joined(state, 0) for state in zip(*final, strict=True))


@row("lstm.input")
def _lstm(
    use: Use, x: Symbol, hx: Sequence[Symbol], params: Sequence[Symbol], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Symbol, ...]:  # fmt: skip
    return _layers(
        use, "LSTM", _LSTM, x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
    )


@row("gru.input")
def _gru(
    use: Use, x: Symbol, hx: Symbol, params: Sequence[Symbol], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Symbol, ...]:  # fmt: skip
    return _layers(
        use, "GRU", _GRU, x, [hx], params, has_biases, num_layers, dropout, train, bidirectional, batch_first,
        linear_before_reset=1,
    )  # fmt: skip


@row("rnn_tanh.input", "rnn_relu.input")
def _rnn(
    use: Use, x: Symbol, hx: Symbol, params: Sequence[Symbol], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Symbol, ...]:  # fmt: skip
    relu = {"activations": ["Relu"] * (2 if bidirectional else 1)} if "relu" in use.target else {}
    return _layers(
        use, "RNN", _RNN, x, [hx], params, has_biases, num_layers, dropout, train, bidirectional, batch_first, **relu
    )
