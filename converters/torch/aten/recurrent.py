"""Recurrent layers. The parameters stay as PyTorch has them; nodes bring their gates into the order of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from portable_nn.converters.layers.gates import OPERATORS, TORCH
from portable_nn.converters.torch.aten.normalization import dropped
from portable_nn.converters.torch.aten.rows import Use, filled, row, shape_of, size_along, sliced
from portable_nn.core.graph import Dim
from portable_nn.operators import Array, Symbol, cast, emit, emit_all, integers, squeezed, unsqueezed


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


class Options(NamedTuple):
    """The options of PyTorch's operators, in their order."""

    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool


def _layers(
    use: Use, kind: str, x: Symbol, states: Sequence[Symbol], params: Sequence[Symbol], options: Options,
    lengths: Symbol | None = None,
) -> tuple[Symbol, ...]:  # fmt: skip
    """The states of the last layer in each step, and those of all layers after the last."""
    last = list[Sequence[Symbol]]()
    ways = 2 if options.bidirectional else 1
    each = len(params) // (options.num_layers * ways)
    y = emit("Transpose", x, perm=[1, 0, 2]) if options.batch_first else x
    first = [None if _is_zero(state) else state for state in states]
    for start in range(0, options.num_layers * ways, ways):
        if start and options.dropout:
            y = dropped(use, y, options.dropout, options.train)
        own = [params[way * each :][:each] for way in range(start, start + ways)]
        begin = first
        if options.num_layers > 1:
            begin = [state and sliced(state, 0, start, start + ways) for state in first]
        y, *after = _layer(kind, y, own, begin, lengths)
        last.append(after)
        if options.bidirectional:
            y = emit("Transpose", y, perm=[0, 2, 1, 3])
            y = emit("Reshape", y, integers([0, 0, 2 * int(y.shape[3])]))
        else:
            y = squeezed(y, 1)
    y = emit("Transpose", y, perm=[1, 0, 2]) if options.batch_first else y
    return y, *(_joined(state, 0) for state in zip(*last, strict=True))


def _layer(
    kind: str, x: Symbol, own: Sequence[Sequence[Symbol]], begin: Sequence[Symbol | None], lengths: Symbol | None
) -> tuple[Symbol, ...]:
    """One layer, in one direction or both: W_ih and W_hh of each, its biases if it has any, and what projects h."""
    operator, more = TORCH[kind]
    order = OPERATORS[operator].places(OPERATORS[operator].torch)
    w = _joined([_ordered(order, part[0]) for part in own], 0)
    recurrent = [_ordered(order, part[1]) for part in own]
    biases = [_joined([_ordered(order, bias) for bias in part[2:4]], 1) for part in own if len(part) > 3]
    is_projected = len(own[0]) % 2 == 1
    if is_projected and begin[0] is not None:
        x, w = _with_first_state(x, w, begin[0], recurrent)
        begin = [begin[1] and filled(0, shape_of(begin[1]), begin[1].dtype), *begin[1:]]
    if is_projected:
        recurrent = [r @ part[-1] for r, part in zip(recurrent, own, strict=True)]
    options: dict[str, Any] = {name: each * len(own) if isinstance(each, list) else each for name, each in more.items()}
    y, *last = emit_all(
        operator, x, w, _joined(recurrent, 0), _joined(biases, 0) if biases else None, lengths, *begin,
        outputs=len(begin) + 1, hidden_size=int(recurrent[0].shape[2]),
        direction="bidirectional" if len(own) == 2 else None, **options,
    )  # fmt: skip
    if not is_projected:
        return y, *last
    down = _joined([unsqueezed(emit("Transpose", part[-1], perm=[1, 0]), 0) for part in own], 0)
    return y @ down, last[0] @ down, *last[1:]


@row("portable_nn.recurrent")
def _recurrent(
    use: Use, kind: str, x: Symbol, lengths: Symbol | None, descending: bool, states: Sequence[Symbol],
    params: Sequence[Symbol], *options: Any,
) -> tuple[Symbol, ...]:  # fmt: skip
    """The outputs that ``padded.recurrent_layers`` makes of a layer."""
    found = Options(*options)
    if lengths is not None:
        _state(use, lengths, descending, x.shape[1 if found.batch_first else 0])
        lengths = cast(lengths, "int32")
    return _layers(use, kind, x, states, params, found, lengths)


@row(*(f"{kind}.input" for kind in TORCH))
def _input(
    use: Use, x: Symbol, states: Symbol | Sequence[Symbol], params: Sequence[Symbol], *options: Any
) -> tuple[Symbol, ...]:
    begin = [states] if isinstance(states, Symbol) else states
    return _layers(use, use.target.split(".")[1], x, begin, params, Options(*options))


def _state(use: Use, lengths: Symbol, descending: bool, steps: Dim) -> None:
    """Say which lengths PyTorch takes: 1 or more, at most the steps, of which one example has all."""

    def make(drawn: Array, size: int) -> Array:
        found = drawn.copy()
        found[:] = [1 + (int(each) + 5 * place) % size for place, each in enumerate(drawn)]
        found[:1] = size
        return np.sort(found)[::-1].copy() if descending else found

    use.state(lengths, make, steps)
