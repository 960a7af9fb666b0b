"""Dead code elimination."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from portable_nn.core.graph import Graph, Node
from portable_nn.rewrites.program import Program


def without_unused(program: Program) -> Program:
    """``program`` without the nodes that no output depends on; inputs and parameters stay."""
    graph, documentation = program.graph, program.documentation
    nodes = needed(graph, graph.outputs)
    if len(nodes) == len(graph.nodes):
        return program
    graph = replace(graph, nodes=nodes)
    return program._replace(graph=graph, documentation=documentation and documentation.within(graph))


def needed(graph: Graph, outputs: Iterable[str]) -> tuple[Node, ...]:
    """The nodes that the values ``outputs`` depend on, in order."""
    wanted, found = set(outputs), list[Node]()
    for node in reversed(graph.nodes):
        if not wanted.isdisjoint(node.outputs):
            found.append(node)
            wanted.update(name for name in node.inputs if name)
    return tuple(reversed(found))
