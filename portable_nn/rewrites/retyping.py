"""Graphs in other types of floats: inputs, parameters, constants, and attributes that are element types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias, TypeVar

from msgspec.structs import replace

from portable_nn.core.graph import Attribute, Graph, Node, Parameter, Tensor, Value
from portable_nn.operators.registry import DTYPE_CODES

AnyValue = TypeVar("AnyValue", Value, Parameter, Tensor)

Kept: TypeAlias = Callable[[Node], Iterable[str]]
"""The inputs of a node whose type stays."""

_CODES: Final = frozenset({"to", "dtype", "softmax_precision"})
"""The attributes that are element types."""


def _none(node: Node) -> tuple[()]:
    return ()


def retyped(graph: Graph, types: Mapping[str, str], kept: Kept = _none) -> Graph:
    """The graph with other types, by those that they replace."""
    names = {name for node in graph.nodes for name in kept(node)}
    return replace(
        graph,
        inputs=tuple(each if each.name in names else _typed(each, types) for each in graph.inputs),
        parameters=tuple(each if each.name in names else _typed(each, types) for each in graph.parameters),
        nodes=tuple(
            node if names.issuperset(node.outputs) else retyped_node(node, types, kept) for node in graph.nodes
        ),
    )


def retyped_node(node: Node, types: Mapping[str, str], kept: Kept = _none) -> Node:
    """The same of a node, with its bodies."""
    codes = {DTYPE_CODES[old]: DTYPE_CODES[new] for old, new in types.items()}

    def changed(name: str, value: Attribute) -> Attribute:
        if isinstance(value, tuple):
            return tuple(retyped(each, types, kept) if isinstance(each, Graph) else each for each in value)
        if isinstance(value, Tensor):
            return _typed(value, types)
        return codes.get(value, value) if name in _CODES and isinstance(value, int) else value

    return replace(node, attributes={name: changed(name, value) for name, value in node.attributes.items()})


def _typed(value: AnyValue, types: Mapping[str, str]) -> AnyValue:
    return replace(value, dtype=types.get(value.dtype, value.dtype))
