"""Comparison with values that another program recorded."""

from __future__ import annotations

from collections.abc import Mapping

from portable_nn.core.errors import VerificationError
from portable_nn.core.graph import Graph
from portable_nn.core.tensors import Array
from portable_nn.engines.once import run_numpy
from portable_nn.engines.recording import Recorded
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.differences import Difference, Pair, Tolerance, difference, largest_gap, same_type
from portable_nn.onnx.verification.messages import message_of


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
            pair = Pair(name, values[name], expected, tolerance.allowed(expected))
            if not (same_type(pair.ours, pair.theirs) and largest_gap(pair.ours, pair.theirs) <= pair.allowed):
                first = "the first that is recorded and differs"
                raise VerificationError(f"{where}: {message_of(pair, graph, side, str(recorded.path), first)}")
            worst[name] = worst[name].or_more(difference(pair.ours, pair.theirs))
    return worst
