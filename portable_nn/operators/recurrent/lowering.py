"""Recurrent operators in other operators of the standard, step by step: for sequences of a known length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from portable_nn.core.errors import Fault, GraphError
from portable_nn.operators.base import (
    OperatorContext,
    Symbol,
    constant,
    emit,
    emit_all,
    integers,
    lookup,
    sizes,
)
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.recurrent.functions import Function, activated
from portable_nn.operators.recurrent.uses import Recurrence, recurrence

States = tuple[Symbol, ...]
"""h, and c of an LSTM, each (batch, hidden units)."""


class One(NamedTuple):
    """One direction: the transposed R of each gate, biases by gate (``None`` where there are none), and options."""

    use: Recurrence
    functions: Sequence[Function]
    r: Sequence[Symbol]
    bias: Sequence[Symbol] | None
    peepholes: Sequence[Symbol] | None
    option: bool

    def activated(self, place: int, x: Symbol) -> Symbol:
        """An activation function, with the clip of its argument."""
        return activated(self.functions[place], x, self.use.clip)

    def through(self, h: Symbol, gate: int) -> Symbol:
        """The product of a state with R, and its bias."""
        product = h @ self.r[gate]
        return product if self.bias is None else product + self.bias[gate]


def _gru(one: One, x: Sequence[Symbol], states: States) -> States:
    [h] = states
    z, r = (one.activated(0, x[gate] + one.through(h, gate)) for gate in (0, 1))
    beside = r * one.through(h, 2) if one.option else one.through(r * h, 2)
    new = one.activated(1, x[2] + beside)
    return ((1 - z) * new + z * h,)


def _lstm(one: One, x: Sequence[Symbol], states: States) -> States:
    h, c = states

    def gate(place: int, function: int = 0, seen: Symbol | None = None) -> Symbol:
        found = x[place] + one.through(h, place)
        if one.peepholes is not None and seen is not None:
            found = found + one.peepholes[place] * seen
        return one.activated(function, found)

    i = gate(0, seen=c)
    f = 1 - i if one.option else gate(2, seen=c)
    new = f * c + i * gate(3, 1)
    return gate(1, seen=new) * activated(one.functions[2], new, None), new


_CELLS: Final[Mapping[str, tuple[Callable[[One, Sequence[Symbol], States], States], str]]] = {
    "RNN": (lambda one, x, states: (one.activated(0, x[0] + one.through(states[0], 0)),), ""),
    "GRU": (_gru, "linear_before_reset"),
    "LSTM": (_lstm, "input_forget"),
}
"""One step of each operator, and its own option."""


def _parts(x: Symbol, count: int, axis: int) -> list[Symbol]:
    """Equal parts along an axis."""
    return [x] if count == 1 else [*emit_all("Split", x, outputs=count, axis=axis, num_outputs=count)]


def _each(x: Symbol, axis: int = 0) -> list[Symbol]:
    """The elements along an axis of known size."""
    size = x.shape[axis]
    assert isinstance(size, int)
    return [emit("Squeeze", part, integers([axis])) for part in _parts(x, size, axis)]


def _stacked(parts: Sequence[Symbol], axis: int) -> Symbol:
    wide = [emit("Unsqueeze", part, integers([axis])) for part in parts]
    return wide[0] if len(wide) == 1 else emit("Concat", *wide, axis=axis)


def lowered(name: str, *inputs: Symbol | None, saved: bool = False, **attributes: Any) -> list[Symbol]:
    """The outputs of RNN, GRU or LSTM. Raises ``GraphError`` where the number of steps is not known."""
    x, w, r, b, lengths, h, c, p = [*inputs, *[None] * 8][:8]
    types = [value.type if value is not None else None for value in inputs]
    context = OperatorContext(lookup(name), types, attributes)
    use, (cell, option) = recurrence(context), _CELLS[name]
    if not isinstance(use.steps, int) or use.steps < 1:
        raise GraphError(
            [Fault(name, f"other operators can express it for a known number of steps only, not {use.steps}")]
        )
    assert x is not None
    assert w is not None
    assert r is not None
    if use.batch_first:
        x = emit("Transpose", x, perm=[1, 0, 2])
        h, c = (state and emit("Transpose", state, perm=[1, 0, 2]) for state in (h, c))
    outputs: list[Sequence[Symbol]] = []
    directions = range(use.directions)
    each = [_each(value) if value is not None else [None] * use.directions for value in (w, r, b, p, h, c)]
    for direction in directions:
        weights, rows, bias, peepholes, *given = (values[direction] for values in each)
        assert weights is not None
        assert rows is not None
        one, x_bias = _one(use, direction, rows, bias, peepholes, bool(option and context.int(option)))
        flow = x @ emit("Transpose", weights, perm=[1, 0])
        flow = flow if x_bias is None else flow + x_bias
        zeros = emit("Expand", constant(0, x.dtype), emit("Concat", sizes(x, [1]), integers([use.hidden]), axis=0))
        start = tuple(zeros if state is None else state for state in given[: use.kind.states])
        outputs.append(_run(cell, one, flow, start, lengths, backwards=use.reversed[direction]))
    # What is kept for the gradient is read by no operator of the standard.
    return [*_joined(use, outputs), *[constant(0, "float32")] * saved]


def _one(
    use: Recurrence, direction: int, rows: Symbol, bias: Symbol | None, peepholes: Symbol | None, option: bool
) -> tuple[One, Symbol | None]:
    """One direction, and the bias of W."""
    gates = use.kind.gates
    r = _parts(emit("Transpose", rows, perm=[1, 0]), gates, 1)
    x_bias, r_bias = (None, None) if bias is None else _parts(bias, 2, 0)
    by_gate = None if r_bias is None else _parts(r_bias, gates, 0)
    by_peephole = None if peepholes is None else _parts(peepholes, 3, 0)
    return One(use, use.functions[direction], r, by_gate, by_peephole, option), x_bias


def _run(
    cell: Callable[[One, Sequence[Symbol], States], States],
    one: One,
    flow: Symbol,
    states: States,
    lengths: Symbol | None,
    *,
    backwards: bool,
) -> Sequence[Symbol]:
    """The states h of all steps, (steps, batch, hidden units), and all states after the last."""
    made = dict[int, Symbol]()
    places = list(enumerate(_each(flow)))
    zero = constant(0, flow.dtype)
    for t, x in reversed(places) if backwards else places:
        new = cell(one, _parts(x, one.use.kind.gates, 1), states)
        made[t] = new[0]
        if lengths is not None:
            runs = emit("Unsqueeze", emit("Less", constant(t, "int32"), lengths), integers([1]))
            made[t] = emit("Where", runs, new[0], zero)
            new = tuple(emit("Where", runs, *pair) for pair in zip(new, states, strict=True))
        states = new
    return [_stacked([made[t] for t in sorted(made)], 0), *states]


def _joined(use: Recurrence, outputs: Sequence[Sequence[Symbol]]) -> list[Symbol]:
    """The outputs of all directions together, laid out as the node says."""
    whole, *states = zip(*outputs, strict=True)
    y = _stacked(whole, 1)
    if use.batch_first:
        y = emit("Transpose", y, perm=[2, 0, 1, 3])
    return [y, *(_stacked(state, 1 if use.batch_first else 0) for state in states)]


def gradient_lowered(name: str, *inputs: Symbol | None, **attributes: Any) -> list[Symbol]:
    """The gradients of all inputs: those of the operator in other operators. Raises ``GraphError`` where it cannot."""
    if attributes.pop("truncation", 0):
        raise GraphError([Fault(f"{name}Grad", "other operators cannot express a truncation of what flows back")])
    given, flows = inputs[:8], [*inputs, *[None] * 4][9:12]
    copies = [emit("Identity", value) if value is not None else None for value in given]
    outputs = lowered(name, *copies, **attributes)
    reached = [(y, flow) for y, flow in zip(outputs, flows, strict=False) if flow is not None]
    wanted = {index: value for index, value in enumerate(copies) if value is not None and index != 4}
    found = gradients([y for y, _ in reached], [flow for _, flow in reached], list(wanted.values()))
    made = dict(zip(wanted, found, strict=True))
    assert inputs[0] is not None
    nothing = constant([], inputs[0].dtype)
    result = []
    for index in (0, 1, 2, 3, 5, 6, 7):
        value = wanted.get(index)
        gradient = made.get(index)
        if value is not None and gradient is None:
            gradient = emit("Expand", constant(0, value.dtype), sizes(value))
        result.append(nothing if gradient is None else gradient)
    return result
