"""Sizes and weights of a resize: how many cells each axis has, and which cells of the input each of them takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.dims import product, rounded_quotient
from portable_nn.operators.base import (
    FLOATS,
    NUMBERS,
    Array,
    Dim,
    OperatorContext,
    Shape,
    Symbol,
    constant,
    emit,
    format_shape,
    lookup,
)


class Side(NamedTuple):
    """The resizing of one axis: from ``size`` cells to ``result``, ``size`` · ``scale`` before rounding.

    ``start`` and ``end`` are its region of interest, as shares of the axis.
    """

    size: Dim
    result: Dim
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0


_COORDINATES: Final[Mapping[str, Callable[[Array, Any], Array]]] = {
    "half_pixel": lambda x, a: (x + 0.5) / a.scale - 0.5,
    "half_pixel_symmetric": lambda x, a: a.size / 2 * (1 - a.result / (a.scale * a.size)) + (x + 0.5) / a.scale - 0.5,
    "pytorch_half_pixel": lambda x, a: (x + 0.5) / a.scale - 0.5 if a.result > 1 else x * 0,
    "align_corners": lambda x, a: x * (a.size - 1) / (a.result - 1) if a.result > 1 else x * 0,
    "asymmetric": lambda x, a: x / a.scale,
    "tf_crop_and_resize": lambda x, a: (
        a.start * (a.size - 1) + x * (a.end - a.start) * (a.size - 1) / (a.result - 1)
        if a.result > 1
        else x * 0 + 0.5 * (a.start + a.end) * (a.size - 1)
    ),
}
"""The places in the input of the cells ``x`` of the result, in cells."""

_NEAREST: Final[Mapping[str, Callable[[Array], Array]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5 - _TIE),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5 + _TIE),
    "floor": np.floor,
    "ceil": np.ceil,
}
_TIE: Final = 1e-6
"""The distance from the middle between two cells that counts as the middle: onnxruntime's number."""


def _cubic(distance: Array, a: float) -> Array:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), equation 4."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


_FILTERS: Final[Mapping[str, tuple[int, Callable[[Array, float], Array]]]] = {
    "linear": (1, lambda distance, a: np.asarray(np.maximum(0, 1 - distance))),
    "cubic": (2, _cubic),
}
"""The radius of each mode's interpolation kernel, and the weight of a cell by its distance."""

_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "mode": ("nearest", *_FILTERS),
    "coordinate_transformation_mode": tuple(_COORDINATES),
    "nearest_mode": tuple(_NEAREST),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
}


def sides_of(use: OperatorContext, shape: Shape) -> list[Side]:
    """The resizing of each axis of an input of ``shape``."""
    _check_options(use)
    rank = len(shape)
    axes = [use.axis(axis, rank) for axis in use.ints("axes") or range(rank)]
    use.axes(axes, rank)
    by_scales, by_sizes = _given(use, 2), _given(use, 3)
    if by_scales == by_sizes:
        use.fail(f"it takes either scales or sizes, not {'both' if by_scales else 'none of them'}")
    dims = [shape[axis] for axis in axes]
    found = _scaled(use, dims) if by_scales else _sized(use, dims)
    if use.string("coordinate_transformation_mode") == "tf_crop_and_resize":
        regions = use.floats(1)
        if len(regions) != 2 * len(axes):
            use.fail(f"roi must have {2 * len(axes)} numbers for {len(axes)} axes, not {len(regions)}")
        edges = zip(found, regions[: len(axes)], regions[len(axes) :], strict=True)
        found = [side._replace(start=start, end=end) for side, start, end in edges]
    elif use.has(1):
        use.check_dtype(use.type(1).dtype, FLOATS)
    sides = [Side(dim, dim) for dim in shape]
    for axis, side in zip(axes, found, strict=True):
        if side.size == 0 != side.result:
            use.fail(f"axis {axis} is empty and cannot be resized to {side.result}")
        sides[axis] = side
    return sides


def _check_options(use: OperatorContext) -> None:
    for name, allowed in _CHOICES.items():
        use.choice(name, allowed)
    mode, dtype = use.string("mode"), use.type().dtype
    use.check_dtype(dtype, NUMBERS)
    if mode != "nearest" and dtype not in FLOATS:
        use.fail(f"mode '{mode}' is defined for floats only, not {dtype}: runtimes round it in different ways; cast it")
    if mode == "nearest" and use.int("antialias"):
        use.fail("antialias goes with the modes linear and cubic, not with nearest")


def _given(use: OperatorContext, index: int) -> bool:
    """True if an input is given; older exporters write an empty list for one that is not."""
    return use.has(index) and use.type(index).shape != (0,)


def _scaled(use: OperatorContext, dims: Sequence[Dim]) -> list[Side]:
    scales = use.floats(2, {"float32"})
    if len(scales) != len(dims):
        use.fail(f"{len(dims)} axes need {len(dims)} scales, not {len(scales)}")
    if not all(0 < scale < 2**31 for scale in scales):
        use.fail(f"scales must be positive numbers, not {scales}")
    return [Side(dim, _scaled_size(dim, scale), scale) for dim, scale in zip(dims, scales, strict=True)]


def _scaled_size(dim: Dim, scale: float) -> Dim:
    """floor(size · scale), or its name.

    In single precision, as onnxruntime has it: 10 · 0.7 is 7, which it is in PyTorch too. ONNX's own inference, which
    multiplies the nearest single of 0.7 exactly, says 6. None of them multiplies by the extent of the region of
    interest, as the standard would.
    """
    if isinstance(dim, int):
        return int(np.float32(dim) * np.float32(scale))
    if scale == int(scale):
        return product([int(scale), dim])
    divisor = 1 / scale
    if divisor == int(divisor):
        return rounded_quotient("floor", dim, int(divisor))
    return f"floor({np.float32(scale)!s}*({dim}))"


def _sized(use: OperatorContext, dims: Sequence[Dim]) -> list[Side]:
    wanted, policy = use.constant(3), use.string("keep_aspect_ratio_policy")
    if len(wanted) != len(dims):
        use.fail(f"{len(dims)} axes need {len(dims)} sizes, not {len(wanted)}")
    pairs = [(w, d) for w, d in zip(wanted, dims, strict=True) if isinstance(w, int) and isinstance(d, int)]
    if any(size < 0 for size, _ in pairs):
        use.fail(f"sizes must be 0 or more, not {format_shape(wanted)}")
    if policy == "stretch":
        return [Side(dim, size, _ratio(size, dim)) for size, dim in zip(wanted, dims, strict=True)]
    if len(pairs) < len(dims):
        unknown = format_shape(tuple(dims))
        use.fail(f"keep_aspect_ratio_policy '{policy}' needs axes of known sizes, not {unknown}")
    scale = (min if policy == "not_larger" else max)((_ratio(*pair) for pair in pairs), default=1.0)
    return [Side(dim, math.floor(float(np.float32(scale) * np.float32(dim)) + 0.5), scale) for _, dim in pairs]


def _ratio(result: Dim, size: Dim) -> float:
    """The scale of an axis; 1 where a size is symbolic or 0."""
    return result / size if isinstance(result, int) and isinstance(size, int) and size else 1.0


def moved_axes(sides: Sequence[Side]) -> list[int]:
    """The axes that are resized."""
    return [axis for axis, side in enumerate(sides) if side.size and side != Side(side.size, side.size)]


class Taps(NamedTuple):
    """An interpolation matrix (result, size) by its elements that are not 0."""

    rows: Array
    columns: Array
    weights: Array


def taps_of(use: OperatorContext, side: Side) -> Taps:
    """The interpolation weights along one axis."""
    assert isinstance(side.size, int)
    assert isinstance(side.result, int)
    inside = inside_of(use, side)
    if use.string("mode") == "nearest":
        rows = np.arange(side.result)[inside]
        return Taps(rows, nearest_of(use, side)[inside], np.ones(len(rows)))
    reach, weigh = _FILTERS[use.string("mode")]
    stretch = max(1.0, 1 / side.scale) if use.int("antialias") else 1.0
    reach = math.ceil(reach * stretch)
    centres = _coordinates(use, side, "float64")[:, np.newaxis]
    places = np.floor(centres).astype(np.int64) + np.arange(1 - reach, reach + 1)
    weights = weigh(np.abs(places - centres) / stretch, use.float("cubic_coeff_a"))
    if use.int("exclude_outside"):
        weights *= (places >= 0) & (places < side.size)
    totals = weights.sum(axis=1, keepdims=True)
    weights *= inside[:, np.newaxis] / np.where(totals == 0, 1, totals)
    rows, tap = np.nonzero(weights)
    return Taps(rows, np.clip(places, 0, side.size - 1)[rows, tap], weights[rows, tap])


def _coordinates(use: OperatorContext, side: Side, dtype: str) -> Array:
    assert isinstance(side.result, int)
    return _COORDINATES[use.string("coordinate_transformation_mode")](np.arange(side.result).astype(dtype), side)


def inside_of(use: OperatorContext, side: Side) -> Array:
    """True for the cells of the result that are inside the input; the others are ``extrapolation_value``."""
    assert isinstance(side.size, int)
    found = _coordinates(use, side, "float32")
    if use.string("coordinate_transformation_mode") != "tf_crop_and_resize":
        return np.ones(found.shape, np.bool_)
    return (found >= 0) & (found <= side.size - 1)


def nearest_of(use: OperatorContext, side: Side) -> Array:
    """The index of the input cell that each cell of the result copies.

    In single precision, as onnxruntime has it: where a coordinate is a whole number but for rounding, ``floor`` and
    ``ceil`` depend on that.
    """
    assert isinstance(side.size, int)
    found = _coordinates(use, side, "float32").astype(np.float64)
    return np.clip(_NEAREST[use.string("nearest_mode")](found), 0, side.size - 1).astype(np.intp)


def nearest_cells(size: int, result: int, scale: float, attributes: Mapping[str, Any]) -> Array:
    """The cell that a Resize with mode ``nearest`` and these attributes copies to each of ``result`` cells."""
    return nearest_of(OperatorContext(lookup("Resize"), [], attributes), Side(size, result, scale))


def along_axes(use: OperatorContext) -> dict[int, Array]:
    """The weights of a use along each axis that it resizes, of known sizes: a matrix (result, size).

    With the mode ``nearest``, the index of the cell that each cell of the result copies. Fails where cells of the
    result are outside the input.
    """
    found = dict[int, Array]()
    sides = sides_of(use, use.type().shape)
    for axis in moved_axes(sides):
        size, result, *_ = side = sides[axis]
        if not isinstance(size, int) or not isinstance(result, int):
            use.fail(f"axis {axis} has an open size")
        if not inside_of(use, side).all():
            use.fail(f"cells along axis {axis} are outside the input")
        nearest = use.string("mode") == "nearest"
        found[axis] = nearest_of(use, side) if nearest else matrix_of(taps_of(use, side), (result, size))
    return found


def resized(use: OperatorContext, x: Symbol, *_: Symbol | None, **__: Any) -> Symbol:
    """A Resize as cells that are taken, or products with a matrix of weights, along each axis.

    Fails where ``along_axes`` does.
    """
    for axis, moved in along_axes(use).items():
        if moved.ndim == 1:
            x = emit("Gather", x, constant(moved.astype(np.int64), "int64"), axis=axis)
            continue
        order = list(range(len(x.shape)))
        order[axis], order[-1] = order[-1], order[axis]
        turned = x if axis == order[axis] else emit("Transpose", x, perm=order)
        made = emit("MatMul", turned, constant(moved.T.astype(x.dtype), x.dtype))
        x = made if axis == order[axis] else emit("Transpose", made, perm=order)
    return emit("Identity", x)


def matrix_of(taps: Taps, shape: tuple[int, int]) -> Array:
    """An interpolation matrix (result, size)."""
    matrix = np.zeros(shape)
    np.add.at(matrix, (taps.rows, taps.columns), taps.weights)
    return matrix
