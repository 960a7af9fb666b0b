"""Networks as ONNX files and back: proved when they go, proved when they come.

A file that this package writes is an ordinary ONNX model with three entries in its metadata: the labels as a JSON
list, for everybody; and for this package the manifest of the network, with its SHA-256. With them a network comes
back exactly as it was. The manifest is believed only as long as writing the network that it describes again would
give the very graph that is in the file: once another tool has changed that, what counts is the graph.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from msgspec import UNSET
from numpy.typing import ArrayLike
from onnx import ModelProto, TensorProto

from portable_nn.converters.onnx.adapting import Wishes, adapted
from portable_nn.converters.onnx.sizing import sized, with_sizes
from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import FileError, FormatError, PortableNNError, UnsupportedError, UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.memory import aligned_copy
from portable_nn.engines.recording import Recorded, read_recorded
from portable_nn.format.manifest import OutputInfo, decode, encode
from portable_nn.format.tensors import Array
from portable_nn.format.validate import hash_faults, manifest_faults, refuse, tensor_faults
from portable_nn.network import Network
from portable_nn.onnx.documentation import attach, collect
from portable_nn.onnx.external import locations, places, write_data
from portable_nn.onnx.files import read_alone, read_model
from portable_nn.onnx.labels import labels_of
from portable_nn.onnx.losses import not_kept, not_written
from portable_nn.onnx.metadata import DIGEST, DOC, LABELS, MANIFEST
from portable_nn.onnx.model import MAX_BYTES, from_model, size_of, to_bytes, to_model
from portable_nn.onnx.promotion import promoted
from portable_nn.onnx.support import opset_of
from portable_nn.onnx.tensors import from_tensor
from portable_nn.onnx.verify import Difference, Proof, Tolerance, compare
from portable_nn.operators import infer

OLDEST_RUN: Final = 7
"""The first opset that onnxruntime has kernels for."""

MARGIN: Final = 64 * 2**20
"""Bytes that a model may need beside its parameters."""


@dataclass(frozen=True)
class Report:
    """What was written, and how far apart the two engines are on it."""

    path: Path
    opset: int
    ir_version: int
    bytes: int
    outputs: Proof
    notes: tuple[str, ...] = ()
    data: Path | None = None
    """The file beside it that has the large parameters, if there is one."""
    rounding: Mapping[str, Difference] = field(default_factory=dict)
    """How far the outputs are from those of the weights as they were before they became float16."""

    @property
    def max_abs_error(self) -> float:
        """The largest absolute error in any output; NaN where nothing was verified."""
        return max((found.max_abs_error for found in self.outputs.values()), default=math.nan)


class Imported(NamedTuple):
    """A network that was read, how far apart the engines are on it, and what could not be kept."""

    network: Network
    outputs: Proof
    notes: tuple[str, ...]


def export_onnx(
    network: Network,
    path: str | Path,
    *,
    opset: int = 17,
    verify: bool = True,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
    external_data: bool | int | None = None,
    io: str | Path | None = None,
    batch: int | None = None,
    sizes: Mapping[str, int] = MappingProxyType({}),
    dynamic: bool = False,
    with_preprocess: bool = False,
    float16: bool = False,
) -> Report:
    """Write ``network`` as an ONNX file, after onnxruntime has computed the same numbers from its bytes.

    The same network gives the same bytes. A file at ``path`` is replaced as a whole, or stays as it was.

    Args:
        network: what to write.
        path: where to.
        opset: the version of the standard operators, 13 to 25.
        verify: whether to run both engines first, at two batch sizes.
        atol: how far apart two numbers may be, ...
        rtol: ... and how far in addition, as a part of the largest magnitude in their output.
        seed: what the inputs that both engines run on are drawn from.
        external_data: whether the large parameters go into a file of their own beside the model, named after the
            network's digest; a number of bytes, where the parameters have more than that; if nothing is said, where
            the model would have more than 2 GiB. No more than one of them is then in memory at a time (but both
            engines need them to verify).
        io: an ``.npz`` file with inputs and outputs that another program has recorded, under the names that they have
            in what is written: both engines must compute these outputs as well.
        batch: the number that the first size of the inputs, such as ``batch``, becomes.
        sizes: numbers for named sizes of the inputs.
        dynamic: whether a batch that is a number becomes one of any size.
        with_preprocess: whether the arithmetic of the preprocessing becomes a part of the model, which then takes
            bytes, 0 to 255. The report's notes list it, and what has to be done before.
        float16: whether matrices and kernels are stored as float16; ``rounding`` of the report tells what that changes.

    Raises:
        UsageError: an opset that is not written or cannot express the network, metadata that cannot be kept, or a wish
            that the network cannot meet.
        VerificationError: the engines do not agree; the message names the first node that differs.
        DataError: ``io`` is not what goes into the network and comes out.
        FileError: the file cannot be written.
    """
    _check_proof(verify, io)
    tolerance = Tolerance(atol, rtol)
    wishes = Wishes(batch, sizes, dynamic, with_preprocess, float16)
    network, said, rounding = adapted(network, wishes, verify=verify, tolerance=tolerance, seed=seed)
    recorded = None if io is None else read_recorded(io, network.graph)
    properties = _properties(network)
    doc = properties.pop(DOC, "")
    if not isinstance(external_data, bool):
        most = MAX_BYTES - MARGIN if external_data is None else min(external_data, MAX_BYTES - MARGIN)
        external_data = size_of(network.graph.parameters) > most
    folder, target = Path(path).parent, Path(path)
    location = f"{target.stem}-{properties[DIGEST][:16]}.data" if external_data else None
    model = to_model(network.graph, network.parameters, opset=opset, metadata=properties, doc=doc, location=location)
    attach(model, network.documentation, network.graph)
    old = _data_files(target)
    with _data_file(folder, location, network, old):
        found = _verified(network, model, str(path), tolerance, seed, folder, recorded) if verify else Proof()
        data = to_bytes(model)
        with atomic_write(path) as file:
            file.write(data)
    for name in old - {location}:
        (folder / name).unlink(missing_ok=True)
    notes = [*said, *not_written(model, network.graph, network.documentation), *found.notes]
    notes += [] if verify else ["not verified: verify=False"]
    beside = folder / location if location else None
    return Report(target, opset, model.ir_version, len(data), found, tuple(notes), beside, rounding)


@contextmanager
def _data_file(folder: Path, location: str | None, network: Network, old: set[str]) -> Iterator[None]:
    """The file of the large parameters, which stays only if the model that names it is written.

    It has another name than that of any other network: a model that is there keeps its own until it is replaced.
    """
    if location is None:
        yield
        return
    try:
        write_data(folder / location, network.parameters, places(network.graph.parameters))
        yield
    except BaseException:
        if location not in old:
            (folder / location).unlink(missing_ok=True)
        raise


def _data_files(path: Path) -> set[str]:
    """The data files of an earlier export to ``path``, by the names that only this function's caller gives."""
    try:
        named = locations(read_alone(path))
    except FileError:
        return set()
    return {name for name in named if re.fullmatch(rf"{re.escape(path.stem)}-[0-9a-f]{{16}}\.data", name)}


def import_onnx(source: str | Path | ModelProto, *, verify: bool = True, **options: Any) -> Network:
    """The network in an ONNX file, ready to train on; ``read_onnx`` tells more of it, and has the options."""
    return read_onnx(source, verify=verify, **options).network


def read_onnx(
    source: str | Path | ModelProto,
    *,
    verify: bool = True,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
    io: str | Path | None = None,
    weights: Mapping[str, ArrayLike] = MappingProxyType({}),
    sizes: Mapping[str, int] = MappingProxyType({}),
    where: str | None = None,
) -> Imported:
    """The network in an ONNX file or model, after both engines have computed the same numbers from it.

    What ``export_onnx`` wrote comes back as it was, with preprocessing, labels and what is trainable. Of any other
    model come the graph, the weights, the metadata, and the labels where the metadata have them in a known form.

    Args:
        source: the path of a file, or a model.
        verify: whether to run both engines, at two batch sizes.
        atol: how far apart two numbers may be, ...
        rtol: ... and how far in addition, as a part of the largest magnitude in their output.
        seed: what the inputs that both engines run on are drawn from.
        io: an ``.npz`` file with inputs and outputs that another program has recorded: both must compute these as well.
        weights: arrays by the names of inputs that are weights, and become parameters of the network.
        sizes: numbers for sizes of the inputs that have names.
        where: what messages call the model; its path, if nothing is said.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not an ONNX model, or is damaged.
        UnsupportedError: it uses what is not supported; all of that is listed.
        GraphError: its nodes do not fit each other; every one of them is listed.
        VerificationError: the engines do not agree; the message names the first node that differs.
        UsageError: no inputs are found to compare on, ``io`` without ``verify``, ``weights`` that are no inputs, or
            ``sizes`` that there are not.
        ShapeError: ``weights`` that do not fit the inputs.
        DataError: ``io`` is not what goes into the network and comes out.
    """
    _check_proof(verify, io)
    where = where or ("model" if isinstance(source, ModelProto) else str(source))
    model = promoted(source if isinstance(source, ModelProto) else read_model(source), weights, where)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    network, notes = None, list[str]()
    if MANIFEST in properties:
        try:
            network = _own(model, properties, where)
        except PortableNNError as error:
            reason = error.reason if isinstance(error, FormatError) else str(error)
            notes.append(f"read as another tool's model: the manifest in it does not describe it any more ({reason})")
    if network is None:
        network = _foreign(sized(model, sizes), properties, where, notes)
    elif sizes:
        network = with_sizes(network, sizes)
    recorded = None if io is None else read_recorded(io, network.graph)
    found = _proved(network, model, where, Tolerance(atol, rtol), seed, recorded) if verify else Proof()
    return Imported(network, found, tuple(notes))


def _proved(
    network: Network, model: ModelProto, where: str, tolerance: Tolerance, seed: int, recorded: Recorded | None
) -> Proof:
    """The proof of what was read; of an opset that onnxruntime has no kernels for, by what is written of it."""
    try:
        return _verified(network, model, where, tolerance, seed, None, recorded)
    except UnsupportedError as error:
        if opset_of(model, where) >= OLDEST_RUN:
            raise
        written = to_model(network.graph, network.parameters)
        proof = _verified(network, written, where, tolerance, seed, None, recorded)
        proof.notes += (f"compared with what is written of it at opset 17: {error.reason}",)
        return proof


def _check_proof(verify: bool, io: str | Path | None) -> None:
    if io is not None and not verify:
        raise UsageError(f"nothing is compared with {io} where nothing is verified: leave one of them out")


def _verified(
    network: Network,
    model: ModelProto,
    where: str,
    tolerance: Tolerance,
    seed: int,
    folder: Path | None,
    recorded: Recorded | None,
) -> Proof:
    return compare(
        network.graph,
        network.parameters,
        model,
        where,
        tolerance=tolerance,
        seed=seed,
        folder=folder,
        recorded=recorded,
    )


def _properties(network: Network) -> dict[str, str]:
    """The metadata of a network's model: the user's own, and those that this package adds."""
    manifest = encode(network.manifest())
    added = {MANIFEST: manifest.decode(), DIGEST: hashlib.sha256(manifest).hexdigest()}
    labels = next((list(info.labels) for info in network.outputs if info.labels), None)
    if labels:
        added[LABELS] = _labels_text(labels)
    taken = sorted(added.keys() & network.metadata.keys())
    if taken:
        raise UsageError(f"metadata key '{taken[0]}' has a meaning of its own in ONNX files: use another")
    return {**network.metadata, **added}


def _labels_text(labels: Sequence[str]) -> str:
    return json.dumps(list(labels), ensure_ascii=False)


def _own(model: ModelProto, properties: Mapping[str, str], where: str) -> Network:
    """The network that the manifest in a model describes.

    Raises:
        FormatError: the manifest was changed, or the rest of the model was.
    """
    text = properties[MANIFEST].encode()
    if hashlib.sha256(text).hexdigest() != properties.get(DIGEST):
        raise FormatError(where, f"it does not have the SHA-256 in '{DIGEST}'")
    manifest = decode(text, where)
    refuse(where, manifest_faults(manifest))
    constants = set(manifest.remarks.initializers)
    stored = [proto for proto in model.graph.initializer if proto.name not in constants]
    tensors = {proto.name: from_tensor(proto, where) for proto in stored}
    refuse(where, tensor_faults(manifest, tensors, allow_nonfinite=True) + hash_faults(manifest, tensors))
    expected = to_model(manifest.graph, tensors, opset=opset_of(model, where), location="-")
    attach(expected, manifest.remarks, manifest.graph)
    if not _same(expected, model, tensors.keys()):
        raise FormatError(where, "its graph is another one")
    return Network.from_graph(
        manifest.graph,
        _taken(manifest.graph, tensors),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        metadata=manifest.metadata,
        documentation=manifest.documentation,
        copy=False,
    )


def _taken(graph: Graph, arrays: dict[str, Array]) -> dict[str, Array]:
    """The parameters of ``graph`` in memory of their own. No more than one of ``arrays`` is there beside its copy."""
    return {value.name: aligned_copy(arrays.pop(value.name), value.dtype) for value in graph.parameters}


def _same(expected: ModelProto, found: ModelProto, known: Collection[str]) -> bool:
    """Whether two models have the same graph, where the elements of the tensors ``known`` are the same."""
    one, other = expected.graph, found.graph
    fields = [field.name for field in one.DESCRIPTOR.fields if field.name != "initializer"]
    told = [[_told(tensor, known) for tensor in graph.initializer] for graph in (one, other)]
    return told[0] == told[1] and all(getattr(one, name) == getattr(other, name) for name in fields)


def _told(tensor: TensorProto, known: Collection[str]) -> tuple[object, ...]:
    """All that is said of a tensor, with its elements unless they are ``known``."""
    elements = b"" if tensor.name in known else tensor.raw_data
    said = tensor.doc_string, {each.key: each.value for each in tensor.metadata_props}
    return tensor.name, tuple(tensor.dims), tensor.data_type, *said, elements


def _foreign(model: ModelProto, properties: Mapping[str, str], where: str, notes: list[str]) -> Network:
    """The network in any model, with labels where the metadata have them; ``notes`` takes what is not kept."""
    graph, parameters, changes = from_model(model, where)
    notes.extend(changes)
    metadata = {key: text for key, text in properties.items() if key not in {MANIFEST, DIGEST}}
    if model.doc_string:
        metadata.setdefault(DOC, model.doc_string)
    labels = labels_of(metadata)
    outputs = _labelled(graph, labels)
    if any(info.labels for info in outputs):
        text = metadata.pop(LABELS, None)  # Now the labels themselves say it.
        if text not in (None, _labels_text(labels)):
            notes.append("the labels in the metadata are written as a JSON list")
    elif labels:
        notes.append(f"{len(labels)} labels in the metadata are not used: no output has {len(labels)} entries")
    documentation = collect(model, graph)
    notes.extend(not_kept(model, graph, documentation))
    return Network.from_graph(
        graph,
        _taken(graph, parameters),
        outputs=outputs,
        metadata=metadata,
        documentation=documentation or UNSET,
        copy=False,
    )


def _labelled(graph: Graph, labels: Sequence[str]) -> list[OutputInfo]:
    """The outputs, with ``labels`` for the first that has an entry for each."""
    types = infer(graph).types
    fitting = [name for name in graph.outputs if labels and types[name].shape[-1:] == (len(labels),)]
    return [OutputInfo(name, labels=tuple(labels) if [name] == fitting[:1] else ()) for name in graph.outputs]
