"""``fit``: what it learns from, in what order, what it reports, and what it refuses."""

from __future__ import annotations

import csv
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import classes, copied, digest, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import FileError, PortableNNError, ShapeError, TrainingError, UsageError
from portable_nn.data.augment import RandomAffine
from portable_nn.operators.registry import Array
from portable_nn.training.metrics import METRICS

MSE: dict[str, Any] = {"loss": "mean_squared_error"}
X, Y = draw(22, 5, seed=1), draw(22, 3, seed=2)


def plain_descent(x: Array, y: Array, batches: list[Any], rate: float, weights: Array | None = None) -> Array:
    """W of y = x·Wᵀ from 0 by hand: one step for each entry of ``batches``."""
    w = np.zeros((y.shape[1], x.shape[1]))
    for places in batches:
        share = np.ones(len(x))[places] if weights is None else weights[places]
        error = (x[places] @ w.T - y[places]) * (2 / y.shape[1]) * (share / share.sum())[:, None]
        w = w - rate * error.T @ x[places]
    return w


def linear(*, dtype: str = "float64", seed: int = 0) -> pnn.Network:
    first = pnn.Input(5, dtype=dtype)
    return pnn.Sequential(first, pnn.Dense(3, bias=False, weight_initial="zeros", name="y"), seed=seed)


# -- the order and the size of steps


def test_without_shuffling_batches_follow_one_another_and_the_last_is_smaller() -> None:
    network = linear()
    network.fit(X, Y, **MSE, optimizer=pnn.SGD(0.1), epochs=2, batch_size=8, shuffle=False)
    batches = [slice(0, 8), slice(8, 16), slice(16, 22)] * 2
    np.testing.assert_allclose(network.parameters["y.weight"], plain_descent(X, Y, batches, 0.1), rtol=1e-12)


def test_sample_weights_count_within_each_batch() -> None:
    weights = np.random.default_rng(3).uniform(0, 2, len(X))
    network = linear()
    network.fit(X, Y, **MSE, optimizer=pnn.SGD(0.1), epochs=1, batch_size=8, shuffle=False, sample_weight=weights)
    wanted = plain_descent(X, Y, [slice(0, 8), slice(8, 16), slice(16, 22)], 0.1, weights)
    np.testing.assert_allclose(network.parameters["y.weight"], wanted, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [pnn.SGD(0.1), pnn.SGD(0.1, momentum=0.9), pnn.Adam(0.01)], ids=repr)
def test_a_batch_that_weighs_nothing_is_passed_over(optimizer: Any) -> None:
    """The mean over it is 0 / 0; training goes on as if it were not there."""
    weights = np.ones(len(X))
    weights[8:16] = 0
    network, other = linear(), linear()
    options = {**MSE, "optimizer": optimizer, "epochs": 2, "batch_size": 8, "shuffle": False}
    history = network.fit(X, Y, **options, sample_weight=weights)
    rest = np.r_[0:8, 16:22]
    wanted = other.fit(X[rest], Y[rest], **options, sample_weight=weights[rest])
    np.testing.assert_array_equal(network.parameters["y.weight"], other.parameters["y.weight"])
    assert history["loss"] == wanted["loss"]


def test_shuffling_shows_every_example_once_an_epoch_in_another_order() -> None:
    seen: list[float] = []

    def note(batch: Array, rng: np.random.Generator) -> Array:
        seen.extend(batch[:, 0])
        return batch

    linear().fit(X, Y, **MSE, epochs=2, batch_size=8, augment=note)
    first, second = seen[:22], seen[22:]
    assert sorted(first) == sorted(second) == sorted(X[:, 0])
    assert len({tuple(first), tuple(second), tuple(X[:, 0])}) == 3


def test_shuffling_keeps_examples_and_targets_together() -> None:
    """y = x·Aᵀ is learned exactly only if each row keeps its target."""
    a = draw(3, 5, seed=5)
    network = linear()
    network.fit(X, X @ a.T, **MSE, optimizer=pnn.SGD(0.2), epochs=400, batch_size=11)
    np.testing.assert_allclose(network.parameters["y.weight"], a, rtol=1e-6)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    network = linear()
    network.fit(X, Y, **MSE, optimizer=pnn.SGD(0.1), epochs=1, batch_size=1000)
    np.testing.assert_allclose(network.parameters["y.weight"], plain_descent(X, Y, [slice(None)], 0.1), rtol=1e-12)


def test_the_data_stays_as_it_was_and_may_be_of_other_types() -> None:
    x = np.random.default_rng(0).integers(0, 255, (22, 5)).astype(np.uint8)
    before = x.copy()
    one, two = linear(), linear()
    one.fit(x, Y.astype("float32"), **MSE, optimizer=pnn.SGD(1e-6), epochs=2, augment=lambda batch, rng: batch * 2)
    two.fit((x * 2.0).tolist(), Y.astype("float32").tolist(), **MSE, optimizer=pnn.SGD(1e-6), epochs=2)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(one.parameters["y.weight"], two.parameters["y.weight"])


def test_augment_changes_what_is_learned_from_and_nothing_else() -> None:
    one, two = linear(), linear()
    options = {**MSE, "optimizer": pnn.SGD(0.1), "epochs": 1, "shuffle": False, "validation": (X, Y)}
    history = one.fit(X, Y, **options, augment=lambda batch, rng: batch + 1)
    two.fit(X + 1, Y, **options)
    np.testing.assert_array_equal(one.parameters["y.weight"], two.parameters["y.weight"])
    assert history["val_loss"] == [pytest.approx(np.mean((one.predict(X) - Y) ** 2))]


def test_a_network_of_fixed_batch_size_trains_on_that_many() -> None:
    network = pnn.Sequential(pnn.Input(5, batch=22, dtype="float64"), pnn.Dense(3, bias=False, weight_initial="zeros"))
    network.fit(X, Y, **MSE, optimizer=pnn.SGD(0.1), epochs=1)
    np.testing.assert_allclose(
        network.parameters["dense_1.weight"], plain_descent(X, Y, [slice(None)], 0.1), rtol=1e-12
    )


# -- seeds


def pictures(seed: int) -> pnn.Network:
    """Every source of chance there is: first weights, shuffling, dropout, augmentation."""
    layers = pnn.Dense(32), pnn.ReLU(), pnn.Dropout(0.3), pnn.Dense(4)
    return pnn.Sequential(pnn.Input(64), *layers, seed=seed)


def train(network: pnn.Network) -> pnn.Network:
    x, y = draw(100, 64, seed=7), classes(100, 4)
    network.fit(x, y, optimizer="adam", epochs=3, augment=RandomAffine(8, 8), validation=0.2)
    return network


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (digest(train(pictures(seed)), tmp_path) for seed in (3, 3, 4))
    assert first == second != other


def test_a_second_fit_goes_on_with_the_generator(tmp_path: Path) -> None:
    once, twice = train(pictures(3)), train(train(pictures(3)))
    assert digest(once, tmp_path) != digest(twice, tmp_path)
    assert digest(train(train(pictures(3))), tmp_path) == digest(twice, tmp_path)


def test_dropout_drops_while_training_and_only_then() -> None:
    """With y = W·dropout(1) and everything dropped at random, the gradients of W's columns are 0 or doubled."""
    network = pnn.Sequential(
        pnn.Input(1000, dtype="float64"), pnn.Dropout(0.5), pnn.Dense(1, bias=False, weight_initial="zeros"), seed=0
    )
    x = np.ones((1, 1000))
    network.fit(x, [[1.0]], **MSE, optimizer=pnn.SGD(0.5), epochs=1)
    [row] = network.parameters["dense_1.weight"]
    assert set(row) == {0.0, 2.0}
    assert 420 < np.count_nonzero(row) < 580
    assert network.predict(x)[0, 0] == row.sum()
    np.testing.assert_array_equal(network.predict(x), network.predict(x))


# -- what is reported


def test_the_loss_is_the_mean_over_the_steps() -> None:
    network = linear()
    history = network.fit(X, Y, **MSE, optimizer=pnn.SGD(0.0), epochs=2, batch_size=8)
    assert history["loss"] == [pytest.approx(np.mean(Y**2), rel=1e-12)] * 2
    assert history["epoch"] == [1, 2]
    assert history.stopped == "finished"
    assert history.best_epoch is None


def test_the_loss_with_weights_is_the_weighted_mean() -> None:
    weights = np.random.default_rng(3).uniform(0, 2, len(X))
    history = linear().fit(X, Y, **MSE, optimizer=pnn.SGD(0.0), epochs=1, batch_size=8, sample_weight=weights)
    assert history["loss"] == [pytest.approx(np.average((Y**2).mean(1), weights=weights), rel=1e-12)]


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1300])
def test_validation_is_computed_over_any_number_of_examples(count: int) -> None:
    network = mlp()
    xv, yv = draw(count, 5, seed=8), draw(count, 3, seed=9)
    weights = np.random.default_rng(1).uniform(0, 2, count)
    if count > 512:
        weights[:512] = 0  # A part may weigh nothing.
    history = network.fit(X, Y, **MSE, epochs=1, validation=(xv, yv, weights), metrics=["mean_absolute_error"])
    errors = network.predict(xv) - yv
    assert history["val_loss"] == [pytest.approx(np.average((errors**2).mean(1), weights=weights), rel=1e-12)]
    wanted = np.average(np.abs(errors).mean(1), weights=weights)
    assert history["val_mean_absolute_error"] == [pytest.approx(wanted, rel=1e-12)]


def test_a_share_is_held_out_from_the_end() -> None:
    weights = np.random.default_rng(3).uniform(0.5, 2, len(X))
    one, two = mlp(), mlp()
    share = one.fit(X, Y, **MSE, epochs=2, validation=0.25, sample_weight=weights)
    cut = len(X) - round(len(X) * 0.25)
    split = X[cut:], Y[cut:], weights[cut:]
    given = two.fit(X[:cut], Y[:cut], **MSE, epochs=2, validation=split, sample_weight=weights[:cut])
    assert share.rows == given.rows
    np.testing.assert_array_equal(one.parameters["dense_1.weight"], two.parameters["dense_1.weight"])


def test_dropout_does_not_disturb_validation() -> None:
    layers = pnn.Input(5, dtype="float64"), pnn.Dropout(0.5), pnn.Dense(3)
    network = pnn.Sequential(*layers, seed=0)
    history = network.fit(X, Y, **MSE, epochs=1, validation=(X, Y))
    assert history["val_loss"] == [pytest.approx(np.mean((network.predict(X) - Y) ** 2), rel=1e-12)]


def test_an_input_that_the_loss_does_not_need_is_still_checked() -> None:
    a, b = (pnn.Input(5, name=name, dtype="float64") for name in "ab")
    network = pnn.Network([a, b], [pnn.Dense(3, name="y")(a), pnn.Dense(2, name="z")(b)], seed=0)
    before = copied(network)
    options = {"loss": {"y": "mean_squared_error"}, "epochs": 1}
    history = network.fit({"a": X, "b": X}, {"y": Y}, **options, validation=({"a": X, "b": -X}, {"y": Y}))
    assert history["val_loss"] == [pytest.approx(np.mean((network.predict({"a": X, "b": X})["y"] - Y) ** 2))]
    assert (network.parameters["y.weight"] != before["y.weight"]).any()
    np.testing.assert_array_equal(network.parameters["z.weight"], before["z.weight"])
    with pytest.raises(ShapeError, match=r"^input 'b' needs \(batch, 5\) where batch is 22 by 'a', not \(21, 5\)$"):
        network.fit({"a": X, "b": X[:21]}, {"y": Y}, **options)


def test_validation_does_not_change_what_is_learned(tmp_path: Path) -> None:
    one, two = mlp(), mlp()
    one.fit(X, Y, **MSE, epochs=2)
    two.fit(X, Y, **MSE, epochs=2, validation=(X, Y), metrics=["mean_absolute_error"])
    assert digest(one, tmp_path) == digest(two, tmp_path)


def test_accuracy_of_classes_and_of_probabilities() -> None:
    network = mlp()
    y, w = classes(22, 3), np.random.default_rng(3).uniform(0, 2, 22)
    history = network.fit(X, y, epochs=1, validation=(X, y, w), metrics="accuracy")
    wanted = np.average(network.predict(X).argmax(1) == y, weights=w)
    assert history["val_accuracy"] == [pytest.approx(wanted)]
    assert 0 < wanted < 1
    history = network.fit(X, np.eye(3)[y], epochs=1, validation=(X, np.eye(3)[y]), metrics=["accuracy"])
    assert history["val_accuracy"] == [pytest.approx(np.mean(network.predict(X).argmax(1) == y))]


@pytest.mark.parametrize(
    ("last", "loss", "middle"), [((), "binary_cross_entropy", 0), ((pnn.Sigmoid(),), "mean_squared_error", 0.5)]
)
def test_accuracy_of_one_output(last: tuple[Any, ...], loss: str, middle: float) -> None:
    """A logit says yes above 0, a probability above one half."""
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(1), *last, seed=0)
    y = (X[:, 0] > 0.3).astype(float)
    history = network.fit(X, y, loss=loss, epochs=3, validation=(X, y), metrics=["accuracy"], optimizer=pnn.SGD(0.1))
    wanted = np.mean((network.predict(X)[:, 0] > middle) == (y > 0.5))
    assert history["val_accuracy"][-1] == pytest.approx(wanted)
    assert 0.5 < wanted < 1


def two_heads() -> pnn.Network:
    x = pnn.Input(5, dtype="float64")
    return pnn.Network(x, [pnn.Dense(3, name="kind")(x), pnn.Dense(2, name="size")(x)], seed=0)


def test_several_outputs_have_a_metric_each() -> None:
    network, y = two_heads(), {"kind": np.eye(3)[classes(22, 3)], "size": np.eye(2)[classes(22, 2)]}
    history = network.fit(X, y, epochs=1, validation=(X, y), metrics=["accuracy", "mean_absolute_error"])
    assert list(history.rows[0]) == [
        "epoch",
        "loss",
        "learning_rate",
        "val_loss",
        "val_kind_accuracy",
        "val_kind_mean_absolute_error",
        "val_size_accuracy",
        "val_size_mean_absolute_error",
    ]
    found = network.predict({"input": X})
    for name, target in y.items():
        accuracy = np.mean(found[name].argmax(1) == target.argmax(1))
        assert history[f"val_{name}_accuracy"] == [pytest.approx(accuracy)]
        assert history[f"val_{name}_mean_absolute_error"] == [pytest.approx(np.abs(found[name] - target).mean())]


def test_metrics_csv_has_the_rows_of_the_history(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    history = mlp().fit(X, Y, **MSE, epochs=3, validation=0.2, metrics=["mean_absolute_error"], metrics_csv=path)
    assert b"\r" not in path.read_bytes()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "learning_rate", "val_loss", "val_mean_absolute_error"]
    assert [{name: float(text) for name, text in row.items()} for row in rows] == history.rows
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert dict(history) == {name: [row[name] for row in history.rows] for name in rows[0]}
    assert ("val_loss" in history, "loss_val" in history) == (True, False)


def test_metrics_csv_grows_while_training_goes_on(tmp_path: Path) -> None:
    path, sizes = tmp_path / "metrics.csv", []

    def look(batch: Array, rng: np.random.Generator) -> Array:
        sizes.append(len(path.read_text().splitlines()))
        return batch

    mlp().fit(X, Y, **MSE, epochs=3, batch_size=22, metrics_csv=path, augment=look)
    assert sizes == [0, 2, 3]


def test_metrics_csv_that_cannot_be_written(tmp_path: Path) -> None:
    network = mlp()
    before = copied(network)
    path = tmp_path / "missing" / "metrics.csv"
    with pytest.raises(FileError, match=rf"^{re.escape(str(path))}: the metrics cannot be written: No such file"):
        network.fit(X, Y, **MSE, metrics_csv=path)
    np.testing.assert_array_equal(network.parameters["dense_1.weight"], before["dense_1.weight"])


def test_fit_works_in_a_thread(tmp_path: Path) -> None:
    """Only the main thread may handle signals."""
    here, there = mlp(), mlp()
    here.fit(X, Y, **MSE, epochs=2)
    thread = threading.Thread(target=lambda: there.fit(X, Y, **MSE, epochs=2))
    thread.start()
    thread.join()
    assert digest(here, tmp_path) == digest(there, tmp_path)


# -- what is refused


def test_a_loss_that_is_no_number_stops_with_advice() -> None:
    with pytest.raises(
        TrainingError,
        match=r"^the loss is (nan|inf) in epoch \d+: a smaller learning rate than 1e\+06 may help, or inputs of a "
        r"smaller size$",
    ) as caught:
        linear().fit(X, Y, **MSE, optimizer=pnn.SGD(1e6), epochs=200)
    assert caught.value.exit_code == 1


def one_number(*before: pnn.Layer) -> pnn.Network:
    return pnn.Sequential(pnn.Input(5), *before, pnn.Dense(1), seed=0)


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (
            (1, 1e20),
            r"y holds numbers from -[\d.]+e\+20 to [\d.]+e\+\d+: standardise them, as \(y - y.mean\(\)\) / y.std",
        ),
        ((1e5, 1), r"input 'input' holds numbers from -[\d.]+e\+05 to [\d.]+e\+05: begin the network with Normaliz"),
    ],
)
def test_a_loss_that_is_no_number_names_what_is_large(change: tuple[float, float], advice: str) -> None:
    with pytest.raises(TrainingError, match=rf"^the loss is (nan|inf) in epoch \d: {advice}") as caught:
        one_number().fit(X * change[0], Y[:, 0] * change[1], **MSE, optimizer=pnn.SGD(), epochs=50)
    assert str(caught.value).endswith("; a smaller learning rate than 0.01 may help, too")


def test_large_inputs_are_no_reason_where_the_network_prepares_them() -> None:
    x = X * 1e5
    with pytest.raises(TrainingError, match=r"^the loss is (nan|inf) in epoch \d: a smaller learning rate"):
        one_number(pnn.Normalization().adapt(x)).fit(x, Y[:, 0], **MSE, optimizer=pnn.SGD(1e9), epochs=50)


@pytest.mark.parametrize("y", [Y[:, 0], np.abs(Y[:, 0]) / 9, Y[:, :1], np.arange(22)])
def test_cross_entropy_of_one_number_is_refused(y: Any) -> None:
    """The cross-entropy of one class is 0 whatever the network says: nothing would be learned from it."""
    with pytest.raises(UsageError, match=r"^loss 'cross_entropy' needs an output for each class, and this one has 1"):
        one_number().fit(X, y, loss="cross_entropy")
    with pytest.raises(UsageError, match=r"^loss must be given, .* notes none .*: 'mean_squared_error' is for quantit"):
        one_number().fit(X, y)


def test_quantities_without_a_loss_are_told_of_one_for_quantities() -> None:
    with pytest.raises(UsageError, match=r"^loss must be given, .* notes none .*: 'mean_squared_error' is for quantit"):
        linear().fit(X, Y)
    with pytest.raises(UsageError, match=r"^y holds classes from 0 to 21, but the output has 3, from 0$"):
        linear().fit(X, np.arange(22))


def test_accuracy_is_for_classes() -> None:
    options: dict[str, Any] = {**MSE, "validation": 0.2, "metrics": "accuracy", "epochs": 1}
    for y in (Y[:, 0], np.abs(Y[:, 0]) / 9):
        with pytest.raises(
            UsageError, match=r"^accuracy counts classes, but y has numbers from -?[\d.e-]+ to [\d.]+ for 'd"
        ):
            one_number().fit(X, y, **options)
    for network, y in ((one_number(), np.arange(22) % 2), (linear(), np.eye(3)[np.arange(22) % 3] * 2 - 1)):
        assert 0 <= network.fit(X, y, **options)["val_accuracy"][0] <= 1


def test_class_numbers_without_their_loss_are_refused_with_its_name() -> None:
    with pytest.raises(ShapeError, match=r"needs \(n, 3\); loss='cross_entropy' takes the numbers of classes \(n,\)$"):
        linear().fit(X, np.arange(22) % 3, **MSE)


NO_LOSS = (
    "loss must be a name, a loss such as Huber(), a function of symbols, or a dict of them for some of the outputs "
    "dense_2, not "
)

MUST_BE = "validation must be (x, y), (x, y, weights), a share such as 0.1, or a list or another iterable of batches"

WRONG: list[tuple[dict[str, Any], type[PortableNNError], str]] = [
    ({"epochs": 0}, UsageError, "epochs must be a whole number from 1, not 0"),
    ({"epochs": 1.5}, UsageError, "epochs must be a whole number from 1, not 1.5"),
    ({"batch_size": -1}, UsageError, "batch_size must be a whole number from 1, not -1"),
    (
        {"loss": {"elsewhere": "cross_entropy"}}, UsageError,
        f"{NO_LOSS}{{'elsewhere': 'cross_entropy'}}",
    ),
    ({"loss": {}}, UsageError, f"{NO_LOSS}{{}}"),
    ({"loss": 3}, UsageError, f"{NO_LOSS}3"),
    ({"metrics": ["f2"]}, UsageError, f"metrics must be among {', '.join(METRICS)}, not 'f2'"),
    ({"metrics": {"other": "r2"}}, UsageError, "metrics names other, but the trained outputs are dense_2"),
    (
        {"validation": 1}, UsageError, MUST_BE,
    ),
    ({"validation": (X,)}, UsageError, MUST_BE),
    ({"validation": 0.0}, UsageError, "validation=0 of 22 examples leaves one side empty"),
    ({"validation": 0.99}, UsageError, "validation=0.99 of 22 examples leaves one side empty"),
    ({"validation": (X[:, :4], Y)}, ShapeError, "validation input 'input' needs (batch, 5), not (22, 4)"),
    (
        {"validation": (X, Y[:, :2])}, ShapeError,
        "validation y is float64 (22, 2); loss 'mean_squared_error' needs (n, 3)",
    ),
    (
        {"validation": (X, Y[:2])}, ShapeError,
        "as many examples are needed in each, and one at least: validation x has 22, validation y has 2",
    ),
    (
        {"validation": (X, Y, [1.0])}, ShapeError,
        "as many examples are needed in each, and one at least: validation x has 22, validation y has 22, "
        "validation sample_weight has 1",
    ),
    (
        {"sample_weight": np.ones(3)}, ShapeError,
        "as many examples are needed in each, and one at least: x has 22, y has 22, sample_weight has 3",
    ),
    (
        {"sample_weight": -np.ones(22)}, UsageError,
        "sample_weight must be (n,) numbers from 0, not float64 (22,)",
    ),
    (
        {"sample_weight": np.ones((22, 1))}, ShapeError,
        "sample_weight is (22, 1): it must be (n,), or the first axes of the loss, (n, 3)",
    ),
    (
        {"sample_weight": np.zeros(22)}, UsageError,
        "all of the sample weights are 0: no example counts",
    ),
    (
        {"sample_weight": np.r_[np.ones(20), np.zeros(2)], "validation": 0.1}, UsageError,
        "all of the sample weights are 0: no example counts",
    ),
    (
        {"augment": lambda batch, rng: batch[:1]}, ShapeError,
        "augment was given a batch of shape (22, 5) and returned (1, 5)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_wrong_arguments(options: dict[str, Any], error: type[PortableNNError], message: str) -> None:
    network = mlp()
    before = copied(network)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        network.fit(X, Y, **{**MSE, **options})
    np.testing.assert_array_equal(network.parameters["dense_1.weight"], before["dense_1.weight"])


COMPLEX = "input 'input' must be an array of numbers, but holds complex numbers: np.abs(x), x.real and x.imag are real"
MISSING = (
    "input 'input' is missing in a dict of other, which holds an array for each input; "
    "pnn.prepare(network, columns) makes one of the columns of a table"
)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :4], Y, "input 'input' needs (batch, 5), not (22, 4)"),
        (X[0], Y, "input 'input' needs (batch, 5), not (5,): one example alone is x[np.newaxis]"),
        (X.astype(complex), Y, COMPLEX),
        ({"other": X}, Y, MISSING),
        (X[:0], Y[:0], "as many examples are needed in each, and one at least: x has 0, y has 0"),
        (X, {"other": Y}, "y has other, but the trained outputs are dense_2"),
    ],
)
def test_data_that_does_not_fit(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mlp().fit(x, y, **MSE)


def test_several_outputs_need_their_targets_by_name() -> None:
    with pytest.raises(UsageError, match=r"^the outputs kind, size are trained: give y as a dict of arrays by name$"):
        two_heads().fit(X, Y, **MSE)


def test_no_absolute_error_from_a_class() -> None:
    y = classes(22, 3)
    fitting = "accuracy, precision, recall or f1 count them"
    message = f"mean_absolute_error needs numbers to compare with, but y has classes for 'dense_2': {fitting}"
    with pytest.raises(UsageError, match=f"^{message}$"):
        mlp().fit(X, y, validation=0.2, metrics=["mean_absolute_error"])


def _with(array: Any, place: tuple[int, ...], value: float) -> Any:
    changed = np.array(array, "float32")
    changed[place] = value
    return changed


_ONE_HOT = np.eye(3)[np.arange(6) % 3]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": _with(np.ones((6, 4)), (3, 2), np.nan)}, r"^x\[3, 2\] is nan: nothing can be learned from it$"),
        ({"x": _with(np.ones((6, 4)), (3, 2), np.nan)[::-1]}, r"^x\[2, 2\] is nan"),
        ({"x": np.full((6, 4), np.nan)}, r"^x\[0, 0\] is nan, the first of 24 that are no numbers"),
        ({"y": _with(_ONE_HOT, (5, 0), np.nan)}, r"^y\[5, 0\] is nan"),
        ({"y": _with(_ONE_HOT, (5, 0), np.inf)}, r"^y\[5, 0\] is inf"),
        ({"sample_weight": [1, 1, np.nan, 1, 1, 1]}, r"^sample_weight\[2\] is nan"),
        ({"validation": (_with(np.ones((6, 4)), (0, 3), np.nan), _ONE_HOT)}, r"^validation x\[0, 3\] is nan"),
        ({"validation": (np.ones((6, 4)), _with(_ONE_HOT, (1, 1), -np.inf))}, r"^validation y\[1, 1\] is -inf"),
        (
            {"validation": (np.ones((6, 4)), _ONE_HOT, [1, 1, 1, np.inf, 1, 1])},
            r"^validation sample_weight\[3\] is inf",
        ),
        ({"weight": np.nan}, r"^parameter 'dense_1.weight'\[2, 1\] is nan"),
        ({"weight": np.inf}, r"^parameter 'dense_1.weight'\[2, 1\] is inf"),
    ],
)
def test_nan_is_found_before_the_first_step(changed: dict[str, Any], message: str) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    arguments = {"x": np.ones((6, 4), "float32"), "y": _ONE_HOT} | changed
    if "weight" in arguments:
        net.parameters["dense_1.weight"][2, 1] = arguments.pop("weight")
    before = {name: array.copy() for name, array in net.parameters.items()}
    with pytest.raises(UsageError, match=message):
        net.fit(**arguments)
    assert all(np.array_equal(net.parameters[name], array, equal_nan=True) for name, array in before.items())


def test_infinity_in_an_input_may_be_meant_or_is_named() -> None:
    """As in the mask of an attention: exp(-inf) is 0."""
    mask = pnn.Input(3, name="mask")
    net = pnn.Network(mask, pnn.Dense(3)(pnn.Softmax()(mask)), seed=0)
    x = np.where(np.eye(3, dtype=bool), -np.inf, 0).astype("float32")
    assert np.isfinite(net.fit(x, np.arange(3), epochs=1)["loss"]).all()
    plain = pnn.Sequential(pnn.Input(3), pnn.Dense(3), seed=0)
    with pytest.raises(TrainingError, match=r"^the loss is nan in epoch 1: the input 'input' holds infinite values$"):
        plain.fit(x, np.arange(3), epochs=1)


@pytest.mark.parametrize("epochs", [1, 3, 43])
def test_epochs_are_told_once_each_and_the_first_and_the_last_always(
    epochs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    linear().fit(X, Y, **MSE, epochs=epochs)
    told = [int(line.split()[1]) for line in capsys.readouterr().err.splitlines()]
    assert told == [1, 2, 3][:epochs] if epochs <= 3 else told == [1, *range(3, 43, 3), 43]
