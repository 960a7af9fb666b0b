"""Graphs as ONNX models. This module knows no ``Network`` and writes no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import starmap, zip_longest
from types import MappingProxyType
from typing import Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import UNSET
from msgspec.structs import replace
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import OPSET, Graph, Node, Parameter, Value, bodies, own_inputs
from portable_nn.core.tensors import ITEM_SIZES, NamedArrays
from portable_nn.core.version import __version__
from portable_nn.format.packed import PACKED, element_code, stored
from portable_nn.onnx.opsets.standard import domain_versions, signature
from portable_nn.onnx.opsets.translation import OLDEST_WRITTEN, Written, packed_at, to_opset
from portable_nn.onnx.storage.external import IN_PLACE, reference, regions
from portable_nn.onnx.storage.files import MAX_BYTES
from portable_nn.onnx.storage.tensors import to_attribute, to_tensor
from portable_nn.operators import DTYPE_CODES, Types, infer
from portable_nn.operators.narrow import FLOAT4, NARROW
from portable_nn.operators.opaque.nodes import is_opaque, proto_of
from portable_nn.rewrites.distinct import distinct
from portable_nn.rewrites.program import Names

PRODUCER: Final = "portable-nn"
"""The ``producer_name`` of models that this package writes."""


COMMON: Final = 17
"""The opset of models where no other is asked for nor needed: what reads ONNX files reads it."""


def to_model(
    graph: Graph,
    parameters: NamedArrays,
    *,
    opset: int | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
    doc: str = "",
    location: str | None = None,
    portable: bool = True,
) -> ModelProto:
    """``graph`` as a model at ``opset``, every name as it is. The same arguments give the same bytes.

    An operator that the opset lacks is written as older ones, and the padding of windows always as explicit ``pads``.

    Args:
        graph: what to write, without operators of the package's own domain.
        parameters: the values of its parameters, which become initializers.
        opset: 13 to 25, by default the lowest from 17 up that can express the graph, with packed parameters as they
            are; the IR version is the lowest that goes with it.
        metadata: the model's ``metadata_props``, written in the order of their keys.
        doc: the model's ``doc_string``.
        portable: whether nodes that some runtimes lack or misunderstand are written as others that all of them have.
        location: the name of the file beside the model for the large parameters (see ``external``), which is not
            written here, or ``IN_PLACE`` where ``write_model`` puts them in; without it all of them are in the model.

    Raises:
        UsageError: an opset out of range, or one that cannot express the graph: every node that it cannot express is
            listed, with the lowest opset that can. Parameters of more than 2 GiB without a ``location``.
        GraphError: the graph is not consistent.
    """
    _check_opset(opset)
    types = infer(graph).types
    outputs = [Value(name, types[name].dtype, types[name].shape) for name in graph.outputs]
    nodes, opset = _at_opset(graph, types, opset, portable)
    values = parameters_at(graph, opset)
    apart = regions(values) if location else {}
    inside = (stored(value) for value in values if value.name not in apart or location == IN_PLACE)
    if (size := size_of(inside)) > MAX_BYTES:
        raise UsageError(f"the parameters have {size} bytes; an ONNX file holds at most {MAX_BYTES}")
    opsets = list(starmap(helper.make_opsetid, ({"": opset} | domain_versions(graph)).items()))
    model = ModelProto(
        ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True),
        opset_import=opsets,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    proto = model.graph  # Filled in place: a graph that is given to a model is copied.
    proto.name = graph.name
    names = Names([*graph.values(), *(name for node in nodes for name in (node.name, *node.outputs))])
    proto.node.extend(_to_node(node, opset, names) for node in distinct(nodes, names))
    proto.input.extend(map(_to_value, graph.inputs))
    proto.output.extend(map(_to_value, outputs))
    for value in values:
        name, found = value.name, apart.get(value.name)
        tensor = reference(value, location or "", found) if found else None
        proto.initializer.append(tensor or to_tensor(name, parameters[name], element_code(value)))
    if doc:
        model.doc_string = doc
    helper.set_model_props(model, dict(sorted(metadata.items())))
    return model


def _check_opset(opset: int | None) -> None:
    """Raise ``UsageError`` for an opset at which nothing is written."""
    newest = min(OPSET, onnx.defs.onnx_opset_version())
    if opset is not None and not OLDEST_WRITTEN <= opset <= newest:
        why = "" if newest == OPSET else f" (a newer package onnx than {onnx.__version__} has more)"
        raise UsageError(f"opset must be {OLDEST_WRITTEN} to {newest}{why}, not {opset}")


def _at_opset(graph: Graph, types: Types, opset: int | None, portable: bool) -> tuple[list[Node], int]:
    """The nodes at an opset, by default the lowest from ``COMMON`` up that can express them.

    It has the types of packed parameters as well, but for the one that onnxruntime has no kernels for.
    """

    def written(opset: int) -> tuple[list[Node], int]:
        return to_opset(graph, types, opset, portable=portable, packed=packed_at(graph, opset)), opset

    if opset is not None:
        return written(opset)
    codes = {PACKED[each] for each in packed_at(graph, OPSET).values()}
    most = NARROW[FLOAT4].since if FLOAT4 in codes else OPSET + 1  # From there on, onnxruntime could not run it.
    first = max([COMMON, *(since for code in codes if (since := NARROW[code].since) < most)])
    try:
        return written(first)
    except UsageError:
        for each in (*range(first + 1, OPSET + 1), *range(COMMON, first)):
            with suppress(UsageError):
                return written(each)
        raise


def parameters_at(graph: Graph, opset: int | None) -> list[Parameter]:
    """The parameters of ``graph`` as a model at ``opset`` has them: packed where it has their types."""
    packed = packed_at(graph, opset or OPSET)
    return [replace(each, packed=packed.get(each.name, UNSET)) for each in graph.parameters]


def to_bytes(message: ModelProto | NodeProto | TensorProto | ValueInfoProto) -> bytes:
    """The bytes of a model, or of a part of one; the same gives the same bytes."""
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def size_of(values: Iterable[Value]) -> int:
    """The size of parameters in bytes."""
    return sum(ITEM_SIZES[value.dtype] * math.prod(map(int, value.shape)) for value in values)


def _to_value(value: Value) -> ValueInfoProto:
    return helper.make_tensor_value_info(value.name, DTYPE_CODES[value.dtype], value.shape)


def _opaque(node: Node, names: Names) -> NodeProto:
    """The very NodeProto of an opaque node, with the names of today, and its names for outputs that nothing reads."""
    try:
        proto: NodeProto = NodeProto.FromString(proto_of(node))
    except DecodeError:
        raise UsageError(f"node {node}: its bytes are no NodeProto") from None
    proto.name = proto.name and node.name
    proto.input[:] = node.inputs
    made = zip_longest(node.outputs, list(proto.output))
    proto.output[:] = [now or (then and names.fresh(then)) for now, then in made]
    return proto


def _to_node(node: Node, opset: int, names: Names) -> NodeProto:
    """A node; ``names`` gives names to what is added to its bodies."""
    if is_opaque(node):
        return _opaque(node, names)
    known = signature(node.operator, opset)
    assert known is not None  # to_opset has refused all others
    graphs = {name: _to_body(body, opset, names) for name, body in bodies(node)}
    attributes = [
        AttributeProto(name=name, type=AttributeProto.GRAPH, g=graphs[name])
        if name in graphs
        else to_attribute(name, value, known.attributes[name])
        for name, value in sorted(node.attributes.items())
    ]
    return NodeProto(
        op_type=node.operator, name=node.name, input=own_inputs(node), output=node.outputs, attribute=attributes
    )


def _to_body(body: Graph, opset: int, names: Names) -> GraphProto:
    """A body, in which all that it makes must be made by a node, and stand once."""
    assert isinstance(body, Written)
    proto = GraphProto(name=body.name, input=map(_to_value, body.inputs))
    proto.node.extend(_to_node(node, opset, names) for node in body.nodes)
    made = [name for node in body.nodes for name in node.outputs]
    for place, (name, value) in enumerate(zip(body.outputs, body.results, strict=True)):
        if name not in made or name in body.outputs[:place]:  # It must be made in the body, and stand once.
            copy = names.fresh(f"{name}.copy")
            proto.node.add(op_type="Identity", name=copy, input=[name], output=[copy])
            name = copy
        proto.output.append(_to_value(replace(value, name=name)))
    return proto
