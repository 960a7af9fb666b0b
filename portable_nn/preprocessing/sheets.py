"""Photographs of sheets: finding the sheet, the ink on it, its ruled lines, and the drawings.

Each function is a step that SPEC.md defines exactly. Pictures are ``(height, width)`` float32, 0..255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.names import Found
from portable_nn.preprocessing.digits import lay_out, standing_out
from portable_nn.preprocessing.morphology import Mask, along, closed, components, highest, lowest, run_lengths
from portable_nn.preprocessing.pixels import WHITE, Ink, Pixels, border, shrink

TABLE: Final = 0.35
"""A table that does not go all around the sheet is darker than this share of its brightness: most shadows are not."""

AROUND: Final = 0.8
"""A table that goes all around the sheet is darker than this share: no shadow does, and light fades less to an edge."""

CLEAR: Final = 0.8
"""The least share of the variance of a crop that its two levels explain, ink and paper: of noise, it is less."""

NEAR: Final = 0.05
"""The farthest that a drawing which fills its picture is from each edge, as a share of the longer side."""

MOST_BORDER: Final = 0.4
"""The most of the border that such a drawing covers: a table goes all around."""

MOST_INK: Final = 0.65
"""The most of the picture that such a drawing covers: a sheet on a table covers more."""

WHOLE: Final = 0.9
"""The least share of all ink that such a drawing has: a frame around a drawing has less."""

MIN_INK: Final = 0.1
"""The least share of the paper's light that the strongest ink must take."""

DARKER: Final = 3
"""The light that a stroke takes, as a multiple of that which the line of the paper takes that it crosses."""

OWN: Final = 0.9
"""The share of its darkness that a drawing keeps by the light close to it; the edge of a shadow or a sheet does not."""

MOST: Final = 100
"""The most drawings in a picture: the largest ones."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Drawing:
    """One drawing, laid out, and its box in the picture: left, top, right, bottom, the last two beyond it."""

    pixels: Pixels
    box: Box


def reach_of(shape: tuple[int, ...]) -> int:
    """Half of the window that is wider than any stroke: a tenth of the longer side, and two pixels."""
    return math.ceil(max(shape) / 10) + 2


def keep_sheet(picture: Pixels, longest: int) -> Pixels:
    """Shrink to ``longest``, add a margin where there is none, and continue the paper over a dark table around it."""
    picture = _with_margin(shrink(picture, longest))
    light, dark, bright = _light_part(picture)
    if dark > AROUND * bright:
        return picture
    parts = components(light)
    largest = parts.labels == int(parts.areas.argmax())
    if not (lowest(largest.astype(np.float32), reach_of(picture.shape)) > 0).any():
        return picture
    around = components(closed(largest.astype(np.float32), reach_of(picture.shape)) == 0)
    table = np.append(at_edge(around.boxes, picture.shape).any(axis=0), False)[around.labels]
    goes_around = all(side.all() for side in (table[0], table[-1], table[:, 0], table[:, -1]))
    if not (goes_around or (table.any() and dark <= TABLE * bright)):
        return picture
    inner = lowest((~table).astype(np.float32), math.ceil(max(picture.shape) / 100)) > 0
    paper = _continued(closed(picture, reach_of(picture.shape)), inner)
    return np.where(inner, picture, paper)


def _with_margin(picture: Pixels) -> Pixels:
    """With paper around it, where one drawing fills the picture: else its strokes at the border are taken for paper."""
    light, dark, bright = _light_part(picture)
    share = light.mean()
    if share * (1 - share) * (bright - dark) ** 2 <= CLEAR * picture.var():
        return picture
    near, (height, width) = NEAR * max(picture.shape), picture.shape
    for ink, paper in ((~light, bright), (light, dark)):
        parts = components(ink)
        largest = int(parts.areas.argmax())
        left, top, right, bottom = parts.boxes[largest]
        fills = max(left, top, width - right, height - bottom) <= near and ink.mean() <= MOST_INK
        is_one = parts.areas[largest] >= WHOLE * ink.sum()
        if fills and is_one and border(parts.labels == largest).mean() <= MOST_BORDER:
            return np.pad(picture, math.ceil(max(picture.shape) / 4), constant_values=paper)
    return picture


def at_edge(boxes: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True for each box that touches the left, the top, the right and the bottom edge of a picture: ``(4, n)``."""
    height, width = shape
    return np.stack([boxes[:, 0] == 0, boxes[:, 1] == 0, boxes[:, 2] == width, boxes[:, 3] == height])


def _continued(paper: Pixels, inner: Mask) -> Pixels:
    """Each row continued from its nearest inner pixels, and then the rows without any from the nearest that has."""
    found = np.take_along_axis(paper, _nearest_place(inner), axis=1)
    rows: Pixels = found[_nearest_place(np.logical_or.reduce(inner, axis=1)[np.newaxis])[0]]
    return rows


def _nearest_place(mask: Mask) -> NDArray[np.int64]:
    """The place in its row of the true element nearest to each; the left one of two, and 0 where there is none."""
    count = mask.shape[1]
    places = np.arange(count)
    before = np.maximum.accumulate(np.where(mask, places, -count), axis=1)
    after = np.minimum.accumulate(np.where(mask, places, 3 * count)[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(places - before <= after - places, before, after)
    return np.where(mask.any(axis=1, keepdims=True), nearest, 0)


def _light_part(picture: Pixels) -> tuple[Mask, float, float]:
    """The part that is lighter than the threshold of N. Otsu (IEEE Trans. SMC 9, 1979), and the brightness of the rest
    and its own; 1 for both where there is no rest."""
    levels = np.floor(picture).astype(np.int64).ravel()
    counts = np.bincount(levels, minlength=256)
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * np.arange(256))[:-1]
    above, rest = len(levels) - below, levels.sum() - sums
    with np.errstate(invalid="ignore", divide="ignore"):
        dark, light = sums / below, rest / above
        between = np.nan_to_num(below * above * (light - dark) ** 2)
    best = int(between.argmax())
    found = (levels > best).reshape(picture.shape)
    return (found, dark[best], light[best]) if between[best] else (found, 1.0, 1.0)


def find_ink(picture: Pixels, ink: Ink) -> Pixels:
    """The share of the paper's light that the ink takes: 0 for paper with its noise, 255 for the strongest ink.

    Raises:
        ValueError: nothing stands out from the paper.
    """
    dark = picture if ink == "dark" else WHITE - picture
    taken = _taken(dark, reach_of(dark.shape))
    return standing_out(taken, taken, MIN_INK)


def _taken(dark: Pixels, reach: int) -> NDArray[Any]:
    """The share that is missing from the light of the paper in windows of this reach."""
    return 1 - dark / np.maximum(closed(dark, reach), 1)


def without_edges(drawings: list[Drawing], drawn: Pixels, picture: Pixels | None, ink: Found) -> list[Drawing]:
    """Several drawings without the edges of shadows and sheets among them, unless all are such.

    A stroke is dark within windows of three fifths of its drawing, too; an edge has the dark beyond it. ``drawn`` is
    the ink in ``picture``, of which the sheet was not cut out; without one of that size, nothing is said.
    """
    if len(drawings) < 2 or picture is None or picture.shape != drawn.shape:
        return drawings
    dark = WHITE - picture if ink == "light" else picture
    taken = _taken(dark, reach_of(dark.shape))

    def is_own(box: Box) -> bool:
        left, top, right, bottom = box
        reach = math.ceil(0.3 * max(right - left, bottom - top))
        up, back = max(0, top - 2 * reach), max(0, left - 2 * reach)
        near = _taken(dark[up : bottom + 2 * reach, back : right + 2 * reach], reach)[top - up :, left - back :]
        strokes = drawn[top:bottom, left:right] > WHITE / 4
        own = near[: bottom - top, : right - left][strokes].sum()
        return bool(own >= OWN * taken[top:bottom, left:right][strokes].sum())

    return [drawing for drawing in drawings if is_own(drawing.box)] or drawings


def guess_ink_of(picture: Pixels) -> Ink:
    """The ink, darker or lighter than the paper: the one that goes farther beyond the border, which may be half lit."""
    coarse = shrink(picture, 128)
    low, high = np.quantile(border(coarse), [0.05, 0.95])
    return "dark" if low - coarse.min() >= coarse.max() - high else "light"


def remove_lines(ink: Pixels) -> Pixels:
    """Take out thin straight lines that go through half of the picture: those of ruled and squared paper."""
    without = _without_rows(ink)
    return np.ascontiguousarray(_without_rows(np.ascontiguousarray(without.T)).T)


def _without_rows(ink: Pixels) -> Pixels:
    """Without the lines from left to right, which may rise or fall by a quarter of their length."""
    width = ink.shape[1]
    thickest = max(ink.shape) // 80
    mask = ink > WHITE / 8
    thin = mask & (run_lengths(mask) <= thickest)
    if not thin.any():
        return ink
    thickened = highest(mask.astype(np.float32), 1) > 0
    straight = along(thickened, math.ceil(max(ink.shape) / 12), 8, 1 / 32)
    parts = components(straight)
    left, top, right, bottom = at_edge(parts.boxes, ink.shape)
    cut_off = (left | right) & (top | bottom)
    spanning = (parts.boxes[:, 2] - parts.boxes[:, 0] >= width / 2) | cut_off
    line = thin & np.append(spanning, False)[parts.labels]
    if not line.any():
        return ink
    # Beside a line there are pixels that it covers in part. What is much darker than it is a stroke that crosses it.
    darkest = highest(np.where(line, DARKER * _medians(ink, np.where(line, parts.labels, -1)), 0), 1)
    line = darkest > 0
    line &= run_lengths(line) <= thickest + 2
    line &= ink <= darkest
    return np.where(line, np.minimum(_nearest(ink, line), _nearest(ink[::-1], line[::-1])[::-1]), ink)


def _medians(ink: Pixels, labels: NDArray[np.int64]) -> Pixels:
    """For each pixel of a part the median ink of that part; 0 where the label is -1."""
    found = np.zeros_like(ink)
    inside = labels >= 0
    values, (numbers, places) = ink[inside], np.unique(labels[inside], return_inverse=True)
    found[inside] = np.array([np.median(values[places == place]) for place in range(len(numbers))])[places]
    return found


def _nearest(ink: Pixels, line: Mask) -> Pixels:
    """For each pixel the ink of the nearest one above it that is in no line, or 0."""
    rows = np.where(line, -1, np.arange(len(ink))[:, np.newaxis])
    above = np.maximum.accumulate(rows, axis=0)
    return np.where(above < 0, 0, np.take_along_axis(ink, above.clip(0), axis=0)).astype(np.float32)


def separate(ink: Pixels, size: int, box: int) -> list[Drawing]:
    """The drawings in the order of reading, each laid out as MNIST is.

    Raises:
        ValueError: there are only specks.
    """
    mask = ink > WHITE / 4
    parts = components(mask)
    big = parts.areas >= max(3, mask.size // 40_000)
    if not big.any():
        raise ValueError("no drawing found: there are only specks, no strokes")
    groups = _merged(parts.boxes, np.flatnonzero(big))
    boxes = np.array([_around(parts.boxes[group]) for group in groups])
    kept = _kept(boxes, ink.shape)
    drawings = [_drawing(ink, parts.labels, groups[place], boxes[place], size, box) for place in kept]
    return [drawings[place] for place in _reading_order(boxes[kept])]


def _merged(boxes: NDArray[np.int64], places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The parts that make one drawing: those that lie over each other, and small ones close by."""
    groups = [np.array([place]) for place in places[np.argsort(-_sides(boxes[places]), kind="stable")][: 4 * MOST]]
    at = 0
    while at < len(groups):
        box = _around(boxes[groups[at]])
        near = [k for k in range(len(groups)) if k != at and _belong(box, _around(boxes[groups[k]]))]
        if not near:
            at += 1
            continue
        groups[at] = np.concatenate([groups[at], *(groups[k] for k in near)])
        groups = [group for k, group in enumerate(groups) if k not in near]
        at = 0
    return groups


def _belong(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """True if two boxes are of parts of one drawing."""
    widths, heights = (a[2] - a[0], b[2] - b[0]), (a[3] - a[1], b[3] - b[1])
    gap = max(a[0], b[0]) - min(a[2], b[2]), max(a[1], b[1]) - min(a[3], b[3])
    large = max(*widths, *heights)
    over = -gap[0] >= 0.25 * min(widths) and gap[1] <= 0.25 * large
    beside = 2 * min(heights) <= large and gap[0] <= 0.12 * large and gap[1] <= 0.12 * large
    return bool(over or beside)


def _around(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _sides(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The longer side of each."""
    sides: NDArray[np.int64] = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return sides


def _kept(boxes: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The drawings that are no dirt: no rest of a line, not cut off by the edge, not much smaller than others."""
    inside = ~at_edge(boxes, shape).any(axis=0)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sides, thickest = np.maximum(widths, heights), max(shape) // 80
    lying = (heights <= thickest) & (widths > 2 * heights)  # The rest of a line of the paper, where there is more.
    inside &= ~lying | lying.all()
    thin = np.minimum(widths, heights) <= thickest
    allowed = inside if (inside & (sides >= 0.05 * max(shape))).any() else inside | ~thin
    if not allowed.any():
        raise ValueError("no drawing found: there are only lines at the edge")
    large = np.flatnonzero(allowed & (sides >= 0.3 * sides[allowed].max()))
    return large[np.argsort(-sides[large], kind="stable")][:MOST]


def _reading_order(boxes: NDArray[np.int64]) -> list[int]:
    """From left to right in each line; a drawing is in a line where its middle is within the line's first drawing."""
    left = [int(place) for place in np.lexsort((boxes[:, 0], boxes[:, 1]))]
    order: list[int] = []
    while left:
        top, bottom = boxes[left[0], 1], boxes[left[0], 3]
        line = [k for k in left if top <= (boxes[k, 1] + boxes[k, 3]) / 2 < bottom or k == left[0]]
        order += sorted(line, key=lambda k: int(boxes[k, 0]))
        left = [k for k in left if k not in line]
    return order


def _drawing(
    ink: Pixels, labels: NDArray[np.int64], group: NDArray[np.int64], around: NDArray[np.int64], size: int, box: int
) -> Drawing:
    """One drawing alone, with its faint edges, the strongest ink 255."""
    left, top, right, bottom = (int(edge) for edge in around)
    rows, columns = slice(max(0, top - 2), bottom + 2), slice(max(0, left - 2), right + 2)
    own = np.isin(labels[rows, columns], group)
    alone = np.where(highest(own.astype(np.float32), 2) > 0, ink[rows, columns], 0)
    drawn = alone > 0
    across, down = np.flatnonzero(drawn.any(axis=0)), np.flatnonzero(drawn.any(axis=1))
    alone = alone[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    return Drawing(lay_out(alone * (WHITE / alone.max()), size, box), (left, top, right, bottom))
