"""Finding a digit in a picture, and scaling and centring it as in MNIST.

Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*: digits were "size normalized to fit in a
20x20 pixel box while preserving their aspect ratio" and "centered in a 28x28 image by computing the center of mass of
the pixels, and translating the image so as to position this point at the center of the 28x28 field".

All pictures here are ``(height, width)`` float32, 0..255, light ink on dark paper.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from portable_nn.preprocessing.pixels import WHITE, Pixels, border, resize, shrink

LONGEST = 512
"""The longest side, in pixels, to which larger pictures are averaged: enough for a digit of a twentieth of it."""

MIN_CONTRAST = 25
"""The smallest contrast of a drawing: a tenth of the range of pixels."""

SIGMA_PER_MAD = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation."""


def fit_digit(picture: Pixels, size: int, box: int) -> Pixels:
    """The drawing in ``picture``, scaled to fit ``(box, box)`` and centred by mass in ``(size, size)``.

    Raises:
        ValueError: nothing stands out from the paper.
    """
    return lay_out(_crop(extract_ink(shrink(picture, LONGEST))), size, box)


def extract_ink(picture: Pixels) -> Pixels:
    """Map the paper to 0 and the strongest ink to 255; shading, and noise as in the border, are removed.

    Raises:
        ValueError: nothing stands out from the paper.
    """
    shading = _shading(picture)
    # Light is multiplicative: ink has less contrast on dim paper, which is bright in the negative; correct for it.
    flat = (picture - shading) / np.maximum(1 - shading / WHITE, 0.25)
    return standing_out(flat, border(flat), MIN_CONTRAST, float(WHITE))


def standing_out(values: NDArray[Any], paper: NDArray[Any], least: float, white: float = 1.0) -> Pixels:
    """Numbers as ink: 0 for those of ``paper`` with their noise, 255 for the largest.

    Raises ``ValueError`` where the largest is less than ``least`` above the paper, or noise hides it; in the message,
    contrast is in terms of ``white``.
    """
    usual = np.median(paper)
    noise = SIGMA_PER_MAD * np.median(np.abs(paper - usual))
    contrast = values.max() - usual
    if contrast < 6 * noise and 6 * noise > least:
        raise ValueError("no drawing found: the background is too uneven for strokes to stand out from it")
    if contrast < least:
        raise ValueError(f"no drawing found: nothing as thin as a stroke stands out (contrast {contrast / white:.0%})")
    floor = usual + 3 * noise
    ink: Pixels = ((values - floor) * (WHITE / (values.max() - floor))).clip(0, WHITE).astype(np.float32)
    return ink


def _shading(picture: Pixels) -> Pixels:
    """The brightness of the paper: a grey-scale opening by a square that is wider than any stroke.

    Subtracting it is the top-hat transform (P. Soille, *Morphological Image Analysis*, 2003). A coarse copy is enough,
    because shading is smooth.
    """
    coarse = shrink(picture, 32)
    reach = max(coarse.shape) // 6
    opened = -_lowest(-_lowest(coarse, reach), reach)
    # At the edges an opening underestimates a slope; the inner part is extrapolated linearly.
    margins = [reach if side > 4 * reach else 0 for side in opened.shape]
    inner = opened[tuple(slice(margin, side - margin) for margin, side in zip(margins, opened.shape, strict=True))]
    straight = np.pad(inner, [(margin, margin) for margin in margins], mode="reflect", reflect_type="odd")
    return resize(straight, *picture.shape)


def _lowest(picture: Pixels, reach: int) -> Pixels:
    """The smallest value within ``reach`` pixels in each direction."""
    windows = sliding_window_view(np.pad(picture, reach, mode="edge"), (2 * reach + 1,) * 2)
    lowest: Pixels = windows.min(axis=(2, 3))
    return lowest


def _crop(ink: Pixels) -> Pixels:
    """Crop to the drawing: all pixels above a quarter of the strongest ink, and the faint edge around them.

    Raises:
        ValueError: the picture has only isolated specks.
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
    """The bounding box of all true elements: rows and columns."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def lay_out(drawing: Pixels, size: int, box: int) -> Pixels:
    """Put ``drawing`` on a black square, its longer side scaled to ``box``.

    A drawing within a tenth of that size is only moved by whole pixels: resampling would blur it.
    """
    longest = max(drawing.shape)
    fits = abs(longest - box) <= box / 10 and longest <= size
    side = size if fits else size * longest / box
    starts = [_start(drawing.sum(axis=1 - axis), side, size) for axis in (0, 1)]
    if fits:
        starts = [float(round(start)) for start in starts]
    # The square extends beyond the drawing: a canvas of whole pixels contains both.
    canvas = np.zeros((math.ceil(side) + 1,) * 2, np.float32)
    top, left = (-math.floor(start) for start in starts)
    canvas[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
    return canvas[:size, :size] if fits else _resample(canvas, starts[0] + top, starts[1] + left, side, size)


def _start(mass: Pixels, side: float, size: int) -> float:
    """The start, along one axis of a drawing, of the square that has the centre of mass in the right place.

    That place is the middle of pixel ``size / 2``, counted from 0, and not its edge: MNIST's own digits say so
    (99.7 % of 5000 stay as they are). The square is moved, where necessary, to contain the whole drawing.
    """
    centre = np.average(np.arange(len(mass)), weights=mass) + 0.5
    wanted = centre - (size / 2 + 0.5) * side / size
    return float(np.clip(wanted, len(mass) - side, 0))


def _resample(canvas: Pixels, top: float, left: float, side: float, size: int) -> Pixels:
    """The square of ``side`` at ``(top, left)``, which may be fractional, resampled to ``(size, size)``."""
    from PIL import Image

    square = (left, top, left + side, top + side)
    scaled = np.asarray(Image.fromarray(canvas).resize((size, size), Image.Resampling.LANCZOS, square))
    # Averaging makes thin lines fainter than those of MNIST, and the Lanczos filter overshoots at edges.
    bright: Pixels = (scaled * (WHITE / scaled.max())).clip(0, WHITE)
    return bright
