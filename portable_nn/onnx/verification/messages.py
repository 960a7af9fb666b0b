"""The outputs of two sides on the same inputs, and the node or the output at which they differ, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from portable_nn.core.errors import VerificationError
from portable_nn.core.graph import Graph
from portable_nn.core.tensors import NamedArrays
from portable_nn.engines.batching import Run
from portable_nn.onnx.verification.differences import Difference, Pair, Tolerance, difference, gaps, largest, same_type


def message_of(
    pair: Pair,
    graph: Graph,
    one: str = "numpy",
    other: str = "onnxruntime",
    first: str = "the first that differs",
) -> str:
    """The place where the two differ most, in words."""
    node = next((node for node in graph.nodes if pair.name in node.outputs), None)
    begin = f"{one} and {other} part at " + (f"node {node}" if node else f"'{pair.name}'") + f", {first}:"
    if not same_type(pair.ours, pair.theirs):
        return f"{begin} {pair.said(one, other)}"
    place = int(gaps(pair.ours, pair.theirs).argmax())
    return f"{begin} {pair.said(one, other, place)}, which may be {pair.allowed:.3g} apart"


def compare_runs(
    rounds: Iterable[NamedArrays], ours: Run, theirs: Run, one: str, other: str, tolerance: Tolerance, where: str = ""
) -> dict[str, Difference]:
    """The largest differences of the outputs of two sides on the same inputs. Raises as ``check_outputs`` does."""
    return largest(check_outputs(ours(feeds), theirs(feeds), one, other, tolerance, where) for feeds in rounds)


def check_outputs(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], one: str, other: str, tolerance: Tolerance, where: str = ""
) -> dict[str, Difference]:
    """The differences of outputs; ``one`` and ``other`` are the sides in messages, which begin with ``where``.

    Raises ``VerificationError`` where one is larger than allowed, or shapes or types differ.
    """
    found = dict[str, Difference]()
    for name, array in ours.items():
        pair = tolerance.pair(name, array, np.asarray(theirs[name]))
        found[name] = difference(pair.ours, pair.theirs)
        if not same_type(pair.ours, pair.theirs):
            raise VerificationError(f"{where}output {pair.said(one, other)}")
        if not pair.admits(found[name]):
            raise VerificationError(
                f"{where}output '{name}' differs by {found[name].max_abs_error:.3g} between {one} and {other}; "
                f"{pair.allowed:.3g} would be allowed"
            )
    return found
