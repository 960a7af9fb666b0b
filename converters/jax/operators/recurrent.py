"""RNN, GRU and LSTM as a scan over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from portable_nn.converters.jax.operators.layout import reversed_steps
from portable_nn.converters.jax.operators.table import ROWS, Use, row
from portable_nn.operators import lookup
from portable_nn.operators.recurrent.functions import Function
from portable_nn.operators.recurrent.uses import Recurrence, recurrence

Cell = Callable[[Any, Sequence[Any]], Sequence[Any]]
"""From what the input gives to the gates, and the states, to the new states."""


def _function(use: Use, f: Function) -> Callable[[Any], Any]:
    """An activation function: the row of the operator of its name, or one of the two that are no operators."""
    if f.name == "Affine":
        return lambda x: f.alpha * x + f.beta
    if f.name == "ScaledTanh":
        return lambda x: f.alpha * jnp.tanh(f.beta * x)
    operator = lookup(f.name)
    options = {name: getattr(f, name) for name in ("alpha", "beta") if name in operator.attributes}
    made = ROWS[f.name].compute
    assert made is not None
    return partial(made, Use(operator, use.types[:1], options, use.outs[:1], use.key))


def _activation(use: Use, f: Function, clip: float | None) -> Callable[[Any], Any]:
    """The function of a gate, with its argument clipped before."""
    function = _function(use, f)
    return function if clip is None else lambda x: function(jnp.clip(x, -clip, clip))


def _rnn(use: Use, found: Recurrence, functions: Sequence[Any], r: Any, b: Any, peep: Any) -> Cell:
    [f] = functions

    def step(x: Any, states: Sequence[Any]) -> Sequence[Any]:
        return [f(x + b[0] + b[1] + states[0] @ r.T)]

    return step


def _gru(use: Use, found: Recurrence, functions: Sequence[Any], r: Any, b: Any, peep: Any) -> Cell:
    of_gates, of_state = functions
    hidden, after_product = found.hidden, use.int("linear_before_reset")

    def step(x: Any, states: Sequence[Any]) -> Sequence[Any]:
        [h] = states
        both = of_gates(x[:, : 2 * hidden] + b[0, : 2 * hidden] + b[1, : 2 * hidden] + h @ r[: 2 * hidden].T)
        update, reset = both[:, :hidden], both[:, hidden:]
        new, at = x[:, 2 * hidden :] + b[0, 2 * hidden :], r[2 * hidden :].T
        beside = reset * (h @ at + b[1, 2 * hidden :]) if after_product else (reset * h) @ at + b[1, 2 * hidden :]
        return [(1 - update) * of_state(new + beside) + update * h]

    return step


def _lstm(use: Use, found: Recurrence, functions: Sequence[Any], r: Any, b: Any, peep: Any) -> Cell:
    of_gates, of_cell, of_state = functions
    p = [jnp.zeros((), r.dtype)] * 3 if peep is None else jnp.split(peep, 3)

    def step(x: Any, states: Sequence[Any]) -> Sequence[Any]:
        h, c = states
        i, o, f, g = jnp.split(x + b[0] + b[1] + h @ r.T, 4, axis=-1)
        i = of_gates(i + p[0] * c)
        f = 1 - i if use.int("input_forget") else of_gates(f + p[2] * c)
        c = f * c + i * of_cell(g)
        return [of_gates(o + p[1] * c) * of_state(c), c]

    return step


def _direction(use: Use, found: Recurrence, cell: Any, place: int, x: Any, given: Sequence[Any]) -> Any:
    """One direction over (steps, batch, features): all states h, and the last states."""
    w, r, b, lengths, h, c, peep = given
    functions = [
        _activation(use, f, None if place_of == 2 else found.clip)  # The state c is not clipped, see ``cells``.
        for place_of, f in enumerate(found.functions[place])
    ]
    b = jnp.zeros((2, r.shape[1]), x.dtype) if b is None else b[place].reshape(2, -1)
    step = cell(use, found, functions, r[place], b, None if peep is None else peep[place])
    zeros = jnp.zeros((x.shape[1], found.hidden), x.dtype)
    first = [zeros if each is None else each[place] for each in (h, c)][: found.kind.states]

    def turned(values: Any) -> Any:
        if not found.reversed[place]:
            return values
        if lengths is None:
            return jnp.flip(values, 0)
        return jnp.swapaxes(reversed_steps(jnp.swapaxes(values, 0, 1), lengths), 0, 1)

    def body(states: Any, at: Any) -> Any:
        number, gates = at
        new = tuple(step(gates, states))
        if lengths is None:
            return new, new[0]
        runs = (number < lengths)[:, jnp.newaxis]
        kept = tuple(jnp.where(runs, now, old) for now, old in zip(new, states, strict=True))
        return kept, jnp.where(runs, new[0], 0)

    gates = turned(x) @ w[place].T
    last, y = jax.lax.scan(body, tuple(first), (jnp.arange(x.shape[0]), gates))
    return turned(y), last


@row("RNN", "GRU", "LSTM")
def _recurrent(use: Use, x: Any, w: Any, r: Any, *more: Any) -> Any:
    found = recurrence(use)
    cell = {1: _rnn, 3: _gru, 4: _lstm}[found.kind.gates]
    given: list[Any] = [*more, *[None] * (5 - len(more))]
    b, lengths, h, c, peep = given
    if found.batch_first:
        x, h, c = (each if each is None else jnp.swapaxes(each, 0, 1) for each in (x, h, c))
    sides = [
        _direction(use, found, cell, place, x, (w, r, b, lengths, h, c, peep)) for place in range(found.directions)
    ]
    y = jnp.stack([side for side, _ in sides], 1)
    states = [jnp.stack(each) for each in zip(*(last for _, last in sides), strict=True)]
    if found.batch_first:
        return jnp.transpose(y, (2, 0, 1, 3)), *(jnp.swapaxes(each, 0, 1) for each in states)
    return y, *states
