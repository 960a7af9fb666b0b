"""Builders of normalisations: against PyTorch's modules, through training, into files and out to ONNX."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.core.graph import Graph, Node, Parameter, Tensor, Value
from portable_nn.operators.registry import Array


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(1, 2, shape)


def randomized(network: pnn.Network, seed: int = 5) -> pnn.Network:
    """The network with other parameters than it starts with; variances stay positive."""
    rng = np.random.default_rng(seed)
    for name, array in network.parameters.items():
        array[...] = rng.uniform(0.5, 2, array.shape) if name.endswith("var") else rng.normal(size=array.shape)
    return network


def alone(layer: Any, shape: tuple[int, ...], dtype: str = "float64") -> pnn.Network:
    return randomized(pnn.Sequential(pnn.Input(*shape, dtype=dtype), layer))


def as_torch(module: Any, network: pnn.Network, prefix: str = "norm.") -> Any:
    """A module in float64 with the network's parameters, those that it has."""
    torch = pytest.importorskip("torch")
    state = {
        name.removeprefix(prefix): torch.tensor(array)
        for name, array in network.parameters.items()
        if name.startswith(prefix)
    }
    module = module.double()
    found = module.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert {key for key in found.missing_keys if not key.endswith("num_batches_tracked")} == set()
    return module


Build = Callable[[], Any]
ROWS: list[tuple[Build, Callable[[Any], Any], tuple[int, ...]]] = [
    (lambda: pnn.BatchNorm1d(name="norm"), lambda nn: nn.BatchNorm1d(4), (4,)),
    (lambda: pnn.BatchNorm1d(name="norm", eps=0.1), lambda nn: nn.BatchNorm1d(4, eps=0.1), (4, 5)),
    (lambda: pnn.BatchNorm2d(name="norm", affine=False), lambda nn: nn.BatchNorm2d(4, affine=False), (4, 3, 5)),
    (lambda: pnn.BatchNorm2d(name="norm", momentum=0.25), lambda nn: nn.BatchNorm2d(4, momentum=0.25), (4, 3, 5)),
    (lambda: pnn.BatchNorm3d(name="norm"), lambda nn: nn.BatchNorm3d(4), (4, 2, 3, 2)),
    (
        lambda: pnn.BatchNorm2d(name="norm", track_running_stats=False),
        lambda nn: nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 5),
    ),
    (lambda: pnn.InstanceNorm(name="norm"), lambda nn: nn.InstanceNorm1d(4), (4, 5)),
    (lambda: pnn.InstanceNorm(name="norm", affine=True), lambda nn: nn.InstanceNorm2d(4, affine=True), (4, 3, 5)),
    (lambda: pnn.InstanceNorm(name="norm", eps=0.1), lambda nn: nn.InstanceNorm3d(4, eps=0.1), (4, 2, 3, 2)),
    (lambda: pnn.GroupNorm(2, name="norm"), lambda nn: nn.GroupNorm(2, 4), (4, 3, 5)),
    (lambda: pnn.GroupNorm(1, name="norm", eps=0.1), lambda nn: nn.GroupNorm(1, 4, eps=0.1), (4,)),
    (lambda: pnn.GroupNorm(4, name="norm", affine=False), lambda nn: nn.GroupNorm(4, 4, affine=False), (4, 3)),
    (lambda: pnn.LayerNorm(name="norm"), lambda nn: nn.LayerNorm(5), (4, 5)),
    (lambda: pnn.LayerNorm(-2, name="norm", eps=0.1), lambda nn: nn.LayerNorm((3, 5), eps=0.1), (4, 3, 5)),
    (lambda: pnn.LayerNorm(1, name="norm", bias=False), lambda nn: nn.LayerNorm((4, 3), bias=False), (4, 3)),
    (lambda: pnn.LayerNorm(name="norm", affine=False), lambda nn: nn.LayerNorm(4, elementwise_affine=False), (4,)),
    (lambda: pnn.RMSNorm(name="norm"), lambda nn: nn.RMSNorm(5), (4, 5)),
    (lambda: pnn.RMSNorm(1, name="norm", eps=0.1), lambda nn: nn.RMSNorm((4, 5), eps=0.1), (4, 5)),
    (lambda: pnn.RMSNorm(name="norm", affine=False), lambda nn: nn.RMSNorm(4, elementwise_affine=False), (4,)),
    (lambda: pnn.LocalResponseNorm(3, name="norm"), lambda nn: nn.LocalResponseNorm(3), (4, 3, 5)),
    (
        lambda: pnn.LocalResponseNorm(5, 0.5, 0.6, 2.0, name="norm"),
        lambda nn: nn.LocalResponseNorm(5, 0.5, 0.6, 2.0), (4, 5, 3),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("build", "theirs", "shape"), ROWS)
def test_the_same_as_pytorch_when_not_training(build: Build, theirs: Any, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    network, x = alone(build(), shape), draw(6, *shape)
    module = as_torch(theirs(torch.nn), network).eval()
    np.testing.assert_allclose(network.predict(x), module(torch.tensor(x)).detach(), rtol=1e-10, atol=1e-12)
    single = alone(build(), shape, "float32")
    np.testing.assert_allclose(single.predict(x), network.predict(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("build", "theirs", "shape"), ROWS)
def test_the_same_as_pytorch_after_steps_of_training(build: Build, theirs: Any, shape: tuple[int, ...]) -> None:
    """The running variance but for the factor by which PyTorch's sample variance is larger."""
    torch = pytest.importorskip("torch")
    x, y, steps, size = draw(24, *shape), draw(24, 2, seed=1), 3, 8
    network = pnn.Sequential(
        pnn.Input(*shape, dtype="float64"), build(), pnn.Tanh(), pnn.Flatten(), pnn.Dense(2, name="top"), seed=0
    )
    for name in ("norm.weight", "norm.bias"):
        if name in network.parameters:
            network.parameters[name][...] += draw(*network.parameters[name].shape) / 10
    module, top = as_torch(theirs(torch.nn), network), as_torch(torch.nn.LazyLinear(2), network, "top.")
    chain = torch.nn.Sequential(module, torch.nn.Tanh(), torch.nn.Flatten(), top)
    descent = torch.optim.SGD(chain.parameters(), lr=0.1)
    for start in range(0, 24, size):
        descent.zero_grad()
        loss = torch.nn.functional.mse_loss(
            chain(torch.tensor(x[start : start + size])), torch.tensor(y[start : start + size])
        )
        loss.backward()
        descent.step()
    network.fit(
        x,
        y,
        loss="mean_squared_error",
        optimizer=pnn.SGD(0.1),
        epochs=1,
        batch_size=size,
        shuffle=False,
    )
    state = {f"norm.{name}": value.numpy() for name, value in module.state_dict().items()}
    state |= {f"top.{name}": value.numpy() for name, value in top.state_dict().items()}
    state.pop("norm.num_batches_tracked", None)
    assert set(state) == set(network.parameters)
    for name, wanted in state.items():
        if name == "norm.running_var":
            count, begun = size * int(np.prod(shape[1:])), (1 - module.momentum) ** steps
            wanted = begun + (wanted - begun) * (count - 1) / count
        np.testing.assert_allclose(network.parameters[name], wanted, rtol=1e-9, atol=1e-12, err_msg=name)


def test_running_statistics_follow_the_standards_formula() -> None:
    """The share of the old is 1 - momentum, and the variance is Σ(x - mean)² / n."""
    x, mean, variance = draw(12, 3, 4, 5), np.zeros(3), np.ones(3)
    network = pnn.Sequential(
        pnn.Input(3, 4, 5, dtype="float64"), pnn.BatchNorm2d(momentum=0.25), pnn.Flatten(), pnn.Dense(2), seed=0
    )
    network.fit(x, draw(12, 2), loss="mean_squared_error", epochs=2, batch_size=4, shuffle=False)
    for start in (0, 4, 8, 0, 4, 8):
        batch = x[start : start + 4]
        mean = 0.75 * mean + 0.25 * batch.mean((0, 2, 3))
        variance = 0.75 * variance + 0.25 * batch.var((0, 2, 3))
    np.testing.assert_allclose(network.parameters["batch_norm_1.running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(network.parameters["batch_norm_1.running_var"], variance, rtol=1e-12)


def test_predictions_and_validation_use_the_running_statistics() -> None:
    x, y = draw(12, 3), draw(12, 3, seed=1)
    network = pnn.Sequential(pnn.Input(3, dtype="float64"), pnn.BatchNorm1d(name="n"), seed=0)
    history = network.fit(x, y, loss="mean_squared_error", epochs=2, batch_size=6, validation=(x[:1], y[:1]))
    p = network.parameters
    wanted = (x - p["n.running_mean"]) / np.sqrt(p["n.running_var"] + 1e-5) * p["n.weight"] + p["n.bias"]
    np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-7)
    np.testing.assert_allclose(network.predict(x[:1]), wanted[:1], rtol=1e-7)
    assert history["val_loss"][history.best_epoch - 1] == pytest.approx(np.mean((wanted[0] - y[0]) ** 2), rel=1e-7)


def test_a_layer_used_twice_follows_both_of_its_inputs() -> None:
    torch = pytest.importorskip("torch")
    a, b, y = draw(8, 3), draw(8, 3, seed=1) * 3, draw(8, 3, seed=2)
    first, second = (pnn.Input(3, name=name, dtype="float64") for name in "ab")
    norm = pnn.BatchNorm1d(name="norm")
    network = pnn.Network([first, second], norm(first) * 2 + norm(second), seed=0)
    module = as_torch(torch.nn.BatchNorm1d(3), network)
    descent = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        descent.zero_grad()
        value = module(torch.tensor(a)) * 2 + module(torch.tensor(b))
        torch.nn.functional.mse_loss(value, torch.tensor(y)).backward()
        descent.step()
    network.fit(
        {"a": a, "b": b}, y, loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=2, batch_size=8, shuffle=False
    )
    for name in ("weight", "bias", "running_mean"):
        np.testing.assert_allclose(
            network.parameters[f"norm.{name}"], getattr(module, name).detach(), rtol=1e-10, atol=1e-12
        )
    begun = 0.9**4
    wanted = begun + (module.running_var.numpy() - begun) * 7 / 8
    np.testing.assert_allclose(network.parameters["norm.running_var"], wanted, rtol=1e-10)


def test_statistics_of_a_branch_that_is_not_trained_stay() -> None:
    x = pnn.Input(3, name="x", dtype="float64")
    trained, other = pnn.BatchNorm1d(name="one")(x), pnn.BatchNorm1d(name="two")(x * 2)
    network = pnn.Network(x, [trained, other], seed=0)
    network.fit(draw(8, 3), {"one": draw(8, 3)}, loss={"one": "mean_squared_error"}, epochs=1)
    assert network.parameters["one.running_mean"].all()
    assert not network.parameters["two.running_mean"].any()


def test_statistics_that_are_no_parameters_stay_in_force() -> None:
    """As in a network from elsewhere that holds them as constants: nothing could follow the batches."""
    constants = [
        Node(name, "Constant", (), (name,), {"value": Tensor("float64", (2,), values)})
        for name, values in (("mean", (1.0, 2.0)), ("variance", (4.0, 9.0)))
    ]
    norm = Node("norm", "BatchNormalization", ("x", "scale", "shift", "mean", "variance"), ("norm",), {"epsilon": 0.0})
    parameters = Parameter("scale", "float64", (2,)), Parameter("shift", "float64", (2,))
    graph = Graph((Value("x", "float64", ("batch", 2)),), ("norm",), parameters, (*constants, norm))
    network = pnn.Network.from_graph(graph, {"scale": np.ones(2), "shift": np.zeros(2)})
    x, y = draw(1, 2), np.zeros((1, 2))
    normalized = (x - [1, 2]) / [2, 3]
    network.fit(x, y, loss="mean_squared_error", optimizer=pnn.SGD(0.5), epochs=1)
    np.testing.assert_allclose(network.parameters["scale"], 1 - 0.5 * (normalized**2)[0], rtol=1e-12)
    np.testing.assert_allclose(network.parameters["shift"], -0.5 * normalized[0], rtol=1e-12)


def test_the_statistics_of_the_batch_where_no_others_are_kept() -> None:
    network = pnn.Sequential(pnn.Input(3, dtype="float64"), pnn.BatchNorm1d(track_running_stats=False, eps=0), seed=0)
    assert list(network.parameters) == ["batch_norm_1.weight", "batch_norm_1.bias"]
    x = draw(7, 3)
    for _ in range(2):
        np.testing.assert_allclose(network.predict(x), (x - x.mean(0)) / x.std(0), rtol=1e-10)
        network.fit(x, network.predict(x), loss="mean_squared_error", epochs=1, batch_size=7)


def test_parameters_have_pytorchs_names_and_first_values() -> None:
    network = pnn.Sequential(pnn.Input(6, 5, 5), pnn.BatchNorm2d(), pnn.GroupNorm(2), pnn.LayerNorm(-2), pnn.RMSNorm())
    found = {
        value.name: (value.shape, value.trainable, set(network.parameters[value.name].ravel().tolist()))
        for value in network.graph.parameters
    }
    assert found == {
        "batch_norm_1.weight": ((6,), True, {1}),
        "batch_norm_1.bias": ((6,), True, {0}),
        "batch_norm_1.running_mean": ((6,), False, {0}),
        "batch_norm_1.running_var": ((6,), False, {1}),
        "group_norm_1.weight": ((6,), True, {1}),
        "group_norm_1.bias": ((6,), True, {0}),
        "layer_norm_1.weight": ((5, 5), True, {1}),
        "layer_norm_1.bias": ((5, 5), True, {0}),
        "rms_norm_1.weight": ((5,), True, {1}),
    }


@pytest.mark.parametrize(("build", "theirs", "shape"), ROWS)
def test_a_saved_network_goes_on_where_it_was(
    build: Build, theirs: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    x, y = draw(8, *shape), draw(8, 2, seed=1)
    network = pnn.Sequential(pnn.Input(*shape, dtype="float64"), build(), pnn.Flatten(), pnn.Dense(2), seed=0)
    options: dict[str, Any] = {"loss": "mean_squared_error", "epochs": 1, "batch_size": 4, "shuffle": False}
    network.fit(x, y, **options)
    network.save(tmp_path / "n.safetensors")
    again = pnn.load(tmp_path / "n.safetensors")
    assert again.graph == network.graph
    np.testing.assert_array_equal(again.predict(x), network.predict(x))
    for each in (network, again):
        each.fit(x, y, **options)
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], array)


@pytest.mark.parametrize(
    ("build", "theirs", "shape", "opset"), [(*row, opset) for row in ROWS for opset in (14, 17, 25)]
)
def test_export_and_import(build: Build, theirs: Any, shape: tuple[int, ...], opset: int, tmp_path: Path) -> None:
    """In other operators where the opset has no such operator."""
    network = alone(build(), shape, "float32")
    report = export_onnx(network, tmp_path / "n.onnx", opset=opset)
    assert report.max_abs_error <= 1e-5
    x = draw(4, *shape).astype("float32")
    again = import_onnx(tmp_path / "n.onnx")
    np.testing.assert_array_equal(again.predict(x), network.predict(x))
    np.testing.assert_allclose(network.predict(x, engine="onnxruntime"), network.predict(x), rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_example_is_refused_in_training() -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.BatchNorm1d(name="norm"))
    message = (
        "'norm' (BatchNormalization): the variance of a batch needs two values or more of each channel, and X (1, 3) "
        "has 1: choose a batch_size that leaves no example over by itself"
    )
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        network.fit(draw(5, 3), draw(5, 3), loss="mean_squared_error", batch_size=4, epochs=1)


WRONG: list[tuple[Callable[[], Any], type[PortableNNError], str]] = [
    (lambda: pnn.BatchNorm1d(eps=-1), UsageError, "BatchNorm1d: eps must be a finite number from 0, not -1"),
    (lambda: pnn.LayerNorm(eps=float("nan")), UsageError, "LayerNorm: eps must be a finite number from 0, not nan"),
    (lambda: pnn.BatchNorm2d(momentum=1.5), UsageError, "BatchNorm2d: momentum must be a number from 0 to 1, not 1.5"),
    (lambda: pnn.GroupNorm(0), UsageError, "GroupNorm: groups must be a whole number from 1, not 0"),
    (lambda: pnn.LayerNorm(1.5), UsageError, "LayerNorm: axis must be a whole number, not 1.5"),  # type: ignore[arg-type]
    (lambda: pnn.RMSNorm((3,)), UsageError, "RMSNorm: axis must be a whole number, not (3,); "
     "PyTorch's normalized_shape (3,) is axis=-1 here"),  # type: ignore[arg-type]
    (
        lambda: pnn.LocalResponseNorm(0), UsageError,
        "LocalResponseNorm: size must be a whole number from 1, not 0",
    ),
    (
        lambda: pnn.BatchNorm1d()(pnn.Input(3, 4, 5)), GraphError,
        "'batch_norm' (BatchNorm1d): it needs (batch, channels) or (batch, channels, width) with known channels, not "
        "(batch, 3, 4, 5)",
    ),
    (
        lambda: pnn.BatchNorm2d(name="n")(pnn.Input("c", 4, 5)), GraphError,
        "'n' (BatchNorm2d): it needs (batch, channels, height, width) with known channels, not (batch, c, 4, 5)",
    ),
    (
        lambda: pnn.BatchNorm3d()(pnn.Input(3)), GraphError,
        "'batch_norm' (BatchNorm3d): it needs (batch, channels, depth, height, width) with known channels, not "
        "(batch, 3)",
    ),
    (
        lambda: pnn.InstanceNorm()(pnn.Input(3)), GraphError,
        "'instance_norm' (InstanceNorm): it needs (batch, channels, size, …) with known channels, not (batch, 3)",
    ),
    (
        lambda: pnn.GroupNorm(4)(pnn.Input(6, 2)), GraphError,
        "'group_norm' (GroupNorm): it needs a number of channels that 4 groups can share equally, not (batch, 6, 2)",
    ),
    (
        lambda: pnn.LayerNorm(-2)(pnn.Input("time", 3)), GraphError,
        "'layer_norm' (LayerNorm): it needs known sizes from axis -2 on, not (batch, time, 3)",
    ),
    (
        lambda: pnn.RMSNorm(2)(pnn.Input(3)), GraphError,
        "'rms_norm' (RMSNorm): it needs known sizes from axis 2 (the axis, not PyTorch's normalized_shape) on, not "
        "(batch, 3)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_arguments(make: Callable[[], Any], error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()
