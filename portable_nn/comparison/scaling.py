"""Ways in which libraries scale pictures, so that numbers show which one made them.

``preprocessing`` has those that Pillow has, which widen a filter to shrink. OpenCV and PyTorch do not, and count pixels
from their centres, from their corners, or from edge to edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.intp]
Floats: TypeAlias = NDArray[np.float64]


PLACES: Final[Mapping[str, Callable[[Indices, int, int], NDArray[Any]]]] = {
    "centres": lambda i, before, after: (i + 0.5) * (before / after) - 0.5,
    "corners": lambda i, before, after: i * (before / after),
    "float32": lambda i, before, after: (i.astype(np.float32) * np.float32(before / after)).astype(np.float64),
    "edges": lambda i, before, after: i * ((before - 1) / max(after - 1, 1)),
}
"""The places in a line of pixels, from 0 on, of those of the line that is made of it."""


class Kernel(NamedTuple):
    """A filter: weights by the distance of a pixel, and by how much the picture shrinks.

    Attributes:
        weight: the weight; None is for the nearest pixel alone.
        radius: the distance up to which pixels have a weight.
        widened: whether both grow as the picture shrinks (antialias).
        counted: a key of ``PLACES``.
    """

    weight: Callable[[Floats, float], Floats] | None
    radius: float = 0.0
    widened: bool = False
    counted: str = "centres"


def _cubic(a: float) -> Callable[[Floats, float], Floats]:
    return lambda x, _: np.select(
        [np.abs(x) < 1, np.abs(x) < 2],
        [((a + 2) * np.abs(x) - (a + 3)) * x * x + 1, a * (((np.abs(x) - 5) * np.abs(x) + 8) * np.abs(x) - 4)],
    )


def _lanczos(lobes: int) -> Callable[[Floats, float], Floats]:
    return lambda x, _: np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0)


def _linear(x: Floats, _: float) -> Floats:
    return (1 - np.abs(x)).clip(0)


KERNELS: Final[Mapping[str, Kernel]] = {
    "bilinear": Kernel(_linear, 1, widened=True),
    "bilinear without antialias": Kernel(_linear, 1),
    "bicubic": Kernel(_cubic(-0.5), 2, widened=True),
    "bicubic without antialias": Kernel(_cubic(-0.75), 2),
    "nearest": Kernel(None),
    "nearest, counted from the corner": Kernel(None, counted="corners"),
    "nearest, counted from the corner in float32": Kernel(None, counted="float32"),
    # The part of a pixel that lies under one of the result.
    "area": Kernel(lambda x, shrink: ((shrink + 1) / 2 / shrink - np.abs(x)).clip(0, 1 / shrink), 1, widened=True),
    "lanczos": Kernel(_lanczos(3), 3, widened=True),
    "box": Kernel(lambda x, _: np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0), 0.5, widened=True),
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
    if before == after:
        return wanted[:, np.newaxis], np.ones((len(wanted), 1), np.float32)
    centre = PLACES[kernel.counted](wanted, before, after)
    if kernel.weight is None:
        place = np.floor(centre + (0.5 if kernel.counted == "centres" else 0)).astype(np.intp)
        return place.clip(0, before - 1)[:, np.newaxis], np.ones((len(wanted), 1), np.float32)
    shrink = max(before / after, 1.0) if kernel.widened else 1.0
    reach = kernel.radius * shrink
    places = np.floor(centre - reach).astype(np.intp)[:, np.newaxis] + np.arange(int(2 * reach) + 3)
    weights = kernel.weight((places - centre[:, np.newaxis]) / shrink, shrink)
    if kernel.widened:  # Pillow leaves out what is beyond an edge; without antialias the edge is repeated.
        weights[(places < 0) | (places >= before)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return places.clip(0, before - 1), weights.astype(np.float32)
