"""The documentation in an ONNX file: ``doc_string`` and ``metadata_props`` of its parts, and names of symbolic sizes.

``collect`` reads it from a model, ``attach`` writes it into one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, TypeAlias

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from portable_nn.core.graph import Graph, Node, Shape
from portable_nn.format.documentation import Documentation, ModelOrigin, Remark, ValueRemark, constants_of
from portable_nn.onnx.opsets.support import opset_in, set_nodes
from portable_nn.operators import DTYPE_CODES, infer

MOST: Final = 8 * 2**20
"""The most bytes of documentation that are kept: a manifest of at most 16 MiB holds other things as well."""

TRACE: Final = re.compile(r'File "[^"\n]*", line \d|[^\s"]\.py[:(]\d')
"""The stack traces that PyTorch writes at each node: places in files of the author's machine."""

Described: TypeAlias = NodeProto | ValueInfoProto | TensorProto | GraphProto


# -- from a model


def collect(model: ModelProto, graph: Graph, *, most: int | None = MOST) -> Documentation:
    """The documentation in ``model`` of the parts that ``graph``, which was read from it, kept.

    If it is larger than ``most`` bytes, all remarks are dropped.
    """
    proto = model.graph
    nodes = dict[str, Remark]()
    for each, node in pairs(proto, graph):
        if node and node.name not in nodes and (said := remark_of(each)):
            nodes[node.name] = said
    constants = constants_of(graph)
    found = Documentation(
        graph=remark_of(proto),
        nodes=nodes,
        values=dict(_of_values(proto, graph)),
        initializers=tuple(tensor.name for tensor in proto.initializer if tensor.name in constants),
        origin=_origin(model),
    )
    if most is None or _length(found) <= most:
        return found
    return Documentation(initializers=found.initializers, origin=found.origin)


def _origin(model: ModelProto) -> ModelOrigin:
    return ModelOrigin(
        producer=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        ir_version=model.ir_version,
        opset=opset_in(model),
    )


def remark_of(proto: Described) -> Remark | None:
    """The documentation of one part; ``None`` where there is none."""
    remark = Remark(_impersonal(proto.doc_string), _properties(proto))
    return remark if remark != Remark() else None


def _properties(proto: Described) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props if _impersonal(entry.value) or not entry.value}


def _impersonal(text: str) -> str:
    """``text``, or nothing where it is a trace of the program that made the model, with files of its author."""
    return "" if TRACE.search(text) else text


def _length(documentation: Documentation) -> int:
    """The size of the remarks in bytes."""
    graph = [documentation.graph] if documentation.graph else []
    remarks = [*graph, *documentation.nodes.values(), *documentation.values.values()]
    texts = (text for each in remarks for text in (each.doc, *chain(*each.properties.items())))
    return sum(len(text.encode()) for text in texts)


def pairs(proto: GraphProto, graph: Graph) -> Iterator[tuple[NodeProto, Node | None]]:
    """Each node of a file with the node that was read from it: that of its name, or else of its first output."""
    named = {node.name: node for node in graph.nodes}
    makers = {name: node for node in graph.nodes for name in node.outputs}
    seen: set[str] = {""}
    for each in proto.node:
        if each.name not in seen:
            yield each, named.get(each.name)
        else:
            yield each, next((makers.get(name) for name in each.output if name), None)
        seen.add(each.name)


def protos_of_values(proto: GraphProto, graph: Graph) -> dict[str, list[ValueInfoProto | TensorProto]]:
    """The messages about each value that ``graph`` has: inputs, outputs, initializers and ``value_info``."""
    known = set(graph.values())
    found: dict[str, list[ValueInfoProto | TensorProto]] = {}
    for each in (*proto.input, *proto.output, *proto.initializer, *proto.value_info):
        if each.name in known:
            found.setdefault(each.name, []).append(each)
    return found


def _of_values(proto: GraphProto, graph: Graph) -> Iterator[tuple[str, ValueRemark]]:
    """The documentation of each value, from all messages about it."""
    sizes = _sizes(proto, graph)
    for name, found in protos_of_values(proto, graph).items():
        doc = next((said for each in found if (said := _impersonal(each.doc_string))), "")
        properties = {key: text for each in reversed(found) for key, text in _properties(each).items()}
        remark = ValueRemark(doc, properties, sizes.get(name, ()))
        if remark != ValueRemark():
            yield name, remark


def _sizes(proto: GraphProto, graph: Graph) -> dict[str, tuple[str, ...]]:
    """The names of sizes that inference does not find in the graph, by value."""
    types = infer(graph).types
    shapes = {each.name: stated(each) for each in (*proto.value_info, *proto.output)}
    found = {name: _other_names(types[name].shape, shape) for name, shape in shapes.items() if name in types and shape}
    return {name: sizes for name, sizes in found.items() if any(sizes)}


def stated(value: ValueInfoProto) -> tuple[int | str, ...] | None:
    """The sizes that a file states, ``""`` for an unknown one; ``None`` where not even the rank is known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim)


def _other_names(shape: Shape, stated: tuple[int | str, ...]) -> tuple[str, ...]:
    """The names in ``stated`` that are not in ``shape``; ``""`` for all other sizes."""
    if len(shape) != len(stated):
        return ()
    return tuple(
        name if isinstance(name, str) and isinstance(dim, str) and name != dim else ""
        for dim, name in zip(shape, stated, strict=True)
    )


# -- into a model


def attach(model: ModelProto, documentation: Documentation, graph: Graph) -> None:
    """Write the documentation into ``model``, which was made from ``graph``, for the parts that it has."""
    if not documentation:
        return
    proto = model.graph
    if documentation.graph:
        _describe([proto], documentation.graph)
    for node in proto.node:
        _describe([node], documentation.nodes.get(node.name))
    _as_initializers(proto, documentation.initializers)
    _attach_to_values(proto, documentation.values, graph)
    if documentation.origin:
        model.domain, model.model_version = documentation.origin.domain, documentation.origin.model_version


def _attach_to_values(proto: GraphProto, remarks: Mapping[str, ValueRemark], graph: Graph) -> None:
    places = protos_of_values(proto, graph)
    made = {name for node in proto.node for name in node.output}
    types = infer(graph).types if remarks else {}
    for name, remark in sorted(remarks.items()):  # In the order of a manifest.
        if name not in places and name in made and name in types:
            type = types[name]
            proto.value_info.append(helper.make_tensor_value_info(name, DTYPE_CODES[type.dtype], type.shape))
            places[name] = [proto.value_info[-1]]
        _describe(places.get(name, ()), remark)
        for value in places.get(name, ()):
            if isinstance(value, ValueInfoProto):
                _name_sizes(value, remark.sizes)


def _describe(protos: Iterable[Described], remark: Remark | None) -> None:
    for proto in protos if remark else ():
        assert remark
        if remark.doc:
            proto.doc_string = remark.doc
        helper.set_model_props(proto, dict(sorted(remark.properties.items())))


def _name_sizes(value: ValueInfoProto, names: tuple[str, ...]) -> None:
    dims = value.type.tensor_type.shape.dim
    for dim, name in zip(dims, names, strict=False):
        if name and dim.HasField("dim_param"):
            dim.dim_param = name


def _as_initializers(proto: GraphProto, names: Iterable[str]) -> None:
    """Turn Constant nodes back into the initializers that they were read from."""
    nodes = {node.output[0]: node for node in proto.node if node.op_type == "Constant"}
    again = {name: nodes[name] for name in names if name in nodes}
    for name, node in again.items():
        tensor = proto.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = name
    if again:
        set_nodes(proto, [node for node in proto.node if node.op_type != "Constant" or node.output[0] not in again])
