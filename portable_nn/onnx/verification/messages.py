"""The node or the output at which two sides differ, in words."""

from __future__ import annotations

import numpy as np

from portable_nn.core.errors import VerificationError
from portable_nn.core.graph import Graph, format_shape
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import Difference, Pair, difference, gaps, same_type


def message_of(
    pair: Pair,
    graph: Graph,
    one: str = "numpy",
    other: str = "onnxruntime",
    first: str = "the first that differs",
) -> str:
    """The place where the two differ most, in words."""
    name, ours, theirs, allowed = pair
    node = next((node for node in graph.nodes if name in node.outputs), None)
    begin = f"{one} and {other} part at " + (f"node {node}" if node else f"'{name}'")
    begin += f", {first}:"
    if not same_type(ours, theirs):
        return f"{begin} '{name}' is {_type(ours)} in {one} and {_type(theirs)} in {other}"
    place = np.unravel_index(int(gaps(ours, theirs).argmax()), ours.shape)
    at = f"[{', '.join(map(str, place))}]" if place else ""
    return (
        f"{begin} '{name}'{at} is {ours[place]} in {one} and {theirs[place]} in {other}, "
        f"which may be {allowed:.3g} apart"
    )


def check_output(pair: Pair, one: str, other: str, where: str = "") -> Difference:
    """The difference of an output; ``one`` and ``other`` are the sides in messages, which begin with ``where``.

    Raises ``VerificationError`` where it is larger than allowed, or shapes or types differ.
    """
    name, ours, theirs, allowed = pair
    if not same_type(ours, theirs):
        raise VerificationError(f"{where}output '{name}' is {_type(ours)} in {one} and {_type(theirs)} in {other}")
    found = difference(ours, theirs)
    if not found.max_abs_error <= allowed:
        raise VerificationError(
            f"{where}output '{name}' differs by {found.max_abs_error:.3g} between {one} and {other}; {allowed:.3g} "
            "would be allowed"
        )
    return found


def _type(array: Array) -> str:
    return f"{array.dtype} {format_shape(array.shape)}"
