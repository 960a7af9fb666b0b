"""ONNX models with other ends: parts of a model, and numbers in the place of symbolic sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from portable_nn.core.tensors import Array
from portable_nn.runtimes.task import Port

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


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
    from portable_nn.onnx.opsets.support import needed_nodes, reads

    nodes = needed_nodes(graph, [value])
    needed = {value, *(name for node in nodes for name in reads(node))}
    made = [next(name for name in node.output if name in needed) for node in nodes]
    pairs = zip(nodes, made, strict=True)
    return [Step(node.name or name, node.op_type, tuple(reads(node)), name) for node, name in pairs]


def cut(model: ModelProto, value: str, port: Port | None = None) -> ModelProto:
    """The part of a model that computes one value; the output has the type of ``port``, or none."""
    from onnx import helper

    from portable_nn.onnx.opsets.support import needed_nodes, reads
    from portable_nn.operators import DTYPE_CODES

    made = type(model)()
    made.CopyFrom(model)
    graph, kept = made.graph, needed_nodes(model.graph, [value])
    needed = {value, *(name for node in kept for name in reads(node))}
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(kept)
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
