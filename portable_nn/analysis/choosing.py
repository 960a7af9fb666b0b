"""Generators that take the class of a sample from their noise."""

from __future__ import annotations

from portable_nn.core.graph import Graph
from portable_nn.engines.ranges import literals


def chosen_by(graph: Graph, noise: str) -> int:
    """k where the graph takes the place of the largest of the first k numbers of the noise, and else 0.

    It does so by the nodes Slice, from 0 to k of the second axis, and ArgMax, which alone uses that slice.
    """
    nodes = graph.nodes
    numbers = {name: int(each.data[0]) for name, each in literals(graph).items() if len(each.data) == 1}
    for node in nodes:
        if node.operator == "Slice" and node.inputs[0] == noise and len(node.inputs) >= 4:
            start, end, axis, step = [*map(numbers.get, node.inputs[1:5]), 1][:4]
            users = [user for user in nodes if node.outputs[0] in user.inputs]
            if (start, axis, step) == (0, 1, 1) and end and [user.operator for user in users] == ["ArgMax"]:
                return end if users[0].attributes.get("axis", 0) in {1, -1} else 0
    return 0
