"""Nodes that a file has in training mode, in which they drop elements at random."""

from __future__ import annotations

from collections.abc import Iterator

from portable_nn.core.graph import Graph
from portable_nn.core.text import some
from portable_nn.operators import infer, operator_of, use_of
from portable_nn.operators.training.dropout import TRAINING


def training_mode(graph: Graph) -> Iterator[str]:
    """A note that lists the nodes in training mode; nothing where there are none."""
    types = infer(graph).types
    limited = (node for node in graph.nodes if TRAINING in operator_of(node).portability.limits)
    if found := [str(node) for node in limited if TRAINING.applies(use_of(node, types), None)]:
        yield f"{some(found)}: {TRAINING.problem}; {TRAINING.hint}"
