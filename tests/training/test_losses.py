"""Losses against torch and numpy, with and without sample weights; and what is said of targets that do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from steps import classes, draw, gradients_of

import portable_nn as pnn
from portable_nn.core.errors import PortableNNError, ShapeError, UsageError
from portable_nn.operators.registry import Array
from portable_nn.training.losses import LOSSES

N, K = 8, 3
LOGITS = draw(N, K, seed=3) * 3
PROBABILITIES = np.random.default_rng(4).dirichlet(np.ones(K), N)
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0, 0.25, 1.0])


def identity(width: int = K, dtype: str = "float64") -> pnn.Network:
    """y = x·Wᵀ with W = 1: the gradient of W tells that of the output."""
    return pnn.Sequential(pnn.Input(width, dtype=dtype), pnn.Dense(width, bias=False, weight_initial=np.eye(width)))


def squares(x: Array, y: Array) -> Array:
    return np.asarray(((x - y) ** 2).mean(1))


def log_softmax(x: Array) -> Array:
    x = x - x.max(1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(1, keepdims=True)))


def cross_entropy_of_classes(x: Array, y: Array) -> Array:
    return np.asarray(-log_softmax(x)[np.arange(len(y)), y])


def cross_entropy_of_probabilities(x: Array, y: Array) -> Array:
    return np.asarray(-(y * log_softmax(x)).sum(1))


def binary(x: Array, y: Array) -> Array:
    p = 1 / (1 + np.exp(-x))
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(1))


def in_torch(name: str, x: Any, y: Any) -> Any:
    """The loss of each example."""
    import torch.nn.functional as F  # noqa: N812

    if name == "mean_squared_error":
        return F.mse_loss(x, y, reduction="none").mean(1)
    if name == "cross_entropy":
        return F.cross_entropy(x, y, reduction="none")
    return F.binary_cross_entropy_with_logits(x, y, reduction="none").mean(1)


CASES = [
    pytest.param("mean_squared_error", draw(N, K, seed=5), squares, id="mean_squared_error"),
    pytest.param("cross_entropy", classes(N, K), cross_entropy_of_classes, id="classes"),
    pytest.param("cross_entropy", PROBABILITIES, cross_entropy_of_probabilities, id="probabilities"),
    pytest.param("binary_cross_entropy", PROBABILITIES, binary, id="binary"),
]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(("loss", "y", "each"), CASES)
def test_values_and_gradients(
    loss: str, y: Array, each: Callable[[Array, Array], Array], weights: Array | None
) -> None:
    """The mean is Σ w·loss / Σ w, both in what is minimised and in what is reported."""
    torch = pytest.importorskip("torch")
    network = identity()
    wanted = float(np.average(each(LOGITS, y), weights=weights))
    parameter = torch.eye(K, dtype=torch.float64, requires_grad=True)
    w = torch.ones(N, dtype=torch.float64) if weights is None else torch.tensor(weights)
    value = (in_torch(loss, torch.tensor(LOGITS) @ parameter.T, torch.tensor(y)) * w).sum() / w.sum()
    value.backward()
    assert value.item() == pytest.approx(wanted, rel=1e-12)
    found = gradients_of(network, LOGITS, y, loss=loss, sample_weight=weights)
    np.testing.assert_allclose(found["dense_1.weight"], parameter.grad.numpy(), rtol=1e-9, atol=1e-14)
    given = (LOGITS, y) if weights is None else (LOGITS, y, weights)
    history = network.fit(
        LOGITS, y, loss=loss, sample_weight=weights, optimizer=pnn.SGD(0.0), epochs=1, validation=given, batch_size=N
    )
    assert history["loss"] == [pytest.approx(wanted, rel=1e-12)]
    assert history["val_loss"] == [pytest.approx(wanted, rel=1e-12)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "y", "wanted"),
    [
        ("cross_entropy", np.array([0, 1]), 5e4),
        ("cross_entropy", np.eye(2), 5e4),
        ("binary_cross_entropy", np.array([[1.0, 0.0], [0.0, 0.0]]), 2.5e4 + np.log(2) / 4),
    ],
)
def test_extreme_logits(loss: str, y: Array, wanted: float, dtype: str) -> None:
    """exp(1e5) is infinite; the losses and their gradients are not."""
    network = identity(2, dtype)
    x = np.array([[1e5, -1e5], [1e5, 0.0]], dtype)
    history = network.fit(x, y, loss=loss, epochs=1, optimizer=pnn.SGD(0.0))
    assert history["loss"] == [pytest.approx(wanted, rel=1e-6)]
    assert np.isfinite(gradients_of(network, x, y, loss=loss)["dense_1.weight"]).all()


def test_classes_at_many_places() -> None:
    """(batch, classes, places) with class numbers (batch, places), as in torch."""
    torch = pytest.importorskip("torch")
    network = pnn.Sequential(
        pnn.Input(4, 5, dtype="float64"), pnn.Dense(5, name="a", weight_initial=draw(5, 5), bias=False)
    )
    x, y = draw(N, 4, 5), classes(N * 5, 4).reshape(N, 5)
    w = torch.tensor(network.parameters["a.weight"], requires_grad=True)
    torch.nn.functional.cross_entropy(torch.tensor(x) @ w.T, torch.tensor(y)).backward()
    found = gradients_of(network, x, y, loss="cross_entropy")
    np.testing.assert_allclose(found["a.weight"], w.grad.numpy(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint64"])
def test_classes_of_any_whole_type(dtype: str) -> None:
    y = classes(N, K)
    one = gradients_of(identity(), LOGITS, y.astype(dtype))["dense_1.weight"]
    np.testing.assert_array_equal(one, gradients_of(identity(), LOGITS, y)["dense_1.weight"])


def test_one_output_takes_a_column_or_a_row_of_targets() -> None:
    y = np.array([0.0, 1.0, 1.0])
    row = gradients_of(identity(1), y[:, None] - 0.5, y, loss="binary_cross_entropy")
    column = gradients_of(identity(1), y[:, None] - 0.5, y[:, None], loss="binary_cross_entropy")
    np.testing.assert_array_equal(row["dense_1.weight"], column["dense_1.weight"])


def test_truth_values_are_targets() -> None:
    y = LOGITS > 0
    one = gradients_of(identity(), LOGITS, y, loss="binary_cross_entropy")["dense_1.weight"]
    two = gradients_of(identity(), LOGITS, y.astype(float), loss="binary_cross_entropy")["dense_1.weight"]
    np.testing.assert_array_equal(one, two)


SHARES = "probabilities, from 0 to 1; loss='mean_squared_error' is for quantities"
REMEDY = "np.unique(y, return_inverse=True)[1] numbers words from 0"
WORDS = f"y must be an array of numbers, but holds text such as 'a': {REMEDY}"
X = np.zeros((4, 3))
MISFITS: list[tuple[str, Any, type[PortableNNError], str]] = [
    ("mean_squared_error", np.zeros(4), ShapeError, "y is float64 (4,); loss 'mean_squared_error' needs (n, 3)"),
    ("mean_squared_error", np.zeros((4, 2)), ShapeError, "y is float64 (4, 2); loss 'mean_squared_error' needs (n, 3)"),
    ("mean_squared_error", 1.0, ShapeError, "y is float64 (); loss 'mean_squared_error' needs (n, 3)"),
    ("mean_squared_error", np.full((4, 3), "a"), UsageError, WORDS),
    (
        "mean_squared_error", np.zeros((5, 3)), ShapeError,
        "as many examples are needed in each, and one at least: x has 4, y has 5",
    ),
    (
        "cross_entropy", np.zeros(4), ShapeError,
        "y is float64 (4,); loss 'cross_entropy' needs (n, 3) or whole numbers (n,), the classes",
    ),
    (
        "cross_entropy", 2, ShapeError,
        "y is int64 (); loss 'cross_entropy' needs (n, 3) or whole numbers (n,), the classes",
    ),
    ("cross_entropy", [0, 1, 2, 3], UsageError, "y holds classes from 0 to 3, but the output has 3, from 0"),
    ("cross_entropy", [0, 1, 2, -1], UsageError, "y holds classes from -1 to 2, but the output has 3, from 0"),
    (
        "cross_entropy", np.full((4, 3), 2.0), UsageError,
        f"y holds numbers from 2 to 2, but loss 'cross_entropy' needs {SHARES}",
    ),
    (
        "binary_cross_entropy", np.sign(LOGITS[:4]), UsageError,
        f"y holds numbers from -1 to 1, but loss 'binary_cross_entropy' needs {SHARES}",
    ),
    (
        "binary_cross_entropy", np.full((4, 3), np.nan), UsageError,
        "y[0, 0] is nan, the first of 12 that are no numbers: nothing can be learned from it",
    ),
    ("hinges", np.zeros((4, 3)), UsageError, f"loss must be one of {', '.join(LOSSES)}, not 'hinges'"),
    (
        "hinge", np.full((4, 3), 0.5), UsageError,
        "y holds numbers from 0.5 to 0.5, but loss 'hinge' needs 0 and 1, or -1 and 1",
    ),
    (
        "gaussian", np.zeros((4, 3)), UsageError,
        "loss 'gaussian' needs an output of 2n entries, n means and then as many logarithms of variances, not 3",
    ),
    (pnn.CrossEntropy(ignore_index=-1), [-1] * 4, UsageError, "y holds nothing but the class -1, which is ignored"),
    (
        pnn.CrossEntropy(ignore_index=-1), [0, -1, 1, 3], UsageError,
        "y holds classes from 0 to 3, but the output has 3, from 0",
    ),
    (pnn.CrossEntropy((1, 2)), [0, 1, 2, 0], UsageError, "class_weight has 2 numbers, but there are 3 classes"),
    (
        pnn.Focal(class_weight={"cat": 2}), [0, 1, 2, 0], UsageError,
        "class_weight names 'cat', which is no class: they are 0 to 2",
    ),
    (
        "huber(deltas=2)", np.zeros((4, 3)), UsageError,
        "loss 'huber' has no option 'deltas': it has weight, delta",
    ),
    (
        "huber(delta=open('x'))", np.zeros((4, 3)), UsageError,
        "loss must be a name, or a call such as huber(delta=2.0), not \"huber(delta=open('x'))\"",
    ),
    ("huber(delta=0)", np.zeros((4, 3)), UsageError, "delta must be a finite number above 0, not 0"),
    (pnn.Huber, np.zeros((4, 3)), UsageError, "loss must be a loss such as Huber(), not the class Huber"),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "y", "error", "message"), MISFITS)
def test_targets_that_do_not_fit(loss: Any, y: Any, error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        identity().fit(X, y, loss=loss)


@pytest.mark.parametrize(("layer", "loss"), [(pnn.Softmax, "cross_entropy"), (pnn.Sigmoid, "binary_cross_entropy")])
def test_a_loss_on_logits_takes_them_from_behind_probabilities(layer: Any, loss: str) -> None:
    plain, closed = (pnn.Sequential(pnn.Input(3), pnn.Dense(3), *end, seed=0) for end in ([], [layer()]))
    for network in (plain, closed):
        network.fit(X, np.eye(3)[[0, 1, 2, 0]], loss=loss, epochs=3, optimizer=pnn.SGD(0.1), shuffle=False)
    for name, array in plain.parameters.items():
        np.testing.assert_array_equal(closed.parameters[name], array)
    assert closed.outputs[0].kind == "probabilities"


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [0.0, 0.0], [np.nan, 1.0], {0: -1.0, 1: 1.0}], ids=repr)
def test_weights_of_classes_are_numbers_from_0(weights: Any) -> None:
    with pytest.raises(UsageError, match=r"^class_weight must be numbers from 0, of which one is more, not "):
        pnn.CrossEntropy(weights)


@pytest.mark.parametrize("width", [1, 3])
def test_a_loss_on_logits_takes_probabilities_that_were_made_otherwise(width: int) -> None:
    """-log p of what comes to pass."""
    network = identity(width)
    network.outputs = [replace(network.outputs[0], kind="probabilities")]
    p = np.linspace(0.1, 0.9, N)[:, None] if width == 1 else PROBABILITIES
    y = np.arange(N)[:, None] % 2 if width == 1 else classes(N, width)
    wanted = -np.log(np.where(y, p, 1 - p) if width == 1 else p[np.arange(N), y]).mean()
    loss = "binary_cross_entropy" if width == 1 else "cross_entropy"
    history = network.fit(p, y, loss=loss, optimizer=pnn.SGD(0.0), epochs=1, batch_size=N, validation=(p, y))
    assert history["loss"] + history["val_loss"] == [pytest.approx(wanted, rel=1e-9)] * 2


def test_the_loss_tells_what_the_output_means() -> None:
    network = identity()
    kinds = [network.outputs[0].kind]
    for loss in ("mean_squared_error", "binary_cross_entropy", "cross_entropy"):
        network.fit(LOGITS, PROBABILITIES, loss=loss, epochs=1)
        kinds.append(network.outputs[0].kind)
    assert kinds == ["values", "values", "binary_logits", "logits"]
