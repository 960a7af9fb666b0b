"""Networks read from ONNX files, and compared with what onnxruntime computes from them.

The manifest in a file of this package is used only if the network that it describes would be written as exactly the
graph in the file: once another tool has changed that, the graph is used, and a file that is damaged is refused.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import ArrayLike
from onnx import ModelProto

from portable_nn.converters.conversion import Imported, check_proof
from portable_nn.converters.onnx.adapting import network_of, program_of
from portable_nn.core.dims import may_be_equal
from portable_nn.core.errors import EditedWarning, UnsupportedError, warn
from portable_nn.core.graph import Graph, Shape
from portable_nn.core.kinds import check_kinds
from portable_nn.core.memory import aligned_array, give_back
from portable_nn.engines.once import run_numpy
from portable_nn.engines.recording import read_recorded
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo, OutputKind
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.classical.model import Classical, classical
from portable_nn.onnx.entries import Sizes
from portable_nn.onnx.meant import meant
from portable_nn.onnx.opsets.support import opset_of
from portable_nn.onnx.origin import EDITED, Origin, origin_of
from portable_nn.onnx.promotion import promoted
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.remarks.documentation import collect
from portable_nn.onnx.remarks.dropped import dropped_by_import
from portable_nn.onnx.samples import NoInputsError, varied
from portable_nn.onnx.storage.external import opened_model
from portable_nn.onnx.storage.files import opening_model
from portable_nn.onnx.storage.metadata import (
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
from portable_nn.onnx.verify import LARGE, Proof, Tolerance, compare, compare_weights
from portable_nn.onnx.writing import to_model
from portable_nn.operators import infer, lookup
from portable_nn.preprocessing.steps import Preprocessing
from portable_nn.rewrites.sizes import fixed_sizes


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
    """The outputs, with ``labels`` for the first that has an entry for each; the rest as a ``manifest`` has it.

    What a softmax makes are probabilities, and other numbers with labels are logits.
    """
    types = infer(graph).types
    fitting = [name for name in graph.outputs if labels and types[name].shape[-1:] == (len(labels),)]
    known = {info.name: info for info in manifest.outputs} if manifest else {}
    makers = {name: lookup(node.operator, node.domain) for node in graph.nodes for name in node.outputs}
    found = list[OutputInfo]()
    for name in graph.outputs:
        own = tuple(labels) if [name] == fitting[:1] else ()
        maker = makers.get(name)
        is_share = maker is not None and maker.probabilities and not maker.elementwise
        kind: OutputKind = "probabilities" if is_share else "logits" if own else "values"
        found.append(replace(known.get(name, OutputInfo(name, kind)), labels=own))
    return found
