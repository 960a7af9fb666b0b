"""The penalties' and methods' gradients against PyTorch's, against finite differences, and by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan.graph import MIX, PENALTY, R1, GanGraph
from portable_nn.adversarial.gan.jacobian import GameJacobian
from portable_nn.adversarial.gan.objectives import GAN_LOSSES, find_gan_loss, squared_gradients
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Symbol, emit, trace
from portable_nn.operators.registry import Array
from portable_nn.operators.tracing import reachable

ACTIVATIONS: Mapping[str, Callable[[], Any]] = {
    "Tanh": pnn.Tanh, "LeakyReLU": lambda: pnn.LeakyReLU(0.2), "Softplus": pnn.Softplus, "GELU": pnn.GELU,
}  # fmt: skip


def networks(activation: str = "Tanh", seed: int = 0) -> tuple[pnn.Network, pnn.Network]:
    layer = ACTIVATIONS[activation]
    generator = pnn.Sequential(
        pnn.Input(3, name="z", dtype="float64"), pnn.Dense(5), layer(), pnn.Dense(4, bias_initial=0.1), seed=seed
    )
    discriminator = pnn.Sequential(
        pnn.Input(4, name="x", dtype="float64"),
        pnn.Dense(6),
        layer(),
        pnn.Dense(5),
        layer(),
        pnn.Dense(1),
        seed=seed + 1,
    )
    return generator, discriminator


def values(
    pair: GanGraph, wanted: list[Symbol], networks: tuple[pnn.Network, pnn.Network], feeds: Mapping[str, Any]
) -> list[Array]:
    """The numbers that symbols of a pair stand for."""
    needed = {id(origin) for origin in reachable(wanted)}
    inputs = [leaf for leaf in pair.leaves() if id(leaf.origin) in needed]
    traced = trace(inputs, wanted)
    arrays = {
        f"{role}/{name}": array
        for role, network in zip(("generator", "discriminator"), networks, strict=True)
        for name, array in network.parameters.items()
    }
    shapes = {str(leaf.name): np.shape(feeds[str(leaf.name)]) for leaf in inputs}
    plan = Plan(traced.graph, shapes, arrays)
    for name, array in plan.inputs.items():
        array[...] = feeds[name]
    plan.run()
    return [plan.outputs[traced.names[symbol]].copy() for symbol in wanted]


def feeds(rng: np.random.Generator, count: int = 7) -> dict[str, Any]:
    return {
        "real/x": rng.normal(size=(count, 4)),
        "noise/z": rng.normal(size=(count, 3)),
        R1: 0.7,
        PENALTY: 10.0,
        MIX: rng.random((count, 1)),
    }


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_the_gradients_are_those_of_torch(activation: str, loss: str) -> None:
    """Of both losses, with both penalties in the discriminator's: two passes backwards, as torch.autograd does them."""
    torch = pytest.importorskip("torch")
    both, given = networks(activation), feeds(np.random.default_rng(1))
    pair = GanGraph(both[0].graph, both[1].graph, find_gan_loss(loss), r1=True, penalty=True)
    flows = {**pair.flows("generator"), **pair.flows("discriminator")}
    names = [leaf.name for leaf in flows]
    found = values(pair, [*pair.losses.values(), *flows.values()], both, given)

    functions = {
        "Tanh": torch.tanh,
        "LeakyReLU": lambda x: torch.nn.functional.leaky_relu(x, 0.2),
        "Softplus": torch.nn.functional.softplus,
        "GELU": torch.nn.functional.gelu,
    }
    weights = [
        {name: torch.tensor(array, requires_grad=True) for name, array in network.parameters.items()}
        for network in both
    ]

    def forward(parameters: Mapping[str, Any], x: Any) -> Any:
        pairs = list(zip(*[iter(parameters.values())] * 2, strict=True))
        for place, (weight, bias) in enumerate(pairs):
            x = x @ weight.T + bias
            x = functions[activation](x) if place < len(pairs) - 1 else x
        return x

    real = torch.tensor(given["real/x"], requires_grad=True)
    fake = forward(weights[0], torch.tensor(given["noise/z"]))
    mixed = real * torch.tensor(given[MIX]) + fake * (1 - torch.tensor(given[MIX]))
    on_real, on_fake = forward(weights[1], real), forward(weights[1], fake)
    soft, relu = torch.nn.functional.softplus, torch.relu
    to_generator, to_real, to_fake = {
        "saturating": (-soft(on_fake), soft(-on_real), soft(on_fake)),
        "non_saturating": (soft(-on_fake), soft(-on_real), soft(on_fake)),
        "wasserstein_gp": (-on_fake, -on_real, on_fake),
        "hinge": (-on_fake, relu(1 - on_real), relu(1 + on_fake)),
    }[loss]
    [slope] = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    [between] = torch.autograd.grad(forward(weights[1], mixed).sum(), mixed, create_graph=True)
    penalties = 0.35 * (slope**2).sum(1).mean() + 10 * ((between.norm(dim=1) - 1) ** 2).mean()
    losses = [to_generator.mean(), to_real.mean() + to_fake.mean() + penalties]
    wanted = [
        flow
        for own, own_loss in zip(weights, losses, strict=True)
        for flow in torch.autograd.grad(own_loss, list(own.values()), retain_graph=True, allow_unused=True)
    ]
    np.testing.assert_allclose(found[0], losses[0].item(), rtol=1e-12)
    np.testing.assert_allclose(found[1], losses[1].item(), rtol=1e-10)
    expected = [flow for flow in wanted if flow is not None]
    assert len(expected) == len(names)
    for name, mine, theirs in zip(names, found[2:], expected, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-8, atol=1e-11, err_msg=str(name))


def test_the_r1_gradient_by_finite_differences() -> None:
    """The slopes of D by central differences of D; the penalty's gradient by those of the penalty."""
    both, given = networks("Tanh"), feeds(np.random.default_rng(2))
    pair = GanGraph(both[0].graph, both[1].graph, find_gan_loss("hinge"), r1=True)
    squares = squared_gradients(pair.real_score, [*pair.real.values()])
    [found] = values(pair, [squares], both, given)
    h, x = 1e-5, given["real/x"]
    steps = np.eye(4) * h
    by_hand = sum(((both[1].predict(x + step) - both[1].predict(x - step))[:, 0] / (2 * h)) ** 2 for step in steps)
    np.testing.assert_allclose(found, by_hand, rtol=1e-8)
    for leaf, flow in pair.flows("discriminator").items():
        [gradient] = values(pair, [flow], both, given)
        array = both[1].parameters[str(leaf.name).removeprefix("discriminator/")]
        place = tuple(size // 2 for size in array.shape)
        sides = []
        for step in (h, -2 * h):
            array[place] += step
            sides.append(float(values(pair, [pair.losses["discriminator"]], both, given)[0]))
        array[place] += h
        assert (sides[0] - sides[1]) / (2 * h) == pytest.approx(gradient[place], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_the_losses_by_their_formulas(loss: str) -> None:
    both, given = networks(), feeds(np.random.default_rng(3))
    pair = GanGraph(both[0].graph, both[1].graph, find_gan_loss(loss))
    found = values(pair, [pair.losses["generator"], pair.losses["discriminator"]], both, given)
    real, fake = both[1].predict(given["real/x"]), both[1].predict(both[0].predict(given["noise/z"]))
    p_real, p_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    cross = -np.log(p_real).mean() - np.log(1 - p_fake).mean()
    wanted = {
        "saturating": (np.log(1 - p_fake).mean(), cross),
        "non_saturating": (-np.log(p_fake).mean(), cross),
        "wasserstein_gp": (-fake.mean(), fake.mean() - real.mean()),
        "hinge": (-fake.mean(), np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()),
    }[loss]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_jacobian_by_finite_differences() -> None:
    generator, discriminator = networks("Tanh")
    rng = np.random.default_rng(4)
    jacobian = GameJacobian(generator, discriminator, (rng.normal(size=(5, 4)), rng.normal(size=(5, 3))), r1=0.3)
    found, h = jacobian(), 1e-5
    assert found.shape == (jacobian.size, jacobian.size)
    columns = []
    for network in (generator, discriminator):
        for array in network.parameters.values():
            for place in np.ndindex(array.shape):
                sides = []
                for step in (h, -2 * h):
                    array[place] += step
                    sides.append(jacobian.field())
                array[place] += h
                columns.append((sides[0] - sides[1]) / (2 * h))
    by_hand = np.stack(columns, axis=1)
    moved = np.abs(by_hand).max(axis=0) > 0  # The last bias of D moves no gradient of a penalty, but that of its loss.
    assert moved.sum() >= jacobian.size - 1
    np.testing.assert_allclose(found, by_hand, atol=1e-8)


def dirac(weight: float = 0.0) -> tuple[pnn.Network, pnn.Network]:
    """Mescheder's: the generator is one number, the discriminator a line through the origin."""
    generator = pnn.Sequential(pnn.Input(1, name="z"), pnn.Dense(1, weight_initial="zeros", bias_initial=weight))
    return generator, pnn.Sequential(pnn.Input(1, name="x"), pnn.Dense(1, bias=False, weight_initial=weight))


@pytest.mark.parametrize("gamma", [None, 0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("loss", ["saturating", "non_saturating"])
def test_the_dirac_gan_has_the_published_eigenvalues(gamma: float | None, loss: str) -> None:
    """-gamma/2 ± √(gamma²/4 - 1/4) for the field -F (arXiv:1801.04406); 0 for the weight that meets no noise."""
    zero = np.zeros((3, 1))
    found = GameJacobian(*dirac(), (zero, zero), loss=loss, r1=gamma).eigenvalues()
    root = np.sqrt(complex((gamma or 0) ** 2 / 4 - 0.25))
    wanted = [(gamma or 0) / 2 - root, (gamma or 0) / 2 + root, 0]
    for value in wanted:
        assert np.abs(found - value).min() < 1e-7  # At the double root, rounding grows to its square root.


def test_what_does_not_fit_is_named() -> None:
    generator, _ = networks()
    narrow = pnn.Sequential(pnn.Input(3, name="x", dtype="float64"), pnn.Dense(1))
    loss = find_gan_loss("hinge")
    with pytest.raises(
        ShapeError, match=r"output 'dense_2' is float64 \(batch, 4\), but .* input 'x' float64 \(batch, 3\)"
    ):
        GanGraph(generator.graph, narrow.graph, loss)
    wide = pnn.Sequential(pnn.Input(4, name="x", dtype="float64"), pnn.Dense(2))
    with pytest.raises(ShapeError, match=r"one output, its score \(batch,\) or \(batch, 1\), not \(batch, 2\)"):
        GanGraph(generator.graph, wide.graph, loss)
    image, digit = pnn.Input(4, name="x", dtype="float64"), pnn.Input(2, name="digit", dtype="float64")
    two = pnn.Network([image, digit], pnn.Dense(1)(pnn.concatenate(image, digit)))
    with pytest.raises(ShapeError, match=r"the generator makes dense_2, but the discriminator takes x, digit"):
        GanGraph(generator.graph, two.graph, loss)
    with pytest.raises(UsageError, match=r"the generator has no input 'digit' for a condition: z"):
        GanGraph(generator.graph, two.graph, loss, conditions=["digit"])
    blind = pnn.Network(image, emit("ReduceMean", image * 0, keepdims=1))
    with pytest.raises(UsageError, match=r"the discriminator cannot be trained: no gradient of its loss reaches"):
        GanGraph(generator.graph, blind.graph, loss).flows("discriminator")
    with pytest.raises(UsageError, match=r"to be penalised, but its score does not depend on its input"):
        squared_gradients(emit("Identity", digit), [image])
    with pytest.raises(UsageError, match=r"loss must be one of saturating, .*, hinge, not 'lsgan'"):
        find_gan_loss("lsgan")


def test_a_jacobian_needs_small_networks_and_a_pair_of_batches() -> None:
    generator = pnn.Sequential(pnn.Input(8, name="z"), pnn.Dense(300), pnn.Dense(4))
    discriminator = pnn.Sequential(pnn.Input(4, name="x"), pnn.Dense(1))
    batch = np.zeros((2, 4)), np.zeros((2, 8))
    with pytest.raises(UsageError, match=r"for up to 3,000 weights, and these two networks have 3,909"):
        GameJacobian(generator, discriminator, batch)
    small = dirac()
    with pytest.raises(UsageError, match=r"batch must be a pair \(real examples, noise\)"):
        GameJacobian(*small, np.zeros((2, 1)))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"equally many, at least 1, not \[2, 3\]"):
        GameJacobian(*small, (np.zeros((2, 1)), np.zeros((3, 1))))
    with pytest.raises(ShapeError, match=r"the noise: input 'z' needs \(batch, 1\), not \(2, 2\)"):
        GameJacobian(*small, (np.zeros((2, 1)), np.zeros((2, 2))))
