"""Networks in ONNX models: what a manifest describes, or what the graph and the metadata of any model say."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from onnx import ModelProto

from portable_nn.converters.onnx.adapting import network_of, program_of
from portable_nn.core.dims import may_be_equal
from portable_nn.core.graph import Graph, Shape
from portable_nn.core.memory import aligned_array
from portable_nn.core.tensors import Array
from portable_nn.engines.once import run_numpy
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo, OutputKind, columns_of
from portable_nn.network import Network, remade
from portable_nn.onnx.classical.model import Classical
from portable_nn.onnx.entries import Sizes
from portable_nn.onnx.origin import Origin
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.remarks.documentation import collect
from portable_nn.onnx.remarks.dropped import dropped_by_import
from portable_nn.onnx.samples import NoInputsError, meant, varied
from portable_nn.onnx.storage.metadata import (
    DIGEST,
    DOC,
    LABELS,
    MANIFEST,
    added_entries,
    labels_of,
    labels_text,
    metadata_of,
    own_doc,
)
from portable_nn.onnx.storage.preparation import PREPARATION, preparation_in
from portable_nn.operators import infer, operator_of
from portable_nn.preprocessing.steps import Preprocessing
from portable_nn.rewrites.sizes import fixed_sizes

ClassKind: TypeAlias = Literal["probabilities", "logits", "binary_logits"]


def restored(origin: Origin, model: ModelProto, sizes: Mapping[str, int | str], *, unread: bool) -> Network:
    """The network that a model of this package holds, with entries that were added to its metadata since.

    Symbolic ``sizes`` are fixed at numbers, or made equal to others. If its parameters are ``unread``, they are read
    whenever they are asked for.
    """
    manifest = origin.manifest
    assert manifest
    known = {MANIFEST, DIGEST, *added_entries(manifest)}
    metadata = {key: text for key, text in metadata_of(model).items() if key not in known}
    if doc := own_doc(model.doc_string, manifest):
        metadata[DOC] = doc
    network = Network.from_graph(
        manifest.graph,
        origin.tensors if unread else _taken(manifest.graph, origin.tensors.__getitem__),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        metadata=metadata | manifest.metadata,
        documentation=manifest.documentation,
        copy=False,
    )
    return network_of(fixed_sizes(program_of(network), sizes), network) if sizes else network


def in_memory(network: Network) -> Network:
    """The same network with its parameters in memory."""
    return remade(network, _taken(network.graph, network.parameters.arrays.__getitem__))


def _taken(graph: Graph, take: Callable[[str], Array]) -> dict[str, Array]:
    """The parameters of ``graph``, which ``take`` gives by name: of those that must be copied, one at a time."""
    return {value.name: aligned_array(take(value.name), value.dtype) for value in graph.parameters}


def foreign(
    model: ModelProto,
    manifest: Manifest | None,
    where: str,
    notes: list[str],
    sizes: Mapping[str, int | str],
    *,
    unread: bool,
) -> Network:
    """The network in any model, with labels where the metadata have them; adds to ``notes`` what is dropped.

    A ``manifest`` says what the model was before another program changed it. If the parameters are ``unread``, large
    ones are read whenever they are asked for.
    """
    properties = metadata_of(model)
    graph, parameters, changes = from_model(model, where, Sizes(sizes), unread=unread)
    frozen = {value.name for value in manifest.graph.parameters if not value.trainable} if manifest else set()
    if frozen:  # Types are inferred once for a graph, and would be again for a copy.
        kept = (replace(value, trainable=value.trainable and value.name not in frozen) for value in graph.parameters)
        graph = replace(graph, parameters=tuple(kept))
    notes.extend(changes)
    metadata = {key: text for key, text in properties.items() if key not in {MANIFEST, DIGEST, PREPARATION}}
    if doc := own_doc(model.doc_string, manifest):
        metadata.setdefault(DOC, doc)
    labels = labels_of(metadata)
    outputs = _labelled(graph, labels, manifest)
    if any(info.labels for info in outputs):
        text = metadata.pop(LABELS, None)  # The labels themselves are kept instead.
        if text not in (None, labels_text(labels)):
            notes.append("the labels in the metadata are written as a JSON list")
    elif labels:
        notes.append(f"labels in the metadata are not used: no output has {len(labels)} entries")
    documentation = collect(model, graph)
    notes.extend(dropped_by_import(model, graph, documentation))
    return Network.from_graph(
        graph,
        _taken(graph, parameters.pop) if isinstance(parameters, dict) else parameters,
        inputs=_prepared(_inputs(graph, manifest), graph, preparation_in(properties, where), notes),
        outputs=outputs,
        metadata=metadata,
        documentation=documentation or UNSET,
        copy=False,
    )


def described(network: Network, translated: Classical, manifest: Manifest | None, notes: list[str]) -> Network:
    """The network of a model of ``ai.onnx.ml`` with its table, its labels and what is frozen; adds to ``notes``.

    A ``manifest`` describes the columns of a model that another program changed, if these are the ones in it.
    """
    notes.extend(translated.notes)
    network.inputs = translated.inputs or network.inputs
    known, found = (columns_of(infos) for infos in (manifest.inputs if manifest else (), network.inputs))
    if known and [(each.name, each.categories) for each in found] == [(each.name, each.categories) for each in known]:
        network.inputs = (replace(network.inputs[0], columns=known),)
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


def _kind_of(network: Network, name: str, classes: int, shape: Shape) -> ClassKind | None:
    """The kind of the numbers of so many classes; ``None`` where an output has others.

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
    """The meaning of the inputs, with the ``steps`` by name that ``predict --keep`` has kept, and a note on these."""
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
    makers = graph.makers()
    found = list[OutputInfo]()
    for name in graph.outputs:
        own = tuple(labels) if [name] == fitting[:1] else ()
        maker = operator_of(makers[name]) if name in makers else None
        is_share = maker is not None and maker.probabilities and not maker.elementwise
        kind: OutputKind = "probabilities" if is_share else "logits" if own else "values"
        found.append(replace(known.get(name, OutputInfo(name, kind)), labels=own))
    return found
