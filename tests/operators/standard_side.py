"""The other side of the comparisons: a graph as an ONNX model, run by onnxruntime or by onnx's own reference.

This is written apart from ``converters/onnx``, so that the tests do not trust what they test.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from portable_nn.core.graph import INTERNAL, OPSET, Graph, Node, Parameter, Tensor, Value
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, emit_all, infer, lookup, replay, trace
from portable_nn.operators.registry import DTYPE_CODES, Array, Type


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph as it is: its operators must all be the standard's."""
    types = infer(graph).types
    nodes = [each for node in graph.nodes for each in _held(_node(node, {}, "", types), types)]
    inputs = [helper.make_tensor_value_info(v.name, DTYPE_CODES[v.dtype], v.shape) for v in graph.inputs]
    outputs = [_info(name, types[name]) for name in graph.outputs]
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(
        helper.make_graph(nodes, graph.name, inputs, outputs), opset_imports=[opset], ir_version=11
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _info(name: str, type: Type) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, DTYPE_CODES[type.dtype], type.shape)


def _node(node: Node, names: Mapping[str, str], prefix: str, types: Mapping[str, Type]) -> onnx.NodeProto:
    """A node in a body whose values are called as ``names`` say; those of its own bodies begin with ``prefix``."""
    inputs, outputs = ([names.get(name, name) for name in side] for side in (node.inputs, node.outputs))
    attributes, given = _attributes(node.attributes), [types[each] for each in node.inputs if each]
    for name, value in sorted(attributes.items(), reverse=True):
        if isinstance(value, tuple) and value and isinstance(value[0], Graph):
            [body], before = value, f"{prefix}{node.name}/{name}/"
            outside = [inputs.pop() for _ in body.parameters][::-1]
            own = {**{v.name: before + v.name for v in body.inputs}}
            own |= {each: before + each for inner in body.nodes for each in inner.outputs}
            own |= dict(zip([value.name for value in body.parameters], outside, strict=True))
            read = [given.pop() for _ in body.parameters][::-1]
            inside = infer(_typed(body, _entries(node, given), read)).types
            inner = [_node(each, own, before, inside) for each in body.nodes]
            ends = [f"{before}{place}" for place in range(len(body.outputs))]
            inner += [helper.make_node("Identity", [own[a]], [b]) for a, b in zip(body.outputs, ends, strict=True)]
            entries = [_info(own[value.name], inside[value.name]) for value in body.inputs]
            results = [_info(end, inside[value]) for end, value in zip(ends, body.outputs, strict=True)]
            attributes[name] = helper.make_graph(inner, body.name, entries, results)
    return helper.make_node(node.operator, inputs, outputs, node.name, **attributes)


def _entries(node: Node, given: list[Type]) -> list[Type]:
    """What a body takes in one turn, of what its node takes; all loops here keep the shapes of their states."""
    if node.operator == "Loop":
        return [Type("int64", ()), Type("bool", ()), *given[2 - node.inputs[:2].count("") :]]
    scanned = node.attributes.get("num_scan_inputs", 0)
    axes = dict(enumerate(node.attributes.get("scan_input_axes", ()), len(given) - scanned))
    shapes = [list(each.shape) for each in given]
    for place in range(len(given) - scanned, len(given)):
        del shapes[place][axes.get(place, 0)]
    return [Type(each.dtype, tuple(shape)) for each, shape in zip(given, shapes, strict=True)]


def _typed(body: Graph, entries: list[Type], read: list[Type]) -> Graph:
    inputs = [Value(a.name, b.dtype, b.shape) for a, b in zip(body.inputs, entries, strict=False)]
    captured = [Parameter(a.name, b.dtype, b.shape) for a, b in zip(body.parameters, read, strict=True)]
    return Graph(tuple(inputs), body.outputs, tuple(captured), body.nodes, body.name)


def _held(node: onnx.NodeProto, types: Mapping[str, Type]) -> list[onnx.NodeProto]:
    """A node, and behind a cast to a type that numpy lacks, a cast to the one that holds its numbers."""
    if node.op_type != "Cast" or all(each.i in DTYPE_CODES.values() for each in node.attribute if each.name == "to"):
        return [node]
    [made], narrow = node.output, f"{node.output[0]} narrow"
    node.output[:] = [narrow]
    return [node, helper.make_node("Cast", [narrow], [made], to=DTYPE_CODES[types[made].dtype])]


def _attributes(attributes: Mapping[str, object]) -> dict[str, object]:
    return {name: _tensor(value) if isinstance(value, Tensor) else value for name, value in attributes.items()}


def _tensor(value: Tensor) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value.data, value.dtype).reshape(value.shape))


def run_runtime(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    """What onnxruntime computes, with its own rewriting of graphs turned off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString(), options)
    return list(session.run(None, dict(feeds)))


def run_reference(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    return [np.asarray(found) for found in ReferenceEvaluator(to_onnx(graph)).run(None, dict(feeds))]


def run_plan(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    """What the numpy engine computes."""
    plan = Plan(graph, {name: array.shape for name, array in feeds.items()}, {})
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return [plan.outputs[name].copy() for name in graph.outputs]


LACKING = frozenset({"Swish"})
"""Operators of the standard that onnxruntime 1.32 lacks."""


def lowered(graph: Graph, also: Collection[str] = LACKING) -> Graph:
    """The graph with standard operators in place of the package's own, and of the operators ``also``.

    A lowering may need further operators of the package, which are then replaced as well.
    """
    symbols: dict[str, Symbol] = replay(graph)
    for node in graph.nodes:
        operator = lookup(node.operator, node.domain)
        inputs = [symbols[name] if name else None for name in node.inputs]
        if node.domain == INTERNAL or node.operator in also:
            assert operator.lowering is not None
            found = operator.lowering(*inputs, **node.attributes)
            made = [found] if isinstance(found, Symbol) else list(found)[: len(node.outputs)]
        else:
            made = list(emit_all(node.operator, *inputs, outputs=len(node.outputs), **node.attributes))
        symbols.update(zip(node.outputs, made, strict=True))
    leaves = [leaf for value in graph.inputs if isinstance(leaf := symbols[value.name], Leaf)]
    made_of = trace(leaves, [symbols[name] for name in graph.outputs]).graph
    return lowered(made_of, also) if any(node.domain == INTERNAL for node in made_of.nodes) else made_of
