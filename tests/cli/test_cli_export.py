"""``export``: what may be asked of it, and what it prints; see ``test_cli_models`` for the plain way there and back."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from foreign import linear

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli.proof import bytes_in, sizes_in
from portable_nn.core.errors import UsageError

DIGITS = find_model("digits-mlp")
OUTSIDE = (
    "inputs are prepared outside the file: the steps that inspect lists; the file takes float32 (784,), levels 0 to "
    "255. portable-nn predict and pnn.prepare do this\n"
)


def shape_of(path):
    [value] = onnx.load(path).graph.input
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_sizes(run, tmp_path):
    x = pnn.Input(3, "height", "width", name="x")
    net = pnn.Network(x, pnn.Conv2d(2, 3, padding=1, name="y")(x), seed=0)
    net.save(tmp_path / "m.safetensors")
    arguments = ["--batch-size", "2", "--dim", "height=8,width=6"]
    assert run("export", "m.safetensors", "m.onnx", *arguments).code == 0
    assert shape_of(tmp_path / "m.onnx") == [2, 3, 8, 6]
    code, out, err = run("export", "m.onnx", "any.onnx", "--batch-size", "any")
    assert (code, err) == (0, "the batch, which was 2, may be of any size\n")
    assert out.splitlines()[0].split() == ["output", "largest", "error", "relative"]
    assert shape_of(tmp_path / "any.onnx") == ["batch", 3, 8, 6]


@pytest.mark.long
def test_pixels_and_pictures_of_an_exported_file(run, digits_csv):
    code, out, err = run("export", "digits-mlp", "m.onnx")
    assert (code, err) == (0, OUTSIDE)
    assert "m.onnx (" in out
    for inputs in ([DIGITS.samples], ["digits.csv"]):
        for engine in ("onnxruntime", "numpy"):
            inside = run("predict", "m.onnx", *inputs, "--engine", engine, "--format", "json").json["results"]
            plain = run("predict", "digits-mlp", *inputs, "--format", "json").json["results"]
            for row, other in zip(inside, plain, strict=True):
                assert row["label"] == other["label"]
                assert row["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_float16(run, tmp_path):
    code, out, err = run("export", "digits-mlp", "half.onnx", "--dtype", "float16")
    assert (code, err) == (0, f"2 tensors of weights in float16, computed with in float32\n{OUTSIDE}")
    heading, row = out.splitlines()[3:5]
    assert heading.split() == ["by", "float16", "weights", "largest", "error", "relative"]
    assert row.split()[0] == "digit"
    assert 1e-6 < float(row.split()[1]) < 0.1
    assert (tmp_path / "half.onnx").stat().st_size < 0.51 * DIGITS.onnx.stat().st_size
    assert run("predict", "half.onnx", DIGITS.samples).code == 0


@pytest.mark.parametrize(("limit", "beside"), [("0", True), ("600kB", True), ("1MB", False)])
def test_weights_beside(run, tmp_path, limit, beside):
    code, out, err = run("export", "digits-mlp", "m.onnx", "--external-data", limit)
    assert (code, err) == (0, OUTSIDE)
    assert bool(re.search(r"^data +m-", out, re.MULTILINE)) is beside
    assert len(list(tmp_path.glob("*.data"))) == beside
    assert run("predict", "m.onnx", DIGITS.samples).code == 0


@pytest.mark.long
def test_json(run, tmp_path):
    run("predict", "digits-mlp", DIGITS.samples, "--io", "io.npz")
    wishes = ["--dtype", "float16", "--external-data", "0", "--tolerance", "1", "--io", "io.npz"]
    found = run("export", "digits-mlp", "m.onnx", *wishes, "--format", "json").json
    assert list(found) == [
        "schema",
        "model",
        "path",
        "bytes",
        "verified",
        "seconds",
        "outputs",
        "batches",
        "values",
        "sizes",
        "weights",
        "recorded",
        "beside",
        "notes",
        "opset",
        "ir_version",
        "rounding",
        "data",
    ]
    assert (found["batches"], (tmp_path / found["data"]).exists()) == ([1, 3], True)
    [rounding], [recorded] = found["rounding"], found["recorded"]
    assert 0 < rounding["max_abs_error"] < 0.1
    assert recorded["output"] == "digit"
    assert 0 < recorded["max_rel_error"] < 0.01
    weights, outside = found["notes"]
    assert weights == "2 tensors of weights in float16, computed with in float32"
    assert outside.startswith(OUTSIDE.partition("the steps")[0])
    assert "…" not in outside
    assert found["values"]["worst"]["error"] < 2e-5
    kinds = {fate["name"]: fate["kind"] for fate in found["weights"]}
    assert kinds["hidden.weight"] == kinds["digit.weight"] == "transformed"
    assert kinds["hidden.bias"] == kinds["digit.bias"] == "kept"


@pytest.mark.long
def test_what_predict_records_export_and_import_and_convert_compare_with(run, tmp_path):
    code, out, err = run("predict", "digits-mlp", DIGITS.samples, "--io", "io.npz")
    assert (code, err) == (0, "recorded in io.npz: image (10, 784), digit (10, 10)\n")
    assert len(out.splitlines()) == 11
    with np.load(tmp_path / "io.npz") as found:
        np.testing.assert_allclose(pnn.load(DIGITS.weights).predict(found["image"]), found["digit"], atol=1e-4)
    lines = [["export", "digits-mlp", "m.onnx"], ["import", DIGITS.onnx, "m.safetensors"]]
    lines += [["convert", "digits-mlp", f"c{suffix}"] for suffix in (".onnx", ".h5", ".npz")]
    lines += [["convert", DIGITS.onnx, "d.h5"], ["convert", "c.npz", "e.h5", "--against", "digits-mlp"]]
    for line in lines[:-1]:
        code, out, _ = run(*line, "--io", "io.npz")
        assert code == 0, line
        place = [row.split()[:3] for row in out.splitlines()].index(["as", "in", "io.npz"])
        name, error, _ = out.splitlines()[place + 1].split()
        assert (name, float(error) < 1e-4) == ("digit", True)
    with np.load(tmp_path / "io.npz") as stored:
        changed = dict(stored)
    changed["digit"][3, 4] += 1
    np.savez(tmp_path / "io.npz", **changed)
    for line in lines[:-1]:
        code, out, err = run(*line, "--io", "io.npz", "--force")
        assert (code, out) == (1, ""), line
        assert (
            "numpy and io.npz part at node 'digit' (Gemm), the first that is recorded and differs: 'digit'[3, 4] is"
            in err
        )


def test_arrays_of_another_project_are_compared_with_a_recording(run, tmp_path):
    run("predict", "digits-mlp", DIGITS.samples, "--io", "io.npz")
    arrays = dict(pnn.load(DIGITS.weights).parameters)
    np.savez(tmp_path / "theirs.npz", **arrays)
    line = ["convert", "theirs.npz", "mine.h5", "--against", "digits-mlp", "--io", "io.npz"]
    code, out, _ = run(*line)
    assert (code, "as in io.npz" in out) == (0, True)
    arrays["hidden.bias"] = arrays["hidden.bias"] + 1
    np.savez(tmp_path / "theirs.npz", **arrays)
    code, _, err = run(*line, "--force")
    assert (code, err.startswith("error: theirs.npz: numpy and io.npz part at node 'digit' (Gemm)")) == (1, True)


def test_the_options_of_an_import(run, tmp_path):
    assert run("import", DIGITS.onnx, "m.safetensors", "--tolerance", "0,1e-3", "--seed", "4").code == 0
    found = [
        run("import", DIGITS.onnx, "m.safetensors", "--force", "--seed", str(seed), "--format", "json").json["outputs"]
        for seed in range(3)
    ]
    assert found[0] != found[1] or found[1] != found[2]
    code, out, err = run("import", DIGITS.onnx, "n.safetensors", "--tolerance", "0,-1")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {DIGITS.onnx}: numpy and onnxruntime part at node 'mul_1' (Mul)")
    assert not (tmp_path / "n.safetensors").exists()


def test_the_options_of_a_convert(run, tmp_path):
    assert run("convert", DIGITS.onnx, "m.h5", "--tolerance", "0,1e-3", "--seed", "4").code == 0
    for line in (["convert", DIGITS.onnx, "n.h5"], ["convert", "digits-mlp", "n.onnx"]):
        code, _, err = run(*line, "--tolerance", "0,-1")
        assert (code, "numpy and onnxruntime part at node 'mul_1' (Mul)" in err) == (1, True)
    assert not list(tmp_path.glob("n.*"))


def test_a_file_that_differs_can_be_exported_unverified(run):
    line = ["export", DIGITS.onnx, "m.onnx", "--tolerance", "0,-1"]
    assert run(*line).code == 1
    assert run(*line, "--verify", "none").err == f"{OUTSIDE}not verified: verify=False\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dim", "height"], "--dim needs NAME=SIZE, such as height=224 or height=width, not 'height'"),
        (["--dim", "height=-1"], "--dim needs NAME=SIZE, such as height=224 or height=width, not 'height=-1'"),
        (["--dim", "batch=x"], "no size is called 'x': the inputs have batch"),
        (["--dim", "n=1", "--dim", "n=2"], "--dim: 'n' is given twice, as 1 and 2"),
        (["--dim", "n=1"], "no size is called 'n': the inputs have batch"),
        (["--external-data", "much"], "--external-data needs a number of bytes such as 500kB, 100MB or 0, not 'much'"),
        (["--external-data", "3 TB"], "--external-data needs a number of bytes such as 500kB, 100MB or 0, not '3 TB'"),
        (["--verify", "none", "--io", "io.npz"], "--verify none leaves out the comparison with --io: give one of them"),
        (["--io", "io.txt"], "io.txt: the name of a file of inputs and outputs ends in .npz"),
    ],
)
def test_wrong_usage(run, tmp_path, arguments, message):
    assert run("export", "digits-mlp", "m.onnx", *arguments) == (2, "", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["import", "convert"])
def test_a_recording_needs_verification(run, command):
    found = run(command, DIGITS.onnx, "m.h5", "--verify", "none", "--io", "io.npz")
    assert found == (2, "", "error: --verify none leaves out the comparison with --io: give one of them\n")


def test_recordings_that_are_not_there_or_do_not_fit(run, tmp_path):
    assert run("export", "digits-mlp", "m.onnx", "--io", "io.npz")[::2] == (3, "error: io.npz: does not exist\n")
    np.savez(tmp_path / "io.npz", image=np.zeros((2, 783)), digits=np.zeros((2, 10)))
    code, out, err = run("export", "digits-mlp", "m.onnx", "--io", "io.npz")
    assert (code, out) == (3, "")
    assert err.splitlines() == [
        "error: io.npz: does not hold the inputs and outputs of the network: 3 faults",
        "  output 'digit' is missing",
        "  'digits' is no value of the network: its inputs are 'image', its outputs 'digit'",
        "  input 'image' needs (batch, 784), not (2, 783)",
    ]


def test_where_to_record_is_checked_before_the_work(run, tmp_path):
    code, out, err = run("predict", "digits-mlp", DIGITS.samples, "--io", "io.txt")
    assert (code, out, err) == (2, "", "error: io.txt: the name of a file of inputs and outputs ends in .npz\n")
    code, _, err = run("predict", "digits-mlp", DIGITS.samples, "--io", "no/io.npz")
    assert (code, err.startswith("error: no/io.npz: cannot be written: there is no folder")) == (3, True)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("12", 12),
        ("1B", 1),
        ("500kB", 500_000),
        ("1.5 MB", 1_500_000),
        ("2gb", 2 * 10**9),
        ("1KiB", 1024),
        ("64MiB", 2**26),
        ("1GiB", 2**30),
    ],
)
def test_numbers_of_bytes(text, count):
    assert bytes_in(text, "--x") == count


def test_sizes_have_any_name():
    assert sizes_in(["a=b=3", "floor(h/2)=7", "n=4", "n=4"]) == {"a=b": 3, "floor(h/2)": 7, "n": 4}
    with pytest.raises(UsageError, match=r"^--dim needs NAME=SIZE, such as height=224 or height=width, not '=3'$"):
        sizes_in(["=3"])


@pytest.mark.parametrize("way", ["import", "export", "c"])
def test_weights_with_nan_are_named(run, tmp_path, way):
    weight = np.ones((4, 3), np.float32)
    weight[1, 2] = np.nan
    linear(tmp_path / "m.onnx", weight=weight)
    found = run("import", "m.onnx", "m.safetensors")
    if way != "import":
        found = run("export", "m.safetensors", "n.onnx" if way == "export" else "n.c")
    assert found.code == 0
    assert "weight 'w' is NaN in 1 of 12 elements, and so is what follows from it\n" in found.err
