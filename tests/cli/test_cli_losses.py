"""Options of ``train`` and ``tune`` for classes that count more, smoothed targets, weight decay and metrics."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.names import METRICS
from portable_nn.data.apart import split
from portable_nn.data.dataset import read_dataset
from portable_nn.recipes.classifier import train_classifier

TRAIN = ("train", "2-3-3", "data.csv", "--epochs", "2", "--out", "m.safetensors")
WORDS = ("Adelie", "Chin, strap=x", "Gentoo")
TABLE = ("train", "auto-3-auto", "table.csv", "--epochs", "2", "--validation", "0.25", "--out", "m.safetensors")


@pytest.fixture(autouse=True)
def rows(tmp_path, monkeypatch):
    """Two columns and a class for each row, in a file of numbers and in a table with words and a size."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(100, 2)).round(3)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    np.savetxt("data.csv", np.column_stack([y, x]), delimiter=",", fmt="%g")
    lines = [f'{a},{b},"{WORDS[kind]}",{3000 + 500 * a}' for (a, b), kind in zip(x, y, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,kind,size", *lines]) + "\n")
    return x, y


CASES = {
    "--class-weight 0=2,2=0.5 --loss cross_entropy(label_smoothing=0.1)": {
        "loss": pnn.CrossEntropy({0: 2.0, 2: 0.5}, label_smoothing=0.1),
    },
    "--class-weight balanced --loss focal(gamma=1.0)": {"loss": pnn.Focal("balanced", gamma=1.0)},
    "--loss cross_entropy(class_weight={'1':2.0})": {"loss": pnn.CrossEntropy((1.0, 2.0, 1.0))},
    "--optimizer sgd:weight_decay=0.1": {"optimizer": pnn.SGD(weight_decay=0.1)},
    "--optimizer lion:weight_decay=0.5": {"optimizer": pnn.Lion(weight_decay=0.5)},
}


@pytest.mark.parametrize("given", CASES)
def test_the_options_are_those_of_losses_and_optimizers(run, given):
    assert run(*TRAIN, *given.split()).code == 0
    wanted = train_classifier("2-3-3", read_dataset("data.csv", width=2), epochs=2, **CASES[given]).network
    found = pnn.load("m.safetensors")
    for name, array in wanted.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array, err_msg=name)


def test_weights_of_words_and_smoothing_are_those_of_pytorch(run, rows):
    torch = pytest.importorskip("torch")
    options = (
        "--drop",
        "size",
        "--class-weight",
        "Gentoo=2,Chin, strap=x=3",
        "--loss",
        "cross_entropy(label_smoothing=0.1)",
    )
    found = run(*TABLE, "--target", "kind", *options, "--format", "json").json["figures"]["val_loss"]
    x, y = rows
    _, held_out = split(len(x), 0.25, 0)
    logits = torch.tensor(pnn.load("m.safetensors").predict(x[held_out].astype(np.float32)))
    weight = torch.tensor([1.0, 3.0, 2.0])
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(y[held_out]), weight, label_smoothing=0.1)
    assert found == pytest.approx(float(wanted), rel=1e-5)


def test_metrics_of_classes_are_those_of_scikit_learn(run, rows):
    metrics = pytest.importorskip("sklearn.metrics")
    options = ("--validation", "0.25", "--metric", "f1,train", "--metric", "recall", "--format", "json")
    found = run(*TRAIN, *options).json
    x, y = rows
    for prefix, places in zip(("", "val_"), split(len(x), 0.25, 0), strict=True):
        classes = pnn.load("m.safetensors").predict(x[places].astype(np.float32)).argmax(1)
        scored = {
            "f1": metrics.f1_score(y[places], classes, average="macro", zero_division=0),
            "recall": metrics.recall_score(y[places], classes, average="macro", zero_division=0),
        }
        for name, value in scored.items():
            assert found["figures"][prefix + name] == pytest.approx(value, abs=1e-9)
    assert list(found["history"][0]) == [
        "epoch", "loss", "learning_rate", "f1", "recall", "val_loss", "val_f1", "val_recall",
    ]  # fmt: skip


@pytest.mark.parametrize("loss", ["huber", "gaussian"])
def test_metrics_of_numbers_are_in_their_units(run, rows, loss):
    """Of those held out, RMSE and MAE in the units of the table, and R²; with a predicted variance, of the mean."""
    options = [word for name, of in METRICS.items() if of == "numbers" for word in ("--metric", name)]
    found = run(*TABLE, "--target", "size", "--drop", "kind", "--loss", loss, *options, "--format", "json").json
    x, _ = rows
    _, held_out = split(len(x), 0.25, 0)
    size = 3000 + 500 * x[held_out, 0]
    error = pnn.load("m.safetensors").predict(x[held_out].astype(np.float32))[:, 0] - size
    row = found["history"][-1]
    assert row["val_mean_squared_error"] == pytest.approx(np.mean(error**2), rel=1e-4)
    assert row["val_root_mean_squared_error"] == pytest.approx(np.mean(error**2) ** 0.5, rel=1e-4)
    assert row["val_mean_absolute_error"] == pytest.approx(np.mean(np.abs(error)), rel=1e-4)
    assert row["val_r2"] == pytest.approx(1 - np.mean(error**2) / np.var(size), rel=1e-4)


def test_a_metric_without_a_value_is_null_in_json(run, tmp_path):
    """R² of targets that are all the same."""
    (tmp_path / "table.csv").write_text("a,size\n" + "".join(f"{n},7.5\n" for n in range(40)))
    found = run(*TABLE, "--target", "size", "--metric", "r2", "--format", "json")
    assert found.json["history"][-1]["val_r2"] is None


def test_metrics_of_a_network_that_is_tuned(run, rows):
    assert run(*TRAIN).code == 0
    options = ("--epochs", "1", "--class-weight", "2=3", "--metric", "precision", "--format", "json")
    found = run("tune", "m.safetensors", "data.csv", "-o", "n.safetensors", *options).json
    assert set(found["figures"]) == {"loss", "val_loss", "val_precision"}
    assert pnn.load("n.safetensors").outputs[0].loss == "cross_entropy(class_weight=(1.0, 1.0, 3.0))"


WRONG = {
    "--metric auc": "invalid value for '--metric': 'auc' is not one of 'accuracy', 'precision'",
    "--metric r2": "r2 needs numbers to compare with, but y has classes for 'dense_2'",
    "--class-weight 7=3": "--class-weight names '7', which is no class: they are 0, 1, 2",
    "--class-weight 7": "--class-weight 7: expected NAME=W, with commas between several, or balanced",
    "--class-weight 1=2,": "--class-weight 1=2,: expected NAME=W",
    "--class-weight 1=b": "--class-weight: the weight of '1' must be a number, not 'b'",
    "--class-weight 1=2 --class-weight 1=3": "--class-weight names '1' twice",
    "--class-weight 1=-2": "--class-weight must be numbers from 0",
    "--class-weight 1=nan": "--class-weight must be numbers from 0",
    "--class-weight 1=2 --loss hinge": "--class-weight is for the loss cross_entropy, focal or binary_cross_entropy, "
    "not for hinge",
    "--class-weight 2=3 --loss binary_cross_entropy": "--class-weight names '2', which is no class: they are 0 to 1",
    "--loss cross_entropy(label_smoothing=2)": "label_smoothing must be a number from 0 to less than 1, not 2",
    "--loss huber(label_smoothing=0.1)": "huber",
    "--optimizer adam:weight_decay=-1": "weight_decay must be a finite number from 0, not -1",
    "--group zz:learning_rate=1": "--group: no parameter matches 'zz'",
}


@pytest.mark.parametrize("given", WRONG)
def test_what_is_wrong_is_named_by_its_option(run, given):
    found = run(*TRAIN, *given.split())
    assert (found.code, WRONG[given] in found.err) == (2, True), found.err


def test_metrics_that_do_not_fit_a_target(run):
    found = run(*TABLE, "--target", "size", "--metric", "f1")
    assert found.code == 2
    assert found.err.endswith("r2 for a target of numbers, not f1\n")
    found = run(*TABLE, "--target", "kind", "--metric", "r2")
    assert found.err.endswith("--metric must be accuracy, precision, recall or f1 for a target of classes, not r2\n")
