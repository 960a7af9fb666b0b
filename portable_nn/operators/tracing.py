"""Graphs from symbols."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Graph, Node, Parameter, Tensor, Value
from portable_nn.operators.registry import Operator
from portable_nn.operators.symbols import Leaf, Origin, Symbol


class Traced(NamedTuple):
    """A graph made from symbols, and the name that each symbol got."""

    graph: Graph
    names: dict[Symbol, str]


def trace(inputs: Sequence[Leaf], outputs: Sequence[Symbol], name: str = "network") -> Traced:
    """The graph that computes ``outputs`` from ``inputs``; what leads to no output is left out.

    Raises ``GraphError`` where an input is missing or two nodes were given one name.
    """
    origins = reachable([*inputs, *outputs])
    _check_inputs(origins, inputs)
    tracer = _Tracer(origins, inputs)
    for origin in origins:
        tracer.add(origin)
    for symbol in outputs:
        if isinstance(symbol, Leaf) and symbol.parameter and symbol not in tracer.known:
            tracer.add_parameter(symbol, symbol.name or tracer.names.number(symbol.origin.stem))
    known = tracer.known
    values = tuple(Value(known[leaf], leaf.dtype, leaf.shape) for leaf in inputs)
    results = tuple(known[symbol] for symbol in outputs)
    return Traced(Graph(values, results, tuple(tracer.parameters), tuple(tracer.nodes), name), known)


def _check_inputs(origins: Iterable[Origin], inputs: Sequence[Leaf]) -> None:
    """Raise ``GraphError`` that lists the inputs that ``origins`` need and ``inputs`` lack."""
    leaves = [leaf for origin in origins for leaf in origin.outputs if isinstance(leaf, Leaf) and not leaf.parameter]
    if missing := [leaf for leaf in leaves if leaf not in inputs]:
        raise GraphError([Fault("", f"the outputs need {leaf!r}, which is not among the inputs") for leaf in missing])


class _Tracer:
    """Makes the nodes of a graph one after the other, and gives every symbol a name."""

    def __init__(self, origins: Sequence[Origin], inputs: Sequence[Leaf]) -> None:
        symbols = [symbol for origin in origins for symbol in origin.outputs]
        self.names = _Names(
            [origin.name for origin in origins if origin.operator],
            [symbol.name or (None if symbol.index else symbol.origin.name) for symbol in symbols],
        )
        self.known: dict[Symbol, str] = {
            leaf: leaf.name or self.names.number(leaf.origin.stem, bare=True) for leaf in inputs
        }
        self.nodes: list[Node] = []
        self.parameters: list[Parameter] = []
        self._constants: dict[tuple[object, ...], Symbol] = {}

    def add(self, origin: Origin) -> None:
        """Add the node of ``origin`` and the parameters that it is the first to read."""
        operator = origin.operator
        if operator is None or self._is_repeated(origin, operator):
            return
        name = self.names.node(origin)
        for leaf in origin.inputs:
            if isinstance(leaf, Leaf) and leaf.parameter and leaf not in self.known:
                owner = self.names.node(leaf.owner.origin if leaf.owner else origin)
                self.add_parameter(leaf, leaf.name or self.names.exact(f"{owner}.{leaf.origin.stem}"))
        for symbol in origin.outputs:
            further = f"{name}.{operator.output_name(symbol.index)}"
            self.known[symbol] = symbol.name or (self.names.exact(further) if symbol.index else name)
        read = tuple(self.known[symbol] if symbol is not None else "" for symbol in origin.inputs)
        made = tuple(self.known[symbol] for symbol in origin.outputs)
        self.nodes.append(Node(name, operator.name, read, made, origin.attributes, operator.domain))

    def add_parameter(self, leaf: Leaf, name: str) -> None:
        """Add a parameter under a name that is free."""
        self.known[leaf] = name
        self.parameters.append(Parameter(name, leaf.dtype, leaf.shape, leaf.trainable, leaf.packed))

    def _is_repeated(self, origin: Origin, operator: Operator) -> bool:
        """True if ``origin`` is an unnamed constant that an earlier node makes as well, which is then used instead."""
        literal = origin.attributes.get("value")
        if origin.name is not None or not isinstance(literal, Tensor) or operator.name != "Constant":
            return False
        exact = literal.dtype, literal.shape, marshal.dumps(literal.data, 2)  # 0.0 is not -0.0.
        twin = self._constants.setdefault(exact, origin.outputs[0])
        if twin in self.known:
            self.known[origin.outputs[0]] = self.known[twin]
        return twin in self.known


def reachable(outputs: Sequence[Symbol]) -> list[Origin]:
    """All origins that ``outputs`` need, in the order in which they were made."""
    found: dict[int, Origin] = {}
    open_ends = [symbol.origin for symbol in outputs]
    while open_ends:
        origin = open_ends.pop()
        if origin.time not in found:
            found[origin.time] = origin
            open_ends.extend(symbol.origin for symbol in origin.inputs if symbol is not None)
    return [found[time] for time in sorted(found)]


class _Names:
    """Names that are still free: ``dense_1``, ``dense_2``, …"""

    def __init__(self, nodes: Iterable[str | None], values: Iterable[str | None]) -> None:
        uses = [Counter(name for name in given if name) for given in (nodes, values)]
        if twice := sorted({name for used in uses for name, times in used.items() if times > 1}):
            raise GraphError([Fault("", f"the name '{name}' was given twice") for name in twice])
        self.taken = {name for used in uses for name in used}
        self.counts: dict[str, int] = {}
        self.nodes: dict[Origin, str] = {}

    def node(self, origin: Origin) -> str:
        """The name of a node: its own, or the next free number of its stem."""
        if origin not in self.nodes:
            self.nodes[origin] = origin.name or self.number(origin.stem)
        return self.nodes[origin]

    def exact(self, name: str) -> str:
        """``name`` itself, numbered only if it is taken."""
        return self.number(name, bare=True)

    def number(self, stem: str, *, bare: bool = False) -> str:
        """The next free ``stem_1``, ``stem_2``, …; with ``bare`` the first is ``stem`` alone."""
        while True:
            self.counts[stem] = self.counts.get(stem, 0) + 1
            number = self.counts[stem]
            name = stem if bare and number == 1 else f"{stem}_{number}"
            if name not in self.taken:
                self.taken.add(name)
                return name
