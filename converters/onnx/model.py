"""Graphs as ONNX models and back. Nothing here knows networks, and nothing opens a file."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

import portable_nn
from portable_nn.converters.onnx.external import Place, places, refer
from portable_nn.converters.onnx.folding import LARGE
from portable_nn.converters.onnx.forms import SETTINGS
from portable_nn.converters.onnx.opsets import OLDEST_WRITTEN, from_opset, to_opset
from portable_nn.converters.onnx.scope import Names
from portable_nn.converters.onnx.standard import signature
from portable_nn.converters.onnx.support import check_supported, names_in, opset_of
from portable_nn.converters.onnx.tensors import from_attribute, from_tensor, literal, to_attribute, to_tensor
from portable_nn.errors import GraphError, UsageError
from portable_nn.format.tensors import ITEM_SIZES, Array
from portable_nn.graph import INTERNAL, OPSET, Dim, Graph, Node, Parameter, Value
from portable_nn.operators import Type, infer
from portable_nn.operators.registry import DTYPE_CODES, FLOATS, INTEGERS, ONNX_DTYPES, REGISTRY

Arrays: TypeAlias = Mapping[str, Array]

MAX_BYTES: Final = 2**31 - 1
"""Protocol buffers hold no more than this."""


# -- to ONNX


def to_model(
    graph: Graph,
    parameters: Arrays,
    *,
    opset: int = 17,
    metadata: Mapping[str, str] = MappingProxyType({}),
    doc: str = "",
    location: str | None = None,
) -> ModelProto:
    """``graph`` as a model at ``opset``, every name as it is. The same arguments give the same bytes.

    An operator that the opset lacks is written as older ones; where windows stand is said by pads in numbers.

    Args:
        graph: what to write, without operators of the package's own domain.
        parameters: the values of its parameters, which become initializers.
        opset: 13 to 25; the IR version is the lowest that goes with it.
        metadata: the model's ``metadata_props``, written in the order of their keys.
        doc: the model's ``doc_string``.
        location: the file beside the model that has the large parameters (see ``external``); it is not written here.

    Raises:
        UsageError: an opset that is not written, or that cannot express the graph; all that it cannot is listed, with
            the lowest opset that can. Parameters of more than 2 GiB without a ``location``.
        GraphError: the graph is not consistent.
    """
    apart = places(graph.parameters) if location else {}
    _check_writable(graph, opset)
    check_size(value for value in graph.parameters if value.name not in apart)
    types = infer(graph).types
    outputs = [Value(name, types[name].dtype, types[name].shape) for name in graph.outputs]
    proto = GraphProto(
        name=graph.name,
        node=[_to_node(node, opset) for node in to_opset(graph, types, opset)],
        input=[_to_value(value) for value in graph.inputs],
        output=[_to_value(value) for value in outputs],
        initializer=[
            _elsewhere(value, location or "", apart[value.name])
            if value.name in apart
            else to_tensor(value.name, parameters[value.name])
            for value in graph.parameters
        ],
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


def _elsewhere(value: Value, location: str, place: Place) -> TensorProto:
    tensor = TensorProto(name=value.name, dims=map(int, value.shape), data_type=DTYPE_CODES[value.dtype])
    refer(tensor, location, place)
    return tensor


def _check_writable(graph: Graph, opset: int) -> None:
    if not OLDEST_WRITTEN <= opset <= OPSET:
        raise UsageError(f"opset must be {OLDEST_WRITTEN} to {OPSET}, not {opset}")
    own = [f"'{node.name}' ({node.operator})" for node in graph.nodes if node.domain == INTERNAL]
    if own:
        raise UsageError(f"only standard operators can be written as ONNX, not those of training: {', '.join(own)}")


def size_of(values: Iterable[Value]) -> int:
    """How many bytes parameters have."""
    return sum(ITEM_SIZES[value.dtype] * math.prod(map(int, value.shape)) for value in values)


def check_size(values: Iterable[Value]) -> None:
    """Raise ``UsageError`` where one ONNX file cannot hold these parameters."""
    if (size := size_of(values)) > MAX_BYTES:
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
    """A graph that was read, the values of its parameters, and what is said in it otherwise than in the file."""

    graph: Graph
    parameters: dict[str, Array]
    notes: list[str]


def from_model(model: ModelProto, where: str) -> Read:
    """The graph of a model, in the vocabulary of ``OPSET``, every name as it is; and its parameters' values.

    Initializers become parameters, even if they are listed among the inputs: trainable where they are floats, but for
    running statistics. Large constants become parameters that are not trainable. Small lists of whole numbers become
    constants, because shape rules must see them, and so do numbers that say how an operator works. Nodes without a
    name of their own get one. Pads are numbers wherever the sizes are known.

    Args:
        model: a model at an opset from 7 to 28.
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
    settings = set(read_as(SETTINGS, model.graph))
    small = {name: array for name, array in arrays.items() if name in settings or decides_shapes(array)}
    large = [node for node in model.graph.node if is_large(node)]
    frozen = {node.output[0]: from_tensor(tensor_of(node), where, f"'{node.output[0]}'") for node in large}
    nodes = [constant(name, array, names) for name, array in small.items()]
    for proto, name in zip(model.graph.node, _node_names(model.graph, names), strict=True):
        if not is_large(proto):
            nodes.append(_from_node(proto, name, where))
    arrays = {name: array for name, array in (arrays | frozen).items() if name not in small}
    taken = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_from_value(value, names) for value in model.graph.input if value.name not in taken)
    states = {name: operator.state.values() for (domain, name), operator in REGISTRY.items() if not domain}
    untrained = {*frozen, *read_as(states, model.graph)}
    parameters = tuple(
        Parameter(name, array.dtype.name, array.shape, name not in untrained and array.dtype.name in FLOATS)
        for name, array in arrays.items()
    )
    outputs = tuple(value.name for value in model.graph.output)
    types = {value.name: Type(value.dtype, value.shape) for value in (*inputs, *parameters)}
    try:
        nodes, notes = from_opset(nodes, types, opset, names, outputs)
        graph = Graph(inputs, outputs, parameters, tuple(nodes), model.graph.name or "network")
        infer(graph)
    except GraphError as error:
        raise GraphError(error.faults, where) from None
    return Read(graph, arrays, notes)


def read_as(places: Mapping[str, Collection[int]], graph: GraphProto) -> Iterator[str]:
    """The values that some node takes at one of the ``places`` that its operator has."""
    for node in graph.node:
        yield from (name for place, name in enumerate(node.input) if place in places.get(node.op_type, ()))


def decides_shapes(array: Array) -> bool:
    """Whether an initializer may be the sizes, axes or pads that the shape rules must see: it becomes a constant."""
    return array.dtype.name in INTEGERS and array.ndim <= 1 and array.size <= LARGE


def constant(name: str, array: Array, names: Names) -> Node:
    """The node that makes ``array`` under ``name``."""
    return Node(names.fresh(f"{name}.constant"), "Constant", (), (name,), {"value": literal(array)})


def is_large(node: NodeProto) -> bool:
    """Whether a node makes a constant that is better kept among the parameters."""
    return node.op_type == "Constant" and len(node.output) == 1 and math.prod(tensor_of(node).dims) > LARGE


def tensor_of(node: NodeProto) -> TensorProto:
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
