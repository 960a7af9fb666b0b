"""The costs of a node: its multiply-adds, and the elements that its kernel goes through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from portable_nn.core.dims import static
from portable_nn.core.graph import Dim, Node, Shape
from portable_nn.operators.registry import InvalidNode, Operator, OperatorContext, Types, known_operator, types_read

Rule = Callable[[OperatorContext, Shape], Iterable[Dim]]


def multiply_adds(node: Node, types: Types, *, fits: bool = True) -> int | None:
    """One for each weight at each position, pads included, biases not; 0 for an operator without a rule.

    ``None`` where a size is unknown, or the node does not fit its inputs.
    """
    operator = known_operator(node)
    if operator is None or operator.multiply_adds is None:
        return 0
    return _product(operator.multiply_adds, operator, node, types) if fits else None


def elements_visited(node: Node, types: Types) -> int:
    """The number of elements that the kernel of a node goes through: those of the inputs and outputs, or what the
    operator's rule says.

    An empty array counts as if its axes of size 0 had size 1: the others may be any number, of which kernels make
    loops. 0 where a size is unknown.
    """
    operator = known_operator(node)
    counts = [volume(types[name].shape) for name in (*node.inputs, *node.outputs) if name in types]
    own = _product(operator.visits, operator, node, types) if operator and operator.visits else 0
    return sum(counts) + (own or 0)


def volume(shape: Shape) -> int:
    """The product of the sizes but for those that are 0; 0 where one is unknown."""
    return math.prod(max(1, size) for size in found) if (found := static(shape)) is not None else 0


def _product(rule: Rule, operator: Operator, node: Node, types: Types) -> int | None:
    first = node.outputs[0]
    if first and first not in types:
        return None
    use = OperatorContext(operator, types_read(node, types), node.attributes, len(node.outputs))
    try:
        sizes = static(tuple(rule(use, types[first].shape if first else ())))
    except InvalidNode:  # In a body.
        return None
    return None if sizes is None else math.prod(sizes)
