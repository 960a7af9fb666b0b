"""ONNX models with other ends: parts of a model, and numbers in the place of symbolic sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from portable_nn.core.tensors import Array
from portable_nn.runtimes.task import Port

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


def cut(model: ModelProto, value: str, port: Port, known: Mapping[str, Array]) -> ModelProto:
    """The part of a model that computes one ``value``, an output as ``port`` says, from values that are ``known``."""
    from portable_nn.onnx.opsets.support import needed_nodes, reads

    made = type(model)(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = made.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    for node in graph.node:
        node.output[:] = ["" if name in known and name != value else name for name in node.output]
    kept = needed_nodes(graph, [value])
    needed = {value, *(name for node in kept for name in reads(node))}
    types = [Port(name, known[name].dtype.name, known[name].shape) for name in sorted(known.keys() & needed)]
    del graph.node[:]
    graph.node.extend(kept)
    graph.input.extend(map(typed, types))
    graph.initializer.extend(each for each in model.graph.initializer if each.name in needed - known.keys())
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    graph.output.append(typed(port))
    return made


def typed(port: Port) -> ValueInfoProto:
    """The description of an end of a model; sizes that are names are open."""
    from onnx import helper

    from portable_nn.operators import DTYPE_CODES

    sizes = [None if isinstance(size, str) else size for size in port.shape]
    return helper.make_tensor_value_info(port.name, DTYPE_CODES[port.dtype], sizes)


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
