"""A network as a chain that scikit-learn has too: arithmetic of each feature, then dense layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.sklearn.outputs import ACTIVATIONS
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Node
from portable_nn.network import Network
from portable_nn.operators import find

Array = NDArray[Any]


@dataclass
class Chain:
    """The steps of a network one after the other: dense layers, an activation between them.

    Attributes:
        factor, shift: (features,) the arithmetic of each feature before the first layer, which becomes a part of that.
        layers: weights (in, out) and biases.
        activations: after each layer but the last.
        last: the operator after the last layer, ``Softmax`` or ``Sigmoid``, or ``""``.
        faults: the steps that are none of these.
    """

    factor: Array
    shift: Array
    layers: list[tuple[Array, Array]] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    last: str = ""
    faults: list[str] = field(default_factory=list)


def chain_of(network: Network) -> Chain:
    """The chain of a network, with the nodes that scikit-learn lacks. Raises ``UsageError`` where it takes no rows."""
    graph = network.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.inputs[0].shape) != 2:
        raise UsageError(
            "scikit-learn takes rows of numbers: a network with one input (batch, features) and one output"
        )
    [value] = graph.inputs
    width = value.shape[1]
    if not isinstance(width, int):
        raise UsageError(f"the network takes any number of features, '{width}', and an estimator a number of them")
    chain = Chain(np.ones(width), np.zeros(width))
    constants = {name: array.astype(np.float64) for name, array in network.parameters.items()}
    constants |= dict(_constants(graph.nodes))
    current = value.name
    for node in (node for node in graph.nodes if node.outputs[0] not in constants):
        read = [name for name in node.inputs if name and name not in constants]
        known = [constants.get(name) for name in node.inputs]
        if read != [current] or node.domain or not _take(chain, node, known):
            what = "no step of dense layers" if find(node.operator, node.domain) else "unknown"
            chain.faults.append(f"node '{node.name}' ({node.operator}) is {what}")
        current = node.outputs[0]
    return chain


def _constants(nodes: tuple[Node, ...]) -> Iterator[tuple[str, Array]]:
    for node in nodes:
        value: Any = node.attributes.get("value")
        if node.operator == "Constant" and hasattr(value, "data"):
            yield node.outputs[0], np.array(value.data, np.float64).reshape(value.shape)


def _take(chain: Chain, node: Node, known: list[Array | None]) -> bool:
    """Add a node to the chain; whether it is a step of one."""
    operator = node.operator
    if operator in ("Identity", "Flatten") or operator == "Dropout":  # Nothing, in rows, once a network is trained.
        return True
    if chain.last:
        return False
    if operator in ("Gemm", "MatMul"):
        return _dense(chain, node, known)
    name = next((name for name, each in ACTIVATIONS.items() if each == operator), "")
    if name and chain.layers and len(chain.activations) == len(chain.layers) - 1:
        chain.activations.append(name)
        return True
    if operator == "Softmax" and chain.layers and node.attributes.get("axis", -1) in (1, -1):
        chain.last = operator
        return True
    return _arithmetic(chain, operator, known)


def _dense(chain: Chain, node: Node, known: list[Array | None]) -> bool:
    weight = known[1] if len(known) > 1 else None
    if weight is None or weight.ndim != 2 or known[0] is not None:
        return False
    attributes = node.attributes
    if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1 or attributes.get("transA", 0):
        return False
    weight = weight.T if attributes.get("transB", 0) else weight
    bias = known[2] if len(known) > 2 and known[2] is not None else np.zeros(weight.shape[1])
    while len(chain.activations) < len(chain.layers):  # Two layers with nothing between them.
        chain.activations.append("identity")
    bias = np.broadcast_to(bias.reshape(-1), (weight.shape[1],)).copy()
    if not chain.layers and len(weight) == len(chain.factor):
        weight, bias = chain.factor[:, np.newaxis] * weight, bias + chain.shift @ weight
    chain.layers.append((weight, bias))
    return True


def _arithmetic(chain: Chain, operator: str, known: list[Array | None]) -> bool:
    """Make arithmetic with fixed numbers a part of the layer before it, or of the first one; whether that is done."""
    places = [place for place, array in enumerate(known) if array is not None]
    value = known[places[0]] if len(places) == 1 else None
    if value is None or (operator in ("Sub", "Div") and places == [0]) or not value.size:
        return False
    value = value.reshape(-1)
    if (affine := _as_affine(operator, value)) is None:
        return False
    factor, shift = affine
    if len(chain.activations) < len(chain.layers):
        weight, bias = chain.layers[-1]
        if value.size not in (1, len(bias)):
            return False
        chain.layers[-1] = weight * factor, bias * factor + shift
        return True
    if chain.layers or value.size not in (1, len(chain.factor)):
        return False
    chain.factor, chain.shift = chain.factor * factor, chain.shift * factor + shift
    return True


def _as_affine(operator: str, value: Array) -> tuple[Array, Array] | None:
    """f and s, where an operator with a number computes x·f + s; ``None`` where it does not."""
    one, zero = np.ones_like(value), np.zeros_like(value)
    match operator:
        case "Add":
            return one, value
        case "Sub":
            return one, -value
        case "Mul":
            return value, zero
        case "Div" if value.all():
            return 1 / value, zero
    return None
