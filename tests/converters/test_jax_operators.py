"""Every case of every operator in JAX: outputs and gradients against the numpy engine, in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case

import portable_nn as pnn
from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import FLOATS, REGISTRY, Leaf, constant, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

jax: Any = pytest.importorskip("jax")

from portable_nn.converters.jax import to_jax  # noqa: E402
from portable_nn.converters.jax.operators import ROWS  # noqa: E402

DATA_DEPENDENT = {"Compress", "NonZero"}
STANDARD = [
    case
    for case in CASES
    if not case.domain and case.operator not in {"Dropout", *DATA_DEPENDENT} and case.exists_in("float64")
]
FIRST = {case.operator: case for case in reversed(STANDARD)}
PARAMETERS = [
    # JAX compiles each case, which takes a second.
    pytest.param(case, id=str(case), marks=pytest.mark.long if FIRST[case.operator] is case else pytest.mark.sweep)
    for case in STANDARD
]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def here(graph: Any, feeds: dict[str, Array]) -> dict[str, Array]:
    plan = Plan(graph, {value.name: feeds[value.name].shape for value in graph.inputs}, {})
    for value in graph.inputs:
        plan.inputs[value.name][...] = feeds[value.name]
    plan.run()
    return dict(plan.outputs)


@pytest.mark.parametrize("case", PARAMETERS)
def test_an_operator_computes_in_jax_what_it_computes_here(case: Case) -> None:
    leaves, outputs = case.build("float64")
    feeds = case.feeds("float64")
    net = pnn.Network.from_graph(trace(leaves, outputs).graph, {})
    names = list(net.graph.outputs)
    wanted = here(net.graph, feeds)
    flow, name = next(((each, name) for each, name in zip(outputs, names, strict=True) if each.dtype in FLOATS), (0, 0))
    wrt = [leaf for leaf in leaves if leaf.name in {f"x{index}" for index in case.wrt}] if flow else []
    _, apply, *_ = to_jax(net, verify=False)
    slope = np.random.default_rng(0).standard_normal(wanted[name].shape) if wrt else None

    def total(chosen: dict[str, Any]) -> Any:
        made = apply({"params": {}}, *(chosen.get(leaf.name, feeds[leaf.name]) for leaf in leaves))
        made = made if isinstance(made, dict) else {names[0]: made}
        return (made[name] * slope).sum() if wrt else 0.0, made

    chosen = {leaf.name: feeds[leaf.name] for leaf in wrt}
    if case.operator == "RoiAlign" and (case.attributes.get("mode") == "max" or not case.attributes["sampling_ratio"]):
        with pytest.raises(GraphError, match="in older operators"):
            apply({"params": {}}, *feeds.values())
        return
    (_, found), backs = jax.jit(jax.value_and_grad(total, has_aux=True))(chosen)
    for each, array in wanted.items():
        assert found[each].dtype == array.dtype
        tolerance = 1e-6 if array.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(found[each], array, rtol=tolerance, atol=tolerance)
    if wrt:
        assert slope is not None
        given = gradients([flow], [constant(slope, "float64")], wrt)
        pairs = [(leaf, back) for leaf, back in zip(wrt, given, strict=True) if back is not None]
        graph = trace([leaf for leaf in leaves if isinstance(leaf, Leaf)], [back for _, back in pairs]).graph
        found = here(graph, feeds)
        for (leaf, _), back in zip(pairs, graph.outputs, strict=True):
            np.testing.assert_allclose(backs[leaf.name], found[back], rtol=1e-9, atol=1e-9)


def test_every_operator_has_a_row_or_a_lowering_or_is_refused() -> None:
    for (domain, name), operator in REGISTRY.items():
        if not domain:
            there = (name in ROWS and ROWS[name].compute is not None) or operator.lowering is not None
            assert there == (name != "NonZero"), name
    assert ROWS.keys() <= {name for domain, name in REGISTRY if not domain}
