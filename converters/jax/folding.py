"""Transpositions of the kernels of convolutions, made once: the parameter is kept as the graph needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from portable_nn.core.graph import Graph, Node, Parameter
from portable_nn.network import Network
from portable_nn.operators import infer, lookup


class Folded(NamedTuple):
    """A network, and what was done to its parameters.

    Attributes:
        network: the network.
        moves: for the parameters that were turned, by name: from an array in the order of before to that of now.
    """

    network: Network
    moves: Mapping[str, Callable[[Any], Any]]


def folded(network: Network) -> Folded:
    """The same network, where no node transposes the kernel of a convolution, or reverses its axes."""
    graph, arrays = network.graph, dict(network.parameters.items())
    moves: dict[str, Callable[[Any], Any]] = {}
    while (found := _first(graph)) is not None:
        node, value = found
        move, before = _move(node, graph), moves.get(value.name)
        arrays[value.name] = move(arrays[value.name])
        moves[value.name] = move if before is None else _both(before, move)
        parameters = tuple(
            replace(each, shape=arrays[each.name].shape) if each is value else each for each in graph.parameters
        )
        [gone] = node.outputs
        nodes = tuple(
            replace(each, inputs=tuple(value.name if name == gone else name for name in each.inputs))
            for each in graph.nodes
            if each is not node
        )
        graph = replace(graph, parameters=parameters, nodes=nodes)
    if moves:
        network = Network.from_graph(graph, arrays, inputs=network.inputs, outputs=network.outputs)
    return Folded(network, moves)


def _both(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda array: second(first(array))


def _first(graph: Graph) -> tuple[Node, Parameter] | None:
    reads = Counter(name for node in graph.nodes for name in node.inputs)
    readers = {name: node for node in graph.nodes for name in node.inputs}
    parameters = {value.name: value for value in graph.parameters}
    for node in graph.nodes:
        value = parameters.get(node.inputs[0]) if node.inputs else None
        if value and reads[value.name] == 1 and _leads_to_kernel(node, graph, readers, reads):
            return node, value
    return None


def _leads_to_kernel(node: Node, graph: Graph, readers: Mapping[str, Node], reads: Mapping[str, int]) -> bool:
    """True if the node moves the array that becomes the kernel of a convolution, and nothing else: ``to_jax`` moves it
    back."""
    moves = node.operator == "Transpose" or (node.operator == "Slice" and _reverses(node, graph))
    reader = readers.get(node.outputs[0])
    if not moves or reader is None or reads[node.outputs[0]] > 1 or node.outputs[0] in graph.outputs:
        return False
    windowed = lookup(reader.operator, reader.domain).window is not None
    return windowed or _leads_to_kernel(reader, graph, readers, reads)


def _reverses(node: Node, graph: Graph) -> bool:
    """True if a Slice keeps all elements of each axis."""
    types = infer(graph).types
    return types[node.inputs[0]].shape == types[node.outputs[0]].shape


def _move(node: Node, graph: Graph) -> Callable[[Any], Any]:
    if node.operator == "Transpose":
        return lambda array: array.transpose(node.attributes["perm"])
    types = infer(graph).types
    axes, steps = (types[name].constant or () for name in node.inputs[3:5])
    part = {int(axis): int(step) for axis, step in zip(axes, steps, strict=True)}
    return lambda array: array[tuple(slice(None, None, part.get(axis, 1)) for axis in range(array.ndim))]
