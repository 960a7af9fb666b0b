"""The kernels of RNN, LSTM and GRU, of their forms that also keep what the gradient needs, and of the gradients.

Of these, what flows back to the arguments of all gates is kept, so that those of the weights, the biases and X are one
product of all steps each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.operators.base import Array, KernelContext, OperatorContext, Type
from portable_nn.operators.recurrent.cells import BACKWARD, FORWARD, NEW, C, F, Flow, I, O, fuses, resets_after
from portable_nn.operators.recurrent.sweep import (
    Steps,
    Sweep,
    directions_first,
    idle_steps,
    memory,
    over_time,
    sweep,
    time_first,
    with_ones,
)
from portable_nn.operators.recurrent.uses import (
    FLOW_C,
    FLOW_H,
    FLOW_Y,
    LENGTHS,
    SAVED,
    STATE_C,
    STATE_H,
    Recurrence,
    X,
    name_of,
    recurrence,
    type_of_saved,
)


def work_type(n: KernelContext) -> np.dtype[Any]:
    """The type that a node is computed in: BLAS has no half precision."""
    return np.dtype(np.float32) if n.x[X].dtype == np.float16 else n.x[X].dtype


def run_forward(n: KernelContext) -> Steps:
    """All directions one after the other; with an output for what the gradient needs, that is kept."""
    use, dtype, steps = recurrence(n), work_type(n), list[Any]()
    saved = _saved(n, use)
    x = with_ones(n, use, dtype, steps)
    idle = idle_steps(n, use, steps)
    outputs = [n.out(index) if n.is_read(index) else None for index in range(use.kind.states + 1)]
    for direction in range(use.directions):
        values = memory(n, use, use.kind.slots, dtype) if saved is None else saved[direction]
        one = sweep(n, use, direction, values, idle, steps)
        steps += [
            *_inputs(one, x),
            *_states(one, direction),
            *over_time(one.order, _kept(one, FORWARD[name_of(n)](one))),
            *_results(one, direction, outputs),
        ]
    return steps


def _saved(n: KernelContext, use: Recurrence) -> Array | None:
    place = use.kind.states + 1
    if n.output_count <= place:
        return None
    order = (0, 2, 1, 3, 4) if use.batch == 1 else None
    return n.out(place, order=order)


def _kept(s: Sweep, at: Any) -> Any:
    return at if s.idle is None else lambda t: [*at(t), *s.kept_where_idle(t)]


def _inputs(s: Sweep, x: Array) -> Steps:
    """The product of the inputs of all steps with W, and the bias, where the gates will be."""
    (gates, hidden, features), batch = s.w.shape, s.batch
    factors = np.ones((gates, 1, 1), s.dtype)
    if fuses(s):
        factors[: gates - 1] = 0.5
    if batch == 1:  # All gates as one matrix.
        rows = s.n.scratch((features + 1, gates, hidden), s.dtype)
        by_gate, out = rows.swapaxes(0, 1), s.gates.swapaxes(0, 1).reshape(s.steps, gates * hidden)
        product = partial(np.matmul, x, rows.reshape(features + 1, gates * hidden), out=out)
    else:
        by_gate = rows = s.n.scratch((gates, features + 1, hidden), s.dtype)
        product = partial(np.matmul, x, rows, out=s.gates.reshape(gates, s.steps * batch, hidden))
    return [
        *s.ready_r(factors),
        partial(np.multiply, s.w.swapaxes(1, 2), factors, out=by_gate[:, :features]),
        *_bias(s, by_gate[:, features], factors[:, 0]),
        product,
    ]


def _bias(s: Sweep, out: Array, factors: Array) -> Steps:
    """Both biases, but for that of R which the reset gate of a GRU is applied to."""
    if s.bias is None:
        return [partial(out.fill, 0)]
    steps: Steps = [partial(np.add, s.bias[0], s.bias[1], out=out)]
    if "linear_before_reset" in s.n.operator.attributes and s.n.int("linear_before_reset"):
        steps.append(partial(np.copyto, out[NEW], s.bias[0, NEW]))
    return [*steps, partial(np.multiply, out, factors, out=out)]


def _states(s: Sweep, direction: int) -> Steps:
    """The states before the first step: those given, or zeros."""
    steps: Steps = []
    for index, place in _places(s):
        target = s.values[place, s.first]
        if s.n.has(index):
            source = directions_first(s.n.x[index], s.use)[direction]
            steps.append(partial(np.copyto, target, source))
        else:
            steps.append(partial(target.fill, 0))
    return steps


def _places(s: Sweep) -> list[tuple[int, int]]:
    """The inputs that are states, and their places among the values."""
    return [(STATE_H, s.h), (STATE_C, s.h - 1)][: s.use.kind.states]


def _results(s: Sweep, direction: int, outputs: Sequence[Array | None]) -> Steps:
    """The states of all steps, 0 where a sequence has ended, and those after the last one."""
    steps, (whole, *finals) = list[Any](), outputs
    if whole is not None:
        y = time_first(whole, s.use)[:, direction]
        steps.append(partial(np.copyto, y, s.after(s.h), casting="same_kind"))
        if s.idle is not None:
            steps.append(partial(np.copyto, y, 0, where=s.idle))
    for (_, place), out in zip(_places(s), finals, strict=True):
        if out is not None:
            final = directions_first(out, s.use)[direction]
            steps.append(partial(np.copyto, final, s.values[place, s.last], casting="same_kind"))
    return steps


TOGETHER: Final = 2**14
"""Elements of a value for which what is known before is computed at once: they stay in the cache."""

DX, DW, DR, DB, DH, DC, DP = range(7)
"""The outputs."""

_INPUTS: Final = [index for index in range(SAVED) if index != LENGTHS]
"""The inputs that have a gradient, in the order of the outputs."""


def types_of_gradients(use: OperatorContext) -> tuple[Type, ...]:
    """Those of the inputs; nothing for one that is absent."""
    recurrence(use)
    use.expect(SAVED, type_of_saved(use))
    return tuple(use.like(use.type(index).shape if use.has(index) else (0,)) for index in _INPUTS)


def run_backward(n: KernelContext) -> Steps:
    """All directions one after the other."""
    use, dtype, steps = recurrence(n), work_type(n), list[Any]()
    wanted = {place: n.out(place) for place, index in enumerate(_INPUTS) if n.has(index) and n.is_read(place)}
    x = with_ones(n, use, dtype, steps) if {DW, DB} & wanted.keys() else None
    idle = idle_steps(n, use, steps)
    shape = time_first(n.x[X], use).shape
    to_x = n.scratch((shape[0] * shape[1], shape[2]), dtype) if DX in wanted else None
    for direction in range(use.directions):
        s = sweep(n, use, direction, n.x[SAVED][direction], idle, steps)
        flow = _flow(s, steps)
        steps += [*_starts(flow, direction), *_through_time(flow, direction)]
        steps += _to_weights(
            flow, x, {place: out[direction] for place, out in wanted.items() if place in (DW, DR, DB, DP)}
        )
        if to_x is not None:
            steps += _to_inputs(flow, to_x, first=direction == 0)
        for place, found in ((DH, flow.h), (DC, flow.c)):
            if place in wanted:
                target = directions_first(wanted[place], use)[direction]
                steps.append(partial(np.copyto, target, found, casting="same_kind"))
    if to_x is not None:
        steps.append(partial(np.copyto, time_first(wanted[DX], use), to_x.reshape(shape), casting="same_kind"))
    return steps


def _flow(s: Sweep, steps: Steps) -> Flow:
    """The arrays of one direction."""
    gates, after = s.use.kind.gates, resets_after(s)
    kept = memory(s.n, s.use, gates + after, s.dtype)[:, : s.steps]
    r = s.r
    if after:  # What flows to the product of R with the new state comes first, then what both sides have.
        r = s.n.scratch(s.r.shape, s.dtype)
        steps += [partial(np.copyto, r[0], s.r[NEW]), partial(np.copyto, r[1:], s.r[:NEW])]
    h, c = s.work(), s.work()
    new_h, new_c = (h, c) if s.idle is None else (s.work(), s.work())
    return Flow(s, kept[after:], kept[:gates], r, h, c, new_h, new_c)


def _starts(flow: Flow, direction: int) -> Steps:
    """The gradient that flows back from the states after the last step."""
    n, use = flow.s.n, flow.s.use
    return [
        partial(np.copyto, target, directions_first(n.x[index], use)[direction])
        if n.has(index)
        else partial(target.fill, 0)
        for index, target in ((FLOW_H, flow.h), (FLOW_C, flow.c))
    ]


def _through_time(flow: Flow, direction: int) -> Steps:
    """All steps, the last one first."""
    s, cell, truncation = flow.s, BACKWARD[name_of(flow.s.n)], flow.s.n.int("truncation")
    some = max(1, min(s.steps, TOGETHER // max(1, s.batch * s.hidden)))
    known = s.n.scratch((cell.factors, some, s.batch, s.hidden), s.dtype)
    y = time_first(s.n.x[FLOW_Y], s.use)[:, direction] if s.n.has(FLOW_Y) else None
    live: Array | None = None
    before: Steps = []
    if s.idle is not None:
        live = s.n.scratch(s.idle.shape, np.bool_)
        before.append(partial(np.logical_not, s.idle, out=live))

    def at(t: int) -> Steps:
        back = t if s.backwards else s.steps - 1 - t
        first = back - back % some
        low = first if s.backwards else max(0, s.steps - first - some)
        high = min(s.steps, first + some) if s.backwards else s.steps - first
        found = cell.known(s, slice(low, high), known[:, : high - low]) if back == first else []
        only = {} if live is None else {"where": live[t]}
        if y is not None:
            found.append(partial(np.add, flow.h, y[t], out=flow.h, **only))
        found += cell.step(flow, t, known[:, t - low])
        if s.idle is not None:
            found += [partial(np.copyto, gates[:, t], 0, where=s.idle[t]) for gates in (flow.gates, flow.to_r)]
        found += _to_state(flow, t)
        if live is not None:
            pairs = ((flow.h, flow.new_h), (flow.c, flow.new_c))
            found += [partial(np.copyto, old, new, where=live[t]) for old, new in pairs]
        done = s.steps - 1 - back
        if truncation and done and done % truncation == 0:
            found += [partial(np.copyto, flowing, 0, **only) for flowing in (flow.h, flow.c)]
        return found

    return [*before, *over_time(s.order[::-1], at)]


def _to_state(flow: Flow, t: int) -> Steps:
    """The gradient that flows to h before a step."""
    adds = BACKWARD[name_of(flow.s.n)].adds
    rows = slice(NEW) if adds and not resets_after(flow.s) else slice(None)
    found = flow.through_r(t, rows)
    return [*found, partial(np.add, flow.new_h, flow.work, out=flow.new_h)] if adds else found


def _flat(array: Array) -> Array:
    """(…, steps, batch, hidden units) with steps and batch as one axis: a view."""
    return array.reshape(*array.shape[:-3], array.shape[-3] * array.shape[-2], array.shape[-1])


def _by_gate(flow: Array, values: Array, out: Array) -> Steps:
    """The products of what flows to some gates, (gates, n, hidden units), with (n, …), summed over n: one for each."""
    return [partial(np.matmul, gate.T, values, out=part) for gate, part in zip(flow, out, strict=True)]


def _to_weights(flow: Flow, x: Array | None, out: dict[int, Array]) -> Steps:
    """The gradients of W, R, B and P, each summed over all steps."""
    s, gates, hidden = flow.s, len(flow.gates), flow.s.hidden
    to_r, h, steps = _flat(flow.to_r), _flat(s.before(s.h)), list[Any]()
    if x is not None:
        both = s.n.scratch((gates, hidden, x.shape[1]), s.dtype)
        steps += _by_gate(_flat(flow.gates), x, both)
        if DW in out:
            weights = out[DW].reshape(gates, hidden, x.shape[1] - 1)
            steps.append(partial(np.copyto, weights, both[..., :-1], casting="same_kind"))
        if DB in out:
            bias = out[DB].reshape(2, gates, hidden)
            steps.append(partial(np.copyto, bias, both[..., -1], casting="same_kind"))
            if resets_after(s):
                steps.append(partial(np.add.reduce, to_r[0], axis=0, out=bias[1, NEW]))
    if DR in out:
        steps += _to_r(flow, to_r, h, out[DR].reshape(gates, hidden, hidden))
    if DP in out:
        peepholes, work = out[DP].reshape(3, hidden), s.n.scratch(s.gates.shape[1:], s.dtype)
        for place, (gate, state) in enumerate(((I, s.before(C)), (O, s.after(C)), (F, s.before(C)))):
            steps += [
                partial(np.multiply, flow.gates[gate], state, out=work),
                partial(np.add.reduce, work, axis=(0, 1), out=peepholes[place]),
            ]
    return steps


def _to_r(flow: Flow, to_r: Array, h: Array, out: Array) -> Steps:
    """The gradient of R; of a GRU the gate of the new state apart, whose product is one of other things."""
    s = flow.s
    if not BACKWARD[name_of(s.n)].adds:
        return _by_gate(to_r, h, out)
    if resets_after(s):
        return [*_by_gate(to_r[1:], h, out[:NEW]), *_by_gate(to_r[:1], h, out[NEW:])]
    reset = s.n.scratch(s.gates.shape[1:], s.dtype)
    return [
        *_by_gate(to_r[:NEW], h, out[:NEW]),
        partial(np.multiply, s.before(s.h), s.gates[1], out=reset),
        *_by_gate(to_r[NEW:], _flat(reset), out[NEW:]),
    ]


def _to_inputs(flow: Flow, out: Array, *, first: bool) -> Steps:
    """The gradient that flows to X, (steps · batch, features), and is added to ``out``, or starts it."""
    part, steps = flow.s.n.scratch(out.shape, out.dtype), list[Any]()
    for gate, w in zip(_flat(flow.gates), flow.s.w, strict=True):
        steps.append(partial(np.matmul, gate, w, out=out if first else part))
        if not first:
            steps.append(partial(np.add, out, part, out=out))
        first = False
    return steps
