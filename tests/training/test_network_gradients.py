"""Gradients of whole networks, as ``fit`` follows them, against torch's autograd and central differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from steps import classes, copied, draw, gradients_of

import portable_nn as pnn
from portable_nn.core.graph import Graph
from portable_nn.operators import Leaf, constant, emit, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

N = 6


@dataclass(frozen=True)
class Case:
    """A network, and the same in torch: ``torch(F, parameters, inputs)`` gives its outputs by name."""

    name: str
    build: Callable[[], pnn.Network]
    torch: Callable[[Any, Any, Any], Any]
    targets: dict[str, Array]

    def __str__(self) -> str:
        return self.name


def wide(*shape: int, name: str = "x") -> Leaf:
    return pnn.Input(*shape, name=name, dtype="float64")


def dense() -> pnn.Network:
    layers = pnn.Dense(7, name="a"), pnn.ReLU(), pnn.Dense(6, name="b"), pnn.Sigmoid(), pnn.Dense(3, name="y")
    return pnn.Sequential(wide(4), *layers, seed=1)


def dense_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    h = F.relu(F.linear(x["x"], p["a.weight"], p["a.bias"]))
    return {"y": F.linear(F.linear(h, p["b.weight"], p["b.bias"]).sigmoid(), p["y.weight"], p["y.bias"])}


def skip() -> pnn.Network:
    x = wide(5)
    h = pnn.Dense(5, name="a")(x)
    h = pnn.Tanh()(h) * 0.5 + x
    return pnn.Network(x, pnn.Dense(2, name="y", bias=False)(pnn.LeakyReLU(0.125)(h) + h), seed=2)


def skip_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    h = F.linear(x["x"], p["a.weight"], p["a.bias"]).tanh() * 0.5 + x["x"]
    return {"y": F.linear(F.leaky_relu(h, 0.125) + h, p["y.weight"])}


def two_inputs() -> pnn.Network:
    a, b = wide(3, name="a"), wide(2, name="b")
    joined = pnn.concatenate(pnn.Dense(4, name="da")(a), pnn.Softplus()(pnn.Dense(4, name="db")(b)), a)
    return pnn.Network([a, b], pnn.Dense(2, name="y")(joined), seed=3)


def two_inputs_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    import torch

    left = F.linear(x["a"], p["da.weight"], p["da.bias"])
    right = F.softplus(F.linear(x["b"], p["db.weight"], p["db.bias"]))
    return {"y": F.linear(torch.cat([left, right, x["a"]], 1), p["y.weight"], p["y.bias"])}


def two_outputs() -> pnn.Network:
    x = wide(4)
    h = pnn.Tanh()(pnn.Dense(5, name="a")(x))
    return pnn.Network(x, [pnn.Dense(3, name="y")(h), pnn.Dense(2, name="z")(h)], seed=4)


def two_outputs_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    h = F.linear(x["x"], p["a.weight"], p["a.bias"]).tanh()
    return {name: F.linear(h, p[f"{name}.weight"], p[f"{name}.bias"]) for name in "yz"}


def shared() -> pnn.Network:
    x = wide(4)
    layer = pnn.Dense(4, name="s")
    return pnn.Network(x, pnn.Dense(2, name="y")(layer(pnn.Tanh()(layer(x)))), seed=5)


def shared_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    h = F.linear(F.linear(x["x"], p["s.weight"], p["s.bias"]).tanh(), p["s.weight"], p["s.bias"])
    return {"y": F.linear(h, p["y.weight"], p["y.bias"])}


def sequence() -> pnn.Network:
    layers = pnn.Dense(4, name="a"), pnn.Tanh(), pnn.Flatten(), pnn.Dense(2, name="y")
    return pnn.Sequential(wide(3, 5), *layers, seed=6)


def sequence_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    h = F.linear(x["x"], p["a.weight"], p["a.bias"]).tanh().flatten(1)
    return {"y": F.linear(h, p["y.weight"], p["y.bias"])}


def log_softmax() -> pnn.Network:
    return pnn.Sequential(
        wide(2, 3),
        pnn.Reshape(6),
        pnn.Dense(3, name="a"),
        pnn.LogSoftmax(),
        pnn.Dense(2),
        pnn.Softmax(name="y"),
        seed=7,
    )


def log_softmax_torch(F: Any, p: Any, x: Any) -> Any:  # noqa: N803
    h = F.linear(x["x"].reshape(-1, 6), p["a.weight"], p["a.bias"]).log_softmax(1)
    return {"y": F.linear(h, p["dense_1.weight"], p["dense_1.bias"]).softmax(1)}


CASES = [
    Case("dense", dense, dense_torch, {"y": draw(N, 3)}),
    Case("skip", skip, skip_torch, {"y": draw(N, 2)}),
    Case("two inputs", two_inputs, two_inputs_torch, {"y": draw(N, 2)}),
    Case("two outputs", two_outputs, two_outputs_torch, {"y": draw(N, 3), "z": draw(N, 2)}),
    Case("shared", shared, shared_torch, {"y": draw(N, 2)}),
    Case("sequence", sequence, sequence_torch, {"y": draw(N, 2)}),
    Case("log_softmax", log_softmax, log_softmax_torch, {"y": draw(N, 2)}),
]


def inputs_of(network: pnn.Network) -> dict[str, Array]:
    return {
        value.name: draw(N, *(int(dim) for dim in value.shape[1:]), seed=10 + place)
        for place, value in enumerate(network.graph.inputs)
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_network_and_its_gradients_are_those_of_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    network = case.build()
    x = inputs_of(network)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in network.parameters.items()}
    outputs = case.torch(torch.nn.functional, p, {name: torch.tensor(array) for name, array in x.items()})
    predicted = network.predict(x)
    assert set(predicted) == set(outputs)
    for name, output in outputs.items():
        np.testing.assert_allclose(predicted[name], output.detach().numpy(), rtol=1e-12)
    loss = sum(((outputs[name] - torch.tensor(y)) ** 2).mean() for name, y in case.targets.items())
    loss.backward()
    found = gradients_of(network, x, case.targets, loss="mean_squared_error")
    assert set(found) == set(p)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, p[name].grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_central_differences(case: Case) -> None:
    """The loss that ``predict`` gives, when each weight is moved a little."""
    network = case.build()
    x = inputs_of(network)

    def loss() -> float:
        found = network.predict(x)
        return float(sum(np.mean((found[name] - y) ** 2) for name, y in case.targets.items()))

    found = gradients_of(network, x, case.targets, loss="mean_squared_error")
    for name, array in network.parameters.items():
        for place in list(np.ndindex(array.shape))[::3]:
            middle, step = array[place], 1e-6
            array[place] = middle + step
            above = loss()
            array[place] = middle - step
            slope = (above - loss()) / (2 * step)
            array[place] = middle
            assert found[name][place] == pytest.approx(slope, rel=1e-6, abs=1e-8), f"{name}{place}"


def test_only_the_outputs_that_have_a_loss_are_trained() -> None:
    network = two_outputs()
    x = draw(N, 4)
    found = gradients_of(network, x, {"z": draw(N, 2)}, loss={"z": "mean_squared_error"})
    assert not found["y.weight"].any()
    assert not found["y.bias"].any()
    assert found["z.weight"].all()
    assert found["a.weight"].all()


def test_outputs_with_different_losses_are_trained_on_the_sum() -> None:
    torch = pytest.importorskip("torch")
    network = two_outputs()
    x, y, z, w = draw(N, 4), classes(N, 3), (draw(N, 2) > 0).astype(float), np.linspace(0.5, 2, N)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in network.parameters.items()}
    outputs = two_outputs_torch(torch.nn.functional, p, {"x": torch.tensor(x)})
    first = torch.nn.functional.cross_entropy(outputs["y"], torch.tensor(y), reduction="none")
    second = torch.nn.functional.binary_cross_entropy_with_logits(outputs["z"], torch.tensor(z), reduction="none")
    (((first + second.mean(1)) * torch.tensor(w)).sum() / w.sum()).backward()
    losses = {"y": "cross_entropy", "z": "binary_cross_entropy"}
    found = gradients_of(network, x, {"y": y, "z": z}, loss=losses, sample_weight=w)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, p[name].grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)


def test_gradients_can_be_differentiated_again() -> None:
    """Σ (dΣxᵀ·tanh(Wx)/dx)² by W: a graph of a gradient of a gradient, against torch."""
    torch = pytest.importorskip("torch")
    x, w = Leaf("x", "float64", (N, 4)), Leaf("w", "float64", (3, 4), parameter=True)
    total = emit("ReduceSum", pnn.Tanh()(emit("Gemm", x, w, transB=1)), keepdims=0)
    [first] = gradients([total], [constant(1, "float64")], [x])
    assert first is not None
    [second] = gradients([emit("ReduceSum", first * first, keepdims=0)], [constant(1, "float64")], [w])
    assert second is not None
    network = pnn.Network.from_graph(trace([x], [second]).graph, {"w": draw(3, 4)})
    values, weights = torch.tensor(draw(N, 4, seed=1), requires_grad=True), torch.tensor(draw(3, 4), requires_grad=True)
    inner = torch.autograd.grad((values @ weights.T).tanh().sum(), values, create_graph=True)[0]
    (inner**2).sum().backward()
    np.testing.assert_allclose(network.predict(draw(N, 4, seed=1)), weights.grad.numpy(), rtol=1e-9)


def frozen(graph: Graph, *names: str) -> Graph:
    from msgspec.structs import replace

    parameters = tuple(replace(value, trainable=value.name not in names) for value in graph.parameters)
    return replace(graph, parameters=parameters)


@pytest.mark.parametrize("optimizer", [pnn.SGD(0.1), pnn.SGD(0.1, momentum=0.9), pnn.Adam(), pnn.AdamW()])
def test_parameters_that_are_not_trainable_stay(optimizer: Any) -> None:
    source = dense()
    network = pnn.Network.from_graph(frozen(source.graph, "a.weight", "y.bias"), source.parameters, seed=0)
    before = copied(network)
    network.fit(draw(N, 4), draw(N, 3), loss="mean_squared_error", optimizer=optimizer, epochs=3)
    moved = {name for name, array in network.parameters.items() if (array != before[name]).any()}
    assert moved == {"a.bias", "b.weight", "b.bias", "y.weight"}


def test_a_network_without_trainable_parameters_is_refused() -> None:
    source = dense()
    network = pnn.Network.from_graph(frozen(source.graph, *source.parameters), source.parameters)
    with pytest.raises(ValueError, match=r"^nothing can be trained: no gradient reaches a trainable parameter$"):
        network.fit(draw(N, 4), draw(N, 3), loss="mean_squared_error")


def test_no_gradient_flows_through_a_comparison() -> None:
    x = wide(3)
    steps = emit("Cast", emit("Greater", pnn.Dense(2)(x), pnn.Dense(2)(x)), to=11)
    with pytest.raises(ValueError, match=r"^nothing can be trained"):
        pnn.Network(x, steps).fit(draw(N, 3), draw(N, 2), loss="mean_squared_error")
