"""``portable-nn check``."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from foreign import FLOAT, linear, write
from onnx import helper

from portable_nn.catalog import find_model

DIGITS = find_model("digits-mlp")


@pytest.fixture
def faulty(tmp_path):
    """A product that does not fit, behind one that does; onnx.checker sees nothing wrong with it."""
    path = linear(tmp_path / "m.onnx", weight=np.arange(15, dtype=np.float32).reshape(3, 5))
    model = onnx.load(path)
    model.graph.node.add().CopyFrom(helper.make_node("MatMul", ["y", "w"], ["z"], "again"))
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ["n", 5]))
    onnx.save(model, path)
    return path


@pytest.fixture
def uncovered(tmp_path):
    """A convolution that leaves out the last row and column."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[2, 2])
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)}
    return write(
        tmp_path / "c.onnx", [node], {"x": (FLOAT, ["n", 3, "h", 8])}, {"y": (FLOAT, ["n", 4, "k", 3])}, weights
    )


@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.onnx])
def test_a_clean_model(run, model):
    code, out, err = run("check", model, "--strict", "--in", "1,784")
    noted = "level  node  message\nnote         the file is to the byte as portable-nn writes it\n\n1 note in 5 nodes\n"
    assert (code, out, err) == (0, noted if model == "digits-mlp" else "nothing found in 5 nodes\n", "")


def test_errors_are_exit_code_1(run, faulty):
    code, out, err = run("check", "m.onnx")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "level  node   message",
        "error  again  MatMul does not fit: the shapes (n, 5) and (3, 5) cannot be multiplied",
        "note          input 'x' (n, 3) has symbolic sizes: n",
        "                --in n,3, with numbers for names, sets them",
        "",
        "1 error, 1 note in 2 nodes",
    ]


def test_warnings_count_where_it_is_strict(run, uncovered):
    assert run("check", "c.onnx", "--in", "N,3,9,8").code == 0
    code, out, _ = run("check", "c.onnx", "--in", "N,3,9,8", "--strict")
    assert code == 1
    assert "warning  conv  never read: column 7 (the last of 8)" in out.splitlines()
    assert out.splitlines()[-1] == "1 warning, 1 note in 1 node"
    assert run("check", "c.onnx", "--in", "x=1,3,9,8").out.splitlines()[-1] == "1 warning in 1 node"


def test_json(run, faulty):
    found = run("check", "m.onnx", "--format", "json", "--quiet")
    assert found.code == 1
    assert {name: value for name, value in found.json.items() if name != "findings"} == {
        "schema": 1,
        "model": "m.onnx",
        "nodes": 2,
        "errors": 1,
        "warnings": 0,
        "notes": 1,
    }
    assert found.json["findings"][0] == {
        "level": "error",
        "node": "again",
        "hint": "",
        "message": "MatMul does not fit: the shapes (n, 5) and (3, 5) cannot be multiplied",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no.onnx"], 3, "no.onnx: does not exist"),
        (["text.onnx"], 3, "text.onnx: is a text file, not an ONNX model"),
        (["text.safetensors"], 3, "text.safetensors: "),
        (["digitz"], 2, "no model is called 'digitz'"),
        (["m.onnx", "--in", "1,4"], 2, "input 'x' (n, 3), axis 1: the size is 3 and cannot be 4"),
        (["m.onnx", "--in", "1;3"], 2, "expected sizes such as N,3,224,224, not '1;3'"),
    ],
)
def test_what_cannot_be_checked(run, faulty, tmp_path, arguments, code, message):
    for name in ("text.onnx", "text.safetensors"):
        (tmp_path / name).write_text("hello")
    found = run("check", *arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")


def test_a_damaged_weight_file_has_errors(run, tmp_path):
    data = bytearray(DIGITS.weights.read_bytes())
    data[-1] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    code, out, _ = run("check", "m.safetensors")
    assert code == 1
    assert "is damaged or another network's" in out
    assert out.splitlines()[-1] == "1 error"


def test_names_cannot_command_the_terminal(run, tmp_path):
    node = helper.make_node("Swirl", ["x"], ["y"], "\x1b[31mred", domain="com.example")
    values = [helper.make_tensor_value_info(name, FLOAT, [2]) for name in "xy"]
    opsets = [helper.make_opsetid("com.example", 1), helper.make_opsetid("", 17)]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")
    out = run("check", "m.onnx").out
    assert "\x1b" not in out
    assert r"\x1b[31mred" in out


@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=pytest.mark.long), "squeezenet1_1"])
def test_files_that_this_project_did_not_make(run, exported, name):
    code, out, err = run("check", exported(name).path)
    assert (code, err) == (0, "")
    assert "error" not in out
