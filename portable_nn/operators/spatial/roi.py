"""Regions of interest: rectangles of an image, each averaged down to a grid of a few cells.

He et al., "Mask R-CNN" (ICCV 2017), section 3. A mean of interpolated points is a product with a matrix along each
axis, of which there is one for each region.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NoReturn

import numpy as np

from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.limits import COMPUTED, excess
from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    cast,
    constant,
    count_up,
    emit,
    emit_all,
    format_shape,
    integers,
    register,
    size_of,
    sizes,
)


def _type(use: OperatorContext) -> Type:
    x, rois = use.type(0), use.type(1)
    use.check_dtype(x.dtype, FLOATS)
    use.choice("mode", ("avg", "max"))
    use.choice("coordinate_transformation_mode", ("half_pixel", "output_half_pixel"))
    height, width = use.at_least("output_height"), use.at_least("output_width")
    use.at_least("sampling_ratio", 0)
    if len(x.shape) != 4:
        use.fail(f"X must be (batch, channels, height, width), not {format_shape(x.shape)}")
    count = rois.shape[0] if rois.shape else 0
    use.expect(1, use.like((count, 4)), ", the corners x, y, x, y of each")
    use.expect(2, Type("int64", (count,)), ", one for each of rois")
    return use.like((count, x.shape[1], height, width))


def _points(start: float, extent: float, cells: int, size: int, ratio: int) -> tuple[Array, Array]:
    """The sampling points on an axis of ``size`` cells for each of ``cells`` of the result, and which are inside."""
    count = ratio or max(0, int(np.ceil(extent / cells)))
    points = start + (np.arange(cells)[:, np.newaxis] + (np.arange(count) + 0.5) / max(count, 1)) * (extent / cells)
    return np.clip(points, 0, size - 1), (points >= -1) & (points <= size)


def _weights(points: Array, inside: Array, size: int) -> Array:
    """The share that each cell has in each point: (cells of the result, points, size)."""
    distance = np.abs(points[..., np.newaxis] - np.arange(size))
    return np.asarray(np.maximum(0, 1 - distance) * inside[..., np.newaxis])


def _align(n: KernelContext) -> list[Step]:
    """Region after region."""
    x, rois, indices, out = n.x[0], n.x[1], n.x[2], n.out()
    shape, cells = x.shape[2:], out.shape[2:]
    # BLAS has no half precision.
    dtype = np.promote_types(x.dtype, np.float32)
    shift = 0.5 if n.string("coordinate_transformation_mode") == "half_pixel" else 0.0
    least = -np.inf if shift else 1.0  # Without the shift, a region that is too small is one cell.
    ratio, mean, scale = n.int("sampling_ratio"), n.string("mode") == "avg", n.float("spatial_scale")

    def read(number: int, region: Array) -> list[tuple[Array, Array]]:
        if not np.isfinite(region).all():
            n.fail(f"region {number} is not finite")
        found, counts = [], [1 if mean else x.shape[1]]
        for axis in (0, 1):
            start, end = (float(region[place]) * scale - shift for place in (1 - axis, 3 - axis))
            extent = max(end - start, least)
            counts.append(int(cells[axis] * (ratio or np.ceil(max(0.0, extent) / cells[axis]))))
            claimed = 8 * (counts[-1] * shape[axis] if mean else math.prod(counts))
            if fault := excess(claimed, x.nbytes, COMPUTED):  # A region may be of any size.
                n.fail(f"region {number} {fault}")
            found.append(_points(start, extent, cells[axis], shape[axis], ratio))
        return found

    def run() -> None:
        for number, region in enumerate(rois):
            if not -len(x) <= (index := int(indices[number])) < len(x):
                n.fail(f"batch index {index} is outside the batch of {len(x)}")
            rows, columns = read(number, region)
            out[number] = (_mean if mean else _largest)(x[index].astype(dtype, copy=False), rows, columns)

    return [run] if out.size else []


def _mean(image: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    """The mean of all points, from that part of the image which has a share in one."""
    weights = [_weights(*points, size) for points, size in zip((rows, columns), image.shape[1:], strict=True)]
    down, across = (_part(each) for each in weights)
    left, right = (each.sum(1) / max(each.shape[1], 1) for each in weights)
    found: Array = left[:, down].astype(image.dtype) @ image[:, down, across] @ right[:, across].T.astype(image.dtype)
    return found


def _part(weights: Array) -> slice:
    """The cells of an axis that have a share in anything."""
    used = np.flatnonzero(weights.any((0, 1)))
    return slice(used[0], used[-1] + 1) if len(used) else slice(0, 1)


def _corners(points: Array, inside: Array, size: int) -> list[tuple[Array, Array]]:
    """The two cells around each point, and their shares."""
    low = np.floor(points).astype(np.intp).ravel()
    share = points.ravel() - low
    return [(low, (1 - share) * inside.ravel()), (np.minimum(low + 1, size - 1), share * inside.ravel())]


def _largest(image: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    """The largest share of one of the four cells around a point, as the standard has it: not the largest mean."""
    (height, down), (width, across) = rows[0].shape, columns[0].shape
    if not down * across:
        return np.zeros((len(image), height, width), image.dtype)
    sides = [_corners(*points, size) for points, size in zip((rows, columns), image.shape[1:], strict=True)]
    shares = [
        image[:, y][:, :, x] * np.multiply.outer(of_y, of_x) for (y, of_y), (x, of_x) in product(sides[0], sides[1])
    ]
    return np.asarray(np.max(shares, axis=0).reshape(len(image), height, down, width, across).max((2, 4)))


# -- lowering, for a number of sampling points that does not depend on the region


def _refuse(reason: str) -> NoReturn:
    raise GraphError([Fault("", f"in older operators, and for its gradient, it needs {reason}")])


def _lowering(
    x: Symbol,
    rois: Symbol,
    indices: Symbol,
    *,
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    mode: str = "avg",
    coordinate_transformation_mode: str = "half_pixel",
) -> Symbol:
    if mode != "avg":
        _refuse("the mode avg, not max")
    if not sampling_ratio:
        _refuse("a sampling_ratio of 1 or more")
    dtype, shift = x.dtype, 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    columns = emit_all("Split", rois, integers([1] * 4), axis=1, outputs=4)
    left, top, right, bottom = (part * spatial_scale - shift for part in columns)
    matrices = []
    for start, end, cells, axis in ((top, bottom, output_height, 2), (left, right, output_width, 3)):
        extent = end - start
        if not shift:
            extent = emit("Max", extent, constant(1.0, dtype))
        shares = (np.arange(cells * sampling_ratio) + 0.5) / (sampling_ratio * cells)
        matrices.append(_matrix(x, start + extent * constant(shares, dtype), axis, cells))
    images = emit("Gather", x, indices, axis=0)
    down, across = (emit("Unsqueeze", matrix, integers([1])) for matrix in matrices)
    return down @ images @ emit("Transpose", across, perm=[0, 1, 3, 2])


def _matrix(x: Symbol, points: Symbol, axis: int, cells: int) -> Symbol:
    """(regions, cells, size) from points (regions, cells · points of each)."""
    dtype, size = x.dtype, x.shape[axis]
    if isinstance(size, int):
        places, whole = constant(np.arange(size), dtype), constant(size, dtype)
    else:
        count = size_of(x, axis)
        places = cast(count_up(count), dtype)
        whole = cast(count, dtype)
    outside = emit("Or", emit("Less", points, constant(-1.0, dtype)), emit("Greater", points, whole))
    near = emit("Min", emit("Max", points, constant(0.0, dtype)), whole - 1)
    weights = emit("Relu", 1 - emit("Abs", emit("Unsqueeze", near, integers([2])) - places))
    weights = emit("Where", emit("Unsqueeze", outside, integers([2])), constant(0.0, dtype), weights)
    by_cell = emit("Reshape", weights, emit("Concat", integers([0, cells, -1]), sizes(x, [axis]), axis=0))
    return emit("ReduceMean", by_cell, integers([2]), keepdims=0)


register(
    Operator(
        "RoiAlign",
        ("X", "rois", "batch_indices"),
        _type,
        _align,
        "lowering",
        {
            "coordinate_transformation_mode": Attr(str, "half_pixel"),
            "mode": Attr(str, "avg"),
            "output_height": Attr(int, 1),
            "output_width": Attr(int, 1),
            "sampling_ratio": Attr(int, 0),
            "spatial_scale": Attr(float, 1.0),
        },
        outputs=("Y",),
        lowering=_lowering,
        family="reduction",
        indexes={2: lambda use: use.type().shape[:1]},
        visits=lambda use, y: (*y, use.int("sampling_ratio"), use.int("sampling_ratio")),
    )
)
