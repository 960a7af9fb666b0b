"""What is in a model: its nodes with their shapes and parameters, and what goes in and comes out.

Of a file of another project that holds arrays alone: what they are, and which of them a network could take.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from portable_nn.catalog import CALLED
from portable_nn.core.errors import UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.graph import Graph, Parameter, Shape, format_shape
from portable_nn.core.text import fields, printable, quantity, size, table
from portable_nn.format import has_manifest, load
from portable_nn.format.carriers import carrier_of
from portable_nn.format.manifest import Manifest
from portable_nn.format.tensors import ITEM_SIZES
from portable_nn.model_files.resolve import is_onnx, open_network, resolve
from portable_nn.operators import Type, infer
from portable_nn.plain import KINDS, Entry, open_tensors
from portable_nn.plain.matching import Match, match
from portable_nn.preprocessing.steps import describe

if TYPE_CHECKING:
    from portable_nn.network import Network

SHOWN: Final = 20
"""How many labels and notes are printed."""

SHOWN_TEXT: Final = 1000
"""How much of each entry of the metadata is printed, in characters."""


@dataclass(frozen=True)
class NodeRow:
    """One node: the shapes of what goes in (without parameters) and comes out, and the parameters that it uses first.

    A shape that is not known is ``None``. ``reads`` are the names of all values that it takes, parameters among them,
    and ``makes`` those of what comes out.
    """

    name: str
    operator: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    parameters: int
    bytes: int
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()


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
class TensorRow:
    """One tensor of a file of arrays; the type by its name in the file, where numpy does not have it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class FileRow:
    """The file that a model is in."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TrainingRow:
    """Where the training of a checkpoint stands: so many epochs are done, batches of the next one, and steps in all."""

    epoch: int
    batch: int
    step: int


@dataclass(frozen=True)
class Inspection:
    """All that ``portable-nn inspect`` prints; ``bytes`` are those of the parameters.

    ``digest`` is the one of the network in a weight file, which ``load`` can be given. A file of arrays has
    ``tensors``, and nothing that only networks have.
    """

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
    digest: str = ""
    training: TrainingRow | None = None
    tensors: tuple[TensorRow, ...] = ()
    notes: tuple[str, ...] = ()


def inspect(model: str | Path | Network) -> Inspection:
    """What is in a network, a shipped model, a weight file or any ONNX file, also one that cannot be imported.

    Of another project's file of arrays (``plain.KINDS``), what the arrays are. Memory is not taken for any tensor.

    Raises:
        UsageError: no model has that name.
        FileError, FormatError: the file cannot be read.
    """
    from portable_nn.network import Network

    if isinstance(model, Network):
        return inspect_network(model)
    path = _file(model)
    return replace(_inspect_file(path), file=_file_row(path))


def inspect_network(network: Network) -> Inspection:
    """What is in a network."""
    return _inspect(network.description())


def against(file: str | Path, model: str | Path) -> Match:
    """Which tensors of ``file`` the network ``model`` could take, and what the others may be called.

    Args:
        file: a file of arrays of another project, a weight file, an ONNX file or a shipped model.
        model: a shipped model, a weight file or an ONNX file.

    Raises as ``inspect`` does, and ``UnsupportedError`` where the model is an ONNX file that cannot be imported.
    """
    return match(_entries(_file(file)), _needed(model))


def _file(model: str | Path) -> Path:
    """The file of a model or of arrays."""
    path = Path(model)
    return path if model not in CALLED and path.suffix.lower() in KINDS else resolve(model)


def _is_plain(path: Path) -> bool:
    return path.suffix.lower() in KINDS and not has_manifest(path)


def _inspect_file(path: Path) -> Inspection:
    if is_onnx(path):
        from portable_nn.inspection.onnx import describe_onnx

        return describe_onnx(path)
    if _is_plain(path):
        return _inspect_plain(path)
    contents = load(path, lazy=True)
    # By SHA-256: a file that was made to have a digest without having what it stands for must not be shown with it.
    contents = load(path, lazy=True, verify="eager", digest=contents.digest)
    return replace(_inspect(contents.manifest), digest=contents.digest)


def _file_row(path: Path) -> FileRow:
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRow(str(path), os.fstat(file.fileno()).st_size, digest)


def _inspect_plain(path: Path) -> Inspection:
    with open_tensors(path) as found:
        rows = tuple(TensorRow(name, each.dtype, each.shape, each.bytes) for name, each in found.entries.items())
        return Inspection(
            name="",
            opset=0,
            producer="",
            nodes=(),
            inputs=(),
            outputs=(),
            parameters=sum(math.prod(row.shape) for row in rows),
            bytes=sum(row.bytes for row in rows),
            metadata=dict(found.metadata),
            tensors=rows,
            notes=found.notes,
        )


def _entries(path: Path) -> Mapping[str, Entry]:
    """The tensors of a file by name. Those of a training are not among them."""
    if is_onnx(path):
        from portable_nn.onnx.files import read_alone

        stored = read_alone(path).graph.initializer
        return {tensor.name: Entry("", tuple(tensor.dims), 0) for tensor in stored}
    if _is_plain(path):
        with open_tensors(path) as found:
            return dict(found.entries)
    return {each.name: Entry(each.dtype, _sizes(each), _bytes(each)) for each in _needed(path)}


def _needed(model: str | Path) -> tuple[Parameter, ...]:
    """The parameters of a network; of a weight file, its manifest alone is read."""
    path = resolve(model)
    if is_onnx(path):
        return open_network(path).graph.parameters
    return load(path, lazy=True, verify="off").manifest.graph.parameters


def _inspect(manifest: Manifest) -> Inspection:
    training = manifest.training
    graph, types = manifest.graph, infer(manifest.graph).types
    return Inspection(
        name=graph.name,
        opset=manifest.opset,
        producer=manifest.producer,
        nodes=tuple(_nodes(graph, types)),
        inputs=tuple(
            InputRow(info.name, value.dtype, value.shape, info.kind, tuple(describe(info.preprocessing)))
            for info, value in zip(manifest.inputs, graph.inputs, strict=True)
        ),
        outputs=tuple(
            OutputRow(info.name, types[info.name].dtype, types[info.name].shape, info.kind, info.labels)
            for info in manifest.outputs
        ),
        parameters=sum(map(_count, graph.parameters)),
        bytes=sum(map(_bytes, graph.parameters)),
        metadata=manifest.metadata,
        training=TrainingRow(training.epoch, training.batch, training.step) if training else None,
    )


def _nodes(graph: Graph, types: Mapping[str, Type]) -> Iterator[NodeRow]:
    seen = set[str]()
    parameters = {value.name: value for value in graph.parameters}
    for node in graph.nodes:
        own = [parameters[name] for name in dict.fromkeys(node.inputs) if name in parameters and name not in seen]
        seen.update(value.name for value in own)
        yield NodeRow(
            node.name,
            f"{node.domain}.{node.operator}" if node.domain else node.operator,
            tuple(types[name].shape for name in node.inputs if name and name not in parameters),
            tuple(types[name].shape for name in node.outputs if name),
            sum(map(_count, own)),
            sum(map(_bytes, own)),
            tuple(filter(None, node.inputs)),
            tuple(filter(None, node.outputs)),
        )


def _sizes(parameter: Parameter) -> tuple[int, ...]:
    return tuple(int(dim) for dim in parameter.shape)


def _count(parameter: Parameter) -> int:
    return math.prod(_sizes(parameter))


def _bytes(parameter: Parameter) -> int:
    return _count(parameter) * ITEM_SIZES[parameter.dtype]


def manifest_text(model: str | Path) -> str:
    """The manifest of a shipped model, a weight file or an ONNX file that this package wrote, as canonical JSON.

    Raises ``UsageError`` where a file of arrays or an ONNX file has none, and otherwise as ``inspect``.
    """
    path = _file(model)
    if _is_plain(path):
        with open_tensors(path):  # which says what it is where it holds no arrays either
            raise UsageError(f"{path}: has no manifest: it holds arrays, not a network that portable-nn wrote")
    if not is_onnx(path):
        load(path, lazy=True, verify="eager")
        return _stored_text(path)
    from portable_nn.onnx.files import read_model
    from portable_nn.onnx.metadata import MANIFEST, metadata_of

    properties = metadata_of(read_model(path))
    if MANIFEST not in properties:
        raise UsageError(f"{path}: has no manifest; those ONNX files have one that portable-nn wrote")
    return str(properties[MANIFEST])


def _stored_text(path: Path) -> str:
    """The manifest as it stands in a weight file, which may be of an older version."""
    carrier, where = carrier_of(path), str(path)
    with open_regular(path) as file:
        start = carrier.preamble(file, os.fstat(file.fileno()).st_size, where)
        return carrier.manifest_text(start, where).data.decode()


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
                ("digest", found.digest),
                ("written by", found.producer),
                ("opset", str(found.opset or "")),
                ("training", _stands(found.training) if found.training else ""),
            ]
        ),
        _tensor_table(found) if _holds_arrays(found) else _node_table(found),
        "".join([*map(_input_text, found.inputs), *map(_output_text, found.outputs)]),
        _lines(["metadata", *(f"  {key}: {_shortened(text)}" for key, text in found.metadata.items())])
        if found.metadata
        else "",
        _lines(["notes", *(f"  {note}" for note in _first(found.notes, "notes"))]) if found.notes else "",
    ]
    return "\n".join(part for part in parts if part).rstrip("\n")


def _holds_arrays(found: Inspection) -> bool:
    """Whether it is of a file of arrays: every network has outputs."""
    return not (found.nodes or found.outputs)


def _node_table(found: Inspection) -> str:
    total = (quantity(len(found.nodes), "node"), "", "", "", f"{found.parameters:,}", f"{found.bytes:,}")
    headings = ("node", "operator", "input", "output", ">parameters", ">bytes")
    return table(headings, [*map(_cells, found.nodes), total])


def _tensor_table(found: Inspection) -> str:
    rows = [(row.name, row.dtype, format_shape(row.shape), f"{row.bytes:,}") for row in found.tensors]
    total = (quantity(len(rows), "tensor"), "", "", f"{found.bytes:,}")
    return table(("tensor", "dtype", "shape", ">bytes"), [*rows, total])


def _stands(row: TrainingRow) -> str:
    part = f" and batch {row.batch:,} of the next" if row.batch else ""
    return f"stopped after {quantity(row.epoch, 'epoch')}{part}, {quantity(row.step, 'step')} in all"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}… ({len(text):,} characters)"


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
        yield "  labels: " + ", ".join(_first(labels, "labels"))


def _first(texts: Sequence[str], what: str) -> list[str]:
    """The first few, and how many there are in all."""
    return [*texts[:SHOWN], *([f"… ({len(texts):,} {what})"] if len(texts) > SHOWN else [])]


def _lines(lines: Iterable[str]) -> str:
    return "".join(printable(line) + "\n" for line in lines)
