"""Batch normalization as part of a convolution: PyTorch's numbers, also after the weights are written to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portable_nn.core.graph import Graph
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit, trace
from portable_nn.operators.registry import Array
from portable_nn.operators.symbols import emit_all
from portable_nn.rewrites import INFERENCE, Program, rewritten

OF_CHANNELS = ("scale", "shift", "mean", "variance")


def graph_of(
    shape: tuple[int | str, ...],
    *,
    bias: bool,
    dtype: str = "float32",
    other: str = "float32",
    also: bool = False,
    **of: Any,
) -> Graph:
    """A convolution with ``of`` and its normalization; ``also`` gives out what is between them."""
    rank, group = len(shape) - 2, of.get("group", 1)
    w = Leaf("w", dtype, (6, 4 // group, *(3,) * rank), parameter=True)
    more = [Leaf("b", dtype, (6,), parameter=True)] if bias else []
    each = [Leaf(name, other, (6,), parameter=True) for name in OF_CHANNELS]
    x = Leaf("x", dtype, shape)
    conv = emit("Conv", x, w, *more, **of)
    y = emit("BatchNormalization", conv, *each, epsilon=0.01)
    return trace([x], [y, conv] if also else [y]).graph


def parameters(graph: Graph, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {each.name: rng.uniform(-1, 1, each.shape).astype(each.dtype) for each in graph.parameters} | {
        "variance": rng.uniform(0.1, 2, 6).astype("float32")
    }


def count(graph: Graph, operator: str = "BatchNormalization") -> int:
    return sum(node.operator == operator for node in graph.nodes)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("shape", "of"),
    [
        ((5, 4, 9, 8), {"pads": [1, 1, 1, 1]}),
        ((2, 4, 40), {"group": 2, "strides": [2]}),
        ((4, 4, 8, 7, 8), {"dilations": [1, 2, 1]}),
        ((70, 4, 6, 6), {"group": 1}),
    ],
)
def test_the_numbers_of_pytorch(shape: tuple[int, ...], of: dict[str, Any], bias: bool) -> None:
    torch = pytest.importorskip("torch")
    graph = graph_of(shape, bias=bias, **of)
    arrays = parameters(graph)
    plan = Plan(graph, {}, arrays, rewrites=INFERENCE)
    assert count(rewritten(Program(graph, arrays), INFERENCE).graph) == 0
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    plan.inputs["x"][...] = x
    conv = getattr(torch.nn.functional, f"conv{len(shape) - 2}d")
    for seed in (2, 3):  # The second weights are written into the same arrays.
        for name, array in parameters(graph, seed).items():
            arrays[name][...] = array
        p = {name: torch.from_numpy(array.astype(np.float64)) for name, array in arrays.items()}
        y = conv(
            torch.from_numpy(x.astype(np.float64)),
            p["w"],
            p.get("b"),
            stride=of.get("strides", 1),
            padding=of.get("pads", [0])[0],
            dilation=of.get("dilations", 1),
            groups=of.get("group", 1),
        )
        y = torch.nn.functional.batch_norm(y, p["mean"], p["variance"], p["scale"], p["shift"], eps=0.01)
        plan.run()
        [found] = plan.outputs.values()
        np.testing.assert_allclose(found, y.numpy(), rtol=1e-5, atol=1e-5 * float(y.abs().max()))


def test_where_it_is_left_as_it_is() -> None:
    kept = {
        "the batch is unknown": graph_of(("batch", 4, 9, 8), bias=True),
        "the weight is larger": graph_of((1, 4, 3, 3), bias=True),
        "the convolution is an output": graph_of((5, 4, 9, 8), bias=True, also=True),
        "the types differ": graph_of((5, 4, 9, 8), bias=True, other="float64"),
        "half precision": graph_of((5, 4, 9, 8), bias=False, dtype="float16", other="float16"),
    }
    for why, graph in kept.items():
        assert rewritten(Program(graph, {}), ["normalization"]).graph == graph, why
    training = trace([x := Leaf("x", "float32", (5, 4, 9, 8))], [_in_training(x)]).graph
    assert count(rewritten(Program(training, {}), ["normalization"]).graph) == 1


def _in_training(x: Leaf) -> Any:
    w = Leaf("w", "float32", (6, 4, 3, 3), parameter=True)
    each = [Leaf(name, "float32", (6,), parameter=True) for name in OF_CHANNELS]
    return emit_all("BatchNormalization", emit("Conv", x, w), *each, outputs=3, training_mode=1)[0]
