"""A network's graph applied to symbols: a copy of its nodes for each use, over shared parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.operators import Leaf, Symbol, emit_all, lookup

_uses = itertools.count(1)


def leaves(graph: Graph, prefix: str, dtype: str | None = None) -> dict[str, Leaf]:
    """A leaf for each parameter of ``graph``, named ``prefix/name``; floats are of type ``dtype``, if it is given."""
    return {
        value.name: Leaf(
            f"{prefix}/{value.name}", _float(value.dtype, dtype), value.shape, parameter=True, trainable=value.trainable
        )
        for value in graph.parameters
    }


def apply(
    graph: Graph,
    inputs: Mapping[str, Symbol],
    parameters: Mapping[str, Symbol],
    *,
    training: bool = True,
    dtype: str | None = None,
) -> list[Symbol]:
    """The outputs of ``graph`` for ``inputs``, by name.

    Args:
        graph: the graph of a network.
        inputs, parameters: symbols by the names of the graph's inputs and parameters.
        training: use the training form of operators such as dropout.
        dtype: the type of all floats, if it is another than the graph's.

    Raises ``GraphError`` where the inputs do not fit.
    """
    symbols: dict[str, Symbol] = {**inputs, **parameters}
    use = next(_uses)
    for node in graph.nodes:
        given = [symbols[name] if name else None for name in node.inputs]
        made = _emit(node, given, _attributes(node, dtype), use, training=training)
        symbols.update((name, symbol) for name, symbol in zip(node.outputs, made, strict=False) if name)
    return [symbols[name] for name in graph.outputs]


def _emit(
    node: Node, given: Sequence[Symbol | None], attributes: Mapping[str, Any], use: int, *, training: bool
) -> Sequence[Symbol]:
    operator = lookup(node.operator, node.domain)
    if training and operator.training:
        return operator.training(given, attributes, f"{node.name}/use {use}")
    count = len(node.outputs)
    return emit_all(node.operator, *given, outputs=count, stem=node.name, domain=node.domain, **attributes)


def _attributes(node: Node, dtype: str | None) -> Mapping[str, Any]:
    """The attributes of a node; those of a constant in ``dtype``."""
    literal = node.attributes.get("value")
    if isinstance(literal, Tensor):
        return {**node.attributes, "value": replace(literal, dtype=_float(literal.dtype, dtype))}
    return node.attributes


def _float(dtype: str, wanted: str | None) -> str:
    return wanted if wanted and dtype.startswith("float") else dtype
