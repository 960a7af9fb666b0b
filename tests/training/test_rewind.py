"""After "the loss is nan" a network has the weights from before the step that broke it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import TrainingError
from portable_nn.training.run import EVERY

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)).astype(np.float32)
Y = (X @ np.float32([[1], [2], [-1], [0.5]])).astype(np.float32)


def broken_at(step: int, batch_size: int = 2) -> np.ndarray[Any, Any]:
    """Targets of which one of a step, from 0, is finite, but too large for float32 when it is squared."""
    y = Y.copy()
    y[step * batch_size] = 1e30
    return y


def network() -> pnn.Sequential:
    layers = pnn.Dense(8), pnn.BatchNorm1d(), pnn.Dropout(0.3), pnn.Dense(1)
    return pnn.Sequential(pnn.Input(4), *layers, seed=0)


OPTIONS: dict[str, Any] = {"loss": "mean_squared_error", "batch_size": 2, "epochs": 1, "shuffle": False}


@pytest.mark.parametrize("step", [1, 5, EVERY, EVERY + 1, 2 * EVERY + 7])
@pytest.mark.parametrize(
    "more",
    [{}, {"optimizer": "adam"}, {"optimizer": pnn.SGD(0.01, 0.9), "average": 0.9}, {"clip_norm": 1.0}],
    ids=["sgd", "adam", "average", "clip"],
)
def test_the_weights_are_those_of_a_training_that_ended_before(step: int, more: dict[str, Any]) -> None:
    one, other = network(), network()
    with pytest.raises(TrainingError, match=r"^the loss is (nan|inf) in epoch 1: "):
        one.fit(X, broken_at(step), **OPTIONS, **more)
    other.fit(X[: 2 * step], Y[: 2 * step], **OPTIONS, **more)
    assert all(np.array_equal(one.parameters[name], array) for name, array in other.parameters.items())


def test_several_batches_a_step() -> None:
    one, other = network(), network()
    with pytest.raises(TrainingError):
        one.fit(X, broken_at(7), **OPTIONS, accumulate=3)
    other.fit(X[:12], Y[:12], **OPTIONS, accumulate=3)
    assert all(np.array_equal(one.parameters[name], array) for name, array in other.parameters.items())


def test_batches_of_an_iterable_in_a_second_epoch() -> None:
    def batches(y: np.ndarray[Any, Any]) -> list[tuple[Any, Any]]:
        return [(X[place : place + 2], y[place : place + 2]) for place in range(0, 20, 2)]

    one, other = network(), network()
    options = {"loss": "mean_squared_error", "steps_per_epoch": 10}
    with pytest.raises(TrainingError, match=r"in epoch 2: "):
        one.fit([*batches(Y), *batches(broken_at(3))], **options, epochs=2)
    other.fit([*batches(Y), *batches(Y)[:3]], loss="mean_squared_error", steps_per_epoch=13, epochs=1)
    assert all(np.array_equal(one.parameters[name], array) for name, array in other.parameters.items())


def test_a_rate_that_is_too_large_in_arithmetic_of_its_own() -> None:
    """w ← w - η·2·x·(x·w - y), until a loss is no float32."""
    weight = np.float64([0.5])
    net = pnn.Sequential(pnn.Input(1), pnn.Dense(1, bias=False, weight_initial=0.5), seed=0)
    x = np.full((200, 1), 2.0, np.float32)
    with pytest.raises(TrainingError):
        net.fit(x, x, loss="mean_squared_error", optimizer=pnn.SGD(1.0), batch_size=1, epochs=1)
    while (2 * weight - 2) ** 2 < np.finfo(np.float32).max:
        weight = weight - 1.0 * 2 * 2 * (2 * weight - 2)
    np.testing.assert_allclose(net.parameters["dense_1.weight"][0], weight, rtol=1e-5)


def test_a_last_step_that_breaks_weights_after_a_loss_that_is_a_number() -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(1), seed=0)
    before = {name: array.copy() for name, array in net.parameters.items()}
    with pytest.raises(TrainingError, match=r"^weights are NaN or infinite in epoch 1: .* smaller learning rate"):
        net.fit(X * 8, Y, **{**OPTIONS, "batch_size": 400}, optimizer=pnn.SGD(1e38))
    assert all(np.array_equal(net.parameters[name], array) for name, array in before.items())


def test_inputs_of_true_and_false() -> None:
    x = pnn.Input(4, dtype="bool")
    net = pnn.Network(inputs=x, outputs=pnn.Dense(1)(pnn.emit("Cast", x, to=1)), seed=0)
    with pytest.raises(TrainingError, match=r"^(weights|the loss) .*a smaller learning rate than 1e\+38 may help"):
        net.fit(X > 0, Y, loss="mean_squared_error", optimizer=pnn.SGD(1e38))


def test_pixels_are_named_by_their_range() -> None:
    """Of numbers without a sign, the least is not negated."""
    net = pnn.Sequential(pnn.Input(4, dtype="uint8"), pnn.Rescaling(1), pnn.Dense(1), seed=0)
    pixels = RNG.integers(1, 4, (64, 4)).astype(np.uint8)
    with pytest.raises(TrainingError) as raised:
        net.fit(pixels, Y[:64], loss="mean_squared_error", optimizer=pnn.SGD(1e30))
    assert "from 1 to 3" not in str(raised.value)


def test_a_training_that_is_resumed(tmp_path: Path) -> None:
    folder, one = tmp_path / "run", network()
    with pytest.raises(TrainingError):
        one.fit(X, broken_at(9), **OPTIONS, checkpoint=folder, every=4)
    other = network()
    with pytest.raises(TrainingError):
        other.fit(X, broken_at(9), **OPTIONS, checkpoint=folder, every=4, resume=True)
    assert all(np.array_equal(one.parameters[name], array) for name, array in other.parameters.items())


def test_running_statistics_are_numbers_as_well() -> None:
    x = X.copy()
    x[6] = 1e30
    one, other = network(), network()
    with pytest.raises(TrainingError, match=r"^weights are NaN or infinite in epoch 1: "):
        one.fit(x[:8], Y[:8], **OPTIONS)
    other.fit(x[:6], Y[:6], **OPTIONS)
    assert all(np.array_equal(one.parameters[name], array) for name, array in other.parameters.items())
