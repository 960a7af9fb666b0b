"""An ONNX file whose weights are in a file outside its folder: no command reads that file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import portable_nn as pnn

WEIGHT = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])


def elsewhere(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, dims=WEIGHT.shape, data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(nodes: list[onnx.NodeProto], weights: list[TensorProto], name: str = "g") -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["n", 3])] if name == "g" else []
    return helper.make_graph(nodes, name, inputs, [value("y", TensorProto.FLOAT, ["n", 5])], weights)


def initializer(location: str) -> onnx.GraphProto:
    return graph([PRODUCT], [elsewhere("w", location)])


def constant(location: str) -> onnx.GraphProto:
    return graph([helper.make_node("Constant", [], ["w"], value=elsewhere("", location)), PRODUCT], [])


def branch(location: str) -> onnx.GraphProto:
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    inner = graph([PRODUCT], [elsewhere("w", location)], "branch")
    return graph([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], [condition])


def write(folder: Path, made: onnx.GraphProto) -> None:
    """models/m.onnx, beside secret.bin, models/w.bin and x.npy."""
    (folder / "models").mkdir()
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "models" / "m.onnx").write_bytes(model.SerializeToString())
    for name in ("secret.bin", "models/w.bin"):
        (folder / name).write_bytes(WEIGHT.tobytes())
    (folder / "models" / "link.bin").symlink_to(folder / "secret.bin")
    np.save(folder / "x.npy", np.eye(3, dtype=np.float32))


COMMANDS = [
    ("import", "models/m.onnx", "o.npz"),
    ("predict", "models/m.onnx", "x.npy"),
    ("predict", "models/m.onnx", "x.npy", "--engine", "numpy"),
    ("convert", "models/m.onnx", "o.npz"),
    ("export", "models/m.onnx", "o.onnx"),
    ("inspect", "models/m.onnx"),
    ("inspect", "models/m.onnx", "--against", "digits-mlp"),
    ("size", "net", "models/m.onnx"),
    ("check", "models/m.onnx"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_it(run, tmp_path, command):
    write(tmp_path, initializer("../secret.bin"))
    code, out, err = run(*command)
    message = "tensor 'w' names a file outside the model's folder: '../secret.bin'"
    if command[0] == "check":  # It reports, and never refuses.
        assert (code, message in out) == (1, True)
    else:
        assert (code, out) == (3, "")
        assert err == f"error: models/m.onnx: {message}\n"


@pytest.mark.parametrize("make", [initializer, constant, branch])
@pytest.mark.parametrize("location", ["../secret.bin", "w.bin\0", "link.bin", ""])
@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
def test_wherever_the_tensor_is_and_whatever_the_name(run, tmp_path, make, location, engine):
    write(tmp_path, make(location))
    code, out, err = run("predict", "models/m.onnx", "x.npy", "--engine", engine)
    assert (code, out) == (3, "")
    assert re.search(r"names a file outside the model's folder: ", err)


@pytest.mark.parametrize("make", [initializer, constant])
@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
def test_a_file_in_the_folder_is_read(run, tmp_path, make, engine):
    write(tmp_path, make("w.bin"))
    found = run("predict", "models/m.onnx", "x.npy", "--engine", engine, "--task", "classes", "--format", "json").json
    assert [row["index"] for row in found["results"]] == WEIGHT.argmax(axis=1).tolist()


@pytest.mark.parametrize("make", [initializer, constant])
def test_it_is_imported_and_verified_though_the_file_has_another_name(run, tmp_path, make):
    """Package managers store files by hard links; the onnx package takes one for an attack."""
    write(tmp_path, make("w.bin"))
    (tmp_path / "models" / "other name").hardlink_to(tmp_path / "models" / "w.bin")
    assert run("import", "models/m.onnx", "o.npz").code == 0
    np.testing.assert_array_equal(pnn.load(tmp_path / "o.npz").predict(np.eye(3, dtype=np.float32)), WEIGHT)
    assert run("check", "models/m.onnx").code == 0


def test_the_sha_256_of_a_file_does_not_cover_another(run, tmp_path):
    write(tmp_path, initializer("w.bin"))
    digest = hashlib.sha256((tmp_path / "models" / "m.onnx").read_bytes()).hexdigest()
    found = run("inspect", "models/m.onnx").out
    assert ", with weights in w.bin (60 B), which the SHA-256 does not cover\n" in found
    assert run("inspect", "models/m.onnx", "--format", "json").json["file"]["weights"] == {"w.bin": 60}
    for engine in ("onnxruntime", "numpy"):
        code, _, err = run("predict", "models/m.onnx", "x.npy", "--digest", digest, "--engine", engine)
        assert code == 3
        assert err == "error: models/m.onnx: has weights in other files (w.bin), which its SHA-256 does not cover\n"
