"""ONNX models as graphs. This module knows no ``Network`` and opens no file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from portable_nn.core.dims import undeclared
from portable_nn.core.errors import Fault, FormatError, GraphError, PortableNNError, UnsupportedError, listed
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.core.tensors import Array, NamedArrays, is_finite
from portable_nn.format.packed import PACKED
from portable_nn.onnx.advice import advice
from portable_nn.onnx.bodies import TURN, bodies_once
from portable_nn.onnx.branches import inlined
from portable_nn.onnx.entries import Sizes, equalities, repeated
from portable_nn.onnx.library.inference import infer_standard
from portable_nn.onnx.narrow import narrow_values, without_narrow
from portable_nn.onnx.opsets.folding import LARGE
from portable_nn.onnx.opsets.support import (
    STANDARD,
    as_opaque,
    check_made_once,
    check_text,
    needed_nodes,
    noted,
    obstacles,
    opset_of,
    reads,
)
from portable_nn.onnx.opsets.translation import translated
from portable_nn.onnx.opsets.turns import is_order
from portable_nn.onnx.remarks.exporters import resets_too_early
from portable_nn.onnx.remarks.training import quantised, training_mode
from portable_nn.onnx.roles import Role, doubts, folded_normalisation, is_mask, roles_of, shared
from portable_nn.onnx.storage.files import LEFT
from portable_nn.onnx.storage.functions import subgraphs
from portable_nn.onnx.storage.tensors import Unread, from_tensor, literal, tensor_bytes
from portable_nn.onnx.subgraphs import all_names, node_names, node_of, with_unique_names
from portable_nn.onnx.writing import PRODUCER
from portable_nn.operators import (
    DTYPE_CODES,
    FLOATS,
    INTEGERS,
    Operator,
    Type,
    find,
    infer,
    is_of_shape,
    needed_equalities,
)
from portable_nn.operators.narrow import HELD_DTYPES, NARROW
from portable_nn.operators.opaque.nodes import is_opaque, opaque_notes
from portable_nn.rewrites.nonfinite import in_parameters
from portable_nn.rewrites.program import Names

NO_OUTPUTS: Final = "has no outputs: its graph computes nothing"
"""Why a model is refused that has none."""


class Read(NamedTuple):
    """A graph, the values of its parameters, and notes on differences to the file."""

    graph: Graph
    parameters: NamedArrays
    notes: list[str]


def from_model(
    model: ModelProto,
    where: str,
    sizes: Sizes | None = None,
    refused: Mapping[str, str] = MappingProxyType({}),
    *,
    unread: bool = False,
) -> Read:
    """The graph of a model, in the vocabulary of ``OPSET``, every name as it is; and its parameters' values.

    Initializers become parameters, also those that are listed among the inputs: trainable if they are floats and, by
    use and name, weights (see ``roles``), unless they are running statistics or hold NaN or infinities. Constant nodes
    become parameters where they are large or an operator reads them as weights. Initializers that are small lists of
    integers, which the shape rules must see, or settings of an operator, unless they are large, become Constant nodes.
    Nodes without a unique name get one. Pads become explicit wherever the sizes are known. Functions are inlined, and
    so are the branches of ``If`` nodes whose condition is constant. Symbolic sizes of the inputs that must be equal for
    nodes to fit become one, and a note says so.

    Args:
        model: a model at an opset from 6 to 28.
        where: the file that messages name.
        sizes: what symbolic sizes of the inputs are set to.
        unread: whether large parameters that are in the open file are read whenever they are asked for, and not now.
        refused: the nodes that onnxruntime cannot run for this graph, by their first outputs, and why.

    Raises:
        FormatError: not a whole ONNX model, or a damaged tensor.
        UnsupportedError: an opset, operators, types or attributes that are not supported; all of them are listed,
            together with all nodes that do not fit each other.
        GraphError: nodes that do not fit each other; all of them are listed.
        UsageError: a size is set that no input has.
    """
    sizes = sizes or Sizes()
    opset = opset_of(model, where)
    if not model.graph.output:
        raise FormatError(where, NO_OUTPUTS)
    check_text(model.graph, where)
    check_made_once(model.graph, where)
    whole_model = model
    model, done = inlined(model, where, partial(answer, sizes=sizes))
    model, held = without_narrow(with_unique_names(model, where))
    found = obstacles(model, refused)
    blocked = frozenset(place for obstacle in found for place in obstacle.nodes)
    parts = _parts(model, where, blocked, sizes, unread=unread)
    made = translated(parts.nodes, parts.types, opset, parts.names, parts.outputs)
    if made.refused:
        return from_model(whole_model, where, sizes, {**refused, **made.refused}, unread=unread)
    graph = Graph(parts.inputs, parts.outputs, parts.parameters, tuple(made.nodes), model.graph.name or "network")
    whole = not found and not made.faults
    faults = [*made.faults, *_faults(graph if whole else _without_unknown(graph, parts.unknown))]
    if (faults or found) and (needed := needed_equalities(made.nodes, parts.types, [v.name for v in parts.inputs])):
        del parts, made, graph
        return from_model(whole_model, where, sizes.with_needed(needed), refused, unread=unread)
    if found:
        lines = [*map(str, found), *map(str, faults)]
        raise UnsupportedError(where, listed(lines, "cannot be imported" if faults else "not supported"))
    if faults:
        error = GraphError(faults, where)
        if hint := advice(parts.nodes, parts.types, [value.name for value in parts.inputs], opset, parts.outputs):
            error.add_note(hint)
        raise error
    notes = [*equalities(sizes.needed), *repeated(model.graph, parts.inputs), *training_mode(graph), *quantised(graph)]
    notes += opaque_notes(graph.nodes)
    notes += resets_too_early(model)
    parameters = Unread(parts.arrays | parts.large, where) if unread else parts.arrays
    return Read(graph, parameters, [*notes, *done, *held, *parts.notes, *made.notes])


def answer(model: ModelProto, name: str, sizes: Sizes | None = None) -> bool | None:
    """True or false as a value is, if it depends only on constants and sizes of the inputs; else ``None``."""
    nodes = needed_nodes(model.graph, [name])
    wanted = {name, *(read for node in nodes for read in reads(node))}
    part = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.node.extend(nodes)
    part.graph.input.extend(value for value in model.graph.input if value.name in wanted)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in wanted)
    part.graph.output.add(name=name)
    try:
        constant_value = (
            infer(from_model(part, "", (sizes or Sizes())._replace(is_part=True)).graph).types[name].constant
        )
    except PortableNNError:  # Faults of the model are reported when all of it is read.
        return None
    return (
        bool(constant_value[0])
        if constant_value and len(constant_value) == 1 and not isinstance(constant_value[0], str)
        else None
    )


class _Parts(NamedTuple):
    """The parts of a graph, at the opset of its model; the types of the values ``unknown`` are unknown.

    Unsupported nodes are left out; their outputs are ``inputs`` where the file has their type. ``large`` are the
    tensors of those ``arrays`` that are stand-ins.
    """

    nodes: list[Node]
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    arrays: dict[str, Array]
    large: dict[str, TensorProto]
    names: Names
    unknown: frozenset[str]
    notes: list[str]

    @property
    def types(self) -> dict[str, Type]:
        """The types of the values that no node makes."""
        return {value.name: Type(value.dtype, value.shape) for value in (*self.inputs, *self.parameters)}


def _parts(model: ModelProto, where: str, blocked: frozenset[int], sizes: Sizes, *, unread: bool) -> _Parts:
    """The parts of a model without its nodes at the places ``blocked``; if there are any, without large weights.

    ``unread`` leaves large weights in their files.
    """
    graph, names = model.graph, Names(all_names(model.graph))
    found = _constants(model, where, whole=not blocked, unread=unread)
    arrays, large = found.arrays, found.large
    nodes, filling = in_parameters(_nodes(model, where, blocked, found, names), names)
    arrays |= filling
    stored = {name: tensor_of(node) for name, node in found.stored.items()}
    arrays |= {name: _elements(tensor, where, f"'{name}'", whole=not blocked) for name, tensor in stored.items()}
    arrays |= {name: _own(arrays[source]) for name, source in found.copies.items()}
    lacking = [name for place in sorted(blocked) for name in graph.node[place].output if name]
    inputs = sizes.entries(graph, names)
    inputs += _declared(model, lacking, inputs, sizes.numbers()) if blocked else []
    unknown = {*lacking, *(each.name for each in (*graph.initializer, *graph.input))}
    unknown -= {*arrays, *found.literals, *(value.name for value in inputs)}
    outputs = tuple(value.name for value in graph.output)
    uses = _with_bodies(model)
    narrow = narrow_values(model)
    roles = _roles(uses, arrays, narrow, whole=not blocked)
    trained = _trained(roles, nodes)
    notes = [
        *noted("constants that are kept as parameters", found.stored),
        *noted("copies of a parameter that are parameters of their own", found.copies),
        *(shared(uses, trained) if model.producer_name != PRODUCER else ()),
        *doubts(roles),
        *folded_normalisation(graph),
    ]
    parameters = tuple(
        Parameter(name, a.dtype.name, a.shape, name in trained, _PACKED.get(narrow.get(name, 0), UNSET))
        for name, a in arrays.items()
    )
    return _Parts(nodes, tuple(inputs), outputs, parameters, arrays, large, names, frozenset(unknown), notes)


def _nodes(model: ModelProto, where: str, blocked: frozenset[int], found: _Constants, names: Names) -> list[Node]:
    """The nodes of a graph but for those ``blocked`` and those that make parameters, after ``Constant`` nodes."""
    nodes, graph = [constant(name, array, names) for name, array in found.literals.items()], model.graph
    parameters = {*found.stored, *found.copies}
    for place, (proto, name) in enumerate(zip(graph.node, node_names(graph, names), strict=True)):
        if place not in blocked and not _makes(proto, parameters):
            nodes.append(as_opaque(proto, model, name) or node_of(proto, name, where))
    return nodes


def _with_bodies(model: ModelProto) -> GraphProto:
    """The graph of a model with the nodes of branches and loops among its own, for what reads a value."""
    return (bodies_once(model) if any(any(subgraphs(node)) for node in model.graph.node) else model).graph


_PACKED: Final = {code: name for name, code in PACKED.items()}


def _trained(roles: Mapping[str, Role], nodes: Iterable[Node]) -> set[str]:
    """The parameters that train, which something reads through which they learn."""
    reached = {name for node in nodes if not is_opaque(node) for name in node.inputs}
    return {name for name, role in roles.items() if role.trains} & reached


class _Constants(NamedTuple):
    """The constant values of a model, by name.

    Initializers become Constant nodes (``literals``) or parameters (``arrays``, of which stand-ins are in the place of
    ``large`` tensors). The outputs of some Constant and
    Identity nodes become parameters as well: ``stored`` has these nodes, ``copies`` the parameters that are copied.
    """

    literals: dict[str, Array]
    arrays: dict[str, Array]
    large: dict[str, TensorProto]
    stored: dict[str, NodeProto]
    copies: dict[str, str]


def _constants(model: ModelProto, where: str, *, whole: bool, unread: bool) -> _Constants:
    """The constant values; in a model of this package exactly the initializers are parameters.

    Where the model cannot be imported and is not read as a ``whole``, zeros stand for weights that are still in files.
    Large ones that are left ``unread`` are read one at a time, and stand-ins are kept.
    """
    graph, foreign = model.graph, model.producer_name != PRODUCER
    known = [proto for proto in graph.initializer if proto.data_type in HELD_DTYPES]
    arrays, large = _initializers(known, where, whole=whole, unread=unread)
    uses = _with_bodies(model)
    settings = settings_of(uses, arrays)
    literals = {name: array for name, array in arrays.items() if name in settings or decides_shapes(array)}
    arrays = {name: array for name, array in arrays.items() if name not in literals}
    weights = {*read_as(lambda operator: operator.weights, uses), *_biases(uses)} - settings
    weights = weights if foreign else set()
    stored = {node.output[0]: node for node in graph.node if is_stored(node) or is_weight(node, weights)}
    copies = _copies(graph, arrays) if foreign else {}
    large |= {name: large[source] for name, source in copies.items() if source in large}
    return _Constants(literals, arrays, large, stored, copies)


def _initializers(
    known: Iterable[TensorProto], where: str, *, whole: bool, unread: bool
) -> tuple[dict[str, Array], dict[str, TensorProto]]:
    """The elements of tensors, with stand-ins for large ones that are left ``unread``; and the latter."""
    arrays, large = dict[str, Array](), dict[str, TensorProto]()
    for proto in known:
        arrays[proto.name] = array = _elements(proto, where, whole=whole)
        if unread and proto.external_data and tensor_bytes(proto) > LEFT and not is_mask(array):
            large[proto.name] = proto
            arrays[proto.name] = _stand_in(array)
    return arrays, large


def settings_of(graph: GraphProto, arrays: NamedArrays) -> set[str]:
    """The small values that are options of operators, or that options and sizes are computed from alone."""
    found = read_as(lambda operator: operator.settings, graph)
    small = {name: array.dtype.name for name, array in arrays.items() if array.size <= LARGE}
    known, computed = {*small, f"/{TURN}"}, list[NodeProto]()
    for node in graph.node:
        if node.op_type == "Constant" or is_of_shape(node.op_type):
            known.update(node.output)
        elif node.input and known.issuperset(filter(None, node.input)):
            known.update(node.output)
            computed.append(node)
    for node in reversed(computed):
        codes = [HELD_DTYPES.get(each.i) for each in node.attribute if each.name == "to"]
        is_wanted = not FLOATS.issuperset(codes) or is_order(node.op_type) or not found.isdisjoint(node.output)
        found.update(name for name in node.input if is_wanted or small.get(name, "float32") not in FLOATS)
    return {name for name in found if name not in arrays or (arrays[name].size <= LARGE and is_finite(arrays[name]))}


def _elements(proto: TensorProto, where: str, what: str = "", *, whole: bool) -> Array:
    """The elements of a tensor; if not ``whole`` and they are still in a file, zeros, which take no memory."""
    if whole or not proto.external_data or any(dim < 0 for dim in proto.dims):
        return from_tensor(proto, where, what)
    return np.broadcast_to(np.zeros((), HELD_DTYPES[proto.data_type]), tuple(proto.dims))


def _stand_in(array: Array) -> Array:
    """An array that takes no memory, of the type and the shape of ``array``, and finite if that is: not for masks."""
    return np.broadcast_to(array.dtype.type(0 if is_finite(array) else np.nan), array.shape)


def _own(array: Array) -> Array:
    """A copy of ``array``; a stand-in needs none."""
    return array.copy() if any(array.strides) else array


def _roles(uses: GraphProto, arrays: NamedArrays, narrow: Mapping[str, int], *, whole: bool) -> dict[str, Role]:
    """The roles of the arrays that could train: finite floats of more than 8 bits that are no statistics or options."""
    kept = {*read_as(lambda operator: (*operator.state.values(), *operator.settings), uses)}
    kept.update(name for name, code in narrow.items() if NARROW[code].bits <= 8)
    floats = {name: array for name, array in arrays.items() if array.dtype.name in FLOATS and name not in kept}
    return roles_of(uses, {name: array for name, array in floats.items() if not whole or is_finite(array)})


def _declared(
    model: ModelProto, names: Collection[str], inputs: Sequence[Value], numbers: Mapping[str, int]
) -> list[Value]:
    """Those of the values ``names`` whose types the file states or the standard's inference finds.

    Sizes that inference has made up are unknown: what does not fit them follows from that and is no fault.
    """
    types, _ = infer_standard(model, {value.name: value.shape for value in inputs}, numbers)
    sizes = {dim for value in inputs for dim in value.shape if isinstance(dim, str)}
    known = {name: types[name] for name in names if name in types and types[name].dtype in DTYPE_CODES}
    known = {name: type for name, type in known.items() if not undeclared(type.shape, sizes)}
    return [Value(name, *type[:2]) for name, type in known.items()]


def _makes(node: NodeProto, names: Collection[str]) -> bool:
    """True if the one output of a node is among ``names``."""
    return len(node.output) == 1 and node.output[0] in names


def _copies(graph: GraphProto, weights: Collection[str]) -> dict[str, str]:
    """Outputs of Identity nodes whose input is an initializer with other readers, and that initializer.

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
    """The values that are added to a matrix product: MatMul and Add are one dense layer in two nodes."""
    products = {node.output[0] for node in graph.node if node.op_type == "MatMul" and len(node.output) == 1}
    for node in graph.node:
        if node.op_type == "Add" and not products.isdisjoint(node.input):
            yield from (name for name in node.input if name not in products)


def is_weight(node: NodeProto, weights: Collection[str]) -> bool:
    """True if a node makes a constant of floats that is one of ``weights``."""
    if node.op_type != "Constant" or not _makes(node, weights):
        return False
    tensor = tensor_of(node)
    return HELD_DTYPES.get(tensor.data_type) in FLOATS and math.prod(tensor.dims) > 1


def _faults(graph: Graph) -> tuple[Fault, ...]:
    """The faults of all invalid nodes of a graph."""
    try:
        infer(graph)
    except GraphError as error:
        return error.faults
    return ()


def _without_unknown(graph: Graph, unknown: Collection[str]) -> Graph:
    """``graph`` without the nodes that depend on values that are ``unknown`` or undefined."""
    made = {*graph.values()}
    unknown = {*unknown, *(name for node in graph.nodes for name in node.inputs if name and name not in made)}
    nodes = []
    for node in graph.nodes:
        if unknown.isdisjoint(node.inputs):
            nodes.append(node)
        else:
            unknown.update(name for name in node.outputs if name)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(name for name in graph.outputs if name in made - unknown))


def read_as(places: Callable[[Operator], Collection[int]], graph: GraphProto) -> set[str]:
    """The values that some node reads at one of the ``places`` of its operator."""
    found = set[str]()
    for node in graph.node:
        if operator := find(node.op_type, "" if node.domain in STANDARD else node.domain):
            found.update(name for place, name in enumerate(node.input) if place in places(operator))
    return found


def decides_shapes(array: Array) -> bool:
    """True if the shape rules need an initializer, as sizes or a condition: it becomes a Constant node."""
    listed = array.dtype.name in INTEGERS and array.ndim <= 1 and array.size <= LARGE
    return listed or (array.dtype.name == "bool" and array.shape in ((), (1,)))


def constant(name: str, array: Array, names: Names) -> Node:
    """The node that makes ``array`` under ``name``."""
    return Node(names.fresh(f"{name}.constant"), "Constant", (), (name,), {"value": literal(array)})


def is_stored(node: NodeProto) -> bool:
    """True if a node makes a constant that becomes a parameter: a large one, or one with NaN or infinities."""
    if node.op_type != "Constant" or len(node.output) != 1:
        return False
    tensor = tensor_of(node)
    return math.prod(tensor.dims) > LARGE or not _holds_numbers(tensor)


def _holds_numbers(tensor: TensorProto) -> bool:
    """True if a tensor has no NaN or infinity, which attributes of a graph cannot hold."""
    with suppress(PortableNNError):  # Faults of it are reported when it is read.
        return tensor.data_type not in HELD_DTYPES or is_finite(from_tensor(tensor, ""))
    return True


def tensor_of(node: NodeProto) -> TensorProto:
    """The tensor of a Constant node; an empty one where it holds integers or strings in another attribute."""
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
