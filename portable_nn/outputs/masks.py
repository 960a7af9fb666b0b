"""The pixels of each object that a model found: masks in their usual forms, and where they are in a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.preprocessing.placement import Placement

LARGEST_IN_BOX: Final = 128
"""The most cells on a side of a mask that lies in its box: Mask R-CNN has 28."""


class _Along(NamedTuple):
    """Pixels along an axis, the two cells that each lies between, and the share of the second."""

    pixels: NDArray[np.intp]
    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: NDArray[np.float64]


@dataclass(frozen=True)
class Masks:
    """A grid of numbers for each object, and where it lies: the object is where they are above a level.

    Args:
        values: (n, rows, columns). Between the centres of cells they are interpolated linearly.
        regions: left, top, right and bottom of each grid, (n, 4), in pixels of what the model was given.
        bounds: the same of what an object may cover.
        level: what the numbers of an object are above.
        assumed: the form that the output was taken for, in words.
    """

    values: NDArray[Any]
    regions: NDArray[np.float64]
    bounds: NDArray[np.float64]
    level: float
    assumed: str

    def in_picture(self, number: int, place: Placement) -> tuple[tuple[int, int], NDArray[np.bool_]]:
        """The pixels around an object, true for those that belong to it, and the row and column of the first."""
        values = self.values[number]
        above = values > self.level
        starts = list[int]()
        for axis in (0, 1):
            cells = np.flatnonzero(above.any(axis=1 - axis))
            along = self._along(number, place, axis, cells)
            starts.append(int(along.pixels[0]) if len(along.pixels) else 0)
            share = along.share.astype(np.float32)[:, np.newaxis] if axis == 0 else along.share.astype(np.float32)
            values = values.take(along.low, axis) * (1 - share) + values.take(along.high, axis) * share
        return (starts[0], starts[1]), values > self.level

    def _along(self, number: int, place: Placement, axis: int, above: NDArray[np.intp]) -> _Along:
        """Along an axis, the pixels near the cells that are above the level, and what each lies between."""
        start, stop = self.regions[number, [1 - axis, 3 - axis]]
        low, high = self.bounds[number, [1 - axis, 3 - axis]]
        count = self.values.shape[1 + axis]
        spots = (np.arange(place.picture[axis]) + 0.5) * place.scale[axis] + place.offset[axis]
        seen = (spots >= max(low, 0)) & (spots < min(high, place.frame[axis]))
        cells = ((spots - start) / (stop - start if stop > start else np.inf) * count - 0.5).clip(0, count - 1)
        near = (cells > above.min(initial=count) - 1) & (cells < above.max(initial=-1) + 1)
        pixels = np.flatnonzero(seen & near)
        whole = np.floor(cells[pixels]).astype(np.intp)
        return _Along(pixels, whole, np.minimum(whole + 1, count - 1), cells[pixels] - whole)


def beside_boxes(
    arrays: Iterable[NDArray[Any]],
    count: int,
    places: NDArray[np.intp],
    corners: NDArray[np.float64],
    frame: tuple[int, int],
) -> Masks | None:
    """Mask R-CNN: the probability of each pixel, for all boxes (n, 1, h, w) or (n, h, w).

    The masks are as large as what the model was given (torchvision), or small and stretched over their boxes, with
    nothing around them (the ONNX model zoo, TensorFlow). ``places`` are the boxes that are wanted, of ``count``.
    None where there is no such array, or several.
    """
    found = [array.reshape(count, *array.shape[-2:]) for array in arrays if _is_for_each(array, count)]
    if len(found) != 1:
        return None
    values = found[0][places].astype(np.float32, copy=False)
    rows, columns = values.shape[1:]
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        return None
    if (rows, columns) == frame:
        whole = _whole(frame, len(places))
        return Masks(values, whole, whole, 0.5, "a mask of the picture for each box")
    if rows != columns or rows > LARGEST_IN_BOX:
        return None
    step = (corners[:, 2:] - corners[:, :2]) / rows
    regions = np.concatenate([corners[:, :2] - step, corners[:, 2:] + step], axis=1)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    return Masks(padded, regions, regions, 0.5, f"a mask of {rows}x{columns} in each box")


def _is_for_each(array: NDArray[Any], count: int) -> bool:
    shape = array.shape[:1] + array.shape[2:] if array.ndim == 4 and array.shape[1] == 1 else array.shape
    return len(shape) == 3 and shape[0] == count and min(shape[1:]) > 4


def of_prototypes(
    weights: NDArray[Any], prototypes: NDArray[Any], corners: NDArray[np.float64], frame: tuple[int, int]
) -> Masks | None:
    """YOLO: a logit of each pixel, the sum of ``prototypes`` (k, h, w) by the weights (n, k) of a box, inside the box.

    None where the prototypes have not the form of what the model was given.
    """
    count, rows, columns = prototypes.shape
    if rows * frame[1] != columns * frame[0]:
        return None
    values = (weights.astype(np.float32) @ prototypes.reshape(count, -1).astype(np.float32)).reshape(-1, rows, columns)
    return Masks(values, _whole(frame, len(weights)), corners, 0.0, f"masks of {count} prototypes inside the boxes")


def _whole(frame: tuple[int, int], count: int) -> NDArray[np.float64]:
    return np.tile(np.array([0, 0, frame[1], frame[0]], np.float64), (count, 1))
