"""Comparison of two engines: a graph in numpy, and its ONNX model in onnxruntime.

A comparison has two parts. *Weights*: each tensor of one side is found on the other, byte for byte (``weights``).
*Meaning*: both sides run on inputs of several kinds. Every value that both make is compared where it is computed, from
the same inputs on both sides and relative to its spread (``values``); and so are the outputs of the unmodified model.

Two outputs agree where ``|numpy - onnxruntime| <= atol + rtol * m``, with m the largest magnitude in that output: the
error of a sum scales with its terms and not with their sum. ``rtol`` is at least ``LAST_DIGITS`` units in the last
place, which is what decides for float16. Where rounding alone moves a number further than that, and as far as the two
are apart, they agree as well, and a note says so (``conditioning``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import ModelProto

from portable_nn.core.errors import FormatError, GraphError, UnsupportedError, UsageError, VerificationError
from portable_nn.core.graph import Graph
from portable_nn.core.memory import give_back
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import some
from portable_nn.engines.claims import check_claims, size_of
from portable_nn.engines.once import run_numpy
from portable_nn.engines.recording import Recorded
from portable_nn.format.meaning import InputInfo
from portable_nn.onnx.opsets.support import opset_of
from portable_nn.onnx.remarks.training import training_mode
from portable_nn.onnx.samples import BATCHES, PATTERNS, NoInputsError, meant, redrawn
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.conditioning import allowed
from portable_nn.onnx.verification.differences import (
    Difference,
    Pair,
    Tolerance,
    difference,
)
from portable_nn.onnx.verification.drawing import batches_of, drawn_for, sizes_of, whole_models
from portable_nn.onnx.verification.messages import message_of
from portable_nn.onnx.verification.pieces import outputs_of_numpy, outputs_of_runtime
from portable_nn.onnx.verification.proof import Fate, Loose, Proof, Worst
from portable_nn.onnx.verification.recorded import check_recorded
from portable_nn.onnx.verification.sections import Sides, bytes_of, shared
from portable_nn.onnx.verification.stored import stored
from portable_nn.onnx.verification.values import Comparison, Parting
from portable_nn.onnx.verification.weights import fates
from portable_nn.onnx.writing import to_bytes
from portable_nn.operators import DTYPE_CODES, infer
from portable_nn.operators.linear.blas import single_threaded
from portable_nn.operators.opaque.nodes import is_opaque, opaque_labels

__all__ = ["BATCHES", "Difference", "Proof", "Tolerance", "check_recorded", "compare", "difference"]

LARGE: Final = 64 * 2**20
"""Bytes of values above which one example at a time is enough for the values on the way, and bytes of weights above
which both engines run in pieces."""

FEW: Final = 1000
"""The elements of inputs up to which examples of every kind are drawn: values have too few to be anywhere."""

_HINT: Final = "; --io FILE.npz gives inputs that it can run on, --verify none leaves the comparison out"
"""The advice where an engine cannot run on random inputs."""


@single_threaded()  # As onnxruntime is here: on a busy machine, threads wait for each other far longer than they work.
def compare(
    graph: Graph,
    parameters: NamedArrays,
    model: ModelProto,
    where: str,
    *,
    tolerance: Tolerance,
    seed: int = 0,
    folder: Path | None = None,
    recorded: Recorded | None = None,
    source: bytes | Path | None = None,
    originals: NamedArrays | None = None,
    unread: bool = False,
    infos: Iterable[InputInfo] = (),
) -> Proof:
    """The differences between both sides: their weights, and their values on the same inputs, at two batch sizes, and
    at three numbers for any other symbolic size.

    Args:
        graph: what numpy runs, with ``parameters``.
        parameters: the values of its parameters.
        model: what onnxruntime runs; values have the same names.
        where: the file that messages name.
        tolerance: the allowed differences.
        seed: the seed of the inputs.
        folder: the folder of the external data files of the model.
        recorded: further inputs, with the values that the graph must compute from them.
        source: the bytes or the file of ``model``, from which weights are read; by default from ``model`` itself.
        originals: the parameters before an option of the export converted their type.
        unread: whether ``parameters`` are read from the file whenever they are asked for. Neither engine has all of
            them at once then, and whoever reads them compares them with the file (see ``compare_weights``).
        infos: descriptions of the inputs: rows of their tables and numbers of their ranges are among those drawn.

    Where no inputs are found that both sides can run on, they are compared on the ``recorded`` ones.

    Raises:
        VerificationError: the sides do not agree; the message names the weights, or the first node that differs; or no
            two runs agree, as elements are dropped at random.
        FormatError, UnsupportedError: onnxruntime cannot run the model.
        UsageError: no inputs are found that fit the graph, and none are recorded.
    """
    check_verifiable(graph, where)
    proof, rng = Proof(graph.outputs), np.random.default_rng(seed)
    if not unread:
        proof.weights = compare_weights(graph, parameters, model, where, folder, source, originals)
    made_for = meant(graph, parameters, infos)

    def run(feeds: Sequence[NamedArrays]) -> tuple[list[dict[str, Array]], Sides | None]:
        pieces = _pieces(graph, parameters, model, feeds, folder)
        return _numpy(graph, parameters, feeds, where, pieces), pieces

    def runs(feeds: NamedArrays) -> bool:
        with suppress(FormatError):
            run([feeds])
            return True
        return False  # A number may lead out of a table.

    def on_recorded(error: Exception, recorded: Recorded) -> tuple[Any, ...]:
        reason = error.reason if isinstance(error, FormatError) else str(error)
        proof.notes += (f"compared on the recorded inputs alone: {reason.removesuffix(_HINT)}",)
        return [recorded.inputs] * 2, [recorded.inputs], run([recorded.inputs])

    try:  # Numpy first, as it refuses a graph that claims too much memory.
        drawn, (ours, pieces) = drawn_for(graph, rng, made_for, run)
        rounds, whole = drawn[:3], whole_models(drawn)
        if _is_large(graph, rounds):
            rounds = redrawn(graph, rounds[0], rng, made_for)
        elif sum(array.size for array in rounds[-1].values()) <= FEW:
            rounds[1:1] = filter(runs, redrawn(graph, rounds[-1], rng, made_for, [*PATTERNS]))
    except GraphError as error:
        raise GraphError(error.faults, where) from None
    except (FormatError, NoInputsError) as error:
        if recorded is None:
            raise error if isinstance(error, FormatError) else UsageError(f"{where}: {error}{_HINT}") from None
        rounds, whole, (ours, pieces) = on_recorded(error, recorded)
    give_back()
    data = source if isinstance(source, bytes) else to_bytes(model)

    def session(*, optimise: bool = True, weights: NamedArrays | None = None) -> Session:
        weights = shared(model, parameters) if weights is None else weights
        return Session(data, where=where, threads=1, folder=folder, optimise=optimise, weights=weights)

    if recorded is not None:
        proof.recorded = check_recorded(graph, parameters, recorded, where, tolerance=tolerance, session=session())
    if pieces and unread:
        session(optimise=False, weights={})  # The model as a whole is valid; its weights are not read.
    try:
        theirs = _runtime(whole, where, pieces if unread else None, session)
    except FormatError as error:
        if recorded is None or whole[0] is recorded.inputs:
            raise
        rounds, whole, (ours, pieces) = on_recorded(error, recorded)
        theirs = _runtime(whole, where, pieces if unread else None, session)
    give_back()
    proof.batches, proof.sizes = batches_of(whole), sizes_of(graph.inputs, whole)
    sides = Sides(graph, parameters, model, rounds, folder)
    _check_values(proof, sides, rounds, tolerance, where)
    for feeds, one, other in zip(whole, ours, theirs, strict=True):
        for name in graph.outputs:
            _check_output(proof, tolerance.pair(name, one[name], other[name]), sides, feeds, where)
    proof.notes += (*_undefined(ours, graph.outputs), *_ill_conditioned(proof))
    return proof


def check_verifiable(graph: Graph, where: str) -> None:
    """Check that there may be inputs on which two engines that are right agree, before any runs.

    Raises:
        GraphError: it claims too much memory.
        VerificationError: it drops elements at random.
    """
    check_claims(graph, where=where)
    for line in training_mode(graph):
        raise VerificationError(f"{where}: {line}")


def compare_weights(
    graph: Graph,
    parameters: NamedArrays,
    model: ModelProto,
    where: str,
    folder: Path | None = None,
    source: bytes | Path | None = None,
    originals: NamedArrays | None = None,
) -> tuple[Fate, ...]:
    """The fate of every weight; arguments and errors are those of ``compare``."""
    return fates(graph, parameters, stored(source or model, where, folder), model.graph, where, originals)


def _is_large(graph: Graph, rounds: Sequence[NamedArrays]) -> bool:
    """True if all values for all ``rounds`` together have more than ``LARGE`` bytes."""
    types = infer(graph, {name: array.shape for name, array in rounds[-1].items()}).types
    return len(rounds) * sum(map(bytes_of, types.values())) > LARGE


def _pieces(
    graph: Graph,
    parameters: NamedArrays,
    model: ModelProto,
    whole: Sequence[NamedArrays],
    folder: Path | None,
) -> Sides | None:
    """Both sides for the inputs ``whole``, if the weights are so large that they run in pieces."""
    if size_of(graph.parameters) <= LARGE:
        return None
    sides = Sides(graph, parameters, model, whole, folder)
    return sides if sides.place_of.keys() >= {*graph.outputs} else None


def _check_values(proof: Proof, sides: Sides, rounds: Sequence[NamedArrays], tolerance: Tolerance, where: str) -> None:
    """Compare every value where it is computed, and put what was found into ``proof``. Raises ``VerificationError``."""
    try:
        comparison = Comparison(sides, rounds, opset_of(sides.model, where), tolerance, proof)
        comparison.run()
    except Parting as parting:
        lines = [message_of(parting.pair, sides.graph), *training_mode(sides.graph)]
        raise VerificationError(f"{where}: {'; '.join(lines)}") from None
    except FormatError as error:  # It runs as a whole.
        raise UnsupportedError(where, f"its nodes cannot run one by one: {error.reason}") from error
    proof.opaque = tuple(opaque_labels(sides.graph.nodes))
    theirs = {name for node in sides.graph.nodes if is_opaque(node) for name in node.outputs}
    proof.compared = {name: error for name, error in proof.compared.items() if name not in theirs}
    proof.not_exercised = {node: why for node, why in proof.not_exercised.items() if node not in proof.opaque}
    if proof.compared:
        name = max(proof.compared, key=lambda each: proof.compared[each])
        node = sides.node_of.get(name)
        proof.worst = Worst(name, str(node) if node else "", proof.compared[name])
    proof.notes += tuple(
        f"node {node}: {text}; no input shows a difference" for node, text in comparison.unshown.items()
    )


def _check_output(
    proof: Proof,
    pair: Pair,
    sides: Sides,
    feeds: NamedArrays,
    where: str,
) -> None:
    """Compare an output of the unmodified model."""
    name, ours, theirs, _ = pair
    if ours.dtype != theirs.dtype:
        raise VerificationError(f"{where}: {message_of(pair, sides.graph)}")
    found = difference(ours, theirs)
    if not (apart := found.max_abs_error) <= pair.allowed:
        inputs = {each: DTYPE_CODES[array.dtype.name] for each, array in feeds.items()}
        most = allowed(sides, sides.model_part(sides.model.graph.node, inputs, [name]), feeds, name, pair)
        if not apart <= most:
            message = message_of(pair._replace(allowed=most), sides.graph, first="though every step agrees by itself")
            raise VerificationError(f"{where}: {message}")
        proof.widened[name] = Loose(str(sides.node_of[name]), apart, most).or_more(proof.widened.get(name))
    proof[name] = proof[name].or_more(found)


def _runtime(
    rounds: Sequence[NamedArrays], where: str, pieces: Sides | None, session: Callable[[], Session]
) -> list[dict[str, Array]]:
    """The outputs of onnxruntime for each of the inputs, if need be in pieces; the error where it cannot has advice."""
    opened = None if pieces else session()
    try:
        if pieces:
            return outputs_of_runtime(pieces, rounds)
        return [opened.run(feeds) for feeds in rounds] if opened else []
    except FormatError as error:
        raise FormatError(where, error.reason + _HINT) from error


def _numpy(
    graph: Graph,
    parameters: NamedArrays,
    rounds: Sequence[NamedArrays],
    where: str,
    pieces: Sides | None,
) -> list[dict[str, Array]]:
    """The outputs of numpy for each of the inputs, if need be in pieces; the error where it cannot run has advice."""
    try:
        if pieces:
            return outputs_of_numpy(pieces, rounds)
        return [run_numpy(graph, parameters, feeds) for feeds in rounds]
    except (IndexError, GraphError) as error:
        raise FormatError(where, f"numpy cannot run it on inputs that were drawn: {error}{_HINT}") from error


def _ill_conditioned(proof: Proof) -> Iterator[str]:
    """A note on the values that rounding alone moves further than the tolerances."""
    if proof.widened:
        places = some(f"{at} {apart:.1e} apart, up to {most:.1e} allowed" for at, apart, most in proof.widened.values())
        yield f"ill-conditioned here, rounding alone moves values further than the tolerances: {places}"


def _undefined(ours: Sequence[NamedArrays], outputs: Iterable[str]) -> Iterator[str]:
    """A note on each output with NaN, which both engines have at the same places."""
    for name in outputs:
        arrays = [each[name] for each in ours if each[name].dtype.kind == "f"]
        count, elements = sum(int(np.isnan(array).sum()) for array in arrays), sum(array.size for array in arrays)
        if count:
            share = "everywhere" if count == elements else f"in {count:,} of {elements:,} places"
            yield f"output '{name}' is NaN on both sides {share}: there is nothing to compare there"
