"""Builders of activation functions against PyTorch's modules of the same names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, constant, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

SAME_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("ReLU", {}),
    ("ReLU6", {}),
    ("ELU", {}),
    ("ELU", {"alpha": 1.5}),
    ("SELU", {}),
    ("CELU", {}),
    ("CELU", {"alpha": 0.5}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Sigmoid", {}),
    ("Hardsigmoid", {}),
    ("SiLU", {}),
    ("Hardswish", {}),
    ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    ("Mish", {}),
    ("Tanh", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Softshrink", {}),
    ("Softshrink", {"lambd": 1.25}),
    ("Hardshrink", {}),
    ("Hardshrink", {"lambd": 1.25}),
    ("PReLU", {}),
    ("PReLU", {"num_parameters": 3, "init": 0.125}),
]


def in_torch(name: str, options: dict[str, Any]) -> Any:
    torch = pytest.importorskip("torch")
    return getattr(torch.nn, name)(**options)


def both_ways(layer: Any, x: Array, seed: Array) -> tuple[Array, Array]:
    """The layer's output for ``x``, and what flows back to ``x`` from ``seed``."""
    leaf, flow = pnn.Input(*x.shape[1:], name="x"), Leaf("seed", "float32", ("batch", *x.shape[1:]))
    value = layer(leaf)
    [slope] = gradients([value], [flow], [leaf])
    assert slope is not None
    found = pnn.Network([leaf, flow], [value, slope]).predict({"x": x, "seed": seed})
    return tuple(found.values())  # type: ignore[return-value]


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize(("name", "options"), SAME_OPTIONS, ids=str)
def test_it_is_the_module_of_the_same_name(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(len(shape))
    x, seed = (rng.normal(0, 3, shape).astype("float32") for _ in range(2))
    tensor = torch.tensor(x, requires_grad=True)
    wanted = in_torch(name, options)(tensor)
    wanted.backward(torch.tensor(seed))
    value, slope = both_ways(getattr(pnn, name)(**options), x, seed)
    np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(slope, tensor.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_those_that_torch_calls_otherwise() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(0, 3, (6, 3)).astype("float32")
    for layer, module in (
        (pnn.LeakyReLU(0.25), torch.nn.LeakyReLU(0.25)),
        (pnn.ThresholdedReLU(0.75), torch.nn.Threshold(0.75, 0.0)),
        (pnn.Clip(-1, 2), lambda x: torch.clamp(x, -1, 2)),
        (pnn.Clip(max=2), lambda x: torch.clamp(x, max=2)),
        (pnn.Clip(-1), lambda x: torch.clamp(x, min=-1)),
        (pnn.Clip(), lambda x: x),
    ):
        value, _ = both_ways(layer, x, np.ones_like(x))
        np.testing.assert_array_equal(value, module(torch.tensor(x)).numpy())


def test_clip_of_whole_numbers() -> None:
    network = pnn.Sequential(pnn.Input(4, dtype="int32"), pnn.Clip(-1, 2))
    np.testing.assert_array_equal(network.predict(np.array([[-5, -1, 0, 7]], np.int32)), [[-1, -1, 0, 2]])


def prelu_network(count: int) -> pnn.Network:
    layers = pnn.Dense(5, name="a"), pnn.PReLU(count, name="p"), pnn.Dense(2, name="b")
    return pnn.Sequential(pnn.Input(3), *layers, seed=0)


@pytest.mark.parametrize("count", [1, 5])
def test_two_steps_of_training_are_pytorchs(count: int) -> None:
    torch = pytest.importorskip("torch")
    network = prelu_network(count)
    assert list(network.parameters) == ["a.weight", "a.bias", "p.weight", "b.weight", "b.bias"]
    np.testing.assert_array_equal(network.parameters["p.weight"], np.full(count, 0.25, np.float32))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.PReLU(count), torch.nn.Linear(5, 2))
    for ours, parameter in zip(network.parameters.values(), theirs.parameters(), strict=True):
        assert ours.shape == tuple(parameter.shape)
        parameter.data.copy_(torch.tensor(ours))
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    optimizer = torch.optim.SGD(theirs.parameters(), 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    network.fit(x, y, loss="mean_squared_error", optimizer=pnn.SGD(0.5), epochs=2, batch_size=8, progress=False)
    for ours, parameter in zip(network.parameters.values(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_weight_for_each_channel_of_pictures_is_named_after_its_layer() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    network = pnn.Sequential(pnn.Input(3, 4, 5, dtype="float64"), pnn.PReLU(3), pnn.PReLU(3, name="again"))
    assert {name: array.shape for name, array in network.parameters.items()} == {
        "prelu_1.weight": (3,),
        "again.weight": (3,),
    }
    slopes = np.array([-0.5, 0.5, 2])
    network.parameters["prelu_1.weight"][...] = slopes
    network.parameters["again.weight"][...] = 1
    np.testing.assert_allclose(network.predict(x), np.where(x > 0, x, slopes[:, None, None] * x), rtol=1e-12)


def test_a_layer_called_twice_has_one_weight() -> None:
    x, layer = pnn.Input(3), pnn.PReLU()
    graph = pnn.Network(x, layer(layer(x))).graph
    assert [(node.name, node.inputs) for node in graph.nodes] == [
        ("prelu_1", ("input", "prelu_1.weight")),
        ("prelu_2", ("prelu_1", "prelu_1.weight")),
    ]


def test_saved_and_loaded(tmp_path: Path) -> None:
    layers = [getattr(pnn, name)(**options) for name, options in SAME_OPTIONS]
    network = pnn.Sequential(pnn.Input(3, 4), pnn.Clip(-4, None, name="bounded"), *layers, seed=0)
    x = np.random.default_rng(0).normal(0, 3, (5, 3, 4)).astype("float32")
    network.save(tmp_path / "all.safetensors")
    again = pnn.load(tmp_path / "all.safetensors")
    np.testing.assert_array_equal(again.predict(x), network.predict(x))
    assert again.graph == network.graph


@pytest.mark.parametrize(("name", "options"), SAME_OPTIONS, ids=str)
def test_it_is_one_node_of_the_standard(name: str, options: dict[str, Any]) -> None:
    leaf = pnn.Input(3)
    nodes = trace([leaf], [getattr(pnn, name)(name="here", **options)(leaf)]).graph.nodes
    [node] = [node for node in nodes if node.operator != "Constant"]
    assert (node.name, node.domain) == ("here", "")


WRONG: list[tuple[Callable[[], Any], type[PortableNNError], str]] = [
    (lambda: pnn.ELU("1"), UsageError, "ELU: alpha must be a finite number, not '1'"),  # type: ignore[arg-type]
    (lambda: pnn.ELU(float("nan")), UsageError, "ELU: alpha must be a finite number, not nan"),
    (lambda: pnn.LeakyReLU(True), UsageError, "LeakyReLU: alpha must be a finite number, not True"),
    (lambda: pnn.ThresholdedReLU(float("inf")), UsageError, "ThresholdedReLU: alpha must be a finite number, not inf"),
    (lambda: pnn.CELU(0), UsageError, "CELU: alpha must not be 0: x is divided by it"),
    (lambda: pnn.GELU("erf"), UsageError, "GELU: approximate must be 'none' or 'tanh', not 'erf'"),
    (lambda: pnn.Softshrink(-0.5), UsageError, "Softshrink: lambd must be a finite number from 0, not -0.5"),
    (lambda: pnn.Hardshrink(None), UsageError, "Hardshrink: lambd must be a finite number, not None"),  # type: ignore[arg-type]
    (lambda: pnn.Clip("0"), UsageError, "Clip: min must be a finite number or None, not '0'"),  # type: ignore[arg-type]
    (lambda: pnn.Clip(0, float("inf")), UsageError, "Clip: max must be a finite number or None, not inf"),
    (lambda: pnn.PReLU(0), UsageError, "PReLU: num_parameters must be a whole number from 1, not 0"),
    (lambda: pnn.PReLU(1.5), UsageError, "PReLU: num_parameters must be a whole number from 1, not 1.5"),  # type: ignore[arg-type]
    (lambda: pnn.PReLU(init="zeros"), UsageError, "PReLU: init must be a finite number, not 'zeros'"),  # type: ignore[arg-type]
    (
        lambda: pnn.PReLU(3, name="top")(pnn.Input(4, 3)), GraphError,
        "'top' (PReLU): its 3 weights need (batch, 3, …), not (batch, 4, 3)",
    ),
    (
        lambda: pnn.PReLU(3)(pnn.Input()), GraphError,
        "'prelu' (PReLU): its 3 weights need (batch, 3, …), not (batch,)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_arguments(make: Callable[[], Any], error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


KINKS = np.array([-6, -3, -1, -0.5, -1 / 3, 0, 1 / 3, 0.5, 1, 3, 6])
"""Where some activation has a kink, and between."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in ("ReLU", "ReLU6", "Hardtanh", "Hardswish", "Hardsigmoid", "LeakyReLU", "ELU", "SELU")),
        *((name, {}) for name in ("CELU", "Softshrink", "Hardshrink", "PReLU", "Softsign", "GELU", "SiLU", "Mish")),
        ("Hardtanh", {"min_val": -3.0, "max_val": 0.5}),
        ("Softshrink", {"lambd": 1.0}),
        ("Hardshrink", {"lambd": 3.0}),
        ("CELU", {"alpha": 3.0}),
        ("ELU", {"alpha": 3.0}),
    ],
)
def test_the_gradient_at_a_kink_is_pytorchs(name: str, options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    x = KINKS.astype(dtype)
    tensor = torch.tensor(x, requires_grad=True)
    module = getattr(torch.nn, name)(**options).to(tensor.dtype)
    wanted = module(tensor)
    wanted.backward(torch.ones_like(tensor))
    leaf = Leaf("x", dtype, x.shape)
    y = getattr(pnn, name)(**options)(leaf)
    [back] = gradients([y], [constant(np.ones(len(x)), dtype)], [leaf])
    assert back is not None
    leaves = [leaf, *(each for each in y.origin.inputs[1:] if isinstance(each, Leaf))]
    feeds = {"x": x}
    for place, each in enumerate(leaves[1:]):
        each.name = f"w{place}"
        feeds[each.name] = np.full((1,), 0.25, dtype)  # PReLU's weight.
    plan = Plan(trace(leaves, [y, back]).graph, {name: array.shape for name, array in feeds.items()}, {})
    for given, array in feeds.items():
        plan.inputs[given][...] = array
    plan.run()
    for found, theirs in zip(plan.outputs.values(), (wanted.detach(), tensor.grad), strict=True):
        np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_selu_of_infinity_in_float64() -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[np.inf, -np.inf, np.nan, 0.0, -0.0, 1e308, -1e-300, 2.0, -3.0]])
    network = pnn.Sequential(pnn.Input(9, dtype="float64"), pnn.SELU(), seed=0)
    np.testing.assert_allclose(network.predict(x), torch.nn.SELU()(torch.tensor(x)).numpy(), rtol=1e-15)
