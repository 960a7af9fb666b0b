"""Preprocessing: a list of steps, stored in the file of a model, that convert data to the network's input.

*Picture* steps convert a decoded picture to an array of brightness, 0..255: what no standard operator does. Data that
are arrays already (rows of a CSV file, IDX, npy) skip them. *Arithmetic* steps convert that array further. Networks now
do so themselves, by nodes; older files have such steps, and so has what is assumed for models of other programs.

Steps come from untrusted files: each is a tagged record of numbers, validated when it is created, and nothing in it is
looked up, imported or evaluated. ``str(step)`` describes a step in plain words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.names import Found as Found
from portable_nn.preprocessing.checks import (
    MAX_ELEMENTS,
    MAX_FLOAT,
    MAX_SIDE,
    check_choice,
    check_finite,
    check_fit,
    check_sides,
    grey,
)
from portable_nn.preprocessing.digits import fit_digit
from portable_nn.preprocessing.framing import BgrStep, LetterboxStep, LevelsStep, ShorterSideStep
from portable_nn.preprocessing.paper import DrawingsStep, InkStep, LinesStep, SheetStep
from portable_nn.preprocessing.pixels import Ink, Method, Pixels, brightness, guess_ink, on_white, resize

Tensor: TypeAlias = NDArray[np.float32]


class GreyscaleStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="greyscale"):
    """Any decoded picture → brightness ``(height, width)``; transparent parts become white."""

    def __call__(self, picture: NDArray[Any]) -> Pixels:
        """Any decoded picture → ``(height, width)``."""
        levels = on_white(picture)
        return levels if levels.ndim == 2 else brightness(levels)

    def __str__(self) -> str:
        return "convert to grey, 0 (black) to 255 (white), with the ITU-R 601 weights, on white where transparent"


class ColourStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="colour"):
    """Any decoded picture → red, green and blue ``(height, width, 3)``; transparent parts become white."""

    def __call__(self, picture: NDArray[Any]) -> Pixels:
        """Any decoded picture → ``(height, width, 3)``."""
        levels = on_white(picture)
        return levels if levels.ndim == 3 else np.repeat(levels[..., np.newaxis], 3, axis=2)

    def __str__(self) -> str:
        return "convert to red, green and blue, each 0 to 255, on white where transparent"


class PolarityStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="polarity"):
    """Invert the picture unless its ink is already ``ink``; ``found`` is the ink of the pictures.

    Where ``found`` is ``"auto"``, it is detected from the border of each picture (see ``pixels.guess_ink``).
    """

    ink: Ink
    found: Found = "auto"

    def __post_init__(self) -> None:
        check_choice("ink", self.ink, Ink)
        check_choice("found", self.found, Found)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Grey or colour → the same shape."""
        return pixels if self.settle(pixels).found == self.ink else 255 - pixels

    def settle(self, pixels: Pixels) -> PolarityStep:
        """The same step with ``found`` detected for this picture."""
        return self if self.found != "auto" else PolarityStep(self.ink, guess_ink(pixels))

    def __str__(self) -> str:
        how = "the border of each picture shows it" if self.found == "auto" else f"it is taken to be {self.found}"
        return f"invert unless the ink is {self.ink}: {how}"


class FitDigitStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="fit_digit"):
    """Light ink on dark paper ``(height, width)`` → ``(size, size)`` laid out as MNIST is (see ``digits``)."""

    size: int = 28
    box: int = 20

    def __post_init__(self) -> None:
        check_fit(self.size, self.box)

    def __call__(self, pixels: Pixels) -> Pixels:
        """``(height, width)`` → ``(size, size)``. Raises ValueError where nothing stands out from the background."""
        return fit_digit(grey("fit_digit", pixels), self.size, self.box)

    def __str__(self) -> str:
        return (
            f"find the drawing, scale it to fit {self.box}x{self.box} pixels and centre its mass "
            f"in {self.size}x{self.size}"
        )


class ResizeStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="resize"):
    """Scale to ``(height, width)``, without keeping the aspect ratio and with antialiasing."""

    height: int
    width: int
    method: Method = "bilinear"

    def __post_init__(self) -> None:
        check_sides(height=self.height, width=self.width)
        check_choice("method", self.method, Method)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Grey or colour → the same at the new size."""
        return resize(pixels, self.height, self.width, self.method)

    def __str__(self) -> str:
        return f"scale to {self.height}x{self.width} pixels ({self.method})"


class CentreCropStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="centre_crop"):
    """Crop to the ``(height, width)`` in the middle."""

    height: int
    width: int

    def __post_init__(self) -> None:
        check_sides(height=self.height, width=self.width)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Grey or colour → the same at the new size. Raises ValueError where the picture is smaller."""
        height, width = pixels.shape[:2]
        if height < self.height or width < self.width:
            raise ValueError(f"expected at least {self.height}x{self.width} pixels to crop, found {height}x{width}")
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return pixels[top : top + self.height, left : left + self.width]

    def __str__(self) -> str:
        return f"cut {self.height}x{self.width} pixels out of the middle"


class ScaleStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="scale"):
    """``x * factor + offset``."""

    factor: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_finite(factor=[self.factor], offset=[self.offset])

    def __call__(self, batch: Tensor) -> Tensor:
        """``(n, *shape)`` → the same shape."""
        number = batch.dtype.type
        return batch * number(self.factor) + number(self.offset)

    def __str__(self) -> str:
        return f"multiply by {self.factor:.6g} and add {self.offset:.6g}"


class NormaliseStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="normalise"):
    """``(x - mean) / std`` with one mean and one standard deviation for each channel.

    ``axis`` is the axis of one example that holds the channels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    axis: int = 0

    def __post_init__(self) -> None:
        check_finite(mean=self.mean, std=self.std)
        if not 1 <= len(self.mean) == len(self.std) <= MAX_SIDE:
            raise ValueError(f"mean and std need one value a channel, not {len(self.mean)} and {len(self.std)}")
        if min(self.std) < 1 / MAX_FLOAT:
            raise ValueError(f"std must be positive, at least {1 / MAX_FLOAT:g}, not {min(self.std):g}")
        if not 0 <= self.axis < 8:
            raise ValueError(f"axis must be from 0 to 7, not {self.axis}")

    def __call__(self, batch: Tensor) -> Tensor:
        """``(n, *shape)`` → the same shape. Raises ValueError where the number of channels differs."""
        axis = self.axis + 1
        if batch.ndim <= axis or batch.shape[axis] != len(self.mean):
            raise ValueError(f"normalise needs {len(self.mean)} channels in axis {self.axis}, found {batch.shape[1:]}")
        per_channel = (-1,) + (1,) * (batch.ndim - axis - 1)
        mean, std = (np.array(values, batch.dtype).reshape(per_channel) for values in (self.mean, self.std))
        return (batch - mean) / std

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std))
        return f"for each channel (axis {self.axis}), subtract the mean ({mean}) and divide by ({std})"


class TransposeStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="transpose"):
    """Reorder the axes of one example: axis ``i`` of the result is axis ``axes[i]``, as ``numpy.transpose``."""

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= 8 or sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(f"axes must be a permutation of 0, 1, 2 and so on, not {self.axes}")

    def __call__(self, batch: Tensor) -> Tensor:
        """``(n, *shape)`` → ``(n, *reordered)``. Raises ValueError where the number of axes differs."""
        if batch.ndim != len(self.axes) + 1:
            raise ValueError(f"transpose needs {len(self.axes)} axes, found shape {batch.shape[1:]}")
        return batch.transpose(0, *(axis + 1 for axis in self.axes))

    def __str__(self) -> str:
        return f"reorder the axes to {self.axes}"


class ReshapeStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="reshape"):
    """Reshape one example, in row-major order."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 8 or min(self.shape) < 1 or math.prod(self.shape) > MAX_ELEMENTS:
            raise ValueError(f"shape must have 1 to 8 positive sizes of at most {MAX_ELEMENTS} values: {self.shape}")

    def __call__(self, batch: Tensor) -> Tensor:
        """``(n, *any)`` → ``(n, *shape)``. Raises ValueError where the number of values differs."""
        if math.prod(batch.shape[1:]) != math.prod(self.shape):
            raise ValueError(f"reshape cannot make {self.shape} of {batch.shape[1:]}")
        return batch.reshape(len(batch), *self.shape)

    def __str__(self) -> str:
        return f"reshape to {self.shape}"


PictureStep: TypeAlias = (
    GreyscaleStep
    | ColourStep
    | PolarityStep
    | FitDigitStep
    | ResizeStep
    | CentreCropStep
    | LevelsStep
    | ShorterSideStep
    | LetterboxStep
    | BgrStep
    | SheetStep
    | InkStep
    | LinesStep
    | DrawingsStep
)
ArithmeticStep: TypeAlias = ScaleStep | NormaliseStep | TransposeStep | ReshapeStep
Step: TypeAlias = PictureStep | ArithmeticStep
Preprocessing: TypeAlias = tuple[Step, ...]


def pictorial(steps: Sequence[Step]) -> tuple[PictureStep, ...]:
    """The picture steps."""
    return tuple(step for step in steps if isinstance(step, PictureStep))


def arithmetic(steps: Sequence[Step]) -> tuple[ArithmeticStep, ...]:
    """The arithmetic steps."""
    return tuple(step for step in steps if isinstance(step, ArithmeticStep))


def check_order(steps: Sequence[Step]) -> None:
    """Check the order of the steps.

    Raises:
        ValueError: a picture step after an arithmetic one or after drawings, or picture steps that do not begin with
            greyscale or colour.
    """
    are_pictures = [isinstance(step, PictureStep) for step in steps]
    if are_pictures != sorted(are_pictures, reverse=True):
        raise ValueError("steps for pictures must stand before steps of arithmetic")
    starts = [place for place, step in enumerate(steps) if isinstance(step, GreyscaleStep | ColourStep)]
    if any(are_pictures) and starts != [0]:
        raise ValueError("steps for pictures must begin with greyscale or colour, and have it once")
    if any(isinstance(step, DrawingsStep) for step in pictorial(steps)[:-1]):
        raise ValueError("drawings must be the last of the steps for pictures")


def describe(steps: Sequence[Step]) -> list[str]:
    """One line for each step, in plain words."""
    return [str(step) for step in steps]


def with_polarity(steps: Preprocessing, found: Found) -> Preprocessing:
    """The same steps with ``found`` as the ink of the pictures.

    Raises:
        UsageError: ``found`` is not one of the choices, or there is no polarity step.
    """
    if found not in get_args(Found):
        raise UsageError(f"polarity must be one of {', '.join(get_args(Found))}, not {found!r}")
    if not any(isinstance(step, PolarityStep | InkStep) for step in steps):
        raise UsageError("polarity was given, but the preprocessing of this model has no polarity step")
    changed = (
        msgspec.structs.replace(step, found=found) if isinstance(step, PolarityStep | InkStep) else step
        for step in steps
    )
    return tuple(changed)
