"""Nodes that a file has in training mode, in which they drop elements at random."""

from __future__ import annotations

from collections.abc import Iterator

from portable_nn.core.graph import Graph
from portable_nn.core.text import some
from portable_nn.operators import OperatorContext, infer, lookup
from portable_nn.operators.training.dropout import TRAINING


def training_mode(graph: Graph) -> Iterator[str]:
    """A note that lists the nodes in training mode; nothing where there are none."""
    types, found = infer(graph).types, list[str]()
    for node in graph.nodes:
        operator = lookup(node.operator, node.domain)
        if TRAINING in operator.portability.limits:
            given = [types[name] if name else None for name in node.inputs]
            if TRAINING.applies(OperatorContext(operator, given, node.attributes), None):
                found.append(str(node))
    if found:
        yield f"{some(found)}: {TRAINING.problem}; {TRAINING.hint}"
