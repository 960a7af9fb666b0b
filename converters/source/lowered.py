"""The nodes of a graph with their types, and a graph in operators that have a row in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from portable_nn.core.errors import RefusalError, UnsupportedError, listed
from portable_nn.core.graph import Graph, Node
from portable_nn.operators import OperatorContext, Type, Types, types_made
from portable_nn.rewrites import Program, rewritten
from portable_nn.rewrites.lowering import lowered
from portable_nn.rewrites.scope import Scope

Missing: TypeAlias = Callable[["Use"], str | None]
"""Says what of a node cannot be written, or ``None``."""


class Use(NamedTuple):
    """A node with the types of its inputs, and those of its outputs; whether these are the same in every run."""

    node: Node
    context: OperatorContext
    results: Sequence[Type]
    is_constant: bool = False


def uses(graph: Graph, types: Types | None = None) -> list[Use]:
    """All nodes of a graph, or of a body with values of these ``types``."""
    scope, constant = Scope.of(graph, types), {value.name for value in graph.parameters}
    return [_use(node, scope, constant) for node in graph.nodes]


def _use(node: Node, scope: Scope, constant: set[str]) -> Use:
    """A node, whose outputs are noted where they are the same in every run."""
    context = scope.use(node)
    results = types_made(node, context.types)
    is_constant = constant.issuperset(filter(None, node.inputs)) and node.operator != "Dropout"
    constant.update(node.outputs if is_constant else ())
    return Use(node, context, results, is_constant)


def in_known_operators(graph: Graph, missing: Missing, where: str, what: str) -> Graph:
    """``graph`` in operators of which nothing is ``missing``; ``where`` is the file, and ``what`` begins the message.

    Raises ``UnsupportedError`` with all that is missing.
    """
    graph = rewritten(Program(graph, {}), {"unused"}).graph
    constant = {value.name for value in graph.parameters}
    try:
        return lowered(graph, lambda node, scope: missing(_use(node, scope, constant)))
    except RefusalError as refusal:
        raise UnsupportedError(where, listed(refusal.faults, what)) from None
