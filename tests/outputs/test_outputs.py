"""Outputs that are no labels: arrays by name, and boxes and areas in their usual forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from foreign import FLOAT, INT64, write
from onnx import helper
from PIL import Image

import portable_nn as pnn
from portable_nn.core.errors import DataError, UsageError
from portable_nn.outputs.drawings import drawings
from portable_nn.outputs.scenes import Areas, Boxes, Outputs, scene_of, suppressed
from portable_nn.prediction.options import ModelOptions

RNG = np.random.default_rng(8)
CORNERS = np.float32([[10, 20, 50, 80], [60, 5, 90, 40], [30, 30, 34, 90]])
"""Left, top, right and bottom in a frame of 100x100."""
SCORES = np.float32([0.9, 0.6, 0.4])
CLASSES = np.array([2, 1, 2])


def in_onnxruntime(path: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def two_inputs(path: Path) -> Path:
    nodes = [
        helper.make_node("Cast", ["n"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["x", "f"], ["product"]),
        helper.make_node("Add", ["x", "f"], ["total"]),
    ]
    outputs = {name: (FLOAT, ["b", 4]) for name in ("product", "total")}
    return write(path, nodes, {"x": (FLOAT, ["b", 4]), "n": (INT64, ["b", 1])}, outputs)


def test_several_inputs_and_all_outputs(tmp_path):
    model = two_inputs(tmp_path / "m.onnx")
    x, n = RNG.normal(size=(3, 4)).astype(np.float32), np.array([[1], [2], [3]])
    np.save(tmp_path / "x.npy", x)
    wanted = in_onnxruntime(model, x=x, n=n)
    for engine in ("onnxruntime", "numpy"):
        found = pnn.run(model, {"x": tmp_path / "x.npy", "n": n.astype(float)}, engine=engine)
        assert list(found) == ["product", "total"]
        for array, expected in zip(found.values(), wanted, strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-6)
    with pytest.raises(DataError, match="expected int64, as input 'n' takes, found numbers that it cannot hold"):
        pnn.run(model, {"x": x, "n": n + 0.5})
    with pytest.raises(UsageError, match="no array or picture for the input n"):
        pnn.run(model, {"x": x})
    with pytest.raises(UsageError, match=r"inputs must be a dict \(--inputs NAME=FILE\) for the inputs x, n"):
        pnn.run(model, x)


def lists(path: Path, batch: int | str | None = None) -> Path:
    """The places of the bright pixels of one picture: as many rows as there are, whatever the batch."""
    nodes = [
        helper.make_node("Greater", ["x", "half"], ["bright"]),
        helper.make_node("NonZero", ["bright"], ["z"]),
        helper.make_node("Transpose", ["z"], ["y"], perm=[1, 0]),
    ]
    shape = ([] if batch is None else [batch]) + [3, "h", "w"]
    return write(path, nodes, {"x": (FLOAT, shape)}, {"y": (INT64, ["k", len(shape)])}, {"half": np.float32(0.5)})


@pytest.mark.parametrize("batch", [None, "n", 1])
def test_lists_come_for_each_picture(tmp_path, batch):
    pictures = [np.zeros((6, 7, 3), np.uint8), np.zeros((5, 9, 3), np.uint8)]
    pictures[0][2, 3] = 255
    pictures[1][1, 2, 1] = 255
    model = lists(tmp_path / "m.onnx", batch)
    found = pnn.run(model, [Image.fromarray(p) for p in pictures], preprocess="detection")
    assert list(found) == ["y.0", "y.1"]
    assert found["y.0"][:, -3:].tolist() == [[0, 2, 3], [1, 2, 3], [2, 2, 3]]
    assert found["y.1"][:, -3:].tolist() == [[1, 1, 2]]


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_a_batch_of_a_fixed_size(tmp_path, batch):
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    kind = (FLOAT, [batch, 3])
    model = write(tmp_path / "m.onnx", nodes, {"x": kind}, {"y": kind}, {"two": np.float32(2)})
    x = RNG.normal(size=(3, 3)).astype(np.float32)
    np.testing.assert_array_equal(pnn.run(model, x)["y"], 2 * x)


# -- forms


def test_overlapping_boxes_as_torchvision_has_it():
    ops = pytest.importorskip("torchvision.ops")
    import torch

    for seed in range(5):
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, 80, (300, 2))
        corners = np.concatenate([low, low + rng.uniform(2, 40, (300, 2))], axis=1)
        scores, classes = rng.permutation(300) / 300, rng.integers(0, 4, 300)
        wanted = ops.batched_nms(*map(torch.from_numpy, (corners, scores, classes)), 0.45)
        assert suppressed(corners, classes, scores, 0.45).tolist() == wanted.tolist()


def centres(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)


def one_hot(width: int, first: int = 0) -> np.ndarray:
    found = np.zeros((3, width), np.float32)
    found[np.arange(3), CLASSES + first] = SCORES
    return found


def padded(rows: np.ndarray, count: int = 40) -> np.ndarray:
    return np.concatenate([rows, np.zeros((count, rows.shape[1]), np.float32)])


LOGITS = np.log(np.concatenate([one_hot(3), 1 - SCORES[:, None]], axis=1) + 1e-9)

FORMS = {
    "torchvision": {"boxes": CORNERS, "labels": CLASSES, "scores": SCORES},
    "a batch": {"boxes": CORNERS[None], "labels": CLASSES[None], "scores": SCORES[None]},
    "shares": {"a": CORNERS / 100, "b": CLASSES, "c": SCORES},
    "TensorFlow": {
        "num_detections": np.float32([3]),
        "detection_boxes": CORNERS[None][..., [1, 0, 3, 2]] / 100,
        "detection_scores": SCORES[None],
        "detection_classes": CLASSES[None].astype(np.float32),
    },
    "DETR": {"logits": LOGITS[None], "pred_boxes": centres(CORNERS)[None] / 100},
    "SSD": {"scores": one_hot(4)[None], "boxes": CORNERS[None] / 100},
    "YOLOv8": {"output0": padded(np.concatenate([centres(CORNERS), one_hot(3)], axis=1)).T[None]},
    "YOLOv5": {
        "output": padded(
            np.concatenate([centres(CORNERS), SCORES[:, None], one_hot(3) > 0], axis=1).astype(np.float32)
        )[None]
    },
    "YOLOv10": {"output0": padded(np.concatenate([CORNERS, SCORES[:, None], CLASSES[:, None]], axis=1))[None]},
}


@pytest.mark.parametrize("form", FORMS)
def test_boxes_of_usual_forms(form):
    found = scene_of(Outputs(FORMS[form], (100, 100)))
    assert isinstance(found, Boxes)
    np.testing.assert_allclose(found.corners, CORNERS, atol=1e-4)
    assert found.classes.tolist() == CLASSES.tolist()
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-6)
    fewer = scene_of(Outputs(FORMS[form], (100, 100), least=0.5))
    assert isinstance(fewer, Boxes)
    assert len(fewer.scores) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_no_box_and_one_box_alone(count):
    arrays = {"boxes": CORNERS[:count], "labels": CLASSES[:count], "scores": SCORES[:count]}
    found = scene_of(Outputs(arrays, (100, 100)))
    assert isinstance(found, Boxes)
    assert found.corners.shape == (count, 4)


def test_areas_of_usual_forms():
    classes = RNG.integers(0, 3, (20, 30))
    scores = np.eye(3, dtype=np.float32)[classes]
    for arrays in (
        {"out": scores.transpose(2, 0, 1)[None]},
        {"out": scores[None]},
        {"out": classes[None]},
        {"out": classes[None, None]},
    ):
        found = scene_of(Outputs(arrays, (20, 30)))
        assert isinstance(found, Areas)
        np.testing.assert_array_equal(found.classes, classes)
    logits = RNG.normal(size=(1, 1, 20, 30)).astype(np.float32)
    found = scene_of(Outputs({"mask": logits}, (20, 30)))
    assert isinstance(found, Areas)
    np.testing.assert_array_equal(found.classes, logits[0, 0] > 0)
    assert scene_of(Outputs({"y": np.zeros((1, 10), np.float32)}, (20, 30))) is None


def test_areas_are_drawn_where_they_are(tmp_path):
    """A network that says which half is red: after a crop, and back in the picture, with what was not seen."""
    kernel = np.float32([[0, 0, 1], [1, 0, 0]])[:, :, None, None]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    kinds = {"x": (FLOAT, ["n", 3, "h", "w"])}, {"y": (FLOAT, ["n", 2, "h", "w"])}
    model = write(tmp_path / "m.onnx", nodes, *kinds, {"w": kernel}, metadata={"names": "{0: 'blue', 1: 'red'}"})
    pixels = np.zeros((500, 600, 3), np.uint8)
    pixels[:, :200, 0] = pixels[:, 200:, 2] = 255
    given = {"fit": "crop", "size": 100, "crop": 80}
    [drawn] = drawings(model, Image.fromarray(pixels), ModelOptions(preprocess=given), notes := [])
    assert "the outputs are taken for 'y' as a score for each of 2 classes of each pixel" in notes
    # Of 120x100 pixels 80x80 are seen, from 20 to 100 across: 20 of them, the first, are red.
    assert [(each.label, round(each.score, 2)) for each in drawn.findings] == [("blue", 0.75), ("red", 0.25)]
    shown = np.asarray(drawn.picture)[:500]
    assert shown.shape[1] == 600
    assert (shown[250, 350] == pixels[250, 350]).all()  # Class 0 as it is.
    assert (shown[250, 150] != pixels[250, 150]).any()
    assert shown[250, 20].max() < 60  # Not seen.


def test_boxes_are_drawn_where_they_are(tmp_path):
    """Boxes in a letterbox of 64x64 come back to a picture of 400x200, on whose edges lines are drawn."""
    arrays = {"boxes": np.float32([[16, 24, 32, 40]]), "labels": np.array([1]), "scores": np.float32([0.75])}
    nodes = [helper.make_node("Constant", [], [name], value=numpy_tensor(name, a)) for name, a in arrays.items()]
    outputs = {"boxes": (FLOAT, [1, 4]), "labels": (INT64, [1]), "scores": (FLOAT, [1])}
    model = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 3, 64, 64])}, outputs)
    pixels = np.zeros((200, 400, 3), np.uint8)
    [drawn] = drawings(model, Image.fromarray(pixels), ModelOptions(preprocess="yolo", labels=("cat", "dog")), [])
    [found] = drawn.findings
    assert (found.label, found.score, found.box) == ("dog", 0.75, (100.0, 50.0, 200.0, 150.0))
    painted = np.asarray(drawn.picture).max(axis=2) > 0
    assert drawn.picture.size == (480, 240)  # Enlarged.
    assert painted[150, 121]
    assert painted[178, 180]
    assert not painted[120, 180]
    assert not painted[230].any()


def numpy_tensor(name: str, array: np.ndarray):
    from onnx import numpy_helper

    return numpy_helper.from_array(array, name)


def test_unknown_forms_are_listed(tmp_path):
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    model = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 3, 8, 8])}, {"y": (FLOAT, ["n", 3, 1, 1])})
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=r"y float32\(1, 3, 1, 1\), have none of the known forms of boxes or areas"):
        next(drawings(model, picture, ModelOptions(), []))
    with pytest.raises(UsageError, match="min_score must be from 0 to 1, not 25"):
        next(drawings(model, picture, ModelOptions(), [], least=25))
    with pytest.raises(UsageError, match="expected pictures to draw on, found x"):
        next(drawings(model, np.zeros((1, 3, 8, 8)), ModelOptions(), []))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Of the exporter of torch.
def test_detector_of_torchvision_end_to_end(tmp_path):
    """An exported detector gives what onnxruntime gives for what torchvision makes of the picture.

    Not what torch gives: with random weights, scores are so alike that rounding decides which boxes come first.
    """
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    make = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn
    net = make(weights=None, weights_backbone=None, num_classes=5, box_score_thresh=0.0).eval()
    names = {"input_names": ["image"], "output_names": ["boxes", "labels", "scores"]}
    free = {"dynamic_axes": {"image": {1: "height", 2: "width"}}}
    torch.onnx.export(net, ([torch.rand(3, 240, 320)],), tmp_path / "m.onnx", dynamo=False, **names, **free)
    picture = Image.fromarray(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8))
    made = torchvision.transforms._presets.ObjectDetection()(picture).numpy()
    wanted = in_onnxruntime(tmp_path / "m.onnx", image=made)
    found = pnn.run(tmp_path / "m.onnx", picture, preprocess="detection")
    assert list(found) == ["boxes", "labels", "scores"]
    for array, expected in zip(found.values(), wanted, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("length", [None, 4])
def test_no_column_of_a_table_is_a_label_where_an_input_takes_any_number(length, tmp_path):
    """The first token of each row is a token."""
    x = pnn.Input("steps" if length is None else length, dtype="int64", name="tokens")
    network = pnn.Network(x, pnn.Embedding(9, 3)(x), seed=0)
    network.save(tmp_path / "net.safetensors")
    tokens = np.array([[3, 1, 4, 1], [5, 8, 2, 6]])
    np.savetxt(tmp_path / "tokens.csv", tokens, fmt="%d", delimiter=",")
    [found] = pnn.run(tmp_path / "net.safetensors", {"tokens": tmp_path / "tokens.csv"}).values()
    np.testing.assert_array_equal(found, network.predict(tokens))
