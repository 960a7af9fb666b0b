"""Pictures of samples: side by side on a sheet, enlarged, and one after another in an animation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.operators import Array

GAP: Final = 2
"""Pixels between two pictures on a sheet, before it is enlarged."""
ANIMATED: Final = ".gif"
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ANIMATED, ".tif", ".tiff")

WIDE, LARGEST_SCALE = 1000, 10
"""By default a sheet is enlarged up to so many pixels, and so many times."""
MOST_PIXELS: Final = 100_000_000
"""In all frames."""

FRAME, HOLD = 80, 1000
"""Milliseconds for which a frame of an animation is shown, and the first and the last."""


def as_pictures(samples: Array) -> NDArray[np.uint8]:
    """Samples from 0 to 1 as pictures: (n, height, width), or (n, height, width, 3) for colours.

    They are (n, height·height), (n, height, width) or (n, 1 or 3, height, width). Raises ``ShapeError`` for any other
    shape.
    """
    samples = given = np.asarray(samples)
    side = math.isqrt(math.prod(samples.shape[1:]))
    if samples.ndim == 2 and side * side == samples.shape[1]:
        samples = samples.reshape(-1, side, side)
    elif samples.ndim == 4 and samples.shape[1] in {1, 3}:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.transpose(0, 2, 3, 1)
    elif samples.ndim != 3:
        samples = samples[:0]
    if not samples.size:
        raise ShapeError(f"samples must be pictures (n, h, w), (n, 1 or 3, h, w) or (n, h·h), not {given.shape}")
    return np.asarray(np.rint(np.clip(samples, 0, 1) * 255), np.uint8)


def contact_sheet(pictures: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Pictures (n, height, width, …) side by side in rows, in reading order; by default in about a square."""
    count, height, width, *colours = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    page = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, *colours), 64, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = GAP + place // columns * (height + GAP), GAP + place % columns * (width + GAP)
        page[top : top + height, left : left + width] = picture
    return page


def enlarged(pages: Sequence[NDArray[np.uint8]], scale: int | None = None) -> list[NDArray[np.uint8]]:
    """Sheets of one size with each pixel ``scale`` times as high and wide; by default such that they can be looked at.

    Raises ``UsageError`` where they become too large.
    """
    height, width = pages[0].shape[:2]
    if scale is None:
        fitting = math.isqrt(MOST_PIXELS // (len(pages) * height * width))
        scale = max(1, min(LARGEST_SCALE, WIDE // max(height, width), fitting))
    if not isinstance(scale, (int, np.integer)) or isinstance(scale, bool) or scale < 1:
        raise UsageError(f"scale must be a whole number from 1, not {scale!r}")
    if len(pages) * height * width * int(scale) ** 2 > MOST_PIXELS:
        frames = f"{len(pages):,} frames" if len(pages) > 1 else "a picture"
        raise UsageError(
            f"scale={scale} makes {frames} of {scale * width:,} x {scale * height:,} pixels: at most "
            f"{MOST_PIXELS:,} are drawn in all"
        )
    return [page.repeat(scale, axis=0).repeat(scale, axis=1) for page in pages]


def check_suffix(path: str | Path) -> str:
    """The suffix of a picture of samples, in small letters. Raises ``UsageError`` for one that is not known."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: the name of a picture of samples ends in {', '.join(SUFFIXES)}")
    return suffix


def write_pictures(pages: Sequence[NDArray[np.uint8]], path: str | Path) -> None:
    """Write a picture, or several as a GIF that is repeated. Raises ``FileError``."""
    import imageio.v3 as iio

    options: dict[str, Any] = {}
    if len(pages) > 1:
        options = {"duration": [HOLD, *[FRAME] * (len(pages) - 2), HOLD], "loop": 0}
    with atomic_write(path) as file:
        page = np.stack(pages) if len(pages) > 1 else pages[0]
        iio.imwrite(file, page, extension=check_suffix(path), **options)
