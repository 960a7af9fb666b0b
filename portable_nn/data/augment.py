"""Data augmentation: random affine transformations of pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import BelowOne, Count, Finite, NonNegative


@check_kinds
@dataclass(frozen=True)
class RandomAffine:
    """Rotate, scale and shift pictures at random: ``augment=RandomAffine(28, 28)`` in ``fit``.

    Args:
        height: the height of a picture, in pixels. A batch is (n, height·width), (n, …, height, width) or
            (n, height, width, channels).
        width: its width, in pixels.
        rotation: the largest angle in either direction, in degrees.
        scale: the largest relative change of size, at least 0 and below 1: 0.1 draws factors from 0.9 to 1.1.
        shift: the largest displacement along each axis, in pixels.
        fill: the value of pixels outside the picture; None repeats those at its edge.

    Raises:
        UsageError: an option is out of its range, or pictures of that size cannot be found in a batch.
    """

    height: Count
    width: Count
    rotation: NonNegative = 10.0
    scale: BelowOne = 0.1
    shift: NonNegative = 1.0
    fill: Finite | None = 0.0

    def __call__(self, batch: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """A batch of the same shape, each picture with its own random transformation; integers become float32."""
        sides = (self.height, self.width)
        if batch.ndim == 4 and batch.shape[1:3] == sides != batch.shape[2:]:
            last = batch
        elif batch.shape[1:] == (math.prod(sides),) or (batch.ndim > 2 and batch.shape[-2:] == sides):
            channels = math.prod(batch.shape[1:]) // math.prod(sides)
            last = np.moveaxis(batch.reshape(len(batch), channels, *sides), 1, 3)
        else:
            raise UsageError(f"pictures of {self.height}x{self.width} cannot be found in {batch.shape}")
        pictures = last.astype(np.result_type(batch.dtype, np.float32), copy=False)
        found = _bilinear(pictures, *self._sources(len(batch), rng, pictures.dtype), self.fill)
        return found if last is batch else np.moveaxis(found, 3, 1).reshape(batch.shape)

    def _sources(self, count: int, rng: np.random.Generator, dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """For each output pixel its source position in the input picture: rows and columns, both (n, size)."""
        angle = rng.uniform(-1, 1, count) * math.radians(self.rotation)
        zoom = 1 + rng.uniform(-1, 1, count) * self.scale
        down, right = rng.uniform(-1, 1, (2, count)) * self.shift
        row, column = (axis.ravel() for axis in np.mgrid[: self.height, : self.width].astype(np.float64))
        middle = (self.height - 1) / 2, (self.width - 1) / 2
        cos, sin = (np.cos(angle) / zoom)[:, None], (np.sin(angle) / zoom)[:, None]
        y, x = row - middle[0] - down[:, None], column - middle[1] - right[:, None]
        return (cos * y - sin * x + middle[0]).astype(dtype), (sin * y + cos * x + middle[1]).astype(dtype)


def _bilinear(pictures: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], fill: float | None) -> NDArray[Any]:
    """Bilinear interpolation of pictures (n, height, width, channels) at fractional positions (n, height·width)."""
    n, height, width, channels = pictures.shape
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    framed = np.pad(pictures, around, "edge") if fill is None else np.pad(pictures, around, constant_values=fill)
    flat = framed.reshape(-1, channels)
    rows, columns = np.clip(rows + 1, 0, height + 1), np.clip(columns + 1, 0, width + 1)
    top, left = np.minimum(rows.astype(np.intp), height), np.minimum(columns.astype(np.intp), width)
    down, right = (rows - top.astype(rows.dtype))[..., None], (columns - left.astype(rows.dtype))[..., None]
    corner = (np.arange(n)[:, None] * (height + 2) + top) * (width + 2) + left
    above = flat[corner] * (1 - right) + flat[corner + 1] * right
    below = flat[corner + width + 2] * (1 - right) + flat[corner + width + 3] * right
    result: NDArray[Any] = above * (1 - down) + below * down
    return result.reshape(pictures.shape)
