"""What a kernel moves over, along one axis: the cells of the input, and those between, around and beyond them.

A transposed convolution is laid out as the convolution that computes the same: zeros are put between the cells of its
input and rings of zeros around, the padding takes away, and the kernel moves by one cell. Source: Dumoulin and Visin,
"A guide to convolution arithmetic for deep learning" (2016), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from portable_nn.sizes.coverage import coverage
from portable_nn.sizes.operation import Operation, PerAxis, Window, input_sizes


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells along one axis, where the kernel stands for each output cell, and what it reads there.

    ``kinds`` says what each cell is: "input"; "unread", an input cell that no window reads; "padding"; "beyond", where
    only a pool with ``ceil`` stands; of a transposed convolution "zero", between the input cells, "ring", around them,
    and "added", which is output padding. Of these, ``cut`` are taken away at the begin and at the end.

    ``starts`` has the first cell of the kernel for each output cell; its ``taps`` are counted from there. ``outputs``
    says what each output cell is: "output", or "unread" where it holds the bias alone; ``landing`` how many taps land
    on it, of a transposed convolution.
    """

    kinds: tuple[str, ...]
    cut: tuple[int, int]
    starts: tuple[int, ...]
    taps: tuple[int, ...]
    outputs: tuple[str, ...]
    landing: tuple[int, ...] = ()

    def trimmed(self) -> Grid:
        """The same without what is cut."""
        begin, end = self.cut
        kinds = self.kinds[begin : len(self.kinds) - end]
        return replace(self, kinds=kinds, cut=(0, 0), starts=tuple(start - begin for start in self.starts))


LINE = Grid(("input",), (0, 0), (0,), (0,), ("output",), (1,))
"""The axis across, of an operation that has a single axis."""


def grids(operation: Operation, sizes: PerAxis) -> tuple[Grid, ...]:
    """The grid along each axis, for an input of ``sizes``. Raises ``UsageError`` and ``ShapeError``."""
    found = input_sizes(sizes)
    whole = operation.resolved(found)
    layout = _transposed if whole.kind == "convt" else _direct
    counts = [axis.counts for axis in coverage(whole, found)]
    axes = zip(whole.windows, found, whole.output_size(found), counts, strict=True)
    return tuple(layout(*axis) for axis in axes)


def _direct(window: Window, inputs: int, outputs: int, counts: Sequence[int]) -> Grid:
    starts = tuple(range(0, outputs * window.stride, window.stride))
    beyond = starts[-1] + window.extent - (window.pad_begin + inputs + window.pad_end)
    padding = [["padding"] * pads for pads in window.pads]
    kinds = (*padding[0], *_seen("input", counts), *padding[1], *["beyond"] * beyond)
    return Grid(kinds, (0, 0), starts, _taps(window), ("output",) * outputs)


def _transposed(window: Window, inputs: int, outputs: int, counts: Sequence[int]) -> Grid:
    ring = ["ring"] * (window.extent - 1)
    spread = ["input", *["zero"] * (window.stride - 1)] * (inputs - 1) + ["input"]
    kinds = (*ring, *spread, *ring, *["added"] * window.output_padding)
    starts = tuple(range(window.pad_begin, window.pad_begin + outputs))
    return Grid(kinds, window.pads, starts, _taps(window), _seen("output", counts), tuple(counts))


def _seen(kind: str, counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(kind if count else "unread" for count in counts)


def _taps(window: Window) -> tuple[int, ...]:
    return tuple(range(0, window.extent, window.dilation))
