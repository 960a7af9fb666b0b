"""Numbers at the edges: far inputs, whole numbers, randomness, and the optimizers' arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from standard_side import run_plan, run_runtime

from portable_nn.core.graph import INTERNAL, Graph
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array
from portable_nn.operators.training.update import BLOCK

FAR = np.array([-np.inf, -1e4, -100, -1, 0, 1, 100, 1e4, np.inf])


def graph_of(operator: str, x: Array, *rest: Symbol, **attributes: Any) -> Graph:
    leaf = Leaf("x", x.dtype.name, x.shape)
    return trace([leaf], [emit(operator, leaf, *rest, **attributes)]).graph


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("operator", "wanted"),
    [
        ("Sigmoid", [0, 0, 0, 0.26894142, 0.5, 0.73105858, 1, 1, 1]),
        ("Softplus", [0, 0, 0, 0.31326169, 0.69314718, 1.31326169, 100, 1e4, np.inf]),
        ("Tanh", [-1, -1, -1, -0.76159416, 0, 0.76159416, 1, 1, 1]),
        ("Relu", [0, 0, 0, 0, 0, 1, 100, 1e4, np.inf]),
        ("LeakyRelu", [-np.inf, -100, -1, -0.01, 0, 1, 100, 1e4, np.inf]),
    ],
)
def test_activation_far_out(operator: str, wanted: list[float], dtype: str) -> None:
    x = FAR.astype(dtype)
    [found] = run_plan(graph_of(operator, x), {"x": x})
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.array(wanted), rtol=2e-3 if dtype == "float16" else 2e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("row", "softmax", "log_softmax", "log_sum"),
    [
        ([1e4, -1e4, 0], [1, 0, 0], [0, -2e4, -1e4], 1e4),
        ([-1e4, -1e4, -1e4], [1 / 3] * 3, [-np.log(3)] * 3, -1e4 + np.log(3)),
        ([1e4, 1e4, -np.inf], [0.5, 0.5, 0], [-np.log(2), -np.log(2), -np.inf], 1e4 + np.log(2)),
        ([0, np.log(3), -np.inf], [0.25, 0.75, 0], [-np.log(4), np.log(3 / 4), -np.inf], np.log(4)),
    ],
)
def test_softmax_family_far_out(
    row: list[float], softmax: list[float], log_softmax: list[float], log_sum: float
) -> None:
    x = np.array([row])
    for operator, wanted in (("Softmax", softmax), ("LogSoftmax", log_softmax)):
        np.testing.assert_allclose(run_plan(graph_of(operator, x), {"x": x})[0], [wanted], rtol=1e-12, atol=1e-300)
    [total] = run_plan(graph_of("ReduceLogSumExp", x, integers([1]), keepdims=0), {"x": x})
    np.testing.assert_allclose(total, [log_sum], rtol=1e-12)


@pytest.mark.parametrize("axis", [1, -1])
def test_shares_of_many_classes_keep_their_digits(axis: int) -> None:
    """As many as a vocabulary has: numpy's sums in float32 would be off in the fourth digit."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 50_000) if axis < 0 else (2, 50_000, 3)).astype(np.float32)
    x[0, 5] = 11
    wanted = np.exp(x.astype(float))
    wanted /= wanted.sum(axis, keepdims=True)
    np.testing.assert_allclose(run_plan(graph_of("Softmax", x, axis=axis), {"x": x})[0], wanted, rtol=2e-6)
    np.testing.assert_allclose(run_plan(graph_of("LogSoftmax", x, axis=axis), {"x": x})[0], np.log(wanted), rtol=1e-6)


def test_log_of_sums_that_are_nothing_or_endless() -> None:
    x = np.array([[-np.inf, -np.inf], [np.inf, 0], [np.inf, -np.inf]])
    [found] = run_plan(graph_of("ReduceLogSumExp", x, integers([1]), keepdims=0), {"x": x})
    np.testing.assert_array_equal(found, [-np.inf, np.inf, np.inf])


def test_loss_of_sure_and_wrong_scores() -> None:
    scores, labels = Leaf("x", "float32", (2, 2)), Leaf("labels", "int64", (2,))
    loss, log_prob = emit_all("SoftmaxCrossEntropyLoss", scores, labels, outputs=2)
    [gradient] = gradients([loss], [constant(1, "float32")], [scores])
    assert gradient is not None
    graph = trace([scores, labels], [loss, log_prob, gradient]).graph
    feeds = {"x": np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), "labels": np.array([0, 1])}
    found, _, slope = run_plan(graph, feeds)
    assert found == 1e4
    np.testing.assert_array_equal(slope, [[0, 0], [0.5, -0.5]])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_whole_numbers_divide_as_in_onnxruntime(dtype: str) -> None:
    limits = np.iinfo(dtype)
    numbers = np.array(
        [limits.max, limits.max - 1, 100, 7, 1, 0, *([-1, -7, limits.min + 1] if limits.min else [])], dtype
    )
    divisors = np.array([n for n in (1, 2, 3, 7, -1, -2, -3, limits.max) if n >= limits.min], dtype)
    a, b = Leaf("a", dtype, (len(numbers), 1)), Leaf("b", dtype, divisors.shape)
    graph = trace([a, b], [a / b]).graph
    feeds = {"a": numbers[:, np.newaxis], "b": divisors}
    np.testing.assert_array_equal(run_plan(graph, feeds)[0], run_runtime(graph, feeds)[0])


def dropout(shape: tuple[int, ...], ratio: float, seed: int, *, outputs: int = 2) -> Plan:
    x = Leaf("x", "float32", shape)
    made = emit_all("Dropout", x, constant(ratio, "float32"), constant(True, "bool"), outputs=outputs)
    plan = Plan(trace([x], made).graph, {}, {}, rng=np.random.default_rng(seed))
    plan.inputs["x"].fill(2)
    plan.run()
    return plan


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(ratio: float) -> None:
    """Of n elements 2, each is kept with probability q = 1 - ratio and becomes 2 / q."""
    size, kept = 40_000, 1 - ratio
    out, mask = (array.copy() for array in dropout((size,), ratio, 1).outputs.values())
    assert mask.dtype == np.bool_
    np.testing.assert_allclose(out, np.where(mask, 2 / kept, 0), rtol=1e-6)
    deviation = np.sqrt(kept * ratio / size)
    assert abs(mask.mean() - kept) <= 4 * deviation
    assert abs(out.mean() - 2) <= 4 * 2 / kept * deviation + 1e-6


def test_dropout_draws_anew_each_run_and_the_same_from_the_same_seed() -> None:
    first, second, third = dropout((50,), 0.5, 1), dropout((50,), 0.5, 1), dropout((50,), 0.5, 2)
    masks = [plan.outputs["dropout_1.mask"].copy() for plan in (first, second, third)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
    first.run()
    assert not np.array_equal(masks[0], first.outputs["dropout_1.mask"])


def test_dropout_with_a_seed_has_the_noise_of_the_standards_own_tests() -> None:
    """Which the onnx package draws with numpy's older generator."""
    x = Leaf("x", "float64", (3, 4))
    made = emit_all("Dropout", x, constant(0.75, "float32"), constant(True, "bool"), outputs=2, seed=7)
    plan = Plan(trace([x], made).graph, {}, {})
    noise = np.random.RandomState(7)
    for _ in range(2):
        plan.run()
        np.testing.assert_array_equal(plan.outputs["dropout_1.mask"], noise.uniform(size=(3, 4)) >= 0.75)


def test_gradient_of_dropout_goes_where_the_mask_is() -> None:
    x, seed = Leaf("x", "float64", (20,)), Leaf("seed", "float64", (20,))
    out, mask = emit_all("Dropout", x, constant(0.25, "float32"), constant(True, "bool"), outputs=2)
    [gradient] = gradients([out], [seed], [x])
    assert gradient is not None
    feeds = {"x": np.ones(20), "seed": np.arange(20.0)}
    value, kept, slope = run_plan(trace([x, seed], [out, mask, gradient]).graph, feeds)
    np.testing.assert_allclose(value, kept / 0.75)
    np.testing.assert_allclose(slope, kept * feeds["seed"] / 0.75)


def momentum(w: Array, g: Array, v: Array, rate: float, *, nesterov: int = 0) -> tuple[Array, ...]:
    v = 0.9 * v + g
    return w - rate * (g + 0.9 * v if nesterov else v), v


def rmsprop(w: Array, g: Array, s: Array, rate: float) -> tuple[Array, ...]:
    s = 0.99 * s + 0.01 * g**2
    return w - rate * g / (np.sqrt(s) + 1e-8), s


def adam(w: Array, g: Array, m: Array, s: Array, rate: float, epsilon: float, keep: float) -> tuple[Array, ...]:
    m, s = 0.9 * m + g, 0.999 * s + g**2
    return w * keep - rate * m / (np.sqrt(s) + epsilon), m, s


@pytest.mark.parametrize("shape", [(3, 4), (), (0, 3), (BLOCK * 2 + 5,)])
@pytest.mark.parametrize(
    ("operator", "by_hand", "states", "scalars", "options"),
    [
        ("Momentum", momentum, 1, (0.1,), {}),
        ("Momentum", momentum, 1, (0.1,), {"nesterov": 1}),
        ("RMSProp", rmsprop, 1, (0.1,), {}),
        ("Adam", adam, 2, (0.1, 1e-7, 0.95), {}),
    ],
)
def test_optimizer_changes_parameter_and_state_where_they_lie(
    operator: str,
    by_hand: Any,
    states: int,
    scalars: tuple[float, ...],
    options: Mapping[str, Any],
    shape: tuple[int, ...],
) -> None:
    """Also from a gradient whose memory is not in order, and for three runs in a row."""
    rng = np.random.default_rng(0)
    names = ["w", *(f"s{number}" for number in range(states))]
    parameters = {name: np.asarray(rng.uniform(0.1, 1, shape)) for name in names}
    leaves = {name: Leaf(name, "float64", shape, parameter=True) for name in names}
    turned = Leaf("turned", "float64", shape[::-1])
    gradient = emit("Transpose", turned)
    made = emit_all(
        operator,
        leaves["w"],
        gradient,
        *(leaves[name] for name in names[1:]),
        *(constant(value, "float64") for value in scalars),
        outputs=1 + states,
        domain=INTERNAL,
        **options,
    )
    traced = trace([turned], made)
    updates = {name: traced.names[symbol] for name, symbol in zip(names, made, strict=True)}
    plan = Plan(traced.graph, {}, parameters, outputs=[], updates=updates)
    wanted = [parameters[name].copy() for name in names]
    for _ in range(3):
        slope = rng.normal(size=shape)
        plan.inputs["turned"][...] = slope.T
        plan.run()
        wanted = list(by_hand(wanted[0], slope, *wanted[1:], *scalars, **options))
    for name, array in zip(names, wanted, strict=True):
        np.testing.assert_allclose(parameters[name], array, rtol=1e-7)
