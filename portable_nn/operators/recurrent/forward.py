"""The kernel of RNN, LSTM and GRU, and of their forms that also keep what the gradient needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from portable_nn.operators.base import Array, KernelContext
from portable_nn.operators.recurrent.cells import FORWARD, NEW, fuses
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
from portable_nn.operators.recurrent.uses import STATE_C, STATE_H, Recurrence, X, name_of, recurrence


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
