"""Convolutions, pools and resizing in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from portable_nn.converters.array.windows import kernel_of
from portable_nn.converters.torch.source_use import Use
from portable_nn.core.dims import static
from portable_nn.core.errors import RefusalError
from portable_nn.layers.pytorch import options
from portable_nn.layers.resizing import copied_cells
from portable_nn.operators import FLOATS
from portable_nn.operators.registry import InvalidNode
from portable_nn.operators.spatial.convolution import transpose_windows
from portable_nn.operators.spatial.resize_taps import along_axes
from portable_nn.operators.spatial.window import per_axis, windows
from portable_nn.sizes.operation import Window


class Slide(NamedTuple):
    """The sliding of windows, with the same padding on both sides, over ``x``, which has all other padding."""

    x: str
    windows: Sequence[Window]

    def of(self, name: str) -> int | tuple[int, ...]:
        """An option along all axes."""
        return short([getattr(window, name) for window in self.windows])

    @property
    def options(self) -> dict[str, Any]:
        """The options of PyTorch's function or layer."""
        return {"stride": self.of("stride"), "padding": self.of("pad_begin"), "dilation": self.of("dilation")}

    def padded(self, value: str = "") -> Slide:
        """The same with all padding in ``x``."""
        if not any(any(window.pads) for window in self.windows):
            return self
        windows = [replace(window, pad_begin=0, pad_end=0) for window in self.windows]
        return Slide(f"F.pad({self.x}, {_flat(self.windows)}{value})", windows)

    @property
    def is_wide(self) -> bool:
        """True if there is more padding than the pools of PyTorch take."""
        return any(2 * window.pad_begin > window.kernel for window in self.windows)


def short(values: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def _flat(found: Sequence[Window]) -> tuple[int, ...]:
    """The pads of all axes, the last axis first."""
    return tuple(each for window in found[::-1] for each in window.pads)


def _windows(use: Use) -> list[Window]:
    """The window along each axis; with a stride of 1 the pads of ``auto_pad`` are the same at any size."""
    kernel = kernel_of(use)
    sizes = use.type().shape[2:]
    if len(kernel) not in (1, 2, 3) or len(kernel) != len(sizes):
        use.refuse("a kernel of unknown size, or over other than 1, 2 or 3 axes")
    return windows(use, kernel, tuple(size if isinstance(size, int) else 9999 for size in sizes))


def window_of(use: Use, value: str = "") -> Slide:
    """The windows of a convolution or pool; what is padded apart from them is ``value``."""
    found = _windows(use)
    mode = use.string("auto_pad")
    is_open = static(use.type().shape[2:]) is None and any(window.stride != 1 for window in found)
    if mode.startswith("SAME") and is_open:
        sizes = [tuple(getattr(w, name) for w in found) for name in ("kernel", "stride", "dilation")]
        fill = value.removeprefix(", value=") or 0.0
        x = use.call("same_padded", use.x(), *sizes, fill, mode == "SAME_UPPER")
        return Slide(x, [replace(window, pad_begin=0, pad_end=0) for window in found])
    slide = Slide(use.x(), found)
    return slide if all(window.pad_begin == window.pad_end for window in found) else slide.padded(value)


def conv(use: Use) -> str:
    """PyTorch's function for so many axes."""
    found = window_of(use)
    axes = len(found.windows)
    more = options(f"Conv{axes}d", **found.options, groups=use.int("group"))
    return f"F.conv{axes}d({', '.join([found.x, *use.all[1:]])}{more})"


class Spread(NamedTuple):
    """The spreading of a transposed convolution, with the cells that are cut off its output afterwards where PyTorch
    cannot."""

    kernel: tuple[int, ...]
    options: Mapping[str, Any]
    cut: Sequence[tuple[int, int]]


def transposed(use: Use) -> Spread:
    """The windows of a transposed convolution."""
    found = transpose_windows(use)
    if len(found) not in (1, 2, 3):
        use.refuse("a kernel over other than 1, 2 or 3 axes")
    # What the end lacks of the padding on both sides is more output; all else is cut off.
    spare = [window.pad_end - min(window.pads) - window.output_padding for window in found]
    cut = [(w.pad_begin - min(w.pads), max(0, each)) for w, each in zip(found, spare, strict=True)]
    same = Slide("", [replace(w, pad_begin=min(w.pads), pad_end=min(w.pads)) for w in found])
    more = {"output_padding": short([max(0, -each) for each in spare]), "groups": use.int("group")}
    return Spread(tuple(w.kernel for w in found), same.options | more, cut if any(map(any, cut)) else ())


def cut_off(x: str, cut: Sequence[tuple[int, int]]) -> str:
    """``x`` without so many cells at the beginning and end of its last axes."""
    kept = [f"{low or ''}:{-high or ''}" for low, high in cut]
    return f"{x}[..., {', '.join(kept)}]" if kept else x


def conv_transpose(use: Use) -> str:
    """PyTorch's function for so many axes."""
    found = transposed(use)
    axes = len(found.kernel)
    more = options(f"ConvTranspose{axes}d", **found.options)
    return cut_off(f"F.conv_transpose{axes}d({', '.join(use.all)}{more})", found.cut)


_LEAST = ', value=float("-inf")'


def max_pool(use: Use) -> str:
    """The largest cells, and where they are."""
    found = window_of(use, _LEAST)
    found = found.padded(_LEAST) if found.is_wide else found
    is_padded = found.x != use.x()
    kernel = found.of("kernel")
    if is_padded and (use.type().dtype not in FLOATS or use.int("ceil_mode")):
        use.refuse("padding of whole numbers" if use.type().dtype not in FLOATS else "ceil_mode with uneven padding")
    given = found.options | {"ceil_mode": bool(use.int("ceil_mode"))}
    given["stride"] = None if given["stride"] == kernel else given["stride"]
    called = f"F.max_pool{len(found.windows)}d({found.x}, {kernel}{options(f'MaxPool{len(found.windows)}d', **given)}"
    if use.output_count == 1:
        return f"{called})"
    if is_padded or use.int("storage_order"):
        use.refuse("indices of an uneven padding, or in column-major order")
    return f"with_places({use.x()}, *{called}, return_indices=True))"


def average_pool(use: Use) -> str:
    """The means of cells, and of padding where it counts."""
    found = window_of(use)
    ceil = bool(use.int("ceil_mode"))
    counts = bool(use.int("count_include_pad"))
    if found.of("dilation") != 1:
        use.refuse("a dilated average")
    if found.x != use.x() or found.is_wide:
        if ceil or (found.x.startswith("same_padded") and not counts):
            use.refuse("an average over an uneven padding, with ceil_mode or at open sizes")
        if not counts:
            kernel, stride = (tuple(getattr(w, name) for w in found.windows) for name in ("kernel", "stride"))
            return f"pooled_mean({use.x()}, {_flat(_windows(use))}, {kernel}, {stride})"
        found = found.padded()
    axes, padding = len(found.windows), found.of("pad_begin")
    more = options(f"AvgPool{axes}d", padding=padding, ceil_mode=ceil, count_include_pad=counts or not padding)
    return f"F.avg_pool{axes}d({found.x}, {found.of('kernel')}, {found.of('stride')}{more})"


def norm_pool(use: Use) -> str:
    """A mean of powers, times the number of cells."""
    found = window_of(use).padded()
    if found.of("dilation") != 1 or use.int("ceil_mode"):
        use.refuse("a norm over a dilated window, or with ceil_mode")
    cells = prod(window.kernel for window in found.windows)
    p = use.int("p")
    pool = f"F.avg_pool{len(found.windows)}d({_power(found.x, p)}, {found.of('kernel')}, {found.of('stride')})"
    return _root(f"({pool} * {cells})", p)


def _power(x: str, p: int) -> str:
    return f"{x}.square()" if p == 2 else f"{x}.abs(){f' ** {p}' if p != 1 else ''}"


def _root(total: str, p: int) -> str:
    return total if p == 1 else f"{total}.sqrt()" if p == 2 else f"{total} ** {1 / p!r}"


def global_norm(use: Use) -> str:
    """The norm of each channel."""
    p = use.int("p")
    return _root(f"({_power(use.x(), p)}).sum({tuple(range(2, use.rank))}, keepdim=True)", p)


# -- sizes


def resize(use: Use) -> str:
    """By one function, or axis by axis."""
    try:
        return _interpolated(use)
    except RefusalError:
        return _by_weights(use)


def _by_weights(use: Use) -> str:
    """Axis by axis, with indices or weights that are computed now."""
    try:
        found = along_axes(use)
    except InvalidNode as fault:
        use.refuse(f"another resize than interpolate has: {fault}")
    made = use.x()
    for axis, weights in found.items():
        if use.string("mode") == "nearest":
            made += f".index_select({axis}, {use.writer.constant(weights)})"
        else:
            made = f"weighed({made}, {axis}, {use.writer.constant(weights.astype(use.type().dtype))})"
    return made


def _interpolated(use: Use) -> str:
    """By ``F.interpolate``."""
    rank = use.rank - 2
    way = use.string("coordinate_transformation_mode")
    axes = [axis % use.rank for axis in use.ints("axes") or range(use.rank)]
    if rank not in (1, 2, 3) or use.string("keep_aspect_ratio_policy") != "stretch" or use.int("exclude_outside"):
        use.refuse("a resize that keeps the aspect ratio, excludes the outside, or has other than 1, 2 or 3 axes")
    factors = use.known(2) if use.has(2) else None
    shape = use.results[0].shape
    if shape[:2] != use.type().shape[:2] or use.type().dtype not in ("float32", "float64"):
        use.refuse("a resize of the batch or the channels, or of whole numbers")
    if factors:
        by_axis = dict(zip(axes, map(float, factors), strict=True))
        scales: Sequence[float] = [by_axis.get(axis, 1.0) for axis in range(2, use.rank)]
        if use.string("mode") == "nearest":
            scales = _same_cells(use, scales, _way(use, rank, way))
        target = f"scale_factor={scales[0] if len(set(scales)) == 1 else tuple(scales)}"
    else:
        target = f"size={use.dims(shape[2:])}"
    return f"F.interpolate({use.x()}, {target}{_way(use, rank, way)})"


def _same_cells(use: Use, scales: Sequence[float], way: str) -> Sequence[float]:
    """Factors by which PyTorch copies the same cells: it rounds otherwise, so that they may be others than these."""
    mode = "nearest-exact" if "exact" in way else "nearest"
    spatial = range(2, use.rank)
    try:
        wanted = along_axes(use)
    except InvalidNode:
        return scales  # Open sizes.
    sizes = [use.type().shape[axis] for axis in spatial]
    for factors in (scales, [float(str(np.float32(scale))) for scale in scales]):
        if all(
            int(int(size) * factor) == len(wanted.get(axis, range(int(size))))
            and np.array_equal(
                wanted.get(axis, np.arange(int(size))),
                copied_cells(int(size), int(int(size) * factor), factor, mode, len(scales)),
            )
            for axis, size, factor in zip(spatial, sizes, factors, strict=True)
        ):
            return factors
    raise RefusalError("a factor by which PyTorch copies other cells")


def _way(use: Use, rank: int, way: str) -> str:
    """The options for how cells are interpolated."""
    mode = use.string("mode")
    nearest = use.string("nearest_mode")
    antialias = use.int("antialias")
    if mode == "nearest":
        if way == "asymmetric" and nearest == "floor":
            return ', mode="nearest"'
        if way == "half_pixel" and nearest == "round_prefer_ceil":
            return ', mode="nearest-exact"'
        use.refuse(f"nearest by {way} and {nearest}")
    if way not in ("half_pixel", "align_corners", "pytorch_half_pixel") or (mode == "cubic" and rank != 2):
        use.refuse(f"{mode} by {way} over {rank} axes")
    if mode == "cubic" and use.float("cubic_coeff_a") != -0.75:
        use.refuse(f"cubic_coeff_a {use.float('cubic_coeff_a')}: PyTorch's is -0.75")
    if way == "pytorch_half_pixel" and 1 in use.results[0].shape[2:]:
        use.refuse("a size of 1 by pytorch_half_pixel")
    if antialias:
        use.refuse("antialiasing")
    name = "bicubic" if mode == "cubic" else ("linear", "bilinear", "trilinear")[rank - 1]
    return f', mode="{name}", align_corners={way == "align_corners"}'


def grid_sample(use: Use) -> str:
    """Over two axes or three."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(use.string("mode"), use.string("mode"))
    if use.rank not in (4, 5) or (mode == "bicubic" and use.rank == 5):
        use.refuse("samples of other than 2 or 3 axes")
    way = f'mode="{mode}", padding_mode="{use.string("padding_mode")}"'
    return f"F.grid_sample({use.x(0)}, {use.x(1)}, {way}, align_corners={bool(use.int('align_corners'))})"


def affine_grid(use: Use) -> str:
    """Of sizes that are known, or computed."""
    sizes = use.listed(1) if use.knows(1) else f"{use.x(1)}.tolist()"
    return f"F.affine_grid({use.x()}, {sizes}, align_corners={bool(use.int('align_corners'))})"


def fold(use: Use) -> str:
    """Blocks over two axes."""
    image = use.numbers(1)
    block = use.numbers(2)
    rank = len(use.numbers(1))
    strides = per_axis(use, "strides", rank)
    dilations = per_axis(use, "dilations", rank)
    pads = per_axis(use, "pads", 2 * rank, 0, 0)
    if rank != 2 or pads[:rank] != pads[rank:]:
        use.refuse("blocks over other than two axes, or an uneven padding")
    more = options("Conv2d", stride=short(strides), padding=short(pads[:rank]), dilation=short(dilations))
    return f"F.fold({use.x()}, {image}, {block}{more})"
