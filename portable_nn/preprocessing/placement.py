"""The places of a picture's pixels in the frame that a network sees, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import UsageError
from portable_nn.preprocessing.framing import LetterboxStep, ShorterSideStep
from portable_nn.preprocessing.steps import CentreCropStep, FitDigitStep, ResizeStep, Step


@dataclass(frozen=True)
class Placement:
    """A picture in a frame: a point ``(y, x)`` of it is at ``point * scale + offset``, in pixels.

    Args:
        picture: the height and width of the picture.
        frame: the height and width of the frame.
        scale: the factor of y and of x.
        offset: where the top left corner of the picture is, (y, x).
    """

    picture: tuple[int, int]
    frame: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def back(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Boxes (n, 4) of left, top, right, bottom in the frame → the same in the picture, cut at its edges."""
        scale, offset = (np.array([*pair[::-1]] * 2, np.float64) for pair in (self.scale, self.offset))
        edges = np.array([*self.picture[::-1]] * 2, np.float64)
        return ((np.asarray(boxes, np.float64) - offset) / scale).clip(0, edges)


def placement(steps: Sequence[Step], height: int, width: int) -> Placement:
    """The place where the steps put a picture of this size.

    Raises:
        UsageError: they find a drawing in the picture: no place in the frame has one in all pictures.
    """
    y, x = _Axis(height), _Axis(width)
    for step in steps:
        match step:
            case ResizeStep():
                y, x = y.scaled(step.height), x.scaled(step.width)
            case ShorterSideStep():
                sizes = step.scaled(y.size, x.size)
                y, x = y.scaled(sizes[0]), x.scaled(sizes[1])
                if step.crop:
                    top, left = step.start(*sizes)
                    y, x = y.moved(-top, step.crop[0]), x.moved(-left, step.crop[1])
            case LetterboxStep():
                sizes = step.scaled(y.size, x.size)
                top, left = step.start(*sizes)
                y, x = y.scaled(sizes[0]).moved(top, step.height), x.scaled(sizes[1]).moved(left, step.width)
            case CentreCropStep():
                y = y.moved(-((y.size - step.height) // 2), step.height)
                x = x.moved(-((x.size - step.width) // 2), step.width)
            case FitDigitStep():
                raise UsageError(
                    "the preparation takes a picture for one drawing, so that nothing has a place in it; --preprocess "
                    "digits finds several, each with a box"
                )
    return Placement((height, width), (y.size, x.size), (y.scale, x.scale), (y.offset, x.offset))


@dataclass(frozen=True)
class _Axis:
    size: int
    scale: float = 1.0
    offset: float = 0.0

    def scaled(self, size: int) -> _Axis:
        factor = size / self.size
        return _Axis(size, self.scale * factor, self.offset * factor)

    def moved(self, by: int, size: int) -> _Axis:
        return _Axis(size, self.scale, self.offset + by)
