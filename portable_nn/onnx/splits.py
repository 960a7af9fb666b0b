"""Parts of a split that is written as a sequence of tensors, ``SplitToSequence`` and ``SequenceAt``, as slices.

Exporters write ``x.split(size)`` so. There are no sequences of tensors here; where the sizes and the places are
constant, each part is a ``Slice``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import filterfalse
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def without_sequences(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """``model`` with slices for the parts of such splits, and the names of the splits; never changed in place."""
    splits = {node.output[0]: node for node in model.graph.node if _is(node, "SplitToSequence") and len(node.input) > 1}
    if not splits:
        return model, []
    constants = _constants(model)
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    nodes = [each for node in model.graph.node for each in _sliced(node, splits, constants, taken)]
    read = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    gone = [*filterfalse(read.__contains__, splits)]
    if not gone:
        return model, []
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    made.graph.node.extend(node for node in nodes if set(node.output).isdisjoint(gone))
    return made, gone


def _is(node: NodeProto, operator: str) -> bool:
    return node.op_type == operator and node.domain in ("", "ai.onnx")


def _constants(model: ModelProto) -> dict[str, Any]:
    """The values of small constants by name."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if _is(node, "Constant"):
            tensors.update(zip(node.output, (each.t for each in node.attribute if each.name == "value"), strict=False))
    given = {value.name for value in model.graph.input}
    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if name not in given
        and tensor.data_type in (TensorProto.INT32, TensorProto.INT64)
        and tensor.data_location != TensorProto.EXTERNAL
    }


def _part(
    node: NodeProto, splits: Mapping[str, NodeProto], constants: Mapping[str, Any]
) -> tuple[str, int, int, int] | None:
    """The tensor, axis, begin and end of a part; ``None`` where they are not constant."""
    split = splits.get(node.input[0])
    if split is None or split.input[1] not in constants or node.input[1] not in constants:
        return None
    sizes, place = constants[split.input[1]], int(constants[node.input[1]])
    axis = next((each.i for each in split.attribute if each.name == "axis"), 0)
    if sizes.ndim == 0:
        return (split.input[0], axis, place * int(sizes), (place + 1) * int(sizes)) if place >= 0 else None
    if not 0 <= place < sizes.size:
        return None
    ends = np.cumsum(sizes)
    return split.input[0], axis, int(ends[place] - sizes[place]), int(ends[place])


def _sliced(
    node: NodeProto, splits: Mapping[str, NodeProto], constants: Mapping[str, Any], taken: set[str]
) -> Sequence[NodeProto]:
    """The slice in place of a node that is a part of a split."""
    part = _part(node, splits, constants) if _is(node, "SequenceAt") else None
    if part is None:
        return [node]
    x, *numbers = part
    names, nodes = [x], list[NodeProto]()
    for role, number in zip(("axes", "starts", "ends"), numbers, strict=True):
        name = f"{node.output[0]}_{role}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(helper.make_node("Constant", [], [name], value_ints=[number]))
        names.append(name)
    x, axes, starts, ends = names
    return [*nodes, helper.make_node("Slice", [x, starts, ends, axes], node.output, name=node.name)]
