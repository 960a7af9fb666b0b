"""Pictures as float32 arrays, from 0 (black) to 255 (white), ``(height, width)`` or ``(height, width, 3)``."""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.float32]
Method: TypeAlias = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
Ink: TypeAlias = Literal["light", "dark"]

WHITE = np.float32(255)

LUMA: Final = (np.float32(0.299), np.float32(0.587), np.float32(0.114))
"""The weights of red, green and blue in brightness: ITU-R BT.601, section 2.5.1, as in Pillow's mode ``L``."""


def to_levels(picture: NDArray[Any]) -> Pixels:
    """Rescale each channel to 0..255 by the range of the picture's dtype: 16 bits are neither truncated nor clipped.

    ``picture`` is bool, unsigned, or float; the range of floats is taken to be 0..1 if none is larger, else 0..255.

    Raises:
        ValueError: another dtype, no pixels, 16 bits that are none above 255, or floats that are not finite or not in
            0..255.
    """
    if picture.size == 0:
        raise ValueError(f"the picture has no pixels: its shape is {picture.shape}")
    if picture.dtype.kind == "b":
        return picture * WHITE
    if picture.dtype.kind == "u":
        if picture.dtype.itemsize > 1 and 0 < picture.max() <= WHITE:
            raise ValueError(
                f"expected levels up to {np.iinfo(picture.dtype).max}, as its {8 * picture.dtype.itemsize} bits have, "
                f"found none above {picture.max()}, as of 8 bits: Pillow's image.convert('L') makes such a picture"
            )
        return picture.astype(np.float32) * np.float32(255 / np.iinfo(picture.dtype).max)
    if picture.dtype.kind != "f":
        raise ValueError(f"expected pixels that are bool, unsigned integers or floats, found {picture.dtype}")
    low, high = picture.min(), picture.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"expected pixels from 0 to 1 or from 0 to 255, found {low:g} to {high:g}")
    return picture.astype(np.float32) * (WHITE if high <= 1 else np.float32(1))


def on_white(picture: NDArray[Any]) -> Pixels:
    """A decoded picture, composited on white: ``(height, width)``, or ``(height, width, 3)`` if it is in colour.

    Black ink on a transparent background must not become black on black. Raises as ``to_levels`` does, and for other
    shapes.
    """
    levels = to_levels(picture)
    if levels.ndim == 2:
        return levels
    if levels.ndim != 3 or not 1 <= levels.shape[2] <= 4:
        raise ValueError(f"expected a picture (height, width) or (height, width, channels), found {levels.shape}")
    if levels.shape[2] in (2, 4):
        opacity = levels[..., -1:] / WHITE
        levels = WHITE + (levels[..., :-1] - WHITE) * opacity
    return levels[..., 0] if levels.shape[2] == 1 else levels


def brightness(levels: NDArray[Any]) -> Pixels:
    """``(height, width, 3)`` → ``(height, width)``; each sum is rounded to float32 in this order, on every machine."""
    red, green, blue = (levels[..., channel] * weight for channel, weight in enumerate(LUMA))
    found = red
    found += green
    found += blue
    return found


def resize(pixels: Pixels, height: int, width: int, method: Method = "bilinear") -> Pixels:
    """Scale to ``(height, width)``. Pillow widens the filter to shrink, so only ``nearest`` aliases.

    Whole levels, uint8, stay so: they are what Pillow makes of a picture of 8 bits.
    """
    from PIL import Image

    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.dtype == np.uint8:
        levels = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(levels.resize((width, height), Image.Resampling[method.upper()]))
    if pixels.ndim == 3:
        channels = [resize(pixels[..., i], height, width, method) for i in range(pixels.shape[2])]
        return np.stack(channels, axis=-1)
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    scaled = np.asarray(image.resize((width, height), Image.Resampling[method.upper()]))
    # The wider filters overshoot at edges.
    return scaled.clip(0, WHITE)


@cache
def columns_first() -> bool:
    """True if the installed Pillow scales along columns first where the height loses far more pixels than the width.

    Version 13 does, earlier ones never. Whole levels, which are rounded in between, then differ by up to two.
    """
    rough: NDArray[Any] = np.arange(51, dtype=np.uint8).reshape(17, 3) ** 2
    return not np.array_equal(resize(rough, 4, 2), resize(resize(rough, 17, 2), 4, 2))


def shrink(pixels: Pixels, longest: int) -> Pixels:
    """Shrink by averaging to at most ``longest`` pixels a side; a smaller picture is returned unchanged."""
    ratio = longest / max(pixels.shape[:2])
    if ratio >= 1:
        return pixels
    height, width = (max(1, round(side * ratio)) for side in pixels.shape[:2])
    return resize(pixels, height, width, "box")


def border(pixels: Pixels) -> Pixels:
    """The pixels of a frame, a twentieth of the shorter side wide: presumably paper."""
    thickness = max(1, min(pixels.shape[:2]) // 20)
    frame = np.ones(pixels.shape[:2], bool)
    frame[thickness:-thickness, thickness:-thickness] = False
    return pixels[frame]


def guess_ink(pixels: Pixels) -> Ink:
    """The ink of a drawing, lighter or darker than its paper, judged by the border.

    The paper is light when it is nearer to the lightest than to the darkest part of the picture. Averaging first
    prevents single noisy pixels from being those parts.
    """
    grey = shrink(pixels if pixels.ndim == 2 else brightness(pixels), 128)
    middle = (grey.min() + grey.max()) / 2
    return "dark" if np.median(border(grey)) > middle else "light"
