"""Objects and areas in a picture, from the outputs of detectors and segmenters in their usual forms.

Each form is a function in ``FORMS`` that knows it by names, types and shapes, and gives None for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.operators.registry import NamedArrays
from portable_nn.outputs.masks import Masks, beside_boxes, of_prototypes

OVERLAP: Final = 0.45
"""Of two boxes of a class that overlap by more than this share, the one with the smaller score is left out."""

MOST: Final = 2000
"""The most boxes, those with the greatest scores, that are compared with each other."""


@dataclass(frozen=True)
class Boxes:
    """Objects that were found, the most certain first.

    Args:
        corners: left, top, right and bottom of each, (n, 4), in pixels of what the model was given.
        classes: the number of the class of each.
        scores: how certain each is, 0 to 1.
        assumed: the form that the outputs were taken for, in words.
        rows: which of the boxes in the outputs each is.
        masks: the pixels of each, where the outputs have masks of a known form.
    """

    corners: NDArray[np.float64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    assumed: str
    rows: NDArray[np.intp]
    masks: Masks | None = None


@dataclass(frozen=True)
class Areas:
    """The class of each pixel, (height, width), and in words what the output was taken for."""

    classes: NDArray[np.int64]
    assumed: str


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model for one picture.

    Args:
        arrays: by name.
        frame: the height and width of what the model was given.
        labels: the names of the classes, if they are known.
        least: the smallest score of a box.
    """

    arrays: NamedArrays
    frame: tuple[int, int]
    labels: Sequence[str] = ()
    least: float = 0.25
    single: NamedArrays = field(init=False)
    """The arrays without the axis of the batch, where they have one."""

    def __post_init__(self) -> None:
        arrays = self.arrays.items()
        # One box alone has a first axis of 1 as well, but its score then has no other.
        has_batch = all(a.shape[:1] == (1,) and (a.ndim > 1 or name.startswith("num_")) for name, a in arrays)
        object.__setattr__(self, "single", {name: array[0] if has_batch else array for name, array in arrays})


Scene: TypeAlias = Boxes | Areas


def scene_of(outputs: Outputs) -> Scene | None:
    """The objects or areas in a picture, or None where the outputs have none of the known forms."""
    return next((scene for form in FORMS if (scene := form(outputs))), None)


def suppressed(corners: NDArray[Any], classes: NDArray[Any], scores: NDArray[Any], overlap: float) -> NDArray[np.intp]:
    """The places of the boxes that stay, the greatest score first: non-maximum suppression in each class.

    A box is left out where it shares more than ``overlap`` of the area of both with one of a greater score.
    """
    order = np.argsort(-scores, kind="stable")[:MOST]
    corners = corners[order].astype(np.float64)
    sides = (corners[:, 2:] - corners[:, :2]).clip(0)
    areas = sides.prod(axis=1)
    alive, kept = np.ones(len(order), bool), list[int]()
    for place in range(len(order)):
        if not alive[place]:
            continue
        kept.append(place)
        low = np.maximum(corners[place, :2], corners[:, :2])
        shared = (np.minimum(corners[place, 2:], corners[:, 2:]) - low).clip(0).prod(axis=1)
        union = areas[place] + areas - shared
        alive &= (classes[order] != classes[order[place]]) | (shared <= overlap * union)
    return order[kept]


# -- boxes


def _boxes(
    outputs: Outputs, corners: NDArray[Any], classes: NDArray[Any], scores: NDArray[Any], assumed: str, *, thin: bool
) -> Boxes:
    """The boxes with the smallest score that is wanted, the greatest first; ``thin`` out what overlaps."""
    good = np.flatnonzero((scores >= outputs.least) & np.isfinite(corners).all(axis=1))
    corners, classes, scores = corners[good].astype(np.float64), classes[good].astype(np.int64), scores[good]
    kept = suppressed(corners, classes, scores, OVERLAP) if thin else np.argsort(-scores, kind="stable")
    return Boxes(corners[kept], classes[kept], scores[kept].astype(np.float64), assumed, good[kept])


def _in_pixels(corners: NDArray[Any], outputs: Outputs) -> tuple[NDArray[Any], str]:
    """Corners in pixels; those that are all between 0 and 1, but for what sticks out, are shares of the frame."""
    if len(corners) and np.abs(corners).max() > 2:
        return corners, "in pixels"
    height, width = outputs.frame
    return corners * np.array([width, height, width, height]), "as shares of the picture"


def _from_centres(boxes: NDArray[Any]) -> NDArray[Any]:
    """x and y of centres, widths and heights → corners."""
    half = boxes[:, 2:4] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _decided(outputs: Outputs) -> Boxes | None:
    """Boxes (n, 4), a class and a score for each: torchvision, and what TensorFlow calls detection_boxes."""
    corners = next((a for a in outputs.single.values() if a.ndim == 2 and a.shape[1] == 4), None)
    if corners is None:
        return None
    rows = {name: a for name, a in outputs.single.items() if a.shape == (len(corners),)}
    whole = [name for name, a in rows.items() if a.dtype.kind in "iu" or re.search("class|label", name, re.IGNORECASE)]
    others = [name for name, a in rows.items() if a.dtype.kind == "f" and name not in whole]
    if (len(whole), len(others)) != (1, 1):
        return None
    order, places = "left, top, right, bottom", [0, 1, 2, 3]
    if any("detection_boxes" in name for name in outputs.arrays):
        order, places = "top, left, bottom, right", [1, 0, 3, 2]
    found, how = _in_pixels(corners[:, places], outputs)
    text = f"boxes ({order}, {how}), classes and scores"
    boxes = _boxes(outputs, found, rows[whole[0]], rows[others[0]], text, thin=False)
    masks = beside_boxes(outputs.single.values(), len(corners), boxes.rows, boxes.corners, outputs.frame)
    return replace(boxes, masks=masks)


def _transformer(outputs: Outputs) -> Boxes | None:
    """DETR: logits (n, classes + 1), of which the last is for no object, and pred_boxes (n, 4), centres and sides."""
    logits, boxes = outputs.single.get("logits"), outputs.single.get("pred_boxes")
    if logits is None or boxes is None or logits.ndim != 2 or boxes.shape != (len(logits), 4):
        return None
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
    corners, _ = _in_pixels(_from_centres(boxes), outputs)
    text = "logits and pred_boxes of DETR, the last class being none"
    return _boxes(outputs, corners, shares.argmax(axis=1), shares.max(axis=1), text, thin=False)


def _scored(outputs: Outputs) -> Boxes | None:
    """SSD: boxes (n, 4), and a score for each class (n, classes), of which the first is the background."""
    for name, corners in outputs.single.items():
        for other, scores in outputs.single.items():
            if name == other or (corners.ndim, scores.ndim) != (2, 2) or corners.shape[1] != 4:
                continue
            if scores.shape[0] != len(corners) or scores.shape[1] < 2 or not ((scores >= 0) & (scores <= 1)).all():
                continue
            if "score" in name or "box" in other or not (corners[:, 2:] >= corners[:, :2]).all():
                continue
            first = 0 if len(outputs.labels) == scores.shape[1] and not _is_background(outputs.labels[0]) else 1
            found, how = _in_pixels(corners, outputs)
            text = f"boxes (left, top, right, bottom, {how}) and scores" + (", class 0 being none" if first else "")
            best = scores[:, first:]
            return _boxes(outputs, found, best.argmax(axis=1) + first, best.max(axis=1), text, thin=True)
    return None


def _yolo(outputs: Outputs) -> Boxes | None:
    """YOLO: (4 + classes, n) since version 8, (n, 5 + classes) before it, (n, 6) where it is end to end.

    Where there are k prototypes of masks, (k, h, w), each box has a weight for each of them at its end.
    """
    whole, others = (
        [array[0] for array in outputs.arrays.values() if array.ndim == axes and array.shape[0] == 1] for axes in (3, 4)
    )
    if len(whole) != 1 or len(others) > 1 or len(whole) + len(others) != len(outputs.arrays):
        return None
    [table], extras = whole, sum(map(len, others))
    is_final = table.shape[1] == 6 + extras and len(table) <= 1000 and _is_end_to_end(table)
    is_late = not is_final and table.shape[0] < table.shape[1]
    rows = table.T if is_late else table
    plain = rows[:, : max(0, rows.shape[1] - extras)]
    boxes = _final_yolo(outputs, plain) if is_final else _raw_yolo(outputs, plain, is_late)
    if boxes is None or not extras:
        return boxes
    weights = rows[boxes.rows, plain.shape[1] :]
    return replace(boxes, masks=of_prototypes(weights, others[0], boxes.corners, outputs.frame))


def _final_yolo(outputs: Outputs, rows: NDArray[Any]) -> Boxes:
    text = "left, top, right, bottom, score and class (YOLO, end to end)"
    return _boxes(outputs, rows[:, :4], rows[:, 5], rows[:, 4], text, thin=False)


def _raw_yolo(outputs: Outputs, rows: NDArray[Any], is_late: bool) -> Boxes | None:
    first = 4 if is_late else 5
    classes = rows.shape[1] - first
    if classes < 1 or (outputs.labels and classes != len(outputs.labels)) or len(rows) < 8:
        return None
    if not ((rows[:, 4:] >= 0) & (rows[:, 4:] <= 1.001)).all():
        return None
    shares = rows[:, first:]
    scores = shares.max(axis=1) if is_late else shares.max(axis=1) * rows[:, 4]
    version = "version 8 and later" if is_late else "versions 5 to 7"
    corners, how = _in_pixels(_from_centres(rows), outputs)
    text = f"centre, width and height {how}, and a score for each of {classes} classes (YOLO, {version})"
    return _boxes(outputs, corners, shares.argmax(axis=1), scores, text, thin=True)


def _is_end_to_end(table: NDArray[Any]) -> bool:
    scores, classes = table[:, 4], table[:, 5]
    ordered = (table[:, 2:4] >= table[:, :2]).all()
    return bool(ordered and ((scores >= 0) & (scores <= 1)).all() and (classes == np.round(classes)).all())


def _is_background(label: str) -> bool:
    return label.strip("_ ").lower() in ("background", "bg", "none", "void", "unlabeled")


# -- areas


def _areas(outputs: Outputs) -> Areas | None:
    """A score for each class of each pixel: (1, classes, height, width), or with the classes last; or the classes."""
    for name, array in outputs.arrays.items():
        if array.shape[:1] != (1,) or array.ndim not in (3, 4):
            continue
        scores = array[0]
        if scores.dtype.kind in "iu":
            flat = scores.squeeze()
            if flat.ndim == 2 and min(flat.shape) > 4:
                return Areas(flat.astype(np.int64), f"'{name}' as the class of each pixel")
            continue
        if scores.ndim != 3 or scores.dtype.kind != "f":
            continue
        count = len(outputs.labels)
        last = scores.shape[2] == count if count in scores.shape else scores.shape[2] < min(scores.shape[:2])
        scores = scores.transpose(2, 0, 1) if last and scores.shape[0] != count else scores
        if len(scores) == 1 and min(scores.shape[1:]) > 4:
            is_share = scores.min() >= 0 and scores.max() <= 1
            text = f"'{name}' as {'a probability' if is_share else 'a logit'} that a pixel belongs to class 1"
            return Areas((scores[0] > (0.5 if is_share else 0)).astype(np.int64), text)
        if len(scores) > 1 and min(scores.shape[1:]) > 4:
            text = f"'{name}' as a score for each of {len(scores)} classes of each pixel"
            return Areas(scores.argmax(axis=0).astype(np.int64), text)
    return None


FORMS: Final[Sequence[Callable[[Outputs], Scene | None]]] = (_decided, _transformer, _scored, _yolo, _areas)
"""The known forms; the first that fits counts."""
