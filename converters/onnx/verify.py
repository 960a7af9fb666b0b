"""Whether two engines compute the same numbers: the graph in numpy, and its ONNX model in onnxruntime.

A number agrees where ``|numpy - onnxruntime| <= atol + rtol * m``, with m the largest magnitude in that output: the
error of a sum goes with the size of its terms and not with what is left of them. For float16, whose last digit is
worth more than that, ``rtol`` is a few such digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from onnx import ModelProto

from portable_nn.converters.onnx.model import to_bytes
from portable_nn.engines.plan import Plan
from portable_nn.engines.runtime import Session
from portable_nn.errors import VerificationError
from portable_nn.format.tensors import Array
from portable_nn.graph import Dim, Graph, Value, format_shape

BATCHES: Final = (1, 3)
"""What a leading size without a number is set to: one example is a case of its own, and so is an odd number."""

OTHER_SIZE: Final = 16
"""What any other size without a number is set to, such as the length of a sequence."""


LAST_DIGITS: Final = 8
"""How many units of the last place two roundings of one number may always be apart."""


class Tolerance(NamedTuple):
    """How far two numbers may be apart."""

    atol: float = 1e-5
    rtol: float = 1e-5

    def allowed(self, array: Array) -> float:
        """The largest difference to an element of ``array`` that is no fault."""
        precision = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
        return self.atol + max(self.rtol, LAST_DIGITS * precision) * _magnitude(array)


class Difference(NamedTuple):
    """The largest differences in one output; the relative one is to the output's largest magnitude."""

    max_abs_error: float = 0.0
    max_rel_error: float = 0.0


def compare(
    graph: Graph,
    parameters: Mapping[str, Array],
    model: ModelProto,
    where: str,
    *,
    tolerance: Tolerance,
    seed: int = 0,
    folder: Path | None = None,
) -> dict[str, Difference]:
    """Run both sides on the same seeded inputs at two batch sizes; the largest differences, by output.

    Args:
        graph: what numpy runs, with ``parameters``.
        parameters: the values of its parameters.
        model: what onnxruntime runs; values have the same names.
        where: the file that messages name.
        tolerance: how far numbers may be apart.
        seed: what the inputs are drawn from.
        folder: where the files are that the model names.

    Raises:
        VerificationError: the sides do not agree; the message names the first node that computes something else.
        FormatError, UnsupportedError: onnxruntime cannot run the model.
    """
    session = Session(to_bytes(model), where=where, threads=1, folder=folder)
    worst = dict.fromkeys(graph.outputs, Difference())
    for feeds in _rounds(graph, np.random.default_rng(seed)):
        ours, theirs = _run_numpy(graph, parameters, feeds, graph.outputs), session.run(feeds)
        for name in graph.outputs:
            if not _agree(ours[name], theirs[name], tolerance):
                earlier = _values_on_the_way(graph, parameters, model, feeds, folder)
                parting = next((pair for pair in earlier if not _agree(pair.ours, pair.theirs, tolerance)), None)
                last = Pair(name, ours[name], theirs[name])
                raise VerificationError(f"{where}: {_told(parting or last, graph, tolerance)}")
            worst[name] = Difference(*map(max, worst[name], difference(ours[name], theirs[name])))
    return worst


def difference(ours: Array, theirs: Array) -> Difference:
    """How far two arrays of one shape are apart; infinitely, where one has a number and the other has none."""
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


def _rounds(graph: Graph, rng: np.random.Generator) -> Iterator[dict[str, Array]]:
    """Inputs for each batch size; once, where every size is a number."""
    symbolic = any(isinstance(dim, str) for value in graph.inputs for dim in value.shape)
    leading = {dim for value in graph.inputs for dim in value.shape[:1]}
    for batch in BATCHES if symbolic else BATCHES[:1]:
        yield {value.name: _draw(value, leading, batch, rng) for value in graph.inputs}


def _draw(value: Value, leading: set[Dim], batch: int, rng: np.random.Generator) -> Array:
    """Normal numbers; for integers zeros and ones, which are valid as classes, indices and masks alike."""
    shape = [dim if isinstance(dim, int) else batch if dim in leading else OTHER_SIZE for dim in value.shape]
    if np.dtype(value.dtype).kind == "f":
        return rng.standard_normal(shape).astype(value.dtype)
    return rng.integers(0, 2, shape).astype(value.dtype)


def _run_numpy(
    graph: Graph, parameters: Mapping[str, Array], feeds: Mapping[str, Array], outputs: tuple[str, ...]
) -> dict[str, Array]:
    plan = Plan(graph, {name: array.shape for name, array in feeds.items()}, parameters, outputs=outputs)
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return plan.outputs


class Pair(NamedTuple):
    """One value, as each side has it."""

    name: str
    ours: Array
    theirs: Array


def _values_on_the_way(
    graph: Graph, parameters: Mapping[str, Array], model: ModelProto, feeds: Mapping[str, Array], folder: Path | None
) -> Iterator[Pair]:
    """Run both sides again with every value that both have as an output; the values in the order of their nodes."""
    made = {name for node in model.graph.node for name in node.output}
    names = tuple(name for node in graph.nodes for name in node.outputs if name and name in made)
    ours = _run_numpy(graph, parameters, feeds, names)
    theirs = Session(to_bytes(_with_outputs(model, names)), threads=1, folder=folder).run(feeds)
    return (Pair(name, ours[name], theirs[name]) for name in names)


def _with_outputs(model: ModelProto, names: tuple[str, ...]) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for name in names:
        copy.graph.output.add(name=name)
    return copy


def _told(pair: Pair, graph: Graph, tolerance: Tolerance) -> str:
    """Where the sides part, in words."""
    name, ours, theirs = pair
    node = next(node for node in graph.nodes if name in node.outputs)
    begin = f"numpy and onnxruntime part at node '{node.name}' ({node.operator}), the first that differs:"
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{begin} '{name}' is {_type(ours)} in numpy and {_type(theirs)} in onnxruntime"
    place = np.unravel_index(int(_gaps(ours, theirs).argmax()), ours.shape)
    at = f"[{', '.join(map(str, place))}]" if place else ""
    return (
        f"{begin} '{name}'{at} is {ours[place]} in numpy and {theirs[place]} in onnxruntime, "
        f"which may be {tolerance.allowed(theirs):.3g} apart"
    )


def _type(array: Array) -> str:
    return f"{array.dtype} {format_shape(array.shape)}"
