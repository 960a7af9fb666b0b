"""Resizing: along every axis by itself, by copying the nearest cell or by interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.dims import static
from portable_nn.core.errors import Fault, GraphError
from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    Array,
    Attr,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    Interval,
    KernelContext,
    Limit,
    Operator,
    OperatorContext,
    Portability,
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
from portable_nn.operators.spatial.resize_taps import (
    Taps,
    inside_of,
    matrix_of,
    moved_axes,
    nearest_of,
    sides_of,
    taps_of,
)

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
    (source, steps), goal = n.in_order(n.x[0].transpose(order), dtype), out.transpose(order)
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
    if 0 in n.output_shape():
        n.out()
        return []
    if nearest:
        moves = {axis: partial(_taking, nearest_of(n, sides[axis])) for axis in moved}
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
    computed = any(use.has(index) and use.type(index).constant is None for index in (2, 3))
    if use.string("coordinate_transformation_mode") == "tf_crop_and_resize" or use.types[0] is None or computed:
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
            x = emit("Gather", x, integers(nearest_of(use, sides[axis])), axis=axis)
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
    """True if some size becomes smaller; assumed where sizes are symbolic."""
    if shape is None:
        return True
    pairs = zip(use.type().shape, shape, strict=True)
    return any(isinstance(old, str) or isinstance(new, str) or new < old for old, new in pairs if old != new)


def _ratio_is_not_the_scale(use: OperatorContext, shape: Shape | None) -> bool:
    """True if a scale does not take the size of the input to a whole number."""
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
        portability=Portability(
            substitute=_substitute,
            limits=_LIMITS,
            since={("coordinate_transformation_mode", "half_pixel_symmetric"): 19},
            former_names=("Upsample",),
        ),
        receptive=_resize_fields,
        samples={2: Interval(1, 2), 3: Interval(1, 3)},
        unsized=lambda use: use.opened(  # Computed sizes or scales decide all axes that are resized.
            rank := len(use.type().shape), {axis % rank for axis in use.ints("axes") or range(rank)}
        ),
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
