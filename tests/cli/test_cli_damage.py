"""An ONNX file of this package in which a bit flipped: no command takes it, unless that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx

X = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)


@pytest.fixture
def damaged(tmp_path: Path) -> pnn.Network:
    """The network, of whose first weight a bit is wrong in a.onnx, beside its inputs in x.npy."""
    network = pnn.Sequential(pnn.Input(6), pnn.Dense(8), pnn.Dense(3), labels="abc", seed=0)
    export_onnx(network, tmp_path / "a.onnx", verify=False)
    network.parameters["dense_1.weight"][0, 0] *= -1
    data = (tmp_path / "a.onnx").read_bytes()
    place = data.index(network.parameters["dense_1.weight"].tobytes()[4:]) - 1
    (tmp_path / "a.onnx").write_bytes(data[:place] + bytes([data[place] ^ 128]) + data[place + 1 :])
    np.save(tmp_path / "x.npy", X)
    return network


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(
    "command",
    [
        ("import", "a.onnx", "b.npz"),
        ("predict", "a.onnx", "x.npy"),
        ("predict", "a.onnx", "x.npy", "--engine", "numpy"),
        ("convert", "a.onnx", "b.safetensors"),
        ("export", "a.onnx", "b.onnx"),
    ],
)
def test_it_is_refused(run, tmp_path, command):
    code, out, err = run(*command)
    assert (code, out) == (3, "")
    assert err.startswith("error: a.onnx: is damaged: tensor 'dense_1.weight' is damaged or another network's: ")
    assert "--edited" in err
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "x.npy"}


@pytest.mark.usefixtures("damaged")
def test_check_reports_it(run):
    code, out, err = run("check", "a.onnx")
    assert (code, err) == (1, "")
    assert "damaged: tensor 'dense_1.weight' is damaged or another network's" in out


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_it_predicts_on_purpose(run, damaged, engine):
    code, out, err = run("predict", "a.onnx", "x.npy", "--edited", "--engine", engine, "--top", "3", "--format", "json")
    assert (code, err) == (0, "")
    logits = np.exp(damaged.predict(X))
    expected = np.sort(logits / logits.sum(axis=1, keepdims=True))[:, ::-1]
    found = [[probability for _, probability in row["top"]] for row in json.loads(out)["results"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("command", ["import", "convert"])
def test_it_is_read_on_purpose(run, tmp_path, damaged, command):
    code, _, err = run(command, "a.onnx", "b.npz", "--edited")
    assert code == 0
    assert "read as another tool's model" in err
    found = pnn.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(found.parameters["dense_1.weight"], damaged.parameters["dense_1.weight"])
    assert found.labels == ("a", "b", "c")


@pytest.mark.usefixtures("damaged")
def test_what_another_program_rewrote_is_predicted_with_a_note(run, tmp_path):
    network = pnn.Sequential(pnn.Input(6), pnn.Dense(3), labels="abc", seed=0)
    export_onnx(network, tmp_path / "b.onnx", verify=False)
    model = onnx.compose.add_prefix(onnx.load(tmp_path / "b.onnx"), "their_")
    onnx.save(model, tmp_path / "b.onnx")
    code, _, err = run("predict", "b.onnx", "x.npy")
    assert code == 0
    assert err.startswith("warning: b.onnx: read as another tool's model: ")
    assert run("predict", "b.onnx", "x.npy", "--quiet").err == ""


@pytest.mark.parametrize("command", ["export", "convert", "import", "tune"])
def test_what_another_program_rewrote_is_noted_by_what_goes_on_with_it(run, tmp_path, command):
    """Otherwise a file with other numbers would become one of ours, without a word."""
    export_onnx(pnn.Sequential(pnn.Input(6), pnn.Dense(3), labels="abc", seed=0), tmp_path / "b.onnx", verify=False)
    onnx.save(onnx.compose.add_prefix(onnx.load(tmp_path / "b.onnx"), "their_"), tmp_path / "b.onnx")
    (tmp_path / "t.csv").write_text("".join(f"{number % 3},1,2,3,4,5,{number}\n" for number in range(30)))
    arguments = ["t.csv", "-o", "out.h5", "--epochs", "1"] if command == "tune" else ["out.onnx"]
    arguments = ["out.h5"] if command in ("import", "convert") else arguments
    found = run(command, "b.onnx", *arguments)
    assert found.code == 0, found.err
    assert found.err.count("read as another tool's model: ") == 1
