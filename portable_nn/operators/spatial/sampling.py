"""Sampling an image at points between its cells, and the points that an affine map gives.

Jaderberg et al., "Spatial transformer networks" (NeurIPS 2015). Coordinates are relative to the image, -1 to 1 along
each axis, the last axis first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.dims import OPEN
from portable_nn.operators.base import (
    ALL,
    FLOATS,
    NUMBERS,
    Array,
    Attr,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
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
    like,
    register,
    size_of,
    sizes,
)

# -- AffineGrid


def _grid_sizes(use: OperatorContext) -> Shape:
    """The spatial sizes of the image."""
    theta, size = use.type(), use.constant(1)
    use.check_dtype(theta.dtype, FLOATS)
    axes = len(size) - 2
    if axes not in {2, 3}:
        use.fail(f"size must be (batch, channels, …) of an image of 2 or 3 axes, not {format_shape(size)}")
    if min((dim for dim in size if isinstance(dim, int)), default=0) < 0:
        use.fail(f"size must hold sizes of 0 or more, not {format_shape(size)}")
    batch = theta.shape[0] if theta.shape else 0
    differ = isinstance(batch, int) and isinstance(size[0], int) and batch != size[0]
    if len(theta.shape) != 3 or theta.shape[1:] != (axes, axes + 1) or differ:
        wanted = format_shape((size[0], axes, axes + 1))
        use.fail(f"theta must be {wanted} for images of size {format_shape(size)}, not {format_shape(theta.shape)}")
    return size[2:]


def _affine_type(use: OperatorContext) -> Type:
    shape = _grid_sizes(use)
    return use.like((use.type().shape[0], *shape, len(shape)))


def _positions(size: int, *, align_corners: int) -> Array:
    """The centres of the cells along an axis; with ``align_corners`` those of the outermost cells are -1 and 1."""
    if align_corners:
        return np.linspace(-1, 1, size) if size > 1 else np.zeros(size)
    return (2 * np.arange(size) + 1) / max(size, 1) - 1


def _affine_grid(n: KernelContext) -> list[Step]:
    out = n.out()
    batch, *shape, axes = out.shape
    along = [_positions(size, align_corners=n.int("align_corners")) for size in shape]
    mesh = np.meshgrid(*along, indexing="ij")
    places = np.stack([*(axis.ravel() for axis in mesh[::-1]), np.ones(math.prod(shape))], axis=1)
    # BLAS has no half precision.
    dtype = np.dtype(np.float32) if out.dtype == np.float16 else out.dtype
    places, flat, steps = places.astype(dtype), out.reshape(batch, len(places), axes), list[Step]()
    theta, goal = n.x[0], flat
    if dtype != out.dtype:
        theta, goal = n.scratch(theta.shape, dtype), n.scratch(flat.shape, dtype)
        steps = [partial(np.copyto, theta, n.x[0])]
    steps.append(partial(np.matmul, places, theta.swapaxes(1, 2), out=goal))
    return steps if goal is flat else [*steps, partial(np.copyto, flat, goal, casting="same_kind")]


def _affine_lowering(theta: Symbol, size: Symbol, *, align_corners: int = 0) -> Symbol:
    """The sum of each column of theta times its coordinate."""
    axes = int(theta.shape[1])
    shape = (size.type.constant or [OPEN] * (axes + 2))[2:]
    columns = emit_all("Split", theta, integers([1] * (axes + 1)), axis=2, outputs=axes + 1)
    *factors, result = (emit("Reshape", column, integers([0, *[1] * axes, axes])) for column in columns)
    for place, factor in enumerate(factors):
        axis = axes - 1 - place
        dim = shape[axis]
        if isinstance(dim, int):
            along = constant(_positions(dim, align_corners=align_corners), theta.dtype)
        else:
            along = cast(_unknown_positions(size, axis + 2, align_corners, theta.dtype), theta.dtype)
        result = result + factor * emit("Reshape", along, integers([-1, *[1] * place, 1]))
    return result


def _unknown_positions(size: Symbol, axis: int, align_corners: int, dtype: str) -> Symbol:
    """As ``_positions``, of a symbolic size; in single precision for ``dtype`` half precision."""
    count = emit("Gather", size, constant(axis, "int64"))
    wide = "float32" if dtype == "float16" else dtype
    cells = cast(count_up(count), wide)
    whole = cast(count, wide)
    if not align_corners:
        return (cells * 2 + 1) / whole - 1
    # A single cell has no way to go from -1 to 1, and lies in the middle.
    several = cast(emit("Greater", count, constant(1, "int64")), wide)
    return cells * 2 / emit("Max", whole - 1, constant(1.0, wide)) - several


# -- GridSample: one way to find the cells and their weights, with numpy or with symbols


class Functions(NamedTuple):
    """The functions, beside arithmetic, that cells and weights are computed with."""

    floor: Callable[[Any], Any]
    nearest: Callable[[Any], Any]
    distance: Callable[[Any], Any]
    clip: Callable[[Any, Any, Any], Any]
    choose: Callable[[Any, Any, Any], Any]
    inside: Callable[[Any, Any, Any], Any]
    odd: Callable[[Any], Any]
    cell: Callable[[Any], Any]


Tap: TypeAlias = tuple[Any, Any]
"""The index of a cell along an axis, and its weight; ``None`` where that is 1."""

_IN_NUMPY: Final = Functions(
    floor=np.floor,
    nearest=np.rint,
    distance=np.abs,
    clip=np.clip,
    choose=np.where,
    inside=lambda x, low, high: (x >= low) & (x <= high),
    odd=lambda x: x % 2 == 1,
    cell=lambda x: x.astype(np.intp),
)


_IN_NODES: Final = Functions(
    floor=lambda x: emit("Floor", x),
    nearest=lambda x: emit("Round", x),
    distance=lambda x: emit("Abs", x),
    clip=lambda x, low, high: emit("Min", emit("Max", x, like(low, x)), like(high, x)),
    choose=lambda condition, x, y: emit("Where", condition, x, y),
    inside=lambda x, low, high: cast(
        emit("And", emit("GreaterOrEqual", x, like(low, x)), emit("LessOrEqual", x, like(high, x))), x.dtype
    ),
    odd=lambda x: emit("Greater", x - emit("Floor", x / 2) * 2, constant(0.5, x.dtype)),
    cell=lambda x: cast(x, "int64"),
)


class Options(NamedTuple):
    """The options of GridSample."""

    mode: str
    padding: str
    aligned: bool
    use: Functions

    def taps(self, place: Any, size: Any) -> Iterator[Tap]:
        """The cells along an axis of ``size`` cells that are weighed at ``place``, from -1 to 1."""
        low, high = (0, size - 1) if self.aligned else (-0.5, size - 0.5)
        x = (place + 1) / 2 * (size - 1) if self.aligned else ((place + 1) * size - 1) / 2
        x = self._brought_in(self.use.nearest(x) if self.mode == "nearest" else x, low, high, size)
        first = self.use.floor(x)
        for step, weight in self._weights(x - first):
            cell = first + step if step else first
            if self.padding == "reflection":
                cell = self._reflected(cell, low, high)
            elif self.padding == "zeros":
                inside = self.use.inside(cell, 0, size - 1)
                weight = inside if weight is None else weight * inside
            yield self.use.cell(self.use.clip(cell, 0, size - 1)), weight

    def _brought_in(self, x: Any, low: Any, high: Any, size: Any) -> Any:
        """Coordinates outside the image clipped to its edge, or reflected at it."""
        if self.padding == "reflection":
            return self._reflected(x, low, high)
        if self.padding == "zeros":
            return x
        # A cubic goes on beyond the centre of the outermost cell, as in PyTorch: all cells there are like that one.
        return x if self.mode == "cubic" else self.use.clip(x, 0, size - 1)

    def _reflected(self, x: Any, low: Any, high: Any) -> Any:
        """``x`` after as many reflections at the two edges as bring it between them."""
        span = high - low
        if isinstance(span, int | float) and not span:
            return x * 0
        way = self.use.distance(x - low)
        times = self.use.floor(way / span)
        rest = way - times * span
        return self.use.choose(self.use.odd(times), high - rest, rest + low)

    def _weights(self, share: Any) -> list[tuple[int, Any]]:
        """Steps from the first cell, and weights, at a ``share`` of the way from it to the next."""
        if self.mode == "nearest":
            return [(0, None)]
        if self.mode == "linear":
            return [(0, 1 - share), (1, share)]
        return [(-1, _far(share + 1)), (0, _near(share)), (1, _near(1 - share)), (2, _far(2 - share))]


_A: Final = -0.75


def _near(d: Any) -> Any:
    """Keys (1981), equation 4, up to a distance of 1 ..."""
    return ((_A + 2) * d - (_A + 3)) * d * d + 1


def _far(d: Any) -> Any:
    """... and from 1 to 2."""
    return ((_A * d - 5 * _A) * d + 8 * _A) * d - 4 * _A


def _joined(axes: Sequence[Sequence[Tap]], strides: Sequence[Any]) -> Iterator[Tap]:
    """The cells of an image, counted through all of them, by their indices along its axes."""
    for taps in product(*axes):
        index = reduce(lambda a, b: a + b, (tap[0] * stride for tap, stride in zip(taps, strides, strict=True)))
        weights = [weight for _, weight in taps if weight is not None]
        yield index, reduce(lambda a, b: a * b, weights) if weights else None


def _sample_type(use: OperatorContext) -> Type:
    x, grid = use.type(0), use.type(1)
    use.choice("padding_mode", ("zeros", "border", "reflection"))
    mode = use.choice("mode", ("linear", "nearest", "cubic"))
    use.check_dtype(x.dtype, NUMBERS if mode == "nearest" else FLOATS)
    use.check_dtype(grid.dtype, FLOATS)
    axes = len(x.shape) - 2
    if axes < 1:
        use.fail(f"X must be (batch, channels, size, …), not {format_shape(x.shape)}")
    if len(grid.shape) != axes + 2 or grid.shape[0] != x.shape[0] or grid.shape[-1] != axes:
        wanted = format_shape((x.shape[0], *[f"size {axis + 1}" for axis in range(axes)], axes))
        use.fail(f"grid must be {wanted} for X {format_shape(x.shape)}, not {format_shape(grid.shape)}")
    result = grid.shape[1:-1]
    if 0 in x.shape[2:] and 0 not in result:
        use.fail(f"X {format_shape(x.shape)} has no cells to read")
    return use.like((*x.shape[:2], *result))


def _grid_sample(n: KernelContext) -> list[Step]:
    """Cell after cell of those that are weighed, for all places at once."""
    x, grid, out = n.x[0], n.x[1], n.out()
    if not out.size:
        return []
    batch, channels, *shape = x.shape
    axes = len(shape)
    options = Options(n.string("mode"), n.string("padding_mode"), bool(n.int("align_corners")), _IN_NUMPY)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(axes)]
    ordered, steps = n.in_order(x)
    flat, goal = ordered.reshape(batch, channels, -1), out.reshape(batch, channels, -1)
    part = n.scratch(goal.shape, goal.dtype)
    fine = np.promote_types(grid.dtype, np.float32)

    def read(target: Array, index: Array, weight: Array | None) -> None:
        for number in range(batch):
            np.take(flat[number], index[number], axis=1, out=target[number], mode="clip")
        if weight is not None:
            np.multiply(target, weight[:, np.newaxis], out=target, casting="same_kind")

    def run() -> None:
        places = grid.reshape(batch, -1, axes).astype(fine, copy=False)
        along = [list(options.taps(places[..., axes - 1 - axis], shape[axis])) for axis in range(axes)]
        for number, (index, weight) in enumerate(_joined(along, strides)):
            read(part if number else goal, index, weight)
            if number:
                np.add(goal, part, out=goal)

    return [*steps, run]


def _sample_lowering(
    x: Symbol, grid: Symbol, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
) -> Symbol:
    axes, options = len(x.shape) - 2, Options(mode, padding_mode, bool(align_corners), _IN_NODES)
    places = emit("Reshape", cast(grid, "float32") if grid.dtype == "float16" else grid, integers([0, -1, axes]))
    columns = emit_all("Split", places, integers([1] * axes), axis=2, outputs=axes) if axes > 1 else (places,)
    shape = [_count(x, axis + 2) for axis in range(axes)]
    along = [
        list(
            options.taps(
                emit("Reshape", columns[axes - 1 - axis], integers([0, 1, -1])), _as_float(shape[axis], places.dtype)
            )
        )
        for axis in range(axes)
    ]
    strides = [reduce(lambda a, b: a * b, shape[axis + 1 :], 1) for axis in range(axes)]
    flat = emit("Reshape", x, integers([0, 0, -1]))
    everywhere = emit("Concat", integers([1]), sizes(x, [1]), integers([1]), axis=0)
    result: Symbol | None = None
    for index, weight in _joined(along, strides):
        part = emit("GatherElements", flat, emit("Expand", index, everywhere), axis=2)
        part = part if weight is None else part * cast(weight, x.dtype)
        result = part if result is None else result + part
    assert result is not None
    target = emit("Concat", sizes(x, [0, 1]), sizes(grid, range(1, axes + 1)), axis=0)
    return emit("Reshape", result, target)


def _count(x: Symbol, axis: int) -> Any:
    """The size of an axis, a number or a symbol of one."""
    size = x.shape[axis]
    return size if isinstance(size, int) else size_of(x, axis)


def _as_float(size: Any, dtype: str) -> Any:
    return cast(size, dtype) if isinstance(size, Symbol) else size


register(
    Operator(
        "AffineGrid",
        ("theta", "size"),
        _affine_type,
        _affine_grid,
        "lowering",
        {"align_corners": Attr(int, 0)},
        outputs=("grid",),
        lowering=_affine_lowering,
        unsized=lambda use: use.like((*use.opened(use.length_of(1), ALL[1:]).shape[:-1], *use.type().shape[1:2])),
    )
)
register(
    Operator(
        "GridSample",
        ("X", "grid"),
        _sample_type,
        _grid_sample,
        "lowering",
        {"align_corners": Attr(int, 0), "mode": Attr(str, "linear"), "padding_mode": Attr(str, "zeros")},
        outputs=("Y",),
        lowering=_sample_lowering,
    )
)
