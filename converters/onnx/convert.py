"""Networks as ONNX files and back, verified on the way out and on the way in.

A file that this package writes is an ordinary ONNX model with three entries in its metadata (see ``metadata``): the
labels, for every tool, and for this package the manifest of the network with its SHA-256. With them a network is
restored exactly. The manifest is used only if the network that it describes would be written as exactly the graph in
the file: once another tool has changed that, the graph is used, and a file that is damaged is refused.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypedDict

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import ArrayLike
from onnx import ModelProto

from portable_nn.converters.conversion import Imported, Written, check_proof
from portable_nn.converters.onnx.adapting import adapted, network_of, outside, program_of, with_steps
from portable_nn.core.atomic import atomic_write
from portable_nn.core.dims import may_be_equal
from portable_nn.core.errors import EditedWarning, FileError, UnsupportedError, UsageError, warn
from portable_nn.core.graph import Graph, Shape
from portable_nn.core.kinds import check_kinds
from portable_nn.core.memory import aligned_array, give_back
from portable_nn.core.names import FloatType
from portable_nn.core.text import size
from portable_nn.engines.recording import read_recorded
from portable_nn.format.manifest import Manifest, encode, normalised
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.network.answering import probabilities_inside
from portable_nn.onnx.classical.model import Classical, classical
from portable_nn.onnx.entries import Sizes
from portable_nn.onnx.meant import meant
from portable_nn.onnx.opsets.support import opset_of
from portable_nn.onnx.origin import EDITED, Origin, origin_of
from portable_nn.onnx.promotion import promoted
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.remarks.documentation import attach, collect
from portable_nn.onnx.remarks.dropped import dropped_by_export, dropped_by_import
from portable_nn.onnx.samples import NoInputsError, varied
from portable_nn.onnx.storage.external import IN_PLACE, locations, opened_model, regions, write_data
from portable_nn.onnx.storage.files import MAX_BYTES, opening_model, write_model
from portable_nn.onnx.storage.metadata import (
    COLUMNS,
    DIGEST,
    DOC,
    LABELS,
    MANIFEST,
    added_entries,
    labels_of,
    labels_text,
    metadata_of,
)
from portable_nn.onnx.storage.preparation import PREPARATION, preparation_in
from portable_nn.onnx.storage.tensors import Unread, tensor_bytes
from portable_nn.onnx.verify import LARGE, Difference, Proof, Tolerance, compare, compare_weights, run_numpy
from portable_nn.onnx.writing import size_of, to_model
from portable_nn.operators import infer
from portable_nn.preprocessing.steps import Preprocessing
from portable_nn.rewrites.sizes import fixed_sizes

MARGIN: Final = 64 * 2**20
"""Bytes that a model may take beside its parameters."""


@dataclass(frozen=True, repr=False, kw_only=True)
class ExportReport(Written):
    """What ``export_onnx`` wrote, and how far the two engines differ on it.

    Attributes:
        opset: the version of the standard operators in the file.
        ir_version: its IR version.
        rounding: with ``float16``, and where float32 takes the place of float64, how far that moves each output.
    """

    opset: int
    ir_version: int
    rounding: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def data(self) -> Path | None:
        """The file beside it with the large parameters, if there is one."""
        return next(iter(self.beside), None)

    @property
    def max_abs_error(self) -> float:
        """The largest absolute error in any output; NaN where nothing was verified."""
        return max((found.max_abs_error for found in self.outputs.values()), default=math.nan)

    def __repr__(self) -> str:
        verified = f"largest error {self.max_abs_error:.2g}" if self.outputs else "not verified"
        lines = [f"{self.path} ({size(self.bytes)}, opset {self.opset}, IR version {self.ir_version}): {verified}"]
        lines += [f"{heading}: {text}" for heading, text in self.outputs.in_words()]
        lines += [f"weights in {self.data}"] if self.data else []
        lines += [f"rounding moves '{name}' by {gap.max_abs_error:.2g}" for name, gap in self.rounding.items()]
        return "\n  ".join(["ExportReport", *lines, *self.notes])


@check_kinds
def export_onnx(
    network: Network,
    path: str | Path,
    *,
    opset: int | None = None,
    verify: bool = True,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
    external_data: bool | int | None = None,
    io: str | Path | None = None,
    batch: int | None = None,
    sizes: Mapping[str, int | str] = MappingProxyType({}),
    dynamic: bool = False,
    dtype: FloatType | None = None,
    float16: bool = False,
    probabilities: bool = False,
    stateful: bool = False,
) -> ExportReport:
    """Write ``network`` as an ONNX file, after onnxruntime has computed the same numbers from its bytes.

    >>> from portable_nn.converters.onnx import export_onnx
    >>> report = export_onnx(net, "digits.onnx", opset=17)
    >>> report.max_abs_error
    1.1920928955078125e-07

    The same network gives the same bytes. A file at ``path`` is replaced as a whole, or stays as it was. What the
    network does with numbers is in the file; what is done with pictures before that, such as finding a digit, is not: a
    note of the report says it. Arithmetic that an older weight file lists beside the graph becomes nodes.

    Args:
        network: the network.
        path: the file to write.
        opset: the version of the standard operators, 13 to 25; by default the lowest from 17 up that can hold the
            network.
        verify: whether to compare numpy and onnxruntime on the same inputs, at two batch sizes, before writing.
        atol: the absolute tolerance of that comparison.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        external_data: whether large parameters go into a file of their own beside the model, or the number of bytes of
            parameters above which they do. By default only where the model would exceed 2 GiB. Without ``verify`` at
            most one of them is then in memory at a time.
        io: an ``.npz`` file of inputs and outputs recorded by another program, by their names in the model: both
            engines must compute these outputs as well.
        batch: fixes the first size of the inputs, usually named ``batch``, at a number.
        sizes: numbers for symbolic sizes of the inputs, by name; or the name of another size that is the same.
        dynamic: whether a fixed batch becomes one of any size.
        dtype: ``float32``: what is float64 in the network is float32 in the file; ``float64``: it stays. By default it
            stays unless the network says otherwise (``network.inputs[0].exported``), as that of ``converters.book``
            does. ``rounding`` of the report says what that changes.
        float16: whether matrices and kernels are stored as float16; ``rounding`` of the report says what that changes.
        probabilities: whether logits become probabilities in the graph: after a division by their temperature (see
            ``Network.calibrate``), by softmax, or of one number by the logistic function.
        stateful: whether the states of recurrent layers and causal convolutions become inputs and outputs, as
            ``Network.stateful`` makes them.

    Raises:
        UsageError: an opset that is not supported or cannot express the network, metadata under a reserved key, or
            an option that does not fit the network.
        VerificationError: the engines do not agree; the message names the first node that differs.
        DataError: ``io`` does not hold the inputs and outputs of the network.
        FileError: the file cannot be written.
    """
    check_proof(verify, io)
    proof: _ProofOptions = {"verify": verify, "tolerance": Tolerance(atol, rtol), "seed": seed}
    originals = network.parameters
    network, steps = with_steps(network, **proof)
    if stateful:
        network = network.stateful()
    if probabilities:
        network, added = probabilities_inside(network)
        steps = (*steps, *added)
    network, done, rounding = adapted(
        network, batch=batch, sizes=sizes, dynamic=dynamic, dtype=dtype, float16=float16, **proof
    )
    report = write_onnx(network, path, opset=opset, external_data=external_data, io=io, originals=originals, **proof)
    return dataclasses.replace(report, notes=(*steps, *done, *report.notes), rounding=rounding)


class _ProofOptions(TypedDict):
    verify: bool
    tolerance: Tolerance
    seed: int


def write_onnx(
    network: Network,
    path: str | Path,
    *,
    opset: int | None,
    external_data: bool | int | None = None,
    io: str | Path | None,
    verify: bool,
    tolerance: Tolerance,
    seed: int,
    originals: Mapping[str, Array] | None = None,
) -> ExportReport:
    """As ``export_onnx``, of the network as it is: also with steps of an older file beside its graph.

    ``originals`` are its parameters before an option of the export converted their type.
    """
    recorded = None if io is None else read_recorded(io, network.graph)
    properties = _properties(network)
    doc = network.metadata.get(DOC, "")
    if not isinstance(external_data, bool):
        most = MAX_BYTES - MARGIN if external_data is None else min(external_data, MAX_BYTES - MARGIN)
        external_data = size_of(network.graph.parameters) > most
    folder, target = Path(path).parent, Path(path)
    location = f"{target.stem}-{properties[DIGEST][:16]}.data" if external_data else None
    options: dict[str, Any] = {"opset": opset, "metadata": properties, "doc": doc}
    model = to_model(network.graph, network.parameters, location=location or IN_PLACE, **options)
    attach(model, network.documentation, network.graph)
    old, found = _data_files(target), Proof()
    options = {"tolerance": tolerance, "seed": seed, "recorded": recorded, "originals": originals}
    options["infos"] = network.inputs
    with _data_file(folder, location, network, old), atomic_write(path) as file:
        count = write_model(model, network.parameters, file)
        file.flush()
        if verify:  # What is compared is what was written.
            options["folder"] = folder if location else Path(file.name).parent
            options["source"] = None if location else Path(file.name)
            with nullcontext(model) if location else opening_model(file.name) as written:
                found = compare(network.graph, network.parameters, written, str(path), **options)
    for name in old - {location}:
        (folder / name).unlink(missing_ok=True)
    notes = [*outside(network), *dropped_by_export(model, network.graph, network.documentation), *found.notes]
    notes += [] if verify else ["not verified: verify=False"]
    return ExportReport(
        target,
        count,
        found,
        tuple(notes),
        (folder / location,) if location else (),
        opset=opset_of(model, str(path)),
        ir_version=model.ir_version,
    )


@contextmanager
def _data_file(folder: Path, location: str | None, network: Network, old: set[str]) -> Iterator[None]:
    """Write the file of the large parameters, and remove it if writing the model fails.

    Its name holds the network's digest: an earlier model keeps its own file until it is replaced.
    """
    if location is None:
        yield
        return
    try:
        write_data(folder / location, network.parameters, regions(network.graph.parameters))
        yield
    except BaseException:
        if location not in old:
            (folder / location).unlink(missing_ok=True)
        raise


def _data_files(path: Path) -> set[str]:
    """The data files of an earlier export to ``path``, by the pattern of their names."""
    try:
        with opening_model(path) as model:
            named = locations(model)
    except FileError:
        return set()
    return {name for name in named if re.fullmatch(rf"{re.escape(path.stem)}-[0-9a-f]{{16}}\.data", name)}


@check_kinds
def import_onnx(
    source: str | Path | ModelProto,
    *,
    verify: bool = True,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
    io: str | Path | None = None,
    weights: Mapping[str, ArrayLike] = MappingProxyType({}),
    sizes: Mapping[str, int | str] = MappingProxyType({}),
    edited: bool = False,
    train: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> Network:
    """The network in an ONNX file or model, ready to train.

    >>> from portable_nn.converters.onnx import import_onnx
    >>> net = import_onnx("model.onnx", sizes={"sequence": 128})
    >>> net.fit(x, y, epochs=3)

    Options and errors are those of ``read_onnx``, which also reports what of the file was dropped. Warns with
    ``EditedWarning``, unless ``edited``, where this package wrote the file and another program has changed it since.
    """
    network, _, notes = read_onnx(
        source,
        verify=verify,
        atol=atol,
        rtol=rtol,
        seed=seed,
        io=io,
        weights=weights,
        sizes=sizes,
        edited=edited,
        train=train,
        freeze=freeze,
    )
    for note in notes:
        if note.startswith(EDITED) and not edited:
            warn(f"{'the model' if isinstance(source, ModelProto) else source}: {note}", EditedWarning)
    return network


def read_onnx(
    source: str | Path | ModelProto,
    *,
    verify: bool = True,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
    io: str | Path | None = None,
    weights: Mapping[str, ArrayLike] = MappingProxyType({}),
    sizes: Mapping[str, int | str] = MappingProxyType({}),
    edited: bool = False,
    train: Sequence[str] = (),
    freeze: Sequence[str] = (),
    where: str | None = None,
    origin: Origin | None = None,
) -> Imported:
    """The network in an ONNX file or model, how far both engines differ on it, and notes on what was dropped.

    >>> from portable_nn.converters.onnx import read_onnx
    >>> net, outputs, notes = read_onnx("model.onnx")

    A network that ``export_onnx`` wrote is restored exactly, with preprocessing, labels and frozen parameters; if it is
    not as it was written (see ``onnx.origin``), it is refused. Of any other model, and of one of this package that
    another program has optimised, quantised or renamed, the graph, the weights and the metadata are read, and labels
    that the metadata have in a known form; a note says so.

    Args:
        source: the path of a file, or a model.
        verify: whether to compare numpy and onnxruntime on the same inputs, at two batch sizes.
        atol: the absolute tolerance of that comparison.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        io: an ``.npz`` file of inputs and outputs recorded by another program: both engines must compute these outputs
            as well.
        weights: arrays by the names of inputs, which become parameters of the network instead.
        sizes: numbers for symbolic sizes of the inputs, by name; or the name of another size that is the same.
        edited: whether a file of this package may have other weights, attributes or labels than those that it was
            written with: it is then read as another tool's model, where it would be refused as damaged.
        train: patterns of names of parameters that train, as ``Network.unfreeze`` has them. Otherwise use and name
            decide, and a note lists what may be either.
        freeze: patterns of names of parameters that are kept as they are, as ``Network.freeze`` has them; these win.
        where: the name of the model in messages; by default its path.
        origin: what ``origin_of`` finds, where that is known.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not an ONNX model, or is damaged.
        UnsupportedError: it uses what is not supported; all of that is listed.
        GraphError: nodes do not fit each other; all of them are listed.
        VerificationError: the engines do not agree; the message names the first node that differs.
        UsageError: no inputs are found to compare on, ``io`` without ``verify``, unknown names in ``weights`` or
            ``sizes``, or patterns in ``train`` or ``freeze`` that match nothing.
        ShapeError: ``weights`` do not fit the inputs.
        DataError: ``io`` does not hold the inputs and outputs of the network.
    """
    check_proof(verify, io)
    if not isinstance(source, ModelProto):
        options: dict[str, Any] = {"verify": verify, "atol": atol, "rtol": rtol, "seed": seed, "io": io}
        options |= {"weights": weights, "sizes": sizes, "edited": edited, "origin": origin}
        options |= {"train": train, "freeze": freeze}
        with opening_model(source) as model:
            return read_onnx(model, where=where or str(source), **options)
    where = where or "model"
    origin = origin or origin_of(source, where)
    if not edited:
        origin.refuse_damage(where)
    model, notes = promoted(source, weights, where), list(origin.notes)
    translated = classical(model, where)
    in_file = verify and not weights and opened_model.get() is not None and translated is None
    unread = in_file and sum(map(tensor_bytes, model.graph.initializer)) > LARGE
    if origin.state == "own" and not weights:
        network = _restored(origin, model, unread=unread)
        if sizes:
            network = network_of(fixed_sizes(program_of(network), sizes), network)
    elif translated is not None:
        network = _foreign(translated.model, origin.manifest, where, notes, sizes, unread=False)
        network, model = _described(network, translated, notes), translated.original
    else:
        network = _foreign(model, origin.manifest, where, notes, sizes, unread=unread)
    if train:
        network.unfreeze(*train)
    if freeze:
        network.freeze(*freeze)
    recorded = None if io is None else read_recorded(io, network.graph)
    if not verify:
        return Imported(network, Proof(), tuple(notes))
    if translated is not None and (rounding := translated.condition * float(np.finfo(np.float32).eps)) > rtol:
        notes.append(f"its sums over support vectors have large terms: in float32 they are known to {rounding:.1g}")
        rtol = rounding
    options = {"tolerance": Tolerance(atol, rtol), "seed": seed, "recorded": recorded, "unread": unread}
    options["infos"] = network.inputs
    compared = partial(compare, network.graph, network.parameters.arrays, **options)
    if opened := opened_model.get():
        # The weights are read from the file once more, unless arrays of the caller are in place of some of its inputs.
        path, folder = None if weights or translated else opened.path, opened.path.resolve().parent
        compared = partial(compared, source=path, folder=folder)
    proof = _proved(network, model, where, compared)
    if unread:
        assert opened
        give_back()
        network = _whole(network)
        arrays = network.parameters.arrays
        proof.weights = compare_weights(network.graph, arrays, model, where, folder, opened.path)
    return Imported(network, proof, tuple(notes))


def _proved(network: Network, model: ModelProto, where: str, compared: Callable[..., Proof]) -> Proof:
    """The proof of a network; or of its export, where onnxruntime runs that alone: at an old opset, in layout 1."""
    try:
        return compared(model, where)
    except UnsupportedError as error:
        written = to_model(network.graph, network.parameters)
        try:
            proof = compared(written, where, source=None)
        except UnsupportedError:
            raise error from None
        opset = opset_of(written, where)
        proof.notes += (f"compared with what is written of it at opset {opset}: {error.reason}",)
        return proof


def _properties(network: Network) -> dict[str, str]:
    """The metadata of a network's model: the user's own, and those that this package adds."""
    manifest = network.manifest()
    reserved = {
        MANIFEST,
        DIGEST,
        *([LABELS] if any(info.labels for info in network.outputs) else []),
        *([COLUMNS] if any(info.columns for info in network.inputs) else []),
    }
    if taken := sorted(reserved & network.metadata.keys()):
        raise UsageError(f"metadata key '{taken[0]}' has a meaning of its own in ONNX files: use another")
    text = encode(normalised(manifest))  # A whole number in the place of a float is not canonical.
    return {**added_entries(manifest), MANIFEST: text.decode(), DIGEST: hashlib.sha256(text).hexdigest()}


def _restored(origin: Origin, model: ModelProto, *, unread: bool) -> Network:
    """The network that a model of this package holds, with entries that were added to its metadata since.

    If its parameters are ``unread``, they are read whenever they are asked for.
    """
    manifest = origin.manifest
    assert manifest
    known = {MANIFEST, DIGEST, *added_entries(manifest)}
    metadata = {key: text for key, text in metadata_of(model).items() if key not in known}
    if model.doc_string:
        metadata[DOC] = model.doc_string
    return Network.from_graph(
        manifest.graph,
        origin.tensors if unread else _taken(manifest.graph, origin.tensors.__getitem__),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        metadata=metadata | manifest.metadata,
        documentation=manifest.documentation,
        copy=False,
    )


def _whole(network: Network) -> Network:
    """The same network with its parameters in memory."""
    return Network.from_graph(
        network.graph,
        _taken(network.graph, network.parameters.arrays.__getitem__),
        inputs=network.inputs,
        outputs=network.outputs,
        metadata=network.metadata,
        documentation=network.documentation,
        copy=False,
    )


def _taken(graph: Graph, take: Callable[[str], Array]) -> dict[str, Array]:
    """The parameters of ``graph``, which ``take`` gives by name: of those that must be copied, one at a time."""
    return {value.name: aligned_array(take(value.name), value.dtype) for value in graph.parameters}


def _foreign(
    model: ModelProto,
    manifest: Manifest | None,
    where: str,
    notes: list[str],
    sizes: Mapping[str, int | str],
    *,
    unread: bool,
) -> Network:
    """The network in any model, with labels where the metadata have them; adds to ``notes`` what is dropped.

    A ``manifest`` says what the model was before another program changed it. If the parameters are ``unread``, they are
    read whenever they are asked for.
    """
    properties = metadata_of(model)
    graph, parameters, changes = from_model(model, where, Sizes(sizes))
    frozen = {value.name for value in manifest.graph.parameters if not value.trainable} if manifest else set()
    if frozen:
        kept = (replace(value, trainable=value.trainable and value.name not in frozen) for value in graph.parameters)
        graph = replace(graph, parameters=tuple(kept))
    notes.extend(changes)
    metadata = {key: text for key, text in properties.items() if key not in {MANIFEST, DIGEST, PREPARATION}}
    if model.doc_string:
        metadata.setdefault(DOC, model.doc_string)
    labels = labels_of(metadata)
    outputs = _labelled(graph, labels, manifest)
    if any(info.labels for info in outputs):
        text = metadata.pop(LABELS, None)  # The labels themselves are kept instead.
        if text not in (None, labels_text(labels)):
            notes.append("the labels in the metadata are written as a JSON list")
    elif labels:
        notes.append(f"{len(labels)} labels in the metadata are not used: no output has {len(labels)} entries")
    documentation = collect(model, graph)
    notes.extend(dropped_by_import(model, graph, documentation))
    return Network.from_graph(
        graph,
        Unread(parameters, model) if unread else _taken(graph, parameters.pop),
        inputs=_prepared(_inputs(graph, manifest), graph, preparation_in(properties, where), notes),
        outputs=outputs,
        metadata=metadata,
        documentation=documentation or UNSET,
        copy=False,
    )


ClassKind: TypeAlias = Literal["probabilities", "logits", "binary_logits"]


def _described(network: Network, translated: Classical, notes: list[str]) -> Network:
    """The network of a model of ``ai.onnx.ml`` with its table, its labels and what is frozen; adds to ``notes``."""
    notes.extend(translated.notes)
    network.inputs = translated.inputs or network.inputs
    frozen = [value.name for value in network.graph.parameters if value.name in translated.frozen and value.trainable]
    if frozen:
        network.freeze(*map(glob.escape, frozen))
    labels = translated.labels
    for place, info in enumerate(network.outputs):
        shape = network.types[info.name].shape
        kind = _kind_of(network, info.name, len(labels), shape)
        if labels and kind and not any(each.labels for each in network.outputs):
            infos = list(network.outputs)
            infos[place] = replace(info, kind=kind, labels=labels)
            network.outputs = tuple(infos)
    return network


def _kind_of(
    network: Network, name: str, classes: int, shape: Shape
) -> Literal["probabilities", "logits", "binary_logits"] | None:
    """What the numbers of so many classes are; ``None`` where an output has others.

    They are probabilities if those of each of many examples, of all sizes, are from 0 to 1 and have the sum 1.
    """
    if classes == 2 and shape[1:] == (1,):
        return "binary_logits"
    if len(shape) != 2 or shape[1] != classes:
        return None
    made_for = meant(network.graph, network.parameters, network.inputs)
    try:
        drawn = varied(network.graph, np.random.default_rng(0), made_for)
    except NoInputsError:
        return "logits"
    found = [run_numpy(network.graph, network.parameters, feeds)[name] for feeds in drawn]
    values = np.concatenate([each[np.isfinite(each).all(axis=1)] for each in found])
    is_share = bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) < 1e-4).all())
    return "probabilities" if is_share else "logits"


def _inputs(graph: Graph, manifest: Manifest | None) -> tuple[InputInfo, ...]:
    """The meaning of the inputs, where a ``manifest`` describes such inputs."""
    known = manifest.graph.inputs if manifest else ()
    same = [may_be_equal(a.shape, b.shape) and a.name == b.name for a, b in zip(graph.inputs, known, strict=False)]
    return manifest.inputs if manifest and len(same) == len(known) == len(graph.inputs) and all(same) else ()


def _prepared(
    infos: tuple[InputInfo, ...], graph: Graph, steps: Mapping[str, Preprocessing], notes: list[str]
) -> tuple[InputInfo, ...]:
    """The meaning of the inputs, with the ``steps`` by name that ``predict --set`` has kept, and a note on these."""
    kept = [value.name for value in graph.inputs if value.name in steps]
    if not kept:
        return infos
    notes.append(f"how pictures are prepared for {', '.join(kept)} is taken over")
    known = {info.name: info for info in infos}
    return tuple(
        InputInfo(name, "image", steps[name]) if name in steps else known.get(name, InputInfo(name))
        for name in (value.name for value in graph.inputs)
    )


def _labelled(graph: Graph, labels: Sequence[str], manifest: Manifest | None) -> list[OutputInfo]:
    """The outputs, with ``labels`` for the first that has an entry for each; the rest as a ``manifest`` has it."""
    types = infer(graph).types
    fitting = [name for name in graph.outputs if labels and types[name].shape[-1:] == (len(labels),)]
    known = {info.name: info for info in manifest.outputs} if manifest else {}
    infos = [known.get(name, OutputInfo(name)) for name in graph.outputs]
    return [replace(info, labels=tuple(labels) if [info.name] == fitting[:1] else ()) for info in infos]
