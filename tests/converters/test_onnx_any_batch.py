"""A batch of 1 in a file of another program: it becomes open where each example is computed for itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser, save_model

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.converters.onnx.adapting import with_any_batch
from portable_nn.network import Network

RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.normal(size=(12, 12)),
    "row": RNG.normal(size=(1, 12)),
    "twelve": np.array([1, 12]),
    "three": np.array([1, 3, 4]),
    "flat": np.array([1, -1]),
    "mixed": np.array([3, 4]),
    "zero": np.array(0),
    "one": np.array(1),
}

ALONE: dict[str, list[tuple[str, list[str], dict[str, Any]]]] = {
    "a product": [("MatMul", ["w"], {})],
    "a row": [("Add", ["row"], {})],
    "a reshape and back": [("Reshape", ["three"], {}), ("Relu", [], {}), ("Reshape", ["twelve"], {})],
    "a reshape of a newer exporter": [
        ("Reshape", ["three"], {"allowzero": 1}),
        ("Reshape", ["twelve"], {"allowzero": 1}),
    ],
    "a reshape to the rest": [("Reshape", ["three"], {}), ("Reshape", ["flat"], {})],
    "a mean of each row": [("ReduceMean", [], {"axes": [1], "keepdims": 1}), ("Add", ["row"], {})],
    "a sum along each row": [("CumSum", ["one"], {})],
    "steps": [("Reshape", ["three"], {}), ("Transpose", [], {"perm": [0, 2, 1]}), ("Reshape", ["twelve"], {})],
}
TOGETHER: dict[str, list[tuple[str, list[str], dict[str, Any]]]] = {
    "a mean of the batch": [("ReduceMean", [], {"axes": [0], "keepdims": 1}), ("Add", ["row"], {})],
    "a sum along the batch": [("CumSum", ["zero"], {})],
    "a softmax along the batch": [("Softmax", [], {"axis": 0})],
    "rows of other sizes": [("Reshape", ["mixed"], {}), ("Reshape", ["twelve"], {})],
}
"""Steps on rows of 12 numbers: each row for itself, or all rows of a batch together."""


def file_of(steps: Sequence[str]) -> ModelProto:
    """A file whose batch is 1."""
    nodes, last = [], "x"
    for operator, others, attributes in (part for step in steps for part in (ALONE | TOGETHER)[step]):
        made = f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, [last, *others], [made], **attributes))
        last = made
    read = {name for node in nodes for name in node.input}
    arrays = [
        numpy_helper.from_array(each.astype("float32" if each.dtype.kind == "f" else "int64"), name)
        for name, each in WEIGHTS.items()
        if name in read
    ]
    nodes.append(helper.make_node("Tanh", [last], ["y"]))
    ends = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 12]) for name in "xy")
    graph = helper.make_graph(nodes, "g", *([each] for each in ends), arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rows_of_the_file(made: ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(made.SerializeToString())
    return np.concatenate([session.run(None, {"x": row[np.newaxis]})[0] for row in x])


def check(network: Network, made: ModelProto, folder: Path) -> None:
    """Two sizes of batch of the changed file against the rows of the file, one by one, in onnxruntime."""
    export_onnx(network, folder / "changed.onnx")
    session = onnxruntime.InferenceSession(folder / "changed.onnx")
    for count in (1, 7):
        x = np.random.default_rng(count).normal(size=(count, 12)).astype("float32")
        np.testing.assert_allclose(session.run(None, {"x": x})[0], rows_of_the_file(made, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", [*ALONE, *TOGETHER])
def test_the_batch_is_open_where_rows_are_computed_for_themselves(tmp_path: Path, step: str) -> None:
    opened_or_kept(tmp_path, [step])


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([*ALONE, *TOGETHER]), min_size=2, max_size=5))
def test_the_same_for_several_steps(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    opened_or_kept(tmp_path_factory.mktemp("steps"), steps)


def opened_or_kept(folder: Path, steps: list[str]) -> None:
    made = file_of(steps)
    network, notes = with_any_batch(import_onnx(made))
    if any(step in TOGETHER for step in steps):
        assert network.graph.inputs[0].shape == (1, 12)
        assert notes[0].startswith("the batch, which is 1, cannot be any: ")
    else:
        assert network.graph.inputs[0].shape == ("batch", 12)
        assert notes == ("the batch, which was 1, may be of any size",)
        check(network, made, folder)


SEQUENCES = {
    "(float[1,n] x) => (float[1,n] y) { y = Softmax <axis = 1> (x) }": "",
    "(float[1,3,n] x) => (float[1,n,3] y) { y = Transpose <perm = [0, 2, 1]> (x) }": "",
    "(float[1,n] x) => (float[1,n] y) { y = CumSum (x, zero) }": "output 'y' differs by",
    "(float[1,n] x) => (float[1,k] y) { r = Relu (x) z = NonZero (r) p = Gather (z, one) y = Gather <axis=1> (x, p) }":
        "output 'y' has the shapes",
}  # fmt: skip
"""Models of sequences of any length, and why their batch must stay as it is."""


@pytest.mark.parametrize("text", SEQUENCES)
def test_so_it_is_for_sequences_of_any_length(text: str, tmp_path: Path) -> None:
    signature, _, body = text.partition(" {")
    constants = "one = Constant <value_int = 1> () zero = Constant <value_int = 0> ()"
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {signature} {{ {constants}{body}')
    network, notes = with_any_batch(import_onnx(made))
    if why := SEQUENCES[text]:
        assert network.graph.inputs[0].shape[0] == 1
        assert why in notes[0]
        return
    export_onnx(network, tmp_path / "changed.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "changed.onnx")
    for count, length in [(1, 5), (4, 9)]:
        x = np.random.default_rng(count).normal(size=(count, *network.graph.inputs[0].shape[1:-1], length))
        x = x.astype("float32")
        np.testing.assert_allclose(session.run(None, {"x": x})[0], rows_of_the_file(made, x), rtol=1e-4, atol=1e-5)


def test_a_batch_that_is_open_or_larger_stays_as_it_is() -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    assert with_any_batch(network) == (network, ())


def test_a_network_of_single_examples_is_imported_and_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(file_of(["a product", "a reshape and back"]), tmp_path / "one.onnx")
    assert main(["import", "one.onnx", "one.npz"]) == 0
    assert "the batch, which was 1, may be of any size\n" in capsys.readouterr().err
    assert pnn.load(tmp_path / "one.npz").graph.inputs[0].shape == ("batch", 12)
    assert main(["import", "one.onnx", "fixed.npz", "--verify", "none"]) == 0
    assert pnn.load(tmp_path / "fixed.npz").graph.inputs[0].shape == (1, 12)
    x = np.random.default_rng(0).normal(size=(40, 12)).astype("float32")
    np.savez(tmp_path / "rows.npz", x=x, y=(x[:, 0] > 0).astype(int))
    for model in ("one.onnx", "fixed.npz"):
        assert main(["tune", model, "rows.npz", "--until", "tanh", "--epochs", "2", "-o", "tuned.npz", "--force"]) == 0
        assert pnn.load(tmp_path / "tuned.npz").predict(x).shape == (40, 2)
