"""Pools, resizing and sampling of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from portable_nn.converters.torch.aten.rows import (
    Size,
    Use,
    batched,
    each,
    filled,
    row,
    scalar,
    size_along,
    sliced,
    swapped,
    vector,
)
from portable_nn.layers.convolution import spatial_attributes
from portable_nn.layers.resizing import Upsample
from portable_nn.operators import Symbol, cast, constant, count_up, emit, emit_all, integers, squeezed, unsqueezed
from portable_nn.sizes.operation import pool

_POOLS = ("max_pool1d", "max_pool2d", "max_pool3d")


def _axes(use: Use) -> int:
    """The number of spatial axes, from the name of the operator."""
    return int(next(char for char in use.target if char.isdigit()))


def _pooled(use: Use, x: Symbol, operator: str, kernel: Any, options: dict[str, Any], **own: Any) -> Symbol:
    axes = _axes(use)
    for option in ("stride", "padding", "dilation"):
        if option in options:
            options[option] = each(options[option], axes) if options[option] not in ((), [], None) else None
    operation = pool(each(kernel, axes), axes=axes, **options)
    attributes = {**spatial_attributes(operation, x.shape[-axes:]), **{name: one for name, one in own.items() if one}}
    return batched(x, axes, operator, **attributes)


@row(*_POOLS)
def _max_pool(
    use: Use,
    x: Symbol,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Symbol:
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil": ceil_mode}
    return _pooled(use, x, "MaxPool", kernel_size, options, ceil_mode=int(ceil_mode))


@row(*(f"{name}_with_indices" for name in _POOLS))
def _max_pool_indices(use: Use, x: Symbol, *arguments: Any) -> tuple[Symbol, Symbol]:
    """ONNX counts through the whole tensor, PyTorch through each channel."""
    values = _max_pool(use, x, *arguments)
    axes = _axes(use)
    if len(x.shape) != axes + 2:
        use.refuse("indices of the maxima without a batch")
    options: dict[str, Any] = values.origin.attributes
    found = emit_all("MaxPool", x, outputs=2, **options)
    cells = emit("ReduceProd", vector([size_along(x, axis) for axis in range(2, axes + 2)]), integers([0]), keepdims=0)
    return found[0], emit("Mod", found[1], cells)


@row("max_unpool2d", "max_unpool3d")
def _max_unpool(use: Use, x: Symbol, places: Symbol, output_size: Sequence[Size], *rest: Any) -> Symbol:
    """Zeros, and the elements at the places that their pool has counted, through each channel."""
    axes = _axes(use)
    lead: list[Size] = [size_along(x, axis) for axis in range(len(x.shape) - axes)]
    cells: Size = -1
    if all(isinstance(size, int) for size in output_size):
        cells = int(np.prod(output_size))  # type: ignore[arg-type]
    else:
        cells = emit("ReduceProd", vector(output_size), integers([0]), keepdims=1)
    flat = vector([*lead, -1])
    added = emit(
        "ScatterElements", filled(0, [*lead, cells], x.dtype), emit("Reshape", places, flat),
        emit("Reshape", x, flat), axis=len(lead),
    )  # fmt: skip
    return emit("Reshape", added, vector([*lead, *output_size]))


@row("col2im")
def _fold(
    use: Use,
    x: Symbol,
    output_size: Sequence[Size],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Symbol:
    """A transposed convolution, each of whose channels puts one place of the kernel down, and adds up."""
    if not all(isinstance(size, int) for size in output_size) or not isinstance(x.shape[-2], int):
        use.refuse("a size that is open")
    is_one, x = len(x.shape) == 2, unsqueezed(x, *[0] * (3 - len(x.shape)))
    cells = math.prod(kernel_size)
    channels, counts, more = int(x.shape[1]) // cells, list[int](), list[int]()
    for size, kernel, wide, pad, step in zip(output_size, kernel_size, dilation, padding, stride, strict=True):
        reach = int(size) + 2 * pad - wide * (kernel - 1) - 1  # type: ignore[arg-type]
        counts.append(reach // step + 1)
        more.append(reach % step)
    places = emit("EyeLike", filled(0, [cells, cells], x.dtype))
    weight = emit("Tile", emit("Reshape", places, integers([cells, 1, *kernel_size])), integers([channels, 1, 1, 1]))
    found = emit(
        "ConvTranspose", emit("Reshape", x, integers([0, 0, *counts])), weight, group=channels,
        strides=list(stride), dilations=list(dilation), pads=[*padding, *padding], output_padding=more,
        kernel_shape=list(kernel_size),
    )  # fmt: skip
    return squeezed(found, 0) if is_one else found


@row("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
    use: Use,
    x: Symbol,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Symbol:
    options = {"stride": stride, "padding": padding, "ceil": ceil_mode, "mode": "average"}
    own = {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
    if divisor_override is None:
        return _pooled(use, x, "AveragePool", kernel_size, options, **own)
    if ceil_mode:
        use.refuse("divisor_override and ceil_mode together")
    own["count_include_pad"] = 1
    cells = float(np.prod(each(kernel_size, _axes(use))))
    return _pooled(use, x, "AveragePool", kernel_size, options, **own) * (cells / divisor_override)


@row("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _adaptive_avg_pool(use: Use, x: Symbol, output_size: Any) -> Symbol:
    return _adaptive(use, x, output_size, "Average", _averaged)


def _averaged(x: Symbol, axis: int, windows: Sequence[tuple[int, int]]) -> Symbol:
    """The means of windows along an axis: the product with a matrix of shares."""
    shares = np.zeros((int(x.shape[axis]), len(windows)))
    for column, (start, end) in enumerate(windows):
        shares[start:end, column] = 1 / (end - start)
    return swapped(emit("MatMul", swapped(x, axis, -1), constant(shares, x.dtype)), axis, -1)


@row("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(use: Use, x: Symbol, output_size: Any) -> tuple[Symbol, None]:
    """Without the indices."""
    return _adaptive(use, x, output_size, "Max", _largest), None


def _largest(x: Symbol, axis: int, windows: Sequence[tuple[int, int]]) -> Symbol:
    """The largest cells of windows along an axis."""
    parts = [emit("ReduceMax", sliced(x, axis, *window), integers([axis]), keepdims=1) for window in windows]
    return emit("Concat", *parts, axis=axis)


def _wanted(use: Use, sizes: Sequence[Any], output_size: Any) -> list[Any]:
    """The new sizes, which are the old ones where they are not said."""
    wanted = [size if new is None else new for size, new in zip(sizes, each(output_size, len(sizes)), strict=True)]
    if not all(isinstance(new, int) for new in wanted):
        use.refuse("a new size that is open")
    return wanted


Along: TypeAlias = Callable[[Symbol, int, Sequence[tuple[int, int]]], Symbol]


def _adaptive(use: Use, x: Symbol, output_size: Any, kind: str, along: Along) -> Symbol:
    """All cells; equal windows; or, where the windows differ, one axis after the other."""
    axes = _axes(use)
    sizes: Sequence[Any] = x.shape[-axes:]
    wanted = _wanted(use, sizes, output_size)
    if all(new == 1 for new in wanted) and len(x.shape) == axes + 2:
        return emit(f"Global{kind}Pool", x)
    if all(new == 1 for new in wanted):
        return emit({"Average": "ReduceMean"}.get(kind, "ReduceMax"), x, integers(range(-axes, 0)), keepdims=1)
    pairs = list(zip(sizes, wanted, strict=True))
    if all(isinstance(size, int) and size % new == 0 for size, new in pairs):
        kernel = [size // new for size, new in pairs]
        return _pooled(use, x, f"{kind}Pool", kernel, {"stride": kernel, "mode": kind.lower()})
    if not all(isinstance(size, int) for size in sizes):
        use.refuse("windows that depend on an open size; an adaptive pool to 1 has none")
    for axis, (size, new) in enumerate(pairs, len(x.shape) - axes):
        if size != new:
            x = along(x, axis, [(place * size // new, -(-(place + 1) * size // new)) for place in range(new)])
    return x


_RESIZING = {
    "upsample_nearest1d": "nearest", "upsample_nearest2d": "nearest", "upsample_nearest3d": "nearest",
    "_upsample_nearest_exact1d": "nearest-exact", "_upsample_nearest_exact2d": "nearest-exact",
    "_upsample_nearest_exact3d": "nearest-exact", "upsample_linear1d": "linear", "upsample_bilinear2d": "bilinear",
    "upsample_trilinear3d": "trilinear", "upsample_bicubic2d": "bicubic",
}  # fmt: skip
_RESIZE = {"linear": "linear", "bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}


@row(*_RESIZING)
def _upsample(use: Use, x: Symbol, output_size: Sequence[Size] | None, *rest: Any) -> Symbol:
    name = use.target.split(".")[1]
    mode = _RESIZING[name]
    corners = bool(rest[0]) if not mode.startswith("nearest") else False
    factors = [each for each in (rest if mode.startswith("nearest") else rest[1:]) if each is not None]
    if len(factors) == 1 and isinstance(factors[0], (list, tuple)):
        factors = list(factors[0])
    if output_size is None or (factors and use.target.endswith("default")):
        return Upsample(scale_factor=tuple(factors), mode=mode, align_corners=corners)(x)
    if all(isinstance(size, int) for size in output_size):
        return Upsample(size=tuple(output_size), mode=mode, align_corners=corners)(x)  # type: ignore[arg-type]
    if mode.startswith("nearest"):
        for axis, size in enumerate(output_size, 2):
            x = _nearest(x, axis, size, 0.5 if mode == "nearest-exact" else 0.0)
        return x
    lead = [size_along(x, axis) for axis in range(2)]
    ways = {True: "align_corners", False: None}
    return emit(
        "Resize", x, None, None, vector([*lead, *output_size]), mode=_RESIZE[mode],
        coordinate_transformation_mode=ways[corners],
    )  # fmt: skip


@row("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")
def _antialiased(use: Use, x: Symbol, output_size: Sequence[Size] | None, align_corners: bool, *factors: Any) -> Symbol:
    """As the Pillow does it: a wider kernel where pictures shrink, and for cubic ones the coefficient -0.5."""
    if output_size is None or align_corners or (use.target.endswith("default") and any(factors)):
        use.refuse("antialiasing with a factor in place of a size, or with align_corners")
    ways = {"mode": "cubic", "cubic_coeff_a": -0.5} if "bicubic" in use.target else {"mode": "linear"}
    lead = [size_along(x, axis) for axis in range(2)]
    return emit(
        "Resize", x, None, None, vector([*lead, *output_size]), antialias=1, exclude_outside=1, **ways
    )  # fmt: skip


def _nearest(x: Symbol, axis: int, size: Size, offset: float) -> Symbol:
    """``x`` with another size along an axis: place i is floor((i + offset) · before / after), in float32 as there."""
    before, after = (scalar(each, "float32") for each in (size_along(x, axis), size))
    places = cast(count_up(scalar(size)), "float32")
    found = emit("Floor", (places + offset if offset else places) * (before / after))
    last = scalar(size_along(x, axis)) - 1
    return emit("Gather", x, emit("Min", cast(found, "int64"), last), axis=axis)


@row("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def _grid_sampler(
    use: Use, x: Symbol, grid: Symbol, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Symbol:
    return emit(
        "GridSample", x, grid, mode=("linear", "nearest", "cubic")[interpolation_mode],
        padding_mode=("zeros", "border", "reflection")[padding_mode], align_corners=int(align_corners),
    )  # fmt: skip
