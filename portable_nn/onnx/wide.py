"""Graphs in double precision, but for what the standard has in single precision alone, such as scales."""

from __future__ import annotations

from typing import Final

from portable_nn.core.graph import OPSET, Graph, Node, bodies
from portable_nn.onnx.opsets.standard import signature
from portable_nn.rewrites.retyping import retyped, retyped_node

WIDE: Final = {"float16": "float64", "float32": "float64"}


def widened(graph: Graph) -> Graph:
    """The graph with float64 in place of float32 and float16."""
    return retyped(graph, WIDE, only_narrow)


def wide_node(node: Node) -> Node:
    """The same of a node, with its bodies."""
    return retyped_node(node, WIDE, only_narrow)


def only_narrow(node: Node) -> list[str]:
    """The inputs of a node that the standard does not define for float64."""
    known = signature(node.operator, OPSET) if not node.domain else None
    if known is None or any(bodies(node)):  # It hands on what its bodies read, of any type.
        return []
    formal = known.inputs
    return [
        name
        for place, name in enumerate(node.inputs)
        if name and "tensor(double)" not in formal[min(place, len(formal) - 1)]
    ]
