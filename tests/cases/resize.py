"""Resizing, and pixels that move into channels and back.

Where onnxruntime has no kernel, as for doubles, onnx's reference stands in for it, which has limits of its own: cubic
weights in single precision, a fractional size with align_corners, no negative axes. Uses beyond them, and those where
onnxruntime is not the standard's, are in test_resize_torch.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cases.case import Case, ints, real, whole
from portable_nn.core.graph import INTERNAL
from portable_nn.operators.registry import Array

TRANSFORMATIONS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


def singles(*values: float) -> Array:
    """Scales, which are float32 whatever else is not."""
    return np.array(values, np.float32)


def resize(
    x: Array, *, scales: Array | None = None, sizes: Array | None = None, roi: Array | None = None, **attributes: Any
) -> Case:
    wrt = (0,) if x.dtype.kind == "f" else ()
    batched = (0,) if sizes is None or "axes" in attributes else ()
    return Case("Resize", (x, roi, scales, sizes), attributes, wrt, (1, 2, 3), batched)


def _sides(where: str, *scales: float) -> Mapping[str, Array]:
    """Scales of images of 3 by 4 pixels; with align_corners, the sizes that they give."""
    if where == "align_corners":
        return {"sizes": ints(2, 2, *(int(size * scale) for size, scale in zip((3, 4), scales, strict=True)))}
    return {"scales": singles(1, 1, *scales)}


def _nearest() -> list[Case]:
    rows = [
        resize(
            real(2, 2, 3, 4), coordinate_transformation_mode=where, nearest_mode=nearest_mode, **_sides(where, *scales)
        )
        for where in TRANSFORMATIONS
        for nearest_mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for scales in ((2, 2), (1.4, 0.75))
    ]
    return [
        *rows,
        resize(real(2, 3, 4), mode="nearest", scales=singles(1, 2, 3)),
        resize(real(2, 1, 3, 2), nearest_mode="floor", scales=singles(1, 4, 0.5, 2)),
        resize(whole(2, 3, 4, dtype="int32"), scales=singles(1, 2, 0.5)),
        resize(whole(2, 3, 4, low=0, dtype="uint8"), sizes=ints(2, 7, 2)),
    ]


def _interpolated() -> list[Case]:
    rows = []
    for mode in ("linear", "cubic"):
        for where in TRANSFORMATIONS:
            for scales in ((2, 2), (2, 0.5) if mode == "cubic" else (1.7, 0.6)):
                sides = _sides(where, *scales) if where != "align_corners" else {"sizes": ints(2, 2, 5, 7)}
                rows.append(resize(real(2, 2, 3, 4), mode=mode, coordinate_transformation_mode=where, **sides))
        rows += [
            resize(real(2, 2, 4, 3), mode=mode, sizes=ints(2, 2, 1, 6)),
            resize(real(2, 2, 3, 4), mode=mode, cubic_coeff_a=-0.5, scales=singles(1, 1, 0.5, 2)),
            resize(real(4, 5), mode=mode, sizes=ints(4, 10)),
            resize(real(2, 2, 5, 6), mode=mode, antialias=1, scales=singles(1, 1, 0.5, 0.5)),
            resize(real(2, 2, 6, 5), mode=mode, antialias=1, exclude_outside=1, sizes=ints(2, 2, 3, 10)),
        ]
    return [
        *rows,
        resize(real(2, 2, 3, 4), mode="cubic", exclude_outside=1, scales=singles(1, 1, 2, 0.5)),
        resize(real(2, 3, 4), mode="linear", scales=singles(1, 1.5, 0.7)),
        resize(real(2, 1, 2, 3, 4), mode="linear", scales=singles(1, 1, 1.5, 0.7, 2)),
        resize(real(2, 2, 5, 6), mode="linear", antialias=1, scales=singles(1, 1, 0.4, 0.7)),
    ]


def _regions() -> list[Case]:
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0}
    region = np.array([0, 0, 0.2, -0.1, 1, 1, 1.3, 0.7])
    return [
        *(
            resize(real(2, 2, 4, 5), **crop, mode=mode, roi=region, sizes=ints(2, 2, *sides))
            for mode in ("nearest", "linear")
            for sides in ((3, 4), (6, 1))
        ),
        resize(real(2, 2, 4, 5), **crop, roi=region, scales=singles(1, 1, 1.5, 0.6)),
        resize(whole(2, 2, 4, 5, dtype="int32"), **crop, roi=singles(*region), scales=singles(1, 1, 1.5, 0.6)),
    ]


def _axes_and_ratios() -> list[Case]:
    region = np.array([0.1, 0.2, 0.7, 1.0])
    some = {"axes": (3, 2), "mode": "linear"}
    return [
        resize(real(2, 2, 3, 4), **some, scales=singles(1.5, 2)),
        resize(real(2, 2, 3, 4), **some, sizes=ints(6, 2)),
        resize(
            real(2, 2, 3, 4), **some, coordinate_transformation_mode="tf_crop_and_resize", roi=region, sizes=ints(6, 2)
        ),
        *(
            resize(real(2, 2, 3, 4), axes=(2, 3), mode=mode, keep_aspect_ratio_policy=policy, sizes=ints(*sizes))
            for mode in ("nearest", "linear")
            for policy in ("not_larger", "not_smaller", "stretch")
            for sizes in ((7, 6), (2, 9))
        ),
    ]


def _gradients() -> list[Case]:
    shape = ints(2, 2, 3, 4)
    return [
        Case(
            "ResizeGrad",
            (real(2, 2, *result), None, singles(1, 1, *scales), None, shape),
            {"mode": mode},
            (0,),
            (2, 4),
            domain=INTERNAL,
        )
        for mode in ("nearest", "linear", "cubic")
        for result, scales in (((6, 8), (2, 2)), ((5, 2), (1.7, 0.6)))
    ]


def _pixels() -> list[Case]:
    rows = [
        Case("DepthToSpace", (real(2, depth, 2, 3),), {"blocksize": block, "mode": mode}, (0,), batched=(0,))
        for mode in ("DCR", "CRD")
        for block, depth in ((1, 2), (2, 8), (3, 9))
    ]
    rows += [
        Case("SpaceToDepth", (real(2, 2, *sides),), {"blocksize": block}, (0,), batched=(0,))
        for block, sides in ((1, (2, 3)), (2, (4, 2)), (3, (3, 6)))
    ]
    return [*rows, Case("DepthToSpace", (real(1, 4, 1, 2),), {"blocksize": 2}, (0,))]


CASES = [*_nearest(), *_interpolated(), *_regions(), *_axes_and_ratios(), *_gradients(), *_pixels()]
