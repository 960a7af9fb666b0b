"""Comparison with values that another program recorded."""

from __future__ import annotations

from pathlib import Path

from portable_nn.core.errors import VerificationError
from portable_nn.core.graph import Graph
from portable_nn.core.tensors import NamedArrays
from portable_nn.engines.once import run_numpy
from portable_nn.engines.recording import Recorded, read_recorded
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.differences import Difference, Tolerance, difference
from portable_nn.onnx.verification.messages import message_of


def compare_recorded(
    io: str | Path | None, graph: Graph, parameters: NamedArrays, where: str, tolerance: Tolerance
) -> dict[str, Difference]:
    """The differences of numpy to what is recorded in the file ``io``; none without one.

    Raises as ``read_recorded`` and ``check_recorded`` do.
    """
    return check_recorded(graph, parameters, read_recorded(io, graph), where, tolerance=tolerance) if io else {}


def check_recorded(
    graph: Graph,
    parameters: NamedArrays,
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
            pair = tolerance.pair(name, values[name], expected)
            found = difference(pair.ours, pair.theirs)
            if not pair.admits(found):
                first = "the first that is recorded and differs"
                raise VerificationError(f"{where}: {message_of(pair, graph, side, str(recorded.path), first)}")
            worst[name] = worst[name].or_more(found)
    return worst
