"""Steps that bring pictures of any shape to the frame that a network sees, as other projects do it.

They work on brightness ``(height, width)`` and on colours ``(height, width, 3)``. After ``LevelsStep`` levels are whole
numbers, uint8, on which Pillow scales as it does on a decoded picture: to the bit what its users get.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from portable_nn.preprocessing.checks import MAX_ELEMENTS, check_choice, check_sides
from portable_nn.preprocessing.pixels import WHITE, Method, resize


class LevelsStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="levels"):
    """Round to whole levels, 0 to 255; steps after it keep to whole levels."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Grey or colour → the same shape, uint8."""
        levels: NDArray[Any] = np.rint(pixels).clip(0, WHITE).astype(np.uint8)
        return levels

    def __str__(self) -> str:
        return "round to whole levels, here and in what follows"


class ShorterSideStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="shorter_side"):
    """Scale, with the aspect ratio kept, until the shorter side has ``size`` pixels; then cut out the middle.

    As ``Resize`` and ``CenterCrop`` of torchvision: the longer side is rounded down, and the cut begins at half of what
    is left over, halves rounded to even. ``crop`` is (height, width), or None for all of the picture.
    """

    size: int
    method: Method = "bilinear"
    crop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_sides(size=self.size)
        check_choice("method", self.method, Method)
        if self.crop:
            check_sides(height=self.crop[0], width=self.crop[1])
            if max(self.crop) > self.size:
                raise ValueError(f"crop must fit in the shorter side, {self.size}, not {self.crop[0]}x{self.crop[1]}")

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Grey or colour → the same at the new size. Raises ValueError where that is too large."""
        height, width = self.scaled(*pixels.shape[:2])
        if height * width > MAX_ELEMENTS:
            raise ValueError(f"a picture of {pixels.shape[0]}x{pixels.shape[1]} pixels would become {height}x{width}")
        scaled = resize(pixels, height, width, self.method)
        if self.crop is None:
            return scaled
        top, left = self.start(height, width)
        return scaled[top : top + self.crop[0], left : left + self.crop[1]]

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """The height and width of a picture after scaling."""
        longer = int(self.size * max(height, width) / min(height, width))
        return (self.size, longer) if height <= width else (longer, self.size)

    def start(self, height: int, width: int) -> tuple[int, int]:
        """The top and left of the cut in a scaled picture."""
        cut = self.crop or (height, width)
        return round((height - cut[0]) / 2), round((width - cut[1]) / 2)

    def __str__(self) -> str:
        cut = f", and cut {self.crop[0]}x{self.crop[1]} out of the middle" if self.crop else ""
        return f"scale the shorter side to {self.size} pixels ({self.method}){cut}"


class LetterboxStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="letterbox"):
    """Scale, with the aspect ratio kept, to fit ``(height, width)``; what is left over gets the level ``fill``.

    The picture is in the middle; of an odd rest, the smaller half is at the top and at the left.
    """

    height: int
    width: int
    fill: int = 114
    method: Method = "bilinear"

    def __post_init__(self) -> None:
        check_sides(height=self.height, width=self.width)
        check_choice("method", self.method, Method)
        if not 0 <= self.fill <= 255:
            raise ValueError(f"fill must be from 0 to 255, not {self.fill}")

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Grey or colour → the same at the new size."""
        height, width = self.scaled(*pixels.shape[:2])
        top, left = self.start(height, width)
        framed = np.full((self.height, self.width, *pixels.shape[2:]), self.fill, pixels.dtype)
        framed[top : top + height, left : left + width] = resize(pixels, height, width, self.method)
        return framed

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """The height and width of a picture after scaling."""
        ratio = min(self.height / height, self.width / width)
        return max(1, round(height * ratio)), max(1, round(width * ratio))

    def start(self, height: int, width: int) -> tuple[int, int]:
        """The top and left of a scaled picture in the frame."""
        return (self.height - height) // 2, (self.width - width) // 2

    def __str__(self) -> str:
        rest = f"fill the rest with the level {self.fill}"
        return f"scale to fit {self.height}x{self.width} pixels ({self.method}), and {rest}"


class BgrStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="bgr"):
    """Blue, green and red in place of red, green and blue: the order in which OpenCV and Caffe have them."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """``(height, width, 3)`` → the same shape. Raises ValueError for grey."""
        if pixels.ndim != 3:
            raise ValueError(f"bgr needs a picture in colour (height, width, 3), found shape {pixels.shape}")
        return pixels[..., ::-1]

    def __str__(self) -> str:
        return "put the colours in the order blue, green, red"
