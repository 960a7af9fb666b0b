"""What a network does, node by node, as far as scikit-learn has it: steps that prepare features, then dense layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from portable_nn.converters.sklearn.recovering import Call, value_of
from portable_nn.converters.sklearn.values import Array, Entry, Value, features, joined
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, Node
from portable_nn.core.text import some
from portable_nn.network import Network
from portable_nn.operators import find

ACTIVATIONS: Final[Mapping[str, str]] = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
"""The operators of scikit-learn's activations."""


@dataclass
class Chain:
    """What a network does, one after the other: steps of preparation, dense layers, an activation between them.

    Attributes:
        features: what goes into the first layer.
        layers: weights (in, out) and biases.
        activations: after each layer but the last.
        last: the operator after the last layer, ``Softmax`` or ``Sigmoid``, or ``""``.
        faults: what is none of that.
    """

    features: Value
    layers: list[tuple[Array, Array]] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    last: str = ""
    faults: list[str] = field(default_factory=list)


def chain_of(network: Network) -> Chain:
    """What a network does, and what of it scikit-learn lacks. Raises ``UsageError`` where it takes no rows."""
    graph = network.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.inputs[0].shape) != 2:
        raise UsageError(
            "scikit-learn takes rows of numbers: a network with one input (batch, features) and one output"
        )
    [value] = graph.inputs
    width = value.shape[1]
    if not isinstance(width, int):
        raise UsageError(f"the network takes any number of features, '{width}', and an estimator a number of them")
    chain = Chain(Value("row", width))
    constants = {name: array.astype(np.float64) for name, array in network.parameters.items()}
    constants |= dict(_constants(graph.nodes))
    nodes = [node for node in graph.nodes if node.operator != "Constant"]
    start, values = _prepare(chain, graph, nodes, constants)
    current = nodes[start - 1].outputs[0] if nodes else value.name
    if not chain.layers:
        chain.features = values.get(graph.outputs[0], chain.features)
    for node in nodes[start:]:
        read = [name for name in node.inputs if name and name not in constants]
        known = [constants.get(name) for name in node.inputs]
        if read != [current] or node.domain or not _take(chain, node, known):
            chain.faults.append(_fault(node, "step of dense layers"))
        current = node.outputs[0]
    return chain


def _fault(node: Node, what: str) -> str:
    known = find(node.operator, node.domain)
    return f"node {node} is {f'no {what}' if known else 'unknown'}"


def _prepare(
    chain: Chain, graph: Graph, nodes: list[Node], constants: Mapping[str, Array]
) -> tuple[int, dict[str, Value]]:
    """The features, the first layer, and how many nodes that are, and all values before it."""
    values = {graph.inputs[0].name: chain.features}
    trained = {value.name for value in graph.parameters if value.trainable}
    names = {value.name for value in graph.parameters}
    strange = list[Node]()
    for place, node in enumerate(nodes):
        inputs = tuple(values.get(name, constants.get(name)) for name in node.inputs)
        roles = tuple(name.rpartition(".")[2] if name in names else "" for name in node.inputs)
        found = value_of(Call(node, inputs, roles, tuple(name in trained for name in node.inputs)))
        known = [constants.get(name) for name in node.inputs]
        x, is_layer = inputs[0], node.operator in ("Gemm", "MatMul") and not node.domain
        if found.kind == "unknown" and is_layer and isinstance(x, Value) and _dense(chain, node, known):
            chain.features = _one_hot(chain, features(x))
            chain.faults += [_fault(each, "step of scikit-learn") for each in strange]
            return place + 1, values
        if found.kind == "unknown":
            if not any(isinstance(each, Value) and each.kind == "unknown" for each in inputs):
                strange.append(node)
            if found.title and strange:
                operators = some(dict.fromkeys(each.operator for each in strange))
                chain.faults.append(f"step '{found.title}' ({operators}) is none that goes back to scikit-learn")
                strange.clear()
        values[node.outputs[0]] = found
    chain.faults += [_fault(each, "step of scikit-learn") for each in strange]
    return len(nodes), values


def _one_hot(chain: Chain, x: Value) -> Value:
    """Features with ones and zeros in the place of trained vectors, which become a part of the first layer."""
    weight, bias = chain.layers[0]
    parts, rows, start = list[Value](), list[Array](), 0
    for part in x.bases if x.kind == "joined" else (x,):
        entries = list[Entry]()
        for entry in part.of.get("entries", ()):
            matrix = weight[start : start + entry.made.shape[1]]
            start += len(matrix)
            if entry.role == "vectors":
                matrix, count = entry.made @ matrix, len(entry.codes)
                entry = entry._replace(made=np.eye(count), other=np.zeros(count))
            rows.append(matrix)
            entries.append(entry)
        if entries:
            part = replace(part, width=sum(entry.made.shape[1] for entry in entries), of={"entries": tuple(entries)})
        else:
            rows.append(weight[start : start + part.width])
            start += part.width
        parts.append(part)
    if all(each.width == old.width for each, old in zip(parts, x.bases if x.kind == "joined" else (x,), strict=True)):
        return x
    chain.layers[0] = np.concatenate(rows), bias
    return joined(parts)


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
    chain.layers.append((weight, np.broadcast_to(bias.reshape(-1), (weight.shape[1],)).copy()))
    return True


def _arithmetic(chain: Chain, operator: str, known: list[Array | None]) -> bool:
    """Arithmetic with fixed numbers after a layer is a part of that."""
    places = [place for place, array in enumerate(known) if array is not None]
    value = known[places[0]] if len(places) == 1 else None
    if value is None or (operator in ("Sub", "Div") and places == [0]) or not value.size:
        return False
    value = value.reshape(-1)
    if (affine := _as_affine(operator, value)) is None:
        return False
    factor, shift = affine
    if chain.layers and len(chain.activations) < len(chain.layers):
        weight, bias = chain.layers[-1]
        if value.size not in (1, len(bias)):
            return False
        chain.layers[-1] = weight * factor, bias * factor + shift
        return True
    return False


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
