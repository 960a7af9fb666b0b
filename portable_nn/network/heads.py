"""The head of a network: its last layers, which other classes replace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, Node
from portable_nn.operators import FLOATS, infer, operator_of
from portable_nn.operators.quantised import FLOATS_TRAIN, QUANTISED


def as_place(name: str) -> int | None:
    """``-1``, ``-2``, … as a number: the input of the last linear layer, of the last but one, …"""
    return int(name) if re.fullmatch(r"-[1-9]\d{0,3}", name) else None


def head_input(graph: Graph, place: int = -1) -> str:
    """The value that the last linear layer before the first output reads (-1), or one of those before it.

    The way back leads through nodes that read one value each, beside parameters and constants.

    Raises ``UsageError`` where it leads to no such layer.
    """
    made = {name for node in graph.nodes for name in node.outputs}
    weights = {value.name for value in graph.parameters}
    left = -place
    for node, read in _way_back(graph):
        if _is_linear(node, graph, weights):
            left -= 1
            if not left and read in made:
                return read
    hint = FLOATS_TRAIN + "; " if any(node.operator in QUANTISED for node in graph.nodes) else "until: "
    last = ", ".join(main_nodes(graph)[-3:]) or "there is none"
    raise UsageError(
        f"{hint}there is no linear layer before the output '{graph.outputs[0]}' that a new one could "
        f"replace (number {place}); a name of a node says where to cut: {last}"
    )


def global_pool(graph: Graph, value: str) -> Literal["mean", "max"] | None:
    """The pool that the network applies to whole maps between ``value`` and its first output; None where there is
    none."""
    types = infer(graph).types
    for node, read in _way_back(graph):
        kind, before, after = (operator_of(node).summary, types[read].shape, types[node.outputs[0]].shape)
        is_whole = len(before) > 2 and after[:2] == before[:2] and all(size == 1 for size in after[2:])
        if kind and is_whole:
            return kind
        if read == value:
            break
    return None


def _way_back(graph: Graph) -> Iterator[tuple[Node, str]]:
    """The nodes from the first output back, each with the one value that it reads beside what is fixed."""
    makers, fixed, value = graph.makers(), _fixed(graph), graph.outputs[0]
    while node := makers.get(value):
        read = list(dict.fromkeys(name for name in node.inputs if name and name not in fixed))
        if len(read) != 1:
            return
        [value] = read
        yield node, value


def _is_linear(node: Node, graph: Graph, weights: set[str]) -> bool:
    """True if a node is a product with a weight, or a convolution with a kernel of 1."""
    operator = operator_of(node)
    if operator.family != "linear" or node.domain or not weights.intersection(node.inputs[:2]):
        return False
    if "kernel_shape" not in operator.attributes:
        return True
    shape = next(each.shape for each in graph.parameters if each.name in node.inputs[1:2])
    return all(size == 1 for size in shape[2:])


def main_nodes(graph: Graph) -> list[str]:
    """The nodes that a person would name: those that make numbers of the inputs that the outputs need, in order."""
    fixed, types = _fixed(graph), infer(graph).types
    needed, found = set(graph.outputs), list[str]()
    for node in reversed(graph.nodes):
        if not needed.intersection(node.outputs):
            continue
        needed.update(node.inputs)
        made = next(iter(node.outputs))
        if made not in fixed and types[made].dtype in FLOATS and types[made].shape and node.operator != "Identity":
            found.append(node.name or made)
    return found[::-1]


def _fixed(graph: Graph) -> set[str]:
    """The values that are the same whatever the inputs, and shapes."""
    fixed = {value.name for value in graph.parameters}
    for node in graph.nodes:
        if node.operator in ("Shape", "Size") or all(name in fixed for name in node.inputs if name):
            fixed.update(name for name in node.outputs if name)
    return fixed
