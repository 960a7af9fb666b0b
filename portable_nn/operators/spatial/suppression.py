"""NonMaxSuppression: of boxes that overlap, the one with the highest score.

As onnxruntime computes it, in single precision: of equal scores the first box comes first, and boxes that only touch,
or have no area, suppress none. There is no gradient: outputs are indices, through which gathered values have theirs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from portable_nn.core.dims import OPEN, agreed
from portable_nn.operators.base import (
    Array,
    Attr,
    Dim,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Type,
    register,
)


def _type(use: OperatorContext) -> Type:
    boxes, scores = use.type(0), use.type(1)
    use.choice("center_point_box", (0, 1))
    use.common_dtype({"float32"}, apart=(2,))
    fits = len(boxes.shape) == 3 == len(scores.shape) and agreed(boxes.shape[2], 4) is not None
    if not fits or any(agreed(boxes.shape[at], scores.shape[to]) is None for at, to in ((0, 0), (1, 2))):
        use.fail(f"it takes boxes (batch, boxes, 4) and scores (batch, classes, boxes), not {boxes} and {scores}")
    if use.has(2) and use.type(2).dtype != "int64":
        use.fail(f"max_output_boxes_per_class must be int64, not {use.type(2).dtype}")
    for index in range(2, len(use.types)):
        if use.has(index) and use.type(index).shape not in {(), (1,)}:
            use.fail(f"{use.operator.input_name(index)} must be one number, not {use.type(index)}")
    return Type("int64", (OPEN, 3))


def _suppress(n: KernelContext) -> None:
    most: int = n.x[2].item() if n.has(2) else 0
    least_overlap, least_score = (n.x[index].item() if n.has(index) else None for index in (3, 4))
    if least_overlap is not None and not 0 <= least_overlap <= 1:
        n.fail(f"iou_threshold must be 0 to 1, not {least_overlap}")
    if least_score is None and most and np.isnan(n.x[1]).any():
        n.fail("scores hold NaN, which have no order: a score_threshold leaves them out")
    found = [np.empty((0, 3), np.int64)]
    for batch, (boxes, classes) in enumerate(zip(n.x[0], n.x[1], strict=True)) if most > 0 else ():
        edges = _edges(boxes, centred=bool(n.int("center_point_box")))
        for label, scores in enumerate(classes):
            order = np.argsort(-scores, kind="stable")
            order = order if least_score is None else order[scores[order] > np.float32(least_score)]
            places = _first(edges, order, most, np.float32(least_overlap or 0))
            found.append(np.array([(batch, label, place) for place in places], np.int64).reshape(-1, 3))
    n.view(np.concatenate(found))


def _edges(boxes: Array, *, centred: bool) -> Array:
    """A row for the lower and for the upper end of boxes along each axis, and one for their areas."""
    one, other = np.split(boxes.T, 2)
    if centred:
        low, high = one - other / 2, one + other / 2
    else:
        low, high = np.where(one >= other, other, one), np.where(one >= other, one, other)
    return np.vstack([low, high, [(high - low).prod(axis=0)]])


def _first(edges: Array, order: Array, most: int, overlap: Any) -> list[int]:
    """The first ``most`` boxes in an ``order`` which overlap none before them by more than ``overlap``."""
    found, edges, stays = list[int](), edges[:, order], np.ones(len(order), bool)
    for place in range(len(order)):
        if len(found) == most:
            break
        if not stays[place]:
            continue
        found.append(int(order[place]))
        kept, rest = edges[:, place], edges[:, place + 1 :]
        meets = (rest[0] < kept[2]) & (kept[0] < rest[2]) & (rest[1] < kept[3]) & (kept[1] < rest[3])
        near = place + 1 + np.flatnonzero(meets & stays[place + 1 :])
        others = edges[:, near]
        sides = np.minimum(others[2:4], kept[2:4, None]) - np.maximum(others[:2], kept[:2, None])
        shared = sides[0] * sides[1]
        union = others[4] + kept[4] - shared
        counts = (sides > 0).all(axis=0) & (others[4] > 0) & (kept[4] > 0) & (shared > 0) & (union > 0)
        stays[near[counts & (shared / union > overlap)]] = False
    return found


def _visits(use: OperatorContext, _: Shape) -> tuple[Dim, ...]:
    """Each box that stays is compared with those after it."""
    batch, classes, boxes = use.type(1).shape
    [most] = use.type(2).constant or (boxes,) if use.has(2) else (0,)
    return batch, classes, boxes, min(most, boxes) if isinstance(most, int) and isinstance(boxes, int) else boxes


register(
    Operator(
        "NonMaxSuppression",
        ("boxes", "scores", "max_output_boxes_per_class?", "iou_threshold?", "score_threshold?"),
        _type,
        _suppress,
        None,
        {"center_point_box": Attr(int, 0)},
        outputs=("selected_indices",),
        settings=(2, 3, 4),
        samples={2: Interval(1, 5), 3: Interval(0, 1)},
        visits=_visits,
    )
)
