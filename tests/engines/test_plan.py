"""The plan reuses memory and writes in place, and nobody can tell from the numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import INTERNAL, Graph, Node, Tensor, Value
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, infer, integers, trace
from portable_nn.operators.registry import Array


def run(plan: Plan, feeds: Mapping[str, Array]) -> dict[str, Array]:
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return {name: array.copy() for name, array in plan.outputs.items()}


def parameter(name: str, *shape: int) -> Leaf:
    return Leaf(name, "float64", shape, parameter=True)


def test_memory_is_reused() -> None:
    x = Leaf("x", "float64", (100, 50))
    w = parameter("w", 50, 50)
    h: Symbol = x
    for _ in range(20):
        h = emit("Tanh", emit("Gemm", h, w))
    graph = trace([x], [h]).graph
    array, weight = np.full((100, 50), 0.01), np.eye(50)
    plan = Plan(graph, {}, {"w": weight})
    everything = sum(8 * int(np.prod(type.shape)) for type in infer(graph).types.values())
    assert plan.bytes == 3 * array.nbytes, "the input, and two in turn"
    assert plan.bytes < everything / 10
    wanted = array
    for _ in range(20):
        wanted = np.tanh(wanted @ weight)
    np.testing.assert_allclose(run(plan, {"x": array})["tanh_20"], wanted)


def test_views_take_no_memory_and_show_their_input() -> None:
    x = Leaf("x", "float64", (4, 6))
    views = [
        emit("Reshape", x, integers([3, 8])),
        emit("Transpose", x),
        emit("Slice", x, integers([-1]), integers([-10]), integers([1]), integers([-2])),
        emit("Unsqueeze", emit("Flatten", x, axis=0), integers([0])),
        emit("Expand", emit("Slice", x, integers([0]), integers([1])), integers([5, 6])),
        emit("Reshape", emit("Identity", x), integers([-1])),
    ]
    plan = Plan(trace([x], views).graph, {}, {})
    array = np.arange(24.0).reshape(4, 6)
    found = list(run(plan, {"x": array}).values())
    flat = array.ravel()
    wanted = [array.reshape(3, 8), array.T, array[:, ::-2], array.reshape(1, 1, 24), array[:1].repeat(5, 0), flat]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert plan.bytes == array.nbytes
    assert all(np.may_share_memory(output, plan.inputs["x"]) for output in plan.outputs.values())


def test_a_stretched_view_is_not_written_over() -> None:
    x = Leaf("x", "float64", (1, 3))
    stretched = emit("Expand", emit("Tanh", x), integers([2, 3]))
    plan = Plan(trace([x], [emit("Sigmoid", stretched * 2)]).graph, {}, {})
    [found] = run(plan, {"x": np.ones((1, 3))}).values()
    np.testing.assert_allclose(found, np.full((2, 3), 1 / (1 + np.exp(-2 * np.tanh(1)))))


def test_memory_is_aligned() -> None:
    x = Leaf("x", "float32", (3,))
    plan = Plan(trace([x], [x * 2, x + 1]).graph, {}, {})
    assert all(array.ctypes.data % 64 == 0 for array in [*plan.inputs.values(), *plan.outputs.values()])


def test_what_follows_from_constants_is_computed_once() -> None:
    x = Leaf("x", "float64", (2, 3))
    table = constant([[1.0, 2, 3]], "float64")
    scaled = emit("Softmax", emit("Tanh", table * 2))
    plan = Plan(trace([x], [x + scaled, emit("Shape", x)]).graph, {}, {})
    assert len(plan._run) == 1
    exponentials = np.exp(np.tanh([[2.0, 4, 6]]))
    found = run(plan, {"x": np.zeros((2, 3))})
    np.testing.assert_allclose(found["add_1"], np.repeat(exponentials / exponentials.sum(), 2, 0))
    np.testing.assert_array_equal(found["shape_1"], [2, 3])


def test_only_what_the_outputs_need_is_run() -> None:
    x, w = Leaf("x", "float64", (3,)), parameter("w", 3)
    graph = trace([x], [emit("Exp", x, name="a"), emit("Tanh", w, name="b")]).graph
    plan = Plan(graph, {}, {"w": np.zeros(3)}, outputs=["b"])
    assert list(plan.outputs) == ["b"]
    assert len(plan._run) == 1


def test_runs_are_repeatable() -> None:
    x = Leaf("x", "float64", (4, 3))
    h = emit("Softmax", emit("Sigmoid", x * 2) + x, axis=0)
    plan = Plan(trace([x], [h, emit("ReduceSum", h, integers([1]))]).graph, {}, {})
    feeds = {"x": np.random.default_rng(0).normal(size=(4, 3))}
    first = run(plan, feeds)
    np.testing.assert_array_equal(plan.inputs["x"], feeds["x"])
    second = run(plan, {})
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_outputs_stay_the_same_arrays() -> None:
    x = Leaf("x", "float64", (4,))
    plan = Plan(trace([x], [emit("Tanh", x)]).graph, {}, {})
    [before] = plan.outputs.values()
    run(plan, {"x": np.ones(4)})
    [after] = plan.outputs.values()
    assert after is before
    assert before[0] == np.tanh(1)


def test_optional_outputs_that_nobody_takes() -> None:
    nodes = (
        Node("training", "Constant", (), ("yes",), {"value": Tensor("bool", (), (1,))}),
        Node("loss", "SoftmaxCrossEntropyLoss", ("x", "labels"), ("", "log_prob")),
        Node("not_needed", "Dropout", ("x",), ("nobody", "")),
        Node("drop", "Dropout", ("x", "", "yes"), ("dropped", "")),
    )
    inputs = (Value("x", "float64", (2, 3)), Value("labels", "int64", (2,)))
    plan = Plan(Graph(inputs, ("log_prob", "dropped"), (), nodes), {}, {})
    assert "nobody" not in plan._arrays
    x = np.arange(6.0).reshape(2, 3)
    found = run(plan, {"x": x, "labels": np.array([0, 1])})
    np.testing.assert_allclose(np.exp(found["log_prob"]).sum(1), [1, 1])
    assert set(np.unique(found["dropped"] / np.where(x, x, 1))) <= {0.0, 2.0}


# Updates


def test_updates_come_after_all_reads() -> None:
    """The new value is computed early, in the parameter's own memory if that were free, and the old one read late."""
    x, w = Leaf("x", "float64", (3,)), parameter("w", 3)
    new = w - x
    late = emit("Tanh", w) + new
    traced = trace([x], [new, late])
    weights = {"w": np.ones(3)}
    plan = Plan(traced.graph, {}, weights, outputs=[traced.names[late]], updates={"w": traced.names[new]})
    array = np.array([0.5, 1, 2])
    found = run(plan, {"x": array})[traced.names[late]]
    np.testing.assert_allclose(found, np.tanh(1) + 1 - array)
    np.testing.assert_allclose(weights["w"], 1 - array)
    found = run(plan, {"x": array})[traced.names[late]]
    np.testing.assert_allclose(found, np.tanh(1 - array) + 1 - 2 * array)
    np.testing.assert_allclose(weights["w"], 1 - 2 * array)


def test_an_update_is_written_in_place_where_it_can_be() -> None:
    x, w = Leaf("x", "float64", (3,)), parameter("w", 3)
    traced = trace([x], [w - x])
    plan = Plan(traced.graph, {}, {"w": np.ones(3)}, outputs=[], updates={"w": "sub_1"})
    assert len(plan._run) == 1
    assert plan.bytes == 24


def test_a_parameter_that_is_not_updated_is_never_written() -> None:
    w = parameter("w", 3)
    traced = trace([], [emit("Tanh", w), emit("Sigmoid", emit("Reshape", w, integers([3, 1])))])
    weights = {"w": np.array([1.0, 2, 3])}
    weights["w"].flags.writeable = False
    found = run(Plan(traced.graph, {}, weights), {})
    np.testing.assert_allclose(found["tanh_1"], np.tanh([1, 2, 3]))


def test_a_view_of_a_parameter_follows_it() -> None:
    """What is computed from it is no constant; the memory is not written over while the view is read."""
    x, w = Leaf("x", "float64", (2, 3)), parameter("w", 3, 2)
    turned = emit("Transpose", w)
    flat = emit("Reshape", w, integers([6]))
    new = w - emit("Transpose", x)
    traced = trace([x], [new, turned * 2, emit("Tanh", flat), turned])
    weights = {"w": np.zeros((3, 2))}
    outputs = [name for name in traced.graph.outputs if name != traced.names[new]]
    plan = Plan(traced.graph, {}, weights, outputs=outputs, updates={"w": traced.names[new]})
    for step in range(3):
        doubled, tangents, old = run(plan, {"x": np.ones((2, 3))}).values()
        np.testing.assert_array_equal(doubled, np.full((2, 3), -2.0 * step))
        np.testing.assert_allclose(tangents, np.full(6, np.tanh(-step)))
        np.testing.assert_array_equal(old, np.full((2, 3), -float(step)))
        np.testing.assert_array_equal(weights["w"], np.full((3, 2), -1.0 - step))


def test_two_parameters_may_change_places() -> None:
    a, b = parameter("a", 2), parameter("b", 2)
    traced = trace([], [emit("Identity", b), emit("Identity", a)])
    weights = {"a": np.array([1.0, 2]), "b": np.array([3.0, 4])}
    plan = Plan(traced.graph, {}, weights, outputs=["a"], updates={"a": "identity_1", "b": "identity_2"})
    assert run(plan, {})["a"].tolist() == [1, 2]
    assert (weights["a"].tolist(), weights["b"].tolist()) == ([3, 4], [1, 2])


def test_an_optimizer_leaves_a_weight_alone_that_is_read_later() -> None:
    w, g, v = parameter("w", 3), Leaf("g", "float64", (3,)), parameter("v", 3)
    new = emit_all("Momentum", w, g, v, constant(1.0, "float64"), outputs=2, domain=INTERNAL)
    late = emit("Tanh", w) + emit("Tanh", emit("Reshape", v, integers([3])))
    traced = trace([g], [*new, late])
    weights = {"w": np.ones(3), "v": np.zeros(3)}
    updates = {"w": traced.names[new[0]], "v": traced.names[new[1]]}
    plan = Plan(traced.graph, {}, weights, outputs=[traced.names[late]], updates=updates)
    [found] = run(plan, {"g": np.ones(3)}).values()
    np.testing.assert_allclose(found, np.tanh([1, 1, 1]))
    np.testing.assert_allclose(weights["w"], [0, 0, 0])
    np.testing.assert_allclose(weights["v"], [1, 1, 1])


def test_an_optimizer_without_updates_changes_no_parameter() -> None:
    w, g = parameter("w", 3), Leaf("g", "float64", (3,))
    new = emit_all("Momentum", w, g, emit("Tanh", w), constant(1.0, "float64"), outputs=2, domain=INTERNAL)
    weights = {"w": np.ones(3)}
    found = run(Plan(trace([g], new).graph, {}, weights), {"g": np.ones(3)})
    np.testing.assert_allclose(found["momentum_1"], -0.9 * np.tanh([1, 1, 1]))
    np.testing.assert_array_equal(weights["w"], [1, 1, 1])


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_weight_may_be_its_own_gradient_and_lie_in_any_order(order: Any) -> None:
    leaves = [parameter(name, 2, 3) for name in "wms"]
    scalars = [constant(value, "float64") for value in (0.1, 1e-8, 0.5)]
    new = emit_all("Adam", leaves[0], *leaves, *scalars, outputs=3, domain=INTERNAL)
    traced = trace([], new)
    values = np.arange(1.0, 7).reshape(2, 3)
    weights = {"w": values.copy(order), "m": np.zeros((2, 3), order=order), "s": np.zeros((2, 3), order=order)}
    updates = {name: traced.names[symbol] for name, symbol in zip("wms", new, strict=True)}
    run(Plan(traced.graph, {}, weights, outputs=[], updates=updates), {})
    np.testing.assert_allclose(weights["m"], values, rtol=1e-6)
    np.testing.assert_allclose(weights["s"], values**2, rtol=1e-6)
    np.testing.assert_allclose(weights["w"], 0.5 * values - 0.1, rtol=1e-6)


# Shapes


def dense() -> Graph:
    x = Leaf("x", "float32", ("batch", 4))
    w, b = Leaf("w", "float32", (3, 4), parameter=True), Leaf("b", "float32", (3,), parameter=True)
    return trace([x], [emit("Gemm", x, w, b, transB=1, name="hidden")]).graph


def test_a_batch_of_any_size() -> None:
    weights = {"w": np.ones((3, 4), np.float32), "b": np.zeros(3, np.float32)}
    for size in (0, 1, 7):
        plan = Plan(dense(), {"x": (size, 4)}, weights)
        assert run(plan, {"x": np.ones((size, 4))})["hidden"].tolist() == [[4.0] * 3] * size


def test_shapes_that_do_not_fit_name_the_node_and_both_shapes() -> None:
    message = "'hidden' (Gemm): it multiplies rows of 5 (A is (7, 5)) by columns of 4 (B is (3, 4), transposed)"
    with pytest.raises(GraphError, match="^" + re.escape(message) + "$"):
        Plan(dense(), {"x": (7, 5)}, {})


def test_a_batch_that_nobody_gave() -> None:
    weights = {"w": np.ones((3, 4), np.float32), "b": np.zeros(3, np.float32)}
    with pytest.raises(GraphError, match=r"^the shape \(batch, 4\) of 'x' does not follow from the inputs' shapes$"):
        Plan(dense(), {}, weights)


# Random graphs against an evaluator that allocates everything and overwrites nothing


UNARY: dict[str, Callable[[Array], Array]] = {
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "LeakyRelu": lambda x: np.where(x > 0, x, 0.01 * x),
    "Softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "Identity": lambda x: x,
    "Transpose": lambda x: x.T,
}
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Max": np.maximum,
    "MatMul": lambda a, b: a @ b / 3,
}


class Naive(NamedTuple):
    """A symbol, and the array that it is in plain numpy."""

    symbol: Symbol
    array: Array


@st.composite
def one_more(draw: st.DrawFn, known: Sequence[Naive]) -> Naive:
    """A node over what is ``known``; all arrays are 3 x 3, or parts that are brought back to that."""
    (x, a), (y, b) = draw(st.sampled_from(known)), draw(st.sampled_from(known))
    kind = draw(st.sampled_from(["unary", "unary", "binary", "binary", "Reshape", "Reverse", "Row", "Concat", "Sums"]))
    if kind == "unary":
        name = draw(st.sampled_from(sorted(UNARY)))
        return Naive(emit(name, x), UNARY[name](a))
    if kind == "binary":
        name = draw(st.sampled_from(sorted(BINARY)))
        return Naive(emit(name, x, y) / 3 if name == "MatMul" else emit(name, x, y), BINARY[name](a, b))
    if kind == "Reshape":
        flat = emit("Tanh", emit("Reshape", x, integers([9])))
        return Naive(emit("Reshape", flat, integers([3, 3])), np.tanh(a))
    if kind == "Reverse":
        return Naive(emit("Slice", x, *map(integers, ([-1], [-9], [1], [-1]))), a[:, ::-1])
    if kind == "Row":
        return Naive(emit("Expand", rows(x, 1, 2), integers([3, 3])), a[[1, 1, 1]])
    if kind == "Sums":
        return Naive(emit("ReduceSum", x, integers([0])) + y, a.sum(0) + b)
    return Naive(emit("Concat", rows(y, 0, 2), rows(x, 2, 3), axis=0), np.concatenate([b[:2], a[2:]]))


def rows(x: Symbol, start: int, end: int) -> Symbol:
    return emit("Slice", x, integers([start]), integers([end]), integers([0]))


@pytest.mark.long
@pytest.mark.parametrize("examples", [80, pytest.param(400, marks=pytest.mark.long)])
def test_random_graphs(examples: int) -> None:
    settings(max_examples=examples, deadline=None)(given(st.data())(a_random_graph))()


def a_random_graph(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    leaves = [Leaf(name, "float64", (3, 3), parameter=name > "w") for name in ("a", "b", "w1", "w2")]
    feeds = {str(leaf.name): rng.uniform(-1, 1, (3, 3)) for leaf in leaves}
    known = [Naive(leaf, feeds[str(leaf.name)]) for leaf in leaves]
    known.append(Naive(constant(np.eye(3), "float64"), np.eye(3)))
    for _ in range(data.draw(st.integers(1, 12))):
        known.append(data.draw(one_more(known)))
    outputs = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=4))
    changed = data.draw(st.dictionaries(st.sampled_from(["w1", "w2"]), st.sampled_from(known)))
    traced = trace(leaves[:2], [node.symbol for node in [*outputs, *changed.values()]])
    weights = {name: feeds[name].copy() for name in ("w1", "w2")}
    updates = {name: traced.names[node.symbol] for name, node in changed.items()}
    names = [traced.names[node.symbol] for node in outputs]
    plan = Plan(traced.graph, {}, weights, outputs=names, updates=updates)
    for _ in range(2):
        for name in weights:
            weights[name][...] = feeds[name]
        found = run(plan, {"a": feeds["a"], "b": feeds["b"]})
        for name, node in zip(names, outputs, strict=True):
            np.testing.assert_allclose(found[name], node.array, rtol=1e-9, atol=1e-9)
        for name, array in weights.items():
            wanted = changed[name].array if name in changed else feeds[name]
            np.testing.assert_allclose(array, wanted, rtol=1e-9, atol=1e-9)


PRODUCTS = itertools.product(
    itertools.product((0, 1), repeat=2), [(1, 1), (-1, 1), (5, 1), (2, -3)], ["float32", "float64", "int64"],
    [False, True], [False, True],
)  # fmt: skip


@pytest.mark.parametrize(("flags", "scales", "dtype", "part", "fused"), list(PRODUCTS))
def test_a_product_is_added_to_a_matrix_where_it_lies(
    flags: tuple[int, int],
    scales: tuple[int, int],
    dtype: str,
    part: bool,
    fused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step of gradient descent; ``part``: of factors whose rows do not lie one after the other."""
    if not fused:
        monkeypatch.setattr("portable_nn.operators.linear.matrices.accumulate", lambda *_: None)
    rng, (alpha, beta) = np.random.default_rng(0), scales
    shapes = {"a": (4, 3) if flags[0] else (3, 4), "b": (5, 4) if flags[1] else (4, 5), "c": (3, 5)}
    arrays = {name: rng.integers(-9, 9, shape).astype(dtype) for name, shape in shapes.items()}
    leaves = {name: Leaf(name, dtype, shape, parameter=name == "c") for name, shape in shapes.items()}
    factors = [leaves["a"], leaves["b"]]
    if part:
        factors = [emit("Slice", factor, *map(integers, ([-1], [-9], [1], [-1]))) for factor in factors]
        arrays |= {name: arrays[name][:, ::-1] for name in "ab"}
    new = emit("Gemm", *factors, leaves["c"], transA=flags[0], transB=flags[1], alpha=alpha, beta=beta)
    a, b = (arrays[name].T if flag else arrays[name] for name, flag in zip("ab", flags, strict=True))
    wanted = alpha * (a @ b) + beta * arrays["c"]
    traced = trace([leaves["a"], leaves["b"]], [new])
    weights = {"c": arrays["c"].copy()}
    plan = Plan(traced.graph, {}, weights, outputs=[], updates={"c": traced.names[new]})
    feeds = {name: arrays[name][:, ::-1] if part else arrays[name] for name in "ab"}
    run(plan, feeds)
    np.testing.assert_array_equal(weights["c"], wanted)
