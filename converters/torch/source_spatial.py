"""Convolutions, pools and resizing in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from portable_nn.converters.torch.source_use import Use, option, row
from portable_nn.core.dims import static
from portable_nn.core.errors import RefusalError
from portable_nn.layers.resizing import copied_cells
from portable_nn.operators.registry import InvalidNode
from portable_nn.operators.spatial.resize_taps import along_axes
from portable_nn.operators.spatial.window import per_axis
from portable_nn.sizes.arithmetic import same_pads, transpose_same_pads


class Slide(NamedTuple):
    """The sliding of a window: numbers for each axis; ``padding`` is on both sides; ``x`` is padded where they
    differ."""

    x: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    is_padded: bool

    def options(self, *, dilation: bool = True) -> str:
        """The options of PyTorch's function or layer that are not the usual ones."""
        count = len(self.kernel)
        found = option("stride", short(self.stride), 1) + option("padding", short(self.padding), 0)
        return found + (option("dilation", short(self.dilation), 1) if dilation and count else "")


def short(values: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def window_of(use: Use, kernel: tuple[int, ...], value: float = 0.0) -> Slide:
    """The window of a convolution or pool; what is padded apart from it is ``value``."""
    rank = len(kernel)
    if rank not in (1, 2, 3):
        use.refuse(f"a window over {rank} axes: PyTorch has 1, 2 and 3")
    strides, dilations = per_axis(use, "strides", rank), per_axis(use, "dilations", rank)
    begin, end = (0,) * rank, (0,) * rank
    mode = use.string("auto_pad")
    sizes = static(use.type().shape[2:])
    if mode.startswith("SAME"):
        upper = mode == "SAME_UPPER"
        if set(strides) != {1} and sizes is None:
            arguments = [kernel, strides, dilations, f'float("{value}")' if value else 0.0, int(upper)]
            return Slide(use.call("same_padded", use.x(), *arguments), kernel, strides, dilations, begin, True)
        found = [
            same_pads(size, k, s, d, upper=upper)
            for size, k, s, d in zip(
                sizes or [k * d for k, d in zip(kernel, dilations, strict=True)],
                kernel,
                strides,
                dilations,
                strict=True,
            )
        ]
        if sizes is None:  # With a stride of 1 the padding is the same at any size.
            found = [same_pads(9999, k, 1, d, upper=upper) for k, d in zip(kernel, dilations, strict=True)]
        begin, end = tuple(low for low, _ in found), tuple(high for _, high in found)
    elif mode == "NOTSET":
        pads = per_axis(use, "pads", 2 * rank, 0, 0)
        begin, end = pads[:rank], pads[rank:]
    if begin == end:
        return Slide(use.x(), kernel, strides, dilations, begin, False)
    flat = tuple(each for pair in zip(begin[::-1], end[::-1], strict=True) for each in pair)
    more = f', value=float("{value}")' if value else ""
    return Slide(f"F.pad({use.x()}, {flat}{more})", kernel, strides, dilations, (0,) * rank, True)


def convolution(use: Use) -> Slide:
    """The window of a convolution."""
    kernel = static(use.type(1).shape[2:])
    if kernel is None:
        use.refuse("a kernel of unknown size")
    return window_of(use, kernel)


@row("Conv")
def _conv(use: Use) -> str:
    found = convolution(use)
    given = ", ".join([found.x, *use.xs()[1:]])
    return f"F.conv{len(found.kernel)}d({given}{found.options()}{option('groups', use.int('group'), 1)})"


class Spread(NamedTuple):
    """The spreading of a transposed convolution, with the cells that are cut off its output afterwards where PyTorch
    cannot."""

    kernel: tuple[int, ...]
    options: str
    cut: tuple[tuple[int, int], ...]


def transposed(use: Use) -> Spread:
    """The window of a transposed convolution."""
    kernel = static(use.type(1).shape[2:])
    rank = len(kernel or ())
    if kernel is None or rank not in (1, 2, 3):
        use.refuse("a kernel of unknown size, or over other than 1, 2 or 3 axes")
    strides, dilations = per_axis(use, "strides", rank), per_axis(use, "dilations", rank)
    more = per_axis(use, "output_padding", rank, 0, 0)
    pads, mode, wanted = per_axis(use, "pads", 2 * rank, 0, 0), use.string("auto_pad"), use.ints("output_shape")
    begin, end = pads[:rank], pads[rank:]
    if wanted is not None or mode.startswith("SAME"):
        sizes = static(use.type().shape[2:])
        if sizes is None:
            use.refuse("pads that follow from an unknown size")
        found = [
            transpose_same_pads(size, k, s, d, p, upper=mode == "SAME_UPPER", output_size=w)
            for size, k, s, d, p, w in zip(
                sizes, kernel, strides, dilations, more, wanted or [None] * rank, strict=True
            )
        ]
        begin, end, more = (tuple(each[i] for each in found) for i in range(3))
    padding = tuple(map(min, begin, end))
    # What the end lacks of the padding on both sides is more output; all else is cut off.
    spare = [e - p - o for e, p, o in zip(end, padding, more, strict=True)]
    extra = tuple(max(0, -each) for each in spare)
    cut = tuple((b - p, max(0, each)) for b, p, each in zip(begin, padding, spare, strict=True))
    options = option("stride", short(strides), 1) + option("padding", short(padding), 0)
    options += option("output_padding", short(extra), 0) + option("groups", use.int("group"), 1)
    return Spread(kernel, options + option("dilation", short(dilations), 1), cut if any(map(any, cut)) else ())


def cut_off(x: str, cut: tuple[tuple[int, int], ...]) -> str:
    """``x`` without so many cells at the beginning and end of its last axes."""
    if not cut:
        return x
    kept = [f"{low or ''}:{-high or ''}" for low, high in cut]
    return f"{x}[..., {', '.join(kept)}]"


@row("ConvTranspose")
def _conv_transposed(use: Use) -> str:
    found = transposed(use)
    return cut_off(f"F.conv_transpose{len(found.kernel)}d({', '.join(use.xs())}{found.options})", found.cut)


def _kernel(use: Use) -> tuple[int, ...]:
    found = use.ints("kernel_shape")
    assert found is not None
    return found


@row("MaxPool")
def _max_pool(use: Use) -> str | list[str]:
    kernel = _kernel(use)
    found = window_of(use, kernel, float("-inf"))
    x, padding = found.x, found.padding
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        flat = tuple(p for p in padding[::-1] for _ in range(2))
        x, padding = f'F.pad({x}, {flat}, value=float("-inf"))', (0,) * len(kernel)
    if x != use.x() and use.type().dtype not in ("float16", "float32", "float64"):
        use.refuse("padding of whole numbers")
    if x != use.x() and use.int("ceil_mode"):
        use.refuse("ceil_mode with uneven padding")
    options = option("stride", short(found.stride), short(kernel)) + option("padding", short(padding), 0)
    options += option("dilation", short(found.dilation), 1) + option("ceil_mode", bool(use.int("ceil_mode")), False)
    if found.stride == (1,) * len(kernel) and short(kernel) != 1 and "stride" not in options:
        options = ", stride=1" + options
    called = f"F.max_pool{len(kernel)}d({x}, {short(kernel)}{options}"
    if not use.is_read(1):
        return f"{called})"
    if x != use.x() or use.int("storage_order"):
        use.refuse("indices of an uneven padding, or in column-major order")
    both = use.writer.statement(f"{use.node.name}_both", f"{called}, return_indices=True)")
    return [f"{both}[0]", use.call("global_indices", f"{both}[1]", use.x())]


@row("AveragePool")
def _average_pool(use: Use) -> str:
    kernel, ceil = _kernel(use), bool(use.int("ceil_mode"))
    found = window_of(use, kernel)
    if set(found.dilation) != {1}:
        use.refuse("a dilated average")
    rank, counts = len(kernel), bool(use.int("count_include_pad"))
    too_large = any(2 * p > k for p, k in zip(found.padding, kernel, strict=True))
    if found.is_padded or too_large:
        if ceil or (found.x.startswith("same_padded") and not counts):
            use.refuse("an average over an uneven padding, with ceil_mode or at open sizes")
        if counts:
            x = f"F.pad({found.x}, {tuple(p for p in found.padding[::-1] for _ in range(2))})" if too_large else found.x
            return f"F.avg_pool{rank}d({x}, {short(kernel)}, {short(found.stride)})"
        return use.call("pooled_mean", use.x(), _all_pads(use, kernel), kernel, found.stride)
    options = option("padding", short(found.padding), 0) + option("ceil_mode", ceil, False)
    options += "" if counts or not any(found.padding) else ", count_include_pad=False"
    return f"F.avg_pool{rank}d({found.x}, {short(kernel)}, {short(found.stride)}{options})"


def _all_pads(use: Use, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The pads of all axes in PyTorch's order."""
    rank = len(kernel)
    mode, sizes = use.string("auto_pad"), static(use.type().shape[2:])
    pads = per_axis(use, "pads", 2 * rank, 0, 0)
    found = list(zip(pads[:rank], pads[rank:], strict=True))
    if mode.startswith("SAME"):
        strides = per_axis(use, "strides", rank)
        found = [
            same_pads(size, k, s, 1, upper=mode == "SAME_UPPER")
            for size, k, s in zip(sizes or (9999,) * rank, kernel, strides, strict=True)
        ]
    return tuple(each for pair in found[::-1] for each in pair)


@row("LpPool")
def _norm_pool(use: Use) -> str:
    kernel, p = _kernel(use), use.int("p")
    found = window_of(use, kernel)
    if set(found.dilation) != {1} or (found.is_padded and use.int("ceil_mode")) or use.int("ceil_mode"):
        use.refuse("a norm over a dilated window, or with ceil_mode")
    cells = 1
    for size in kernel:
        cells *= size
    x = found.x
    if any(found.padding):
        x = f"F.pad({x}, {tuple(each for each in found.padding[::-1] for _ in range(2))})"
    power = f"{x}.abs()" if p == 1 else f"{x} ** 2" if p == 2 else f"{x}.abs() ** {p}"
    pool = f"(F.avg_pool{len(kernel)}d({power}, {short(kernel)}, {short(found.stride)}) * {cells})"
    return pool if p == 1 else f"{pool}.sqrt()" if p == 2 else f"{pool} ** {1 / p!r}"


def _all_axes(use: Use) -> tuple[int, ...]:
    return tuple(range(2, use.rank()))


@row("GlobalAveragePool")
def _global_mean(use: Use) -> str:
    return f"{use.x()}.mean({_all_axes(use)}, keepdim=True)"


@row("GlobalMaxPool")
def _global_max(use: Use) -> str:
    return f"{use.x()}.amax({_all_axes(use)}, keepdim=True)"


@row("GlobalLpPool")
def _global_norm(use: Use) -> str:
    p = use.int("p")
    power = f"{use.x()}.abs()" if p == 1 else f"{use.x()}.square()" if p == 2 else f"{use.x()}.abs() ** {p}"
    total = f"({power}).sum({_all_axes(use)}, keepdim=True)"
    return total if p == 1 else f"{total}.sqrt()" if p == 2 else f"{total} ** {1 / p!r}"


@row("MaxUnpool")
def _unpooled(use: Use) -> str:
    return use.call("unpooled", use.x(0), use.x(1), use.dims(use.output().shape))


# -- sizes


@row("Resize")
def _resize(use: Use) -> str:
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
            made = use.call("weighed", made, axis, use.writer.constant(weights.astype(use.type().dtype)))
    return made


def _interpolated(use: Use) -> str:
    """By ``F.interpolate``."""
    rank, way = use.rank() - 2, use.string("coordinate_transformation_mode")
    axes = [axis % use.rank() for axis in use.ints("axes") or range(use.rank())]
    if rank not in (1, 2, 3) or use.string("keep_aspect_ratio_policy") != "stretch" or use.int("exclude_outside"):
        use.refuse("a resize that keeps the aspect ratio, excludes the outside, or has other than 1, 2 or 3 axes")
    factors = use.known(2) if use.has(2) else None
    shape = use.output().shape
    if shape[:2] != use.type().shape[:2] or use.type().dtype not in ("float32", "float64"):
        use.refuse("a resize of the batch or the channels, or of whole numbers")
    if factors:
        by_axis = dict(zip(axes, map(float, factors), strict=True))
        scales: Sequence[float] = [by_axis.get(axis, 1.0) for axis in range(2, use.rank())]
        if use.string("mode") == "nearest":
            scales = _same_cells(use, scales, _way(use, rank, way))
        target = f"scale_factor={scales[0] if len(set(scales)) == 1 else tuple(scales)}"
    else:
        target = f"size={use.dims(shape[2:])}"
    return f"F.interpolate({use.x()}, {target}{_way(use, rank, way)})"


def _same_cells(use: Use, scales: Sequence[float], way: str) -> Sequence[float]:
    """Factors by which PyTorch copies the same cells: it rounds otherwise, so that they may be others than these."""
    mode, spatial = "nearest-exact" if "exact" in way else "nearest", range(2, use.rank())
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
    mode, nearest = use.string("mode"), use.string("nearest_mode")
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
    if way == "pytorch_half_pixel" and 1 in use.output().shape[2:]:
        use.refuse("a size of 1 by pytorch_half_pixel")
    if antialias:
        use.refuse("antialiasing")
    name = "bicubic" if mode == "cubic" else ("linear", "bilinear", "trilinear")[rank - 1]
    return f', mode="{name}", align_corners={way == "align_corners"}'


@row("GridSample")
def _grid_sample(use: Use) -> str:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(use.string("mode"), use.string("mode"))
    if use.rank() not in (4, 5) or (mode == "bicubic" and use.rank() == 5):
        use.refuse("samples of other than 2 or 3 axes")
    corners = bool(use.int("align_corners"))
    return (
        f'F.grid_sample({use.x(0)}, {use.x(1)}, mode="{mode}", padding_mode="{use.string("padding_mode")}", '
        f"align_corners={corners})"
    )


@row("AffineGrid")
def _affine_grid(use: Use) -> str:
    found = use.type(1).constant
    if found is None:
        return f"F.affine_grid({use.x(0)}, {use.x(1)}.tolist(), align_corners={bool(use.int('align_corners'))})"
    sizes = use.dims([each if isinstance(each, str) else int(each) for each in found])
    return f"F.affine_grid({use.x(0)}, {sizes}, align_corners={bool(use.int('align_corners'))})"


@row("Col2Im")
def _fold(use: Use) -> str:
    image, block = use.numbers(1), use.numbers(2)
    rank = len(image)
    strides, dilations = per_axis(use, "strides", rank), per_axis(use, "dilations", rank)
    pads = per_axis(use, "pads", 2 * rank, 0, 0)
    if rank != 2 or pads[:rank] != pads[rank:]:
        use.refuse("blocks over other than two axes, or an uneven padding")
    options = option("stride", short(strides), 1) + option("padding", short(pads[:rank]), 0)
    return f"F.fold({use.x()}, {image}, {block}{options}{option('dilation', short(dilations), 1)})"
