"""Sizes that depend on data: what is selected by its value, and sizes, counts, limits and scales that are inputs."""

from __future__ import annotations

import numpy as np

from cases.case import Case, floats, ints, positive, real, scalar, truth, whole
from portable_nn.operators.registry import Array

BOXES = np.array(
    [[[0, 0, 2, 2], [0.2, 0, 2, 2], [3, 3, 1, 1], [0, 0, 2, 2], [1, 1, 3, 2.5], [4, 4, 4, 5], [0, 2, 2, 4]]] * 2,
    "float32",
)
"""Boxes that overlap, touch, are the same, have swapped corners, or no area."""

SCORES = np.array([[[3, 4, 4, 3, 2, 9, 1], [0, 1, 2, 3, 2, 1, 0]], [[1] * 7, [-1, 2, -3, 4, -5, 6, -7]]], "float32") / 9


UNPOOLED = {"kernel_shape": (2,), "strides": (2,)}


def _boxes() -> list[Case]:
    most, overlap, least = ints(3), np.array([0.4], "float32"), np.array([0.1], "float32")
    return [
        Case("NonMaxSuppression", (BOXES, SCORES)),
        Case("NonMaxSuppression", (BOXES, SCORES, most, overlap)),
        Case("NonMaxSuppression", (BOXES, SCORES, most, overlap, least), constants=(2, 3, 4)),
        Case("NonMaxSuppression", (BOXES, SCORES, most, None, least), {"center_point_box": 1}),
        Case("NonMaxSuppression", (BOXES[:, :0], SCORES[..., :0], most)),
    ]


def _selected() -> list[Case]:
    mask = np.array([True, False, True])
    return [
        Case("NonZero", (whole(3, 4, low=-1, high=2),)),
        Case("NonZero", (truth(2, 3, 2),)),
        Case("NonZero", (np.zeros((2, 0), "float32"),)),
        Case("Compress", (real(4, 3), mask), {"axis": 1}, wrt=(0,)),
        Case("Compress", (real(4, 2), mask), {"axis": -2}, wrt=(0,)),
        Case("Compress", (real(2, 2), mask), wrt=(0,)),
        Case("Compress", (whole(3), np.zeros(2, bool)), {"axis": 0}),
        Case("Unique", (whole(3, 4, low=0, high=3),), outputs=4),
        Case("Unique", (np.array([2, 1, 1, 3, 4, 3], "float32"),), {"sorted": 0}, outputs=4),
        Case("Unique", (whole(6, 2, low=0, high=2),), {"axis": 0}, outputs=4),
        Case("Unique", (whole(2, 6, low=0, high=2),), {"axis": -1, "sorted": 0}, outputs=4),
    ]


def _given() -> list[Case]:
    scales: Array = np.array([1, 1, 2, 0.5], "float32")
    return [
        Case("TopK", (real(2, 7), ints(3)), wrt=(0,), outputs=2),
        Case("TopK", (real(4, 3), ints(0)), {"axis": 0, "largest": 0}, outputs=2),
        Case("Range", (scalar(1, "int64"), scalar(9, "int64"), scalar(3, "int64"))),
        Case("Range", (scalar(2.5), scalar(-1.0), scalar(-0.5))),
        Case("Resize", (real(1, 2, 3, 4), None, None, ints(1, 2, 6, 2)), {"mode": "nearest"}),
        Case("Resize", (real(1, 2, 3, 4), None, scales), {"mode": "linear"}),
        Case("Expand", (real(3, 1), ints(2, 1, 4)), wrt=(0,)),
        Case("Reshape", (real(3, 4), ints(2, -1)), wrt=(0,)),
        Case("Tile", (whole(2, 3), ints(2, 0))),
        Case("Slice", (real(5, 4), ints(-3, 1), ints(9, 3))),
        Case("Slice", (whole(5, 4), ints(4), ints(-9), ints(0), ints(-2)), constants=(3,)),
        Case("Pad", (real(2, 3), ints(0, 1, 2, 0), floats(0.5).reshape(()))),
        Case("ConstantOfShape", (ints(2, 0, 3),)),
        Case("CumSum", (real(3, 4), scalar(-2, "int64")), {"exclusive": 1}, wrt=(0,)),
        Case("OneHot", (whole(2, 3, low=-3, high=4), scalar(4, "int64"), floats(2, 5)), {"axis": 1}),
        Case("HannWindow", (scalar(7, "int64"),)),
        Case("BlackmanWindow", (scalar(6, "int32"),), {"periodic": 0, "output_datatype": 11}),
        Case("CenterCropPad", (real(4, 3, 5), ints(3, 7)), {"axes": (2, 0)}, wrt=(0,)),
        Case("Col2Im", (real(2, 6, 6), ints(4, 3), ints(1, 2)), {"strides": (2, 1), "pads": (1, 0, 0, 0)}),
        Case("AffineGrid", (real(2, 2, 3), ints(2, 3, 4, 5)), wrt=(0,)),
        Case("MaxUnpool", (real(1, 2, 3), ints(1, 4, 2, 9, 10, 6).reshape(1, 2, 3), ints(1, 2, 6)), UNPOOLED),
    ]


def _along() -> list[Case]:
    """Axes and sizes of parts."""
    names = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1")
    names += ("ReduceL2", "ReduceLogSumExp")
    reduced = [Case(name, (real(3, 4, 2), ints(-1, 0)), {"keepdims": 0}, wrt=(0,)) for name in names]
    reduced += [Case(name, (real(3, 4), ints(1)), wrt=(0,)) for name in names]
    return [
        *reduced,
        Case("ReduceLogSum", (positive(3, 4), ints(1)), wrt=(0,)),
        Case("ReduceMax", (truth(3, 4), ints(0))),
        Case("ReduceSum", (real(3, 4), ints()), {"noop_with_empty_axes": 1}, wrt=(0,)),
        Case("ReduceMean", (real(3, 4), ints()), {"keepdims": 0}, wrt=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1), ints(3, 1)), wrt=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(0, -1)), wrt=(0,)),
        Case("Split", (real(5, 3), ints(1, 0, 4)), wrt=(0,), outputs=3),
        Case("Split", (real(2, 5), ints(2, 3)), {"axis": -1}, wrt=(0,), outputs=2),
    ]


CASES = [*_boxes(), *_selected(), *_given(), *_along()]
