"""Ways in which libraries scale pictures, so that numbers show which one made them.

``preprocessing`` has those that Pillow has, which widen a filter to shrink. OpenCV and PyTorch do not, and count pixels
from their centres, from their corners, or from edge to edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.intp]
Floats: TypeAlias = NDArray[np.float64]


class Kernel(NamedTuple):
    """A filter: weights by the distance of a pixel, and by how much the picture shrinks.

    Attributes:
        weight: the weight; None is for the nearest pixel alone.
        radius: the distance up to which pixels have a weight.
        widened: whether both grow as the picture shrinks (antialias).
        counted: the place of a pixel of the result in the picture; ``float32`` is from the corner, in that type.
    """

    weight: Callable[[Floats, float], Floats] | None
    radius: float = 0.0
    widened: bool = False
    counted: Literal["centres", "corners", "float32", "edges"] = "centres"


def _linear(x: Floats, shrink: float) -> Floats:
    return (1 - np.abs(x)).clip(0)


def _box(x: Floats, shrink: float) -> Floats:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _area(x: Floats, shrink: float) -> Floats:
    """The part of a pixel that lies under one of the result."""
    return ((shrink + 1) / 2 / shrink - np.abs(x)).clip(0, 1 / shrink)


def _cubic(a: float) -> Callable[[Floats, float], Floats]:
    def weight(x: Floats, shrink: float) -> Floats:
        d = np.abs(x)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        return np.where(d < 1, near, np.where(d < 2, a * (((d - 5) * d + 8) * d - 4), 0))

    return weight


def _lanczos(lobes: int) -> Callable[[Floats, float], Floats]:
    return lambda x, shrink: np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0)


KERNELS: Final[Mapping[str, Kernel]] = {
    "bilinear": Kernel(_linear, 1, widened=True),
    "bilinear without antialias": Kernel(_linear, 1),
    "bicubic": Kernel(_cubic(-0.5), 2, widened=True),
    "bicubic without antialias": Kernel(_cubic(-0.75), 2),
    "nearest": Kernel(None),
    "nearest, counted from the corner": Kernel(None, counted="corners"),
    "nearest, counted from the corner in float32": Kernel(None, counted="float32"),
    "area": Kernel(_area, 1, widened=True),
    "lanczos": Kernel(_lanczos(3), 3, widened=True),
    "box": Kernel(_box, 0.5, widened=True),
    "bilinear without antialias, counted from the corner": Kernel(_linear, 1, counted="corners"),
    "bilinear without antialias, corners aligned": Kernel(_linear, 1, counted="edges"),
    "bicubic without antialias, a = -0.5": Kernel(_cubic(-0.5), 2),
    "bicubic without antialias, corners aligned": Kernel(_cubic(-0.75), 2, counted="edges"),
    "lanczos without antialias": Kernel(_lanczos(4), 4),
}
"""By what they are called in reports, the frequent ones first; Pillow's have the names of ``preprocessing``."""


def resampled(
    pixels: NDArray[Any], size: tuple[int, int], kernel: Kernel, rows: Indices, columns: Indices
) -> NDArray[np.float32]:
    """Some rows and columns of a picture ``(height, width, 3)`` that is scaled to ``size``, neither rounded nor cut."""
    for axis, wanted in enumerate((rows, columns)):
        places, weights = _taps(kernel, pixels.shape[axis], size[axis], wanted)
        along = [-1 if each == axis else 1 for each in range(3)]
        found = np.float32(0)
        for place, weight in zip(places.T, weights.T, strict=True):
            found = found + pixels.take(place, axis) * weight.reshape(along)
        pixels = np.asarray(found)
    return pixels


def _taps(kernel: Kernel, before: int, after: int, wanted: Indices) -> tuple[Indices, NDArray[np.float32]]:
    """The pixels of a line from which each one of the result is made, and their weights."""
    ratio = before / after
    if before == after:
        return wanted[:, np.newaxis], np.ones((len(wanted), 1), np.float32)
    match kernel.counted:
        case "centres":
            centre = (wanted + 0.5) * ratio - 0.5
        case "corners":
            centre = wanted * ratio
        case "float32":
            centre = (wanted.astype(np.float32) * np.float32(ratio)).astype(np.float64)
        case _:
            centre = wanted * ((before - 1) / max(after - 1, 1))
    if kernel.weight is None:
        place = np.floor(centre + (0.5 if kernel.counted == "centres" else 0)).astype(np.intp)
        return place.clip(0, before - 1)[:, np.newaxis], np.ones((len(wanted), 1), np.float32)
    shrink = max(ratio, 1.0) if kernel.widened else 1.0
    reach = kernel.radius * shrink
    places = np.floor(centre - reach).astype(np.intp)[:, np.newaxis] + np.arange(int(2 * reach) + 3)
    weights = kernel.weight((places - centre[:, np.newaxis]) / shrink, shrink)
    if kernel.widened:  # Pillow leaves out what is beyond an edge; without antialias the edge is repeated.
        weights[(places < 0) | (places >= before)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return places.clip(0, before - 1), weights.astype(np.float32)
