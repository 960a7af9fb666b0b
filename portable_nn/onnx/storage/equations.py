"""Equations of Einsum on which other libraries never end.

The shape inference of the onnx library (to 1.23, at least), which onnxruntime runs as well, looks for the next letter
forever in an equation such as ``b.b``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from onnx import AttributeProto, ModelProto, NodeProto

from portable_nn.core.errors import FormatError
from portable_nn.core.text import shortened
from portable_nn.onnx.storage.functions import subgraphs
from portable_nn.operators.linear.einsum import TERM


def check_equations(model: ModelProto, where: str) -> None:
    """Raise ``FormatError`` where a term of an equation is something else than letters and one ellipsis."""
    nodes = [*_nodes(chain(model.graph.node, *(each.node for each in model.functions)))]
    passed = _passed(nodes)
    for node in nodes:
        for given in node.attribute:
            if given.name in passed or (_is_einsum(node) and given.name == "equation"):
                _check(given, shortened(node.name or ", ".join(node.output)), where)
    for function in model.functions:
        for default in function.attribute_proto:
            if default.name in passed:
                _check(default, shortened(function.name), where)


def _passed(nodes: Sequence[NodeProto]) -> set[str]:
    """The attributes of functions that become equations, through any number of calls."""
    referring = [(node, each) for node in nodes for each in node.attribute if each.ref_attr_name]
    found = {each.ref_attr_name for node, each in referring if _is_einsum(node)}
    while more := {each.ref_attr_name for _, each in referring if each.name in found} - found:
        found |= more
    return found


def _check(attribute: AttributeProto, name: str, where: str) -> None:
    text = attribute.s.decode(errors="replace").replace(" ", "")
    left, _, right = text.partition("->")
    for term in [*left.split(","), right]:
        if not TERM.fullmatch(term):
            what = f"equation {shortened(text)} has the term {shortened(term)}"
            raise FormatError(where, f"{name} (Einsum): {what}, which is not letters and at most one ellipsis")


def _is_einsum(node: NodeProto) -> bool:
    return node.op_type == "Einsum" and node.domain in ("", "ai.onnx")


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _nodes(graph.node)
