"""Symbols from graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from portable_nn.core.graph import Graph, Node
from portable_nn.operators.inference import infer, types_made
from portable_nn.operators.registry import operator_of
from portable_nn.operators.symbols import Leaf, Origin, Symbol

Form: TypeAlias = Callable[[Node, Sequence[Symbol | None]], Sequence[Symbol] | None]
"""Makes the outputs of a node from its inputs in another form; ``None`` for a node that stays as it is."""


def replay(
    graph: Graph,
    *,
    training: bool = False,
    form: Form | None = None,
    known: Mapping[str, Symbol] = MappingProxyType({}),
    suffix: str = "",
) -> dict[str, Symbol]:
    """Every value of ``graph`` as a symbol, by name. What ``form`` makes of a node keeps the names of its outputs.

    With ``training``, nodes are replaced by their training form: Dropout drops, and a parameter that is the state of a
    node, such as a running mean, is from there on the value that the node computes for it. Inputs and parameters are
    leaves, or symbols that are ``known``; where a graph is replayed more than once, names get a ``suffix`` each time.
    """
    infer(graph)
    symbols: dict[str, Symbol] = {value.name: Leaf(value.name, value.dtype, value.shape) for value in graph.inputs}
    parameters = {
        value.name: Leaf(value.name, value.dtype, value.shape, parameter=True, trainable=value.trainable)
        for value in graph.parameters
    }
    symbols |= {**parameters, **known}
    for node in graph.nodes:
        operator = operator_of(node)
        inputs = [*map(symbols.get, node.inputs)]
        made = form(node, inputs) if form else None
        if made is not None:
            for name, symbol in zip(node.outputs, made, strict=False):
                symbol.name = name or None
        elif training and operator.training:
            made = operator.training(inputs, node.attributes, node.name + suffix)
            for output, index in operator.state.items():
                if output < len(made) and node.inputs[index] in parameters:
                    symbols[node.inputs[index]] = made[output]
        else:
            made = replayed(node, inputs, suffix)
        symbols.update((name, symbol) for name, symbol in zip(node.outputs, made, strict=False) if name)
    return symbols


def replayed(node: Node, inputs: Sequence[Symbol | None], suffix: str = "") -> tuple[Symbol, ...]:
    """The outputs of ``node`` as symbols that keep its names, with ``suffix`` behind each."""
    operator = operator_of(node)
    origin = Origin(operator, inputs, node.attributes, node.name + suffix, node.operator.lower())
    known = [symbol.type if symbol is not None else None for symbol in inputs]
    types = types_made(node, known)
    origin.outputs = tuple(
        Symbol(type, origin, index, name + suffix if name else None)
        for index, (name, type) in enumerate(zip(node.outputs, types, strict=True))
    )
    return origin.outputs
