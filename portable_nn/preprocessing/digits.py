"""Find a digit in a picture and lay it out as the pictures of MNIST are laid out.

Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*: digits were "size normalized to fit in a
20x20 pixel box while preserving their aspect ratio" and "centered in a 28x28 image by computing the center of mass of
the pixels, and translating the image so as to position this point at the center of the 28x28 field".

All pictures here are ``(height, width)`` float32, 0..255, light ink on dark paper.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from portable_nn.preprocessing.pixels import WHITE, Pixels, border, resize, shrink

LONGEST = 512
"""Larger pictures are averaged down to this side: enough for a digit that fills a twentieth, and less noise."""

MIN_CONTRAST = 25
"""A tenth of the range: what stands out less from its paper is no drawing."""

SIGMA_PER_MAD = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation."""


def fit_digit(picture: Pixels, size: int, box: int) -> Pixels:
    """The drawing in ``picture``, scaled to fit ``(box, box)`` and centred by mass in ``(size, size)``.

    Raises:
        ValueError: nothing stands out from the paper.
    """
    ink = extract_ink(shrink(picture, LONGEST))
    return _lay_out(_crop(ink), size, box)


def extract_ink(picture: Pixels) -> Pixels:
    """Paper becomes 0 and the strongest ink 255; shading and the noise that the border shows are taken away.

    Raises:
        ValueError: nothing stands out from the paper.
    """
    shading = _shading(picture)
    # Light multiplies: the same ink takes less from paper that is dim, which is bright here (but not without bound).
    flat = (picture - shading) / np.maximum(1 - shading / WHITE, 0.25)
    frame = border(flat)
    paper = np.median(frame)
    noise = SIGMA_PER_MAD * np.median(np.abs(frame - paper))
    contrast, needed = flat.max() - paper, max(MIN_CONTRAST, 6 * noise)
    if contrast < needed:
        raise ValueError(f"no drawing found: the contrast is {contrast:.0f} of 255, and {needed:.0f} would be needed")
    floor = paper + 3 * noise
    ink: Pixels = ((flat - floor) * (WHITE / (flat.max() - floor))).clip(0, WHITE).astype(np.float32)
    return ink


def _shading(picture: Pixels) -> Pixels:
    """The brightness of the paper alone: a grey opening by a square that is wider than any stroke.

    What an opening takes away is known as the top-hat transform (P. Soille, *Morphological Image Analysis*, 2003). A
    coarse copy will do, for shading is smooth.
    """
    coarse = shrink(picture, 32)
    reach = max(coarse.shape) // 6
    opened = -_lowest(-_lowest(coarse, reach), reach)
    # Along its edges an opening lags behind a slope; what lies further in is continued in a straight line.
    margins = [reach if side > 4 * reach else 0 for side in opened.shape]
    inner = opened[tuple(slice(margin, side - margin) for margin, side in zip(margins, opened.shape, strict=True))]
    straight = np.pad(inner, [(margin, margin) for margin in margins], mode="reflect", reflect_type="odd")
    return resize(straight, *picture.shape)


def _lowest(picture: Pixels, reach: int) -> Pixels:
    """The smallest value within ``reach`` pixels in each direction."""
    side = 2 * reach + 1
    padded = np.pad(picture, reach, mode="edge")
    lowest: Pixels = sliding_window_view(padded, (side, side)).min(axis=(2, 3))
    return lowest


def _crop(ink: Pixels) -> Pixels:
    """Cut out the drawing: all that reaches a quarter of the strongest ink, and the faint edge around it.

    Raises:
        ValueError: there are specks alone.
    """
    mask = ink > WHITE / 4
    neighbours = sliding_window_view(np.pad(mask, 1), (3, 3)).sum(axis=(2, 3))
    strokes = mask & (neighbours >= 3)
    if not strokes.any():
        raise ValueError("no drawing found: there are only specks, no strokes")
    rows, columns = _extent(strokes)
    with_edge = ink[max(0, rows.start - 1) : rows.stop + 1, max(0, columns.start - 1) : columns.stop + 1]
    return with_edge[_extent(with_edge > 0)]


def _extent(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and the columns between which all true elements lie."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _lay_out(drawing: Pixels, size: int, box: int) -> Pixels:
    """Put ``drawing`` on a black square, its longer side scaled to ``box``.

    What is within a tenth of its right size stays as it is, moved by whole pixels: resampling would only blur it.
    """
    longest = max(drawing.shape)
    fits = abs(longest - box) <= box / 10 and longest <= size
    side = size if fits else size * longest / box
    starts = [_start(drawing.sum(axis=1 - axis), side, size) for axis in (0, 1)]
    if fits:
        starts = [float(round(start)) for start in starts]
    # The square reaches beyond the drawing, so a canvas of whole pixels that holds both is needed.
    canvas = np.zeros((math.ceil(side) + 1,) * 2, np.float32)
    top, left = (-math.floor(start) for start in starts)
    canvas[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
    if fits:
        return canvas[:size, :size]
    return _resample(canvas, starts[0] + top, starts[1] + left, side, size)


def _start(mass: Pixels, side: float, size: int) -> float:
    """Where along one axis of a drawing the square begins that has its centre of mass in the right place.

    That place is the middle of pixel ``size / 2``, counted from 0, and not its edge: MNIST's own digits say so
    (99.7 % of 5000 stay as they are). The square moves, if it must, to hold all of the drawing.
    """
    centre = np.average(np.arange(len(mass)), weights=mass) + 0.5
    wanted = centre - (size / 2 + 0.5) * side / size
    return float(np.clip(wanted, len(mass) - side, 0))


def _resample(canvas: Pixels, top: float, left: float, side: float, size: int) -> Pixels:
    """The square of ``side`` at ``(top, left)``, which need not be whole, as ``(size, size)``."""
    from PIL import Image

    square = (left, top, left + side, top + side)
    scaled = np.asarray(Image.fromarray(canvas).resize((size, size), Image.Resampling.LANCZOS, square))
    # Averaging makes thin lines faint, which those of MNIST are not; and Lanczos's filter overshoots beside edges.
    bright: Pixels = (scaled * (WHITE / scaled.max())).clip(0, WHITE)
    return bright
