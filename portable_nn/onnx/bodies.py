"""The bodies of loops and branches in place of the nodes that hold them, for counting what they cost: each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Final

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from portable_nn.onnx.opsets.support import copy_initializers, label
from portable_nn.onnx.storage.functions import nested, subgraphs

LOOPS: Final = frozenset({"Loop", "Scan"})

TURN, _TRUE = "turn", "goes on"
"""The constants that the body of a loop gets."""


def bodies_once(model: ModelProto) -> ModelProto:
    """``model`` with each body once; what a loop makes of all its turns together has no maker there."""
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    made.graph.initializer.extend(
        [
            helper.make_tensor(f"/{TURN}", TensorProto.INT64, [], [0]),
            helper.make_tensor(f"/{_TRUE}", TensorProto.BOOL, [], [True]),
        ]
    )
    made.graph.node.extend(_nodes(model.graph, {}, made.graph, count()))
    return made


def loops_in(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """The loops among nodes and in their bodies: their labels, and what they are."""
    return (f"'{label(node)}' ({node.op_type})" for node in nested(nodes) if node.op_type in LOOPS)


def _nodes(
    graph: GraphProto, names: Mapping[str, str], made: GraphProto, numbers: Iterator[int]
) -> Iterator[NodeProto]:
    """The nodes of a graph and of those in it; ``names`` are what values are called in ``made``, where others."""
    for node in graph.node:
        bodies = list(subgraphs(node))
        inputs, outputs = ([names.get(each, each) for each in side] for side in (node.input, node.output))
        if not bodies:
            yield NodeProto(
                op_type=node.op_type,
                domain=node.domain,
                name=node.name,
                input=inputs,
                output=outputs,
                attribute=node.attribute,
            )
        for body in bodies:
            own = [each.name for each in (*body.input, *body.initializer)]
            own += [name for each in body.node for name in each.output]
            prefix = f"/{next(numbers)}/"
            inside = {**names, **{name: prefix + name for name in own if name}}
            copy_initializers(body, made, inside)
            starts, ends = _sides(node, body, inputs)
            for start, given in zip(starts, body.input, strict=False):
                start.output.append(inside.get(given.name, ""))
                yield start
            yield from _nodes(body, inside, made, numbers)
            results = [inside.get(each.name, each.name) for each in body.output][ends]
            for result, name in zip(results, outputs if body is bodies[0] else (), strict=False):
                yield helper.make_node("Identity", [result], [name])


def _sides(node: NodeProto, body: GraphProto, inputs: list[str]) -> tuple[list[NodeProto], slice]:
    """The nodes that make the inputs of a body in the first turn, and the slice of its outputs that are those of the
    node, in order."""
    if node.op_type == "Loop":
        given = [f"/{TURN}", f"/{_TRUE}", *inputs[2:]]
        return [helper.make_node("Identity", [each], []) for each in given], slice(1, len(inputs) - 1)
    if node.op_type != "Scan":
        return [], slice(None)
    options = {each.name: each for each in node.attribute}
    states = len(inputs) - options.get("num_scan_inputs", AttributeProto()).i
    axes = options.get("scan_input_axes", AttributeProto()).ints or [0] * len(inputs)
    slices = [
        helper.make_node("Gather", [each, f"/{TURN}"], [], axis=axis)
        for each, axis in zip(inputs[states:], axes, strict=False)
    ]
    return [*(helper.make_node("Identity", [each], []) for each in inputs[:states]), *slices], slice(states)
