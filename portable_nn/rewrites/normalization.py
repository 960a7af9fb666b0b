"""Batch normalization as part of the convolution before it: the same numbers but for rounding, from less work."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec.structs import replace

from portable_nn.core.dims import static
from portable_nn.core.graph import Attribute, Node, Tensor
from portable_nn.operators import Types, infer, lookup
from portable_nn.rewrites.program import Names, Program, read_once


def normalization_in_convolutions(program: Program) -> Program:
    """``program`` with every BatchNormalization of a Conv that nothing else reads as part of it.

    With f = scale / √(variance + ε), the weight becomes W·f and the bias B + (b - mean)·f. Nodes compute both, as the
    weights may be written to. So it saves work where the output has more elements than the weight: where sizes of the
    inputs are unknown, nothing is changed.
    """
    graph = program.graph
    makers = read_once(graph)
    pairs = {
        node.name: makers[node.inputs[0]]
        for node in graph.nodes
        if _is(node, "BatchNormalization") and _is(makers.get(node.inputs[0]), "Conv")
    }
    types = infer(graph).types if pairs else {}
    pairs = {norm.name: pairs[norm.name] for norm in graph.nodes if norm.name in pairs and _pays(norm, pairs, types)}
    if not pairs:
        return program
    alone, names, nodes = {conv.name for conv in pairs.values()}, Names.beside(graph), list[Node]()
    for node in graph.nodes:
        if node.name in pairs:
            nodes += _together(node, pairs[node.name], types, names)
        elif node.name not in alone:
            nodes.append(node)
    return program._replace(graph=replace(graph, nodes=tuple(nodes)))


def _is(node: Node | None, operator: str) -> bool:
    return node is not None and node.operator == operator and not node.domain


def _pays(norm: Node, pairs: Mapping[str, Node], types: Types) -> bool:
    """True if the weight has fewer elements than the output, and everything is of one type, float32 or float64."""
    conv = pairs[norm.name]
    weight, output = (static(types[name].shape) for name in (conv.inputs[1], norm.outputs[0]))
    dtypes = {types[name].dtype for name in (*conv.inputs, *norm.inputs) if name}
    if norm.attributes.get("training_mode") or weight is None or output is None or len(dtypes) > 1:
        return False
    return dtypes <= {"float32", "float64"} and math.prod(weight) < math.prod(output)


def _together(norm: Node, conv: Node, types: Types, names: Names) -> list[Node]:
    """The convolution with another weight and bias, after the nodes that compute these."""
    _, scale, shift, mean, variance = norm.inputs
    weight, bias = conv.inputs[1], (*conv.inputs, "")[2]
    made: list[Node] = []

    def add(operator: str, *inputs: str, **attributes: Attribute) -> str:
        name = names.fresh(f"{norm.name}.{operator.lower()}")
        made.append(Node(name, operator, inputs, (name,), attributes))
        return name

    epsilon = norm.attributes.get("epsilon", lookup("BatchNormalization").attributes["epsilon"].default)
    assert isinstance(epsilon, float)
    rank = len(types[weight].shape)
    root = add("Sqrt", add("Add", variance, add("Constant", value=Tensor(types[weight].dtype, (), (epsilon,)))))
    factor = add("Div", scale, root)
    column = add("Constant", value=Tensor("int64", (rank,), (-1, *[1] * (rank - 1))))
    new_weight = add("Mul", weight, add("Reshape", factor, column))
    centre = add("Sub", bias, mean) if bias else add("Neg", mean)
    new_bias = add("Add", add("Mul", centre, factor), shift)
    return [*made, replace(conv, inputs=(conv.inputs[0], new_weight, new_bias), outputs=norm.outputs[:1])]
