"""What is in a model: its nodes with their shapes and parameters, and what goes in and comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portable_nn.data.preprocessing import describe
from portable_nn.errors import UsageError
from portable_nn.format import Contents, load
from portable_nn.format.manifest import encode
from portable_nn.format.tensors import Array
from portable_nn.graph import Graph, Shape, format_shape
from portable_nn.operators import Type, infer
from portable_nn.resolve import is_onnx, resolve
from portable_nn.text import fields, printable, quantity, size, table

if TYPE_CHECKING:
    from portable_nn.network import Network

SHOWN = 20
"""How many labels are printed."""


@dataclass(frozen=True)
class NodeRow:
    """One node: the shapes of what goes in (without parameters) and comes out, and the parameters that it uses first.

    A shape that is not known is ``None``.
    """

    name: str
    operator: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    parameters: int
    bytes: int


@dataclass(frozen=True)
class InputRow:
    """One input, and how it is made from a picture or table."""

    name: str
    dtype: str
    shape: Shape | None
    kind: str = "tensor"
    preprocessing: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutputRow:
    """One output, and what it means."""

    name: str
    dtype: str
    shape: Shape | None
    kind: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileRow:
    """The file that a model is in."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Inspection:
    """All that ``portable-nn inspect`` prints; ``bytes`` are those of the parameters."""

    name: str
    opset: int
    producer: str
    nodes: tuple[NodeRow, ...]
    inputs: tuple[InputRow, ...]
    outputs: tuple[OutputRow, ...]
    parameters: int
    bytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    file: FileRow | None = None


def inspect(model: str | Path | Network) -> Inspection:
    """What is in a network, a shipped model, a weight file or any ONNX file, also one that cannot be imported.

    Raises:
        UsageError: no model has that name.
        FileError, FormatError: the file cannot be read.
    """
    from portable_nn.network import Network

    if isinstance(model, Network):
        return inspect_network(model)
    path = resolve(model)
    if is_onnx(path):
        from portable_nn.converters.onnx.describe import describe_onnx

        found = describe_onnx(path)
    else:
        found = _inspect(load(path))
    data = path.read_bytes()
    return replace(found, file=FileRow(str(path), len(data), hashlib.sha256(data).hexdigest()))


def inspect_network(network: Network) -> Inspection:
    """What is in a network."""
    return _inspect(Contents(network.manifest(), network.parameters))


def _inspect(contents: Contents) -> Inspection:
    manifest, tensors = contents.manifest, contents.tensors
    graph, types = manifest.graph, infer(manifest.graph).types
    return Inspection(
        name=graph.name,
        opset=manifest.opset,
        producer=manifest.producer,
        nodes=tuple(_nodes(graph, types, tensors)),
        inputs=tuple(
            InputRow(info.name, value.dtype, value.shape, info.kind, tuple(describe(info.preprocessing)))
            for info, value in zip(manifest.inputs, graph.inputs, strict=True)
        ),
        outputs=tuple(
            OutputRow(info.name, types[info.name].dtype, types[info.name].shape, info.kind, info.labels)
            for info in manifest.outputs
        ),
        parameters=sum(tensor.size for tensor in tensors.values()),
        bytes=sum(tensor.nbytes for tensor in tensors.values()),
        metadata=manifest.metadata,
    )


def _nodes(graph: Graph, types: Mapping[str, Type], tensors: Mapping[str, Array]) -> Iterator[NodeRow]:
    seen = set[str]()
    for node in graph.nodes:
        own = [name for name in dict.fromkeys(node.inputs) if name in tensors and name not in seen]
        seen.update(own)
        yield NodeRow(
            node.name,
            node.operator,
            tuple(types[name].shape for name in node.inputs if name and name not in tensors),
            tuple(types[name].shape for name in node.outputs if name),
            sum(tensors[name].size for name in own),
            sum(tensors[name].nbytes for name in own),
        )


def manifest_text(model: str | Path) -> str:
    """The manifest of a shipped model, a weight file or an ONNX file that this package wrote, as canonical JSON.

    Raises ``UsageError`` where an ONNX file has none, and otherwise as ``inspect``.
    """
    path = resolve(model)
    if not is_onnx(path):
        return encode(load(path).manifest).decode()
    from portable_nn.converters.onnx.convert import MANIFEST
    from portable_nn.converters.onnx.files import read_model

    properties = {entry.key: entry.value for entry in read_model(path).metadata_props}
    if MANIFEST not in properties:
        raise UsageError(f"{path}: has no manifest; those ONNX files have one that portable-nn wrote")
    return str(properties[MANIFEST])


def as_text(inspection: Inspection) -> str:
    """The inspection for people: tables, without a line end."""
    found = inspection
    where = f"{found.file.path} ({size(found.file.bytes)})" if found.file else ""
    parts = [
        fields(
            [
                ("name", found.name),
                ("file", where),
                ("SHA-256", found.file.sha256 if found.file else ""),
                ("written by", found.producer),
                ("opset", str(found.opset or "")),
            ]
        ),
        table(
            ("node", "operator", "input", "output", ">parameters", ">bytes"),
            [
                *(_cells(row) for row in found.nodes),
                (quantity(len(found.nodes), "node"), "", "", "", f"{found.parameters:,}", f"{found.bytes:,}"),
            ],
        ),
        "".join([*map(_input_text, found.inputs), *map(_output_text, found.outputs)]),
        _lines(["metadata", *(f"  {key}: {text}" for key, text in found.metadata.items())]) if found.metadata else "",
    ]
    return "\n".join(parts).rstrip("\n")


def as_json(inspection: Inspection) -> dict[str, Any]:
    """The inspection for programs."""
    return asdict(inspection)


def _cells(row: NodeRow) -> tuple[str, ...]:
    counts = (f"{row.parameters:,}", f"{row.bytes:,}") if row.parameters else ("", "")
    return (row.name, row.operator, _shapes(row.inputs), _shapes(row.outputs), *counts)


def _shapes(shapes: Iterable[Shape | None]) -> str:
    return ", ".join(map(_shape, shapes))


def _shape(shape: Shape | None) -> str:
    return "?" if shape is None else format_shape(shape)


def _input_text(row: InputRow) -> str:
    head = f"input {row.name}: {_type(row)}{'' if row.kind == 'tensor' else f', {row.kind}'}"
    steps = (f"  {place}. {step}" for place, step in enumerate(row.preprocessing, start=1))
    return _lines([head, *steps])


def _output_text(row: OutputRow) -> str:
    head = ", ".join(filter(None, [f"output {row.name}: {_type(row)}", row.kind]))
    return _lines([head, *_label_lines(row.labels)])


def _type(row: InputRow | OutputRow) -> str:
    return f"{row.dtype} of unknown shape" if row.shape is None else f"{row.dtype}{format_shape(row.shape)}"


def _label_lines(labels: tuple[str, ...]) -> Iterator[str]:
    if labels:
        more = f", … ({len(labels):,} labels)" if len(labels) > SHOWN else ""
        yield "  labels: " + ", ".join(labels[:SHOWN]) + more


def _lines(lines: Iterable[str]) -> str:
    return "".join(printable(line) + "\n" for line in lines)
