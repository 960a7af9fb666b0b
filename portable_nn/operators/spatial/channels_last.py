"""Depthwise and pointwise convolutions with the channels innermost in memory: (rows, columns, batch, channels).

A depthwise convolution gives a matrix product nothing to do: what takes time is to copy the cells that the windows see.
With the channels innermost nothing is copied: seen from each tap of the kernel, a row of the output is one stretch of
memory, which ``np.einsum`` multiplies by the tap's weights and adds to the result in one pass. Where the window strides
along the columns, these lie in memory by their remainder, so that this is so for every tap.

A pointwise convolution keeps this order where its input has it, so that blocks of both need no other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from portable_nn.operators.base import Array, KernelContext, Order, Step
from portable_nn.operators.linear.products import product_of_transposed
from portable_nn.operators.spatial.sliding import WIDE_ENOUGH, Geometry
from portable_nn.sizes.operation import Window

STRETCH: Final = 1024
"""Elements that are multiplied at once, if a row of the output has as many: for fewer it takes too long to start."""

Kernel: TypeAlias = "Callable[[KernelContext, Geometry, Array], list[Step]]"

Index: TypeAlias = tuple[int | slice, ...]


def channels_last(rank: int) -> Order:
    """The order of the axes in memory: space, batch, channels."""
    return (*range(2, rank + 2), 0, 1)


def channels_innermost(n: KernelContext, geometry: Geometry) -> Kernel | None:
    """The kernel of a convolution with the channels innermost, where it is faster so."""
    if n.x[0].dtype.itemsize < 4 or geometry.rank > 3 or 0 in (*geometry.big, *geometry.small):
        return None
    if 1 < geometry.group == geometry.big[1] and geometry.small[0] * geometry.small[-1] < WIDE_ENOUGH:
        return _depthwise
    at_places = geometry.group == 1 and all(w.kernel == w.stride == 1 and not any(w.pads) for w in geometry.windows)
    return _pointwise if at_places and _lies_channels_last(n.x[0]) else None


def _lies_channels_last(x: Array) -> bool:
    """True if the channels of ``x`` are next to each other in memory, and the cells of a channel are not."""
    return not x.flags.c_contiguous and x.transpose(channels_last(x.ndim - 2)).flags.c_contiguous


def _pointwise(n: KernelContext, geometry: Geometry, out: Array) -> list[Step]:
    """The convolution as one product: cells by channels."""
    x, weight = n.x[:2]
    order = channels_last(geometry.rank)
    cells, found = (array.transpose(order).reshape(-1, array.shape[1]) for array in (x, out))
    return product_of_transposed(cells, weight.reshape(weight.shape[:2]), found)


def _depthwise(n: KernelContext, geometry: Geometry, out: Array) -> list[Step]:
    """out[position, m] = Σ weight[m, tap] · x[position · stride + tap · dilation - pad, m / multiplier]."""
    filters, batch, width = geometry.small[1], geometry.small[0], geometry.small[-1]
    columns = next(d for d in range(1, width + 1) if width % d == 0 and (d * batch * filters >= STRETCH or d == width))
    fill, x = _by_remainder(n, geometry)
    more, taps = _spread_weight(n, geometry.kernel, (columns, batch, filters))
    found = out.transpose(channels_last(geometry.rank)).reshape(*geometry.small[2:-1], width // columns, -1)
    steps = [*fill, *more]
    groups = _taps_by_remainder(geometry.windows[-1])
    part = n.scratch(found.shape, out.dtype) if len(groups) > 1 else found
    for number, (chosen, remainder, start, step) in enumerate(groups):
        places, seen, weight = "abc"[: geometry.rank], "uvw"[: geometry.rank], taps[..., chosen, :]
        view = _seen(x, geometry, remainder, start, (step, weight.shape[-2]), columns)
        formula = f"{places}{seen}x,{seen}x->{places}x"
        steps.append(partial(np.einsum, formula, view, weight, out=part if number else found))
        if number:
            steps.append(partial(np.add, found, part, out=found))
    return steps


def _taps_by_remainder(w: Window) -> list[tuple[slice, int, int, int]]:
    """The taps that meet columns of one remainder by the stride: taps, remainder, first column, step."""
    apart = math.gcd(w.stride, w.dilation)
    every = w.stride // apart
    firsts = range(min(every, w.kernel))
    return [
        (slice(first, None, every), first * w.dilation % w.stride, first * w.dilation // w.stride, w.dilation // apart)
        for first in firsts
    ]


def _by_remainder(n: KernelContext, geometry: Geometry) -> tuple[list[Step], Array]:
    """The input with zeros around it as (rows, remainder, columns, batch, channels of the output)."""
    x, last, filters = n.x[0], geometry.windows[-1], geometry.small[1]
    outer = [size + sum(w.pads) for size, w in zip(geometry.big[2:-1], geometry.windows, strict=False)]
    wide = -(-(geometry.big[-1] + sum(last.pads)) // last.stride)
    shape = (*outer, last.stride, wide, geometry.big[0], filters)
    kind = f"channels last {[w.pads for w in geometry.windows]} {last.stride}"
    padded, first = n.derived(0, kind, shape)
    if not first:
        return [], padded
    inside = tuple(
        slice(w.pad_begin, w.pad_begin + size) for size, w in zip(geometry.big[2:-1], geometry.windows, strict=False)
    )
    source = x.transpose(channels_last(geometry.rank))
    multiplier = filters // geometry.group
    repeated = padded
    if multiplier > 1:
        source, repeated = source[..., None], padded.reshape(*shape[:-1], geometry.group, multiplier)
    steps: list[Step] = []
    for remainder in range(last.stride):
        begin = (remainder - last.pad_begin) % last.stride  # The first column that lies here.
        chosen = source[(slice(None),) * len(inside) + (slice(begin, None, last.stride),)]
        place = (begin + last.pad_begin) // last.stride
        columns = (remainder, slice(place, place + chosen.shape[len(inside)]))
        target = repeated[inside + columns]
        if chosen.size:
            steps.append(partial(np.copyto, target, chosen))
    return steps, padded


def _spread_weight(n: KernelContext, kernel: tuple[int, ...], like: tuple[int, ...]) -> tuple[list[Step], Array]:
    """The weight as (taps …, columns · batch · channels): the same for each column and example."""
    weight = n.x[1]
    ordered = np.moveaxis(weight.reshape(weight.shape[0], *kernel), 0, -1)
    taps = n.scratch(ordered.shape, weight.dtype)
    steps: list[Step] = [partial(np.copyto, taps, ordered)]
    if math.prod(like) > taps.shape[-1]:
        narrow, taps = taps, n.scratch((*kernel, *like), weight.dtype)
        steps.append(partial(np.copyto, taps, narrow[..., None, None, :]))
    return steps, taps.reshape(*kernel, -1)


def _seen(x: Array, geometry: Geometry, remainder: int, start: int, along: tuple[int, int], columns: int) -> Array:
    """The cells in the windows: (rows, columns of the output by ``columns``, taps, a stretch of memory), a view.

    ``along`` is the distance between taps along the columns, and their number.
    """
    rank, outer = geometry.rank, geometry.windows[:-1]
    *rows, _, column, _, _ = x.strides
    step, taps = along
    stretch = columns * x.shape[-2] * x.shape[-1]
    shape = (*geometry.small[2:-1], geometry.small[-1] // columns, *geometry.kernel[:-1], taps, stretch)
    strides = [
        *(w.stride * row for w, row in zip(outer, rows, strict=True)),
        columns * column,
        *(w.dilation * row for w, row in zip(outer, rows, strict=True)),
        step * column,
        x.itemsize,
    ]
    seen = x[(slice(None),) * (rank - 1) + (remainder, slice(start, None))]
    return as_strided(seen, shape, strides)
