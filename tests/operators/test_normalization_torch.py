"""Normalisations and their gradients against PyTorch, in every layout of memory, and where numbers get difficult."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standard_side import lowered, run_plan, run_runtime

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.elementwise.blocks import BLOCK
from portable_nn.operators.registry import Array, memory_order

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
"""Relative to the largest number of an array."""

Build = Callable[..., Symbol]


def numbers(*shape: int, dtype: str, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(1, 2, shape).astype(dtype)


def assert_close(found: Array, wanted: Any, dtype: str) -> None:
    wanted = wanted.detach().numpy()
    assert (found.dtype.name, found.shape) == (dtype, wanted.shape)
    assert np.abs(found - wanted).max(initial=0) <= TOLERANCE[dtype] * np.abs(wanted).max(initial=1)


def turned(array: Array, order: Sequence[int]) -> tuple[Array, list[int]]:
    """The array with its axes in ``order``, and the order in which a Transpose brings them back."""
    return array.transpose(order), [list(order).index(axis) for axis in range(array.ndim)]


def both_ways(build: Build, x: Array, *others: Array, order: Sequence[int] = (), dy_order: Sequence[int] = ()) -> Any:
    """The seed, the value of ``build``, and what flows back to ``x`` and ``others``.

    ``x`` and the seed lie in memory in the given orders of their axes, and the batch is unknown until they come.
    """
    dy = numbers(*x.shape, dtype=x.dtype.name, seed=1)
    feeds: dict[str, Array] = {f"p{place}": array for place, array in enumerate(others)}
    leaves = [Leaf(name, array.dtype.name, array.shape) for name, array in feeds.items()]
    inputs = []
    for name, array, axes in (("x", x, order), ("dy", dy, dy_order)):
        feeds[name], back = turned(array, axes or range(x.ndim))
        shape = tuple("batch" if axis == back[0] else size for axis, size in enumerate(feeds[name].shape))
        leaf = Leaf(name, x.dtype.name, shape)
        leaves.append(leaf)
        inputs.append(emit("Transpose", leaf, perm=back))
    value = build(inputs[0], *leaves[: len(others)])
    wrt = [inputs[0], *leaves[: len(others)]]
    flowing = [symbol for symbol in gradients([value], [inputs[1]], wrt) if symbol is not None]
    return dy, run_plan(trace(leaves, [value, *flowing]).graph, feeds)


def check(build: Build, theirs: Callable[..., Any], x: Array, *others: Array, **orders: Sequence[int]) -> None:
    dy, found = both_ways(build, x, *others, **orders)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, *others)]
    value = theirs(*tensors)
    value.backward(torch.tensor(dy))
    assert len(found) == 1 + len(tensors)
    for ours, wanted in zip(found, [value, *(tensor.grad for tensor in tensors)], strict=True):
        assert_close(ours, wanted, x.dtype.name)


def node(operator: str, **attributes: Any) -> Build:
    return lambda *inputs: emit(operator, *inputs, **attributes)


def trained(epsilon: float = 1e-5) -> Build:
    """BatchNormalization while training, whose running statistics nobody reads."""

    def build(x: Symbol, scale: Symbol, bias: Symbol) -> Symbol:
        options: dict[str, Any] = {"outputs": 3, "training_mode": 1, "epsilon": epsilon}
        return emit_all("BatchNormalization", x, scale, bias, scale, scale, **options)[0]

    return build


def batch_norm(x: Any, scale: Any, bias: Any, epsilon: float = 1e-5) -> Any:
    return F.batch_norm(x, None, None, scale, bias, training=True, eps=epsilon)


def across(value: Any, x: Any) -> Any:
    return value.reshape(-1, *[1] * (x.ndim - 2))


def inference(x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    centred = (x - across(mean, x)) / torch.sqrt(across(variance, x) + 1e-5)
    return centred * across(scale, x) + across(bias, x)


SHAPES = [(6, 8), (5, 8, 3), (3, 8, 5, 4), (2, 8, 3, 2, 2), (5, 8, 30, 40), (3, 64, 20, 30)]
"""The last two are cut into parts; of the very last one, an example alone is larger than a part should be."""
assert math.prod(SHAPES[-2]) > BLOCK
assert math.prod(SHAPES[-1][1:]) > BLOCK

ORDERS: dict[int, list[tuple[int, ...]]] = {
    2: [(0, 1), (1, 0)],
    3: [(0, 1, 2), (1, 2, 0)],
    4: [(0, 1, 2, 3), (2, 1, 3, 0), (0, 2, 3, 1)],
    5: [(0, 1, 2, 3, 4), (2, 1, 3, 4, 0)],
}
"""The batch first, the batch last, and for images the channels last."""

LAYOUTS = [(shape, order) for shape in SHAPES for order in ORDERS[len(shape)]]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "order"), LAYOUTS)
def test_batch_normalization(shape: tuple[int, ...], order: tuple[int, ...], dtype: str) -> None:
    x, scale, bias, mean = (numbers(*s, dtype=dtype, seed=sum(s)) for s in (shape, *[shape[1:2]] * 3))
    check(node("BatchNormalization"), inference, x, scale, bias, mean, np.abs(scale) + 1, order=order)
    check(trained(), batch_norm, x, scale, bias, order=order)
    check(trained(0.1), partial(batch_norm, epsilon=0.1), x, scale, bias, order=order, dy_order=order)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "order"), [row for row in LAYOUTS if len(row[0]) > 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_normalization_of_groups(shape: tuple[int, ...], order: tuple[int, ...], groups: int, dtype: str) -> None:
    x, scale, bias = (numbers(*s, dtype=dtype, seed=sum(s)) for s in (shape, *[shape[1:2]] * 2))
    build = node("GroupNormalization", num_groups=groups)
    check(build, lambda *a: F.group_norm(a[0], groups, *a[1:]), x, scale, bias, order=order, dy_order=order)
    if groups == 4:
        check(
            node("InstanceNormalization", epsilon=0.01),
            lambda *a: F.instance_norm(a[0], None, None, *a[1:], eps=0.01),
            x,
            scale,
            bias,
            order=order,
        )


LAST = [
    ((5, 7), (7,), (0, 1)), ((5, 7), (7,), (1, 0)), ((3, 4, 6), (6,), (0, 1, 2)), ((3, 4, 6), (4, 6), (2, 0, 1)),
    ((3, 4, 5, 6), (5, 6), (2, 1, 3, 0)), ((300, 9, 50), (50,), (0, 1, 2)), ((3, 400, 200), (400, 200), (0, 1, 2)),
    ((700, 100), (100,), (1, 0)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "last", "order"), LAST)
def test_normalization_over_the_last_axes(
    shape: tuple[int, ...], last: tuple[int, ...], order: tuple[int, ...], dtype: str
) -> None:
    x, scale, bias = (numbers(*s, dtype=dtype, seed=sum(s)) for s in (shape, last, last))
    axis = len(shape) - len(last)
    layer, rms = node("LayerNormalization", axis=axis), node("RMSNormalization", axis=-len(last), epsilon=0.1)
    check(layer, lambda *a: F.layer_norm(a[0], last, *a[1:]), x, scale, bias, order=order, dy_order=order)
    check(layer, lambda *a: F.layer_norm(a[0], last, *a[1:]), x, scale, order=order)
    check(rms, lambda *a: F.rms_norm(a[0], last, *a[1:], eps=0.1), x, scale, order=order, dy_order=order)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_scale_and_bias_that_are_broadcast(dtype: str) -> None:
    """The standard lets them vary along any axis, the normalised ones or not."""
    x = numbers(3, 4, 5, 6, dtype=dtype)
    build = node("LayerNormalization", axis=2)
    for scale, bias in (((6,), (5, 1)), ((4, 1, 1), ()), ((1, 1), (4, 5, 6)), ((), (1, 4, 1, 6))):
        parameters = numbers(*scale, dtype=dtype), numbers(*bias, dtype=dtype, seed=3)
        check(build, lambda x, s, b: F.layer_norm(x, (5, 6)) * s + b, x, *parameters)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("shape", "size"),
    [*product([(3, 7, 2), (2, 7, 5, 4), (2, 5, 2, 3, 2)], [1, 2, 3, 4, 5, 9]), ((5, 7, 30, 40), 4)],
)
def test_local_response(shape: tuple[int, ...], size: int, dtype: str) -> None:
    """A window of even size reaches further forward here and further back in PyTorch."""

    def theirs(x: Any) -> Any:
        if size % 2:
            return F.local_response_norm(x, size, 0.5, 0.6, 1.5)
        return F.local_response_norm(x.flip(1), size, 0.5, 0.6, 1.5).flip(1)

    build = node("LRN", size=size, alpha=0.5, beta=0.6, bias=1.5)
    check(build, theirs, numbers(*shape, dtype=dtype))
    if len(shape) == 4:
        check(build, theirs, numbers(*shape, dtype=dtype), order=(2, 1, 3, 0), dy_order=(2, 1, 3, 0))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_lp(p: int, axis: int, dtype: str) -> None:
    x = numbers(3, 4, 5, dtype=dtype)
    check(node("LpNormalization", p=p, axis=axis), lambda x: F.normalize(x, p, axis), x)
    check(node("LpNormalization", p=p, axis=axis), lambda x: F.normalize(x, p, axis), x, order=(1, 2, 0))


@pytest.mark.parametrize("p", [1, 2])
def test_what_has_no_size_stays_0_and_lets_nothing_flow_back(p: int) -> None:
    x = np.array([[0, 0, 0], [3, 0, -4]], np.float64)
    _, (value, flow) = both_ways(node("LpNormalization", p=p), x)
    np.testing.assert_allclose(value, [[0, 0, 0], x[1] / (7 if p == 1 else 5)])
    np.testing.assert_array_equal(flow[0], 0)


CHANGED: list[tuple[str, Build, Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = [
    ("batch", trained(), batch_norm, (4, 3, 2), (3,)),
    ("layer", node("LayerNormalization"), lambda *a: F.layer_norm(a[0], (3,), *a[1:]), (2, 4, 3), (3,)),
    ("group", node("GroupNormalization", num_groups=2), lambda *a: F.group_norm(a[0], 2, *a[1:]), (2, 4, 3), (4,)),
]


@pytest.mark.parametrize("row", CHANGED, ids=lambda row: row[0])
def test_second_derivatives_by_all_inputs(row: Any) -> None:
    """What flows back is differentiated once more: its own output by x, scale, bias and the seed."""
    _, build, theirs, shape, channels = row
    arrays = [numbers(*s, dtype="float64", seed=i) for i, s in enumerate((shape, channels, channels, shape))]
    leaves = [Leaf(f"x{i}", "float64", array.shape) for i, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    first = gradients([build(*leaves[:3])], [leaves[3]], leaves[:3])
    wanted_first = torch.autograd.grad(theirs(*tensors[:3]), tensors[:3], tensors[3], create_graph=True)
    seeds = [numbers(*t.shape, dtype="float64", seed=9 + i) for i, t in enumerate(wanted_first)]
    again = [Leaf(f"s{i}", "float64", seed.shape) for i, seed in enumerate(seeds)]
    second = gradients([symbol for symbol in first if symbol], again, leaves)
    wanted = torch.autograd.grad(wanted_first, tensors, [torch.tensor(s) for s in seeds], allow_unused=True)
    assert [symbol is None for symbol in second] == [tensor is None for tensor in wanted]
    feeds = {str(leaf.name): array for leaf, array in zip([*leaves, *again], [*arrays, *seeds], strict=True)}
    found = run_plan(trace([*leaves, *again], [symbol for symbol in second if symbol]).graph, feeds)
    for ours, tensor in zip(found, [tensor for tensor in wanted if tensor is not None], strict=True):
        np.testing.assert_allclose(ours, tensor, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("momentum", [0.9, 0.25, 1.0, 0.0])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (64, 16, 9, 28)])
def test_running_statistics_are_the_standards(shape: tuple[int, ...], momentum: float) -> None:
    """Of the population variance, Σ(x - mean)² / n; PyTorch's is Σ(x - mean)² / (n - 1)."""
    x, scale, bias, mean = (numbers(*s, dtype="float64", seed=sum(s)) for s in (shape, *[shape[1:2]] * 3))
    variance, count = np.abs(scale) + 1, x.size // shape[1]
    feeds = {"x": x, "scale": scale, "bias": bias, "mean": mean, "variance": variance}
    leaves = [Leaf(name, "float64", array.shape) for name, array in feeds.items()]
    made = emit_all("BatchNormalization", *leaves, outputs=3, training_mode=1, momentum=momentum)
    _, new_mean, new_variance = run_plan(trace(leaves, made).graph, feeds)
    rest = tuple(axis for axis in range(x.ndim) if axis != 1)
    np.testing.assert_allclose(new_mean, mean * momentum + x.mean(rest) * (1 - momentum), rtol=1e-12)
    np.testing.assert_allclose(new_variance, variance * momentum + x.var(rest) * (1 - momentum), rtol=1e-12)
    running = [torch.tensor(mean), torch.tensor(variance)]
    F.batch_norm(torch.tensor(x), *running, training=True, momentum=1 - momentum)
    np.testing.assert_allclose(new_mean, running[0], rtol=1e-12)
    moved = (running[1].numpy() - variance * momentum) * (count - 1) / count
    np.testing.assert_allclose(new_variance, variance * momentum + moved, rtol=1e-12)


FAR: list[tuple[Build, tuple[int, ...], int]] = [
    (trained(), (40, 3), 3), (trained(), (9, 3, 40, 50), 3), (node("LayerNormalization"), (40, 30), 30),
    (node("GroupNormalization", num_groups=1), (9, 3, 40, 50), 3),
]  # fmt: skip


@pytest.mark.parametrize(("build", "shape", "size"), FAR)
def test_a_mean_that_is_far_larger_than_the_deviation(build: Build, shape: tuple[int, ...], size: int) -> None:
    """Of Σ x² / n - mean² no digit would be right in float32."""
    x = (np.random.default_rng(0).normal(size=shape) + 3000).astype("float32")
    parameters = np.ones(size, "float32"), np.zeros(size, "float32")
    _, (value, *_) = both_ways(build, x, *parameters)
    _, (exact, *_) = both_ways(build, x.astype("float64"), *(array.astype("float64") for array in parameters))
    assert np.abs(value - exact).max() <= 1e-3


HALVES: list[tuple[Build, list[int]]] = [
    (node("LayerNormalization"), [50, 50]), (node("RMSNormalization"), [50]), (trained(), [4, 4]),
    (node("BatchNormalization"), [4, 4, 4, 4]), (node("GroupNormalization", num_groups=2), [4, 4]),
    (node("InstanceNormalization"), [4, 4]), (node("LRN", size=3), []), (node("LpNormalization"), []),
]  # fmt: skip


@pytest.mark.parametrize(("build", "parameters"), HALVES)
def test_in_half_precision(build: Build, parameters: list[int]) -> None:
    """Sums are made in float32: those of 50 squares of 100 are no numbers in float16."""
    x = (np.random.default_rng(0).normal(size=(50, 4, 50)) * 100).astype("float16")
    others = [np.abs(numbers(size, dtype="float16", seed=i)) for i, size in enumerate(parameters)]
    _, found = both_ways(build, x, *others)
    _, exact = both_ways(build, x.astype("float64"), *(array.astype("float64") for array in others))
    assert all(array.dtype == np.float16 for array in found)
    assert np.abs(found[0] - exact[0]).max() <= 2e-3 * np.abs(exact[0]).max()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_statistics_of_another_type_than_the_data(dtype: str) -> None:
    """As models in half precision have them."""
    x, scale, mean = numbers(4, 3, 5, dtype=dtype), numbers(3, dtype="float32"), numbers(3, dtype="float32", seed=2)
    feeds = {"x": x, "scale": scale, "mean": mean, "variance": mean**2 + 1}
    leaves = {name: Leaf(name, array.dtype.name, array.shape) for name, array in feeds.items()}
    inputs = [leaves["x"], leaves["scale"], leaves["scale"], leaves["mean"], leaves["variance"]]
    graph = trace([*leaves.values()], [emit("BatchNormalization", *inputs)]).graph
    [found], [wanted] = run_plan(graph, feeds), run_runtime(graph, feeds)
    assert found.dtype == wanted.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-3)
    seed = Leaf("seed", dtype, x.shape)
    wrt = [leaves[name] for name in ("x", "scale", "mean", "variance")]
    for build in (emit("BatchNormalization", *inputs), trained()(*inputs[:3])):
        flowing = [symbol for symbol in gradients([build], [seed], wrt) if symbol]
        assert [symbol.type for symbol in flowing] == [leaf.type for leaf in wrt][: len(flowing)]


@pytest.mark.parametrize(("shape", "has"), [((1, 3), 1), ((1, 3, 1, 1), 1), ((0, 3, 4), 0)])
def test_a_batch_without_a_variance(shape: tuple[int, ...], has: int) -> None:
    x, scale = Leaf("x", "float32", ("batch", *shape[1:])), Leaf("scale", "float32", (3,))
    made = emit_all("BatchNormalization", x, *[scale] * 4, outputs=3, training_mode=1, name="here")
    message = (
        rf"^'here' \(BatchNormalization\): the variance of a batch needs two values or more of each channel, and X "
        rf"\({', '.join(map(str, shape))}\) has {has}: choose a batch_size that leaves no example over by itself$"
    )
    with pytest.raises(GraphError, match=message):
        Plan(trace([x, scale], made).graph, {"x": shape}, {})


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_shape_in_any_layout(data: st.DataObject) -> None:
    """In float64 against PyTorch, with the axes of x and of the seed in different orders in memory."""
    rank = data.draw(st.integers(2, 5))
    sizes = [data.draw(st.integers(2, 4)) for _ in range(rank)]
    sizes[data.draw(st.integers(0, rank - 1))] *= data.draw(st.sampled_from([1, 1, 40, 300]))
    if rank > 2 and data.draw(st.booleans()):
        sizes[data.draw(st.integers(2, rank - 1))] = 1
    orders = {name: data.draw(st.permutations(range(rank))) for name in ("order", "dy_order")}
    x, scale, bias = (numbers(*s, dtype="float64", seed=sum(s)) for s in (sizes, *[sizes[1:2]] * 2))
    check(trained(0.1), partial(batch_norm, epsilon=0.1), x, scale, bias, **orders)
    groups = data.draw(st.sampled_from([g for g in range(1, sizes[1] + 1) if sizes[1] % g == 0]))
    check(
        node("GroupNormalization", num_groups=groups, epsilon=0.1),
        lambda *a: F.group_norm(a[0], groups, *a[1:], eps=0.1),
        x,
        scale,
        bias,
        **orders,
    )
    axis = data.draw(st.integers(1, rank - 1))
    last = sizes[axis:]
    parameters = [numbers(*last, dtype="float64", seed=i) for i in range(2)]
    layer = node("LayerNormalization", axis=axis, epsilon=0.1)
    check(layer, lambda *a: F.layer_norm(a[0], last, *a[1:], eps=0.1), x, *parameters, **orders)


@pytest.mark.parametrize("operator", ["BatchNormalization", "LRN", "InstanceNormalization", "LayerNormalization"])
def test_what_comes_out_lies_in_memory_as_what_goes_in(operator: str) -> None:
    """So that what reads it is as fast as the convolution before."""
    shape, order = (4, 3, 5, 6), (2, 1, 3, 0)
    x = Leaf("x", "float32", tuple(shape[axis] for axis in order))
    parameter = Leaf("p", "float32", (6,) if operator == "LayerNormalization" else (3,))
    count = {"BatchNormalization": 4, "LRN": 0, "InstanceNormalization": 2, "LayerNormalization": 2}[operator]
    attributes = {"size": 3} if operator == "LRN" else {}
    image = emit("Transpose", x, perm=[order.index(axis) for axis in range(4)])
    value = emit(operator, image, *[parameter] * count, **attributes)
    graph = trace([x, parameter] if count else [x], [value]).graph
    [found] = Plan(graph, {}, {}).outputs.values()
    assert found.shape == shape
    assert memory_order(found) == order


@pytest.mark.parametrize("spread", [0, 1, 3])
@pytest.mark.parametrize("base", [1.1, 100.3, 1000.1, 12345.6])
@pytest.mark.parametrize(
    ("operator", "scales", "options", "groups", "right"),
    [
        ("LayerNormalization", (4,), {"axis": 1}, 1, {"numpy", "lowered"}),
        ("GroupNormalization", (1000,), {"num_groups": 2}, 2, {"numpy", "lowered"}),
        ("InstanceNormalization", (1000,), {}, 1000, {"numpy"}),
        ("MeanVarianceNormalization", (), {"axes": (1, 2)}, 1, {"numpy", "lowered"}),
    ],
)
def test_nearly_equal_numbers(
    operator: str,
    scales: tuple[int, ...],
    options: dict[str, Any],
    groups: int,
    right: set[str],
    base: float,
    spread: int,
) -> None:
    """Numbers that differ by a few units in the last place, against the definition in double precision."""
    x = np.full((2, 1000, 4), base, np.float32)
    x = (x.view(np.int32) + np.random.default_rng(0).integers(0, spread + 1, x.shape, np.int32)).view(np.float32)
    flat = x.astype(np.float64).reshape(2, groups, -1)
    centred = flat - flat.mean(2, keepdims=True)
    variance = (centred * centred).mean(2, keepdims=True)
    deviation = np.sqrt(variance) + 1e-9 if operator.startswith("Mean") else np.sqrt(variance + 1e-5)
    wanted = (centred / deviation).reshape(x.shape)
    leaf = Leaf("x", "float32", x.shape)
    parameters = [constant(np.full(scales, value), "float32") for value in (1, 0)] if scales else []
    graph = trace([leaf], [emit(operator, leaf, *parameters, **options)]).graph
    for engine in sorted(right):
        [found] = run_plan(lowered(graph, {operator}) if engine == "lowered" else graph, {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)
