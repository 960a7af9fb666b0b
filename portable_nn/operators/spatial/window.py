"""Shared by convolutions and pools: a window that slides along the axes behind batch and channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from portable_nn.core.dims import product, rounded_quotient, total
from portable_nn.core.errors import ShapeError
from portable_nn.operators.base import Attr, Dim, OperatorContext, Shape, format_shape
from portable_nn.sizes.operation import Window

ATTRIBUTES: Final[Mapping[str, Attr]] = {
    "auto_pad": Attr(str, "NOTSET"),
    "dilations": Attr(tuple),
    "kernel_shape": Attr(tuple),
    "pads": Attr(tuple),
    "strides": Attr(tuple),
}
"""The attributes that all convolutions and pools have."""

AUTO_PADS: Final = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def spatial_sizes(use: OperatorContext) -> Shape:
    """The sizes of the axes that the window slides along; fails where the first input has none."""
    shape = use.type().shape
    if len(shape) < 3:
        use.fail(f"{use.operator.input_name(0)} must be (batch, channels, size, …), not {format_shape(shape)}")
    return shape[2:]


def per_axis(use: OperatorContext, name: str, length: int, default: int = 1, least: int = 1) -> tuple[int, ...]:
    """An attribute with a number for each axis."""
    given = use.ints(name)
    if given is None:
        return (default,) * length
    if len(given) != length:
        use.fail(f"{name} must be {length} {'number' if length == 1 else 'numbers'}, not {given}")
    if min(given, default=least) < least:
        use.fail(f"{name} must be {least} or more, not {given}")
    return given


def windows(use: OperatorContext, kernel: Sequence[int], sizes: Shape) -> list[Window]:
    """The window along each axis of ``sizes``, with ``auto_pad`` resolved to numbers.

    Where a size is symbolic, such pads are left at 0; ``slide`` finds the output size all the same.
    """
    mode = use.choice("auto_pad", AUTO_PADS)
    found = plain_windows(use, kernel)
    if mode != "NOTSET" and any(any(w.pads) for w in found):
        use.fail(f"pads {use.ints('pads')} and auto_pad {mode} exclude each other")
    if mode.startswith("SAME"):
        pairs = zip(found, sizes, strict=True)
        found = [w.same(size, upper=mode == "SAME_UPPER") if isinstance(size, int) else w for w, size in pairs]
    return found


def plain_windows(use: OperatorContext, kernel: Sequence[int]) -> list[Window]:
    """The window along each axis, with the pads that the attributes name."""
    rank = len(kernel)
    strides, dilations = per_axis(use, "strides", rank), per_axis(use, "dilations", rank)
    pads = per_axis(use, "pads", 2 * rank, 0, 0)
    return [Window(*each) for each in zip(kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)]


def reaching(w: Window, size: int) -> Window:
    """The window of a pool with ``ceil_mode`` over ``size`` cells, with an end padding that reaches as far as the last.

    With these pads the pool has as many windows without ``ceil_mode``.
    """
    end = (w.output_size(size, ceil=True) - 1) * w.stride + w.extent - size - w.pad_begin
    return replace(w, pad_end=max(w.pad_end, end))


def slide(use: OperatorContext, found: Sequence[Window], sizes: Shape, *, ceil: bool = False) -> list[Dim]:
    """The number of times that each window fits: the spatial sizes of the output of a convolution or pool."""
    return [_often(use, axis, w, size, ceil) for axis, (w, size) in enumerate(zip(found, sizes, strict=True), start=2)]


def _often(use: OperatorContext, axis: int, w: Window, size: Dim, ceil: bool) -> Dim:
    if isinstance(size, int):
        try:
            return w.output_size(size, ceil=ceil)
        except ShapeError as error:
            use.fail(f"along axis {axis}: {error}")
    if use.string("auto_pad").startswith("SAME"):
        return rounded_quotient("ceil", size, w.stride)
    room = total([size, w.pad_begin + w.pad_end - w.extent])
    return total([rounded_quotient("ceil" if ceil else "floor", room, w.stride), 1])


def spread(use: OperatorContext, found: Sequence[Window], sizes: Shape) -> list[Dim]:
    """The spatial sizes of the output of a transposed convolution."""
    return [_spread(use, axis, w, size) for axis, (w, size) in enumerate(zip(found, sizes, strict=True), start=2)]


def _spread(use: OperatorContext, axis: int, w: Window, size: Dim) -> Dim:
    if not isinstance(size, int):
        more = w.extent + w.output_padding - w.stride - w.pad_begin - w.pad_end
        return total([product([w.stride, size]), more])
    try:
        return w.spread_size(size)
    except ShapeError as error:
        use.fail(f"along axis {axis}: {error}")


def taps(w: Window, tap: int, size: int, count: int) -> tuple[slice, slice]:
    """Of ``count`` windows over ``size`` cells, those whose ``tap`` meets a cell and no padding; and these cells."""
    offset = tap * w.dilation - w.pad_begin
    first, last = max(0, -(offset // w.stride)), min(count - 1, (size - 1 - offset) // w.stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    start = first * w.stride + offset
    return slice(first, last + 1), slice(start, last * w.stride + offset + 1, w.stride)
