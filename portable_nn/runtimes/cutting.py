"""ONNX models with other ends: parts of a model, and numbers in the place of symbolic sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from portable_nn.core.tensors import Array
from portable_nn.runtimes.task import Port

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


class Step(NamedTuple):
    """A node: its name, its operator, the names that it reads, and its output that others depend on."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    value: str

    def __str__(self) -> str:
        return f"'{self.name}' ({self.operator})"


def steps(graph: GraphProto, value: str) -> list[Step]:
    """The nodes that a value depends on, in order, with that which computes it."""
    needed, found = {value}, list[Step]()
    for node in reversed(graph.node):
        if made := [name for name in node.output if name in needed]:
            inputs = tuple(read(node))
            needed.update(inputs)
            found.append(Step(node.name or made[0], node.op_type, inputs, made[0]))
    return found[::-1]


def read(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, also in its subgraphs."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            for inner in graph.node:
                yield from read(inner)


def cut(model: ModelProto, value: str, port: Port | None = None) -> ModelProto:
    """The part of a model that computes one value; the output has the type of ``port``, or none."""
    from onnx import helper

    from portable_nn.operators import DTYPE_CODES

    made = type(model)()
    made.CopyFrom(model)
    graph, needed, kept = made.graph, {value}, list[Any]()
    for node in reversed(model.graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(read(node))
            kept.append(node)
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    if port is None:
        graph.output.append(helper.make_empty_tensor_value_info(value))
    else:
        graph.output.append(helper.make_tensor_value_info(value, DTYPE_CODES[port.dtype], [None] * len(port.shape)))
    for ends in (graph.initializer, graph.input):
        wanted = [each for each in ends if each.name in needed]
        del ends[:]
        ends.extend(wanted)
    return made


def with_sizes(model: ModelProto, arrays: Mapping[str, Array]) -> ModelProto:
    """A copy of a model whose inputs and outputs have the shapes of ``arrays``."""
    made = type(model)()
    made.CopyFrom(model)
    for value in (*made.graph.input, *made.graph.output):
        if value.name in arrays:
            shape = value.type.tensor_type.shape
            shape.Clear()
            value.type.tensor_type.shape.SetInParent()
            for number in arrays[value.name].shape:
                shape.dim.add(dim_value=number)
    del made.graph.value_info[:]
    return made
