"""The nodes of a graph with their types, and a graph in operators that have a row in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from portable_nn.core.errors import RefusalError, UnsupportedError, listed
from portable_nn.core.graph import Graph, Node, bodies
from portable_nn.operators import OperatorContext, Type, Types, types_made
from portable_nn.operators.control.bodies import body_types
from portable_nn.operators.control.branches import running
from portable_nn.rewrites import Program, rewritten
from portable_nn.rewrites.distinct import distinct
from portable_nn.rewrites.lowering import lowered
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.scope import Scope

Missing: TypeAlias = Callable[["Use"], str | None]
"""Says what of a node cannot be written, or ``None``."""


class Use(NamedTuple):
    """A node with the types of its inputs, and those of its outputs; whether these are the same in every run."""

    node: Node
    context: OperatorContext
    results: Sequence[Type]
    is_constant: bool = False
    inner: Mapping[str, Inner] = MappingProxyType({})


class Inner(NamedTuple):
    """A body that may run: the types of its values, and its nodes."""

    graph: Graph
    types: Types
    uses: Sequence[Use]


def uses(graph: Graph, types: Types | None = None, constant: set[str] | None = None) -> list[Use]:
    """All nodes of a graph, or of a body with values of these ``types``, of which some outside are ``constant``."""
    scope = Scope.of(graph, types)
    constant = {value.name for value in graph.parameters} if constant is None else constant
    return [_with_bodies(_use(node, scope, constant), constant) for node in graph.nodes]


def _with_bodies(use: Use, constant: set[str]) -> Use:
    """A node with the nodes of its bodies."""
    found = dict[str, Inner]()
    for name, (graph, _) in (running(use.context) if any(bodies(use.node)) else {}).items():
        types = body_types(use.context, name)
        found[name] = Inner(graph, types, uses(graph, types, constant))
    return use._replace(inner=found)


def _use(node: Node, scope: Scope, constant: set[str]) -> Use:
    """A node, whose outputs are noted where they are the same in every run."""
    context = scope.use(node)
    results = types_made(node, context.types)
    is_constant = constant.issuperset(filter(None, node.inputs)) and node.operator != "Dropout"
    constant.update(node.outputs if is_constant else ())
    return Use(node, context, results, is_constant)


def in_known_operators(graph: Graph, missing: Missing, where: str, what: str) -> Graph:
    """``graph`` in operators of which nothing is ``missing``, and in distinct names.

    ``where`` is the file, and ``what`` begins the message.

    Raises ``UnsupportedError`` with all that is missing.
    """
    graph, names = rewritten(Program(graph, {}), {"unused"}).graph, Names.beside(graph)
    graph = replace(graph, nodes=distinct(graph.nodes, names))
    constant = {value.name for value in graph.parameters}
    try:
        return lowered(graph, lambda node, scope: missing(_use(node, scope, constant)), names=names)
    except RefusalError as refusal:
        raise UnsupportedError(where, listed(refusal.faults, what)) from None
