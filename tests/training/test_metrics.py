"""Metrics against scikit-learn's, after each epoch, on the validation set and on the training examples."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from steps import classes, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array
from portable_nn.training.metrics import METRICS

sklearn = pytest.importorskip("sklearn.metrics")

X, W = draw(40, 5, seed=1), np.random.default_rng(3).uniform(0, 2, 40)
NUMBERS, Y = classes(40, 3), draw(40, 3, seed=2)
MSE: dict[str, Any] = {"loss": "mean_squared_error"}


def theirs(name: str, y: Any, found: Any, weights: Array | None, **options: Any) -> float:
    return float(getattr(sklearn, f"{name}_score")(y, found, sample_weight=weights, **options))


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("targets", ["numbers", "one-hot"])
def test_metrics_of_classes(targets: str, weights: Array | None) -> None:
    network, names = mlp(), ["accuracy", "precision", "recall", "f1"]
    y = NUMBERS if targets == "numbers" else np.eye(3)[NUMBERS]
    given = (X, y) if weights is None else (X, y, weights)
    history = network.fit(X, y, epochs=2, validation=given, metrics=names)
    found = network.predict(X).argmax(1)
    macro = {"average": "macro", "zero_division": 0}
    for name in names:
        wanted = theirs(name, NUMBERS, found, weights, **({} if name == "accuracy" else macro))
        assert history[f"val_{name}"][-1] == pytest.approx(wanted, abs=1e-12), name


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
def test_metrics_of_one_output(weights: Array | None) -> None:
    network = pnn.Sequential(pnn.Input(5, dtype="float64"), pnn.Dense(1), seed=0)
    y = NUMBERS > 1
    given = (X, y) if weights is None else (X, y, weights)
    names = ["accuracy", "precision", "recall", "f1"]
    history = network.fit(X, y, loss="binary_cross_entropy", epochs=2, validation=given, metrics=names)
    found = network.predict(X)[:, 0] > 0
    for name in names:
        wanted = theirs(name, y, found, weights, **({} if name == "accuracy" else {"zero_division": 0}))
        assert history[f"val_{name}"][-1] == pytest.approx(wanted, abs=1e-12), name


@pytest.mark.parametrize("loss", ["mean_squared_error", "gaussian"])
@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
def test_metrics_of_numbers(weights: Array | None, loss: str) -> None:
    width = 6 if loss == "gaussian" else 3
    network = pnn.Sequential(pnn.Input(5, dtype="float64"), pnn.Dense(width), seed=0)
    given = (X, Y) if weights is None else (X, Y, weights)
    names = ["mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2"]
    history = network.fit(X, Y, loss=loss, epochs=2, validation=given, metrics=names)
    found, options = network.predict(X)[:, :3], {"sample_weight": weights}
    wanted = [
        sklearn.mean_absolute_error(Y, found, **options),
        sklearn.mean_squared_error(Y, found, **options),
        np.sqrt(sklearn.mean_squared_error(Y, found, **options)),
        sklearn.r2_score(Y, found, **options),
    ]
    assert [history[f"val_{name}"][-1] for name in names] == pytest.approx(wanted, rel=1e-12)


def test_no_class_was_found_or_is_there() -> None:
    """Of a single output: nothing is positive, and nothing is said to be."""
    none, weights = np.full((4, 1), -1.0), np.ones(4)
    zeros = [METRICS[name].measure(none, np.zeros((4, 1)), weights, 0.0) for name in ("precision", "recall", "f1")]
    assert zeros == [0, 0, 0]


def largest_error(outputs: Array, targets: Array) -> float:
    return float(np.abs(outputs - targets).max())


def test_functions_on_training_and_validation() -> None:
    network = mlp()
    history = network.fit(
        X[:30], Y[:30], **MSE, epochs=2, validation=(X[30:], Y[30:]), metrics=[largest_error, "r2"], train_metrics=True
    )
    columns = ["loss", "learning_rate", "largest_error", "r2", "val_loss", "val_largest_error", "val_r2"]
    assert list(history.rows[0]) == ["epoch", *columns]
    errors = np.abs(network.predict(X) - Y).max(1)
    assert (history["largest_error"][-1], history["val_largest_error"][-1]) == (errors[:30].max(), errors[30:].max())
    assert history["r2"][-1] == pytest.approx(sklearn.r2_score(Y[:30], network.predict(X[:30])), rel=1e-12)


def test_without_validation_they_are_those_of_the_training_examples() -> None:
    network = mlp()
    rule = pnn.EarlyStopping(3, "mean_absolute_error")
    history = network.fit(X, Y, **MSE, epochs=2, metrics="mean_absolute_error", early_stopping=rule)
    best = history["mean_absolute_error"][(history.best_epoch or 0) - 1]
    assert best == pytest.approx(np.abs(network.predict(X) - Y).mean())


def test_each_output_has_its_own() -> None:
    x = pnn.Input(5, dtype="float64")
    network = pnn.Network(x, [pnn.Dense(3, name="kind")(x), pnn.Dense(2, name="size")(x)], seed=0)
    history = network.fit(
        X,
        {"kind": NUMBERS, "size": Y[:, :2]},
        loss={"kind": "cross_entropy", "size": pnn.Huber(weight=0.5)},
        metrics={"kind": ["accuracy", "f1"], "size": "mean_absolute_error"},
        validation=0.25,
        epochs=1,
    )
    columns = ["val_loss", "val_kind_accuracy", "val_kind_f1", "val_size_mean_absolute_error"]
    assert list(history.rows[0])[3:] == columns


def no_number(outputs: Array, targets: Array) -> Any:
    return "much"


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({"metrics": "r2"}, NUMBERS, "r2 needs numbers to compare with, but y has classes for 'dense_2': accuracy"),
        (
            {"metrics": lambda x, y: 1.0}, NUMBERS,
            "metrics has a function without a name, <lambda>: def gives its column one",
        ),
        ({"metrics": no_number, "epochs": 1}, NUMBERS, "the metric <function no_number"),
        ({"metrics": "auc"}, NUMBERS, f"metrics must be among {', '.join(METRICS)}, not 'auc'"),
    ],
)  # fmt: skip
def test_what_does_not_fit(options: dict[str, Any], y: Array, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        mlp().fit(X, y, **options)


def test_accuracy_of_quantities_is_refused_with_what_fits() -> None:
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(1), seed=0)
    with pytest.raises(UsageError, match=r"mean_absolute_error, .* or r2 is for quantities$"):
        network.fit(X, Y[:, 0], loss="huber", metrics=["accuracy"])
