"""What a game needs of f, from the package's own gradient graph: f, the field F and its Jacobian.

f is written once, on symbols; F = (-∂f/∂x, ∂f/∂y) is its backward pass, a graph like any other, and the Jacobian is the
backward pass of that graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, format_shape
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, trace
from portable_nn.operators.registry import Array
from portable_nn.operators.tracing import reachable
from portable_nn.training.gradient import gradients

Function: TypeAlias = Callable[[Any, Any], Any]
"""f of the two players: of a symbol each, or of a tuple of symbols where a player has several numbers."""

BATCH: Final = ("batch",)

PLANS: Final = 16
"""For how many sizes of a batch a plan is kept."""


class Derivation:
    """The symbols of f, F and J over leaves of one ``shape``.

    ``leaves`` are all numbers of z in order; ``field`` has a symbol for each, ``jacobian`` a row of symbols for each.
    """

    def __init__(self, function: Function, players: tuple[int, int], shape: tuple[str, ...] = BATCH) -> None:
        self.players, self.shape = players, shape
        self.leaves = [Leaf(name, "float64", shape) for name in names(players)]
        self.value = self._value(function)
        first = players[0]
        slopes = self._slopes(self.value)
        self.field = [-slope if place < first else slope for place, slope in enumerate(slopes)]
        self.jacobian = [self._slopes(part) for part in self.field]

    def _value(self, function: Function) -> Symbol:
        first, second = split(self.leaves, self.players)
        value = function(first, second)
        if isinstance(value, Symbol) and (value.shape, value.dtype) == (self.shape, "float64"):
            return value
        found = f"{value.dtype} {format_shape(value.shape)}" if isinstance(value, Symbol) else repr(value)
        raise UsageError(
            f"the function of a game must make one number of x and y by + - * / ** and operators, not {found}"
        )

    def _slopes(self, of: Symbol) -> list[Symbol]:
        """∂of/∂z for each number of z; nothing flowing back is a slope of 0."""
        found = gradients([of], [self._filled(1.0)], self.leaves)
        return [slope if slope is not None else self._filled(0.0) for slope in found]

    def _filled(self, number: float) -> Symbol:
        """That number, in the shape of the leaves."""
        single = constant(number, "float64")
        return emit("Expand", single, emit("Shape", self.leaves[0])) if self.shape else single


def names(players: tuple[int, int]) -> list[str]:
    """``x`` and ``y``, or ``x0``, ``x1``, … where a player has several numbers."""
    return [
        player if count == 1 else f"{player}{place}"
        for player, count in zip("xy", players, strict=True)
        for place in range(count)
    ]


def split(values: Sequence[Any], players: tuple[int, int]) -> tuple[Any, Any]:
    """The values of both players, as a function of symbols takes them."""
    parts = values[: players[0]], values[players[0] :]
    return tuple(part[0] if len(part) == 1 else tuple(part) for part in parts)  # type: ignore[return-value]


def substitute(outputs: Sequence[Symbol], values: Mapping[Symbol, Symbol]) -> list[Symbol]:
    """``outputs`` made anew, with other symbols in place of their leaves."""
    known = dict(values)
    for origin in reachable(outputs):
        if origin.operator is None:
            continue
        inputs = [known[value] if value is not None else None for value in origin.inputs]
        name, domain = origin.operator.name, origin.operator.domain
        attributes: dict[str, Any] = dict(origin.attributes)
        made = emit_all(name, *inputs, outputs=len(origin.outputs), domain=domain, **attributes)
        known.update(zip(origin.outputs, made, strict=True))
    return [known[output] for output in outputs]


class Evaluation:
    """Some outputs of a derivation, computed by the numpy engine over any number of points at once."""

    def __init__(self, derivation: Derivation, outputs: Sequence[Symbol]) -> None:
        traced = trace(derivation.leaves, outputs, "game")
        self.graph: Graph = traced.graph
        self.inputs = [traced.names[leaf] for leaf in derivation.leaves]
        self.outputs = [traced.names[output] for output in outputs]
        self._plans: dict[int, Plan] = {}

    def __call__(self, points: Array) -> Array:
        """``points`` (n, d) → (n, number of outputs)."""
        plan = self._plan(len(points))
        for place, name in enumerate(self.inputs):
            plan.inputs[name][...] = points[:, place]
        plan.run()
        result = np.empty((len(points), len(self.outputs)))
        for place, name in enumerate(self.outputs):
            result[:, place] = plan.outputs[name]
        return result

    def _plan(self, size: int) -> Plan:
        if size not in self._plans:
            while len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[size] = Plan(self.graph, dict.fromkeys(self.inputs, (size,)), {})
        return self._plans[size]


class Derived:
    """f, F and J of a function of symbols; see ``game.Functions``."""

    def __init__(self, function: Function, players: tuple[int, int]) -> None:
        self.function, self.players = function, players
        derivation = Derivation(function, players)
        self._value = Evaluation(derivation, [derivation.value])
        self._field = Evaluation(derivation, derivation.field)
        self._jacobian = Evaluation(derivation, [entry for row in derivation.jacobian for entry in row])
        self.linear = not any(_depends(entry) for row in derivation.jacobian for entry in row)

    def value(self, z: Array) -> Array:
        """f at points (…, d): (…)."""
        return self._value(z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])

    def field(self, z: Array) -> Array:
        """F at points (…, d): the same shape."""
        return self._field(z.reshape(-1, z.shape[-1])).reshape(z.shape)

    def jacobian(self, z: Array) -> Array:
        """J at points (…, d): (…, d, d), a row for each component of F."""
        return self._jacobian(z.reshape(-1, z.shape[-1])).reshape(*z.shape, z.shape[-1])


def _depends(symbol: Symbol) -> bool:
    """Whether a value depends on an input, other than on its shape."""
    open_ends, seen = [symbol], set()
    while open_ends:
        value = open_ends.pop()
        if isinstance(value, Leaf):
            return True
        if value.origin.time not in seen and value.origin.operator and value.origin.operator.name != "Shape":
            seen.add(value.origin.time)
            open_ends.extend(given for given in value.origin.inputs if given is not None)
    return False
