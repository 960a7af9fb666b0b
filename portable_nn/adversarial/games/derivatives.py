"""The derivatives of a payoff f by automatic differentiation: the vector field F and its Jacobian J.

f is written once, on symbols; F = (-∂f/∂x, ∂f/∂y) is its backward pass, and J the backward pass of F.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, format_shape
from portable_nn.engines.plan import Plan
from portable_nn.operators import Array, Leaf, Symbol, constant, emit, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Operator

Payoff: TypeAlias = Callable[[Any, Any], Any]
"""f(x, y) on symbols: one for each player, or a tuple where a player has several variables."""

BATCH: Final = ("batch",)

PLANS: Final = 16
"""For how many batch sizes a plan is kept."""


class Derivation:
    """The symbols of f, F and J over leaves of one ``shape``.

    ``leaves`` are the variables z in order; ``field`` has a symbol for each, ``jacobian`` a row of symbols for each.
    """

    def __init__(self, function: Payoff, players: tuple[int, int], shape: tuple[str, ...] = BATCH) -> None:
        self.players, self.shape = players, shape
        self.leaves = [Leaf(name, "float64", shape) for name in names(players)]
        self.value = self._value(function)
        first = players[0]
        partials = self._partials(self.value)
        self.field = [-partial if place < first else partial for place, partial in enumerate(partials)]
        self.jacobian = [self._partials(part) for part in self.field]

    def _value(self, function: Payoff) -> Symbol:
        first, second = split(self.leaves, self.players)
        value = function(first, second)
        if isinstance(value, Symbol) and (value.shape, value.dtype) == (self.shape, "float64"):
            return value
        found = f"{value.dtype} {format_shape(value.shape)}" if isinstance(value, Symbol) else repr(value)
        raise UsageError(
            f"the function of a game must make one number of x and y by + - * / ** and operators, not {found}"
        )

    def _partials(self, of: Symbol) -> list[Symbol]:
        """∂of/∂z for each variable; 0 where ``of`` does not depend on it."""
        found = gradients([of], [self._filled(1.0)], self.leaves)
        return [partial if partial is not None else self._filled(0.0) for partial in found]

    def _filled(self, number: float) -> Symbol:
        """A constant in the shape of the leaves."""
        single = constant(number, "float64")
        return emit("Expand", single, emit("Shape", self.leaves[0])) if self.shape else single


def names(players: tuple[int, int]) -> list[str]:
    """The names of the variables: ``x`` and ``y``, or ``x0``, ``x1``, … where a player has several."""
    return [
        player if count == 1 else f"{player}{place}"
        for player, count in zip("xy", players, strict=True)
        for place in range(count)
    ]


def split(values: Sequence[Any], players: tuple[int, int]) -> tuple[Any, Any]:
    """The values of both players, as a payoff takes them."""
    parts = values[: players[0]], values[players[0] :]
    return tuple(part[0] if len(part) == 1 else tuple(part) for part in parts)  # type: ignore[return-value]


class ArrayFunction:
    """Outputs of a derivation as a function of points, computed by the numpy engine; at each they have ``shape``."""

    def __init__(self, derivation: Derivation, outputs: Sequence[Symbol], shape: tuple[int, ...]) -> None:
        self.shape = shape
        traced = trace(derivation.leaves, outputs, "game")
        self.graph: Graph = traced.graph
        self.inputs = [traced.names[leaf] for leaf in derivation.leaves]
        self.outputs = [traced.names[output] for output in outputs]
        self._plans: dict[int, Plan] = {}

    def __call__(self, z: Array) -> Array:
        """At points (…, d): (…, *shape)."""
        points = z.reshape(-1, z.shape[-1])
        plan = self._plan(len(points))
        for place, name in enumerate(self.inputs):
            plan.inputs[name][...] = points[:, place]
        plan.run()
        result = np.empty((len(points), len(self.outputs)))
        for place, name in enumerate(self.outputs):
            result[:, place] = plan.outputs[name]
        return result.reshape((*z.shape[:-1], *self.shape))

    def _plan(self, size: int) -> Plan:
        if size not in self._plans:
            while len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[size] = Plan(self.graph, dict.fromkeys(self.inputs, (size,)), {})
        return self._plans[size]


class Derived:
    """f, F and J of a payoff, each a function of points; see ``game.GameFunctions``."""

    def __init__(self, function: Payoff, players: tuple[int, int]) -> None:
        self.function, self.players = function, players
        derivation, size = Derivation(function, players), sum(players)
        rows = derivation.jacobian
        self.value = ArrayFunction(derivation, [derivation.value], ())
        self.field = ArrayFunction(derivation, derivation.field, (size,))
        self.jacobian = ArrayFunction(derivation, [entry for row in rows for entry in row], (size, size))
        # J is constant; of a payoff with jumps or kinks, it may be so between them alone.
        self.linear = None not in _operators(entry for row in rows for entry in row) and all(
            each is None or each.polynomial for each in _operators([derivation.value])
        )


def _operators(symbols: Iterable[Symbol]) -> list[Operator | None]:
    """The operators that make values, and ``None`` where elements of an input are reached, not only its shape."""
    open_ends, seen = list(symbols), dict[int, Operator | None]()
    while open_ends:
        value = open_ends.pop()
        if isinstance(value, Leaf):
            seen[-1] = None
        elif value.origin.time not in seen and value.origin.operator and value.origin.operator.name != "Shape":
            seen[value.origin.time] = value.origin.operator
            open_ends.extend(given for given in value.origin.inputs if given is not None)
    return list(seen.values())
