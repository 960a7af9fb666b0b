from __future__ import annotations

import csv
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import SHIPPED
from portable_nn.cli import _command, steps, train
from portable_nn.cli.tables import TableOptions
from portable_nn.cli.training import STOPPED, _as_text
from portable_nn.core import names
from portable_nn.core.errors import UsageError
from portable_nn.core.names import ACTIVATIONS
from portable_nn.models.recipes import Digits, Trained
from portable_nn.training.history import History
from portable_nn.training.losses import LOSSES
from portable_nn.training.optimizers import OPTIMIZERS
from portable_nn.training.state import State

FLOWERS = ["train", "4-8-3", "flowers.csv", "--standardise", "--out", "m.safetensors"]


def test_from_a_table_to_right_answers(run, flowers_csv):
    code, out, err = run(*FLOWERS, "--epochs", "20", "--rate", "0.03")
    assert code == 0
    assert [line[:11] for line in err.splitlines()] == [f"epoch {epoch:>2} of" for epoch in range(1, 21)]
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        "epochs",
        "loss",
        "validation loss",
        "validation accuracy",
        "saved",
    ]
    assert "validation accuracy  100.0 % (69.9 % to 100.0 %) of 12 held out\n" in out  # Newcombe 1998, method 4.
    told = run("predict", "m.safetensors", "flowers.csv")
    assert told.err == "120 of 120 right (100.0 %)\n"
    assert {row.split()[1] for row in told.out.splitlines()[1:]} == {"1", "2", "3"}


def test_json_and_metrics(run, tmp_path, flowers_csv):
    found = run(*FLOWERS, "--epochs", "3", "--plot", "m.csv", "--format", "json").json
    assert list(found) == ["schema", "model", "epochs", "stopped", "best_epoch", "figures", "history"]
    assert (found["schema"], found["model"], found["epochs"], found["stopped"]) == (1, "m.safetensors", 3, "finished")
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in found["history"]]
    assert found["figures"]["val_accuracy"] == found["history"][-1]["val_accuracy"]


def test_the_same_seed_gives_the_same_bytes(run, tmp_path, flowers_csv):
    for name, seed, *more in (("a", "1"), ("b", "1", "--optimizer", "adam"), ("c", "2")):
        run(*FLOWERS[:-1], f"{name}.safetensors", "--epochs", "1", "--seed", seed, *more)
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_digits_get_their_preprocessing(run, digits_csv):
    run("train", "784-10", "digits.csv", "--out", "m.safetensors", "--epochs", "1", "--validation", "0")
    steps = pnn.load("m.safetensors").inputs[0].preprocessing
    assert steps == pnn.load(SHIPPED["digits-mlp"].weights).inputs[0].preprocessing
    run(
        "train",
        "784-10",
        "digits.csv",
        "--out",
        "r.safetensors",
        "--epochs",
        "1",
        "--validation",
        "0",
        "--preprocess",
        "none",
    )
    assert pnn.load("r.safetensors").inputs[0].preprocessing == ()


@pytest.mark.parametrize("labels", ["xyz", "x,y,z", "labels.txt"])
def test_class_labels(run, tmp_path, flowers_csv, labels):
    (tmp_path / "labels.txt").write_text("x\ny\nz\n")
    run(*FLOWERS, "--epochs", "1", "--labels", labels)
    assert pnn.load("m.safetensors").labels == ("x", "y", "z")


def test_labels_in_a_file_of_their_own(run, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32)[np.arange(30) % 3])
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    code, _, _ = run("train", "3-3", "x.npy", "--target", "y.npy", "--out", "m.safetensors", "--rate", "1")
    assert code == 0
    assert pnn.load("m.safetensors").predict(np.eye(3)).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("optimizer", ["sgd:momentum=0.5", "rmsprop", "adam", "adamw"])
def test_every_loss_and_optimizer_learns(run, flowers_csv, loss, optimizer):
    rate = "1" if optimizer.startswith("sgd") else "0.05"
    options = ("--optimizer", optimizer, "--rate", rate)
    run(*FLOWERS, "--loss", loss, "--activation", "tanh", "--epochs", "30", *options)
    assert run("predict", "m.safetensors", "flowers.csv").err == "120 of 120 right (100.0 %)\n"


def test_early_stopping(run, flowers_csv):
    options = ["--optimizer", "sgd", "--rate", "0", "--early-stopping", "2", "--epochs", "50"]
    found = run(*FLOWERS, *options, "--format", "json").json
    assert (found["epochs"], found["stopped"], found["best_epoch"]) == (3, "early", 1)
    text = "epochs               3, stopped early after 2 without improvement, kept: 1 (smallest validation loss)\n"
    assert run(*FLOWERS, *options, "--force").out.startswith(text)


@pytest.mark.parametrize(
    ("losses", "is_falling"),
    [
        ([3.0, 2.0, 1.0], True),
        ([1.0, -1.0, -2.0], True),
        ([3.0, 1.0, 0.999], False),
        ([1.0], False),
        ([3.0, 1.0, 2.0], False),
        ([2.0, 1.005, *np.linspace(1.5, 1.0, 18)], False),
        ([2.0, 1.05, *np.linspace(1.5, 1.0, 18)], True),
    ],
    ids=["falls", "below 0", "hardly falls", "one epoch", "best before", "noise", "a long one"],
)
def test_where_the_loss_still_fell_more_epochs_are_proposed(losses: list[float], is_falling: bool) -> None:
    """The last tenth of the epochs, at least one, is compared with the best before."""
    rows = [{"epoch": float(number), "val_loss": loss} for number, loss in enumerate(losses, 1)]
    best = int(np.argmin(losses)) + 1
    for stopped, hints in (("finished", is_falling), ("interrupted", False)):
        text = _as_text(History(rows, stopped, best), {}, {}, Path(__file__), None)
        hint = ", still falling: more --epochs may help" * hints
        assert f"{len(rows)}{STOPPED[stopped]}, kept: {best} (smallest validation loss{hint})\n" in text


def test_by_default_the_best_epoch_is_kept_and_training_stops_a_fifth_of_the_epochs_later(run, flowers_csv):
    options = ["--optimizer", "sgd", "--rate", "0", "--format", "json", "--force"]
    for epochs, more, wanted in (
        ("75", [], (16, "early", 1)),
        ("30", [], (11, "early", 1)),
        ("30", ["--early-stopping", "0"], (30, "finished", None)),
        ("30", ["--schedule", "cosine"], (30, "finished", 1)),
        ("30", ["--validation", "0"], (30, "finished", None)),
    ):
        found = run(*FLOWERS, *options, "--epochs", epochs, *more).json
        assert (found["epochs"], found["stopped"], found["best_epoch"]) == wanted


def _kinds(folder):
    """A table, rows with the label first, and arrays: the file, what trains on it, and the options that read it."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)), rng.integers(0, 3, 300)
    x[:, 0] += 3 * y
    rows = [",".join(map(str, row)) for row in x]
    (folder / "table.csv").write_text("\n".join(["a,b,c,d,kind", *(f"{r},k{n}" for r, n in zip(rows, y, strict=True))]))
    (folder / "rows.csv").write_text("\n".join(f"{n},{r}" for r, n in zip(rows, y, strict=True)))
    np.savez(folder / "arrays.npz", x=x, y=y)
    return {
        "table": ("auto-8-auto", "table.csv", ["--target", "kind"], []),
        "rows": ("4-8-3", "rows.csv", [], []),
        "arrays": ("auto-8-auto", "arrays.npz", *[["--inputs", "x", "--target", "y"]] * 2),
    }


@pytest.mark.parametrize("kind", ["table", "rows", "arrays"])
def test_examples_of_the_test_are_known_again(run, tmp_path, kind):
    layers, path, how, read = _kinds(tmp_path)[kind]
    train = ("train", layers, path, *how, "--epochs", "3", "--test", "0.2", "--seed", "5")
    found = run(*train, "-o", "m.npz", "--format", "json").json["test"]
    evaluate = ("evaluate", "m.npz", path, *read, "--engine", "numpy", "--format", "json")
    again = run(*evaluate, "--test").json
    names = {"inputs": "x", "targets": "y"} if kind == "arrays" else {}
    same = pnn.evaluate(tmp_path / "m.npz", tmp_path / path, test=True, engine="numpy", **names)
    assert (same.examples, same.accuracy) == (again["examples"], again["accuracy"])
    for given in ({"y": np.zeros(60, int)}, {"target": "kind"}, {"data": np.zeros((60, 4))}):
        with pytest.raises(UsageError, match=r"^test is for a file or folder, .* leave y and target out$"):
            pnn.evaluate(**{"model": tmp_path / "m.npz", "data": tmp_path / path, "test": True} | given)
    assert found == {name: again[name] for name in found}
    assert (again["examples"], run(*evaluate).json["examples"]) == (60, 300)
    text = run(*train, "-o", "n.npz").out
    assert "\n\ntest, on examples that this training has not seen\n\nexamples" in text
    assert run("tune", "m.npz", path, *read, "--epochs", "1", "-o", "t.npz", "--test", "0.5").err.endswith(
        "\nthe network had been trained on these data before: it may have seen the examples of the test\n"
    )
    assert "several times" in run("evaluate", "t.npz", path, *read, "--test").err


@pytest.mark.parametrize("kind", ["table", "rows"])
def test_training_does_not_depend_on_the_examples_of_the_test(run, tmp_path, kind):
    layers, path, how, _ = _kinds(tmp_path)[kind]
    train = ("train", layers, path, *how, "--epochs", "3", "--test", "0.2", "--seed", "5")
    assert run(*train, "-o", "one.npz").code == 0
    lines = (tmp_path / path).read_text().splitlines()
    for place in np.random.default_rng(5).permutation(300)[:60] + (kind == "table"):
        lines[place] = lines[place].replace("0.", "7.").replace("1.", "2.")
    (tmp_path / path).write_text("\n".join(lines))
    assert run(*train, "-o", "two.npz").code == 0
    one, two = pnn.load("one.npz"), pnn.load("two.npz")
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, two.parameters[name])


def test_a_test_share_that_leaves_nothing_is_refused(run, tmp_path):
    path = _kinds(tmp_path)["rows"][1]
    assert run("train", "4-3", path, "--test", "0.999", "-o", "m.npz").err.startswith("error: test of 0.999 leaves")
    assert run("train", "4-3", path, "--test", "1", "-o", "m.npz").err.startswith("error: --test must be a number from")
    assert run("evaluate", "digits", path, "--test").err == (
        "error: rows.csv: none of its examples were held out to test the model: train --test SHARE does it\n"
    )


def test_what_is_there_is_not_replaced_unless_forced(run, tmp_path, flowers_csv):
    (tmp_path / "m.safetensors").write_text("precious")
    assert run(*FLOWERS) == (2, "", "error: m.safetensors exists already: --force replaces it\n")
    assert (tmp_path / "m.safetensors").read_text() == "precious"
    assert run(*FLOWERS, "--force", "--epochs", "1").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["4-x-3", "flowers.csv"], 2, "LAYERS must be two or more sizes with hyphens between them, such as 784-200-10"),
        (["4", "flowers.csv"], 2, "LAYERS must be two or more sizes"),
        (["4-0-3", "flowers.csv"], 2, "LAYERS must be two or more sizes"),
        (["5-3", "flowers.csv"], 2, "the data have no labels: in CSV they come first in each row, before the 5"),
        (["6-3", "flowers.csv"], 3, "flowers.csv: row 1: expected 6 values, or a label and 6 values, found 5 cells"),
        (["4-2", "flowers.csv"], 2, "the last layer has 2 units, but the data have 3 classes: 1, 2, 3"),
        (["4-1", "flowers.csv"], 2, "the last layer has 1 unit, but the data have 3 classes"),
        (["4-3"], 2, "missing argument 'DATA' (see portable-nn train --help)"),
        (
            ["flowers.csv"],
            2,
            "missing argument 'LAYERS' before flowers.csv: portable-nn train LAYERS flowers.csv -o FILE. LAYERS: Sizes",
        ),
        (["flowers.csv", "4-3"], 2, "LAYERS stands before DATA: portable-nn train 4-3 flowers.csv"),
        (["4-3", "flowers.csv", "--preprocess", "unit"], 2, "invalid value for '--preprocess': 'unit' is not one of "),
        (["4-3", "no.csv"], 3, "no.csv: expected a table (CSV), found no such file"),
        (
            ["4-3", "flowers.csv", "--labels", "ab"],
            2,
            "2 labels cannot name the 3 units of the last layer, one each",
        ),
        (["4-3", "flowers.csv", "--optimizer", "adam:momentum=0.9"], 2, "--optimizer adam has no option 'momentum'"),
        (["4-3", "flowers.csv", "--validation", "1"], 2, "--validation must be a number from 0 to less than 1, not 1"),
        (["4-3", "flowers.csv", "--validation", "0", "--early-stopping", "2"], 2, "early stopping watches 'val_loss'"),
        (["4-3", "flowers.csv", "--epochs", "0"], 2, "--epochs must be a whole number from 1, not 0"),
        (["4-3", "flowers.csv", "--early-stopping", "-1"], 2, "--early-stopping must be a whole number from 0, not -1"),
        (["4-3", "flowers.csv", "--preprocess", "none", "--standardise"], 2, "preprocess (--preprocess) or"),
        (
            ["4-3", "flowers.csv", "--rate", "-1"],
            2,
            "--rate must be a finite number from 0, not -1.0",
        ),
        (["4-3", "flowers.csv", "--plot", "nowhere/m.csv"], 3, "nowhere/m.csv: "),
        (["digits"], 2, "missing argument 'DATA' (see portable-nn train --help)"),
        (["digits", "flowers.csv"], 2, "LAYERS must be two or more sizes with hyphens between them, such as 784-"),
        (["flowers.csv", "--from", "digits"], 2, "no such option: --from"),
        (["4-3", "flowers.csv", "--until", "x"], 2, "no such option: --until"),
        (
            ["4-3", "flowers.csv", "--optimizer", "newton"],
            2,
            "invalid value for '--optimizer': 'newton' is not one of 'sgd', 'rmsprop', 'adam', 'adamw'",
        ),
    ],
)
def test_errors(run, tmp_path, flowers_csv, arguments, code, message):
    found = run("train", *arguments, "--out", "m.safetensors")
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("out", "code", "message"),
    [
        ([], 2, "missing option '--out' / '-o' (see portable-nn train --help)"),
        (["--out", "m.onnx"], 2, "--out m.onnx: the name of a weight file ends in .safetensors"),
        (["--out", "no/m.safetensors"], 3, "no/m.safetensors: cannot be written: there is no folder"),
    ],
)
def test_where_to_is_checked_before_the_training(run, flowers_csv, out, code, message):
    found = run("train", "4-3", "flowers.csv", *out, "--epochs", "1000000")
    assert found.code == code
    assert found.err.startswith(f"error: {message}")


def test_pixels_that_are_scaled_already(run, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((20, 784)), y=np.arange(20) % 10)
    code, _, err = run("train", "784-10", "d.npz", "--out", "m.safetensors", "--epochs", "1")
    assert (code, err.startswith("warning: rows of 784 numbers from ")) == (0, True)
    code, _, err = run("train", "784-10", "d.npz", "--out", "n.safetensors", "--preprocess", "digits")
    assert (code, "rows of 784 numbers are taken for pixels, 0 to 255, found" in err) == (2, True)


def test_a_recipe(run, monkeypatch, tmp_path):
    given = {}

    def train(**options: object) -> Trained:
        given.update(options)
        net = pnn.Sequential(pnn.Input(2), pnn.Dense(2))
        return Trained(net, {"test_accuracy": 0.975, "test_images": 1000.0}, History([{"epoch": 1.0, "loss": 0.5}]))

    monkeypatch.setattr("portable_nn.models.recipes.recipe_of", lambda shipped: train)
    code, out, err = run("models", "build", "digits-mlp", "--seed", "3", "--quiet")
    assert (code, err) == (0, "")
    assert given == {"seed": 3, "progress": False}
    assert out.splitlines()[:3] == ["epochs         1", "test accuracy  97.5 %", "test images    1,000"]
    assert (tmp_path / "digits-mlp.safetensors").exists()
    assert run("models", "build", "digits-mlp", "--epochs", "2", "--force", "--format", "json").json["figures"] == {
        "test_accuracy": 0.975,
        "test_images": 1000.0,
    }
    assert given["epochs"] == 2
    assert run("models", "build", "digits").code == 0
    assert (tmp_path / "digits.safetensors").exists()


# -- checkpoints

KEPT = [*FLOWERS, "--epochs", "4", "--early-stopping", "3", "--plot", "rows.csv"]
"""108 examples to learn from: 4 batches an epoch."""

KILLED = """
import os, sys
from portable_nn.cli import main
from portable_nn.training.state import State

real = State.end_batch
def end_batch(state, measured):
    real(state, measured)
    if state.done == 10:
        os.kill(os.getpid(), 9)
State.end_batch = end_batch
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("every", "number", "where"),
    [(",3", 9, "epoch 3 of 4, batch 2"), ("", 8, "epoch 3 of 4, batch 1")],
)
@pytest.mark.long  # The same without the command line is quick: training/test_checkpoint.py.
def test_killed_and_resumed(shell, tmp_path, flowers_csv, every, number, where):
    """Three processes: one that nothing stops, one that is killed, and one that goes on."""
    assert shell(*KEPT).code == 0
    wanted = [(tmp_path / name).read_bytes() for name in ("m.safetensors", "rows.csv")]
    for name in ("m.safetensors", "rows.csv"):
        (tmp_path / name).unlink()
    checkpoints = ["--checkpoint", f"run{every}"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *KEPT, *checkpoints], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "m.safetensors").exists()
    code, out, err = shell(*KEPT, *checkpoints, "--resume")
    assert (code, err.splitlines()[0]) == (0, f"resuming run/checkpoint-{number:08}.safetensors: {where}")
    assert out.startswith("epochs               4, kept: 4 (smallest validation loss, still falling: ")
    assert [(tmp_path / name).read_bytes() for name in ("m.safetensors", "rows.csv")] == wanted


def test_resuming_what_is_done(run, flowers_csv):
    first = run(*FLOWERS, "--epochs", "2", "--checkpoint", "run")
    begun_anew = run(*FLOWERS, "--epochs", "3", "--checkpoint", "run")
    assert begun_anew.err == "error: m.safetensors is what the training in run saved: --resume goes on with it\n"
    again = run(*FLOWERS, "--epochs", "2", "--checkpoint", "run", "--resume")
    assert again == (0, first.out, "resuming run/checkpoint-00000008.safetensors: all 2 epochs are done\n")
    assert run(*FLOWERS, "--epochs", "2", "--checkpoint", "run", "--resume", "--quiet").err == ""
    more = run(*FLOWERS, "--epochs", "3", "--checkpoint", "run", "--resume")
    lines = more.err.splitlines()
    assert lines[0] == "resuming run/checkpoint-00000008.safetensors: epoch 3 of 3, batch 1"
    assert [line[:12] for line in lines[1:]] == ["epoch 3 of 3"]
    assert more.out.startswith("epochs               3, kept: 3 (smallest validation loss, still falling: ")


@pytest.mark.long
def test_a_resumed_training_replaces_its_own_output_alone(run, tmp_path, flowers_csv):
    """The file that it saved before it was killed, however long ago; never that of another training."""
    assert run(*FLOWERS, "--epochs", "1", "--checkpoint", "run").code == 0
    assert run(*FLOWERS[:-1], "more.safetensors", "--epochs", "9", "--checkpoint", "run", "--resume").code == 0
    assert run(*FLOWERS, "--epochs", "10", "--checkpoint", "run", "--resume").code == 0
    assert run(*FLOWERS, "--epochs", "10", "--checkpoint", "other").code == 2
    assert run(*FLOWERS, "--epochs", "10", "--seed", "1", "--force", "--quiet").code == 0
    before = (tmp_path / "m.safetensors").read_bytes()
    found = run(*FLOWERS, "--epochs", "11", "--checkpoint", "run", "--resume")
    assert found == (2, "", "error: m.safetensors exists already: --force replaces it\n")
    assert (tmp_path / "m.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--resume"], 2, "--resume needs --checkpoint FOLDER, where the checkpoints are"),
        (["--checkpoint", "new,0"], 2, "every must be a whole number from 1, not 0"),
        (["--checkpoint", "no/new"], 3, "no/new: cannot be made: there is no folder '"),
        (["--checkpoint", "flowers.csv"], 3, "flowers.csv: expected a folder for checkpoints, found a file"),
        (["--checkpoint", "new", "--resume"], 3, "new: holds no checkpoint to resume from: without --resume"),
        (
            ["--checkpoint", "run"],
            2,
            "run holds checkpoints of a training, up to checkpoint-00000004.safetensors: --resume goes",
        ),
    ],
)
def test_checkpoints_that_cannot_be(run, tmp_path, flowers_csv, options, code, message):
    run(*FLOWERS, "--epochs", "1", "--checkpoint", "run", "--out", "first.safetensors")
    found = run(*FLOWERS, "--epochs", "1", *options)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert not (tmp_path / "m.safetensors").exists()


def test_the_only_result_is_not_said_to_be_in_the_way(run, tmp_path, flowers_csv):
    (tmp_path / "m.safetensors").write_text("the only result")
    found = run(*FLOWERS, "--epochs", "1", "--resume")
    assert found == (2, "", "error: --resume needs --checkpoint FOLDER, where the checkpoints are\n")


def test_resuming_with_other_options_or_data(run, tmp_path, flowers_csv):
    run(*FLOWERS, "--epochs", "1", "--checkpoint", "run")
    rows = flowers_csv.read_text().splitlines(keepends=True)
    flowers_csv.write_text("".join(rows[:-1]))
    found = run(*FLOWERS, "--batch-size", "8", "--checkpoint", "run", "--resume", "--force", "--epochs", "1")
    assert found.code == 2
    lines = found.err.splitlines()
    assert lines[0].startswith("error: run/checkpoint-00000004.safetensors: the training cannot go on with another net")
    assert "  --batch-size: 32 in the checkpoint, 8 now" in lines
    assert any(line.startswith("  x: float32 (108, 4), fingerprint ") and "now" in line for line in lines)


@pytest.mark.long
def test_a_recipe_goes_on(run, monkeypatch, tmp_path):
    """The newest checkpoint goes, as if the training had been killed before it; the result is the same."""
    pytest.importorskip("font_roboto", reason="learns letters from fonts")
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 255, (40, 28, 28)).astype(np.uint8), np.arange(40) % 10
    monkeypatch.setattr(
        "portable_nn.models.digits_mlp.recipe.load_digits", lambda: Digits(pictures, labels, pictures[:9], labels[:9])
    )
    train = ["models", "build", "digits-mlp", "--epochs", "3", "--quiet", "--force"]
    whole = run(*train, "--out", "whole.safetensors")
    run(*train, "--checkpoint", "run,1")
    (tmp_path / "run" / "checkpoint-00000018.safetensors").unlink()
    found = run(*train[:3], *train[5:], "--checkpoint", "run", "--resume", "--epochs", "3")
    assert found.code == whole.code == 0
    assert (tmp_path / "digits-mlp.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    found = run("models", "build", "digits-mlp", "--checkpoint", "run", "--resume", "--epochs", "4")
    assert found.err.splitlines() == [
        "error: run/checkpoint-00000018.safetensors: the training cannot go on with another network, other data or "
        "other settings (another folder begins anew): epochs: 3 in the checkpoint, 4 now",
    ]
    found = run("models", "build", "digits-mlp", "--checkpoint", "run", "--resume")
    assert found.err.startswith("error: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there")
def test_ctrl_c_says_how_to_go_on(run, monkeypatch, flowers_csv):
    """And going on gives what would have been."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    real = State.end_batch

    def end_batch(state: State, measured: Sequence[tuple[float, float]]) -> None:
        real(state, measured)
        if state.done == 6:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(State, "end_batch", end_batch)
    stopped = run(*FLOWERS, "--epochs", "3", "--checkpoint", "run")
    monkeypatch.setattr(State, "end_batch", real)
    signal.signal(signal.SIGINT, before)
    assert stopped.code == 130
    last = stopped.err.splitlines()[-1]
    assert last == "stopped by Ctrl-C; saved: the best epoch so far, 1; --resume goes on from run"
    found = run(*FLOWERS, "--epochs", "3", "--checkpoint", "run", "--resume")
    first = found.err.splitlines()[0]
    assert first == "resuming run/checkpoint-00000006.safetensors: epoch 2 of 3, batch 3"
    whole = run(*FLOWERS[:-1], "whole.safetensors", "--epochs", "3")
    assert Path("m.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
    assert found.out.splitlines()[:-1] == whole.out.splitlines()[:-1]


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there")
def test_ctrl_c_keeps_what_was_learned(tmp_path, flowers_csv):
    command = [sys.executable, "-m", "portable_nn", *FLOWERS, "--epochs", "1000000", "--plot", "m.csv"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "m.csv").exists() or (tmp_path / "m.csv").read_text().count("\n") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert ", interrupted" in out.splitlines()[0]
    [best] = re.findall(r"kept: (\d+)", out)
    told = f"stopped by Ctrl-C; saved: the best epoch so far, {best}; without --checkpoint it cannot be resumed"
    assert err.splitlines()[-1] == told
    assert pnn.load(tmp_path / "m.safetensors").labels == ("1", "2", "3")


# -- a trained model, further


@pytest.fixture
def trained(run, flowers_csv):
    """A network that knows three kinds of flowers a little."""
    run("train", "4-8-3", "flowers.csv", "--standardise", "--epochs", "1", "--out", "m.safetensors")
    return pnn.load("m.safetensors")


@pytest.mark.parametrize(("kept", "is_told"), [(2, True), (3, False)])
def test_tune_says_that_the_data_have_fewer_classes(run, trained, kept, is_told):
    lines = Path("flowers.csv").read_text().splitlines()
    Path("few.csv").write_text("\n".join(line for line in lines if line.split(",")[0] in trained.labels[:kept]))
    err = run("tune", "m.safetensors", "few.csv", "--epochs", "1", "-o", "n.safetensors").err
    told = f"the data have {kept} of the model's 3 classes; --until -1 gives a new layer for them"
    assert (told in err) == is_told


def test_tune_a_model(run, trained):
    arguments = ("tune", "m.safetensors", "flowers.csv", "--epochs", "40", "--rate", "0.05")
    code, out, _ = run(*arguments, "--freeze", "dense_1", "-o", "n.safetensors")
    assert code == 0
    assert "validation accuracy  100.0 %" in out
    tuned = pnn.load("n.safetensors")
    assert (tuned.labels, tuned.inputs) == (trained.labels, trained.inputs)
    frozen = {value.name for value in tuned.graph.parameters if not value.trainable}
    assert frozen == {"normalization_1.mean", "normalization_1.std", "dense_1.weight", "dense_1.bias"}
    np.testing.assert_array_equal(tuned.parameters["dense_1.weight"], trained.parameters["dense_1.weight"])
    assert not np.array_equal(tuned.parameters["dense_2.weight"], trained.parameters["dense_2.weight"])


def test_tune_with_a_new_head_and_resume(run, trained, tmp_path):
    rows = (tmp_path / "flowers.csv").read_text().splitlines()
    (tmp_path / "two.csv").write_text("\n".join(row for row in rows if row[0] != "3"))
    arguments = ("tune", "m.safetensors", "two.csv", "--until", "sigmoid_1", "--labels", "A,B")
    assert run(*arguments, "--epochs", "2", "-o", "once.safetensors").code == 0
    assert run(*arguments, "--epochs", "1", "-o", "n.safetensors", "--checkpoint", "run").code == 0
    code, _, err = run(*arguments, "--epochs", "2", "-o", "twice.safetensors", "--checkpoint", "run", "--resume")
    assert code == 0
    assert err.startswith("resuming run/checkpoint-")
    assert (tmp_path / "once.safetensors").read_bytes() == (tmp_path / "twice.safetensors").read_bytes()
    assert pnn.load("twice.safetensors").labels == ("A", "B")


def test_tune_a_shipped_model(run, digits_csv):
    assert run("tune", "digits", "digits.csv", "--epochs", "1", "--validation", "0", "-o", "m.h5").code == 0
    assert pnn.load("m.h5").labels == tuple("0123456789")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["4-8-3", "flowers.csv"],
            "no model is called '4-8-3': shipped are digits, digits-cnn, digits-mlp, digits-gan",
        ),
        (["digits", "flowers.csv", "--activation", "relu"], "no such option: --activation"),
        (["digits", "flowers.csv", "--standardise"], "no such option: --standardise"),
        (["digits"], "missing argument 'DATA' (see portable-nn tune --help)"),
        (["flowers.csv"], "missing argument 'MODEL' before flowers.csv: portable-nn tune MODEL flowers.csv -o FILE."),
        (
            ["digits", "flowers.csv", "--preprocess", "unit"],
            "invalid value for '--preprocess': 'unit' is not one of 'digits', 'none'; 'predict MODEL --preprocess NAME "
            "--keep FILE' writes a copy of a model with another preparation",
        ),
        (["digitz", "flowers.csv"], "no model is called 'digitz': did you mean 'digits'?"),
        (
            ["digits", "flowers.csv", "--optimizer", "adam:momentum=0.9"],
            "--optimizer adam has no option 'momentum'",
        ),
    ],
)
def test_tune_wrong_usage(run, flowers_csv, arguments, message):
    code, out, err = run("tune", *arguments, "-o", "m.safetensors")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")


# -- names


@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_help_lists_the_names_of_the_library(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "120")
    found = run(command, "--help-all").out
    assert f"--optimizer <{'|'.join(OPTIMIZERS)}>" in found
    assert f"--loss <{'|'.join(LOSSES)}>" in found
    assert (f"--activation <{'|'.join(ACTIVATIONS)}>" in found) == (command == "train")


def test_an_optimizer_is_a_class_and_a_row(run, monkeypatch, flowers_csv):
    """A new row of the two tables, which are one for those who add a class, is an option of the commands."""
    monkeypatch.setitem(names.OPTIMIZERS, "steepest", "SGD")
    monkeypatch.setitem(OPTIMIZERS, "steepest", OPTIMIZERS["sgd"])
    importlib.reload(steps)
    importlib.reload(train)
    _command.cache_clear()
    try:
        assert "sgd|rmsprop|adam|adamw|amsgrad|lion|steepest" in run("train", "--help-all").out
        options = ["--optimizer", "steepest:momentum=0.9", "--epochs", "1"]
        assert run(*FLOWERS, *options).code == 0
    finally:
        monkeypatch.undo()
        importlib.reload(steps)
        importlib.reload(train)
        _command.cache_clear()


def test_train_and_tune_share_their_options(run):
    train, tune = ({option for each in _command(name).params for option in each.opts} for name in ("train", "tune"))
    tables = {f"--{name}" for name in TableOptions.__dataclass_fields__}
    assert train - tune == {"layers", "--activation", "--standardise", *tables}
    assert tune - train == {"model", "--until", "--freeze"}


def test_figures_of_an_interrupted_training_are_not_overwritten(run, tmp_path, flowers_csv):
    """A file of figures is kept, unless the training that wrote it is resumed."""
    options = ["--epochs", "1", "--plot", "m.csv", "--checkpoint", "run"]
    assert run(*FLOWERS, *options).code == 0
    before = (tmp_path / "m.csv").read_text()
    found = run(*FLOWERS[:-1], "other.safetensors", "--epochs", "1", "--plot", "m.csv")
    assert found == (2, "", "error: m.csv exists already: --force replaces it\n")
    resumed = [*FLOWERS[:-1], "more.safetensors", *options, "--resume"]
    for other in ("precious\n", "", "epoch,loss\n1,2\n", before.replace("1,", "3,", 1)):
        (tmp_path / "m.csv").write_text(other)
        assert run(*resumed) == (2, "", "error: m.csv exists already: --force replaces it\n")
        assert (tmp_path / "m.csv").read_text() == other
    (tmp_path / "m.csv").write_text(before)
    assert run(*resumed).code == 0
    assert (tmp_path / "m.csv").read_text() == before


@pytest.mark.long
def test_the_curves_are_drawn_and_a_resumed_training_replaces_its_picture(run, tmp_path, flowers_csv):
    pytest.importorskip("matplotlib")
    options = ["--plot", "run.svg", "--checkpoint", "run"]
    found = run(*FLOWERS, "--epochs", "2", *options)
    assert found.out.splitlines()[-1].startswith("drawn                run.svg (")
    assert run(*FLOWERS, "--epochs", "3", *options, "--resume").code == 0
    (tmp_path / "run.svg").write_text("precious")
    found = run(*FLOWERS, "--epochs", "4", *options, "--resume")
    assert found == (2, "", "error: run.svg exists already: --force replaces it\n")


def test_a_loss_with_options(run, flowers_csv):
    assert run(*FLOWERS, "--epochs", "1", "--loss", "cross_entropy(label_smoothing=0.1)").code == 0
    assert pnn.load("m.safetensors").outputs[0].loss == "cross_entropy(label_smoothing=0.1)"
    found = run(*FLOWERS, "--force", "--loss", "huber(sharpness=2)")
    assert found == (2, "", "error: loss 'huber' has no option 'sharpness': it has weight, delta\n")


def test_a_new_head_at_the_shell(run, flowers_csv):
    assert run(*FLOWERS, "--epochs", "1").code == 0
    options = ["--epochs", "1", "--preprocess", "none", "-o", "n.safetensors"]
    assert run("tune", "m.safetensors", "flowers.csv", "--until", "-1", *options).code == 0
    assert pnn.load("n.safetensors").labels == pnn.load("m.safetensors").labels
