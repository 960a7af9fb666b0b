"""Images read at places, and the places of affine maps, against PyTorch; and uses that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from misfits import Row, assert_refused, f, i, row_id
from torch_side import assert_same, ours, theirs

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit, integers, trace
from portable_nn.operators.differentiation import gradients

RNG = np.random.default_rng(3)
NAMES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 2, 3, 4, 5), (2, 3, 1, 5)])
def test_is_torchs_grid_sample(mode: str, padding: str, aligned: int, shape: tuple[int, ...]) -> None:
    """Far beyond the edges too; PyTorch has no cubics in volumes, and nothing flows to the places of the nearest."""
    if mode == "cubic" and len(shape) == 5:
        return
    axes = len(shape) - 2
    arrays = [RNG.normal(size=shape), RNG.uniform(-3, 3, (2, 4, 6, *[3] * (axes - 2), axes))]
    wrt = [0] if mode == "nearest" else [0, 1]
    options = {"mode": mode, "padding_mode": padding, "align_corners": aligned}

    def function(torch: object, x: object, grid: object) -> object:
        sample = torch.nn.functional.grid_sample  # type: ignore[attr-defined]
        return sample(x, grid, mode=NAMES[mode], padding_mode=padding, align_corners=bool(aligned))

    assert_same(ours("GridSample", arrays, wrt, **options), theirs(function, arrays, wrt))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "float16"])
def test_the_nearest_cell_of_every_element_type(dtype: str) -> None:
    x = RNG.integers(0, 100, (1, 1, 1, 4)).astype(dtype)
    grid = np.array([-0.75, -0.2, 0.3, 0.8, 1.3]).reshape(1, 1, 5, 1).repeat(2, 3).astype("float32")
    grid[..., 1] = 0
    [found] = ours("GridSample", [x, grid], mode="nearest")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.ravel(), [*x.ravel(), 0])


def test_half_precision() -> None:
    x, grid = RNG.normal(size=(1, 2, 4, 5)).astype("float16"), RNG.uniform(-1, 1, (1, 3, 3, 2)).astype("float16")
    [found] = ours("GridSample", [x, grid])
    [wide] = ours("GridSample", [x.astype("float64"), grid.astype("float64")])
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, wide, rtol=5e-3, atol=5e-3)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed")
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 1, 3), (2, 1, 3, 2, 4)])
@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_is_torchs_affine_grid(size: tuple[int, ...], aligned: int, dtype: str) -> None:
    axes = len(size) - 2
    theta = RNG.normal(size=(2, axes, axes + 1)).astype(dtype)
    wrt = [] if dtype == "float16" else [0]
    found = ours("AffineGrid", [theta, np.array(size)], wrt, known=[1], align_corners=aligned)

    def function(torch: object, theta: object) -> object:
        grid = torch.nn.functional.affine_grid  # type: ignore[attr-defined]
        return grid(theta, list(size), align_corners=bool(aligned))

    # PyTorch has not got all of it in half precision.
    wanted = theirs(function, [theta.astype("float64") if dtype == "float16" else theta], wrt)
    assert_same(found, [array.astype(dtype) for array in wanted], 2e-3 if dtype == "float16" else None)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_is_torchvisions_roi_align(aligned: bool, ratio: int, dtype: str) -> None:
    corners = RNG.uniform(-4, 20, (8, 2, 2))
    rois = np.concatenate([corners.min(1), corners.max(1)], 1).astype(dtype)
    x, indices = RNG.normal(size=(3, 4, 7, 9)).astype(dtype), RNG.integers(0, 3, 8)
    how = "half_pixel" if aligned else "output_half_pixel"
    wrt = [0] if ratio else []
    found = ours(
        "RoiAlign",
        [x, rois, indices],
        wrt,
        output_height=3,
        output_width=2,
        sampling_ratio=ratio,
        spatial_scale=0.5,
        coordinate_transformation_mode=how,
    )

    def function(torch: Any, x: Any) -> Any:
        vision = pytest.importorskip("torchvision")
        regions = torch.cat([torch.from_numpy(indices[:, np.newaxis]).to(x.dtype), torch.from_numpy(rois)], 1)
        return vision.ops.roi_align(x, regions, (3, 2), 0.5, ratio or -1, aligned)

    assert_same(found, theirs(function, [x], wrt), 1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    ("options", "reason"), [({"mode": "max"}, "the mode avg, not max"), ({}, "a sampling_ratio of 1 or more")]
)
def test_regions_without_a_gradient(options: dict[str, str], reason: str) -> None:
    x = f(1, 1, 3, 3)
    y = emit("RoiAlign", x, f(2, 4), Leaf(None, "int64", (2,)), name="here", **options)
    with pytest.raises(GraphError, match=rf"in older operators, and for its gradient, it needs {reason}$"):
        gradients([y], [y], [x])


@pytest.mark.parametrize("index", [-3, 2])
def test_an_image_that_is_not_in_the_batch_raises_an_error_while_it_runs(index: int) -> None:
    leaves = [Leaf("x", "float32", (2, 1, 3, 3)), Leaf("r", "float32", (1, 4)), Leaf("i", "int64", (1,))]
    plan = Plan(trace(leaves, [emit("RoiAlign", *leaves, name="here")]).graph, {}, {})
    plan.run()
    plan.inputs["i"][...] = index
    message = rf"^'here' \(RoiAlign\): batch index {index} is outside the batch of 2$"
    with pytest.raises(GraphError, match=message):
        plan.run()


MISFITS: list[Row] = [
    ("GridSample", [f(2, 3, 4, 5), f(2, 6, 7, 2)], {"mode": "bilinear"},
     "mode must be one of linear, nearest, cubic, not 'bilinear'"),
    ("GridSample", [f(2, 3, 4, 5), f(2, 6, 7, 2)], {"padding_mode": "edge"},
     "padding_mode must be one of zeros, border, reflection, not 'edge'"),
    ("GridSample", [f(2, 3), f(2, 0)], {}, "X must be (batch, channels, size, …), not (2, 3)"),
    ("GridSample", [f(2, 3, 4, 5), f(2, 6, 7, 3)], {},
     "grid must be (2, size 1, size 2, 2) for X (2, 3, 4, 5), not (2, 6, 7, 3)"),
    ("GridSample", [f(2, 3, 4, 5), f(1, 6, 7, 2)], {},
     "grid must be (2, size 1, size 2, 2) for X (2, 3, 4, 5), not (1, 6, 7, 2)"),
    ("GridSample", [f(2, 3, 0, 5), f(2, 6, 7, 2)], {}, "X (2, 3, 0, 5) has no cells to read"),
    ("GridSample", [Leaf(None, "int64", (2, 3, 4, 5)), f(2, 6, 7, 2)], {}, "it is not defined for int64"),
    ("RoiAlign", [f(2, 3, 4), f(2, 4), i(2)], {}, "X must be (batch, channels, height, width), not (2, 3, 4)"),
    ("RoiAlign", [f(2, 3, 4, 5), f(2, 5), i(2)], {},
     "rois must be float32 (2, 4), the corners x, y, x, y of each, not float32 (2, 5)"),
    ("RoiAlign", [f(2, 3, 4, 5), f(2, 4), i(3)], {},
     "batch_indices must be int64 (2,), one for each of rois, not int64 (3,)"),
    ("RoiAlign", [f(2, 3, 4, 5), f(2, 4), i(2)], {"mode": "sum"}, "mode must be avg or max, not 'sum'"),
    ("RoiAlign", [f(2, 3, 4, 5), f(2, 4), i(2)], {"output_width": 0}, "output_width must be 1 or more, not 0"),
    ("RoiAlign", [f(2, 3, 4, 5), f(2, 4), i(2)], {"sampling_ratio": -1}, "sampling_ratio must be 0 or more, not -1"),
    ("AffineGrid", [f(2, 2, 3), integers([2, 3, 4])], {},
     "size must be (batch, channels, …) of an image of 2 or 3 axes, not (2, 3, 4)"),
    ("AffineGrid", [f(2, 2, 3), integers([2, 3, -4, 5])], {}, "size must hold sizes of 0 or more, not (2, 3, -4, 5)"),
    ("AffineGrid", [f(2, 3, 4), integers([2, 3, 4, 5])], {},
     "theta must be (2, 2, 3) for images of size (2, 3, 4, 5), not (2, 3, 4)"),
    ("AffineGrid", [f(3, 2, 3), integers([2, 3, 4, 5])], {},
     "theta must be (2, 2, 3) for images of size (2, 3, 4, 5), not (3, 2, 3)"),
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)
