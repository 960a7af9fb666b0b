"""Twenty steps of each optimizer through ``fit``, against torch.optim."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.training.optimizers import OPTIMIZERS, Optimizer

BATCH, STEPS = 4, 20
X, Y = draw(BATCH * STEPS, 5, seed=1), draw(BATCH * STEPS, 3, seed=2)

CASES: list[tuple[Optimizer, str, dict[str, Any]]] = [
    (pnn.SGD(0.1), "SGD", {"lr": 0.1}),
    (pnn.SGD(0.1, weight_decay=0.02), "SGD", {"lr": 0.1, "weight_decay": 0.02}),
    (pnn.SGD(0.1, momentum=0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (pnn.SGD(0.1, momentum=0.8, nesterov=True), "SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (
        pnn.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1), "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    (pnn.RMSProp(), "RMSprop", {"lr": 0.001}),
    (pnn.RMSProp(0.01, alpha=0.9, epsilon=1e-4), "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4}),
    (pnn.RMSProp(0.01, weight_decay=0.1), "RMSprop", {"lr": 0.01, "weight_decay": 0.1}),
    (pnn.Adam(), "Adam", {}),
    (pnn.Adam(0.02, 0.8, 0.95, 1e-3), "Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
    (pnn.Adam(0.01, weight_decay=0.1), "Adam", {"lr": 0.01, "weight_decay": 0.1}),
    (pnn.AdamW(0.01), "AdamW", {"lr": 0.01}),
    (pnn.AdamW(0.02, weight_decay=0.5, beta1=0.7), "AdamW", {"lr": 0.02, "weight_decay": 0.5, "betas": (0.7, 0.999)}),
]  # fmt: skip

SCHEDULES: list[tuple[Any, Callable[[float], float]]] = [
    (None, lambda epoch: 1.0),
    (pnn.CosineDecay(0.1), lambda epoch: 0.1 + 0.45 * (1 + np.cos(np.pi * epoch / 2))),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["constant", "cosine"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-5)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]))
def test_twenty_steps_as_in_torch(
    case: tuple[Optimizer, str, dict[str, Any]], dtype: str, tolerance: float, schedule: tuple[Any, Any]
) -> None:
    torch = pytest.importorskip("torch")
    ours, name, options = case
    given, factor = schedule
    network = mlp(dtype=dtype)
    p = {name: torch.tensor(array, requires_grad=True) for name, array in network.parameters.items()}
    theirs = getattr(torch.optim, name)(list(p.values()), **options)
    network.fit(
        X, Y, loss="mean_squared_error", optimizer=ours, schedule=given, epochs=2, batch_size=2 * BATCH, shuffle=False
    )
    x, y = torch.tensor(X.astype(dtype)), torch.tensor(Y.astype(dtype))
    linear, rate = torch.nn.functional.linear, theirs.param_groups[0]["lr"]
    for step in range(STEPS):
        part = slice(step * 2 * BATCH % len(X), step * 2 * BATCH % len(X) + 2 * BATCH)
        theirs.param_groups[0]["lr"] = rate * float(factor(step / (STEPS / 2)))
        theirs.zero_grad()
        h = linear(x[part], p["dense_1.weight"], p["dense_1.bias"]).tanh()
        loss = ((linear(h, p["dense_2.weight"], p["dense_2.bias"]) - y[part]) ** 2).mean()
        loss.backward()
        theirs.step()
    for name, array in network.parameters.items():
        np.testing.assert_allclose(array, p[name].detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(("name", "optimizer"), [("sgd", pnn.SGD()), ("adam", pnn.Adam()), ("adamw", pnn.AdamW())])
def test_a_name_means_the_optimizer_with_its_defaults(name: str, optimizer: Optimizer) -> None:
    one, two = mlp(), mlp()
    one.fit(X, Y, loss="mean_squared_error", optimizer=name, epochs=1)
    two.fit(X, Y, loss="mean_squared_error", optimizer=optimizer, epochs=1)
    for key, array in one.parameters.items():
        np.testing.assert_array_equal(array, two.parameters[key])


def test_by_default_it_is_adam() -> None:
    assert pnn.SGD() == OPTIMIZERS["sgd"]() == pnn.SGD(0.01)  # type: ignore[call-arg]
    one, two = mlp(), mlp()
    one.fit(X, Y, loss="mean_squared_error", epochs=1)
    two.fit(X, Y, loss="mean_squared_error", epochs=1, optimizer=pnn.Adam(0.001, 0.9, 0.999))
    np.testing.assert_array_equal(one.parameters["dense_1.weight"], two.parameters["dense_1.weight"])


def test_each_fit_begins_with_a_fresh_state() -> None:
    """An optimizer is a description: used twice, it remembers nothing."""
    adam = pnn.Adam(0.01)
    mlp().fit(X, Y, loss="mean_squared_error", optimizer=adam, epochs=2)
    one, two = mlp(), mlp()
    one.fit(X, Y, loss="mean_squared_error", optimizer=adam, epochs=1)
    two.fit(X, Y, loss="mean_squared_error", optimizer=pnn.Adam(0.01), epochs=1)
    np.testing.assert_array_equal(one.parameters["dense_1.weight"], two.parameters["dense_1.weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pnn.SGD(-0.1), "learning_rate must be a finite number from 0, not -0.1"),
        (lambda: pnn.Adam(float("nan")), "learning_rate must be a finite number from 0, not nan"),
        (lambda: pnn.Adam(float("inf")), "learning_rate must be a finite number from 0, not inf"),
        (lambda: pnn.SGD(0.1, weight_decay=-1), "weight_decay must be a finite number from 0, not -1"),
        (lambda: pnn.SGD(0.1, momentum=1), "momentum must be a number from 0 to less than 1, not 1"),
        (lambda: pnn.RMSProp(alpha=1.5), "alpha must be a number from 0 to less than 1, not 1.5"),
        (lambda: pnn.Adam(beta1=1), "beta1 must be a number from 0 to less than 1, not 1"),
        (lambda: pnn.AdamW(beta2=-0.1), "beta2 must be a number from 0 to less than 1, not -0.1"),
        (lambda: pnn.Adam(epsilon=-1e-8), "epsilon must be a finite number from 0, not -1e-08"),
        (lambda: pnn.SGD(0.1, nesterov=True), "nesterov needs a momentum of more than 0, such as 0.9"),
    ],
)
def test_wrong_arguments(make: Callable[[], Optimizer], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("optimizer", ["sgdd", 0.1, pnn.SGD])
def test_what_is_no_optimizer(optimizer: Any) -> None:
    names = f"one of {', '.join(OPTIMIZERS)}, or an optimizer such as Adam"
    with pytest.raises(UsageError, match=rf"^optimizer must be {names}.*, not {re.escape(repr(optimizer))}$"):
        mlp().fit(X, Y, loss="mean_squared_error", optimizer=optimizer)
