"""The kernel of the gradients of RNN, LSTM and GRU through time.

What flows back to the arguments of all gates is kept, so that the gradients of the weights, the biases and X are one
product of all steps each.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.operators.base import Array, KernelContext, OperatorContext, Type
from portable_nn.operators.recurrent.cells import BACKWARD, NEW, C, F, Flow, I, O, resets_after
from portable_nn.operators.recurrent.forward import work_type
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
    X,
    name_of,
    recurrence,
    type_of_saved,
)

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
