"""The bilinear map behind all convolutions, as matrix products.

It ties a ``big`` side, over which windows slide, to a ``small`` one with a cell for each window, by a weight
(channels of the small side, channels of the big side / group, kernel). Each of the three follows from the other two:

- ``to_small``: Conv, and the gradient of the input of ConvTranspose;
- ``to_big``: ConvTranspose, and the gradient of the input of Conv;
- ``to_weight``: the gradient of the weight of both.

The batch is innermost in memory. A product then needs only the kernel's width unrolled (``_columns``, a partial
im2col): its height is a view of overlapping matrices, as long as its rows are not dilated. So results are laid out by
rows: (rows, channels, columns, batch). Where that does not pay, in planes: (channels, rows, columns, batch).
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from portable_nn.operators.base import Array, KernelContext, Order, Step, laid_in
from portable_nn.operators.linear.products import product
from portable_nn.operators.spatial.window import taps
from portable_nn.sizes.operation import Window

WIDE_ENOUGH: Final = 64
"""Columns of a product from which it pays to make one for each row of the output."""

SHORT: Final = 16
"""Elements up to which it pays to copy a stretch of memory as one of them."""


class Geometry(NamedTuple):
    """One convolution at known sizes: (batch, channels, …) of both sides, the window along each axis, the groups."""

    big: tuple[int, ...]
    small: tuple[int, ...]
    windows: tuple[Window, ...]
    group: int

    @property
    def kernel(self) -> tuple[int, ...]:
        """The taps along each axis."""
        return tuple(w.kernel for w in self.windows)

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.windows)

    @property
    def by_rows(self) -> bool:
        """True if the windows overlap as matrices, and a row of the small side is wide enough for a product."""
        wide = self.small[0] * self.small[-1] >= WIDE_ENOUGH
        return wide and self.rank > 1 and self.windows[-2].dilation == 1

    @property
    def reversible(self) -> bool:
        """True if also the rows of the small side that meet a row of the big one stand side by side."""
        rows = self.windows[-2:][0]
        return self.by_rows and rows.stride == 1 and max(rows.pads) < rows.kernel

    @property
    def order(self) -> Order:
        """The order of the axes of the results in memory."""
        return _by_rows(self.rank) if self.by_rows else _planes(self.rank)


def _by_rows(rank: int) -> Order:
    return (*range(2, rank + 1), 1, rank + 1, 0)


def _planes(rank: int) -> Order:
    return (*range(1, rank + 2), 0)


# -- the three products


def to_small(n: KernelContext, geometry: Geometry, big: int, weight: Array, small: Array) -> list[Step]:
    """small[m, position] = Σ weight[m, c, tap] · big[c, position · stride + tap · dilation - pad]."""
    group, channels = geometry.group, geometry.small[1] // geometry.group
    if not geometry.by_rows:
        steps, columns = _columns(n, geometry, big)
        more, matrix = _as(n, weight, (group, channels, columns.shape[1]))
        out = small.transpose(_planes(geometry.rank)).reshape(group, channels, columns.shape[2])
        return [*steps, *more, *product(matrix, columns, out)]
    steps, columns = _columns(n, geometry, big)
    matrix, ordered = _kernel_rows_first(n, geometry, weight)
    out = small.transpose(_by_rows(geometry.rank))
    out = out.reshape(*out.shape[:-3], group, channels, geometry.small[-1] * geometry.small[0])
    matrix = matrix.reshape(group, *(1,) * (geometry.rank - 1), channels, -1)
    return [*steps, *ordered, *product(matrix, columns, np.moveaxis(out, -3, 0))]


def to_big(n: KernelContext, geometry: Geometry, small: int, weight: Array, big: Array) -> list[Step]:
    """big[c, position · stride + tap · dilation - pad] = Σ weight[m, c, tap] · small[m, position]."""
    rank, group, kernel = geometry.rank, geometry.group, geometry.kernel
    batch, channels, width = geometry.small[0], geometry.big[1] // group, geometry.small[-1]
    if geometry.reversible:
        steps, stack = _stacked_rows(n, geometry, small)
        # (group, m, c, …, rows, columns) -> (group, …, c, columns, rows from the last, m)
        parts = weight.reshape(group, -1, channels, *kernel)[..., ::-1, :]
        axes = (0, *range(3, rank + 1), 2, rank + 2, rank + 1, 1)
        matrix = n.scratch(tuple(parts.shape[axis] for axis in axes), weight.dtype)
        steps.append(partial(np.copyto, matrix, parts.transpose(axes)))
        shape = (group, *geometry.small[2:-2], geometry.big[-2], *kernel[:-2], channels, kernel[-1], width, batch)
        found = n.scratch(shape, weight.dtype)
        out = found.reshape(*shape[:rank], matrix[0].size // stack.shape[-2], width * batch)
        steps += product(matrix.reshape(group, *(1,) * (rank - 1), *out.shape[-2:-1], -1), stack, out)
        # The rows are those of the big side already.
        places, tap_axes = [*range(1, rank), 2 * rank], [*range(rank, 2 * rank - 2), None, 2 * rank - 1]
        return [*steps, *_scatter(geometry, found, places, tap_axes, 2 * rank - 2, big)]
    steps, planes = _channels_first(n, geometry, small)
    more, matrix = _as(n, weight, (group, geometry.small[1] // group, channels * math.prod(kernel)))
    found = n.scratch((group, channels, *kernel, *geometry.small[2:], batch), weight.dtype)
    out = found.reshape(group, matrix.shape[2], planes.shape[2])
    steps += [*more, *product(np.swapaxes(matrix, 1, 2), planes, out)]
    places = list(range(2 + rank, 2 + 2 * rank))
    return [*steps, *_scatter(geometry, found, places, list(range(2, 2 + rank)), 1, big)]


def to_weight(n: KernelContext, geometry: Geometry, big: int, small: int, weight: Array) -> list[Step]:
    """weight[m, c, tap] = Σ small[m, position] · big[c, position · stride + tap · dilation - pad]."""
    rank, group, kernel = geometry.rank, geometry.group, geometry.kernel
    filters, channels = geometry.small[1] // group, geometry.big[1] // group
    if not geometry.by_rows:
        steps, columns = _columns(n, geometry, big)
        more, planes = _channels_first(n, geometry, small)
        return [*steps, *more, *product(planes, np.swapaxes(columns, 1, 2), weight.reshape(group, filters, -1))]
    inner = channels * math.prod(kernel) // kernel[-2]
    stacked = geometry.reversible and kernel[-2] * filters + inner < filters + kernel[-2] * inner
    if stacked:  # Fewer numbers to read than those of the kernel's rows of the big side.
        steps, columns = _columns(n, geometry, big, rows_alone=True)
        more, stack = _stacked_rows(n, geometry, small)
    else:
        steps, columns = _columns(n, geometry, big)
        more, stack = _rows(n, geometry, small)
    products = n.scratch((*stack.shape[:-1], columns.shape[-2]), weight.dtype)
    steps += [*more, *product(stack, np.swapaxes(columns, -1, -2), products)]
    found = n.scratch((group, *products.shape[-2:]), weight.dtype)
    steps.append(partial(np.add.reduce, products, axis=tuple(range(1, rank)), out=found))
    rest = (*kernel[:-2], channels, kernel[-1])
    if stacked:
        split = np.swapaxes(found.reshape(group, kernel[-2], filters, *rest), 1, 2)[:, :, ::-1]
    else:
        split = found.reshape(group, filters, kernel[-2], *rest)
    # (group, m, rows, …, c, columns) -> (group, m, c, …, rows, columns)
    ordered = split.transpose(0, 1, rank + 1, *range(3, rank + 1), 2, rank + 2)
    return [*steps, partial(np.copyto, weight.reshape(ordered.shape), ordered)]


# -- arrays as matrices


def _padded(n: KernelContext, index: int, pads: Sequence[tuple[int, int]], order: Order) -> tuple[list[Step], Array]:
    """Input ``index`` with zeros around it, laid in ``order``; itself where there is nothing to add."""
    array = n.x[index]
    if not any(map(any, pads)):
        return [], array
    shape = [size + sum(pads) for size, pads in zip(array.shape, pads, strict=True)]
    memory, first = n.derived(index, f"padded {pads} {order}", tuple(shape[axis] for axis in order))
    padded = laid_in(order, memory)
    inside = tuple(slice(begin, begin + size) for size, (begin, _) in zip(array.shape, pads, strict=True))
    return [partial(np.copyto, padded[inside], array)] if first else [], padded


def _as(n: KernelContext, view: Array, shape: tuple[int, ...]) -> tuple[list[Step], Array]:
    """``view`` in C order under another shape: the same memory where that is possible, otherwise a copy."""
    with contextlib.suppress(ValueError):
        flat = view.reshape(shape, copy=False)
        if flat.flags.c_contiguous:
            return [], flat
    copy = n.scratch(view.shape, view.dtype)
    return [_copied(copy, view)], copy.reshape(shape)


def _copied(target: Array, source: Array) -> Step:
    """Copy an array of the same shape; short stretches, such as a small batch, as one element each.

    numpy copies the last axis in a loop of its own, whose start costs more than a few elements.
    """
    stretch = source.shape[-1] * source.itemsize
    apart = source.strides[-2] != stretch and source.strides[-1] == target.strides[-1] == source.itemsize
    if 1 < source.shape[-1] <= SHORT and apart:
        whole = np.dtype((np.void, stretch))
        target, source = target.view(whole)[..., 0], source.view(whole)[..., 0]
    return partial(np.copyto, target, source)


def _columns(n: KernelContext, geometry: Geometry, index: int, *, rows_alone: bool = False) -> tuple[list[Step], Array]:
    """The cells of the big side that the windows see, as matrices with a row for each tap and channel.

    By rows: (group, outer positions …, rows, taps · c, columns · batch), the taps of one row of the kernel after those
    of the row before, for each row of the small side. With ``rows_alone``: for each row of the big side, a single row
    of the kernel. In planes: (group, c · taps, positions · batch).
    """
    rank, group = geometry.rank, geometry.group
    steps, big = _padded(n, index, [(0, 0), (0, 0), *(w.pads for w in geometry.windows)], geometry.order)
    if rows_alone:
        begin = geometry.windows[-2].pad_begin
        big = big[(slice(None),) * rank + (slice(begin, begin + geometry.big[-2]),)]
    batch, channels, *spatial = big.strides
    per_group = big.shape[1] // group
    tap_axes = [(w.kernel, w.dilation * stride) for w, stride in zip(geometry.windows, spatial, strict=True)]
    places = [(count, w.stride * s) for count, w, s in zip(geometry.small[2:], geometry.windows, spatial, strict=True)]
    c, g, last = (per_group, channels), (group, per_group * channels), (big.shape[0], batch)
    if geometry.by_rows:
        axes = [g, *places[:-2], (big.shape[rank], spatial[-2]), *tap_axes[:-2], c, tap_axes[-1], places[-1], last]
    else:
        axes = [g, c, *tap_axes, *places, last]
    view = as_strided(big, [size for size, _ in axes], [stride for _, stride in axes])
    if not geometry.by_rows:
        more, columns = _as(n, view, (group, per_group * math.prod(geometry.kernel), math.prod(view.shape[2 + rank :])))
        return steps + more, columns
    inner, wide = math.prod(view.shape[rank:-2]), math.prod(view.shape[-2:])
    more, columns = _as(n, view, (*view.shape[:rank], inner, wide))
    if rows_alone:
        return steps + more, columns
    w = geometry.windows[-2]
    *outer, row, tap, cell = columns.strides
    shape = (*columns.shape[: rank - 1], geometry.small[-2], w.kernel * inner, wide)
    return steps + more, as_strided(columns, shape, (*outer, w.stride * row, tap, cell))


def _kernel_rows_first(n: KernelContext, geometry: Geometry, weight: Array) -> tuple[Array, list[Step]]:
    """The weight as (m, rows, …, c, columns): the order of the taps in ``columns`` by rows."""
    rank = geometry.rank
    return n.in_order(weight.transpose(0, rank, *range(2, rank), 1, rank + 1))


def _rows(n: KernelContext, geometry: Geometry, index: int) -> tuple[list[Step], Array]:
    """The small side as (group, outer positions …, rows, m, columns · batch)."""
    lying = n.x[index].transpose(_by_rows(geometry.rank))
    *lead, channels, width, batch = lying.shape
    steps, split = _as(n, lying, (*lead, geometry.group, channels // geometry.group, width * batch))
    return steps, np.moveaxis(split, -3, 0)


def _stacked_rows(n: KernelContext, geometry: Geometry, index: int) -> tuple[list[Step], Array]:
    """For each row of the big side, the rows of the small one that meet it, the last row of the kernel first.

    (group, outer positions …, rows of the big side, kernel rows · m, columns · batch).
    """
    rank, group, w, small = geometry.rank, geometry.group, geometry.windows[-2], n.x[index]
    rows, kernel = geometry.big[-2], w.kernel
    begin = kernel - 1 - w.pad_begin
    end = rows + kernel - 1 - begin - geometry.small[-2]
    filters = geometry.small[1] // group
    lying = small.transpose(_by_rows(rank))
    lead = lying.shape[: rank - 2]
    shape = (group, *lead, rows + kernel - 1, filters, lying.shape[-2] * lying.shape[-1])
    steps: list[Step] = []
    if group == 1 and begin == end == 0 and lying.flags.c_contiguous:
        stack = lying.reshape(shape)
    else:
        stack, first = n.derived(index, f"stacked {begin} {group}", shape)
        split = stack.reshape(*shape[:-1], *lying.shape[-2:])
        inside = split[(slice(None),) * (rank - 1) + (slice(begin, begin + geometry.small[-2]),)]
        source = small.reshape(small.shape[0], group, filters, *small.shape[2:])
        source = source.transpose(1, *range(3, rank + 2), 2, rank + 2, 0)
        if first:
            steps.append(partial(np.copyto, inside, source))
    strides = (*stack.strides[:rank], *stack.strides[-2:])
    return steps, as_strided(stack, (*shape[: rank - 1], rows, kernel * filters, shape[-1]), strides)


def _channels_first(n: KernelContext, geometry: Geometry, index: int) -> tuple[list[Step], Array]:
    """The small side as (group, m, positions · batch)."""
    lying = n.x[index].transpose(_planes(geometry.rank))
    return _as(n, lying, (geometry.group, geometry.small[1] // geometry.group, math.prod(lying.shape[1:])))


def _scatter(
    geometry: Geometry,
    source: Array,
    places: list[int],
    tap_axes: Sequence[int | None],
    channel: int,
    big: Array,
) -> list[Step]:
    """Add what stands at every tap to the cell that it meets.

    ``source`` has the group first, the batch last, and the axes of positions, taps and channels as given; an axis
    without taps is that of ``big`` already.
    """
    used = [axis for axis in tap_axes if axis is not None]
    by_tap = source.transpose(*used, source.ndim - 1, 0, channel, *places)
    target = big.reshape(big.shape[0], geometry.group, big.shape[1] // geometry.group, *big.shape[2:])
    counts = [
        range(w.kernel) if axis is not None else range(1) for w, axis in zip(geometry.windows, tap_axes, strict=True)
    ]
    moves: list[tuple[Array, Array]] = []
    for tap in itertools.product(*counts):
        index = tuple(t for t, axis in zip(tap, tap_axes, strict=True) if axis is not None)
        pairs = [
            taps(w, t, size, count) if axis is not None else (slice(None), slice(None))
            for w, t, size, count, axis in zip(
                geometry.windows, tap, geometry.big[2:], geometry.small[2:], tap_axes, strict=True
            )
        ]
        every = (slice(None),) * 3
        moves.append(
            (target[every + tuple(to for _, to in pairs)], by_tap[index][every + tuple(at for at, _ in pairs)])
        )
    whole = next((place for place, (to, _) in enumerate(moves) if to.shape == target.shape), None)
    first = partial(target.fill, 0) if whole is None else partial(np.copyto, *moves.pop(whole))
    steps: list[Step] = [first]
    return steps + [partial(np.add, to, part, out=to) for to, part in moves if part.size]
