"""Nodes that do nothing: those that no output depends on, and those of training where nothing is trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable

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


def without_training(program: Program) -> Program:
    """``program`` without the nodes that return their input unless the network is trained."""
    graph = bypassed(program.graph, {"Dropout", "StopGradient"})
    documentation = program.documentation
    return program._replace(graph=graph, documentation=documentation and documentation.within(graph))


def bypassed(graph: Graph, operators: Collection[str]) -> Graph:
    """``graph`` whose nodes read the input of a node of these ``operators`` in place of what it returns.

    An output of the graph is made by an Identity then. A node whose further outputs are read, or whose training mode is
    given, stays.
    """
    read = {name for node in graph.nodes for name in node.inputs}.union(graph.outputs)
    same, nodes = dict[str, str](), list[Node]()
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        if node.operator not in operators or len(node.inputs) > 2 or not read.isdisjoint(node.outputs[1:]):
            nodes.append(node)
        elif node.outputs[0] in graph.outputs:
            nodes.append(Node(node.name, "Identity", node.inputs[:1], node.outputs[:1]))
        else:
            same[node.outputs[0]] = node.inputs[0]
    return replace(graph, nodes=tuple(nodes)) if nodes != list(graph.nodes) else graph
