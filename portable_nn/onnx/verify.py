"""Comparison of two engines: a graph in numpy, and its ONNX model in onnxruntime.

Two numbers agree where ``|numpy - onnxruntime| <= atol + rtol * m``, with m the largest magnitude in that output: the
error of a sum scales with its terms and not with their sum. ``rtol`` is at least ``LAST_DIGITS`` units in the last
place, which is what decides for float16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from onnx import ModelProto

from portable_nn.core.errors import FormatError, GraphError, UsageError, VerificationError
from portable_nn.core.graph import Graph, format_shape
from portable_nn.engines.claims import check_claims, size_of
from portable_nn.engines.plan import Plan
from portable_nn.engines.recording import Recorded
from portable_nn.format.tensors import Array
from portable_nn.onnx.samples import BATCHES, NoInputsError, rounds
from portable_nn.onnx.session import Session
from portable_nn.onnx.writing import to_bytes

__all__ = ["BATCHES", "Difference", "Proof", "Tolerance", "check_recorded", "compare", "difference"]

LAST_DIGITS: Final = 8
"""Units in the last place by which two roundings of one number may always differ."""


_HINT: Final = "; --io FILE.npz gives inputs that it can run on, --no-verify leaves the comparison out"
"""The advice where an engine cannot run on random inputs."""


class Tolerance(NamedTuple):
    """The absolute and the relative tolerance of a comparison."""

    atol: float = 1e-5
    rtol: float = 1e-5

    def allowed(self, array: Array) -> float:
        """The largest allowed difference to an element of ``array``."""
        precision = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
        return self.atol + max(self.rtol, LAST_DIGITS * precision) * _magnitude(array)


class Difference(NamedTuple):
    """The largest absolute difference in one output, and the same relative to its largest magnitude."""

    max_abs_error: float = 0.0
    max_rel_error: float = 0.0

    def or_more(self, other: Difference) -> Difference:
        """The larger of each."""
        return Difference(*map(max, self, other))


class Proof(dict[str, Difference]):
    """The largest differences by output, over all runs.

    Attributes:
        batches: the batch sizes.
        notes: sentences on what could not be compared.
        recorded: the largest differences of both engines to the values recorded by another program.
    """

    def __init__(self, outputs: Iterable[str] = ()) -> None:
        super().__init__(dict.fromkeys(outputs, Difference()))
        self.batches: tuple[int, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.recorded: dict[str, Difference] = {}


def compare(
    graph: Graph,
    parameters: Mapping[str, Array],
    model: ModelProto,
    where: str,
    *,
    tolerance: Tolerance,
    seed: int = 0,
    folder: Path | None = None,
    recorded: Recorded | None = None,
) -> Proof:
    """The largest differences between both engines on the same random inputs, at two batch sizes.

    Args:
        graph: what numpy runs, with ``parameters``.
        parameters: the values of its parameters.
        model: what onnxruntime runs; values have the same names.
        where: the file that messages name.
        tolerance: the allowed differences.
        seed: the seed of the inputs.
        folder: the folder of the external data files of the model.
        recorded: further inputs, with the values that the graph must compute from them.

    Raises:
        VerificationError: the engines do not agree; the message names the first node that differs.
        FormatError, UnsupportedError: onnxruntime cannot run the model.
        UsageError: no inputs are found that fit the graph, and none are recorded.
    """
    check_claims(graph, where=where)
    session = Session(to_bytes(model), where=where, threads=1, folder=folder)
    proof = Proof(graph.outputs)
    if recorded is not None:
        proof.recorded = check_recorded(graph, parameters, recorded, where, tolerance=tolerance, session=session)
    elements, undefined = Counter[str](), Counter[str]()
    try:
        for feeds in rounds(graph, np.random.default_rng(seed)):
            ours, theirs = _both(graph, parameters, session, feeds, where)
            for name in graph.outputs:
                if not _agree(ours[name], theirs[name], tolerance):
                    earlier = _values_on_the_way(graph, parameters, model, feeds, folder)
                    parting = next((pair for pair in earlier if not _agree(pair.ours, pair.theirs, tolerance)), None)
                    last = _Compared(name, ours[name], theirs[name])
                    raise VerificationError(f"{where}: {_message(parting or last, graph, tolerance)}")
                proof[name] = proof[name].or_more(difference(ours[name], theirs[name]))
                elements[name] += ours[name].size
                undefined[name] += int(np.isnan(ours[name]).sum()) if ours[name].dtype.kind == "f" else 0
            proof.batches += (next((len(array) for array in feeds.values() if array.ndim), 1),)
    except NoInputsError as error:
        if recorded is None:
            raise UsageError(f"{where}: {error}{_HINT}") from None
        proof.notes += (f"compared on what is recorded alone: {error}",)
    proof.notes += tuple(_undefined(undefined, elements))
    return proof


def check_recorded(
    graph: Graph,
    parameters: Mapping[str, Array],
    recorded: Recorded,
    where: str,
    *,
    tolerance: Tolerance,
    session: Session | None = None,
) -> dict[str, Difference]:
    """The largest differences of numpy, and of ``session`` if given, to the values recorded by another program.

    Intermediate values are compared as well, in numpy, so that the first node that differs is found.

    Raises:
        VerificationError: they do not agree.
    """
    made = [name for node in graph.nodes for name in node.outputs]
    wanted = tuple(sorted(recorded.values, key=made.index))
    sides = {"numpy": run_numpy(graph, parameters, recorded.inputs, wanted)}
    if session:
        sides["onnxruntime"] = session.run(recorded.inputs)
    worst = dict.fromkeys(wanted, Difference())
    for name in wanted:
        for side, values in sides.items():
            if name not in values:
                continue
            expected = recorded.values[name].astype(values[name].dtype)
            pair = _Compared(name, values[name], expected)
            if not _agree(pair.ours, pair.theirs, tolerance):
                first = "the first that is recorded and differs"
                raise VerificationError(f"{where}: {_message(pair, graph, tolerance, side, str(recorded.path), first)}")
            worst[name] = worst[name].or_more(difference(pair.ours, pair.theirs))
    return worst


def _both(
    graph: Graph, parameters: Mapping[str, Array], session: Session, feeds: Mapping[str, Array], where: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The outputs of both engines; the error where one cannot run has advice."""
    try:
        return run_numpy(graph, parameters, feeds, graph.outputs), session.run(feeds)
    except (IndexError, GraphError) as error:
        raise FormatError(where, f"numpy cannot run it on inputs that were drawn: {error}{_HINT}") from error
    except FormatError as error:
        raise FormatError(where, error.reason + _HINT) from error


def _undefined(undefined: Mapping[str, int], elements: Mapping[str, int]) -> Iterator[str]:
    """A note on each output with NaN, which both engines have at the same places."""
    for name, count in undefined.items():
        if count:
            share = "everywhere" if count == elements[name] else f"in {count:,} of {elements[name]:,} places"
            yield f"output '{name}' is NaN on both sides {share}: there is nothing to compare there"


def difference(ours: Array, theirs: Array) -> Difference:
    """The difference of two arrays of one shape; infinite where only one has a finite number."""
    gaps = _gaps(ours, theirs)
    largest = float(gaps.max(initial=0.0))
    return Difference(largest, largest / (_magnitude(theirs) or 1.0))


def _gaps(ours: Array, theirs: Array) -> Array:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))


def _magnitude(array: Array) -> float:
    return float(np.abs(array, where=np.isfinite(array), out=np.zeros(array.shape)).max(initial=0.0))


def _agree(ours: Array, theirs: Array, tolerance: Tolerance) -> bool:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return difference(ours, theirs).max_abs_error <= tolerance.allowed(theirs)


def run_numpy(
    graph: Graph, parameters: Mapping[str, Array], feeds: Mapping[str, Array], outputs: tuple[str, ...] | None = None
) -> dict[str, Array]:
    """The values ``outputs``, or else the graph's own, for ``feeds``; they are the caller's."""
    shapes = {name: array.shape for name, array in feeds.items()}
    plan = Plan(graph, shapes, parameters, outputs=outputs, stored=size_of(graph.parameters))
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return plan.outputs


class _Compared(NamedTuple):
    """One value, as each engine has it."""

    name: str
    ours: Array
    theirs: Array


def _values_on_the_way(
    graph: Graph, parameters: Mapping[str, Array], model: ModelProto, feeds: Mapping[str, Array], folder: Path | None
) -> Iterator[_Compared]:
    """All values that both engines have, from a second run with all of them as outputs; in the order of their nodes."""
    made = {name for node in model.graph.node for name in node.output}
    names = tuple(name for node in graph.nodes for name in node.outputs if name and name in made)
    ours = run_numpy(graph, parameters, feeds, names)
    copy = deepcopy(model)
    del copy.graph.output[:]
    for name in names:
        copy.graph.output.add(name=name)
    theirs = Session(to_bytes(copy), threads=1, folder=folder).run(feeds)
    return (_Compared(name, ours[name], theirs[name]) for name in names)


def _message(
    pair: _Compared,
    graph: Graph,
    tolerance: Tolerance,
    one: str = "numpy",
    other: str = "onnxruntime",
    first: str = "the first that differs",
) -> str:
    """Where the two differ most, in words."""
    name, ours, theirs = pair
    node = next(node for node in graph.nodes if name in node.outputs)
    begin = f"{one} and {other} part at node '{node.name}' ({node.operator}), {first}:"
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{begin} '{name}' is {_type(ours)} in {one} and {_type(theirs)} in {other}"
    place = np.unravel_index(int(_gaps(ours, theirs).argmax()), ours.shape)
    at = f"[{', '.join(map(str, place))}]" if place else ""
    return (
        f"{begin} '{name}'{at} is {ours[place]} in {one} and {theirs[place]} in {other}, "
        f"which may be {tolerance.allowed(theirs):.3g} apart"
    )


def _type(array: Array) -> str:
    return f"{array.dtype} {format_shape(array.shape)}"
