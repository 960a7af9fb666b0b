"""Models whose parts are called more than once, in loops and on several inputs: both ways, in every code base."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from portable_nn.core.errors import VerificationError

os.environ.setdefault("KERAS_BACKEND", "torch")

pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH = 6
SEEDS = [pytest.param(seed, marks=pytest.mark.long if seed < 4 else pytest.mark.sweep) for seed in range(520)]


class Step(NamedTuple):
    """A call of a part, so many times in turn, or a join of two values; the values are known by their places."""

    what: str
    values: tuple[int, ...]
    part: int = 0
    times: int = 1


Program = tuple[list[str], list[Step]]
"""The kinds of the parts, and the steps; the last value is the output."""

JOINS: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
}


def drawn(seed: int, kinds: Sequence[str], ends: Sequence[str]) -> Program:
    """A program of two inputs, in which most parts are called more than once."""
    rng = random.Random(seed)
    parts = [rng.choice(kinds) for _ in range(rng.randint(2, 3))]
    steps, count = list[Step](), 2
    for _ in range(rng.randint(3, 7)):
        if rng.random() < 0.7:
            steps.append(Step("call", (rng.randrange(count),), rng.randrange(len(parts)), rng.choice([1, 1, 1, 2, 3])))
        else:
            steps.append(Step(rng.choice([*JOINS]), (rng.randrange(count), rng.randrange(count))))
        count += 1
    twice = rng.randrange(len(parts))
    steps += [Step("call", (count - 1,), twice), Step("call", (rng.randrange(2),), twice)]
    return parts, _needed([*steps, Step(rng.choice(ends), (count, count + 1))])


def _needed(steps: list[Step]) -> list[Step]:
    """The steps that the last one depends on."""
    needed = {len(steps) + 1}
    for place in reversed(range(len(steps))):
        needed |= {*steps[place].values} if place + 2 in needed else set()
    kept = [0, 1, *(place + 2 for place in range(len(steps)) if place + 2 in needed)]
    return [steps[place - 2]._replace(values=tuple(map(kept.index, steps[place - 2].values))) for place in kept[2:]]


def run(
    steps: Sequence[Step], x: Any, y: Any, call: Callable[[int, Any], Any], joins: Mapping[str, Callable[..., Any]]
) -> Any:
    """What the steps compute, with what calls a part."""
    values = [x, y]
    for step in steps:
        given = [values[place] for place in step.values]
        if step.what == "call":
            for _ in range(step.times):
                given = [call(step.part, given[0])]
        else:
            given = [joins[step.what](*given)]
        values.append(given[0])
    return values[-1]


def inputs_of(seed: int) -> list[Any]:
    return [np.random.default_rng((seed, place)).standard_normal((5, WIDTH)) for place in range(2)]


@pytest.mark.parametrize("seed", SEEDS)
def test_modules_of_pytorch(seed: int) -> None:
    """Predicted and trained in float64 there and here, and as the module that is written for the network."""
    torch: Any = pytest.importorskip("torch")
    from portable_nn.converters.torch import read_torch, to_torch

    nn, functions = torch.nn, torch.nn.functional
    parts = {
        "dense": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()),
        "batch": lambda: nn.BatchNorm1d(WIDTH),
        "layer": lambda: nn.LayerNorm(WIDTH),
        "slopes": lambda: nn.PReLU(WIDTH),
        "block": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.3), nn.SiLU()),
        "turned": lambda: Turned(),
        "cell": lambda: Cell(),
    }
    joins = {
        **JOINS,
        "pairwise distance": functions.pairwise_distance,
        "cosine similarity": functions.cosine_similarity,
        "triplet loss": lambda a, b: functions.triplet_margin_loss(a, b, b.flip(0), reduction="none"),
        "attention": lambda a, b: functions.scaled_dot_product_attention(a[:, None], b[:, None], a[:, None])[:, 0],
    }

    class Turned(nn.Module):  # type: ignore[misc, name-defined]
        """A weight that is used as it is, and transposed."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) / WIDTH)

        def forward(self, x: Any) -> Any:
            return torch.tanh(x @ self.weight) @ self.weight.T

    class Cell(nn.Module):  # type: ignore[misc, name-defined]
        """A cell whose state is what goes in."""

        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            return self.cell(x, torch.tanh(x))

    kinds, steps = drawn(seed, [*parts], [*joins])

    class Shared(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([parts[kind]() for kind in kinds])

        def forward(self, x: Any, y: Any) -> Any:
            return run(steps, x, y, lambda part, value: self.parts[part](value), joins)

    torch.manual_seed(seed)
    module = Shared().double().train()
    given = tuple(map(torch.as_tensor, inputs_of(seed)))
    for _ in range(2):
        module(*given)  # Running statistics of their own.
    network = read_torch(module, given, prove_training=True).network
    back = to_torch(network, prove_training=True)
    with torch.no_grad():
        wanted = module.eval()(*given)
        np.testing.assert_allclose(back.double()(*given), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_models_of_keras(seed: int) -> None:
    """Predicted in float32 there and here, and by the model that is written for the network."""
    keras: Any = pytest.importorskip("keras")
    from portable_nn.converters.keras import from_keras, to_keras

    L = keras.layers  # noqa: N806

    def block() -> Any:
        return keras.Sequential([L.Input((WIDTH,)), L.Dense(WIDTH), L.BatchNormalization(), L.Activation("gelu")])

    parts: dict[str, Callable[[], Any]] = {
        "dense": lambda: L.Dense(WIDTH, activation="tanh"),
        "plain": lambda: L.Dense(WIDTH, use_bias=False),
        "batch": L.BatchNormalization,
        "layer": L.LayerNormalization,
        "slopes": L.PReLU,
        "activation": lambda: L.Activation("relu"),
        "block": block,
        "einsum": lambda: L.EinsumDense("ab,bc->ac", (WIDTH,), bias_axes="c", activation="silu"),
        "dropout": lambda: L.Dropout(0.3),
    }
    joins: dict[str, Callable[[Any, Any], Any]] = {
        "add": lambda a, b: L.Add()([a, b]),
        "subtract": lambda a, b: L.Subtract()([a, b]),
        "multiply": lambda a, b: L.Multiply()([a, b]),
        "cosine": lambda a, b: L.Dot(axes=1, normalize=True)([a, b]),
    }
    kinds, steps = drawn(seed, [*parts], [*joins])
    keras.utils.set_random_seed(seed)
    made = [parts[kind]() for kind in kinds]
    x, y = keras.Input((WIDTH,)), keras.Input((WIDTH,))
    model = keras.Model([x, y], run(steps, x, y, lambda part, value: made[part](value), joins))
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(rng.normal(1, 0.3, each.shape)) for each in model.get_weights()])
    given = [each.astype("float32") for each in inputs_of(seed)]
    wanted = model.predict(given, verbose=0)
    try:
        network = from_keras(model, prove_training=True)
    except VerificationError as error:
        if "no training can be compared: the loss does not fall" not in str(error):  # The cosine of equal values is 1.
            raise
        network = from_keras(model)
    found = network.compute("numpy", dict(zip((each.name for each in network.graph.inputs), given, strict=True)))
    near: Any = {"rtol": 1e-4, "atol": 1e-5 * max(1.0, float(np.abs(wanted).max()))}
    np.testing.assert_allclose(*found.values(), wanted, **near)
    back = to_keras(network)
    np.testing.assert_allclose(back.predict(given, verbose=0), wanted, **near)
    assert [w.shape for w in back.trainable_weights] == [w.shape for w in model.trainable_weights]


@pytest.mark.parametrize("seed", SEEDS)
def test_modules_of_flax(seed: int) -> None:
    """Predicted and trained in float64 there and here, and by the function that is written for the network."""
    jax: Any = pytest.importorskip("jax")
    linen: Any = pytest.importorskip("flax.linen")
    from portable_nn.converters.jax import from_jax, to_jax

    jnp = jax.numpy
    parts = {
        "dense": lambda: linen.Sequential([linen.Dense(WIDTH, param_dtype="float64"), jnp.tanh]),
        "layer": lambda: linen.LayerNorm(param_dtype="float64"),
        "batch": lambda: linen.BatchNorm(use_running_average=True, param_dtype="float64"),
        "slopes": lambda: linen.PReLU(param_dtype="float64"),
    }

    def cosine(a: Any, b: Any) -> Any:
        lengths = [jnp.sqrt((x * x).sum(-1) + 1e-3) for x in (a, b)]  # Its slope at 0 is a number.
        return (a * b).sum(-1) / (lengths[0] * lengths[1])

    joins = {**JOINS, "cosine": cosine}
    kinds, steps = drawn(seed, [*parts], [*joins])

    class Shared(linen.Module):  # type: ignore[misc, name-defined]
        def setup(self) -> None:
            self.parts = [parts[kind]() for kind in kinds]

        def __call__(self, x: Any, y: Any) -> Any:
            return run(steps, x, y, lambda part, value: self.parts[part](value), joins)

    with jax.enable_x64(True):
        given = tuple(map(jnp.asarray, inputs_of(seed)))
        module = Shared()
        variables = jax.tree.map(lambda array: array.astype("float64"), module.init(jax.random.key(seed), *given))
        network = from_jax(module, variables, given, prove_training=True).network
        written, apply, *_ = to_jax(network, prove_training=True)
        np.testing.assert_allclose(apply(written, *given), module.apply(variables, *given), rtol=1e-9, atol=1e-9)
    jax.clear_caches()
