"""Graphs as ONNX models and back. Nothing here knows networks, and nothing opens a file."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from portable_nn.core.errors import Fault, GraphError, PortableNNError, UnsupportedError, UsageError, listed
from portable_nn.core.graph import INTERNAL, OPSET, Graph, Node, Parameter, Tensor, Value
from portable_nn.core.version import __version__
from portable_nn.format.tensors import ITEM_SIZES, Array, is_finite
from portable_nn.onnx.branches import inlined
from portable_nn.onnx.external import Place, places, refer
from portable_nn.onnx.folding import LARGE
from portable_nn.onnx.forms import SETTINGS, WEIGHTS
from portable_nn.onnx.inference import infer_standard, stated_size
from portable_nn.onnx.opsets import OLDEST_WRITTEN, to_opset, translated
from portable_nn.onnx.scope import Names
from portable_nn.onnx.standard import signature
from portable_nn.onnx.support import check_made_once, check_text, is_tensor, names_in, obstacles, opset_of
from portable_nn.onnx.tensors import from_attribute, from_tensor, literal, to_attribute, to_tensor
from portable_nn.operators import Type, infer
from portable_nn.operators.registry import DTYPE_CODES, FLOATS, INTEGERS, ONNX_DTYPES, REGISTRY

Arrays: TypeAlias = Mapping[str, Array]

PRODUCER: Final = "portable-nn"
"""Who wrote a model: in those that this package writes, what is a parameter is one, and nothing else."""

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
        ir_version=helper.find_min_ir_version_for([standard]),
        opset_import=[standard],
        graph=proto,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
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
    running statistics and what holds NaN or infinities. So do constants that are large or stand where weights do.
    Small lists of whole numbers become constants, because shape rules must see them, and so do numbers that say how an
    operator works. Nodes without a name of their own get one. Pads are numbers wherever the sizes are known. The
    model's own functions, and the branches of choices whose condition is constant, stand in place of the nodes that
    name them.

    Args:
        model: a model at an opset from 6 to 28.
        where: the file that messages name.

    Raises:
        FormatError: not a whole ONNX model, or a damaged tensor.
        UnsupportedError: an opset, operators, types or attributes that are not supported; all of them are listed, and
            all nodes that do not fit each other as well.
        GraphError: nodes that do not fit each other; every one of them is listed.
    """
    opset = opset_of(model, where)
    check_text(model.graph, where)
    check_made_once(model.graph, where)
    model, done = inlined(model, where, answer)
    found = obstacles(model)
    parts = _parts(model, where, frozenset(place for obstacle in found for place in obstacle.nodes))
    made = translated(parts.nodes, parts.types, opset, parts.names, parts.outputs)
    graph = Graph(parts.inputs, parts.outputs, parts.parameters, tuple(made.nodes), model.graph.name or "network")
    whole = not found and not made.faults
    faults = [*made.faults, *_misfits(graph if whole else _apart(graph, parts.unknown))]
    if found:
        lines = [*map(str, found), *map(str, faults)]
        raise UnsupportedError(where, listed(lines, "cannot be imported" if faults else "not supported"))
    if faults:
        raise _hinted(GraphError(faults, where), graph.inputs)
    return Read(graph, parts.arrays, [*done, *parts.notes, *made.notes])


def answer(model: ModelProto, name: str) -> bool | None:
    """Whether a value is true as far as that follows from constants and from the sizes of the inputs."""
    wanted, needed = {name}, list[NodeProto]()
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            needed.append(node)
            wanted.update(node.input)
    part = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.node.extend(reversed(needed))
    part.graph.input.extend(value for value in model.graph.input if value.name in wanted)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in wanted)
    part.graph.output.add(name=name)
    try:
        content = infer(from_model(part, "").graph).types[name].content
    except PortableNNError:  # What is wrong with the model is told when all of it is read.
        return None
    return bool(content[0]) if content and len(content) == 1 and not isinstance(content[0], str) else None


class _Parts(NamedTuple):
    """What a model is made of, as a graph has it, but for its opset; ``unknown`` are values of which nothing is known.

    Nodes that a graph cannot have are left out; what they make is among ``inputs`` where the file tells its type.
    """

    nodes: list[Node]
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    arrays: dict[str, Array]
    names: Names
    unknown: frozenset[str]
    notes: list[str]

    @property
    def types(self) -> dict[str, Type]:
        """The types of the values that no node makes."""
        return {value.name: Type(value.dtype, value.shape) for value in (*self.inputs, *self.parameters)}


def _parts(model: ModelProto, where: str, blocked: frozenset[int]) -> _Parts:
    graph = model.graph
    names = Names(names_in(graph))
    arrays = {proto.name: from_tensor(proto, where) for proto in graph.initializer if proto.data_type in ONNX_DTYPES}
    infinite = {name for name, array in arrays.items() if not is_finite(array)}
    settings = {*read_as(SETTINGS, graph)} - infinite
    small = {name: array for name, array in arrays.items() if name in settings or decides_shapes(array)}
    foreign = model.producer_name != PRODUCER
    copies = _copies(graph, arrays.keys() - small.keys()) if foreign else {}
    weights = {*read_as(WEIGHTS, graph), *_biases(graph)} - settings if foreign else set[str]()
    stored = {node.output[0]: node for node in graph.node if is_stored(node) or is_weight(node, weights)}
    nodes = [constant(name, array, names) for name, array in small.items()]
    for place, (proto, name) in enumerate(zip(graph.node, _node_names(graph, names), strict=True)):
        if place not in blocked and not _is_one_of(proto, stored) and not _is_one_of(proto, copies):
            nodes.append(_from_node(proto, name, where))
    arrays = {name: array for name, array in arrays.items() if name not in small}
    nodes = [_filled(node, arrays, names) for node in nodes]
    arrays |= {name: from_tensor(tensor_of(node), where, f"'{name}'") for name, node in stored.items()}
    arrays |= {name: arrays[source] for name, source in copies.items()}
    taken = {tensor.name for tensor in graph.initializer}
    entries = [value for value in graph.input if value.name not in taken]
    inputs = [_from_value(value, names) for value in entries if is_tensor(value)]
    made = {name for place in blocked for name in graph.node[place].output if name}
    told = infer_standard(model, {}, {}).types if blocked else {}
    stand_ins = [Value(name, *told[name][:2]) for name in made if name in told and told[name].dtype in DTYPE_CODES]
    unknown = {*made, *taken, *(value.name for value in entries)}
    unknown -= {*arrays, *small, *(value.name for value in (*inputs, *stand_ins))}
    states = {name: operator.state.values() for (domain, name), operator in REGISTRY.items() if not domain}
    untrained = {*read_as(states, graph), *(name for name, array in arrays.items() if not is_finite(array))}
    parameters = tuple(
        Parameter(name, array.dtype.name, array.shape, name not in untrained and array.dtype.name in FLOATS)
        for name, array in arrays.items()
    )
    outputs = tuple(value.name for value in graph.output)
    notes = [*_told("constants that are kept as parameters", stored)]
    notes += _told("copies of a parameter that are parameters of their own", copies)
    return _Parts(nodes, (*inputs, *stand_ins), outputs, parameters, arrays, names, frozenset(unknown), notes)


def _told(what: str, names: Collection[str]) -> Iterator[str]:
    """A note on some values, if there are any."""
    if names:
        yield f"{what} ({len(names)}): {', '.join(map(repr, names))}"


def _is_one_of(node: NodeProto, names: Collection[str]) -> bool:
    return len(node.output) == 1 and node.output[0] in names


def _copies(graph: GraphProto, weights: Collection[str]) -> dict[str, str]:
    """Values that are equal to an initializer which others read as well, and what that is.

    Exporters store parameters only once that happen to have equal elements, such as all biases that are zero.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    copies: dict[str, str] = {}
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type != "Identity" or len(node.input) != 1 or len(node.output) != 1 or node.output[0] in outputs:
            continue
        source = copies.get(node.input[0], node.input[0])
        if node.output[0] and source in weights and readers[source] > 1:
            copies[node.output[0]] = source
    return copies


def _biases(graph: GraphProto) -> Iterator[str]:
    """What is added to a product: MatMul and Add are one dense layer in two nodes."""
    products = {node.output[0] for node in graph.node if node.op_type == "MatMul" and len(node.output) == 1}
    for node in graph.node:
        if node.op_type == "Add" and not products.isdisjoint(node.input):
            yield from (name for name in node.input if name not in products)


def is_weight(node: NodeProto, weights: Collection[str]) -> bool:
    """Whether a node makes a constant of floats that is one of ``weights``."""
    if node.op_type != "Constant" or not _is_one_of(node, weights):
        return False
    tensor = tensor_of(node)
    return ONNX_DTYPES.get(tensor.data_type) in FLOATS and math.prod(tensor.dims) > 1


def _hinted(error: GraphError, inputs: Sequence[Value]) -> GraphError:
    """The error, with what helps where an exporter has worked a size into the nodes and left its name on the inputs."""
    names = dict.fromkeys(dim for value in inputs for dim in value.shape if isinstance(dim, str))
    told = [name for name in names if re.search(rf"\b{re.escape(name)}\b", str(error))]
    if told:
        fix = f"portable-nn import --dim {told[-1]}=SIZE"
        error.add_note(f"a size may be open in name only ({', '.join(told)}); '{fix}' fixes one")
    return error


def _misfits(graph: Graph) -> tuple[Fault, ...]:
    """All that does not fit in a graph."""
    try:
        infer(graph)
    except GraphError as error:
        return error.faults
    return ()


def _apart(graph: Graph, unknown: Collection[str]) -> Graph:
    """``graph`` without what follows from values that are ``unknown``, or that a node with a fault should have made."""
    made = {*graph.values()}
    lost = {*unknown, *(name for node in graph.nodes for name in node.inputs if name and name not in made)}
    nodes = []
    for node in graph.nodes:
        if lost.isdisjoint(node.inputs):
            nodes.append(node)
        else:
            lost.update(name for name in node.outputs if name)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(name for name in graph.outputs if name in made - lost))


def read_as(places: Mapping[str, Collection[int]], graph: GraphProto) -> Iterator[str]:
    """The values that some node takes at one of the ``places`` that its operator has."""
    for node in graph.node:
        yield from (name for place, name in enumerate(node.input) if place in places.get(node.op_type, ()))


def decides_shapes(array: Array) -> bool:
    """Whether an initializer may be what the shape rules must see, sizes or a choice: it becomes a constant."""
    listed = array.dtype.name in INTEGERS and array.ndim <= 1 and array.size <= LARGE
    return listed or (array.dtype.name == "bool" and array.shape in ((), (1,)))


def constant(name: str, array: Array, names: Names) -> Node:
    """The node that makes ``array`` under ``name``."""
    return Node(names.fresh(f"{name}.constant"), "Constant", (), (name,), {"value": literal(array)})


def is_stored(node: NodeProto) -> bool:
    """Whether a node makes a constant that is better kept among the parameters."""
    if node.op_type != "Constant" or len(node.output) != 1:
        return False
    tensor = tensor_of(node)
    return math.prod(tensor.dims) > LARGE or not _holds_numbers(tensor)


def _holds_numbers(tensor: TensorProto) -> bool:
    """Whether a tensor is without NaN and infinities, which no attribute of a graph can hold."""
    with suppress(PortableNNError):  # What is wrong with it is told when it is read.
        return tensor.data_type not in ONNX_DTYPES or is_finite(from_tensor(tensor, ""))
    return True


def _filled(node: Node, parameters: dict[str, Array], names: Names) -> Node:
    """``node``, or where it fills an array with NaN or infinities, one that spreads a new parameter over it."""
    value = node.attributes.get("value")
    if node.operator != "ConstantOfShape" or not isinstance(value, Tensor) or all(map(math.isfinite, value.data)):
        return node
    name = names.fresh(f"{node.name}.value")
    parameters[name] = np.array(value.data, value.dtype)
    return replace(node, operator="Expand", inputs=(name, *node.inputs), attributes={})


def tensor_of(node: NodeProto) -> TensorProto:
    """The tensor of a Constant node; an empty one where it holds whole numbers or texts in another form."""
    for each in node.attribute:
        match each.name:
            case "value":
                tensor: TensorProto = each.t
                return tensor
            case "value_float":
                return TensorProto(data_type=TensorProto.FLOAT, float_data=[each.f])
            case "value_floats":
                return TensorProto(data_type=TensorProto.FLOAT, dims=[len(each.floats)], float_data=each.floats)
    return TensorProto(dims=[0])


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
    sizes = [stated_size(dim) for dim in tensor.shape.dim]
    shape = tuple(names.fresh(f"{proto.name}.{axis}") if size is None else size for axis, size in enumerate(sizes))
    return Value(proto.name, ONNX_DTYPES[tensor.elem_type], shape)
