"""Masks of instance segmentation in their usual forms, and where they are in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import FLOAT, INT64, write
from onnx import helper, numpy_helper
from PIL import Image

from portable_nn.outputs.drawings import Drawn, drawings
from portable_nn.outputs.scenes import Boxes, Outputs, scene_of
from portable_nn.prediction.options import ModelOptions
from portable_nn.preprocessing.placement import Placement

RNG = np.random.default_rng(31)
AS_IS = {"fit": "none"}


def constant(path: Path, arrays: dict[str, np.ndarray], shape: tuple[int, ...] = (1, 3, 480, 600)) -> Path:
    """A model that says the same of every picture."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))
        for name, array in arrays.items()
    ]
    kinds = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
    outputs = {name: (kinds[array.dtype], list(array.shape)) for name, array in arrays.items()}
    return write(path, nodes, {"x": (FLOAT, list(shape))}, outputs)


def drawn_by(model: Path, height: int = 480, width: int = 600, **options: Any) -> tuple[Drawn, list[str]]:
    """A black picture with what the model finds."""
    notes = list[str]()
    given = ModelOptions(**{"preprocess": AS_IS, **options})
    [found] = drawings(model, Image.new("RGB", (width, height)), given, notes)
    return found, notes


def painted(drawn: Drawn) -> np.ndarray:
    return np.asarray(drawn.picture).max(axis=2) > 0


def masks_in(arrays: dict[str, np.ndarray], place: Placement, **options: Any) -> tuple[Boxes, np.ndarray]:
    """The boxes, and the mask of each in the whole picture."""
    found = scene_of(Outputs(arrays, place.frame, **options))
    assert isinstance(found, Boxes)
    assert found.masks
    whole = np.zeros((len(found.scores), *place.picture), bool)
    for number in range(len(whole)):
        (top, left), mask = found.masks.in_picture(number, place)
        whole[number, top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return found, whole


def discs(height: int, width: int, centres: list[tuple[float, float, float]]) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.array([np.hypot(y - cy, x - cx) < r for cy, cx, r in centres])


BOXES = np.float32([[20, 30, 180, 150], [300, 200, 420, 400], [480, 20, 590, 130]])
SCORES = np.float32([0.9, 0.1, 0.6])
LABELS = np.array([1, 2, 3])
DISCS = discs(480, 600, [(90, 100, 50), (300, 360, 55), (75, 535, 40)])


def torchvision(masks: np.ndarray) -> dict[str, np.ndarray]:
    return {"boxes": BOXES, "labels": LABELS, "scores": SCORES, "masks": masks[:, None].astype(np.float32)}


def test_masks_of_the_whole_picture_are_drawn_pixel_by_pixel(tmp_path):
    drawn, notes = drawn_by(constant(tmp_path / "m.onnx", torchvision(np.where(DISCS, 0.8, 0.3))))
    assert notes[-1].endswith("classes and scores, with a mask of the picture for each box")
    assert [each.label for each in drawn.findings] == ["class 1", "class 3"]  # The score of 2 is too small.
    assert [each.pixels for each in drawn.findings] == [DISCS[0].sum(), DISCS[2].sum()]
    inside = np.zeros((480, 600), bool)
    for left, top, right, bottom in BOXES.astype(int):
        inside[top + 25 : bottom - 4, left + 4 : right - 4] = True  # Without lines and labels.
    np.testing.assert_array_equal(painted(drawn)[inside], (DISCS[0] | DISCS[2])[inside])


def test_masks_are_those_of_the_picture_after_a_letterbox(tmp_path):
    """A frame of 64x64 with a picture twice as wide as high: its rows are 16 to 48."""
    masks = np.zeros((3, 64, 64))
    masks[0, 20:30, 8:40] = 1
    masks[2, :, 50:] = 1  # Beyond the picture as well.
    model = constant(tmp_path / "m.onnx", torchvision(masks), (1, 3, 64, 64))
    drawn, _ = drawn_by(model, 320, 640, preprocess="yolo")
    corner = 0.5 * np.log(2) - 0.25  # Of a cell: where (0.5 + a)(0.5 + b) < 0.5 for a and b from 0 to 0.5.
    pixels = (each.pixels for each in drawn.findings)
    assert next(pixels) == pytest.approx(100 * (10 * 32 - 4 * corner), abs=4)
    assert next(pixels) == 100 * 32 * 14


def test_masks_of_a_frame_are_interpolated_as_in_torch():
    torch = pytest.importorskip("torch")
    masks = RNG.uniform(size=(3, 40, 50)).astype(np.float32)
    place = Placement((120, 150), (40, 50), (1 / 3, 1 / 3))
    arrays = {**torchvision(masks), "boxes": BOXES / 12}
    _, found = masks_in(arrays, place, least=0)
    larger = torch.nn.functional.interpolate(torch.from_numpy(masks[:, None]), size=(120, 150), mode="bilinear")
    np.testing.assert_array_equal(found, (larger[[0, 2, 1], 0] > 0.5).numpy())


def of_zoo(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Mask R-CNN of the ONNX model zoo."""
    return dict(zip(("6568", "6570", "6572", "6887"), torchvision(masks).values(), strict=True))


def test_masks_in_boxes_cover_their_part(tmp_path):
    masks = np.zeros((3, 28, 28))
    masks[0, :, :14] = 1  # The left half.
    masks[2, 7:21, 7:21] = 1  # The middle quarter.
    drawn, notes = drawn_by(constant(tmp_path / "m.onnx", of_zoo(masks)))
    assert notes[-1].endswith("with a mask of 28x28 in each box")
    assert [each.pixels for each in drawn.findings] == pytest.approx([80 * 120, 55 * 55], rel=0.04)
    shown = painted(drawn)
    assert shown[60:146, 24:99].all()
    assert not shown[60:146, 101:176].any()


def test_masks_in_boxes_are_interpolated_as_in_torch():
    """With nothing around them."""
    torch = pytest.importorskip("torch")
    masks = RNG.uniform(size=(3, 28, 28)).astype(np.float32)
    corners = np.float32([[3.3, 5.1, 90.7, 77.2], [-20, 30, 60.5, 119.9], [40, 40, 47, 44]])
    place = Placement((110, 140), (100, 120), (0.8, 0.75), (4, 6))
    _, found = masks_in({**of_zoo(masks), "6568": corners, "6572": np.float32([0.9, 0.8, 0.7])}, place)
    y = (np.arange(110) + 0.5) * 0.8 + 4
    x = (np.arange(140) + 0.5) * 0.75 + 6
    left, top, right, bottom = corners.T[:, :, None].astype(np.float64)
    grid = np.stack(
        np.broadcast_arrays(
            (2 * (x - left) / (right - left) - 1)[:, None, :], (2 * (y - top) / (bottom - top) - 1)[:, :, None]
        ),
        axis=-1,
    )
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(masks[:, None]).double(), torch.from_numpy(grid), "bilinear", "zeros", align_corners=False
    )
    assert found.any(axis=(1, 2)).all()
    expected = (sampled[:, 0] > 0.5).numpy()
    expected[:, y >= 100] = False  # Not in the frame.
    np.testing.assert_array_equal(found, expected)


def test_masks_in_boxes_are_pasted_as_in_torchvision():
    """Its boxes are rounded to whole pixels: edges of large, smooth masks are less than two pixels apart."""
    heads = pytest.importorskip("torchvision.models.detection.roi_heads")
    import torch

    masks = np.float32([np.hypot(*np.mgrid[-1:1:28j, -1:1:28j] * s) for s in (1.2, 1.6, 2)])
    masks = np.clip(1 - 0.5 * masks, 0, 1)
    _, found = masks_in(of_zoo(masks), Placement((480, 600), (480, 600)), least=0)
    pasted = heads.paste_masks_in_image(torch.from_numpy(masks[:, None]), torch.from_numpy(BOXES), (480, 600))
    theirs = (pasted[[0, 2, 1], 0] > 0.5).numpy()
    for mine, other in zip(found, theirs, strict=True):
        assert (mine != other).sum() < 0.04 * other.sum()


def yolo(corners: np.ndarray, weights: np.ndarray, prototypes: np.ndarray, final: bool) -> dict[str, np.ndarray]:
    """Rows of YOLO, version 8 or end to end, with two classes."""
    if final:
        rows = np.concatenate([corners, SCORES[:, None], LABELS[:, None] % 2, weights], axis=1)
    else:
        middle, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        rows = np.concatenate([middle, sides, SCORES[:, None] * np.eye(2)[LABELS % 2], weights], axis=1)
    rows = np.concatenate([rows, np.zeros((60, rows.shape[1]))]).astype(np.float32)
    return {"output0": (rows if final else rows.T)[None], "output1": prototypes[None].astype(np.float32)}


@pytest.mark.parametrize("final", [False, True])
def test_prototypes_are_summed_as_in_torch(final):
    torch = pytest.importorskip("torch")
    prototypes, weights = RNG.normal(size=(32, 24, 30)).astype(np.float32), RNG.normal(size=(3, 32)).astype(np.float32)
    corners = BOXES / 5 + np.float32([0.1, 0.2, 0.3, 0.4])
    found, masks = masks_in(yolo(corners, weights, prototypes, final), Placement((96, 120), (96, 120)))
    assert found.classes.tolist() == [1, 1]
    logits = torch.from_numpy(np.einsum("nk,khw->nhw", weights, prototypes))[None]
    larger = torch.nn.functional.interpolate(logits, size=(96, 120), mode="bilinear")[0].numpy()
    y, x = np.mgrid[:96, :120] + 0.5
    for mask, number in zip(masks, (0, 2), strict=True):
        left, top, right, bottom = corners[number]
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        np.testing.assert_array_equal(mask, (larger[number] > 0) & inside)


def test_masks_of_prototypes_are_drawn(tmp_path):
    """A prototype that is above 0 in the left half of the frame, and one that is everywhere."""
    prototypes = np.ones((2, 120, 150))
    prototypes[0, :, 75:] = -1
    weights = np.float32([[0, 1], [1, 0], [-1, 0.5]])
    drawn, notes = drawn_by(constant(tmp_path / "m.onnx", yolo(BOXES, weights, prototypes, False)), labels=("a", "b"))
    assert notes[-1].endswith("with masks of 2 prototypes inside the boxes")
    assert [(each.label, each.pixels) for each in drawn.findings] == [("b", 160 * 120), ("b", 110 * 110)]


@pytest.mark.parametrize(
    "masks",
    [
        np.float32(RNG.normal(size=(3, 480, 600))),  # Neither shares nor what is known to be logits.
        np.float32(RNG.uniform(size=(3, 20, 31))),
        np.float32(RNG.uniform(size=(3, 81, 28, 28))),
    ],
)
def test_other_masks_are_not_drawn_and_that_is_said(tmp_path, masks):
    arrays = torchvision(DISCS) | {"masks": masks}
    drawn, notes = drawn_by(constant(tmp_path / "m.onnx", arrays))
    [note] = [note for note in notes if "mask" in note]
    assert note.startswith("'masks', float32(3, ")
    assert note.endswith("has no known form of masks: boxes alone are drawn; --out FILE.npz writes it")
    assert [each.pixels for each in drawn.findings] == [None, None]
    assert not painted(drawn)[60:140, 30:170].any()


def test_nothing_found_and_boxes_without_area():
    place = Placement((50, 50), (50, 50))
    none = {name: array[:0] for name, array in torchvision(np.ones((3, 50, 50))).items()}
    assert masks_in(none, place)[1].shape == (0, 50, 50)
    arrays = of_zoo(np.ones((3, 28, 28))) | {"6568": np.float32([[9, 9, 9, 20], [-9, 5, -3, 20], [70, 8, 90, 60]])}
    assert not masks_in(arrays, place, least=0)[1].any()


def test_a_picture_without_a_batch(tmp_path):
    """An input (3, height, width) of a fixed size, and as many boxes as it has colours."""
    masks = np.zeros((3, 96, 96))
    masks[:, 5:9, 7:10] = 1
    arrays = torchvision(masks) | {"boxes": BOXES / 10, "scores": np.float32([0.9, 0.8, 0.7])}
    drawn, _ = drawn_by(constant(tmp_path / "m.onnx", arrays, (3, 96, 96)), 96, 96, preprocess="detection")
    assert [each.label for each in drawn.findings] == ["class 1", "class 2", "class 3"]
    assert [each.pixels for each in drawn.findings] == [12, 12, 12]


def spread(model: Any, layers: list[Any], x: Any) -> None:
    """Make the outputs of each layer differ from each other, about as much as those of a trained one."""
    import torch

    for layer in layers:
        seen = list[Any]()
        handle = layer.register_forward_hook(lambda _layer, _given, made, seen=seen: seen.append(made.transpose(0, 1)))
        model([x])
        handle.remove()
        every = torch.cat([made.flatten(1) for made in seen], dim=1)
        mean, deviation = every.mean(1), every.std(1)
        layer.bias.copy_((layer.bias - mean) / deviation)
        layer.weight.div_(deviation.reshape(-1, *[1] * (layer.weight.ndim - 1)))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Of the exporter of torch.
@pytest.mark.parametrize("masked", [False, True])
def test_boxes_and_masks_of_exported_detectors_are_those_of_torchvision(tmp_path, masked):
    """With random weights, drawn so that numbers do not vanish: of scores that are alike, rounding decides."""
    detection = pytest.importorskip("torchvision.models.detection")
    assign = pytest.importorskip("scipy.optimize").linear_sum_assignment
    import torch
    from torchvision.models.detection.backbone_utils import mobilenet_backbone
    from torchvision.models.detection.rpn import AnchorGenerator

    torch.manual_seed(0)
    options = {"num_classes": 5, "min_size": 96, "max_size": 96, "box_score_thresh": 0.1, "box_detections_per_img": 20}
    if masked:
        body = mobilenet_backbone(backbone_name="mobilenet_v3_large", weights=None, fpn=True, trainable_layers=6)
        anchors = AnchorGenerator(((32, 64, 128),) * 3, ((0.5, 1.0, 2.0),) * 3)
        model = detection.MaskRCNN(body, rpn_anchor_generator=anchors, **options).eval()
    else:
        make = detection.fasterrcnn_mobilenet_v3_large_320_fpn
        model = make(weights=None, weights_backbone=None, **options).eval()
    pixels = np.random.default_rng(8).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    x = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    with torch.no_grad():
        for layer in model.backbone.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)
        spread(model, [model.rpn.head.cls_logits, model.roi_heads.box_predictor.cls_score], x)
        if masked:
            model.roi_heads.mask_predictor.mask_fcn_logits.bias += 1
        theirs = model([x])[0]
    file, names = tmp_path / "m.onnx", list(theirs)
    torch.onnx.export(model, ([x],), file, opset_version=17, dynamo=False, input_names=["image"], output_names=names)
    [drawn] = drawings(file, Image.fromarray(pixels), ModelOptions(preprocess="detection"), [], least=0.0)
    mine = np.array([[*each.box, each.score] for each in drawn.findings])
    other = torch.cat([theirs["boxes"], theirs["scores"][:, None]], dim=1).numpy()
    assert 3 <= len(mine) == len(other)
    rows, columns = assign(np.abs(mine[:, None] - other).sum(axis=2))  # Some scores are the same.
    np.testing.assert_allclose(mine[rows, :4], other[columns, :4], atol=0.06)  # In tenths of pixels.
    np.testing.assert_allclose(mine[rows, 4], other[columns, 4], atol=1e-4)
    assert [drawn.findings[n].label for n in rows] == [f"class {theirs['labels'][n]}" for n in columns]
    if masked:
        covered = (theirs["masks"] > 0.5).sum((1, 2, 3)).numpy()[columns]
        assert covered.max() > 100
        np.testing.assert_allclose([drawn.findings[n].pixels for n in rows], covered, rtol=0.01, atol=3)  # Both round.
