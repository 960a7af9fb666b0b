"""Preprocessing at work: pictures and arrays become examples, of a shape that the steps determine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from portable_nn.core.errors import DataError
from portable_nn.core.names import Found
from portable_nn.preprocessing.framing import LetterboxStep, ShorterSideStep
from portable_nn.preprocessing.paper import DrawingsStep, InkStep, SheetStep
from portable_nn.preprocessing.pixels import Pixels, shrink
from portable_nn.preprocessing.sheets import Box, Drawing, without_edges
from portable_nn.preprocessing.steps import (
    CentreCropStep,
    ColourStep,
    FitDigitStep,
    PolarityStep,
    ReshapeStep,
    ResizeStep,
    Step,
    Tensor,
    TransposeStep,
    arithmetic,
    check_order,
    pictorial,
)


@dataclass(frozen=True)
class Part:
    """One example of a picture, and its box in it, in pixels: left, top, right, bottom; None where it is the whole."""

    x: Tensor
    box: Box | None = None


def apply(
    steps: Sequence[Step], picture: NDArray[Any], *, name: str = "picture", notes: list[str] | None = None
) -> Tensor:
    """One decoded picture → one example.

    Detected polarities are appended to ``notes``, if given, in words. ``name`` is the picture's in errors and notes.

    Raises:
        DataError: the steps cannot be applied to this picture, for example because it is blank, or has several
            drawings.
    """
    found = parts(steps, picture, name=name, notes=notes)
    if len(found) > 1:
        raise DataError(name, f"expected one drawing, found {len(found)}")
    return found[0].x


def parts(
    steps: Sequence[Step], picture: NDArray[Any], *, name: str = "picture", notes: list[str] | None = None
) -> list[Part]:
    """One decoded picture → its examples: one, or with the step ``drawings`` one or more, in the order of reading.

    Raises:
        DataError: the steps cannot be applied to this picture, for example because it is blank.
    """
    check_order(steps)
    pixels = picture
    drawings: list[Drawing] = []
    lit: Pixels | None = None
    outer: tuple[int, ...] = ()
    ink: Found = "dark"
    try:
        for step in pictorial(steps):
            if isinstance(step, PolarityStep | InkStep) and step.found == "auto":
                step = step.settle(pixels)
                if notes is not None:
                    notes.append(f"{name}: the ink is taken to be {step.found}, judged by the border of the picture")
            if isinstance(step, DrawingsStep):
                drawings = without_edges(step.find(pixels), pixels, lit, ink)
                break
            if isinstance(step, InkStep):
                ink = step.found
            before, pixels = pixels, step(pixels)
            if isinstance(step, SheetStep):
                lit = shrink(before, step.longest)
                outer = pixels.shape
    except ValueError as error:
        raise DataError(name, str(error)) from error
    if not drawings:
        return [Part(apply_arithmetic(steps, pixels[np.newaxis], name=name)[0])]
    examples = apply_arithmetic(steps, np.stack([drawing.pixels for drawing in drawings]), name=name)
    inner = pixels.shape if lit is None else lit.shape
    boxes = [_scaled(drawing.box, pixels.shape, outer or inner, inner, picture.shape) for drawing in drawings]
    return list(map(Part, examples, boxes))


def _scaled(
    box: Box, shape: tuple[int, ...], outer: tuple[int, ...], inner: tuple[int, ...], original: tuple[int, ...]
) -> Box:
    """A box in a picture of ``shape`` as one in that of which it was made, whole pixels around it.

    The step for sheets made it ``inner`` large, and with a margin ``outer``.
    """
    left, top, right, bottom = (
        (edge * outer[axis] / shape[axis] - (outer[axis] - inner[axis]) / 2) * (original[axis] / inner[axis])
        for edge, axis in zip(box, (1, 0, 1, 0), strict=True)
    )
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def apply_arithmetic(
    steps: Sequence[Step], batch: NDArray[Any], *, name: str = "array", dtype: DTypeLike = np.float32
) -> Tensor:
    """Arrays ``(n, *shape)`` → examples, by the arithmetic steps alone.

    Where the picture steps determine the shape of their result, flat rows are reshaped to it first. ``dtype`` is that
    of the examples, in which they are computed.

    Raises:
        DataError: the arrays do not have the shape that the steps need.
    """
    check_order(steps)
    shape = picture_shape(steps)
    try:
        examples = np.asarray(batch, dtype)
        if shape is not None:
            examples = lay_out(examples, shape)
        for step in arithmetic(steps):
            examples = step(examples)
    except ValueError as error:
        raise DataError(name, str(error)) from error
    return np.ascontiguousarray(examples, dtype)


def picture_shape(steps: Sequence[Step]) -> tuple[int, ...] | None:
    """The shape of a picture after the picture steps, or ``None`` where they do not determine it."""
    size: tuple[int, ...] | None = None
    for step in steps:
        if isinstance(step, FitDigitStep | DrawingsStep):
            size = (step.size, step.size)
        elif isinstance(step, ResizeStep | CentreCropStep | LetterboxStep):
            size = (step.height, step.width)
        elif isinstance(step, ShorterSideStep):
            size = step.crop
    in_colour = any(isinstance(step, ColourStep) for step in steps)
    return (*size, 3) if size and in_colour else size


def result_shape(steps: Sequence[Step]) -> tuple[int, ...] | None:
    """The shape of an example that the steps make of a picture, or ``None`` where they do not determine it."""
    shape = picture_shape(steps)
    for step in arithmetic(steps):
        if isinstance(step, TransposeStep) and shape:
            shape = tuple(shape[axis] for axis in step.axes)
        elif isinstance(step, ReshapeStep):
            shape = step.shape
    return shape


def lay_out(batch: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """``batch`` as ``(n, *shape)``: examples may be flattened or unflattened, and axes of length 1 added or removed.

    Raises:
        ValueError: the sizes differ, or the order of the axes: ``(3, 32, 32)`` and ``(32, 32, 3)``.
    """
    found = batch.shape[1:]
    flat = len(found) == 1 or len(shape) == 1
    if math.prod(found) != math.prod(shape) or not (flat or squeezed(found) == squeezed(shape)):
        raise ValueError(f"expected examples of shape {shape}, found {found}")
    return batch.reshape(len(batch), *shape)


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without the axes of length 1."""
    return tuple(side for side in shape if side != 1)
