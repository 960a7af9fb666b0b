"""Detectors, whose number of boxes the data decide: imported, computed, drawn, saved, tuned and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from detectors import of_torchvision, yolo
from PIL import Image

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.operators.registry import Array


def computed(path: Path, x: Array) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(path))
    [given] = session.get_inputs()
    results = session.run(None, {given.name: x})
    return {output.name: array for output, array in zip(session.get_outputs(), results, strict=True)}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("yolo") / "yolo.onnx"
    path.write_bytes(yolo().SerializeToString())
    return path


def test_the_boxes_are_onnxruntimes_also_after_saving_and_exporting(detector: Path, tmp_path: Path) -> None:
    pnn.import_onnx(detector).save(tmp_path / "yolo.safetensors")
    network = pnn.load(tmp_path / "yolo.safetensors")
    pnn.export_onnx(network, tmp_path / "again.onnx")
    counts = set()
    for seed in range(4):
        x = np.random.default_rng(seed).random((1, 3, 64, 64)).astype("float32") * seed
        theirs, ours = computed(detector, x), network.predict({"images": x})
        counts.add(len(theirs["scores"]))
        for name, array in theirs.items():
            assert ours[name].shape == array.shape
            np.testing.assert_allclose(ours[name], array, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(computed(tmp_path / "again.onnx", x)[name], array, rtol=1e-4, atol=1e-3)
    assert len(counts) > 2


def test_the_sizes_are_shown_by_the_name_of_the_node_that_decides_them(detector: Path) -> None:
    assert "float32(size(nms), 4)" in str(pnn.import_onnx(detector, verify=False))
    said = [finding.message for finding in pnn.check(detector).findings]
    assert "data decide 1 size: size(nms)" in said


def test_the_head_is_tuned_before_the_selection(detector: Path) -> None:
    network = pnn.import_onnx(detector, verify=False)
    x = np.random.default_rng(0).random((1, 3, 64, 64)).astype("float32")
    wanted = {"object": np.zeros((1, 64, 1), "float32"), "class": np.zeros((1, 64, 3), "float32")}
    wanted["object"][0, 9], wanted["class"][0, 9, 2] = 1, 1
    head = network.until("object", "class")
    history = head.fit(x, wanted, loss="binary_cross_entropy", optimizer=pnn.Adam(0.005), epochs=120, batch_size=1)
    assert history["loss"][-1] < history["loss"][0] / 10
    for name, array in head.parameters.items():
        network.parameters[name][...] = array
    found = network.predict(x)
    assert found["labels"].tolist() == [2]
    low, high = found["boxes"][0, :2], found["boxes"][0, 2:]
    np.testing.assert_allclose((low + high) / 2, [12, 12], atol=4)  # The cell at row 1 and column 1.
    for name, array in network.predict(x, engine="onnxruntime").items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-3)


def test_boxes_are_drawn(detector: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((64, 64)).save(tmp_path / "a.png")
    pictures = list[Array]()
    for engine in ("numpy", "onnxruntime"):
        out = tmp_path / f"{engine}.png"
        arguments = ["predict", str(detector), str(tmp_path / "a.png"), "--engine", engine, "--draw", str(out)]
        assert main(arguments) == 0
        pictures.append(np.asarray(Image.open(out)))
    np.testing.assert_array_equal(*pictures)


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "size"),
    [("ssdlite320_mobilenet_v3_large", 320), ("retinanet_resnet50_fpn", 224), ("fasterrcnn_resnet50_fpn", 224)],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_torchvisions_detectors(name: str, size: int, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    path = tmp_path / f"{name}.onnx"
    of_torchvision(name, path, size)
    network = pnn.import_onnx(path)
    network.save(tmp_path / "a.safetensors")
    x = np.random.default_rng(0).random((3, size, size)).astype("float32")
    found = pnn.load(tmp_path / "a.safetensors").predict({network.graph.inputs[0].name: x})
    for output, array in computed(path, x).items():
        assert found[output].shape == array.shape
        np.testing.assert_allclose(found[output], array, rtol=1e-3, atol=0.05)
