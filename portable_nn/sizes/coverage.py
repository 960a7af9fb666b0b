"""The cells that an operation covers, and how often: exact, along each axis separately.

For a convolution or pool: how many of its windows read each input cell. For a transposed convolution: how many taps of
its kernel land on each output cell. Both count the same pairs (position, tap), because a
transposed convolution is the gradient of a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from math import gcd
from operator import itemgetter
from typing import Final

from portable_nn.sizes.operation import Kind, Operation, PerAxis, Window, input_sizes, joined

AXIS_NAMES = {2: ("rows", "columns"), 3: ("slices", "rows", "columns")}

REGULAR: Final = 4
"""Of more ranges that are alike and equally far apart, all but one of these and the last are named."""

MOST_PARTS: Final = 8
"""The most ranges that are named where they are not."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage along one axis, of the input cells; of the output cells for a transposed convolution.

    Attributes:
        counts: how many windows, or taps, cover each cell.
        phases: the counts away from the edges, which repeat with the stride; that of cell 0 first.
        idle: the positions on the other side that cover no cell: windows that hold nothing but padding, or inputs of a
            transposed convolution whose whole contribution is cropped.
        uneven: whether a transposed convolution covers some cells with more taps than others, which risks
            checkerboard artifacts.

    Source: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill (2016).
    """

    counts: tuple[int, ...]
    phases: tuple[int, ...]
    idle: tuple[int, ...]
    uneven: bool

    @property
    def uncovered(self) -> tuple[int, ...]:
        """The cells that are not covered: inputs that are never read, or outputs that hold the bias alone."""
        return tuple(cell for cell, count in enumerate(self.counts) if not count)

    @property
    def leading(self) -> int:
        """The number of uncovered cells before the first covered one."""
        return next((cell for cell, count in enumerate(self.counts) if count), len(self.counts))

    @property
    def trailing(self) -> int:
        """The number of uncovered cells after the last covered one."""
        after = next((cell for cell, count in enumerate(reversed(self.counts)) if count), 0)
        return after if any(self.counts) else 0

    @property
    def holes(self) -> tuple[int, ...]:
        """The uncovered cells between covered ones."""
        first, end = self.leading, len(self.counts) - self.trailing
        return tuple(cell for cell in self.uncovered if first <= cell < end)

    def words(self, cells: str = "cells") -> str:
        """The uncovered cells in words: "column 5 (the last of 6)"; empty where all are covered."""
        total = len(self.counts)
        if self.leading == total:
            return f"all {total} {cells}"
        ends = ((range(self.leading), "the first"), (range(total - self.trailing, total), "the last"))
        parts = [
            f"{cells_text(edge, cells)} ({where}{f' {len(edge)}' if len(edge) > 1 else ''} of {total})"
            for edge, where in ends
            if edge
        ]
        if holes := self.holes:
            parts.insert(bool(self.leading), f"{cells_text(holes, cells)} (inside, {len(holes)} of {total})")
        return ", ".join(parts)


def coverage(operation: Operation, sizes: PerAxis) -> tuple[Coverage, ...]:
    """The cells that ``operation`` covers of its input (conv, pool) or output (convt), for each axis. Raises
    ``ShapeError``."""
    found = input_sizes(sizes)
    whole = operation.resolved(found)
    axes = zip(whole.windows, found, whole.output_size(found), strict=True)
    return tuple(axis_coverage(whole.kind == "convt", *axis) for axis in axes)


def axis_coverage(transposed: bool, window: Window, inputs: int, outputs: int) -> Coverage:
    """``coverage`` along one axis, whose output size is known."""
    positions, cells = (inputs, outputs) if transposed else (outputs, inputs)
    # Those whose first tap is on a cell need no look.
    first, end = (min(-(-cell // window.stride), positions) for cell in (window.pad_begin, window.pad_begin + cells))
    others = chain(range(first), range(end, positions))
    idle = tuple(position for position in others if not _covers(window, position, cells))
    return Coverage(_counts(window, positions, cells), phases(window), idle, transposed and _uneven(window, positions))


def is_faulty(kind: Kind, window: Window, inputs: int, outputs: int) -> bool:
    """True if a cell is uncovered, or the overlap is uneven: faster than the whole ``Coverage``, for a search."""
    if kind == "convt":
        return _uneven(window, inputs) or _has_uncovered(window, inputs, outputs)
    return _has_uncovered(window, outputs, inputs)


def phases(window: Window) -> tuple[int, ...]:
    """The number of taps that cover a cell away from the edges, for each phase of the stride."""
    common = gcd(window.stride, window.dilation)
    lap = window.stride // common
    inverse, (fewest, rest) = pow(window.dilation // common, -1, lap), divmod(window.kernel, lap)
    cells = range(window.pad_begin, window.pad_begin + window.stride)
    return tuple(0 if cell % common else fewest + (cell // common * inverse % lap < rest) for cell in cells)


def axis_name(axis: int, axes: int) -> str:
    """The name of the cells along an axis: rows and columns of an image, cells of a single axis."""
    return AXIS_NAMES[axes][axis] if axes in AXIS_NAMES else "cells" if axes == 1 else f"cells of axis {axis}"


def cells_text(cells: Sequence[int], plural: str) -> str:
    """Positions in words: ``column 5``, ``columns 1, 2 and 7``, ``columns 2 to 4 and 7 to 9``.

    What goes on regularly is cut short: ``columns 1, 3, 5, ... 27``, ``columns 2 to 4, 7 to 9, ... 97 to 99``. Of what
    does not, the first parts are named.
    """
    noun, of, where = plural.partition(" of ")
    if len(cells) == 1:
        return f"{noun.removesuffix('s')} {cells[0]}{of}{where}"
    return f"{noun} {_runs_text(_runs(cells))}{of}{where}"


def _runs(cells: Sequence[int]) -> list[range]:
    """Positions, in order, as ranges without gaps."""
    starts = [place for place, cell in enumerate(cells) if place == 0 or cell != cells[place - 1] + 1]
    ends = [*starts[1:], len(cells)]
    return [range(cells[start], cells[start] + end - start) for start, end in zip(starts, ends, strict=True)]


def _runs_text(runs: Sequence[range]) -> str:
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    is_regular = len({len(run) for run in runs}) == 1 and len({b[0] - a[0] for a, b in pairwise(runs)}) == 1
    if is_regular and len(runs) > REGULAR:
        return f"{', '.join(parts[: REGULAR - 1])}, ... {parts[-1]}"
    if len(runs) > MOST_PARTS:
        more = sum(map(len, runs[MOST_PARTS - 2 :]))
        return f"{', '.join(parts[: MOST_PARTS - 2])} and {more:,} more up to {runs[-1][-1]}"
    return joined(", ".join(parts).split(", "))


def _counts(window: Window, positions: int, cells: int) -> tuple[int, ...]:
    """For each cell, how many pairs (position, tap) cover it: prefix sums, in time proportional to the length."""
    # The kernel's positions, each moved by every tap; or its taps, each moved to every position: what is fewer.
    moves = (positions, window.stride), (window.kernel, window.dilation)
    (fewer, apart), (more, step) = sorted(moves, key=itemgetter(0))
    line = [0] * cells
    for number in range(fewer):
        start = number * apart - window.pad_begin
        first = max(0, -(start // step))
        if first < more and start + first * step < cells:
            line[start + first * step] += 1
            if start + more * step < cells:
                line[start + more * step] -= 1
    for phase in range(min(step, cells)):
        line[phase::step] = accumulate(line[phase::step])
    return tuple(line)


def _has_uncovered(window: Window, positions: int, cells: int) -> bool:
    """True if one of the ``cells`` is covered by no tap."""
    stride, line = window.stride, window.stride * (positions - 1) + window.extent
    if window.pad_begin + cells > line or (cells > 1 and gcd(stride, window.dilation) > 1):
        return True
    # Away from the edges the cells repeat with the stride: a few of those positions are as good as all.
    cropped = window.pad_begin + (line - window.pad_begin - cells)
    edges = window.dilation * (window.kernel // stride + 2) + cropped // stride + 4
    spare = max(0, positions - edges)
    # A bit for each cell: the positions of the kernel, then their union, shifted by each tap.
    touched = _repeated(_repeated(1, stride, positions - spare), window.dilation, window.kernel)
    every = (1 << cells - spare * stride) - 1
    return (touched >> window.pad_begin) & every != every


def _repeated(bits: int, step: int, count: int) -> int:
    """``bits``, and ``count - 1`` times themselves shifted by a further ``step``."""
    done = 1
    while done < count:
        more = min(done, count - done)
        bits, done = bits | bits << more * step, done + more
    return bits


def _uneven(window: Window, positions: int) -> bool:
    common = gcd(window.stride, window.dilation)
    return positions > 1 and (common > 1 or window.kernel % window.stride > 0)


def _covers(window: Window, position: int, cells: int) -> bool:
    """True if a tap of the kernel at ``position`` is on one of the ``cells``."""
    start = position * window.stride - window.pad_begin
    first = max(0, -(start // window.dilation))
    return first < window.kernel and start + first * window.dilation < cells
