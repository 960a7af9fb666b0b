"""Nodes in nodes, and the number of nodes that the functions of a model make.

A few lines can make any number, and shape inference runs them all.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from portable_nn.core.errors import FormatError
from portable_nn.core.limits import UNPACKED

MAX_NODES: Final = 2**17
"""The most nodes that inlining may make, whatever is stored."""


def check_functions(model: ModelProto, where: str) -> None:
    """Check how many nodes inlining makes: functions that call each other twice double them at each level.

    Raises ``FormatError`` where they are far more than are stored.
    """
    functions = {(each.domain, each.name): each for each in model.functions}
    calls = {key: _called(each.node, functions) for key, each in functions.items()}
    sizes = dict[tuple[str, str], int]()
    try:
        for key in TopologicalSorter({key: set(found) for key, found in calls.items()}).static_order():
            sizes[key] = len(functions[key].node) + sum(sizes[each] for each in calls[key])
    except CycleError as error:
        names = ", ".join(name for _, name in error.args[1])
        raise FormatError(where, f"its functions call each other in a circle: {names}") from None
    stored = len(model.graph.node) + sum(len(each.node) for each in model.functions)
    made = len(model.graph.node) + sum(sizes[each] for each in _called(model.graph.node, functions))
    if made > max(MAX_NODES, UNPACKED * stored):
        raise FormatError(where, f"its functions make {made:,} nodes of {stored:,}: no tool can run so many")


def _called(nodes: Iterable[NodeProto], functions: Container[tuple[str, str]]) -> list[tuple[str, str]]:
    """The functions that nodes call, also in subgraphs; each as often as it is called."""
    return [key for node in nested(nodes) if (key := (node.domain, node.op_type)) in functions]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds: branches, and bodies of loops."""
    for attribute in node.attribute:
        is_graph = attribute.type == AttributeProto.GRAPH or attribute.HasField("g")
        yield from (*attribute.graphs, *([attribute.g] if is_graph else []))


def nested(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from nested(graph.node)
