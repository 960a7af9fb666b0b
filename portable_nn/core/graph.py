"""The description of a network: values, nodes and the graph they make.

A node is one standard ONNX operator with the standard's attribute names and semantics at opset ``OPSET``. The
classes here hold no arithmetic and know no file format; they are exactly what the manifest of a weight file stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

OPSET = 25
"""The version of the ONNX operator set whose semantics every node has."""

INTERNAL = "portable_nn"
"""The domain of operators that ONNX lacks (gradients, updates); a file holds only ``StopGradient`` and opaque nodes."""

Dim: TypeAlias = int | str
"""A dimension: a size, or the name of a symbolic dimension, such as ``"batch"``."""

Shape: TypeAlias = tuple[Dim, ...]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A small constant array inside an attribute, in row-major order; booleans are 0 and 1."""

    dtype: str
    shape: tuple[int, ...]
    data: tuple[int | float, ...]


Attribute: TypeAlias = "int | float | str | tuple[int | float | str | Graph, ...] | Tensor"
"""A body, such as the branch of an ``If``, is a tuple of one graph."""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named array: ``dtype`` as numpy writes it, ``shape`` with symbolic dimensions as names."""

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{format_shape(self.shape)}"


class Parameter(Value, frozen=True, forbid_unknown_fields=True):
    """A value that is stored with the network; training updates it unless ``trainable`` is false.

    ``packed`` is the element type of at most a byte, such as ``"int4"``, that a file packs its elements in.
    """

    trainable: bool = True
    packed: str | msgspec.UnsetType = msgspec.UNSET


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call of an operator. An omitted optional input has the empty name ``""``."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = {}
    domain: str = ""

    def __str__(self) -> str:
        return f"'{self.name}' ({self.operator})"

    @property
    def full_operator(self) -> str:
        """The operator, with the domain in front unless that is ONNX's own; the name of an opaque one has a domain."""
        return self.operator if "." in self.operator or not self.domain else f"{self.domain}.{self.operator}"


class Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True, weakref=True):
    """Nodes in topological order, and the inputs, outputs and parameters.

    ``outputs`` are names of values; their types follow from the nodes (see ``operators.infer``).
    """

    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    nodes: tuple[Node, ...]
    name: str = "network"

    def values(self) -> Iterator[str]:
        """Names of all values: inputs, parameters, then the outputs of each node."""
        yield from (value.name for value in self.inputs)
        yield from (value.name for value in self.parameters)
        yield from (name for node in self.nodes for name in node.outputs if name)

    def makers(self) -> dict[str, Node]:
        """The node that makes each value; inputs and parameters are missing."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each value, in order, one of them as often as it reads it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found


def bodies(node: Node) -> Iterator[tuple[str, Graph]]:
    """The graphs in the attributes of a node, in the order of their names.

    The types of their inputs and parameters are those of the node's inputs, and are not stated in them. ``parameters``
    are what a body reads from outside: after its own inputs, the node has one for each of them, body by body.
    """
    for name, value in sorted(node.attributes.items()):
        if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], Graph):
            yield name, value[0]


def trimmed(names: Iterable[str]) -> list[str]:
    """Names of inputs without those of absent ones at the end."""
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return found


def own_inputs(node: Node) -> tuple[str, ...]:
    """The inputs of a node but for what its bodies read from outside."""
    return node.inputs[: len(node.inputs) - sum(len(body.parameters) for _, body in bodies(node))]


def all_nodes(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph, each after those of its bodies."""
    for node in graph.nodes:
        for _, body in bodies(node):
            yield from all_nodes(body)
        yield node


def format_shape(shape: Shape) -> str:
    """``(batch, 784)``: a shape as the messages print it."""
    inner = ", ".join(str(dim) for dim in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def links(node: Node, chain: Sequence[str], makers: Mapping[str, Node]) -> Iterator[tuple[Node, str]]:
    """The last links of chains that end at ``node``: the nodes, and the values that they read.

    Args:
        node: the end.
        chain: the operators before it, the nearest first.
        makers: the node that makes each value.
    """
    for name in node.inputs:
        maker = makers.get(name)
        if maker is None or maker.operator != chain[0]:
            continue
        if len(chain) == 1:
            yield node, name
        else:
            yield from links(maker, chain[1:], makers)
