"""The cells: what RNN, LSTM and GRU compute in each step, forward and backward.

RNN: Elman, Cognitive Science 14, 1990. LSTM: Hochreiter and Schmidhuber, Neural Computation 9, 1997; peepholes: Gers et
al., JMLR 3, 2002. GRU: Cho et al., EMNLP 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from portable_nn.operators.base import Array
from portable_nn.operators.recurrent.functions import Function
from portable_nn.operators.recurrent.sweep import At, Steps, Sweep


def fuses(s: Sweep) -> bool:
    """True if gates are computed by one tanh, with W, R and the bias halved: sigmoid(x) = (1 + tanh(x / 2)) / 2."""
    return s.use.is_standard and s.use.kind.gates > 1 and s.peepholes is None and not _couples(s)


def _couples(s: Sweep) -> bool:
    return len(s.use.kind.functions) == 3 and bool(s.n.int("input_forget"))


def _half_up(s: Sweep, gates: Array) -> Steps:
    """Of tanh(x / 2), sigmoid(x)."""
    half = s.activator.number(0.5)
    return [partial(np.multiply, gates, half, out=gates), partial(np.add, gates, half, out=gates)]


def _activated(s: Sweep, f: Function, gate: Array, work: Array, t: int, place: int) -> Steps:
    """The activation of one gate in step t, and its derivative where the gradient needs that."""
    slope = s.slope(place)
    return s.activator.steps(f, gate, work, None if slope is None else slope[t])


# -- RNN: h ← f(x·Wᵀ + h·Rᵀ + b)


def rnn(s: Sweep) -> At:
    """One step."""
    product, work = s.work(1), s.work()
    [f] = s.functions

    def at(t: int) -> Steps:
        h, new = s.before(s.h)[t], s.after(s.h)[t]
        return [
            s.product(h, product),
            partial(np.add, s.gates[0, t], product[0], out=new),
            *_activated(s, f, new, work, t, 0),
        ]

    return at


# -- LSTM: i, o, f, g; c ← f·c + i·g; h ← o·h(c)


I, O, F, G, C, H, HC = range(7)  # noqa: E741 - the names of the standard.
"""The places of the values of an LSTM."""


def lstm(s: Sweep) -> At:
    """One step."""
    product, work, both, other = s.work(4), s.work(), s.work(2), s.work()
    of_gates, of_cell, of_state = s.functions
    fused, couples = fuses(s), _couples(s)
    kept = len(s.values) > HC
    one = s.activator.number(1)

    def gates_before_the_cell(t: int) -> Steps:
        gates, c = s.gates[:, t], s.before(C)[t]
        if fused:
            return [partial(np.tanh, gates, out=gates), *_half_up(s, gates[:G])]
        found: Steps = []
        for gate, place in ((I, 0), (F, 2)):
            if gate == F and couples:
                found.append(partial(np.subtract, one, gates[I], out=gates[F]))
                continue
            found += peeped(s, place, c, gates[gate], work)
            found += _activated(s, of_gates, gates[gate], work, t, place)
        return [*found, *_activated(s, of_cell, gates[G], work, t, 3)]

    def at(t: int) -> Steps:
        gates, new, hc = s.gates[:, t], s.after(C)[t], s.before(HC)[t] if kept else other
        found: Steps = [s.product(s.before(H)[t], product), partial(np.add, gates, product, out=gates)]
        found += gates_before_the_cell(t)
        found += [
            # i · g and f · c.
            partial(np.multiply, gates[I : F + 1 : 2], s.values[G : C + 1, s.now][:, t], out=both),
            partial(np.add, both[0], both[1], out=new),
        ]
        if not fused:
            found += peeped(s, 1, new, gates[O], work)
            found += _activated(s, of_gates, gates[O], work, t, 1)
        if fused:
            found.append(partial(np.tanh, new, out=hc))
        else:
            # The clip is that of what comes from products, as in onnxruntime.
            slope = s.slope(4)
            unclipped = s.activator._replace(clip=None)
            found.append(partial(np.copyto, hc, new))
            found += unclipped.steps(of_state, hc, work, None if slope is None else slope[t])
        return [*found, partial(np.multiply, gates[O], hc, out=s.after(H)[t])]

    return at


def peeped(s: Sweep, place: int, seen: Array, into: Array, work: Array) -> Steps:
    """Add what is seen through a peephole: the state c to the argument of a gate, or the gradient of a gate to c."""
    if s.peepholes is None:
        return []
    return [partial(np.multiply, s.peepholes[place], seen, out=work), partial(np.add, into, work, out=into)]


# -- GRU: z, r, g; h ← (1 - z)·g + z·h


Z, RESET, NEW, STATE, BESIDE = range(5)
"""The places of the values of a GRU; the last is h·Rᵀ + b of the new state, which the reset gate is applied to."""


def gru(s: Sweep) -> At:
    """One step."""
    product, work = s.work(3), s.work()
    of_gates, of_state = s.functions
    after_product = bool(s.n.int("linear_before_reset"))
    fused, kept = fuses(s), len(s.values) > BESIDE
    first = slice(None) if after_product else slice(NEW)

    def at(t: int) -> Steps:
        gates, h = s.gates[:, t], s.before(STATE)[t]
        both, new, beside = gates[:NEW], gates[NEW], product[NEW]
        found: Steps = [
            s.product(h, product[first], first),
            partial(np.add, both, product[:NEW], out=both),
        ]
        if fused:
            found += [partial(np.tanh, both, out=both), *_half_up(s, both)]
        else:
            for place in (Z, RESET):
                found += _activated(s, of_gates, gates[place], work, t, place)
        if after_product:
            if s.bias is not None:
                found.append(partial(np.add, beside, s.bias[1, NEW], out=beside))
            if kept:
                found.append(partial(np.copyto, s.before(BESIDE)[t], beside))
            found.append(partial(np.multiply, beside, gates[RESET], out=beside))
        else:
            found += [
                partial(np.multiply, h, gates[RESET], out=work),
                s.product(work, product[NEW:], slice(NEW, None)),
            ]
        return [
            *found,
            partial(np.add, new, beside, out=new),
            *_activated(s, of_state, new, product[Z], t, NEW),
            partial(np.subtract, h, new, out=work),
            partial(np.multiply, work, gates[Z], out=work),
            partial(np.add, work, new, out=s.after(STATE)[t]),
        ]

    return at


FORWARD: Final[Mapping[str, Callable[[Sweep], At]]] = {"RNN": rnn, "GRU": gru, "LSTM": lstm}


@dataclass
class Flow:
    """The gradients that flow back in one direction.

    Args:
        s: the direction.
        gates: to the argument of each gate, (gates, steps, batch, hidden units).
        to_r: the same of the product with R, which differs for a GRU whose reset gate comes after the product.
        r: the rows of R by which that is multiplied.
        h, c: to the states, from later steps and outputs: (batch, hidden units).
        new_h, new_c: where those of the step before are computed: the same arrays, unless some sequences have ended.
    """

    s: Sweep
    gates: Array
    to_r: Array
    r: Array
    h: Array
    c: Array
    new_h: Array
    new_c: Array

    def __post_init__(self) -> None:
        self.product, self.work = self.s.work(len(self.r)), self.s.work()

    def through_r(self, t: int, rows: slice) -> Steps:
        """The gradient that flows from these gates to the state before them."""
        r, flow = self.r[rows], self.to_r[rows, t]
        if self.s.batch == 1:
            return [partial(np.dot, flow.reshape(1, -1), r.reshape(-1, self.s.hidden), self.new_h)]
        product = self.product[: len(r)]
        return [
            partial(np.matmul, flow, r, out=product),
            partial(np.add.reduce, product, axis=0, out=self.new_h),
        ]


def _slopes(s: Sweep, some: slice, known: Array, sigmoids: Array, tanhs: Sequence[Array]) -> Steps:
    """The derivatives of the activation functions: from their values, or those that were kept."""
    kept = [s.slope(index) for index in range(len(sigmoids) + len(tanhs))]
    if kept[0] is not None:
        return [
            partial(np.copyto, out, slope[some]) for out, slope in zip(known, kept, strict=False) if slope is not None
        ]
    found: Steps = []
    if len(sigmoids):
        out = known[: len(sigmoids)]
        found += [partial(np.multiply, sigmoids, sigmoids, out=out), partial(np.subtract, sigmoids, out, out=out)]
    for y, out in zip(tanhs, known[len(sigmoids) :], strict=False):
        found += [partial(np.multiply, y, y, out=out), partial(np.subtract, s.activator.number(1), out, out=out)]
    return found


# -- RNN


# -- LSTM


def _lstm_known(s: Sweep, some: slice, known: Array) -> Steps:
    """The factors of what flows to c for i, f and g, and to h for o; last, what flows from h to c."""
    i, o, _, g, c, _, hc = s.values[: HC + 1, s.now][:, some]
    found = _slopes(s, some, known, s.gates[:G, some], [g, hc])
    if s.n.int("input_forget"):  # f is 1 - i.
        found += [
            partial(np.subtract, g, c, out=known[F]),
            partial(np.multiply, known[I], known[F], out=known[I]),
            partial(known[F].fill, 0),
        ]
    else:
        found += [partial(np.multiply, known[I], g, out=known[I]), partial(np.multiply, known[F], c, out=known[F])]
    return [
        *found,
        partial(np.multiply, known[O], hc, out=known[O]),
        partial(np.multiply, known[G], i, out=known[G]),
        partial(np.multiply, known[C], o, out=known[C]),
    ]


def _lstm_step(flow: Flow, t: int, known: Array) -> Steps:
    s, gates, work, c = flow.s, flow.gates[:, t], flow.work, flow.new_c
    found: Steps = [
        partial(np.multiply, flow.h, known[O], out=gates[O]),
        partial(np.multiply, flow.h, known[C], out=work),
        partial(np.add, flow.c, work, out=c),
        *peeped(s, 1, gates[O], c, work),
        partial(np.multiply, c, known[I], out=gates[I]),
        partial(np.multiply, c, known[F : G + 1], out=gates[F:]),
        partial(np.multiply, c, s.gates[F, t], out=c),
    ]
    return [*found, *peeped(s, 0, gates[I], c, work), *peeped(s, 2, gates[F], c, work)]


# -- GRU


def _gru_known(s: Sweep, some: slice, known: Array) -> Steps:
    """The factors of what flows to h for z and the new state; for r, that of what flows to the new state's argument
    or, where the reset gate comes before the product, to r·h.
    """
    z, _, new, h = s.values[: STATE + 1, s.now][:, some]
    work = known[NEW + 1]
    return [
        *_slopes(s, some, known, s.gates[:NEW, some], [new]),
        partial(np.subtract, h, new, out=work),
        partial(np.multiply, known[Z], work, out=known[Z]),
        partial(np.subtract, s.activator.number(1), z, out=work),
        partial(np.multiply, known[NEW], work, out=known[NEW]),
        partial(np.multiply, known[RESET], s.before(BESIDE)[some] if resets_after(s) else h, out=known[RESET]),
    ]


def resets_after(s: Sweep) -> bool:
    """True if it is a GRU whose reset gate comes after the product with R."""
    return "linear_before_reset" in s.n.operator.attributes and bool(s.n.int("linear_before_reset"))


def _gru_step(flow: Flow, t: int, known: Array) -> Steps:
    s, gates, work = flow.s, flow.gates[:, t], flow.work
    z, r = s.gates[:NEW, t]
    found: Steps = [
        partial(np.multiply, flow.h, known[Z], out=gates[Z]),
        partial(np.multiply, flow.h, known[NEW], out=gates[NEW]),
    ]
    if resets_after(s):
        return [
            *found,
            partial(np.multiply, gates[NEW], known[RESET], out=gates[RESET]),
            partial(np.multiply, gates[NEW], r, out=flow.to_r[0, t]),
            partial(np.multiply, flow.h, z, out=work),
        ]
    reset = flow.product[NEW]
    return [
        *found,
        partial(np.matmul, gates[NEW], flow.r[NEW], out=reset),
        partial(np.multiply, reset, known[RESET], out=gates[RESET]),
        partial(np.multiply, flow.h, z, out=work),
        partial(np.multiply, reset, r, out=reset),
        partial(np.add, work, reset, out=work),
    ]


class Cell(NamedTuple):
    """One operator backward.

    ``known`` makes the steps that compute ``factors`` values of some steps before; ``step`` those of what flows back to
    the gates in one step, and to the state c. What then flows to h through the first ``rows`` gates is added to the
    work array where the cell ``adds`` to it.
    """

    factors: int
    known: Callable[[Sweep, slice, Array], Steps]
    step: Callable[[Flow, int, Array], Steps]
    adds: bool = False


BACKWARD: Final[Mapping[str, Cell]] = {
    "RNN": Cell(
        1,
        lambda s, some, known: _slopes(s, some, known, known[:0], [s.after(s.h)[some]]),
        lambda flow, t, known: [partial(np.multiply, flow.h, known[0], out=flow.gates[0, t])],
    ),
    "GRU": Cell(4, _gru_known, _gru_step, adds=True),
    "LSTM": Cell(5, _lstm_known, _lstm_step),
}
