"""Gradient rules against central differences in float64, and against onnxruntime where it runs the gradient's graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from cases import CASES, Case
from standard_side import lowered, run_plan, run_runtime

from portable_nn.core.graph import Graph
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array
from portable_nn.operators.spatial import pool_windows

STEP = 1e-5
SMOOTH = {"Tanh", "Sigmoid", "Softplus", "Softmax", "LogSoftmax", "Mul", "Div", "Gemm", "MatMul", "Pow", "Exp", "Log"}
SMOOTH |= {"ReduceSumSquare", "ReduceLogSumExp", "ReduceMean", "Slice", "Pad", "Concat"}
SMOOTH |= {
    "Conv",
    "ConvTranspose",
    "ConvWeightGrad",
    "AveragePool",
    "LpPool",
    "PoolSpread",
    "GlobalAveragePool",
    "GlobalLpPool",
}
SMOOTH |= {"Erf", "Gelu", "Swish", "Mish", "Softsign", "Elu", "Selu", "HardSwish", "PRelu"}
SMOOTH |= {f"{of}Normalization" for of in ("Batch", "Layer", "RMS", "Group", "Instance", "Lp")} | {"LRN"}
SMOOTH |= {"Attention", "Einsum"}
DIFFERENTIABLE = [case for case in CASES if case.wrt and case.exists_in("float64")]


def seed_for(symbol: Symbol, name: str) -> Leaf:
    return Leaf(name, symbol.dtype, symbol.shape)


def trace_gradients(case: Case, dtype: str = "float64", batch: str | None = None) -> tuple[Graph, Graph]:
    """The graph of the node, and the graph from its inputs and a seed to what flows back to each of ``wrt``."""
    leaves, outputs = case.build(dtype, batch)
    seed = seed_for(outputs[0], "seed")
    wrt = [leaf for leaf in leaves if int(str(leaf.name)[1:]) in case.wrt]
    flowing = gradients(outputs[:1], [seed], wrt)
    found = [symbol for symbol in flowing if symbol is not None]
    assert len(found) == len(case.wrt), "a differentiable input got nothing"
    assert [symbol.type for symbol in found] == [leaf.type for leaf in wrt]
    return trace(leaves, outputs[:1]).graph, trace([*leaves, seed], found).graph


def seeded(graph: Graph, feeds: dict[str, Array]) -> dict[str, Array]:
    """``feeds`` and numbers for the seed."""
    [output] = run_plan(graph, feeds)
    return feeds | {"seed": np.random.default_rng(1).uniform(0.5, 1.5, output.shape).astype(output.dtype)}


def runner(graph: Graph, feeds: dict[str, Array]) -> Callable[[dict[str, Array]], Array]:
    """The first output of ``graph`` as a function of its inputs."""
    plan = Plan(graph, {name: array.shape for name, array in feeds.items()}, {})

    def run(arrays: dict[str, Array]) -> Array:
        for name, array in arrays.items():
            plan.inputs[name][...] = array
        plan.run()
        return plan.outputs[graph.outputs[0]]

    return run


def differences(graph: Graph, feeds: dict[str, Array], name: str, seed: Array) -> Array:
    """Central differences of Σ seed · output by the input ``name``."""
    run = runner(graph, feeds)
    result = np.zeros_like(feeds[name])
    for place in np.ndindex(feeds[name].shape):
        sides = []
        for step in (STEP, -STEP):
            moved = feeds[name].copy()
            moved[place] += step
            sides.append(float(np.sum(run(feeds | {name: moved}) * seed)))
        result[place] = (sides[0] - sides[1]) / (2 * STEP)
    return result


def assert_close(found: Sequence[Array], wanted: Sequence[Array], tolerance: float = 1e-6) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        assert np.all(np.abs(ours - theirs) <= tolerance * np.abs(theirs).max(initial=1))


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_gradient_equals_central_differences(case: Case) -> None:
    forward, backward = trace_gradients(case)
    feeds = case.feeds("float64")
    with_seed = seeded(forward, feeds)
    wanted = [differences(forward, feeds, f"x{index}", with_seed["seed"]) for index in case.wrt]
    assert_close(run_plan(backward, with_seed), wanted)


POOLED = [case for case in DIFFERENTIABLE if case.operator in ("AveragePool", "LpPool")]


@pytest.mark.parametrize("case", POOLED, ids=str)
def test_gradient_of_long_windows_equals_central_differences(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_windows, "LONG", 0)
    test_gradient_equals_central_differences(case)


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if case.batched], ids=str)
def test_gradient_of_an_unknown_batch(case: Case) -> None:
    forward, known = trace_gradients(case)
    _, unknown = trace_gradients(case, batch="batch")
    feeds = seeded(forward, case.feeds("float64"))
    assert_close(run_plan(unknown, feeds), run_plan(known, feeds), 1e-14)


# Those of the standard are rows of tests/converters/test_every_operator.py.
OWN = [case for case in DIFFERENTIABLE if case.domain]


@pytest.mark.long
@pytest.mark.parametrize("case", OWN, ids=str)
def test_gradient_runs_in_onnxruntime(case: Case) -> None:
    """The backward pass is a graph of standard operators, once the package's own are lowered."""
    forward, backward = trace_gradients(case, "float32")
    feeds = seeded(forward, case.feeds("float32"))
    assert_close(run_runtime(lowered(backward), feeds), run_plan(backward, feeds), 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if case.operator in SMOOTH], ids=str)
def test_second_derivative_equals_central_differences_of_the_first(case: Case) -> None:
    forward, _ = trace_gradients(case)
    leaves, outputs = case.build("float64")
    seed = seed_for(outputs[0], "seed")
    wrt = [leaf for leaf in leaves if int(str(leaf.name)[1:]) in case.wrt]
    first = gradients(outputs[:1], [seed], wrt)[0]
    assert first is not None
    again = seed_for(first, "again")
    second = [(leaf, symbol) for leaf, symbol in zip(wrt, gradients([first], [again], wrt), strict=True) if symbol]
    feeds = seeded(forward, case.feeds("float64"))
    weights = np.random.default_rng(2).uniform(0.5, 1.5, case.feeds("float64")[f"x{case.wrt[0]}"].shape)
    first_graph = trace([*leaves, seed], [first]).graph
    for leaf in wrt:
        wanted = differences(first_graph, feeds, str(leaf.name), weights)
        found = [symbol for other, symbol in second if other is leaf]
        if not found:
            assert not wanted.any()
            continue
        graph = trace([*leaves, seed, again], found).graph
        assert_close(run_plan(graph, feeds | {"again": weights}), [wanted])


def test_the_gradient_of_a_length_is_0_where_all_is_0() -> None:
    """As PyTorch has it: of the slopes that a length has there, the shortest."""
    x = Leaf("x", "float64", (2, 3))
    [slope] = gradients([emit("ReduceL2", x, integers([1]), keepdims=0)], [constant([2.0, 3.0], "float64")], [x])
    assert slope is not None
    [found] = run_plan(trace([x], [slope]).graph, {"x": np.array([[0.0, 0, 0], [3, 0, 4]])})
    np.testing.assert_allclose(found, [[0, 0, 0], [1.8, 0, 2.4]], rtol=1e-15)
