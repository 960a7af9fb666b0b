"""Random networks in JAX and back, random modules of flax here, and a network that came from PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.operators.registry import Array

jax: Any = pytest.importorskip("jax")
linen: Any = pytest.importorskip("flax.linen")

from jax_modules import module_of_linen, module_of_nnx  # noqa: E402
from jax_slopes import compare  # noqa: E402

from portable_nn.converters.jax import from_jax, to_jax  # noqa: E402

LONG = (0, 1, 2, 4)
SEEDS = [pytest.param(seed, marks=pytest.mark.long if seed in LONG else pytest.mark.sweep) for seed in range(300)]
EXACT: Any = {"atol": 1e-10, "rtol": 1e-10}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield
    jax.clear_caches()


def random_network(seed: int) -> pnn.Network:
    drawing = pytest.importorskip("random_networks.drawing", exc_type=ImportError)
    net: pnn.Network = drawing.drawn(seed, "float64")[1]
    return net


def by_name(net: pnn.Network, inputs: Sequence[Array]) -> dict[str, Array]:
    return dict(net.compute("numpy", dict(zip((value.name for value in net.graph.inputs), inputs, strict=True))))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_compute_and_train_the_same_in_jax_and_come_back(seed: int) -> None:
    net = random_network(seed)
    variables, apply, *_ = to_jax(net, prove_training=True, **EXACT)
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal((4, *value.shape[1:])) for value in net.graph.inputs]

    def applied(params: Any) -> Any:
        return apply({**variables, "params": params}, *inputs)

    compare(net, inputs, variables["params"], applied)
    back = from_jax(apply, variables, tuple(inputs), verify=False).network
    wanted, found = by_name(net, inputs), by_name(back, inputs)
    if len(found) == 1:  # Of one output apply gives the array alone.
        found = dict(zip(wanted, found.values(), strict=True))
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-10 * max(1.0, np.abs(array).max()))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_modules_of_linen_compute_and_train_the_same_here(seed: int) -> None:
    module, variables, x = module_of_linen(seed)
    net, _, notes = from_jax(module, variables, x, prove_training=True, **EXACT)
    assert notes == ()
    compare(net, [x], variables["params"], lambda params: module.apply({**variables, "params": params}, x))
    back: Any = to_jax(net, verify=False).variables["params"]
    jax.tree.map(np.testing.assert_array_equal, back, variables["params"])


@pytest.mark.parametrize("seed", SEEDS)
def test_random_modules_of_nnx_compute_and_train_the_same_here(seed: int) -> None:
    module, x = module_of_nnx(seed)
    attends = any(type(layer).__name__ == "MultiHeadAttention" for layer in module.steps)
    limit = 1e-6 if attends else 1e-10  # nnx computes the weights of attention in single precision.
    found = from_jax(module, example=x, prove_training=not attends, atol=limit, rtol=limit)
    assert found.notes == ()
    np.testing.assert_allclose(found.network.predict(x), module(x), rtol=limit, atol=limit)


@pytest.mark.long
def test_a_resnet_of_pytorch_computes_the_same_in_jax() -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    from portable_nn.converters.torch import from_torch

    torch.manual_seed(0)
    module = models.resnet18().double().eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    net = from_torch(module, x, verify=False)
    variables, apply, *_ = to_jax(net, verify=False)
    params = variables["params"]
    assert params["layer1"]["0"]["conv1"]["kernel"].shape == (3, 3, 64, 64)
    assert "mean" in variables["batch_stats"]["bn1"]
    wanted = module(x)
    wanted.sum().backward()

    def total(params: Any) -> Any:
        y = apply({**variables, "params": params}, x.numpy())
        return y.sum(), y

    (_, found), slopes = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    expected = wanted.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    for name in ("conv1", "layer2.0.conv1", "layer4.1.conv2", "fc"):
        there = slopes
        for key in name.split("."):
            there = there[key]
        grad = module.get_submodule(name).weight.grad.numpy()
        turned = grad.T if grad.ndim == 2 else grad.transpose(2, 3, 1, 0)
        np.testing.assert_allclose(there["kernel"], turned, rtol=0, atol=1e-9 * np.abs(grad).max(), err_msg=name)
