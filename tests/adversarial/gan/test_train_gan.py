"""Training a pair: each method against its closed form and on the book's pattern; determinism; what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.adversarial.gan import (
    GAN_LOSSES,
    GAN_METHODS,
    Fall,
    LinearFall,
    OptimisticAdam,
    Pattern,
    pattern_networks,
    train_gan,
    train_pattern,
)
from portable_nn.core.errors import ShapeError, TrainingError, UsageError

RATE = 0.1


def dirac(generator: float, discriminator: float) -> tuple[pnn.Network, pnn.Network]:
    """The game x·y: with the Wasserstein loss, data at 0 and noise 0, the losses are -D·G and D·G."""
    one = pnn.Sequential(
        pnn.Input(1, name="z", dtype="float64"), pnn.Dense(1, weight_initial="zeros", bias_initial=generator)
    )
    two = pnn.Sequential(
        pnn.Input(1, name="x", dtype="float64"), pnn.Dense(1, bias=False, weight_initial=discriminator)
    )
    return one, two


def zeros(count: int, rng: np.random.Generator) -> Any:
    return np.zeros((count, 1))


def play(method: str, steps: int, optimizer: Any = None, **options: Any) -> list[tuple[float, float]]:
    """The generator's and the discriminator's numbers after each step from (0.6, 0.7)."""
    one, two = dirac(0.6, 0.7)
    seen: list[tuple[float, float]] = []

    def note(row: Mapping[str, float]) -> None:
        seen.append((float(one.parameters["dense_1.bias"][0]), float(two.parameters["dense_1.weight"][0, 0])))

    train_gan(
        one,
        two,
        zeros,
        method=method,
        loss="wasserstein_gp",
        penalty=0.0,
        noise=zeros,
        steps=steps,
        batch_size=2,
        optimizers=optimizer or pnn.SGD(RATE),
        every=1,
        callback=note,
        **options,
    )
    return seen


FACTORS = {
    "simultaneous": math.sqrt(1 + RATE**2),
    "extragradient": math.sqrt(1 - RATE**2 + RATE**4),
    "consensus": math.sqrt((1 - RATE) ** 2 + RATE**2),
}
"""What a step multiplies the distance from the equilibrium by. The second: arXiv:1802.10551, the third: 1705.10461."""


@pytest.mark.parametrize("method", FACTORS)
def test_a_step_on_the_bilinear_game_has_the_known_factor(method: str) -> None:
    radius = [math.hypot(*place) for place in play(method, 20, consensus=1.0)]
    ratios = [after / before for before, after in zip([math.hypot(0.6, 0.7), *radius], radius, strict=False)]
    np.testing.assert_allclose(ratios, FACTORS[method], rtol=1e-12)


def test_alternating_conserves_what_it_should() -> None:
    """The discriminator first: x² + y² - rate·x·y or + stays the same (arXiv:1807.04740)."""
    places = play("alternating", 500)
    kept = [x * x + y * y - RATE * x * y for x, y in [(0.6, 0.7), *places]]
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


def test_several_steps_of_the_discriminator() -> None:
    """Three of its steps at the generator's 0.6, and one of the generator."""
    [(x, y)] = play("alternating", 1, discriminator_steps=3)
    assert y == pytest.approx(0.7 - 3 * RATE * 0.6, abs=1e-12)
    assert x == pytest.approx(0.6 + RATE * y, abs=1e-12)


def test_optimistic_adam_is_that_of_its_paper() -> None:
    """Algorithm 1 of arXiv:1711.00141 in a few lines."""
    beta1, beta2, epsilon = 0.5, 0.9, 1e-8
    found = play("optimistic_adam", 6, pnn.Adam(RATE, beta1=beta1, beta2=beta2, epsilon=epsilon))
    z, m, v, last = np.array([0.6, 0.7]), np.zeros(2), np.zeros(2), np.zeros(2)
    for step, place in enumerate(found, start=1):
        gradient = np.array([-z[1], z[0]])
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        now = RATE * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + epsilon)
        z, last = z - 2 * now + last, now
        np.testing.assert_allclose(place, z, rtol=1e-6)  # The decays are kept in binary32.


def test_extragradient_goes_on_with_what_the_optimizer_keeps() -> None:
    """With momentum, the second half step goes on from the velocity of the first (arXiv:1802.10551, algorithm 4)."""
    found = play("extragradient", 3, pnn.SGD(RATE, momentum=0.5))
    z, v = np.array([0.6, 0.7]), np.zeros(2)
    for place in found:
        v = 0.5 * v + [-z[1], z[0]]
        ahead = z - RATE * v
        v = 0.5 * v + [-ahead[1], ahead[0]]
        z = z - RATE * v
        np.testing.assert_allclose(place, z, rtol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("method", GAN_METHODS)
def test_every_method_learns_the_pattern(method: str) -> None:
    result = train_pattern(method, steps=1500)
    noise = np.random.default_rng(9).standard_normal((1000, 2), dtype=np.float32)
    made = result.averaged.predict(noise)
    np.testing.assert_allclose(made.mean(axis=0), [1, 0, 1, 0], atol=0.1)
    assert made.std(axis=0).max() < 0.15  # The data have 0.05.
    assert result.stopped == "finished"


@pytest.mark.long
@pytest.mark.parametrize("loss", [loss for loss in GAN_LOSSES if loss != "non_saturating"])
def test_every_loss_learns_the_pattern(loss: str) -> None:
    made = train_pattern(loss=loss, steps=1500).averaged.predict(np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(made[0], [1, 0, 1, 0], atol=0.15)


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes() -> None:
    def weights(seed: int, **options: Any) -> bytes:
        result = train_pattern(seed=seed, steps=30, **options)
        networks = (result.generator, result.discriminator, result.averaged)
        return b"".join(array.tobytes() for network in networks for array in network.parameters.values())

    assert weights(3) == weights(3)
    assert weights(3) == weights(3, eigenvalues=10, every=7)  # To watch changes nothing.
    assert weights(3) != weights(4)


def test_the_average_is_the_moving_one() -> None:
    """From the first weights on, over min(average, (k + 1) / (k + 10)), k = 0, 1, …; and the networks are changed."""
    generator, discriminator = pattern_networks()
    first = {name: array.copy() for name, array in generator.parameters.items()}
    wanted = {name: array.copy() for name, array in first.items()}

    def follow(row: Mapping[str, float]) -> None:
        step = int(row["step"]) - 1
        keep = min(0.3, (step + 1) / (step + 10))
        for name, array in generator.parameters.items():
            wanted[name] = keep * wanted[name] + (1 - keep) * array

    result = train_gan(generator, discriminator, Pattern(), steps=20, every=1, average=0.3, callback=follow)
    assert result.generator is generator
    assert result.discriminator is discriminator
    for name, array in result.averaged.parameters.items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-6)
        assert not np.array_equal(generator.parameters[name], first[name])
        assert not np.shares_memory(array, generator.parameters[name])


@pytest.mark.long
def test_history_metrics_and_eigenvalues() -> None:
    told: list[Mapping[str, float]] = []
    result = train_pattern(
        steps=25,
        every=10,
        metrics=lambda network: {"bias": float(network.parameters["dense_2.bias"].sum())},
        callback=told.append,
        rate=LinearFall(1.0, 0.5),
        eigenvalues=10,
    )
    assert told == result.history
    assert result["step"] == [10, 20, 25]
    assert list(result.history[0]) == ["step", "generator_loss", "discriminator_loss", "rate", "bias"]
    np.testing.assert_allclose(result["rate"], [1 - 0.5 * 9 / 25, 1 - 0.5 * 19 / 25, 1 - 0.5 * 24 / 25])
    assert [step for step, _ in result.eigenvalues] == [0, 10, 20]
    assert all(values.shape == (109,) and values.dtype == np.complex128 for _, values in result.eigenvalues)


@pytest.mark.long
def test_a_condition_goes_to_both() -> None:
    """Two classes at -1 and 1: what is asked for comes out."""

    def data(count: int, rng: np.random.Generator) -> dict[str, Any]:
        side = rng.integers(2, size=count)
        return {"x": (2 * side - 1 + 0.05 * rng.standard_normal(count))[:, None], "side": np.eye(2)[side]}

    noise, side = pnn.Input(1, name="noise"), pnn.Input(2, name="side")
    hidden = pnn.LeakyReLU(0.2)(pnn.Dense(8)(pnn.concatenate(noise, side)))
    generator = pnn.Network([noise, side], pnn.Dense(1)(hidden), seed=0)
    point, side = pnn.Input(1, name="x"), pnn.Input(2, name="side")
    hidden = pnn.LeakyReLU(0.2)(pnn.Dense(8)(pnn.concatenate(point, side)))
    discriminator = pnn.Network([point, side], pnn.Dense(1)(hidden), seed=1)
    result = train_gan(
        generator,
        discriminator,
        data,
        conditions=["side"],
        optimizers=pnn.Adam(0.005, beta1=0.0, beta2=0.99),
        r1=0.5,
        steps=1000,
        batch_size=32,
        average=0.99,
    )
    draws = np.random.default_rng(0).standard_normal((200, 1))
    for place, centre in enumerate((-1, 1)):
        feeds = {"noise": draws, "side": np.tile(np.eye(2)[place], (200, 1))}
        [made] = result.averaged.predict(feeds).values()
        assert made.mean() == pytest.approx(centre, abs=0.15)


def test_batch_normalisation_and_dropout_are_trained_as_such() -> None:
    """Running statistics follow the batches of their own player's step; what is drawn comes from the seed."""

    def once() -> pnn.Network:
        generator = pnn.Sequential(
            pnn.Input(2, name="noise"), pnn.Dense(8), pnn.BatchNorm1d(), pnn.ReLU(), pnn.Dense(4), seed=0
        )
        discriminator = pnn.Sequential(
            pnn.Input(4, name="pattern"), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dropout(0.2), pnn.Dense(1), seed=1
        )
        return train_gan(generator, discriminator, Pattern(), steps=20, r1=1.0).averaged

    first, second = once(), once()
    running = [name for name in first.parameters if "running_mean" in name]
    assert running
    assert all(np.abs(first.parameters[name]).max() > 0 for name in running)
    for name, array in first.parameters.items():
        np.testing.assert_array_equal(array, second.parameters[name])


@pytest.mark.long
def test_arrays_as_data() -> None:
    rows = np.tile(np.float32([1, 0, 1, 0]), (10, 1))
    made = train_pattern(data=rows, steps=1500).averaged.predict(np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(made[0], [1, 0, 1, 0], atol=0.1)


def test_schedules() -> None:
    fall, line = Fall(0.5, 0.001, until=0.8), LinearFall(1.0, 0.01, begin=0.5)
    assert [fall(step, 100) for step in (0, 80, 100)] == pytest.approx([0.5, 0.001, 0.001])
    assert fall(40, 100) == pytest.approx(math.sqrt(0.5 * 0.001))
    assert [line(step, 100) for step in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.505, 0.01])
    with pytest.raises(UsageError, match=r"^end must be a finite number above 0, not 0.0$"):
        Fall(1.0, 0.0)
    with pytest.raises(UsageError, match=r"0 <= begin < until <= 1, not 0.5 and 0.5$"):
        Fall(1.0, 0.1, begin=0.5, until=0.5)


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"method": "newton"}, "method must be one of alternating, simultaneous, extragradient, optimistic_adam, "
     "consensus, not 'newton'"),
    ({"loss": "mse"}, "loss must be one of saturating, non_saturating, wasserstein_gp, hinge, not 'mse'"),
    ({"steps": 0}, "steps must be a whole number from 1, not 0"),
    ({"batch_size": 2.5}, "batch_size must be a whole number from 1, not 2.5"),
    ({"every": True}, "every must be a whole number from 1, not True"),
    ({"eigenvalues": 0}, "eigenvalues must be a whole number from 1 or None, not 0"),
    ({"average": 1.0}, "average must be a number from 0 to less than 1, not 1"),
    (
        {"optimizers": "tiger"},
        "optimizer must be one of sgd, rmsprop, adam, adamw, amsgrad, lion, or an optimizer such as Adam(0.001)",
    ),
    ({"optimizers": (pnn.SGD(), pnn.SGD(), pnn.SGD())}, "optimizers must be two, the generator's and the "
     "discriminator's, or one, not 3"),
    ({"method": "optimistic_adam", "optimizers": (pnn.Adam(), pnn.SGD())}, "method 'optimistic_adam' needs Adam for "
     "both players, not SGD("),
    ({"method": "simultaneous", "discriminator_steps": 2}, "discriminator_steps=2 is for method 'alternating', not "
     "'simultaneous'"),
    ({"data": np.zeros((5, 3))}, "data: input 'pattern' needs (batch, 4), not (5, 3)"),
    ({"data": np.zeros((0, 4))}, "data must have at least one example"),
    ({"data": {"picture": np.zeros((5, 4))}}, "data: 2 faults\n  'picture' is not one of the inputs "
     "pattern\n  input 'pattern' is missing"),
    ({"data": lambda count, rng: np.zeros((count, 5))}, "data: input 'pattern' needs (batch, 4), not (2, 5)"),
    ({"noise": lambda count, rng: np.zeros((count, 3))}, "noise: input 'noise' needs (batch, 2), not (2, 3)"),
    ({"r1": -1.0}, "r1 must be a finite number from 0, a function of 2 arguments or None, not -1.0"),
    ({"penalty": math.nan}, "penalty must be a finite number from 0 or a function of 2 arguments, not nan"),
    ({"r1": "much"}, "r1 must be a finite number from 0, a function of 2 arguments or None, not 'much'"),
)  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, ShapeError), match="^" + re.escape(message)):
        train_pattern(**{"steps": 1, "method": "alternating", **options})


def test_training_that_diverges_says_so() -> None:
    with pytest.raises(
        TrainingError, match=r"^the generator loss is (nan|inf|-inf) after 100 steps: smaller learning "
    ):
        train_pattern(optimizers=pnn.SGD(1e6), steps=100)


def test_a_player_without_weights() -> None:
    generator, discriminator = pattern_networks()
    noise = pnn.Input(4, name="noise")
    with pytest.raises(
        UsageError, match=r"^the generator cannot be trained: no gradient of its loss reaches a trainable"
    ):
        train_gan(pnn.Network(noise, noise * 2), discriminator, Pattern(), steps=1)
    with pytest.raises(ShapeError, match=r"the generator's output '.*' is float32 \(batch, 4\), but"):
        train_gan(generator, generator, Pattern(), steps=1)


def test_what_is_no_adam_cannot_be_made_optimistic() -> None:
    with pytest.raises(UsageError, match=r"needs Adam for both players, not AdamW\(.* for the generator$"):
        train_pattern("optimistic_adam", optimizers=pnn.AdamW(), steps=1)
    assert OptimisticAdam(0.1).states == ("first", "second", "previous")
