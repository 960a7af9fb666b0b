"""Groups of parameters, clipping, several batches a step, averages and the newer optimizers, against torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from steps import copied, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array
from portable_nn.training.optimizers import OPTIMIZERS, Optimizer

BATCH, STEPS = 4, 10
X, Y = draw(BATCH * STEPS, 5, seed=1), draw(BATCH * STEPS, 3, seed=2)
MSE: dict[str, Any] = {"loss": "mean_squared_error"}
PLAIN: dict[str, Any] = {**MSE, "epochs": 1, "batch_size": BATCH, "shuffle": False}

After = Callable[[Any, Mapping[str, Any], int], None]
"""What is done with torch's parameters after each backward pass: (optimizer, parameters, step from 0)."""


def in_torch(network: pnn.Network, make: Callable[[Mapping[str, Any]], Any], after: After) -> dict[str, Array]:
    """What torch makes of the weights of ``network``."""
    torch = pytest.importorskip("torch")
    p = {name: torch.tensor(array, requires_grad=True) for name, array in network.parameters.items()}
    optimizer, linear = make(p), torch.nn.functional.linear
    for step in range(STEPS):
        part = slice(step * BATCH, (step + 1) * BATCH)
        h = linear(torch.tensor(X[part]), p["dense_1.weight"], p["dense_1.bias"]).tanh()
        found = linear(h, p["dense_2.weight"], p["dense_2.bias"])
        ((found - torch.tensor(Y[part])) ** 2).mean().backward()
        after(optimizer, p, step)
    return {name: each.detach().numpy() for name, each in p.items()}


def step(optimizer: Any, p: Mapping[str, Any], number: int) -> None:
    optimizer.step()
    optimizer.zero_grad()


def agree(network: pnn.Network, wanted: Mapping[str, Array], tolerance: float = 1e-9) -> None:
    for name, array in network.parameters.items():
        np.testing.assert_allclose(array, wanted[name], rtol=tolerance, atol=tolerance, err_msg=name)


# -- optimizers


@pytest.mark.parametrize("options", [{}, {"learning_rate": 0.05, "beta2": 0.6}, {"weight_decay": 0.1, "epsilon": 1e-3}])
def test_amsgrad(options: dict[str, float]) -> None:
    torch = pytest.importorskip("torch")
    network, ours = mlp(), pnn.AMSGrad(**options)
    wanted = in_torch(
        network,
        lambda p: torch.optim.Adam(
            p.values(), ours.learning_rate, (ours.beta1, ours.beta2), ours.epsilon, ours.weight_decay, amsgrad=True
        ),
        step,
    )
    network.fit(X, Y, optimizer=ours, **PLAIN)
    agree(network, wanted)


@pytest.mark.parametrize("ours", [pnn.Lion(), pnn.Lion(0.01, 0.8, 0.9), pnn.Lion(0.01, weight_decay=0.5)], ids=repr)
def test_lion(ours: pnn.Lion) -> None:
    """As algorithm 2 of the paper has it, on the gradients of torch."""
    torch = pytest.importorskip("torch")
    network, means = mlp(), dict[str, Any]()

    def paper(optimizer: Any, p: Mapping[str, Any], number: int) -> None:
        with torch.no_grad():
            for name, each in p.items():
                mean = means.get(name, torch.zeros_like(each))
                direction = torch.sign(ours.beta1 * mean + (1 - ours.beta1) * each.grad)
                each -= ours.learning_rate * (direction + ours.weight_decay * each)
                means[name] = ours.beta2 * mean + (1 - ours.beta2) * each.grad
                each.grad = None

    wanted = in_torch(network, lambda p: None, paper)
    network.fit(X, Y, optimizer=ours, **PLAIN)
    agree(network, wanted)


# -- groups


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
def test_groups_have_options_of_their_own(name: str) -> None:
    torch = pytest.importorskip("torch")
    network, rate = mlp(), 0.02
    kind = {"sgd": "SGD", "adamw": "AdamW", "rmsprop": "RMSprop"}[name]

    def make(p: Mapping[str, Any]) -> Any:
        groups = [
            {"params": [p["dense_1.weight"]], "lr": 0.002, "weight_decay": 0.1},
            {"params": [p["dense_1.bias"]], "lr": 0.002, "weight_decay": 0.0},
            {"params": [p["dense_2.weight"]], "weight_decay": 0.1},
            {"params": [p["dense_2.bias"]], "weight_decay": 0.0},
        ]
        return getattr(torch.optim, kind)(groups, lr=rate)

    wanted = in_torch(network, make, step)
    optimizer = OPTIMIZERS[name](rate, weight_decay=0.1)
    groups = {"dense_1": {"learning_rate": 0.002}, "*.bias": {"weight_decay": 0.0}}
    network.fit(X, Y, optimizer=optimizer, groups=groups, **PLAIN)
    agree(network, wanted)


def test_plain_descent_in_groups_and_a_schedule_of_all() -> None:
    """A rate of 0 keeps what it is for; the schedule multiplies the rates of all groups."""
    network = mlp()
    before = copied(network)
    options = {**PLAIN, "batch_size": len(X), "schedule": lambda epoch, epochs: 0.5}
    network.fit(X, Y, optimizer=pnn.SGD(0.1), groups={"dense_1": {"learning_rate": 0.0}}, **options)
    other = mlp()
    other.fit(X, Y, optimizer=pnn.SGD(0.05), **{**options, "schedule": None})
    np.testing.assert_array_equal(network.parameters["dense_1.weight"], before["dense_1.weight"])
    np.testing.assert_allclose(network.parameters["dense_2.weight"], other.parameters["dense_2.weight"], rtol=1e-12)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"dens": {"learning_rate": 1.0}}, "groups: no parameter matches 'dens': did you mean 'dense_"),
        ({"dense_1": {"lr": 1.0}}, "groups: Adam has no option 'lr': PyTorch's lr is learning_rate here"),
        (
            {"dense_1": {"momentum": 0.5}},
            "groups: Adam has no option 'momentum': it has learning_rate, weight_decay, beta1,",
        ),
        ({"dense_1": {"learning_rate": -1.0}}, "learning_rate must be a finite number from 0, not -1"),
    ],
)
def test_groups_that_are_none(groups: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        mlp().fit(X, Y, groups=groups, **PLAIN)


# -- clipping


@pytest.mark.parametrize("ours", [pnn.SGD(0.5), pnn.SGD(0.1, momentum=0.9), pnn.Adam(0.01)], ids=repr)
@pytest.mark.parametrize("norm", [0.05, 1.0, 1e6])
def test_clipping(ours: Optimizer, norm: float) -> None:
    torch = pytest.importorskip("torch")
    network = mlp()
    options = {"lr": ours.learning_rate, **({"momentum": ours.momentum} if isinstance(ours, pnn.SGD) else {})}

    def clip(optimizer: Any, p: Mapping[str, Any], number: int) -> None:
        torch.nn.utils.clip_grad_norm_(list(p.values()), norm)
        step(optimizer, p, number)

    wanted = in_torch(network, lambda p: getattr(torch.optim, type(ours).__name__)(p.values(), **options), clip)
    network.fit(X, Y, optimizer=ours, clip_norm=norm, **PLAIN)
    agree(network, wanted)


# -- several batches a step


@pytest.mark.parametrize(
    "optimizer", [pnn.SGD(0.1), pnn.SGD(0.1, momentum=0.9), pnn.Adam(0.01), pnn.Lion(0.01)], ids=repr
)
@pytest.mark.parametrize("weights", [None, np.random.default_rng(0).uniform(0, 2, len(X))], ids=["plain", "weighted"])
def test_batches_that_make_one_step_are_one_batch(optimizer: Optimizer, weights: Array | None) -> None:
    """Of 40 examples: 12 + 12 + 12 + 4, the last step of which is that of a smaller batch."""
    one, two = mlp(), mlp()
    options: dict[str, Any] = {**MSE, "optimizer": optimizer, "epochs": 3, "sample_weight": weights, "clip_norm": 0.3}
    one.fit(X, Y, batch_size=12, **options)
    history = two.fit(X, Y, batch_size=4, accumulate=3, **options)
    agree(two, one.parameters, 1e-10)
    assert np.isfinite(history["loss"]).all()


def test_a_batch_without_weight_in_a_step_of_several() -> None:
    weights = np.repeat([1, 0, 2, 0, 0, 0, 1, 1, 1, 0], 4)
    one, two = mlp(), mlp()
    options: dict[str, Any] = {**MSE, "optimizer": pnn.Adam(0.01), "epochs": 2, "shuffle": False}
    one.fit(X, Y, batch_size=8, sample_weight=weights, **options)
    two.fit(X, Y, batch_size=4, accumulate=2, sample_weight=weights, **options)
    agree(two, one.parameters, 1e-10)


def test_several_batches_a_step_in_halves() -> None:
    def network() -> pnn.Network:
        layers = pnn.Conv2d(4, 3, padding=1), pnn.ReLU(), pnn.Flatten(), pnn.Dense(3)
        return pnn.Sequential(pnn.Input(2, 8, 8, dtype="float64"), *layers, seed=0)

    one, two = network(), network()
    x, y = draw(320, 2, 8, 8), np.arange(320) % 3
    one.fit(x, y, optimizer="sgd", batch_size=160, epochs=1)
    two.fit(x, y, optimizer="sgd", batch_size=40, accumulate=4, epochs=1)
    agree(two, one.parameters, 1e-10)


# -- averages


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_averages_of_the_weights(share: float) -> None:
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("torch.optim.swa_utils")
    network, model = mlp(), torch.nn.ParameterDict()
    averages: list[Any] = []

    def make(p: Mapping[str, Any]) -> Any:
        for name, each in p.items():
            model[name.replace(".", "_")] = torch.nn.Parameter(each)
        averages.append(utils.AveragedModel(model, multi_avg_fn=utils.get_ema_multi_avg_fn(share)))
        return torch.optim.SGD(p.values(), lr=0.1)

    def average(optimizer: Any, p: Mapping[str, Any], number: int) -> None:
        step(optimizer, p, number)
        with torch.no_grad():
            for name, each in p.items():
                model[name.replace(".", "_")].copy_(each)
        averages[0].update_parameters(model)

    in_torch(network, make, average)
    validation = X[:8], Y[:8]
    history = network.fit(X, Y, optimizer=pnn.SGD(0.1), average=share, validation=validation, **PLAIN)
    wanted = {name: averages[0].module[name.replace(".", "_")].detach().numpy() for name in network.parameters}
    agree(network, wanted)
    assert history["val_loss"] == [pytest.approx(((network.predict(X[:8]) - Y[:8]) ** 2).mean())]


def test_training_goes_on_with_the_latest_weights() -> None:
    """Averages change neither the loss of the steps nor the steps."""
    one = mlp().fit(X, Y, **MSE, epochs=3, optimizer="adam")
    two = mlp().fit(X, Y, **MSE, epochs=3, optimizer="adam", average=0.99)
    assert one["loss"] == two["loss"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, "clip_norm must be a finite number above 0 or None, not 0.0"),
        ({"clip_norm": float("nan")}, "clip_norm must be a finite number above 0 or None, not nan"),
        ({"average": 1.0}, "average must be a number from 0 to less than 1 or None, not 1.0"),
        ({"accumulate": 0}, "accumulate must be a whole number from 1, not 0"),
        ({"accumulate": 2.5}, "accumulate must be a whole number from 1, not 2.5"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        mlp().fit(X, Y, **{**PLAIN, **options})


# -- a second fit


@pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "lion", pnn.SGD(0.1, momentum=0.9)])
def test_a_second_fit_goes_on_with_the_state(optimizer: Any) -> None:
    one, two = mlp(), mlp()
    options: dict[str, Any] = {**PLAIN, "groups": None}
    one.fit(X, Y, **{**options, "epochs": 3}, optimizer=optimizer)
    two.fit(X, Y, **options, optimizer=optimizer)
    two.fit(X, Y, **{**options, "epochs": 2}, optimizer="same")
    agree(two, one.parameters, 0)


def test_the_groups_are_the_same_as_well() -> None:
    one, two = mlp(), mlp()
    groups = {"dense_2": {"learning_rate": 0.5}}
    one.fit(X, Y, **{**PLAIN, "epochs": 2}, optimizer="adam", groups=groups)
    two.fit(X, Y, **PLAIN, optimizer="adam", groups=groups)
    two.fit(X, Y, **PLAIN, optimizer="same")
    agree(two, one.parameters, 0)


def test_what_was_frozen_in_between_is_left_out_and_what_was_not_trained_is_refused() -> None:
    network = mlp()
    network.freeze("dense_1")
    network.fit(X, Y, **PLAIN, optimizer="adam")
    network.unfreeze("dense_1")
    message = "optimizer='same' has no state for 'dense_1.weight', which the last fit did not train: give the optimizer"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        network.fit(X, Y, **PLAIN, optimizer="same")
    network.freeze("dense_1", "dense_2.bias")
    network.fit(X, Y, **PLAIN, optimizer="same")


def test_there_must_have_been_a_first_one() -> None:
    network = mlp()
    with pytest.raises(UsageError, match=r"^optimizer='same' goes on with the optimizer of this network's last fit"):
        network.fit(X, Y, **PLAIN, optimizer="same")
    network.fit(X, Y, **PLAIN, optimizer="adam")
    with pytest.raises(UsageError, match=r"^optimizer='same' has the groups of the last fit: leave groups out"):
        network.fit(X, Y, **PLAIN, optimizer="same", groups={"dense_1": {"learning_rate": 0.1}})


def test_a_second_fit_can_be_resumed(tmp_path: Any) -> None:
    """Its checkpoints have the state; in another process, the optimizer is given itself."""
    one, two = mlp(), mlp()
    one.fit(X, Y, **PLAIN, optimizer="adam")
    weights = copied(one)
    one.fit(X, Y, **{**PLAIN, "epochs": 2}, optimizer="same", checkpoint=tmp_path / "run")
    for path in sorted((tmp_path / "run").glob("checkpoint-*"))[-1:]:
        path.unlink()  # As if it had been stopped before.
    two.load_weights(weights)
    two.fit(X, Y, **{**PLAIN, "epochs": 2}, optimizer="adam", checkpoint=tmp_path / "run", resume=True)
    agree(two, one.parameters, 0)


# -- callbacks


def test_callbacks_see_the_rows_and_may_stop() -> None:
    seen: list[Any] = []

    def look(row: Mapping[str, float]) -> bool | None:
        seen.append(dict(row))
        return row["epoch"] == 3

    def count(row: Mapping[str, float]) -> None:
        seen.append(row["epoch"])

    history = mlp().fit(X, Y, **{**PLAIN, "epochs": 9}, validation=0.1, callbacks=[look, count])
    assert seen == [entry for row in history.rows for entry in (row, row["epoch"])]
    assert (len(history.rows), history.stopped) == (3, "callback")
    assert repr(history).startswith("History: 3 epochs, callback")
    assert len(mlp().fit(X, Y, **{**PLAIN, "epochs": 2}, callbacks=count).rows) == 2
