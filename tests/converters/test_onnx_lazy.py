"""Large weights that stay in the file of a model: the same network, and no more than a few in memory at once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import importing, read_onnx
from portable_nn.core.errors import FormatError
from portable_nn.onnx import reading, session, verify
from portable_nn.onnx.storage import files
from portable_nn.onnx.verification import pieces
from portable_nn.opening import open_model

SIDE, ROWS = 1024, 16
BYTES = 4 * SIDE * SIDE


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done to large weights is done to those of a few kilobytes."""
    for module, name in ((importing, "LARGE"), (verify, "LARGE"), (reading, "LEFT"), (files, "LEFT")):
        monkeypatch.setattr(module, name, 10_000)
    monkeypatch.setattr(pieces, "SECTION", BYTES)


def model_in(folder: Path, layers: int = 12) -> Path:
    """Matrices one after another, of which the last one has two names and another has NaN, and a mask."""
    rng = np.random.default_rng(0)
    weights = {f"w{each}": rng.normal(0, SIDE**-0.5, (SIDE, SIDE)).astype(np.float32) for each in range(layers)}
    mask = np.triu(np.full((ROWS, SIDE), -1e9, np.float32), 1)
    nodes = [helper.make_node("Identity", ["w0"], ["again"])]
    last = "x"
    for name in (*weights, "again"):
        nodes.append(helper.make_node("MatMul", [last, name], [f"{name}.out"]))
        nodes.append(helper.make_node("Tanh", [f"{name}.out"], [f"{name}.tanh"]))
        last = f"{name}.tanh"
    nodes.append(helper.make_node("Add", [last, "mask"], ["y"]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [n, SIDE]) for name, n in (("x", 1), ("y", ROWS))]
    tensors = [numpy_helper.from_array(array, name) for name, array in {**weights, "mask": mask}.items()]
    graph = helper.make_graph(nodes, "matrices", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=1000)
    return path


@pytest.mark.long
def test_the_same_network(tmp_path: Path) -> None:
    path = model_in(tmp_path)
    lazy, whole = read_onnx(path, lazy=True).network, read_onnx(onnx.load(path)).network
    assert lazy.graph == whole.graph
    assert not {each.name: each.trainable for each in lazy.graph.parameters}["mask"]
    assert lazy.save(tmp_path / "lazy.npz") == whole.save(tmp_path / "whole.npz")
    x = np.random.default_rng(1).normal(size=(1, SIDE)).astype(np.float32)
    [expected] = onnxruntime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(lazy.predict(x), expected, atol=1e-4)
    lazy.own_weights()
    np.testing.assert_array_equal(lazy.parameters["again"], numpy_helper.to_array(onnx.load(path).graph.initializer[0]))


@pytest.mark.long
def test_weights_with_nan_are_frozen(tmp_path: Path) -> None:
    model = onnx.load(model_in(tmp_path))
    [first] = [each for each in model.graph.initializer if each.name == "w3"]
    array = numpy_helper.to_array(first).copy()
    array[5, 7] = np.nan
    first.CopyFrom(numpy_helper.from_array(array, "w3"))
    path = tmp_path / "nan.onnx"
    onnx.save(model, path, save_as_external_data=True, location="nan.data", size_threshold=1000)
    network = read_onnx(path, lazy=True, verify=False).network
    trains = {each.name: each.trainable for each in network.graph.parameters}
    assert (trains["w2"], trains["w3"]) == (True, False)
    assert np.isnan(network.parameters["w3"][5, 7])


@pytest.mark.long
def test_a_file_that_goes_meanwhile(tmp_path: Path) -> None:
    path = model_in(tmp_path)
    network = read_onnx(path, lazy=True).network
    (tmp_path / "model.data").unlink()
    with pytest.raises(FormatError, match=r"tensor 'w\d' cannot be read from 'model\.data'"):
        network.save(tmp_path / "mine.npz")
    assert not (tmp_path / "mine.npz").exists()


def saved(path: Path) -> object:
    return read_onnx(path, lazy=True).network.save(path.with_suffix(".safetensors"))


@pytest.mark.quick("inspect")
@pytest.mark.parametrize(
    ("use", "most"),
    [(saved, 7), (pnn.check, 4), (pnn.inspect, 1), (lambda path: open_model(path).survey()(None), 1)],
    ids=["import", "check", "inspect", "sizes"],
)
def test_few_of_them_are_in_memory(tmp_path: Path, use: Callable[[Path], Any], most: int) -> None:
    path = model_in(tmp_path)
    tracemalloc.start()
    try:
        use(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most * BYTES, peak / BYTES


def test_onnxruntime_takes_large_parameters_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IN_MODEL", 1000)
    network = pnn.Sequential(pnn.Input(20), pnn.Dense(30), pnn.Tanh(), pnn.Dense(4), seed=0)
    x = np.random.default_rng(0).normal(size=(7, 20)).astype(np.float32)
    expected = network.predict(x, engine="numpy")
    np.testing.assert_allclose(network.predict(x, engine="onnxruntime"), expected, atol=1e-6)
    network.parameters["dense_1.weight"][...] = 0
    zeros = network.predict(x, engine="onnxruntime")
    np.testing.assert_allclose(zeros, np.broadcast_to(zeros[:1], zeros.shape), atol=1e-7)
    assert not list(Path.cwd().glob("weights"))


@pytest.mark.long
@pytest.mark.parametrize("apart", [False, True])
def test_other_runtimes_get_all_of_them(tmp_path: Path, *, apart: bool) -> None:
    network = pnn.Sequential(pnn.Input(200), pnn.Dense(200), pnn.Tanh(), pnn.Dense(3), seed=0)
    pnn.export_onnx(network, tmp_path / "net.onnx", external_data=apart)
    [row] = pnn.check_runtimes(tmp_path / "net.onnx", runtimes="onnxruntime").rows
    assert row.state == "agrees"
