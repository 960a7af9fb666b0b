"""The contents of an ONNX file, whether or not this package supports its operators."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from portable_nn.core.graph import Shape
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo
from portable_nn.inspection.rows import InputRow, Inspection, NodeRow, OutputRow, frozen_in
from portable_nn.onnx.classical.shapes import classical_values
from portable_nn.onnx.library.inference import light
from portable_nn.onnx.library.isolated import LibraryError, infer_shapes
from portable_nn.onnx.opsets.support import as_opaque, captured, label
from portable_nn.onnx.storage.metadata import COLUMNS, DIGEST, LABELS, MANIFEST, labels_of, manifest_in, metadata_of
from portable_nn.operators.narrow import NARROW
from portable_nn.operators.opaque.nodes import opaque_notes


def inspect_onnx(model: ModelProto, where: str) -> Inspection:
    """The contents of a model; shapes are those that the standard's inference finds.

    Args:
        model: the model.
        where: what messages call it.

    Raises ``FormatError`` where the manifest in it is whole, but this version cannot read it.
    """
    graph, shapes = model.graph, _shapes(model)
    metadata = metadata_of(model)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    entries = [value for value in graph.input if value.name not in stored]
    manifest = manifest_in(metadata, _names(entries), _names(graph.output), where)
    inputs = manifest.inputs if manifest else [InputInfo(value.name) for value in entries]
    return Inspection(
        name=graph.name,
        opset=max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        nodes=tuple(_nodes(model, shapes, stored)),
        inputs=tuple(
            InputRow.of(info, _dtype(value), shapes.get(value.name))
            for value, info in zip(entries, inputs, strict=True)
        ),
        outputs=tuple(_outputs(graph.output, shapes, manifest, metadata)),
        parameters=sum(map(_count, stored.values())),
        bytes=sum(map(_bytes, stored.values())),
        metadata={key: text for key, text in metadata.items() if key not in {MANIFEST, DIGEST, LABELS, COLUMNS}},
        notes=opaque_notes(filter(None, (as_opaque(node, model, label(node)) for node in graph.node))),
        frozen=frozen_in(each for each in manifest.graph.parameters if each.name in stored) if manifest else 0,
    )


def _nodes(model: ModelProto, shapes: Mapping[str, Shape], stored: Mapping[str, TensorProto]) -> Iterable[NodeRow]:
    seen = set[str]()
    for node in model.graph.node:
        own = [stored[name] for name in dict.fromkeys(node.input) if name in stored and name not in seen]
        seen.update(tensor.name for tensor in own)
        yield NodeRow(
            node.name or ", ".join(node.output),
            node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op_type}",
            tuple(shapes.get(name) for name in node.input if name and name not in stored),
            tuple(shapes.get(name) for name in node.output if name),
            sum(map(_count, own)),
            sum(map(_bytes, own)),
            tuple(dict.fromkeys([*filter(None, node.input), *captured(node)])),
            tuple(filter(None, node.output)),
        )


def _outputs(
    values: Sequence[ValueInfoProto],
    shapes: Mapping[str, Shape],
    manifest: Manifest | None,
    metadata: Mapping[str, str],
) -> Iterable[OutputRow]:
    """The outputs; the labels in a model of another tool belong to the first output with a size of their number."""
    labels = labels_of(metadata)
    for place, value in enumerate(values):
        shape = shapes.get(value.name)
        if manifest:
            info = manifest.outputs[place]
            yield OutputRow.of(info, _dtype(value), shape)
            continue
        fits = labels and shape and len(labels) in shape
        yield OutputRow(value.name, _dtype(value), shape, "", labels if fits else ())
        labels = () if fits else labels


def _shapes(model: ModelProto) -> dict[str, Shape]:
    """All known shapes of values."""
    shown, found = light(model), dict[str, Shape]()
    while True:
        try:
            graph = infer_shapes(shown).graph
        except LibraryError:
            graph = shown.graph  # The shapes that the file declares have to do.
        values = (*graph.value_info, *graph.input, *graph.output)
        found |= {value.name: _shape(value) for value in values if value.type.tensor_type.HasField("shape")}
        if not (more := classical_values(shown.graph, found)):
            return found
        shown.graph.value_info.extend(more)  # The standard's inference goes on from there.
        found |= {value.name: _shape(value) for value in more}


def _shape(value: ValueInfoProto) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else _named(dim.dim_param) for dim in dims)


def _named(dim: str) -> str:
    """The name of a size in the file; ``?`` for one that the file leaves open, which inference calls ``unk__0``."""
    return "?" if not dim or dim.startswith("unk__") else dim


def _dtype(value: ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    return _dtype_name(value.type.tensor_type.elem_type) if kind == "tensor_type" else str(kind).removesuffix("_type")


def _dtype_name(code: int) -> str:
    try:
        return str(helper.tensor_dtype_to_np_dtype(code))
    except KeyError:
        return f"type {code}"


def _count(tensor: TensorProto) -> int:
    return math.prod(tensor.dims)


def _bytes(tensor: TensorProto) -> int:
    narrow = NARROW.get(tensor.data_type)
    try:
        bits = narrow.bits if narrow else helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
        return math.ceil(_count(tensor) * bits / 8)
    except KeyError:
        return len(tensor.raw_data)


def _names(values: Iterable[ValueInfoProto]) -> list[str]:
    return [value.name for value in values]
