"""The losses of an import and an export: notes, one for each kind of loss, with all names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import filterfalse
from typing import Final, NamedTuple

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from portable_nn.core.graph import Dim, Graph, Node, format_shape, own_inputs
from portable_nn.format.documentation import Documentation
from portable_nn.format.packed import PACKED
from portable_nn.onnx.opsets.standard import domain_versions
from portable_nn.onnx.opsets.support import label, noted, opset_in
from portable_nn.onnx.remarks.documentation import collect, pairs, protos_of_values, remark_of, stated
from portable_nn.operators import ONNX_DTYPES, infer
from portable_nn.operators.narrow import NARROW
from portable_nn.operators.opaque.nodes import is_opaque


class _Reading(NamedTuple):
    """A model, and the graph and the documentation that were read from it."""

    model: ModelProto
    graph: Graph
    documentation: Documentation


def dropped_by_import(model: ModelProto, graph: Graph, documentation: Documentation) -> list[str]:
    """Notes on what of ``model`` was dropped when ``graph`` and ``documentation`` were read from it.

    Notes on folded nodes and explicit pads are those of ``from_model``.
    """
    reading = _Reading(model, graph, documentation)
    return [line for rule in _RULES for line in rule(reading)]


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1 and name]


# -- fields that are dropped


_CONSTANT: Final = "TensorProto of an attribute"

_DATA: Final = {
    "dims",
    "data_type",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
    "raw_data",
    "external_data",
    "data_location",
}

_KEPT: Final[Mapping[str, tuple[str, set[str]]]] = {
    "ModelProto": ("the model", {
        "ir_version", "opset_import", "producer_name", "producer_version", "domain", "model_version", "doc_string",
        "graph", "metadata_props", "functions",
    }),
    "GraphProto": ("the graph", {
        "node", "name", "initializer", "doc_string", "input", "output", "value_info", "metadata_props",
    }),
    "NodeProto": ("nodes", {
        "input", "output", "name", "op_type", "domain", "attribute", "doc_string", "metadata_props",
    }),
    "AttributeProto": ("attributes", {"name", "type", "f", "i", "s", "t", "g", "floats", "ints", "strings"}),
    _CONSTANT: ("tensors in attributes", _DATA),
    "TensorProto": ("initializers", {*_DATA, "name", "doc_string", "metadata_props"}),
    "ValueInfoProto": ("values", {"name", "type", "doc_string", "metadata_props"}),
    "TypeProto": ("types of values", {"tensor_type"}),
    "Tensor": ("types of values", {"elem_type", "shape"}),
    "TensorShapeProto": ("shapes of values", {"dim"}),
    "Dimension": ("sizes of values", {"dim_value", "dim_param"}),
}  # fmt: skip
"""The messages of a model, their names in notes, and their fields that a network keeps.

Any other field is reported as dropped, also one that a later version of the standard adds.
"""


def _of_fields(reading: _Reading) -> Iterator[str]:
    lost = defaultdict(list)
    whole = tuple(
        f"{label(each)}." for each, node in pairs(reading.model.graph, reading.graph) if node and is_opaque(node)
    )
    for what, name in _dropped_fields(reading.model, "ModelProto", ""):
        if not name.startswith(whole):
            lost[what].append(name)
    for what, names in lost.items():
        named = [name for name in names if name]
        yield from noted(f"dropped: {what}", named) if named else [f"dropped: {what}"]


def _dropped_fields(message: Message, kind: str, name: str) -> Iterator[tuple[str, str]]:
    """The fields that are dropped of a message and its submessages, with the name of the message."""
    words, kept = _KEPT[kind]
    for field in message.DESCRIPTOR.fields:
        inner = field.message_type.name if field.message_type else ""
        if field.name in kept and inner not in _KEPT:  # Elements of tensors, above all, are not touched.
            continue
        value = getattr(message, field.name)
        if isinstance(value, Message):
            value = [value] if message.HasField(field.name) else []
        if field.name in kept:
            place = _CONSTANT if isinstance(message, AttributeProto) and inner == "TensorProto" else inner
            for each in value:
                yield from _dropped_fields(each, place, _name_of(each, name))
        elif value:
            yield f"{field.name} of {words}", name


def _name_of(message: Message, outer: str) -> str:
    """The name of a message inside the one named ``outer``."""
    match message:
        case NodeProto():
            return label(message)
        case AttributeProto():
            return f"{outer}.{message.name}"
        case ValueInfoProto() | TensorProto() if not outer:
            return str(message.name)
    return outer


# -- models, nodes and values


def _of_the_model(reading: _Reading) -> Iterator[str]:
    model = reading.model
    versions = [(each.domain or "ai.onnx", each.version) for each in model.opset_import]
    first = next((each for each in versions if each[0] == "ai.onnx"), None)
    kept = {first, *domain_versions(reading.graph).items()}
    others = [f"{domain} {version}" for domain, version in versions if (domain, version) not in kept]
    yield from noted("dropped: versions of operators", others, "of which none is left")
    keys = [entry.key for entry in model.metadata_props]
    yield from noted("dropped: entries of the metadata", _twice(keys), "as there is another one with their key")
    if "doc_string" in keys and model.doc_string:
        yield "dropped: doc_string of the model, as there is an entry of that name in its metadata"


def _of_nodes(reading: _Reading) -> Iterator[str]:
    found = list(pairs(reading.model.graph, reading.graph))
    values = set(reading.graph.values())
    yield from noted("dropped: names of nodes", _twice(each.name for each, _ in found), "which several nodes have")
    stored = [label(each) for each, node in found if node is None and values.intersection(each.output)]
    yield from noted("dropped: nodes", stored, "as what they make is stored")
    gone = [label(each) for each, node in found if node is None and not values.intersection(each.output)]
    yield from noted("dropped: nodes", gone, "as nothing needs them any more")
    changed = [label(each) for each, node in found if node and _has_another_form(each, node)]
    opset = opset_in(reading.model)
    yield from noted(f"nodes converted from opset {opset}", changed)
    documented = [label(each) for each, node in found if node is None and remark_of(each)]
    yield from noted("dropped: documentation of nodes", documented, "as they are not there any more")


def _has_another_form(proto: NodeProto, node: Node) -> bool:
    """True if ``node`` has other inputs or attributes than ``proto``, apart from explicit pads."""
    if node.operator == "Constant" or is_opaque(node):
        return False
    stated, found = {each.name for each in proto.attribute}, set(node.attributes)
    inputs = [tuple(each) for each in (proto.input, own_inputs(node))]
    same = proto.op_type == node.operator and inputs[0] == inputs[1] and tuple(proto.output) == node.outputs
    return not same or stated - _PADS != found - _PADS


_PADS: Final = {"auto_pad", "output_padding", "output_shape", "pads"}


def _of_values(reading: _Reading) -> Iterator[str]:
    proto, known = reading.model.graph, set(reading.graph.values())
    made = [
        name for each, node in pairs(proto, reading.graph) for name in each.output if not (node and is_opaque(node))
    ]
    initializers, typed = ([each.name for each in side] for side in (proto.initializer, proto.value_info))
    gone = [*filterfalse(known.__contains__, filter(None, (*initializers, *made)))]
    yield from noted("dropped: values", gone, "as nothing needs them any more")
    written = {*(each.name for each in (*proto.input, *proto.output)), *reading.documentation.values}
    between = filter((known - written).__contains__, typed)
    yield from noted("types of intermediate values are computed when the file is read", between, "and not stored")
    nobodys = filterfalse(known.union(gone).__contains__, typed)
    yield from noted("dropped: types of values", nobodys, "which no node makes")
    inputs = {each.name for each in proto.input}
    yield from noted("initializers that are no inputs any more", filter(inputs.__contains__, initializers))
    again = [name for name, found in protos_of_values(proto, reading.graph).items() if _contradict(found)]
    yield from noted("dropped: a second documentation of values", again)


def _contradict(protos: Iterable[Message]) -> bool:
    """True if two of the messages about a value document it differently."""
    said = defaultdict(set)
    for each in protos:
        for key, text in [("", each.doc_string), *((entry.key, entry.value) for entry in each.metadata_props)]:
            said[key].add(text)
    return any(len(texts - {""}) > 1 for texts in said.values())


def _of_outputs(reading: _Reading) -> Iterator[str]:
    types, remarks = infer(reading.graph).types, reading.documentation.values
    for value in reading.model.graph.output:
        names, shape = remarks[value.name].sizes if value.name in remarks else (), types[value.name].shape
        written = tuple(name or dim for name, dim in zip(names or [""] * len(shape), shape, strict=True))
        said = stated(value)
        if said is not None and not _follows(said, written):
            declared = format_shape(tuple(dim or "?" for dim in said))
            yield f"the shape of output '{value.name}' is {format_shape(written)}, and not {declared} as the file says"


def _follows(said: tuple[Dim, ...], written: tuple[Dim, ...]) -> bool:
    """True if ``written`` has all that the file states."""
    return len(said) == len(written) and all(one in ("", other) for one, other in zip(said, written, strict=True))


def _of_too_much(reading: _Reading) -> Iterator[str]:
    found = reading.documentation
    if not (found.graph or found.nodes or found.values):
        whole = collect(reading.model, reading.graph, most=None)
        if whole.nodes or whole.values or whole.graph:
            yield "dropped: documentation of the graph, its nodes and values, as it is longer than a manifest may be"


_RULES: Final[tuple[Callable[[_Reading], Iterator[str]], ...]] = (
    _of_the_model,
    _of_fields,
    _of_nodes,
    _of_values,
    _of_outputs,
    _of_too_much,
)


# -- what an export drops


def dropped_by_export(model: ModelProto, graph: Graph, documentation: Documentation) -> list[str]:
    """Notes on what of ``graph`` and ``documentation`` is dropped or changed in ``model``, which was made from them."""
    written = _of_written_nodes(model, graph, documentation)
    return [*_versions(model, documentation), *written, *_of_wider_types(model, graph)]


def _versions(model: ModelProto, documentation: Documentation) -> Iterator[str]:
    origin = documentation.origin
    if origin is None:
        return
    producer = f"{origin.producer} {origin.producer_version}".strip()
    opset = opset_in(model)
    if producer or (origin.opset, origin.ir_version) != (opset, model.ir_version):
        yield (
            f"the network comes from a file of opset {origin.opset} and IR version {origin.ir_version}"
            f"{producer and ', written by '}{producer}: here they are {opset} and {model.ir_version}"
        )


def _of_wider_types(model: ModelProto, graph: Graph) -> Iterator[str]:
    stored = {each.name: each.data_type for each in model.graph.initializer}
    wider = {
        each.name: each.packed for each in graph.parameters if each.packed and stored.get(each.name) in ONNX_DTYPES
    }
    needed = (f"{packed} needs opset {NARROW[PACKED[packed]].since}" for packed in dict.fromkeys(wider.values()))
    yield from noted("weights in wider types", wider, f"as {' and '.join(needed)}")


def _of_written_nodes(model: ModelProto, graph: Graph, documentation: Documentation) -> Iterator[str]:
    written = {node.name: node for node in model.graph.node}
    values = {each.name for each in (*model.graph.input, *model.graph.initializer)}
    values.update(name for node in model.graph.node for name in node.output)
    gone = {node.name for node in graph.nodes if node.name not in written and values.isdisjoint(node.outputs)}
    other = [
        node.name
        for node in graph.nodes
        if node.name not in gone
        and not (node.operator == "Constant" or is_opaque(node))
        and (node.name not in written or written[node.name].op_type != node.operator)
    ]
    yield from noted("written as other operators", other, "which this opset has")
    for what, documented, kept in (("nodes", documentation.nodes, written), ("values", documentation.values, values)):
        lost = filterfalse(kept.__contains__, documented)
        yield from noted(f"dropped: documentation of {what}", lost, "as they are not there in this form")
