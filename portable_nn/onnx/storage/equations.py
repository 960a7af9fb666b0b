"""Equations of Einsum on which other libraries never end.

The shape inference of the onnx library (to 1.23, at least), which onnxruntime runs as well, looks for the next letter
forever in an equation such as ``b.b``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from onnx import ModelProto, NodeProto

from portable_nn.core.errors import FormatError
from portable_nn.core.text import shortened
from portable_nn.onnx.storage.functions import subgraphs
from portable_nn.operators.linear.einsum import TERM


def check_equations(model: ModelProto, where: str) -> None:
    """Raise ``FormatError`` where a term of an equation is something else than letters and one ellipsis."""
    for node in _einsums(chain(model.graph.node, *(each.node for each in model.functions))):
        equation = next((each.s for each in node.attribute if each.name == "equation"), b"")
        text = equation.decode(errors="replace").replace(" ", "")
        left, _, right = text.partition("->")
        for term in [*left.split(","), right]:
            if not TERM.fullmatch(term):
                name = shortened(node.name or ", ".join(node.output))
                what = f"equation {shortened(text)} has the term {shortened(term)}"
                raise FormatError(where, f"{name} (Einsum): {what}, which is not letters and at most one ellipsis")


def _einsums(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        if node.op_type == "Einsum":
            yield node
        for graph in subgraphs(node):
            yield from _einsums(graph.node)
