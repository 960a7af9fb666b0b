"""Supported operators, attributes and types: everything unsupported is found in one pass, before translation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Final, NamedTuple

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, defs

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.graph import OPSET, Node
from portable_nn.onnx.opsets import microsoft
from portable_nn.onnx.opsets.newer import NEWER
from portable_nn.onnx.storage.functions import nested, subgraphs
from portable_nn.onnx.storage.tensors import is_attribute
from portable_nn.operators.narrow import HELD_DTYPES
from portable_nn.operators.opaque.nodes import DOMAINS, opaque_node
from portable_nn.operators.opaque.side import DTYPES
from portable_nn.operators.registry import find

OLDEST_READ: Final = 6
"""The oldest opset that is read: before it, operators overwrote their inputs (``consumed_inputs``)."""

NEWEST_READ: Final = 28
"""The newest opset that is read."""

STANDARD: Final = {"", "ai.onnx"}
"""The two names of the standard's domain."""


class Obstacle(NamedTuple):
    """Something unsupported.

    Attributes:
        what: its kind and name.
        detail: the type, or the nodes in words.
        nodes: the places of these nodes.
        origin: the domain and version of an operator, in words.
        version: the version of an operator; 0 if unknown.
    """

    what: str
    detail: str
    nodes: tuple[int, ...] = ()
    origin: str = ""
    version: int = 0

    def __str__(self) -> str:
        return f"{self.what}{self.origin and f' ({self.origin})'}, {self.detail}"


_LAST: Final = 2**31 - 1
"""The highest version that the onnx library accepts."""


def opset_of(model: ModelProto, where: str) -> int:
    """The version of the standard operators that a model uses.

    Raises:
        FormatError: the model does not state one, or states an impossible one.
        UnsupportedError: the version is not supported.
    """
    for entry in model.opset_import:
        if not 0 <= entry.version <= _LAST:
            said = f"version {entry.version} of the operators of '{entry.domain}'"
            raise FormatError(where, f"is not a whole ONNX model: it uses {said}; {_LAST} would be the last one")
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    nodes = model.graph.node
    if not versions and model.opset_import and nodes and not any(node.domain in STANDARD for node in nodes):
        return OPSET  # All operators are of other domains, and those are not supported in any version.
    if not model.HasField("graph") or not versions:
        lacks = "version of the standard operators" if model.HasField("graph") else "graph"
        raise FormatError(where, f"is not a whole ONNX model: it has no {lacks}")
    if 0 < versions[0] < OLDEST_READ and all(_is_as_since(node, versions[0]) for node in model.graph.node):
        return OLDEST_READ
    if not OLDEST_READ <= versions[0] <= NEWEST_READ:
        raise UnsupportedError(where, f"uses opset {versions[0]}; {OLDEST_READ} to {NEWEST_READ} are read")
    return int(versions[0])


def _is_as_since(node: NodeProto, version: int) -> bool:
    """True if the operator of a node is the same at ``version`` and at the oldest opset that is read."""
    if node.domain not in STANDARD or not defs.has(node.op_type, version):
        return False
    return bool(defs.get_schema(node.op_type, OLDEST_READ).since_version <= version)


def names_in(graph: GraphProto) -> Iterator[str]:
    """The names of all values and nodes of a graph; some come twice."""
    for named in (*graph.input, *graph.initializer, *graph.node):
        yield named.name
    for node in graph.node:
        yield from node.output


def set_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Give a graph other nodes, which may be some of its own."""
    kept = deepcopy([*nodes])
    del graph.node[:]
    graph.node.extend(kept)


def copy_initializers(body: GraphProto, graph: GraphProto, names: Mapping[str, str]) -> None:
    """Copy the initializers of a body into a graph, under other names."""
    for tensor in body.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names.get(tensor.name, "")


def captured(node: NodeProto) -> Iterator[str]:
    """The values that the subgraphs of a node read from outside; a name may come several times."""
    for graph in subgraphs(node):
        own = {value.name for value in (*graph.input, *graph.initializer)}
        own.update(name for inner in graph.node for name in inner.output)
        read = [name for inner in graph.node for name in (*inner.input, *captured(inner))]
        yield from (name for name in [*read, *(value.name for value in graph.output)] if name and name not in own)


def reads(node: NodeProto) -> Iterator[str]:
    """The names of the values that a node reads, also in its subgraphs."""
    yield from filter(None, (*node.input, *captured(node)))


def needed_nodes(graph: GraphProto, outputs: Iterable[str]) -> list[NodeProto]:
    """The nodes that the values ``outputs`` depend on, in order."""
    wanted, found = set(outputs), list[NodeProto]()
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update(reads(node))
    return found[::-1]


def check_text(graph: GraphProto, where: str) -> None:
    """Raise ``FormatError`` where a name is not UTF-8, for which protocol buffers give bytes."""
    if not all(type(name) is str for name in names_in(graph)):
        raise FormatError(where, "has a name that is not text in UTF-8")


def obstacles(model: ModelProto, refused: Mapping[str, str] = MappingProxyType({})) -> list[Obstacle]:
    """Everything unsupported in a model. A model without any can be translated.

    ``refused`` says by their first outputs which nodes onnxruntime cannot run for it, and why.
    """
    return [*_operators(model, refused), *_attributes(model.graph), *_types(model.graph)]


def label(node: NodeProto) -> str:
    """The name of a node, or those of its outputs where it has none."""
    return node.name or ", ".join(filter(None, node.output))


def check_made_once(graph: GraphProto, where: str) -> None:
    """Raise ``FormatError`` where a graph, or a body in it, makes one value twice, or has two inputs of one name."""
    made = Counter(tensor.name for tensor in graph.initializer)
    made.update(name for node in graph.node for name in node.output if name)
    declared = Counter(value.name for value in graph.input)
    for what, counts in (("makes values", made), ("declares inputs", declared)):
        if twice := [f"'{name}'" for name, count in counts.items() if count > 1]:
            raise FormatError(where, f"{what} twice: {', '.join(twice)}")
    for body in (body for node in graph.node for body in subgraphs(node)):
        check_made_once(body, where)


def all_nodes(graph: GraphProto) -> Iterator[tuple[int, NodeProto]]:
    """The nodes of a graph and of the bodies in it, with the place of the outermost one."""
    return ((place, each) for place, node in enumerate(graph.node) for each in nested([node]))


def _is_body(node: NodeProto, attribute: str) -> bool:
    operator = find(node.op_type)
    return operator is not None and attribute in operator.attributes and operator.attributes[attribute].is_body


def _lacking(model: ModelProto, refused: Mapping[str, str]) -> Iterator[tuple[int, NodeProto, str]]:
    """The nodes that are not supported, each with the place of the outermost one, and a reason of its own, if any."""
    for place, node in all_nodes(model.graph):
        why = next((refused[name] for name in node.output if name in refused), "")
        if why or not (is_supported(node) or (node is model.graph.node[place] and as_opaque(node, model))):
            yield place, node, why


def _operators(model: ModelProto, refused: Mapping[str, str]) -> Iterator[Obstacle]:
    users, whys = defaultdict[str, list[tuple[int, NodeProto]]](list), dict[str, str]()
    for place, node, why in _lacking(model, refused):
        whys[_called(node)] = why and f": {why}"
        users[_called(node)].append((place, node))
    for operator, found in sorted(users.items(), key=lambda each: each[0]):
        places = [place for place, _ in found]
        some = ", ".join(label(node) for _, node in found[:5]) + (", …" if len(found) > 5 else "")
        count = f"in {len(found)} {'node' if len(found) == 1 else 'nodes'}"
        node, why = found[0][1], whys[operator]
        version = version_of(node, model)
        domain = "ai.onnx" if node.domain in STANDARD else node.domain
        origin = f"domain {domain}, {f'version {version}' if version else 'no known version'}"
        yield Obstacle(f"operator '{operator}'", f"{count}: {some}{why}", tuple(places), origin, version)


def version_of(node: NodeProto, model: ModelProto) -> int:
    """The version that introduced the present form of an operator; outside the standard that of its domain, or 0."""
    standard = node.domain in STANDARD
    used = opset_in(model, STANDARD if standard else {node.domain})
    try:
        return int(defs.get_schema(node.op_type, used, "" if standard else node.domain).since_version)
    except defs.SchemaError:
        return 0 if standard else used


def opset_in(model: ModelProto, domains: Collection[str] = STANDARD) -> int:
    """The version of a domain, by any of its names, that a model imports; 0 where it does not."""
    return max((entry.version for entry in model.opset_import if entry.domain in domains), default=0)


def is_supported(node: NodeProto) -> bool:
    """True if this package has the operator of a node, perhaps under a newer name."""
    if node.domain == microsoft.DOMAIN:
        return node.op_type in microsoft.MICROSOFT
    return node.domain in STANDARD and (find(node.op_type) is not None or node.op_type in NEWER)


def _called(node: NodeProto) -> str:
    return node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"


def as_opaque(node: NodeProto, model: ModelProto, name: str = "") -> Node | None:
    """A node that this package lacks and onnxruntime may run, with the outputs that something reads; else ``None``."""
    domain, names = node.domain or "ai.onnx", STANDARD if node.domain in STANDARD else {node.domain}
    version = opset_in(model, names)
    if is_supported(node) or domain not in DOMAINS or not _is_of_arrays(node, domain, version) or any(subgraphs(node)):
        return None
    data, outputs = node.SerializeToString(deterministic=True), _outputs_read(node, model.graph)
    return opaque_node(name, f"{domain}.{node.op_type}", data, version, node.input, outputs) if outputs else None


def _is_of_arrays(node: NodeProto, domain: str, version: int) -> bool:
    """True if an operator may be one that makes arrays of numbers of such; onnxruntime alone knows its own."""
    schema = (node.op_type, version, "" if domain == "ai.onnx" else domain)
    if domain == microsoft.DOMAIN or version < 1 or not defs.has(*schema):
        return domain == microsoft.DOMAIN and version > 0 and "." not in node.op_type
    formal = defs.get_schema(*schema)
    return all(not DTYPES.keys().isdisjoint(each.types) for each in (*formal.inputs, *formal.outputs))


def _outputs_read(node: NodeProto, graph: GraphProto) -> list[str]:
    """The outputs of a node up to the last that something reads; empty names for those that nothing does."""
    read = {value.name for value in graph.output}.union(*map(reads, graph.node))
    places = [place for place, name in enumerate(node.output) if name in read]
    return [name if name in read else "" for name in node.output[: max(places, default=-1) + 1]]


def _attributes(graph: GraphProto) -> Iterator[Obstacle]:
    for place, node in all_nodes(graph):
        for attribute in node.attribute if is_supported(node) else ():
            what = f"attribute '{attribute.name}' of node '{node.name}' ({node.op_type})"
            if attribute.type == AttributeProto.GRAPH and _is_body(node, attribute.name):
                continue
            if not is_attribute(attribute):
                yield Obstacle(what, f"of type {AttributeProto.AttributeType.Name(attribute.type)}", (place,))
            elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type not in HELD_DTYPES:
                yield Obstacle(what, f"with elements of type {type_name(attribute.t.data_type)}", (place,))


def _types(graph: GraphProto) -> Iterator[Obstacle]:
    if graph.sparse_initializer:
        yield Obstacle("sparse tensors", ", ".join(tensor.values.name for tensor in graph.sparse_initializer))
    for tensor in graph.initializer:
        if tensor.data_type not in HELD_DTYPES:
            yield Obstacle(f"tensor '{tensor.name}'", f"with elements of type {type_name(tensor.data_type)}")
    for value in graph.input:
        what, kind = f"input '{value.name}'", value.type.WhichOneof("value")
        if kind != "tensor_type":
            known = (kind or "nothing known").removesuffix("_type")
            yield Obstacle(what, f"which is {known} and not a tensor")
        elif value.type.tensor_type.elem_type not in HELD_DTYPES:
            yield Obstacle(what, f"with elements of type {type_name(value.type.tensor_type.elem_type)}")
        elif not value.type.tensor_type.HasField("shape"):
            yield Obstacle(what, "of unknown rank")


def noted(what: str, names: Iterable[str], why: str = "") -> Iterator[str]:
    """A note on the things that are called ``names``, if there are any."""
    unique = list(dict.fromkeys(names))
    if unique:
        quoted = ", ".join(f"'{name}'" for name in unique)
        yield f"{what}{why and ', '}{why} ({len(unique)}): {quoted}"


def is_tensor(value: ValueInfoProto) -> bool:
    """True if an input is a tensor of a supported type and known rank."""
    tensor = value.type.tensor_type
    return (
        value.type.WhichOneof("value") == "tensor_type" and tensor.elem_type in HELD_DTYPES and tensor.HasField("shape")
    )


def type_name(code: int) -> str:
    """The name of an element type, as the standard writes it."""
    known: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return known.get(code, str(code))
