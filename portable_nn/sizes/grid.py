"""The cells that a kernel moves over, along one axis: the input with its padding, ready to be drawn.

A transposed convolution is laid out as the equivalent convolution: zeros are inserted between the input cells and
rings of zeros added around them, the padding crops, and the kernel moves by one cell. Source: Dumoulin and Visin,
"A guide to convolution arithmetic for deep learning" (2016), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from portable_nn.sizes.coverage import coverage
from portable_nn.sizes.operation import Kind, Operation, PerAxis, Window, input_sizes


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells along one axis, and the position of the kernel for each output cell.

    Attributes:
        kinds: the kind of each cell: "input"; "unread", an input cell that no window reads; "padding"; "beyond", which
            only ceil mode reaches; of a transposed convolution "zero", between the input cells, "ring", around them,
            and "added", which is output padding.
        cut: how many of these the padding of a transposed convolution crops at the begin and at the end.
        starts: the first cell of the kernel for each output cell.
        taps: the cells that the kernel reads, counted from there.
        outputs: the kind of each output cell: "output", or "unread" where it holds the bias alone.
        landing: how many taps of a transposed convolution land on each output cell.
    """

    kinds: tuple[str, ...]
    cut: tuple[int, int]
    starts: tuple[int, ...]
    taps: tuple[int, ...]
    outputs: tuple[str, ...]
    landing: tuple[int, ...] = ()

    def trimmed(self) -> Grid:
        """The grid without the cropped cells."""
        begin, end = self.cut
        kinds = self.kinds[begin : len(self.kinds) - end]
        return replace(self, kinds=kinds, cut=(0, 0), starts=tuple(start - begin for start in self.starts))


LINE = Grid(("input",), (0, 0), (0,), (0,), ("output",), (1,))
"""The second axis of an operation that has a single one."""


def grids(operation: Operation, sizes: PerAxis) -> tuple[Grid, ...]:
    """The grid along each axis, for an input of ``sizes``. Raises ``UsageError`` or ``ShapeError``."""
    found = input_sizes(sizes)
    whole = operation.resolved(found)
    layout = _transposed if whole.kind == "convt" else _direct
    counts = [axis.counts for axis in coverage(whole, found)]
    axes = zip(whole.windows, found, whole.output_size(found), counts, strict=True)
    return tuple(layout(*axis) for axis in axes)


def longest_side(kind: Kind, window: Window, inputs: int, outputs: int) -> int:
    """The most cells on one side along an axis: of the input, of the output, or of ``Grid.kinds``."""
    if kind == "convt":
        cells = window.stride * (inputs - 1) + 1 + 2 * (window.extent - 1) + window.output_padding
    else:
        cells = max(inputs + sum(window.pads), (outputs - 1) * window.stride + window.extent)
    return max(inputs, outputs, cells)


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
