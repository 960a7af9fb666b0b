"""``portable-nn size net``."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from foreign import convolutional
from onnx import TensorProto, helper, numpy_helper

from portable_nn.catalog import find_model

DIGITS = find_model("digits-mlp")


@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.weights, DIGITS.onnx])
def test_a_shipped_model(run, model):
    code, out, err = run("size", "net", model)
    assert (code, err) == (0, "")
    assert "hidden       Gemm      batch,784  batch,200            157,000      157 k   800 B" in out.splitlines()
    assert out.splitlines()[-1] == "counted for    batch=1"


def test_sizes_that_are_given(run, tmp_path):
    convolutional(tmp_path / "m.onnx", side="s")
    rows = run("size", "net", "m.onnx", "--in", "N,3,8,8").out.splitlines()
    assert rows[1].split() == ["conv", "Conv", "3x3", "n,3,8,8", "n,5,6,6", "3/1", "135", "4.86", "k", "720", "B"]
    rows = run("size", "net", "m.onnx", "--in", "x=2,3,8,8").out.splitlines()
    assert rows[1].split() == ["conv", "Conv", "3x3", "2,3,8,8", "2,5,6,6", "3/1", "135", "9.72", "k", "1.4", "kB"]
    rows = run("size", "net", "m.onnx").out.splitlines()
    assert rows[1].split()[-2:] == ["?", "?"]


def test_json(run):
    found = run("size", "net", "digits-mlp", "--format", "json", "--quiet").json
    assert (found["schema"], found["model"], found["parameters"]) == (1, str(DIGITS.weights), 159_012)
    assert found["nodes"][2]["multiply_adds"] == 156_800
    assert found["counted_for"] == {"batch": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no.onnx"], 3, "no.onnx: does not exist"),
        (["text.onnx"], 3, "text.onnx: is a text file, not an ONNX model"),
        (["digitz"], 2, "no model is called 'digitz'"),
        (["digits-mlp", "--in", "1,2,3"], 2, "input 'image' has 2 dimensions, (batch, 784), not 3"),
    ],
)
def test_errors(run, tmp_path, arguments, code, message):
    (tmp_path / "text.onnx").write_text("hello")
    found = run("size", "net", *arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")


def test_an_operator_of_nobody_that_reads_weights_alone(run, tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy")
    nodes = [helper.make_node("Odd", ["w"], ["c"], domain="odd"), helper.make_node("Add", ["x", "c"], ["y"], name="a")]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(np.ones(3, np.float32), "w")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("odd", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")
    code, out, err = run("size", "net", "m.onnx")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[:3] == ["a", "Add", "2,3"]
    assert "nodes          1, and 1 constant node" in out.splitlines()


@pytest.mark.long
def test_a_file_that_this_project_did_not_make(run, exported):
    code, out, err = run("size", "net", exported("resnet18").path)
    assert (code, err) == (0, "")
    assert "multiply-adds  1.81 G, of Conv, Gemm" in out.splitlines()
