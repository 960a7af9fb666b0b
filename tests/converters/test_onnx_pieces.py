"""Large models, which are read, run and compared in pieces: the same answers, and the same faults are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, importing, read_onnx
from portable_nn.core.errors import FormatError, VerificationError
from portable_nn.onnx import verify
from portable_nn.onnx.verification import pieces, sections, stored

LEAST = 200_000
"""The bytes of the weights of the models here."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whatever is done to large models is done to small ones; what is returned counts the pieces."""
    counts: list[int] = []
    chunks = sections.Sides.chunks

    def counted(sides: sections.Sides, most: int, rounds: int) -> Any:
        found = list(chunks(sides, most, rounds))
        counts.append(len(found))
        return iter(found)

    for module, name, value in (
        (importing, "LARGE", LEAST // 2),
        (verify, "LARGE", LEAST // 2),
        (pieces, "SECTION", 60_000),
        (stored, "_LARGE", 1000),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(sections.Sides, "chunks", counted)
    return counts


def pictures() -> pnn.Network:
    """Convolutions, normalisations, a branch, and a head with most of the weights."""
    x = pnn.Input(3, 16, 16)
    y = pnn.Conv2d(16, 3, padding=1)(x)
    z = pnn.BatchNorm2d()(pnn.Conv2d(16, 3, padding=1, groups=16)(pnn.GELU()(y)))
    z = pnn.Flatten()(pnn.MaxPool2d(2)(pnn.ReLU()(z + y)))
    return pnn.Network(x, pnn.Dense(10)(pnn.Tanh()(pnn.Dense(60)(z))), seed=1)


def as_foreign(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    del model.metadata_props[:]
    model.producer_name = "pytorch"
    onnx.save(model, path)
    return model


@pytest.mark.parametrize("foreign", [True, False])
@pytest.mark.parametrize("batch", [None, 2])
def test_the_network_and_its_proof(tmp_path: Path, small: list[int], batch: int | None, foreign: bool) -> None:
    net, path = pictures(), tmp_path / "net.onnx"
    export_onnx(net, path, batch=batch)
    assert max(small) > 3
    if foreign:
        as_foreign(path)
    small.clear()
    found = read_onnx(path)
    assert max(small) > 3
    for tensor in onnx.load(path).graph.initializer:
        if tensor.name in found.network.parameters:
            assert np.array_equal(found.network.parameters[tensor.name], numpy_helper.to_array(tensor))
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(path)
    [expected] = session.run(None, {session.get_inputs()[0].name: x})
    assert np.allclose(found.network.predict(x), expected, atol=1e-5)
    assert {fate.name for fate in found.outputs.weights if fate.kind == "kept"} == {*found.network.parameters}
    assert not found.outputs.not_exercised
    assert 0 < max(each.max_abs_error for each in found.outputs.values()) < 1e-4
    assert found.network.fit(x, np.zeros((2, 10), np.float32), epochs=1, batch_size=2, loss="mean_squared_error")


def test_another_weight_in_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is given another weight, as a wrong conversion would, is found and named."""
    path = tmp_path / "net.onnx"
    export_onnx(pictures(), path)
    model = as_foreign(path)
    name = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data)).name
    read = sections.shared

    def changed(part: onnx.ModelProto, parameters: Any) -> dict[str, np.ndarray]:
        return {key: array * 1.01 if key == name else array for key, array in read(part, parameters).items()}

    monkeypatch.setattr(sections, "shared", changed)
    with pytest.raises(VerificationError, match="part at node"):
        read_onnx(path)


def test_a_file_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was proved and what is read afterwards are not the same: the weights are compared with the file's again."""
    path = tmp_path / "net.onnx"
    export_onnx(pictures(), path)
    as_foreign(path)
    whole = importing.in_memory

    def meanwhile(network: pnn.Network) -> pnn.Network:
        found = whole(network)
        data = bytearray(path.read_bytes())
        largest = max(found.parameters.values(), key=lambda array: array.nbytes)
        place = bytes(data).index(largest.tobytes())
        data[place + 2] ^= 64
        path.write_bytes(data)
        return found

    monkeypatch.setattr(importing, "in_memory", meanwhile)
    with pytest.raises(VerificationError, match="weights differ"):
        read_onnx(path)


def test_a_file_that_becomes_shorter_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    export_onnx(pictures(), path)
    as_foreign(path)
    whole = importing.in_memory

    def meanwhile(network: pnn.Network) -> pnn.Network:
        os.truncate(path, 1000)
        return whole(network)

    monkeypatch.setattr(importing, "in_memory", meanwhile)
    with pytest.raises(FormatError):
        read_onnx(path)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bool", "uint8"])
@pytest.mark.parametrize("raw", [True, False])
def test_large_tensors_are_read_as_onnx_reads_them(tmp_path: Path, dtype: str, raw: bool) -> None:
    array = (np.random.default_rng(0).normal(size=(40, 30)) * 9).astype(dtype)
    tensor = numpy_helper.from_array(array, "w")
    if not raw:
        tensor = helper.make_tensor("w", tensor.data_type, array.shape, array.ravel().tolist())
    tensor.doc_string = "after the elements"
    graph = helper.make_graph([], "g", [], [], [tensor])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path)
    [(name, found, initializer)] = stored.stored(path, "m.onnx")
    assert (name, initializer) == ("w", True)
    assert found.dtype == array.dtype
    assert np.array_equal(found, numpy_helper.to_array(onnx.load(path).graph.initializer[0]))
