"""What of ONNX a graph can have. All that it cannot is found in one pass, before anything is translated."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from portable_nn.converters.onnx.opsets import NEWEST, OLDEST
from portable_nn.converters.onnx.tensors import is_attribute
from portable_nn.errors import FormatError, UnsupportedError, listed
from portable_nn.operators import REGISTRY
from portable_nn.operators.registry import ONNX_DTYPES

_STANDARD: Final = {"", "ai.onnx"}
"""The two names of the standard's domain."""


def opset_of(model: ModelProto, where: str) -> int:
    """The version of the standard operators that a model uses.

    Raises:
        FormatError: it does not say, so that it cannot be a whole model.
        UnsupportedError: it is not one that is read.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in _STANDARD]
    if not model.HasField("graph") or not versions:
        lacks = "version of the standard operators" if model.HasField("graph") else "graph"
        raise FormatError(where, f"is not a whole ONNX model: it has no {lacks}")
    if not OLDEST <= versions[0] <= NEWEST:
        raise UnsupportedError(where, f"uses opset {versions[0]}; {OLDEST} to {NEWEST} are read")
    return int(versions[0])


def names_in(graph: GraphProto) -> Iterator[str]:
    """Every name that a graph gives to a value or node."""
    for named in (*graph.input, *graph.initializer, *graph.node):
        yield named.name
    for node in graph.node:
        yield from node.output


def check_supported(model: ModelProto, where: str) -> None:
    """Raise one error for all that is not supported. Whatever passes can be translated."""
    _check_names(model.graph, where)
    lines = [line for look in (_operators, _attributes, _types) for line in look(model.graph)]
    if lines:
        raise UnsupportedError(where, listed(lines, "not supported"))


def _check_names(graph: GraphProto, where: str) -> None:
    # Protocol buffers give bytes for a text that is not UTF-8.
    if not all(type(name) is str for name in names_in(graph)):
        raise FormatError(where, "has a name that is not text in UTF-8")
    made = Counter(tensor.name for tensor in graph.initializer)
    made.update(name for node in graph.node for name in node.output if name)
    if twice := [f"'{name}'" for name, count in made.items() if count > 1]:
        raise FormatError(where, f"makes values twice: {', '.join(twice)}")


def _operators(graph: GraphProto) -> Iterator[str]:
    users: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        if not _is_supported(node):
            domain = "" if node.domain in _STANDARD else f"{node.domain}."
            users[domain + node.op_type].append(node.name or ", ".join(node.output))
    for operator, names in sorted(users.items()):
        some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        yield f"operator '{operator}', in {len(names)} {'node' if len(names) == 1 else 'nodes'}: {some}"


def _is_supported(node: NodeProto) -> bool:
    return node.domain in _STANDARD and ("", node.op_type) in REGISTRY


def _attributes(graph: GraphProto) -> Iterator[str]:
    for node in filter(_is_supported, graph.node):
        for attribute in node.attribute:
            label = f"attribute '{attribute.name}' of node '{node.name}' ({node.op_type})"
            if not is_attribute(attribute):
                yield f"{label}, of type {AttributeProto.AttributeType.Name(attribute.type)}"
            elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type not in ONNX_DTYPES:
                yield f"{label}, with elements of type {_type_name(attribute.t.data_type)}"


def _types(graph: GraphProto) -> Iterator[str]:
    if graph.sparse_initializer:
        yield f"sparse tensors: {', '.join(tensor.values.name for tensor in graph.sparse_initializer)}"
    for tensor in graph.initializer:
        if tensor.data_type not in ONNX_DTYPES:
            yield f"tensor '{tensor.name}', with elements of type {_type_name(tensor.data_type)}"
    for value in graph.input:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            yield f"input '{value.name}', which is {(kind or 'nothing known').removesuffix('_type')} and not a tensor"
        elif value.type.tensor_type.elem_type not in ONNX_DTYPES:
            yield f"input '{value.name}', with elements of type {_type_name(value.type.tensor_type.elem_type)}"
        elif not value.type.tensor_type.HasField("shape"):
            yield f"input '{value.name}', whose number of dimensions is not known"


def _type_name(code: int) -> str:
    known: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return known.get(code, str(code))
