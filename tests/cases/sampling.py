"""Places by affine maps, and images that are read at places.

Places are some way from the edges and the middles between cells, where what is read has a kink.
"""

from __future__ import annotations

import numpy as np

from cases.case import Array, Case, ints, real

SIZE = (3, 4)


def places(*shape: int, align_corners: int, beyond: float = 1.0) -> Array:
    """Places of which each coordinate lies between two centres of cells, ``beyond`` times the image's extent."""
    rng = np.random.default_rng(int(np.prod(shape)))
    cells = np.array((5, *SIZE)[::-1][: shape[-1]])
    extent = np.ceil(cells * beyond).astype(int)
    whole_cells = (
        rng.integers(-extent // 4, cells + extent // 4, shape) if beyond > 1 else rng.integers(0, cells - 1, shape)
    )
    x = whole_cells + rng.uniform(0.1, 0.4, shape)
    return np.asarray(2 * x / (cells - 1) - 1 if align_corners else (2 * x + 1) / cells - 1)


def _samples() -> list[Case]:
    rows = []
    for mode in ("linear", "nearest", "cubic"):
        wrt = (0,) if mode == "nearest" else (0, 1)
        for padding in ("zeros", "border", "reflection"):
            for aligned in (0, 1) if mode != "cubic" else (int(padding == "border"),):
                options = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
                grid = places(2, 2, 3, 2, align_corners=aligned, beyond=2.0)
                rows.append(Case("GridSample", (real(2, 2, *SIZE), grid), options, wrt, batched=(0, 1)))
    for mode in ("linear", "nearest"):
        for padding in ("zeros", "border", "reflection"):
            grid = places(2, 1, 2, 3, 3, align_corners=0, beyond=2.0)
            options = {"mode": mode, "padding_mode": padding}
            rows.append(Case("GridSample", (real(2, 2, 5, *SIZE), grid), options, (0,), batched=(0, 1)))
    return [*rows, Case("GridSample", (real(1, 1, *SIZE), places(1, 2, 2, 2, align_corners=0)), wrt=(0, 1))]


def _grids() -> list[Case]:
    return [
        Case("AffineGrid", (real(2, *shape), ints(2, 3, *size)), {"align_corners": aligned}, (0,), (1,))
        for aligned in (0, 1)
        for shape, size in (((2, 3), (3, 4)), ((2, 3), (1, 2)), ((3, 4), (2, 3, 2)))
        if not (aligned and 1 in size)
    ]


def _regions() -> list[Case]:
    """Some of them reach beyond the image; a mean of fixed numbers of points has a gradient."""
    rois = np.array([[0.3, 0.7, 2.6, 2.9], [-1.7, 0.2, 1.9, 3.4], [1.1, 1.2, 1.3, 1.6]])
    inputs = (real(2, 2, *SIZE), rois, ints(1, 0, 1))
    fixed = {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.75}
    free = fixed | {"sampling_ratio": 0}
    return [
        Case("RoiAlign", inputs, fixed, (0, 1)),
        Case("RoiAlign", inputs, fixed | {"coordinate_transformation_mode": "output_half_pixel"}, (0,)),
        Case("RoiAlign", inputs, free),
        Case("RoiAlign", inputs, free | {"mode": "max"}),
        Case("RoiAlign", inputs, fixed | {"mode": "max"}),
    ]


CASES = [*_samples(), *_grids(), *_regions()]
