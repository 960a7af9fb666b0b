"""ONNX models with other ends: parts of a model, and numbers in the place of symbolic sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnx import ModelProto, ValueInfoProto, helper

from portable_nn.core.tensors import Array
from portable_nn.onnx.opsets.support import needed_nodes, reads
from portable_nn.operators import DTYPE_CODES
from portable_nn.runtimes.task import Port, port_of


def cut(model: ModelProto, value: str, known: Mapping[str, Array], given: Collection[str]) -> ModelProto:
    """The part of a model that computes one ``value`` from those ``given``, of the types of the ``known`` arrays."""
    made = type(model)(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = made.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    for node in graph.node:
        node.output[:] = ["" if name in given else name for name in node.output]
    kept = needed_nodes(graph, [value])
    needed = {value, *(name for node in kept for name in reads(node))}
    del graph.node[:]
    graph.node.extend(kept)
    graph.input.extend(typed(port_of(name, known[name])) for name in sorted(needed.intersection(given)))
    graph.initializer.extend(each for each in model.graph.initializer if each.name in needed.difference(given))
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    graph.output.append(typed(port_of(value, known[value])))
    return made


def typed(port: Port) -> ValueInfoProto:
    """The description of an end of a model; sizes that are names are open."""
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
