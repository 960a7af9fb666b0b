"""Networks read from ONNX files, and compared with what onnxruntime computes from them.

The manifest in a file of this package is used only if the network that it describes would be written as exactly the
graph in the file: once another tool has changed that, the graph is used, and a file that is damaged is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from glob import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import ModelProto

from portable_nn.converters.conversion import Imported, check_proof
from portable_nn.converters.onnx.networks import described, foreign, in_memory, restored
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UnsupportedError
from portable_nn.core.memory import give_back
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.engines.recording import read_recorded
from portable_nn.network import Network
from portable_nn.network.classes import declare_classes
from portable_nn.onnx.blocked import block_here, has_blocks, unblocked
from portable_nn.onnx.classical.model import classical
from portable_nn.onnx.columns import as_row
from portable_nn.onnx.opsets.support import noted, opset_of
from portable_nn.onnx.origin import Origin, origin_of, warn_of_edit
from portable_nn.onnx.promotion import constants_for, promoted
from portable_nn.onnx.storage.external import opened_model
from portable_nn.onnx.storage.files import opening_model
from portable_nn.onnx.storage.tensors import tensor_bytes
from portable_nn.onnx.verify import LARGE, Proof, Tolerance, compare, compare_weights
from portable_nn.onnx.writing import to_bytes, to_model


@check_kinds
def import_onnx(
    source: str | Path | ModelProto,
    *,
    labels: Sequence[str] = (),
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    io: str | Path | None = None,
    weights: Mapping[str, ArrayLike] = MappingProxyType({}),
    sizes: Mapping[str, int | str] = MappingProxyType({}),
    values: Mapping[str, ArrayLike] = MappingProxyType({}),
    edited: bool = False,
    train: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> Network:
    """The network in an ONNX file or model, ready to train.

    >>> from portable_nn.converters.onnx import import_onnx
    >>> net = import_onnx("model.onnx")  # or with sizes={"sequence": 128}
    >>> history = net.fit(x, y, epochs=3)  # doctest: +SKIP

    Options and errors are those of ``read_onnx``, which also reports what of the file was dropped. Warns with
    ``EditedWarning``, unless ``edited``, where this package wrote the file and another program has changed it since.
    """
    network, _, notes = read_onnx(**locals())
    if not edited:
        warn_of_edit(notes, "the model" if isinstance(source, ModelProto) else source)
    return network


def read_onnx(
    source: str | Path | ModelProto,
    *,
    labels: Sequence[str] = (),
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    io: str | Path | None = None,
    weights: Mapping[str, ArrayLike] = MappingProxyType({}),
    sizes: Mapping[str, int | str] = MappingProxyType({}),
    values: Mapping[str, ArrayLike] = MappingProxyType({}),
    edited: bool = False,
    train: Sequence[str] = (),
    freeze: Sequence[str] = (),
    lazy: bool = False,
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
        labels: the names of the classes, in the order of the output's numbers; by default those that the file has.
        verify: whether to compare numpy and onnxruntime on the same inputs, at two batch sizes.
        atol: the absolute tolerance of that comparison.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        io: an ``.npz`` file of inputs and outputs recorded by another program: both engines must compute these outputs
            as well.
        weights: arrays by the names of inputs, which become parameters of the network instead.
        sizes: numbers for symbolic sizes of the inputs, by name; or the name of another size that is the same.
        values: numbers, or arrays, for inputs by name, which become constants: branches that they decide are replaced
            by the one that is taken.
        edited: whether a file of this package may have other weights, attributes or labels than those that it was
            written with: it is then read as another tool's model, where it would be refused as damaged.
        train: patterns of names of parameters that train, as ``Network.unfreeze`` has them. Otherwise use and name
            decide, and a note lists what may be either.
        freeze: patterns of names of parameters that are kept as they are, as ``Network.freeze`` has them; these win.
        lazy: whether weights of more than 64 MiB in all stay in the file, and each is read whenever it is asked for, as
            ``load`` has it.
        where: the name of the model in messages; by default its path.
        origin: what ``origin_of`` finds, where that is known.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not an ONNX model, or is damaged.
        UnsupportedError: it uses what is not supported; all of that is listed.
        GraphError: nodes do not fit each other; all of them are listed.
        VerificationError: the engines do not agree; the message names the first node that differs.
        UsageError: no inputs are found to compare on, ``io`` without ``verify``, unknown names in ``weights``,
            ``sizes`` or ``values``, or patterns in ``train`` or ``freeze`` that match nothing.
        ShapeError: ``weights`` do not fit the inputs.
        DataError: ``io`` does not hold the inputs and outputs of the network.
    """
    check_proof(verify, io)
    if not isinstance(source, ModelProto):
        options: dict[str, Any] = {**locals(), "where": where or str(source)}
        with opening_model(source) as options["source"]:
            return read_onnx(**options)
    where, given = where or "model", source
    source = as_row(source)
    origin = origin or origin_of(source, where)
    if not edited:
        origin.refuse_damage(where)
    fixed = constants_for(source, values, where)
    weights = {**weights, **fixed}
    model, notes = promoted(source, weights, where), [*origin.notes, *noted("inputs that are constants", fixed)]
    translated = classical(model, where)
    in_place = given is source and not (weights or translated)
    unread = in_place and (verify or lazy) and _is_left(model) and not has_blocks(model)
    if origin.state == "own" and not weights:
        network = restored(origin, model, sizes, unread=unread)
    elif translated is not None:
        network = foreign(translated.model, origin.manifest, where, notes, sizes, unread=False)
        network, model = described(network, translated, origin.manifest, notes), translated.original
    else:
        network = foreign(model, origin.manifest, where, notes, sizes, unread=unread)
    if kept := fixed.keys() & network.parameters.keys():
        network.freeze(*map(escape, kept))
    if train:
        network.unfreeze(*train)
    if freeze:
        network.freeze(*freeze)
    declare_classes(network, labels)
    recorded = None if io is None else read_recorded(io, network.graph)
    if not verify:
        return Imported(network, Proof(), tuple(notes))
    if translated is not None and (rounding := translated.condition * float(np.finfo(np.float32).eps)) > rtol:
        notes.append(f"its sums over support vectors have large terms: in float32 they are known to {rounding:.1g}")
        rtol = rounding
    options = {"tolerance": Tolerance(atol, rtol), "seed": seed, "recorded": recorded}
    network, proof = _compared(network, model, where, unread=unread, in_place=in_place, lazy=lazy, **options)
    return Imported(network, proof, tuple(notes))


def _is_left(model: ModelProto) -> bool:
    """True if the model's file is open, and its weights are so large that they are left in it."""
    return opened_model.get() is not None and sum(map(tensor_bytes, model.graph.initializer)) > LARGE


def _compared(
    network: Network, model: ModelProto, where: str, *, unread: bool, in_place: bool, lazy: bool, **options: Any
) -> tuple[Network, Proof]:
    """The network with its weights in memory, unless it is ``lazy``, and the proof that it is the model.

    Args:
        network: the network.
        model: what onnxruntime runs.
        where: the name of the model in messages.
        unread: whether the weights of the network are read from the file whenever they are asked for.
        in_place: whether the weights are those of the file that is open, if one is.
        lazy: whether they stay unread.
        options: further ones of ``compare``.
    """
    opened = opened_model.get()
    # The weights are read from the file once more, unless arrays of the caller are in place of some of its inputs.
    path, folder = opened.path if opened and in_place else None, opened.path.resolve().parent if opened else None
    options |= {"source": path, "folder": folder, "unread": unread, "infos": network.inputs}
    compared = partial(compare, network.graph, network.parameters.arrays, **options)
    proof = proved(network, model, where, compared)
    if unread:
        assert opened
        give_back()
        network = network if lazy else in_memory(network)
        arrays = network.parameters.arrays
        proof.weights = compare_weights(network.graph, arrays, model, where, folder, opened.path)
    return network, proof


def proved(network: Network, model: ModelProto, where: str, compared: partial[Proof]) -> Proof:
    """The proof of a network; or of its export, where onnxruntime runs that alone: at an old opset, in layout 1.

    Values are compared with those of the plain form of a model for one kind of processor, and outputs with its own.
    """
    if has_blocks(model):
        plain, block = unblocked(model, where)
        is_here = block == (here := block_here())
        proof = compared(plain, where, source=to_bytes(model) if is_here else None)
        arrays, folder = network.parameters.arrays, compared.keywords["folder"]
        proof.weights = compare_weights(network.graph, arrays, plain, where, folder)
        if not is_here:
            why = f"onnxruntime here takes blocks of {block} channels for such of {here}"
            proof.notes += (f"compared with its plain form alone: {why}",)
        return proof
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
        if not compared.keywords["unread"]:
            folder, source = compared.keywords["folder"], compared.keywords["source"]
            proof.weights = compare_weights(network.graph, network.parameters.arrays, model, where, folder, source)
        return proof
