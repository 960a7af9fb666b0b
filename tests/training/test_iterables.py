"""Data from iterables of batches: the same as from arrays, and what is said of those that do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from steps import classes, copied, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import PortableNNError, ShapeError, TrainingError, UsageError
from portable_nn.operators.registry import Array

X, Y, W = draw(24, 5, seed=1), draw(24, 3, seed=2), np.random.default_rng(0).uniform(0, 2, 24)
MSE: dict[str, Any] = {"loss": "mean_squared_error"}


def cut(*arrays: Array, sizes: tuple[int, ...] = (8, 8, 8)) -> list[tuple[Array, ...]]:
    ends = np.cumsum(sizes)
    return [tuple(array[end - size : end] for array in arrays) for end, size in zip(ends, sizes, strict=True)]


def same(one: pnn.Network, two: pnn.Network) -> None:
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, two.parameters[name])


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_list_of_batches_is_the_arrays_in_order(weights: Array | None, accumulate: int) -> None:
    one, two = mlp(), mlp()
    options: dict[str, Any] = {**MSE, "optimizer": "adam", "epochs": 3, "accumulate": accumulate, "validation": (X, Y)}
    wanted = one.fit(X, Y, sample_weight=weights, batch_size=8, shuffle=False, **options)
    found = two.fit(cut(X, Y) if weights is None else cut(X, Y, weights), **options)
    same(one, two)
    assert found.rows == wanted.rows


def endless() -> Iterator[tuple[Array, Array]]:
    while True:
        yield from cut(X, Y)  # type: ignore[misc]


def test_an_endless_iterator_needs_the_steps_of_an_epoch() -> None:
    one, two = mlp(), mlp()
    one.fit(X, Y, **MSE, batch_size=8, shuffle=False, epochs=2)
    history = two.fit(endless(), **MSE, steps_per_epoch=2, epochs=3)
    same(one, two)
    assert len(history.rows) == 3
    with pytest.raises(UsageError, match=r"^steps_per_epoch must say how many batches an epoch has: these have no len"):
        mlp().fit(endless(), **MSE)


def test_batches_of_several_sizes_and_an_epoch_of_more_than_a_pass() -> None:
    one, two = mlp(), mlp()
    batches = cut(X, Y, sizes=(4, 12, 8))
    one.fit(batches, **MSE, epochs=4)
    two.fit(batches, **MSE, epochs=2, steps_per_epoch=6)
    same(one, two)


def test_batches_of_torch() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    one, two = mlp(), mlp()
    one.fit(X, Y, **MSE, batch_size=10, shuffle=False, epochs=2)
    two.fit(torch.utils.data.DataLoader(data, batch_size=10), **MSE, epochs=2)
    same(one, two)


def test_dicts_and_words_in_batches() -> None:
    x = pnn.Input(5, dtype="float64", name="x")
    words = np.array(["cat", "dog"])[classes(24, 2)]
    one, two = (pnn.Network(x, pnn.Dense(2, name="kind")(x), labels=["dog", "cat"], seed=0) for _ in range(2))
    one.fit(X, words, batch_size=8, shuffle=False, epochs=1)
    two.fit([({"x": a}, {"kind": list(b)}) for a, b in cut(X, words)], epochs=1)
    same(one, two)


SHARE = "validation as a share is for arrays: beside batches it must be (x, y), or batches"


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (X, {}, UsageError, "y is missing: the targets of the examples x; or x gives batches (x, y)"),
        (3, {}, UsageError, "without y, x must be batches (x, y), a list or an iterator, not of the type int"),
        ([], {}, UsageError, "there are no batches to learn from"),
        ([(X,)], {}, UsageError, "a batch must be (x, y) or (x, y, weights), not 1 part"),
        ([X], {}, UsageError, "a batch must be (x, y) or (x, y, weights), not a ndarray"),
        (cut(X[:, :4], Y), {}, ShapeError, "input 'input' needs (batch, 5), not (8, 4)"),
        (cut(X, Y), {"validation": 0.1}, UsageError, SHARE),
        (cut(X, Y), {"sample_weight": W}, UsageError, "sample_weight is for arrays: batches bring their weights"),
        (cut(X, Y), {"metrics": "r2"}, UsageError, "metrics of batches need validation=(x, y): the batches are not"),
        (
            cut(X, classes(24, 3)), {"loss": pnn.CrossEntropy("balanced")}, UsageError,
            "class_weight='balanced' counts all examples first: beside batches, give the numbers",
        ),
        (
            [(X, classes(24, 3)), (X, np.eye(3)[classes(24, 3)])], {"loss": "cross_entropy"}, ShapeError,
            "batch 2: 'dense_2' is float64 (n, 3), but int64 (n,) in the first batch",
        ),
        ([(X, Y), (X, Y, W)], {}, ShapeError, "batch 2: the weights is float64 (n,), but nothing in the first batch"),
        (
            iter(cut(X, Y)), {"steps_per_epoch": 2}, TrainingError,
            "the batches ran out in epoch 2, after 1 of 2: an iterator gives them once; a list, or an object whose",
        ),
    ],
)  # fmt: skip
def test_batches_that_do_not_fit(x: Any, options: dict[str, Any], error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        mlp().fit(x, **{**MSE, "epochs": 3, **options})


# -- validation


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_validation_in_batches_is_that_of_arrays(kind: Any, weights: Array | None) -> None:
    """Batches of several sizes, loss and metrics; those of an iterator are kept for the second epoch."""
    arrays = (X, Y) if weights is None else (X, Y, weights)
    options: dict[str, Any] = {**MSE, "optimizer": "adam", "epochs": 2, "metrics": ["r2", "mean_absolute_error"]}
    wanted = mlp().fit(X, Y, validation=arrays, **options).rows
    found = mlp().fit(X, Y, validation=kind(cut(*arrays, sizes=(4, 12, 8))), **options).rows
    assert [list(row) for row in found] == [list(row) for row in wanted]
    for one, two in zip(found, wanted, strict=True):
        assert one == pytest.approx(two, rel=1e-12)


def test_validation_of_classes_with_weights_in_batches() -> None:
    x, y = draw(24, 5), np.sort(classes(24, 3))
    options: dict[str, Any] = {"loss": pnn.CrossEntropy((1, 2, 5), ignore_index=1), "epochs": 1, "metrics": "accuracy"}
    wanted = mlp().fit(X, y, validation=(x, y), **options)
    found = mlp().fit(cut(X, y, sizes=(24,)), validation=cut(x, y), **options, steps_per_epoch=1)
    whole = mlp().fit(cut(X, y, sizes=(24,)), validation=(x, y), **options, steps_per_epoch=1)
    assert found["val_loss"] == [pytest.approx(whole["val_loss"][0], rel=1e-12)]
    assert found["val_accuracy"] == whole["val_accuracy"]
    assert len(wanted.rows) == 1


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        ([], UsageError, "validation has no batches"),
        ([X], UsageError, "a validation batch must be (x, y) or (x, y, weights), not a ndarray"),
        ([(X, Y), (X, Y, W)], ShapeError, "validation batch 2: the weights is float64 (n,), but nothing in the first"),
        (cut(X[:, :4], Y), ShapeError, "validation input 'input' needs (batch, 5), not (8, 4)"),
        ("abc", UsageError, "validation must be (x, y), (x, y, weights), a share such as 0.1, or a list or another"),
    ],
)
def test_validation_batches_that_do_not_fit(validation: Any, error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        mlp().fit(X, Y, **MSE, epochs=1, validation=validation)


def test_other_validation_batches_are_no_resumption(tmp_path: Any) -> None:
    options: dict[str, Any] = {**MSE, "checkpoint": tmp_path / "run", "epochs": 2}
    network = mlp()
    network.fit(X, Y, validation=cut(X, Y), **options)
    with pytest.raises(UsageError, match=r"validation first batch x: float64 \(8, 5\), fingerprint \w+ in the"):
        network.fit(X, Y, validation=cut(X + 1, Y), **options, resume=True)
    with pytest.raises(UsageError, match=r"validation: batches of its own in the checkpoint, examples of its own now"):
        network.fit(X, Y, validation=(X, Y), **options, resume=True)


def test_steps_of_an_epoch_are_for_batches() -> None:
    with pytest.raises(UsageError, match=r"^steps_per_epoch is for batches in place of x and y: arrays"):
        mlp().fit(X, Y, **MSE, steps_per_epoch=3)


def test_other_batches_are_no_resumption(tmp_path: Any) -> None:
    options: dict[str, Any] = {**MSE, "checkpoint": tmp_path / "run", "epochs": 2}
    network = mlp()
    network.fit(cut(X, Y), **options)
    before = copied(network)
    with pytest.raises(UsageError, match=r"first batch x: float64 \(8, 5\), fingerprint \w+ in the checkpoint"):
        network.fit(cut(X + 1, Y), **options, resume=True)
    with pytest.raises(UsageError, match=r"steps_per_epoch: 3 in the checkpoint, 2 now$"):
        network.fit(cut(X, Y), **options, steps_per_epoch=2, resume=True)
    assert all((network.parameters[name] == array).all() for name, array in before.items())
