"""Pools go before activations and biases: to the same bits, and only where nobody can tell."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.core.graph import Graph
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, trace
from portable_nn.operators.registry import Array
from portable_nn.rewrites import Program
from portable_nn.rewrites.pooling import max_pool_first

HALF = {"kernel_shape": [2, 2], "strides": [2, 2]}


def pool_first(graph: Graph, keep: Collection[str]) -> Graph:
    return replace(max_pool_first(Program(replace(graph, outputs=tuple(keep)), {})).graph, outputs=graph.outputs)


def leaves() -> tuple[Leaf, Leaf, Leaf]:
    x = Leaf("x", "float32", (3, 2, 8, 8))
    return x, Leaf("w", "float32", (4, 2, 3, 3), parameter=True), Leaf("b", "float32", (4,), parameter=True)


def operators(graph: Graph) -> list[str]:
    return [node.operator for node in graph.nodes if node.operator not in {"Constant", "Reshape"}]


def parameters(graph: Graph) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {value.name: rng.normal(size=value.shape).astype("float32") for value in graph.parameters}


def results(graph: Graph, outputs: list[str]) -> list[Array]:
    plan = Plan(graph, {}, parameters(graph), outputs=outputs)
    plan.inputs["x"][...] = np.random.default_rng(1).normal(size=(3, 2, 8, 8))
    plan.run()
    return [plan.outputs[name].copy() for name in outputs]


ACTIVATIONS = {
    "Relu": lambda x: emit("Relu", x),
    "LeakyRelu": lambda x: emit("LeakyRelu", x, alpha=0.1),
    "Clip": lambda x: emit("Clip", x, constant(-0.5, "float32"), constant(1.5, "float32")),
    "none": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_order_changes_and_no_bit(name: str) -> None:
    """The expected numbers come from the same nodes with a second reader of each value, which keeps them in place."""
    x, w, b = leaves()
    conv = emit("Conv", x, w, b, pads=[1, 1, 1, 1])
    active = ACTIVATIONS[name](conv)
    pool = emit("MaxPool", active, **HALF)
    graph = trace([x], [emit("Neg", pool)]).graph
    moved = pool_first(graph, graph.outputs)
    expected = ["Conv", "MaxPool", "Add", *([name] if name != "none" else []), "Neg"]
    assert operators(moved) == expected
    kept = trace([x], [emit("Neg", pool), conv, active]).graph
    assert pool_first(kept, kept.outputs) == kept
    np.testing.assert_array_equal(results(graph, [graph.outputs[0]]), results(kept, [kept.outputs[0]]))


def _untouched() -> dict[str, tuple[list[Leaf], list[Symbol]]]:
    x, w, b = leaves()
    conv = emit("Conv", x, w, b)
    return {
        "a second reader": ([x], [emit("MaxPool", r := emit("Relu", emit("Conv", x, w)), **HALF), emit("Neg", r)]),
        "a stride of 1": ([x], [emit("MaxPool", emit("Relu", conv), kernel_shape=[2, 2])]),
        "not monotone": ([x], [emit("MaxPool", emit("LeakyRelu", emit("Conv", x, w), alpha=-0.5), **HALF)]),
        "another activation": ([x], [emit("MaxPool", emit("Sin", emit("Conv", x, w)), **HALF)]),
        "another pool": ([x], [emit("AveragePool", emit("Relu", conv), **HALF)]),
        "an input": ([x], [emit("MaxPool", x, **HALF)]),
    }


@pytest.mark.parametrize("why", _untouched())
def test_it_stays_as_it_is(why: str) -> None:
    inputs, outputs = _untouched()[why]
    graph = trace(inputs, outputs).graph
    assert pool_first(graph, graph.outputs) == graph


def test_a_value_that_somebody_asks_for_is_kept() -> None:
    x, w, b = leaves()
    conv = emit("Conv", x, w, b, name="conv")
    relu = emit("Relu", conv, name="relu")
    graph = trace([x], [emit("MaxPool", relu, **HALF, name="pool")]).graph
    moved = pool_first(graph, ["pool", "relu"])
    assert moved == graph
    assert operators(pool_first(graph, ["pool", "conv"])) == ["Conv", "MaxPool", "Relu"]


def gradient_step(middle: list[Any]) -> dict[str, Array]:
    network = pnn.Sequential(
        pnn.Input(1, 6, 6, dtype="float64"), pnn.Conv2d(2, 3), *middle, pnn.Flatten(), pnn.Dense(3), seed=0
    )
    rng = np.random.default_rng(4)
    network.fit(
        rng.normal(size=(5, 1, 6, 6)),
        rng.integers(0, 3, 5),
        loss="cross_entropy",
        optimizer=pnn.SGD(0.5),
        epochs=1,
        batch_size=5,
        shuffle=False,
    )
    return dict(network.parameters)


def test_training_is_the_same_in_either_order() -> None:
    one = gradient_step([pnn.ReLU(), pnn.MaxPool2d(2)])
    two = gradient_step([pnn.MaxPool2d(2), pnn.ReLU()])
    for name, array in one.items():
        np.testing.assert_allclose(array, two[name], rtol=1e-12)
