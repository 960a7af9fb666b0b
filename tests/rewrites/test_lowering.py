"""Lowering: nodes that a target does not have become nodes that it has and compute the same, or are refused."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import RefusalError
from portable_nn.engines.once import run_numpy
from portable_nn.operators import emit, trace
from portable_nn.rewrites.lowering import lowered

HAS = {"Add", "Mul", "Sub", "Div", "Erf", "Tanh", "Exp", "Log", "Sqrt", "Pow", "Cast", "Constant", "Identity"}


def graph_of(operator: str, **options: object):
    x = pnn.Input(3, name="x")
    return trace([x], [emit(operator, x, name="node", **options)]).graph


def lacking(has):
    return lambda node, _: None if node.operator in has else f"there is no {node.operator}"


@pytest.mark.parametrize(("operator", "options"), [("Gelu", {}), ("Gelu", {"approximate": "tanh"})])
def test_a_node_becomes_others_that_compute_the_same(operator: str, options: dict[str, object]) -> None:
    graph = graph_of(operator, **options)
    found = lowered(graph, lacking(HAS))
    assert {node.operator for node in found.nodes} <= HAS
    assert all(node.name == "node" or node.name.startswith("node.") for node in found.nodes)
    feeds = {"x": np.linspace(-3, 3, 12, dtype=np.float32).reshape(4, 3)}
    [ours], [theirs] = (run_numpy(each, {}, feeds).values() for each in (graph, found))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_refusal_names_the_node_and_the_one_in_its_place_that_is_missing_too() -> None:
    expected = r"^'node' \(Gelu\): there is no Gelu; and in other operators, 'node\.\w+' \(Erf\): there is no Erf$"
    with pytest.raises(RefusalError, match=expected) as found:
        lowered(graph_of("Gelu"), lacking(HAS - {"Erf"}))
    assert len(found.value.faults) == 1


def test_an_operator_is_never_made_of_itself() -> None:
    """In portable files a ReduceMax of uint8 is one of another type."""
    x = pnn.Input(3, name="x", dtype="uint8")
    graph = trace([x], [emit("ReduceMax", x, name="first")]).graph
    with pytest.raises(RefusalError, match=r"^'first' \(ReduceMax\): there is no ReduceMax"):
        lowered(graph, lacking({"Cast"}))
