from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import pytest
from foreign import FLOAT, convolutional, write
from onnx import helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.errors import FileError, FormatError, UsageError
from portable_nn.inspection import as_json, as_text, inspect, manifest_text
from portable_nn.models import find_model

DIGITS = find_model("digits-mlp")


@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.onnx])
def test_the_shipped_model(model):
    found = inspect(model)
    # By hand: 784·200 + 200 and 200·10 + 10 numbers of four bytes.
    assert [(row.name, row.operator, row.parameters, row.bytes) for row in found.nodes] == [
        ("hidden", "Gemm", 157_000, 628_000), ("activation", "Sigmoid", 0, 0), ("digit", "Gemm", 2_010, 8_040),
    ]  # fmt: skip
    assert [(row.inputs, row.outputs) for row in found.nodes] == [
        ((("batch", 784),), (("batch", 200),)), ((("batch", 200),),) * 2, ((("batch", 200),), (("batch", 10),)),
    ]  # fmt: skip
    assert (found.parameters, found.bytes) == (159_010, 636_040)
    assert found.outputs[0].labels == tuple("0123456789")
    assert found.outputs[0].kind == "logits"
    assert found.inputs[0].kind == "image"
    assert "find the drawing" in " ".join(found.inputs[0].preprocessing)


def test_the_digest_is_that_of_the_file():
    found = inspect(DIGITS.weights).file
    data = DIGITS.weights.read_bytes()
    assert (found.sha256, found.bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_shared_parameters_are_counted_once():
    x = pnn.Input(4)
    layer = pnn.Dense(4)
    found = inspect(pnn.Network(x, layer(layer(x))))
    assert [row.parameters for row in found.nodes] == [20, 0]
    assert found.parameters == 20
    assert found.file is None


def test_operators_that_cannot_be_imported(tmp_path):
    found = inspect(convolutional(tmp_path / "m.onnx", metadata={"names": "a,b,c,d,e", "author": "them"}))
    assert [(row.operator, row.outputs, row.parameters) for row in found.nodes] == [
        ("Conv", (("n", 5, 6, 6),), 135), ("Trilu", (("n", 5, 6, 6),), 0),
        ("GlobalAveragePool", (("n", 5, 1, 1),), 0), ("Flatten", (("n", 5),), 0),
    ]  # fmt: skip
    assert found.outputs[0].labels == tuple("abcde")
    assert found.metadata["author"] == "them"


def test_an_operator_that_nobody_knows(tmp_path):
    node = helper.make_node("Swirl", ["x"], ["y"], domain="com.example")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("com.example", 1)]), tmp_path / "m.onnx")
    found = inspect(tmp_path / "m.onnx")
    assert [(row.name, row.operator, row.outputs) for row in found.nodes] == [("y", "com.example.Swirl", (None,))]
    assert "y       com.example.Swirl  (n, 3)  ?" in as_text(found)
    assert "output y: float32 of unknown shape" in as_text(found)


def test_the_text():
    lines = as_text(inspect("digits-mlp")).splitlines()
    assert "node        operator  input         output        parameters    bytes" in lines
    assert "hidden      Gemm      (batch, 784)  (batch, 200)     157,000  628,000" in lines
    assert "3 nodes                                              159,010  636,040" in lines
    assert "output digit: float32(batch, 10), logits" in lines
    assert "  labels: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in lines
    assert any(line.startswith("  3. find the drawing") for line in lines)


def test_many_labels_are_not_all_printed(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(1000), labels=[f"c{place}" for place in range(1000)])
    assert "c18, c19, … (1,000 labels)" in as_text(inspect(net))
    assert "c20" not in as_text(inspect(net))


def test_names_cannot_command_the_terminal(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["\x1b[31mred", "new\nline"])
    assert r"labels: \x1b[31mred, new\nline" in as_text(inspect(net))


def test_the_summary_of_a_network_is_the_same_text():
    net = pnn.load(DIGITS.weights)
    assert net.summary() == as_text(inspect(net))


def test_json_has_all_of_it():
    found = json.loads(json.dumps(as_json(inspect("digits-mlp"))))
    assert found["nodes"][0]["inputs"] == [["batch", 784]]
    assert found["outputs"][0]["labels"] == list("0123456789")
    assert found["file"]["path"] == str(DIGITS.weights)


@pytest.mark.parametrize("model", ["digits-mlp", DIGITS.onnx])
def test_the_manifest_is_the_one_in_the_file(model):
    text = manifest_text(model)
    assert text.encode() in DIGITS.onnx.read_bytes()
    assert json.loads(text)["outputs"][0]["labels"] == list("0123456789")


def test_no_manifest(tmp_path):
    with pytest.raises(UsageError, match="has no manifest; those ONNX files have one that portable-nn wrote"):
        manifest_text(convolutional(tmp_path / "m.onnx"))


def test_a_changed_manifest_is_not_believed(tmp_path):
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["a", "b"])
    export_onnx(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    for entry in model.metadata_props:
        entry.value = entry.value.replace('"a"', '"c"') if entry.key == "portable_nn" else entry.value
    onnx.save(model, tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").outputs[0].labels == ("a", "b")


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        inspect(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_text("hello")
    with pytest.raises(FormatError, match="is a text file, not an ONNX model"):
        inspect(tmp_path / "m.onnx")
    (tmp_path / "m.safetensors").write_bytes(bytes(100))
    with pytest.raises(FormatError):
        inspect(tmp_path / "m.safetensors")


def test_sizes_of_other_types_are_counted(tmp_path):
    node = helper.make_node("Gather", ["w", "x"], ["y"])
    weight = np.zeros((7, 2), np.float16)
    path = write(tmp_path / "m.onnx", [node], {"x": (7, ["n"])}, {"y": (10, ["n", 2])}, {"w": weight})
    assert (inspect(path).parameters, inspect(path).bytes) == (14, 28)
    assert inspect(path).outputs[0].dtype == "float16"
