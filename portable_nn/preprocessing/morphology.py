"""Morphology on arrays ``(height, width)``: windows, connected components, runs along lines.

P. Soille, *Morphological Image Analysis*, 2003. Beyond the edges of a picture there is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.preprocessing.pixels import Pixels

Mask = NDArray[np.bool_]


def highest(picture: Pixels, reach: int) -> Pixels:
    """The largest value within ``reach`` pixels in each direction: a dilation by a square of side 2·reach + 1."""
    return _windows(picture, reach, reach)


def lowest(picture: Pixels, reach: int) -> Pixels:
    """The smallest value within ``reach`` pixels in each direction: an erosion."""
    return -highest(-picture, reach)


def closed(picture: Pixels, reach: int) -> Pixels:
    """The closing by a square of side 2·reach + 1: what is dark and does not hold it is filled from around.

    The value of a pixel is the least, among all squares that hold it, of the largest value in a square. The part of a
    square outside of the picture does not count: so the straight edge of a shadow stays, however it meets the border.
    """
    return -_windows(-_windows(picture, reach, 2 * reach), reach, 0)


def _windows(picture: Pixels, reach: int, margin: int) -> Pixels:
    """The largest value in the squares of side 2·reach + 1; beyond each edge, ``margin`` pixels of -∞ are added."""
    found = np.pad(picture, margin, constant_values=-np.inf)
    for axis in (0, 1):
        found = np.moveaxis(_combined(np.maximum, np.moveaxis(found, axis, 0), 2 * reach + 1), 0, axis)
    return np.ascontiguousarray(found)


def _combined(function: np.ufunc, values: NDArray[Any], size: int) -> NDArray[Any]:
    """``function``, such as ``maximum``, of ``size`` values along the first axis, from each on.

    Windows of 1, 2, 4, … are made of two before them; as the last two may overlap, f(x, x) must be x.
    """
    count, width = len(values) - size + 1, 1
    while 2 * width <= size:
        values = function(values[:-width], values[width:])
        width *= 2
    found: NDArray[Any] = function(values[:count], values[size - width : size - width + count])
    return found


@dataclass(frozen=True)
class Components:
    """The connected parts of a mask.

    Args:
        labels: ``(height, width)``: the number of the part of each pixel, from 0 in the order of their first pixels,
            row by row; -1 where there is none.
        boxes: ``(n, 4)``: left, top, right and bottom of each; right and bottom are the first pixels beyond.
        areas: ``(n,)``: the number of pixels of each.
    """

    labels: NDArray[np.int64]
    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]


def components(mask: Mask) -> Components:
    """The parts of ``mask`` whose pixels touch, at an edge or at a corner."""
    height, width = mask.shape
    rows, starts, stops = _runs(mask)
    roots = _joined(len(rows), *_touching(rows, starts, stops, width))
    kept, numbers = np.unique(roots, return_inverse=True)
    lengths = stops - starts
    labels = np.full((height, width), -1, np.int64)
    labels[mask] = np.repeat(numbers, lengths)
    boxes = np.empty((len(kept), 4), np.int64)
    for column, (values, least) in enumerate([(starts, True), (rows, True), (stops, False), (rows + 1, False)]):
        boxes[:, column] = max(height, width) if least else 0
        (np.minimum if least else np.maximum).at(boxes[:, column], numbers, values)
    return Components(labels, boxes, np.bincount(numbers, lengths, len(kept)).astype(np.int64))


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The row, the start and the stop of each run of true pixels in a row, in the order of reading."""
    edges = np.diff(np.pad(mask, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]


def _touching(rows: Any, starts: Any, stops: Any, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of runs in neighbouring rows that touch, also at a corner."""
    span = width + 2
    # The runs of the row above, from the first whose stop reaches this start to the last whose start is in reach.
    above = (rows - 1) * span
    first = np.searchsorted(rows * span + stops, above + starts)
    last = np.searchsorted(rows * span + starts, above + stops, side="right")
    counts = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(rows)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return below, np.repeat(first, counts) + offsets


def _joined(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of ``count`` nodes, the least node that edges from ``a`` to ``b`` connect it with."""
    roots = np.arange(count)
    while len(a):
        low, high = np.minimum(roots[a], roots[b]), np.maximum(roots[a], roots[b])
        open_ = low < high
        if not open_.any():
            break
        a, b = a[open_], b[open_]
        np.minimum.at(roots, high[open_], low[open_])
        while (roots[roots] != roots).any():
            roots = roots[roots]
    return roots


def run_lengths(mask: Mask) -> NDArray[np.int64]:
    """For each true pixel, how many are true in a row with it, upwards and downwards; 0 elsewhere."""
    _, starts, stops = _runs(np.ascontiguousarray(mask.T))
    found = np.zeros(mask.shape[::-1], np.int64)
    found[mask.T] = np.repeat(stops - starts, stops - starts)
    return found.T


def along(mask: Mask, length: int, slopes: int, step: float) -> Mask:
    """The pixels of ``mask`` on a straight run of ``length`` columns within it: the union of openings by segments.

    The slopes are ``step`` times -slopes to slopes. In a segment of slope s, the row in column x is that of column 0
    and round(s·x) more, halves rounded to the even number.
    """
    height, width = mask.shape
    found = np.zeros_like(mask)
    if length > width:
        return found
    columns = np.arange(width)
    for slope in range(-slopes, slopes + 1):
        shifts = np.round(slope * step * columns).astype(np.int64)
        highest_shift = int(shifts.max())
        # Columns of one shift, and the rows of the picture in them once all are shifted: segments then lie in rows.
        starts = np.flatnonzero(np.diff(shifts, prepend=shifts[0] - 1))
        blocks = [
            (slice(highest_shift - shifts[start], highest_shift - shifts[start] + height), slice(start, stop))
            for start, stop in zip(starts, [*starts[1:], width], strict=True)
        ]
        level = np.zeros((height + highest_shift - int(shifts.min()), width), np.bool_)
        for rows, across in blocks:
            level[rows, across] = mask[:, across]
        whole = _all_of(level, length)
        if whole.any():
            runs = ~_all_of(np.pad(~whole, [(0, 0), (length - 1, length - 1)], constant_values=True), length)
            for rows, across in blocks:
                found[:, across] |= runs[rows, across]
    return found


def _all_of(mask: Mask, size: int) -> Mask:
    """True for each element from which on ``size`` elements in a row are true."""
    return _combined(np.logical_and, mask.T, size).T
