"""A graph in which operators without a row in a table are replaced by what they are in other operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.core.errors import GraphError, UnsupportedError, listed
from portable_nn.core.graph import Graph, Node
from portable_nn.operators import (
    InvalidNode,
    Leaf,
    OperatorContext,
    Symbol,
    Type,
    infer,
    infer_node,
    lookup,
    replay,
    trace,
)
from portable_nn.operators.spatial.resize_taps import resized
from portable_nn.rewrites import Program, rewritten

Missing: TypeAlias = Callable[["Use"], str | None]
"""Says what of a node cannot be written, or ``None``."""

DEEPEST: Final = 8
"""How often what replaces an operator is replaced again."""


class Use(NamedTuple):
    """A node with the types of its inputs, and those of its outputs; whether these are the same in every run."""

    node: Node
    context: OperatorContext
    results: Sequence[Type]
    is_constant: bool = False


def uses(graph: Graph) -> list[Use]:
    """All nodes of a graph."""
    types = infer(graph).types
    found, constant = list[Use](), {value.name for value in graph.parameters}
    for node in graph.nodes:
        inputs = [types[name] if name else None for name in node.inputs]
        operator = lookup(node.operator, node.domain)
        context = OperatorContext(operator, inputs, node.attributes, len(node.outputs))
        results = infer_node(operator, inputs, node.attributes, len(node.outputs))
        is_constant = constant.issuperset(filter(None, node.inputs)) and node.operator != "Dropout"
        constant.update(node.outputs if is_constant else ())
        found.append(Use(node, context, results, is_constant))
    return found


def in_known_operators(graph: Graph, missing: Missing, where: str, what: str) -> Graph:
    """``graph`` in operators of which nothing is ``missing``; ``where`` is the file, and ``what`` begins the message.

    Raises ``UnsupportedError`` with all that is missing.
    """
    graph = rewritten(Program(graph, {}), {"unused"}).graph
    for _ in range(DEEPEST):
        wanted = {use.node.name: form for use in uses(graph) if (form := _form(use)) and missing(use)}
        if not wanted or (after := _lowered(graph, wanted)) is graph:
            break
        graph = after
    faults = [(use.node, missing(use)) for use in uses(graph)]
    if found := [f"{node}: {fault}" for node, fault in faults if fault]:
        raise UnsupportedError(where, listed(found, what))
    return graph


def _form(use: Use) -> Callable[..., Any] | None:
    """What makes other operators of a node: its lowering, or what portable files have in its place."""
    operator = use.context.operator
    if operator.name == "Resize":
        return partial(resized, use.context)
    return operator.lowering or (operator.portable(use.context) if operator.portable else None)


def _lowered(graph: Graph, forms: Mapping[str, Callable[..., Any]]) -> Graph:
    """The graph with other operators for the nodes that have forms; itself where none of them can be expressed."""
    done = list[str]()

    def form(node: Node, inputs: Sequence[Symbol | None]) -> Sequence[Symbol] | None:
        if node.name not in forms:
            return None
        try:
            made = forms[node.name](*inputs, **node.attributes)
        except (GraphError, InvalidNode):  # Such a use has no other form.
            return None
        done.append(node.name)
        return [made] if isinstance(made, Symbol) else list(made)

    symbols = replay(graph, form=form)
    if not done:
        return graph
    leaves = [leaf for value in graph.inputs if isinstance(leaf := symbols[value.name], Leaf)]
    return trace(leaves, [symbols[name] for name in graph.outputs], graph.name).graph
