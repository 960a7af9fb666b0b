"""``convert`` at the command line; what it does is tested in ``tests/converters``."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.core.text import size

KINDS = ("safetensors", "h5", "npz", "onnx")

DIGITS = find_model("digits-mlp")


@pytest.fixture
def mine(tmp_path: Path) -> pnn.Network:
    """A small network, saved as mine.safetensors."""
    made = pnn.Sequential(pnn.Input(4, name="x"), pnn.Dense(5), pnn.Sigmoid(), pnn.Dense(3), labels="abc", seed=1)
    made.save(tmp_path / "mine.safetensors")
    return made


def shown(path: Path) -> str:
    return size(path.stat().st_size)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
def test_every_direction_and_back(run, tmp_path, mine, source, target):
    if source != "safetensors":
        assert run("convert", "mine.safetensors", f"mine.{source}").code == 0
    code, out, err = run("convert", f"mine.{source}", f"b.{target}")
    digest = mine.save(tmp_path / "again.safetensors")
    assert (code, err) == (0, "")
    details = f"{shown(tmp_path / f'b.{target}')}{', opset 17, IR version 8' if target == 'onnx' else ''}"
    assert out.splitlines()[-3:] == [
        f"written  b.{target} ({details})",
        f"tensors  4 (172 B), all as in mine.{source}",
        f"digest   {digest}, as in mine.{source}",
    ]
    compared = "onnx" in (source, target)
    assert (out.splitlines()[0].split() == ["output", "largest", "error", "relative"]) is compared
    assert run("convert", f"b.{target}", f"back.{source}", "--quiet").code == 0
    assert (tmp_path / f"back.{source}").read_bytes() == (tmp_path / f"mine.{source}").read_bytes()


@pytest.mark.usefixtures("mine")
def test_json(run, tmp_path):
    found = run("convert", "mine.safetensors", "b.onnx", "--opset", "15", "--format", "json")
    assert (found.code, found.err) == (0, "")
    [output] = found.json["outputs"]
    assert list(output) == ["output", "max_abs_error", "max_rel_error"]
    assert {fate["kind"] for fate in found.json["weights"]} == {"kept"}
    assert found.json["values"]["not_exercised"] == []
    left = {"outputs", "values", "sizes", "weights", "digest"}
    assert {key: value for key, value in found.json.items() if key not in left} == {
        "schema": 1,
        "model": "mine.safetensors",
        "path": "b.onnx",
        "files": ["b.onnx"],
        "bytes": (tmp_path / "b.onnx").stat().st_size,
        "tensors": 4,
        "tensor_bytes": 172,
        "verified": True,
        "same_digest": True,
        "opset": 15,
        "ir_version": 8,
        "recorded": [],
        "dropped": [],
        "notes": [],
    }
    found = run("convert", "b.onnx", "b.npz", "--verify", "none", "--format", "json").json
    assert (found["verified"], found["outputs"], found["opset"]) == (False, [], None)
    assert found["dropped"] == ["that its operators are those of opset 15: export writes 17 by default"]
    assert found["notes"] == ["not verified: the written file was not compared with the source"]
    with np.load(tmp_path / "b.npz") as arrays:
        assert json.loads(arrays["portable_nn"].tobytes())["format"] == "portable-nn"


def test_a_shipped_model(run, tmp_path):
    code, out, err = run("convert", "digits-mlp", "d.npz")
    older = "is of version 2 of the format, and this is version 3\n"
    assert (code, err) in {(0, ""), (0, f"the digest differs: {DIGITS.weights} {older}")}
    assert f"\ntensors  6 (636 kB), all as in {DIGITS.weights}\n" in out
    with np.load(tmp_path / "d.npz") as arrays:
        for name, array in load_file(DIGITS.weights).items():
            np.testing.assert_array_equal(arrays[name], array, strict=True)
    assert run("convert", "digits-mlp", "d.npz", "--force", "--quiet").err == ""


def test_what_does_not_come_along_is_listed(run, tmp_path, mine):
    options = {"epochs": 1, "batch_size": 2, "checkpoint": tmp_path / "run", "progress": False}
    mine.fit(np.ones((4, 4), np.float32), [0, 1, 2, 0], optimizer=pnn.Adam(), **options)
    checkpoint = max((tmp_path / "run").glob("*.safetensors"))
    code, out, err = run("convert", checkpoint, "b.onnx")
    assert (code, err) == (0, "the digest differs: it is that of the network without its training\n")
    assert [line for line in out.splitlines() if line.endswith(f", not as in {checkpoint}")]
    assert out.split("\n\n")[-1].splitlines() == [
        "b.onnx does not hold",
        "  the state of its training after 1 epoch and 2 steps: 8 tensors (344 B)",
    ]
    for name in ("b.h5", "b.npz"):
        assert run("convert", checkpoint, name).out.splitlines()[2].endswith(f", as in {checkpoint}")


def test_arrays_of_another_project(run, tmp_path, mine):
    theirs = {"w" if name == "dense_1.weight" else name: array + 1 for name, array in mine.parameters.items()}
    save_file({**theirs, "steps": np.ones(2)}, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    found = run("convert", "theirs.safetensors", "b.npz")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: theirs.safetensors: holds arrays and not a network (5 tensors: ")
    assert "--against MODEL says which network they are of" in found.err
    found = run("convert", "theirs.safetensors", "b.npz", "--against", "mine.safetensors")
    assert (found.code, found.out, found.err) == (
        3,
        "",
        "error: theirs.safetensors: does not fit mine.safetensors: 2 faults\n"
        "  tensor 'dense_1.weight' (5, 4) is missing: perhaps --rename w=dense_1.weight\n"
        "  tensor 'steps' is not of the network: --rename steps= leaves it out\n",
    )
    renames = ["--rename", "w=dense_1.weight", "--rename", "steps="]
    code, out, err = run("convert", "theirs.safetensors", "b.npz", "--against", "mine.safetensors", *renames)
    assert (code, err) == (0, "graph, labels and preprocessing are those of mine.safetensors\n")
    assert out.splitlines()[-4:] == [
        "",
        "b.npz does not hold",
        "  tensor 'steps', float64 (2,)",
        "  the file's metadata 'format'",
    ]
    with np.load(tmp_path / "b.npz") as arrays:
        for name, array in mine.parameters.items():
            np.testing.assert_array_equal(arrays[name], array + 1, strict=True)


def test_force(run, tmp_path, mine):
    (tmp_path / "b.h5").write_text("old")
    found = run("convert", "mine.safetensors", "b.h5")
    assert found == (2, "", "error: b.h5 exists already: --force replaces it\n")
    assert (tmp_path / "b.h5").read_text() == "old"
    assert run("convert", "mine.safetensors", "b.h5", "--force").code == 0
    assert list(pnn.load(tmp_path / "b.h5").parameters) == list(mine.parameters)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.npz", "b.h5"], 3, "none.npz: does not exist"),
        (["digit", "b.h5"], 2, "no model is called 'digit': did you mean 'digits'?"),
        (["mine.safetensors", "b.pt"], 2, "b.pt: the name of a file that can be written ends in .safetensors"),
        (["mine.safetensors", "b.h5", "--opset", "17"], 2, "b.h5: opset is an option of ONNX files"),
        (["mine.safetensors", "b.onnx", "--opset", "99"], 2, "--opset must be 13 to 25, not 99"),
        (
            ["mine.safetensors", "mine.safetensors", "--force"],
            2,
            "B mine.safetensors is a file to read, A mine.",
        ),
        (["mine.safetensors", "no/b.h5"], 3, "no/b.h5: cannot be written: there is no folder '"),
        (["mine.safetensors", "b.h5", "--against", "digits"], 2, "mine.safetensors: holds a network of its own"),
        (["mine.safetensors", "b.h5", "--rename", "w"], 2, "--rename needs OLD=NEW, not 'w'"),
        (["mine.safetensors", "b.h5", "--rename", "=w"], 2, "--rename needs OLD=NEW, not '=w'"),
        (["mine.safetensors", "b.h5", "--rename", "a=b", "--rename", "a=c"], 2, "--rename: 'a' is given twice"),
        (["page.h5", "b.npz"], 3, "page.h5: is an HTML page"),
        (["mine.safetensors"], 2, "missing argument 'B' (see portable-nn convert --help)"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_errors(run, tmp_path, arguments, code, message):
    (tmp_path / "page.h5").write_text("<!DOCTYPE html><html>")
    found = run("convert", *arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"mine.safetensors", "page.h5"}


@pytest.mark.usefixtures("mine")
def test_a_file_that_does_not_hold_the_same_is_exit_code_1(run, tmp_path, monkeypatch):
    from portable_nn.opening import weight_file

    right = weight_file.save

    def wrong(path, manifest, tensors):
        return right(path, manifest, {name: array * 2 for name, array in tensors.items()})

    monkeypatch.setattr(weight_file, "save", wrong)
    found = run("convert", "mine.safetensors", "b.npz")
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith(
        "error: b.npz does not hold what was written: 2 faults\n  tensor 'dense_1.weight' has the"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"mine.safetensors"}


def test_a_folder_that_is_read_only(run, tmp_path, mine, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    found = run("convert", "mine.safetensors", "b.npz")
    assert found == (3, "", "error: b.npz: cannot be written: its folder is read-only\n")
