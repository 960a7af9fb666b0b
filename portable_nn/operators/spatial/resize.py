"""Resizing: along every axis by itself, by copying the nearest cell or by interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.dims import product, rounded_quotient, static
from portable_nn.core.errors import Fault, GraphError
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    NUMBERS,
    Array,
    Attr,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    KernelContext,
    Limit,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    constant,
    emit,
    format_shape,
    integers,
    lookup,
    memory_order,
    register,
    sizes,
    spread_fields,
)


class Side(NamedTuple):
    """How one axis is resized: from ``size`` cells to ``result``, ``size`` · ``scale`` before rounding.

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
"""Where the cells ``x`` of the result lie in the input, in cells."""

_NEAREST: Final[Mapping[str, Callable[[Array], Array]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5 - _TIE),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5 + _TIE),
    "floor": np.floor,
    "ceil": np.ceil,
}
_TIE: Final = 1e-6
"""How near the middle between two cells counts as the middle: onnxruntime's number."""


def _linear(distance: Array, a: float) -> Array:
    return np.asarray(np.maximum(0, 1 - distance))


def _cubic(distance: Array, a: float) -> Array:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), equation 4."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


_FILTERS: Final[Mapping[str, tuple[int, Callable[[Array, float], Array]]]] = {
    "linear": (1, _linear),
    "cubic": (2, _cubic),
}
"""The radius of each mode's interpolation kernel, and the weight of a cell by its distance."""

_CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "mode": ("nearest", *_FILTERS),
    "coordinate_transformation_mode": tuple(_COORDINATES),
    "nearest_mode": tuple(_NEAREST),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
}


# -- sizes


def sides_of(use: OperatorContext, shape: Shape) -> list[Side]:
    """How each axis of an input of ``shape`` is resized."""
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
    """Whether an input is given; older exporters write an empty list for one that is not."""
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


# -- weights


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
        return Taps(rows, _nearest(use, side)[inside], np.ones(len(rows)))
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
    """Which cells of the result are inside the input; the others are ``extrapolation_value``."""
    assert isinstance(side.size, int)
    found = _coordinates(use, side, "float32")
    if use.string("coordinate_transformation_mode") != "tf_crop_and_resize":
        return np.ones(found.shape, np.bool_)
    return (found >= 0) & (found <= side.size - 1)


def _nearest(use: OperatorContext, side: Side) -> Array:
    """The index of the input cell that each cell of the result copies.

    In single precision, as onnxruntime has it: where a coordinate is a whole number but for rounding, ``floor`` and
    ``ceil`` depend on that.
    """
    assert isinstance(side.size, int)
    found = _coordinates(use, side, "float32").astype(np.float64)
    return np.clip(_NEAREST[use.string("nearest_mode")](found), 0, side.size - 1).astype(np.intp)


def nearest_cells(size: int, result: int, scale: float, attributes: Mapping[str, Any]) -> Array:
    """The cell that a Resize with mode ``nearest`` and these attributes copies to each of ``result`` cells."""
    return _nearest(OperatorContext(lookup("Resize"), [], attributes), Side(size, result, scale))


def along_axes(use: OperatorContext) -> dict[int, Array]:
    """What a use does along each axis that it resizes, of known sizes: the matrix (result, size) of its weights.

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
        found[axis] = _nearest(use, side) if nearest else matrix_of(taps_of(use, side), (result, size))
    return found


def matrix_of(taps: Taps, shape: tuple[int, int]) -> Array:
    """An interpolation matrix (result, size)."""
    matrix = np.zeros(shape)
    np.add.at(matrix, (taps.rows, taps.columns), taps.weights)
    return matrix


# -- kernels


Move: TypeAlias = Callable[[Array, Array], list[Step]]
"""Steps that write (before, result, behind) from (before, size, behind), both contiguous by rows."""


def _is_doubling(index: Array, size: Dim) -> bool:
    return isinstance(size, int) and np.array_equal(index, np.arange(2 * size) // 2)


def _taking(index: Array, x: Array, y: Array) -> list[Step]:
    """Copies by index; two with strides are faster where the cells run fastest in memory and each is doubled."""
    if x.shape[2] == 1 and _is_doubling(index, x.shape[1]):
        return [partial(np.copyto, y[:, start::2], x) for start in (0, 1)]
    return [partial(np.take, x, index, axis=1, out=y, mode="clip")]


def _halving(x: Array, y: Array) -> list[Step]:
    """The sums of neighbours: the gradient of doubling."""
    return [partial(np.add, x[:, 0::2], x[:, 1::2], out=y)]


def _multiplying(taps: Taps, x: Array, y: Array) -> list[Step]:
    """A product with the matrix of ``taps`` in blocks that hold its band: rows, and all columns that they need.

    That is several times faster than weighing and adding one tap after the other. A cell that is not a number spreads
    over its block.
    """
    size, result = x.shape[1], y.shape[1]
    height = max(4, 64 * result // max(1, size + result))
    by_row = np.argsort(taps.rows, kind="stable")
    rows, columns, weights = (part[by_row] for part in taps)
    steps: list[Step] = []
    for top in range(0, result, height):
        bottom = min(top + height, result)
        part = slice(*np.searchsorted(rows, [top, bottom]))
        left, right = (columns[part].min(), columns[part].max() + 1) if part.start < part.stop else (0, 0)
        block = Taps(rows[part] - top, columns[part] - left, weights[part])
        matrix = matrix_of(block, (bottom - top, right - left)).astype(x.dtype)
        if x.shape[2] == 1:
            turned = np.ascontiguousarray(matrix.T)
            steps.append(partial(np.matmul, x[:, left:right, 0], turned, out=y[:, top:bottom, 0]))
        else:
            steps.append(partial(np.matmul, matrix, x[:, left:right], out=y[:, top:bottom]))
    return steps


def _along_axes(n: KernelContext, moves: Mapping[int, Move], dtype: Any) -> tuple[Array, list[Step]]:
    """The output, and steps that take the input there by one move after another, computed in ``dtype``.

    Axes that shrink come first, those that grow last; of these, the one that runs slowest in memory, which is the
    cheapest to copy, last of all.
    """
    order = memory_order(n.x[0])
    out = n.out(order=order)
    source, goal = n.x[0].transpose(order), out.transpose(order)
    steps: list[Step] = []
    if source.dtype != dtype or not source.flags.c_contiguous:
        copy = n.scratch(source.shape, dtype)
        steps.append(partial(np.copyto, copy, source))
        source = copy
    growing = [place for place in range(len(order)) if goal.shape[place] >= source.shape[place]]
    shrinking = [place for place in range(len(order)) if place not in growing]
    places = [place for place in [*shrinking, *reversed(growing)] if order[place] in moves]
    for place in places:
        shape = (*source.shape[:place], goal.shape[place], *source.shape[place + 1 :])
        target = goal if place == places[-1] and dtype == goal.dtype else n.scratch(shape, dtype)
        steps += moves[order[place]](_around(source, place), _around(target, place))
        source = target
    if source is not goal:
        steps.append(partial(np.copyto, goal, source))
    return out, steps


def _around(array: Array, axis: int) -> Array:
    """(before, axis, behind)"""
    before, behind = math.prod(array.shape[:axis]), math.prod(array.shape[axis + 1 :])
    return array.reshape(before, array.shape[axis], behind)


def _working_dtype(n: KernelContext, *, copies: bool) -> Any:
    """BLAS has no half precision."""
    return np.dtype(np.float32) if n.x[0].dtype == np.float16 and not copies else n.x[0].dtype


def _resize(n: KernelContext) -> list[Step]:
    sides, nearest = sides_of(n, n.type().shape), n.string("mode") == "nearest"
    moved = moved_axes(sides)
    if not moved:
        n.view(n.x[0])
        return []
    if nearest:
        moves = {axis: partial(_taking, _nearest(n, sides[axis])) for axis in moved}
    else:
        moves = {axis: partial(_multiplying, taps_of(n, sides[axis])) for axis in moved}
    out, steps = _along_axes(n, moves, _working_dtype(n, copies=nearest))
    for axis in moved:
        inside = np.flatnonzero(inside_of(n, sides[axis]))
        edges = [slice(0, inside[0]), slice(inside[-1] + 1, None)] if len(inside) else [slice(None)]
        for edge in edges:
            outside = out[(slice(None),) * axis + (edge,)]
            if outside.size:
                steps.append(partial(outside.fill, n.float("extrapolation_value")))
    return steps


def _places(n: GradientContext) -> list[Symbol | None]:
    """The inputs roi, scales and sizes."""
    return [n.x[index] if n.has(index) else None for index in (1, 2, 3)]


def _resize_gradient(n: GradientContext) -> list[Symbol | None]:
    attributes = {name: value for name, value in n.attributes.items() if name != "extrapolation_value"}
    return [emit("ResizeGrad", n.dy, *_places(n), sizes(n.x[0]), domain=INTERNAL, **attributes)]


def _resize_grad_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    shape = use.constant(4)
    results = tuple(side.result for side in sides_of(use, shape))
    if results != use.type().shape:
        use.fail(f"an input of {format_shape(shape)} is resized to {format_shape(results)}, not {use.type()}")
    return use.like(shape)


def _resize_grad(n: KernelContext) -> list[Step]:
    """Along each axis, a product with the transposed matrix."""
    sides = sides_of(n, n.constant(4))
    moves: dict[int, Move] = {}
    for axis in moved_axes(sides):
        size, result, *_ = sides[axis]
        rows, columns, weights = taps_of(n, sides[axis])
        doubled = n.string("mode") == "nearest" and len(rows) == result and _is_doubling(columns, size)
        moves[axis] = _halving if doubled else partial(_multiplying, Taps(columns, rows, weights))
    if not moves:
        n.view(n.x[0])
        return []
    return _along_axes(n, moves, _working_dtype(n, copies=False))[1]


def _resize_grad_lowering(dy: Symbol, *inputs: Symbol | None, **attributes: Any) -> Symbol:
    """A product with the interpolation matrix along each axis."""
    use = OperatorContext(
        lookup("ResizeGrad", INTERNAL), [value.type if value else None for value in (dy, *inputs)], attributes
    )
    sides = sides_of(use, use.constant(4))
    for axis in moved_axes(sides):
        size, result, *_ = sides[axis]
        if not isinstance(size, int) or not isinstance(result, int):
            reason = f"the gradient of Resize needs the size of axis {axis} in standard operators"
            raise GraphError([Fault("", f"{reason}, and it is the unknown {size}")])
        dy = _multiplied(dy, axis, matrix_of(taps_of(use, sides[axis]), (result, size)))
    return dy


def _multiplied(x: Symbol, axis: int, matrix: Array) -> Symbol:
    """The product of ``x`` along ``axis`` with the rows of ``matrix``."""
    order = [*range(len(x.shape))]
    order[axis], order[-1] = order[-1], order[axis]
    last = axis == len(order) - 1
    turned = x if last else emit("Transpose", x, perm=order)
    product = turned @ constant(matrix, x.dtype)
    return product if last else emit("Transpose", product, perm=order)


def _substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime copies an input whose sizes all stay as they are, although the scales may move the cells."""
    if use.string("coordinate_transformation_mode") == "tf_crop_and_resize" or use.types[0] is None:
        return None
    sides = sides_of(use, use.type().shape)
    moved = moved_axes(sides)
    stay = all(side.size == side.result for side in sides) and all(isinstance(sides[axis].size, int) for axis in moved)
    return _moved_cells if stay and moved else None


def _moved_cells(x: Symbol, *inputs: Symbol | None, **attributes: Any) -> Symbol:
    use = OperatorContext(lookup("Resize"), [value.type if value else None for value in (x, *inputs)], attributes)
    sides = sides_of(use, x.shape)
    for axis in moved_axes(sides):
        size, result, *_ = sides[axis]
        assert isinstance(size, int)
        assert isinstance(result, int)
        if use.string("mode") == "nearest":
            x = emit("Gather", x, integers(_nearest(use, sides[axis])), axis=axis)
        else:
            x = _multiplied(x, axis, matrix_of(taps_of(use, sides[axis]), (result, size)).T)
    return x


_ATTRIBUTES: Final[Mapping[str, Attr]] = {
    "antialias": Attr(int, 0),
    "axes": Attr(tuple),
    "coordinate_transformation_mode": Attr(str, "half_pixel"),
    "cubic_coeff_a": Attr(float, -0.75),
    "exclude_outside": Attr(int, 0),
    "mode": Attr(str, "nearest", spelled=True),  # OpenCV 5.0 needs it, MNN 3.6 takes another.
    "keep_aspect_ratio_policy": Attr(str, "stretch"),
    "nearest_mode": Attr(str, "round_prefer_floor"),
}


def _resize_fields(use: FieldContext) -> Fields | None:
    """Known where all sizes are multiplied by whole numbers."""
    mode, coordinates = use.get("mode", "nearest"), use.get("coordinate_transformation_mode", "half_pixel")
    if mode not in {"nearest", "linear"} or (mode == "linear" and not str(coordinates).endswith("half_pixel")):
        return None
    before, after = static(use.input[2:]), static(use.output[2:])
    if not before or not after or any(new % old for old, new in zip(before, after, strict=True)):
        return None
    factors = [new // old for old, new in zip(before, after, strict=True)]
    return spread_fields(use, factors, smooth=mode == "linear")


def _shrinks(use: OperatorContext, shape: Shape | None) -> bool:
    """Whether some size becomes smaller; assumed where sizes are symbolic."""
    if shape is None:
        return True
    pairs = zip(use.type().shape, shape, strict=True)
    return any(isinstance(old, str) or isinstance(new, str) or new < old for old, new in pairs if old != new)


def _ratio_is_not_the_scale(use: OperatorContext, shape: Shape | None) -> bool:
    """Whether a scale does not take the size of the input to a whole number."""
    scales = use.type(2).constant if use.has(2) else None
    pairs = zip(use.type().shape, scales or (), strict=False)
    return any(
        isinstance(dim, int) and not isinstance(scale, str) and abs(dim * scale - round(dim * scale)) > 1e-3
        for dim, scale in pairs
    )


_PLAIN_MODES: Final = frozenset({"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"})
"""The coordinate modes that all runtimes implement in the same way."""

_LIMITS: Final = (
    Limit(
        "antialias",
        lambda use, shape: bool(use.int("antialias")) and _shrinks(use, shape),
        "OpenCV 5.0 and OpenVINO 2026.4 ignore it",
        "blur before, with a convolution",
    ),
    Limit(
        "coordinate_transformation_mode",
        lambda use, shape: use.string("coordinate_transformation_mode") not in _PLAIN_MODES,
        "OpenVINO 2026.4 refuses it, OpenCV 5.0 refuses it or takes another",
        f"all runtimes have {', '.join(sorted(_PLAIN_MODES))}",
    ),
    Limit(
        "exclude_outside",
        lambda use, shape: bool(use.int("exclude_outside")),
        "OpenVINO 2026.4 ignores it, onnxruntime 1.32 has it for cubic alone",
        "leave it out",
    ),
    Limit(
        "keep_aspect_ratio_policy",
        lambda use, shape: use.string("keep_aspect_ratio_policy") != "stretch",
        "OpenCV 5.0 and OpenVINO 2026.4 ignore it",
        "give the output sizes",
    ),
    Limit(
        "scales",
        _ratio_is_not_the_scale,
        "where size times scale is not whole, OpenCV 5.0 takes the ratio of the sizes for the scale",
        "give sizes instead",
    ),
)

register(
    Operator(
        "Resize",
        ("X", "roi?", "scales?", "sizes?"),
        lambda use: use.like(side.result for side in sides_of(use, use.type().shape)),
        _resize,
        _resize_gradient,
        {**_ATTRIBUTES, "extrapolation_value": Attr(float, 0.0)},
        outputs=("Y",),
        settings=(1, 2),
        substitute=_substitute,
        receptive=_resize_fields,
        limits=_LIMITS,
        since={("coordinate_transformation_mode", "half_pixel_symmetric"): 19},
        former_names=("Upsample",),
    )
)
register(
    Operator(
        "ResizeGrad",
        ("dY", "roi?", "scales?", "sizes?", "shape"),
        _resize_grad_type,
        _resize_grad,
        lambda n: [emit("Resize", n.dy, *_places(n), **n.attributes)],
        _ATTRIBUTES,
        outputs=("dX",),
        domain=INTERNAL,
        lowering=_resize_grad_lowering,
    )
)
