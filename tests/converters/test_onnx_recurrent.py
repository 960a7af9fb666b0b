"""Recurrent networks as PyTorch's exporters write them: imported, equal, trained alike, exported again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from onnx import TensorProto, helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.converters.torch import to_torch
from portable_nn.core.errors import GraphError
from portable_nn.outputs.reports import check

torch: Any = pytest.importorskip("torch")

Array = np.ndarray[Any, Any]


def tagger() -> tuple[Any, Array, Array]:
    """Words to tags with a bidirectional LSTM of two layers, words, and a number to train towards for each tag."""

    class Tagger(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(20, 6)
            self.lstm = torch.nn.LSTM(6, 8, 2, bidirectional=True, batch_first=True)
            self.tags = torch.nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            return self.tags(self.lstm(self.words(x))[0])

    rng = np.random.default_rng(0)
    return Tagger(), rng.integers(0, 20, (6, 7)), rng.normal(size=(6, 7, 4)).astype(np.float32)


def classifier() -> tuple[Any, Array, Array]:
    """The last state of a GRU, sequences, and numbers to train towards."""

    class Classifier(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(5, 8, batch_first=True)
            self.classes = torch.nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.classes(self.gru(x)[1][-1])

    rng = np.random.default_rng(1)
    return Classifier(), rng.normal(size=(6, 7, 5)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)


@pytest.mark.long
@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.long)], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("build", [tagger, classifier])
def test_what_pytorch_exports(build: Any, dynamo: bool, tmp_path: Path) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module, x, target = build()
    path, inputs = tmp_path / "theirs.onnx", torch.tensor(x)
    batch, time = torch.export.Dim("batch", min=2), torch.export.Dim("time", min=2)
    sizes = {"dynamic_shapes": ({0: batch, 1: time},)} if dynamo else {"dynamic_axes": {"x": {0: "batch", 1: "time"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, on its own code and on the names of axes.
        torch.onnx.export(
            module.eval(), (inputs,), path, dynamo=dynamo, input_names=["x"], output_names=["y"], verbose=False, **sizes
        )
    network = import_onnx(path)
    for places in (slice(None), (slice(2), slice(4))):
        with torch.no_grad():
            wanted = module(inputs[places]).numpy()
        np.testing.assert_allclose(network.predict(x[places]), wanted, atol=1e-6)

    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(inputs), torch.tensor(target)).backward()
        optimizer.step()
    network.fit(x, target, loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=5, batch_size=6, progress=False)
    with torch.no_grad():
        wanted = module(inputs).numpy()
    np.testing.assert_allclose(network.predict(x), wanted, atol=1e-6)

    back = tmp_path / "ours.onnx"
    export_onnx(network, back)
    [found] = onnxruntime.InferenceSession(back).run(None, {"x": x})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("build", [tagger, classifier])
def test_layers_whose_weights_an_exporter_slices_and_joins_come_back_as_they_were(build: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x, _ = build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"dynamic_axes": {"x": {0: "n", 1: "t"}}, "do_constant_folding": False, "input_names": ["x"]}
        torch.onnx.export(module.eval(), (torch.tensor(x),), tmp_path / "m.onnx", dynamo=False, **options)
    back = to_torch(import_onnx(tmp_path / "m.onnx"))
    wanted = module.state_dict()
    assert {name: each.shape for name, each in back.state_dict().items()} == {n: t.shape for n, t in wanted.items()}
    assert all(torch.equal(each, wanted[name]) for name, each in back.state_dict().items())
    with torch.no_grad():
        np.testing.assert_allclose(back(torch.tensor(x[:, :3])), module(torch.tensor(x[:, :3])), atol=1e-6)


def gru(reset: int | None, producer: str) -> onnx.ModelProto:
    options = {} if reset is None else {"linear_before_reset": reset}
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], "gru", hidden_size=2, **options)
    arrays = {"w": np.ones((1, 6, 3), np.float32), "r": np.ones((1, 6, 2), np.float32)}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("steps", "batch", 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("steps", 1, "batch", 2))],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name=producer)


@pytest.mark.parametrize(
    ("reset", "producer", "wrong"),
    [(None, "pytorch", True), (0, "pytorch", True), (1, "pytorch", False), (None, "tf2onnx", False)],
)
def test_grus_that_pytorch_is_known_to_write_wrongly(
    reset: int | None, producer: str, wrong: bool, tmp_path: Path
) -> None:
    path = tmp_path / "gru.onnx"
    onnx.save(gru(reset, producer), path)
    for messages in (read_onnx(path).notes, [finding.message for finding in check(path).findings]):
        assert any("pytorch issue 189225" in message for message in messages) == wrong


def lstm(inputs: dict[str, list[Any]], arrays: dict[str, Array], before: list[Any], **options: Any) -> onnx.ModelProto:
    """An LSTM of four units whose further inputs are ``inputs``, or among ``arrays``."""
    rng = np.random.default_rng(3)
    weights = {"w": rng.normal(size=(1, 16, 3)).astype(np.float32), "r": rng.normal(size=(1, 16, 4)).astype(np.float32)}
    node = helper.make_node("LSTM", ["x", "w", "r", "", "lengths"][: 3 if "layout" in options else 5], ["y"], **options)
    codes = {"x": TensorProto.FLOAT}
    graph = helper.make_graph(
        [*before, node],
        "g",
        [helper.make_tensor_value_info(name, codes.get(name, TensorProto.INT64), at) for name, at in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in {**weights, **arrays}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_lengths_are_drawn_through_the_sort_that_packing_does() -> None:
    """PyTorch's pack_padded_sequence sorts the lengths; those of the inputs that are drawn have 1 step or more."""
    sort = [
        helper.make_node("Shape", ["n"], ["count"]),
        helper.make_node("TopK", ["n", "count"], ["sorted", "places"]),
        helper.make_node("Cast", ["sorted"], ["lengths"], to=TensorProto.INT32),
    ]
    model = lstm({"x": ["steps", "batch", 3], "n": ["batch"]}, {}, sort, hidden_size=4)
    assert read_onnx(model).outputs.compared


@pytest.mark.parametrize("length", [0, -1, 6])
def test_lengths_in_the_file_that_are_none_are_a_fault_of_the_node(length: int) -> None:
    model = lstm({"x": [5, 2, 3]}, {"lengths": np.array([3, length], np.int32)}, [], hidden_size=4)
    with pytest.raises(GraphError, match=f"has 1 to 5 steps, and sequence_lens says {length}$"):
        read_onnx(model)


@pytest.mark.parametrize("options", [{"hidden_size": 4, "layout": 1}, {"layout": 1}])
def test_what_onnxruntime_lacks_of_them_is_compared_as_it_is_written(options: dict[str, Any]) -> None:
    model = lstm({"x": ["batch", "steps", 3]}, {}, [], **options)
    network, proof, _ = read_onnx(model)
    assert proof.compared
    assert "onnxruntime cannot run it (" in proof.notes[-1]
    x = np.random.default_rng(4).normal(size=(2, 5, 3)).astype(np.float32)
    theirs = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0] if "hidden_size" in options else None
    if theirs is not None:
        np.testing.assert_allclose(network.predict(x), theirs, atol=1e-6)
