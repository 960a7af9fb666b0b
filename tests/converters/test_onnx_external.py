"""Networks whose large weights are in a file beside the ONNX model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, exporting, import_onnx
from portable_nn.core.errors import UsageError, VerificationError


def network(seed: int = 0) -> pnn.Network:
    return pnn.Sequential(pnn.Input(40), pnn.Dense(50), pnn.ReLU(), pnn.Dense(30), pnn.Dense(3), seed=seed)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_onnx_and_onnxruntime_read_what_was_written(path: Path) -> None:
    net = network()
    report = export_onnx(net, path, external_data=True)
    assert report.data is not None
    assert files(path.parent) == sorted(["m.onnx", report.data.name])
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), net.parameters[tensor.name])
    x = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {net.graph.inputs[0].name: x})[0], net.predict(x), atol=1e-5)


def test_large_tensors_begin_at_pages_and_small_ones_stay_in_the_model(path: Path) -> None:
    export_onnx(network(), path, external_data=True)
    model = onnx.load(str(path), load_external_data=False)
    said = {t.name: {e.key: e.value for e in t.external_data} for t in model.graph.initializer}
    assert {name for name, entries in said.items() if entries} == {"dense_1.weight", "dense_2.weight"}
    assert [int(entries["offset"]) % 4096 for entries in said.values() if entries] == [0, 0]


def test_it_comes_back_as_it_was(path: Path) -> None:
    net = network()
    export_onnx(net, path, external_data=True)
    again = import_onnx(path)
    assert again.manifest() == net.manifest()
    export_onnx(again, path, external_data=True)
    assert import_onnx(path).manifest() == net.manifest()


def test_another_network_takes_the_place_of_the_first_with_its_data(path: Path) -> None:
    first = export_onnx(network(0), path, external_data=True)
    second = export_onnx(network(1), path, external_data=True)
    assert first.data != second.data
    assert files(path.parent) == sorted(["m.onnx", second.data.name if second.data else ""])
    export_onnx(network(0), path)
    assert files(path.parent) == ["m.onnx"]


def test_files_that_others_gave_names_are_never_removed(path: Path) -> None:
    net = network()
    model = onnx.ModelProto()
    export_onnx(net, path)
    model.ParseFromString(path.read_bytes())
    onnx.save(model, str(path), save_as_external_data=True, location="mine.data", size_threshold=0)
    export_onnx(net, path)
    assert files(path.parent) == ["m.onnx", "mine.data"]


def test_what_is_not_proved_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_onnx(network(0), path, external_data=True)
    before = {name: (path.parent / name).read_bytes() for name in files(path.parent)}

    def refuse(*_: object, **__: object) -> None:
        raise VerificationError("no")

    monkeypatch.setattr(exporting, "compare", refuse)
    with pytest.raises(VerificationError):
        export_onnx(network(1), path, external_data=True)
    with pytest.raises(VerificationError):
        export_onnx(network(0), path, external_data=True)
    assert {name: (path.parent / name).read_bytes() for name in files(path.parent)} == before


def test_more_than_a_model_can_hold_needs_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portable_nn.onnx.writing.MAX_BYTES", 4000)
    with pytest.raises(UsageError, match="the parameters have 14692 bytes; an ONNX file holds at most 4000"):
        export_onnx(network(), path, external_data=False)
    monkeypatch.setattr(exporting, "MAX_BYTES", 4000)
    monkeypatch.setattr(exporting, "MARGIN", 0)
    assert export_onnx(network(), path).data is not None
