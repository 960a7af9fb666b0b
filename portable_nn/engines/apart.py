"""The check that a graph computes each example by itself, so that a batch may be computed in parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.core.graph import Attribute, Graph, Node
from portable_nn.operators import Types, has_open, infer, operator_of, use_of, window_kind

TOGETHER: Final = ("transA", "training_mode")
"""Attributes with which an operator combines examples that it keeps apart otherwise."""


def keeps_examples_apart(graph: Graph, *, training: bool = False) -> bool:
    """True if the examples are computed independently of each other, by the facts of the operators.

    In ``training``, nodes with a state, such as running statistics, take it from all examples together.
    """
    firsts = {value.shape[:1] for value in graph.inputs}
    if len(firsts) != 1 or not all(isinstance(dim, str) for dim in next(iter(firsts))):
        return False
    batch, types = next(iter(firsts)), infer(graph).types
    carriers = {value.name for value in graph.inputs}
    for node in graph.nodes:
        if carriers.isdisjoint(node.inputs):
            continue
        first = all(types[name].shape[:1] == batch for name in node.outputs if name)
        if not first or not _is_apart(node, carriers, training):
            return False
        carriers.update(node.outputs)
    return True


def _is_apart(node: Node, carriers: set[str], training: bool) -> bool:
    """True if a node computes each example by itself, where values in ``carriers`` have the batch as first axis."""
    operator = operator_of(node)
    if operator.elementwise or operator.batch_inputs == "all":
        return True
    if (operator.state and training) or mixes_examples(node.attributes):
        return False
    return operator.batch_inputs == "first" and carriers.isdisjoint(node.inputs[1:])


def mixes_examples(attributes: Mapping[str, Attribute]) -> bool:
    """True if attributes make an operator combine examples."""
    return any(map(attributes.get, TOGETHER))


def mixing_node(graph: Graph, types: Types) -> Node | None:
    """A node that combines what lies along the first axis of the inputs, such as the steps of a sequence, if any.

    One that selects by values may select of all examples. ``None`` does not say that there is none: only operators
    that tell what they combine are asked.
    """
    first = {dim for value in graph.inputs for dim in value.shape[:1] if isinstance(dim, str)}
    for node in graph.nodes:
        mixes = operator_of(node).mixes
        selects = has_open(types[name] for name in node.outputs if name in types)
        if selects or (mixes is not None and not first.isdisjoint(mixes(use_of(node, types)))):
            return node
    return None


def has_convolution(graph: Graph) -> bool:
    """True if there is a convolution, transposed or not."""
    return any(window_kind(node.operator, node.domain) in {"conv", "convt"} for node in graph.nodes)
