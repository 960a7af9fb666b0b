"""Graphs that ask for more time than their examples and multiply-adds allow are refused before they run."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Tensor, Value
from portable_nn.core.limits import MULTIPLE, SECONDS, SPEED, time_limit
from portable_nn.engines.claims import check_claims
from portable_nn.engines.plan import Plan
from portable_nn.operators import infer
from portable_nn.operators.costs import elements_visited, multiply_adds


def made(name: str, shape: tuple[int, ...]) -> list[Node]:
    """Zeros, of any size, which take a few bytes in a file."""
    sizes = Node(f"{name} sizes", "Constant", (), (f"{name} sizes",), {"value": Tensor("int64", (len(shape),), shape)})
    return [sizes, Node(name, "ConstantOfShape", (f"{name} sizes",), (name,), {})]


def graph(node: Node, **shapes: tuple[int, ...]) -> Graph:
    nodes = [each for name, shape in shapes.items() for each in made(name, shape)]
    return Graph((), (next(filter(None, node.outputs)),), (), (*nodes, node))


def node(operator: str, inputs: tuple[str, ...], outputs: tuple[str, ...] = ("y",), **attributes: object) -> Node:
    return Node("culprit", operator, inputs, outputs, attributes)


SLOW = {
    "window": graph(node("MaxPool", ("x",), kernel_shape=(5 * 10**6,)), x=(1, 1, 10**7)),
    "padded window": graph(node("AveragePool", ("x",), kernel_shape=(10**8,), pads=(10**8 - 1,) * 2), x=(1, 1, 1)),
    "norm": graph(node("LpPool", ("x",), kernel_shape=(5 * 10**6,)), x=(1, 1, 10**7)),
    "places of maxima": graph(
        node("MaxPool", ("x",), ("y", "places"), kernel_shape=(2000, 2000)), x=(1, 1, 3000, 3000)
    ),
    "channels": graph(node("LRN", ("x",), size=10**7 - 1), x=(1, 10**7, 1, 1)),
    "more channels than there are": graph(node("LRN", ("x",), size=2**40), x=(4, 4, 2, 3)),
    "steps": graph(node("LSTM", ("x", "w", "r"), ("", "h"), hidden_size=1), x=(10**7, 1, 1), w=(1, 4, 1), r=(1, 4, 1)),
    "points": graph(
        node("RoiAlign", ("x", "rois", "of"), output_height=30, output_width=30, sampling_ratio=10**5),
        x=(1, 1, 10, 10),
        rois=(1, 4),
        of=(1,),
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_takes_too_long_is_refused(name: str) -> None:
    limit = r"at most [\d.]+ s of processor time \(60 s for an example.*\), unless --timeout or PORTABLE_NN_TIME"
    types = infer(SLOW[name]).types if name != "points" else _with_whole_numbers(SLOW[name])
    with pytest.raises(GraphError, match=rf"'culprit' \(\w+\): goes through [\d,]+ elements, which .* s; {limit}"):
        check_claims(SLOW[name], types)


def _with_whole_numbers(slow: Graph) -> dict:
    """The types where the batch indices are whole numbers, as they must be."""
    nodes = list(slow.nodes)
    place = next(place for place, each in enumerate(nodes) if each.name == "of")
    nodes[place] = Node("of", "ConstantOfShape", ("of sizes",), ("of",), {"value": Tensor("int64", (1,), (0,))})
    return dict(infer(Graph((), slow.outputs, (), tuple(nodes))).types)


EMPTY = {
    "MatMul": graph(node("MatMul", ("x", "w")), x=(2**40, 0, 0), w=(2**40, 0, 0)),
    "Einsum": graph(node("Einsum", ("x", "w"), equation="bij,bjk->bik"), x=(2**40, 0, 0), w=(2**40, 0, 0)),
    "GRU": graph(node("GRU", ("x", "w", "r"), hidden_size=1), x=(2**40, 0, 1), w=(1, 3, 1), r=(1, 3, 1)),
    "InstanceNormalization": graph(node("InstanceNormalization", ("x", "w", "w")), x=(2**30, 0, 5), w=(0,)),
}
"""Arrays without an element, of which kernels make loops all the same."""


@pytest.mark.parametrize("name", EMPTY)
def test_sizes_beside_one_of_0_are_claims(name: str) -> None:
    with pytest.raises(GraphError, match=r"of memory, with 0 B stored; at most 1\.1 GB unless PORTABLE_NN_MEMORY="):
        check_claims(EMPTY[name])


def test_the_limit_follows_the_examples_the_multiply_adds_and_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert time_limit(0) == SECONDS == 60
    assert time_limit(0, 256) == 256 * 60
    assert time_limit(10**12, 2) == 120 + MULTIPLE * 10**12 / SPEED == 120 + 20 * 1000
    monkeypatch.setenv("PORTABLE_NN_TIME", "1e5")
    assert time_limit(10**12, 2) == 1e5
    check_claims(SLOW["window"])
    for text in ("0", "-1", "nan", "soon"):
        monkeypatch.setenv("PORTABLE_NN_TIME", text)
        with pytest.raises(pnn.PortableNNError, match="PORTABLE_NN_TIME must be a number of seconds above 0, not"):
            time_limit(0)


def test_a_batch_may_take_as_long_as_its_examples() -> None:
    pool = Node("pool", "MaxPool", ("x",), ("y",), {"kernel_shape": (4000,)})
    of = Graph((Value("x", "float32", ("n", 1, 10**7)),), ("y",), (), (pool,))
    for count in (1, 2, 50):
        check_claims(of, infer(of, {"x": (count, 1, 10**7)}).types, stored=2**30)  # 40 s each
    fixed = Graph((Value("x", "float32", (2, 1, 10**7)),), ("y",), (), (pool,))
    with pytest.raises(GraphError, match="'pool'"):
        check_claims(fixed, stored=2**30)


def test_costs_are_those_of_the_textbook() -> None:
    types = infer(of := graph(node("MaxPool", ("x",), kernel_shape=(3, 5)), x=(2, 4, 10, 12))).types
    # Along one axis after the other: 3 cells at each of 8 · 12 places, and 5 at each of 8 · 8; and both arrays.
    assert elements_visited(of.nodes[-1], types) == 8 * (3 * 8 * 12 + 5 * 8 * 8) + 8 * 10 * 12 + 8 * 8 * 8
    types = infer(of := graph(node("MatMul", ("x", "w")), x=(7, 10), w=(10, 3))).types
    assert multiply_adds(of.nodes[-1], types) == 7 * 10 * 3
    assert elements_visited(of.nodes[-1], types) == 7 * 10 + 10 * 3 + 7 * 3


def test_one_window_over_a_long_recording_is_computed_at_once() -> None:
    """A million cells, and one step."""
    x = np.random.default_rng(0).normal(size=(1, 1, 10**6)).astype(np.float32)
    network = pnn.Sequential(pnn.Input(1, 10**6), pnn.AvgPool1d(10**6), seed=0)
    np.testing.assert_allclose(network.predict(x)[0, 0, 0], x.mean(dtype=np.float64), atol=1e-6)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("corner", [1e9, 3e38, np.inf, np.nan])
def test_a_region_decides_how_many_points_it_has(mode: str, corner: float) -> None:
    align = node("RoiAlign", ("x", "rois", "of"), mode=mode, output_height=2, output_width=2)
    values = (Value("x", "float32", (1, 1, 4, 4)), Value("rois", "float32", (1, 4)), Value("of", "int64", (1,)))
    plan = Plan(Graph(values, ("y",), (), (align,)), {}, {})
    plan.inputs["rois"][...] = [0, 0, corner, corner]
    said = "takes .* of memory" if np.isfinite(corner) else "is not finite"
    with pytest.raises(GraphError, match=rf"'culprit' \(RoiAlign\): region 0 {said}"):
        plan.run()
