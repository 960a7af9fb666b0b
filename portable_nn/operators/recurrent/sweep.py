"""One direction of a recurrent operator as the kernels see it: its weights, and the values of all steps in memory.

The inputs of all steps are multiplied at once, by each gate's rows of W, and the products lie where the gates will be.
So a step is one product of the state before it with R, an addition, and what its cell computes in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.operators.base import Array, KernelContext, Step
from portable_nn.operators.recurrent.functions import Activator, Function
from portable_nn.operators.recurrent.uses import LENGTHS, B, P, R, Recurrence, W, X, check_lengths

Steps = list[Step]
At = Callable[[int], Steps]
"""The numpy calls of one step of time."""

UNROLLED: Final = 4096
"""Steps of time up to which their numpy calls are made once; those of longer sequences are made as they are run."""


def over_time(order: Sequence[int], at: At) -> Steps:
    """The calls of all steps in their order."""
    if len(order) <= UNROLLED:
        return [call for t in order for call in at(t)]

    def run() -> None:
        for t in order:
            for call in at(t):
                call()

    return [run]


@dataclass
class Sweep:
    """One direction.

    Args:
        n: the context of the kernel.
        use: the sizes and options of the node.
        backwards: whether the steps are taken from the last to the first.
        functions: its activation functions.
        values: (values, steps + 1, batch, hidden units): the gates of each step, states before and after it, and more.
        w, r: the rows of each gate: (gates, hidden units, features or hidden units).
        bias: that of W and that of R, (2, gates, hidden units), if there is one.
        peepholes: (3, hidden units), if there are some: of the input, output and forget gate.
        idle: (steps, batch, 1), whether a sequence has ended before each step, if the sequences have lengths.
    """

    n: KernelContext
    use: Recurrence
    backwards: bool
    functions: tuple[Function, ...]
    values: Array
    w: Array
    r: Array
    bias: Array | None
    peepholes: Array | None
    idle: Array | None

    def __post_init__(self) -> None:
        steps = self.values.shape[1] - 1
        self.now, self.then = slice(0, steps), slice(1, steps + 1)
        self.order: Sequence[int] = range(steps)
        self.first, self.last = 0, steps
        if self.backwards:
            self.now, self.then = self.then, self.now
            self.order = self.order[::-1]
            self.first, self.last = steps, 0
        self.dtype: np.dtype[Any] = self.values.dtype
        self.steps: int = steps
        self.batch: int = self.values.shape[2]
        self.hidden: int = self.values.shape[3]
        self.gates: Array = self.values[: self.use.kind.gates, self.now]
        self.by_r = self.r
        self.activator = Activator.of(self.n, self.dtype, self.use.clip)

    def before(self, place: int) -> Array:
        """A value before each step: (steps, batch, hidden units)."""
        return self.values[place, self.now]

    def after(self, place: int) -> Array:
        """A state after each step."""
        return self.values[place, self.then]

    @property
    def h(self) -> int:
        """The place of the state h."""
        return self.use.kind.h

    def slope(self, index: int) -> Array | None:
        """The array for the derivatives of an activation, (steps, batch, hidden units), if they are needed."""
        place = self.use.kind.values + index
        return self.before(place) if place < len(self.values) else None

    def work(self, *lead: int) -> Array:
        """Work memory of (…, batch, hidden units)."""
        return self.n.scratch((*lead, self.batch, self.hidden), self.dtype)

    def product(self, state: Array, out: Array, rows: slice = slice(None)) -> Step:
        """The product of a state with these gates' rows of R, (gates, batch, hidden units)."""
        r = self.by_r[rows]
        if self.batch == 1:
            return partial(np.dot, state, r.reshape(-1, self.hidden).T, out.reshape(1, -1))
        return partial(np.matmul, state, r, out=out)

    def ready_r(self, factors: Array) -> Steps:
        """R times a factor for each gate, laid out as BLAS multiplies a state by it fastest."""
        if self.batch == 1:
            self.by_r = self.n.scratch(self.r.shape, self.dtype)
            return [partial(np.multiply, self.r, factors, out=self.by_r)]
        self.by_r = self.n.scratch(self.r.shape, self.dtype)
        return [partial(np.multiply, self.r.swapaxes(1, 2), factors, out=self.by_r)]

    def kept_where_idle(self, t: int) -> Steps:
        """Keep the states of a sequence that has ended as they are."""
        if self.idle is None:
            return []
        states = range(self.use.kind.gates, self.use.kind.slots)
        return [partial(np.copyto, self.after(place)[t], self.before(place)[t], where=self.idle[t]) for place in states]


def memory(n: KernelContext, use: Recurrence, values: int, dtype: Any) -> Array:
    """Work memory for the values of all steps of one direction.

    In a batch of one the values of a step lie together, so that their product is that of one matrix and one vector.
    """
    steps, batch = _number(use.steps), _number(use.batch)
    if batch == 1:
        return n.scratch((steps + 1, values, batch, use.hidden), dtype).swapaxes(0, 1)
    return n.scratch((values, steps + 1, batch, use.hidden), dtype)


def _number(size: object) -> int:
    assert isinstance(size, int)
    return size


def dense(n: KernelContext, array: Array, dtype: Any, steps: Steps) -> Array:
    """``array`` with its elements in order and of type ``dtype``: itself, or a copy that ``steps`` will make."""
    found, copies = n.in_order(array, dtype)
    steps += copies
    return found


def sweep(n: KernelContext, use: Recurrence, direction: int, values: Array, idle: Array | None, steps: Steps) -> Sweep:
    """One direction of a node; ``steps`` gets what makes its weights ready."""
    gates, hidden, dtype = use.kind.gates, use.hidden, values.dtype
    w, r = (dense(n, n.x[index][direction], dtype, steps).reshape(gates, hidden, -1) for index in (W, R))
    bias = dense(n, n.x[B][direction], dtype, steps).reshape(2, gates, hidden) if n.has(B) else None
    peepholes = dense(n, n.x[P][direction], dtype, steps).reshape(3, hidden) if n.has(P) else None
    return Sweep(n, use, use.reversed[direction], use.functions[direction], values, w, r, bias, peepholes, idle)


def with_ones(n: KernelContext, use: Recurrence, dtype: Any, steps: Steps) -> Array:
    """X as (steps · batch, features + 1), with ones in the last column, so that a product with W adds the bias too."""
    x = time_first(n.x[X], use)
    *lead, features = x.shape
    wide = n.scratch((*lead, features + 1), dtype)
    steps += [partial(np.copyto, wide[..., :features], x), partial(wide[..., features].fill, 1)]
    return wide.reshape(lead[0] * lead[1], features + 1)


def idle_steps(n: KernelContext, use: Recurrence, steps: Steps) -> Array | None:
    """(steps, batch, 1), whether each sequence has ended before a step; ``None`` where all are of full length."""
    if not n.has(LENGTHS):
        return None
    longest, lengths = _number(use.steps), n.x[LENGTHS]
    times = np.arange(longest, dtype=np.int32)[:, np.newaxis]
    idle = n.scratch((longest, len(lengths), 1), np.bool_)

    def compare() -> None:
        check_lengths(n, lengths.tolist(), longest)
        np.greater_equal(times, lengths, out=idle[..., 0])

    steps.append(compare)
    return idle


def time_first(array: Array, use: Recurrence) -> Array:
    """X, or states of all steps, with the steps as first axis and, of states, (directions, batch) after it: a view."""
    if not use.batch_first:
        return array
    return array.swapaxes(0, 1) if array.ndim == 3 else array.transpose(1, 2, 0, 3)


def directions_first(array: Array, use: Recurrence) -> Array:
    """States with the directions as first axis: a view."""
    return array.swapaxes(0, 1) if use.batch_first else array
