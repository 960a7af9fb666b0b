"""Graphs as ONNX models and back. Nothing here knows networks, and nothing opens a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

import portable_nn
from portable_nn.converters.onnx.opsets import OLDEST, Names, from_opset, signature, to_opset
from portable_nn.converters.onnx.support import check_supported, names_in, opset_of
from portable_nn.converters.onnx.tensors import from_attribute, from_tensor, literal, to_attribute, to_tensor
from portable_nn.errors import GraphError, UsageError
from portable_nn.format.tensors import Array
from portable_nn.graph import INTERNAL, OPSET, Dim, Graph, Node, Parameter, Value
from portable_nn.operators import infer
from portable_nn.operators.registry import DTYPE_CODES, FLOATS, INTEGERS, ONNX_DTYPES

Arrays: TypeAlias = Mapping[str, Array]

MAX_BYTES: Final = 2**31 - 1
"""Protocol buffers hold no more than this."""

LARGE: Final = 1024
"""Elements up to which an array is a constant in the graph; larger ones are stored as parameters."""


# -- to ONNX


def to_model(
    graph: Graph,
    parameters: Arrays,
    *,
    opset: int = 17,
    metadata: Mapping[str, str] = MappingProxyType({}),
    doc: str = "",
) -> ModelProto:
    """``graph`` as a model at ``opset``, every name as it is. The same arguments give the same bytes.

    Args:
        graph: what to write, without operators of the package's own domain.
        parameters: the values of its parameters, which become initializers.
        opset: 13 to 25; the IR version is the lowest that goes with it.
        metadata: the model's ``metadata_props``, written in the order of their keys.
        doc: the model's ``doc_string``.

    Raises:
        UsageError: an opset that is not written, or that cannot express the graph; all that it cannot is listed, with
            the lowest opset that can. A model of more than 2 GiB.
        GraphError: the graph is not consistent.
    """
    _check_writable(graph, parameters, opset)
    types = infer(graph).types
    outputs = [Value(name, types[name].dtype, types[name].shape) for name in graph.outputs]
    proto = GraphProto(
        name=graph.name,
        node=[_to_node(node, opset) for node in to_opset(graph, types, opset)],
        input=[_to_value(value) for value in graph.inputs],
        output=[_to_value(value) for value in outputs],
        initializer=[to_tensor(value.name, parameters[value.name]) for value in graph.parameters],
    )
    standard = onnx.OperatorSetIdProto(domain="", version=opset)
    model = ModelProto(
        ir_version=helper.find_min_ir_version_for([standard]), opset_import=[standard], graph=proto,
        producer_name="portable-nn", producer_version=portable_nn.__version__,
    )  # fmt: skip
    if doc:
        model.doc_string = doc
    helper.set_model_props(model, dict(sorted(metadata.items())))
    return model


def to_bytes(model: ModelProto) -> bytes:
    """The bytes of a model; the same model gives the same ones."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _check_writable(graph: Graph, parameters: Arrays, opset: int) -> None:
    if not OLDEST <= opset <= OPSET:
        raise UsageError(f"opset must be {OLDEST} to {OPSET}, not {opset}")
    own = [f"'{node.name}' ({node.operator})" for node in graph.nodes if node.domain == INTERNAL]
    if own:
        raise UsageError(f"only standard operators can be written as ONNX, not those of training: {', '.join(own)}")
    size = sum(array.nbytes for array in parameters.values())
    if size > MAX_BYTES:
        raise UsageError(f"the parameters have {size} bytes; an ONNX file holds at most {MAX_BYTES}")


def _to_value(value: Value) -> ValueInfoProto:
    return helper.make_tensor_value_info(value.name, DTYPE_CODES[value.dtype], value.shape)


def _to_node(node: Node, opset: int) -> NodeProto:
    known = signature(node.operator, opset)
    assert known is not None  # to_opset has refused all others
    attributes = [to_attribute(name, value, known.attributes[name]) for name, value in sorted(node.attributes.items())]
    return NodeProto(
        op_type=node.operator, name=node.name, input=node.inputs, output=node.outputs, attribute=attributes
    )


# -- from ONNX


class Read(NamedTuple):
    """A graph that was read, and the values of its parameters."""

    graph: Graph
    parameters: dict[str, Array]


def from_model(model: ModelProto, where: str) -> Read:
    """The graph of a model, in the vocabulary of ``OPSET``, every name as it is; and its parameters' values.

    Initializers become parameters, trainable where they are floats, even if they are listed among the inputs; large
    constants become parameters that are not trainable. Small lists of whole numbers become constants, because shape
    rules must see them. Nodes without a name of their own get one.

    Args:
        model: a model at an opset from 13 to 28.
        where: the file that messages name.

    Raises:
        FormatError: not a whole ONNX model, or a damaged tensor.
        UnsupportedError: an opset, operators, types or attributes that are not supported; all of them are listed.
        GraphError: nodes that do not fit each other; every one of them is listed.
    """
    opset = opset_of(model, where)
    check_supported(model, where)
    names = Names(names_in(model.graph))
    arrays = {proto.name: from_tensor(proto, where) for proto in model.graph.initializer}
    small = {name: array for name, array in arrays.items() if _decides_shapes(array)}
    large = [node for node in model.graph.node if _is_large(node)]
    frozen = {node.output[0]: from_tensor(_tensor_of(node), where, f"'{node.output[0]}'") for node in large}
    nodes = [_constant(name, array, names) for name, array in small.items()]
    for proto, name in zip(model.graph.node, _node_names(model.graph, names), strict=True):
        if not _is_large(proto):
            nodes.extend(from_opset(_from_node(proto, name, where), opset, names))
    parameters = {name: array for name, array in (arrays | frozen).items() if name not in small}
    graph = Graph(
        inputs=tuple(_from_value(value, names) for value in model.graph.input if value.name not in arrays),
        outputs=tuple(value.name for value in model.graph.output),
        parameters=tuple(
            Parameter(name, array.dtype.name, array.shape, name not in frozen and array.dtype.name in FLOATS)
            for name, array in parameters.items()
        ),
        nodes=tuple(nodes),
        name=model.graph.name or "network",
    )
    try:
        infer(graph)
    except GraphError as error:
        raise GraphError(error.faults, where) from None
    return Read(graph, parameters)


def _decides_shapes(array: Array) -> bool:
    """Whether an initializer may be the sizes, axes or pads that the shape rules must see: it becomes a constant."""
    return array.dtype.name in INTEGERS and array.ndim <= 1 and array.size <= LARGE


def _constant(name: str, array: Array, names: Names) -> Node:
    return Node(names.fresh(f"{name}.constant"), "Constant", (), (name,), {"value": literal(array)})


def _is_large(node: NodeProto) -> bool:
    """Whether a node makes a constant that is better kept among the parameters."""
    return node.op_type == "Constant" and len(node.output) == 1 and math.prod(_tensor_of(node).dims) > LARGE


def _tensor_of(node: NodeProto) -> TensorProto:
    """The tensor of a Constant node; an empty one where it holds numbers in another form."""
    return next((attribute.t for attribute in node.attribute if attribute.name == "value"), TensorProto(dims=[0]))


def _node_names(graph: GraphProto, names: Names) -> Iterator[str]:
    """A name for each node: its own, but for a node without one or with one that came before."""
    seen: set[str] = {""}
    for node in graph.node:
        unique = node.name not in seen
        seen.add(node.name)
        yield node.name if unique else names.fresh(node.name or node.op_type.lower())


def _from_node(proto: NodeProto, name: str, where: str) -> Node:
    attributes = {attribute.name: from_attribute(attribute, where) for attribute in proto.attribute}
    return Node(name, proto.op_type, tuple(proto.input), tuple(proto.output), attributes)


def _from_value(proto: ValueInfoProto, names: Names) -> Value:
    """An input; a size that is neither known nor named gets a name."""
    tensor = proto.type.tensor_type

    def size(axis: int, dim: onnx.TensorShapeProto.Dimension) -> Dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:  # Some tools write -1 for what they do not know.
            return dim.dim_value
        return dim.dim_param or names.fresh(f"{proto.name}.{axis}")

    shape = tuple(size(axis, dim) for axis, dim in enumerate(tensor.shape.dim))
    return Value(proto.name, ONNX_DTYPES[tensor.elem_type], shape)
