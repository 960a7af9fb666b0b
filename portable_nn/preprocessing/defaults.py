"""The preprocessing of digits, and what is assumed for pictures where a model says nothing."""

from __future__ import annotations

from typing import Final

from portable_nn.core.errors import UsageError
from portable_nn.preprocessing.applying import squeezed
from portable_nn.preprocessing.paper import DrawingsStep, InkStep, LinesStep, SheetStep
from portable_nn.preprocessing.steps import (
    ColourStep,
    FitDigitStep,
    GreyscaleStep,
    PolarityStep,
    Preprocessing,
    ReshapeStep,
    ResizeStep,
    ScaleStep,
    TransposeStep,
)

PIXELS: Final = 784
"""The number of pixels of an MNIST image: rows of this many numbers are taken for such images."""

DIGITS: Final = "0123456789"
"""The classes of MNIST."""

DIGIT: Final[Preprocessing] = (GreyscaleStep(), PolarityStep("light"), FitDigitStep(28, 20))
"""A photograph or scan of one drawing → (28, 28), 0..255, in the layout of MNIST."""

SHEET: Final[Preprocessing] = (GreyscaleStep(), SheetStep(768), InkStep(), LinesStep(), DrawingsStep(28, 20))
"""A photograph of a sheet → each of its digits as (28, 28), 0..255, in the layout of MNIST."""

BOOK: Final = (0.99 / 255, 0.01)
"""Factor and offset from pixels, 0..255, to 0.01..1: T. Rashid, *Make Your Own Neural Network*, 2016."""


def default_preprocessing(example_shape: tuple[int, ...], largest: float | None = None) -> Preprocessing:
    """The preprocessing of pictures for a model that has none: MNIST digits, or colour pictures.

    ``largest`` is the largest number that the model says it is made for. Without one, digits are brought to 0.01..1,
    and colours to 0..1.

    Raises:
        UsageError: the shape is neither that of an MNIST digit nor that of a colour picture, or numbers that are made
            neither for 0..1 nor for 0..255.
    """
    if is_digit(example_shape):
        return (*DIGIT, *scaled(largest, BOOK), ReshapeStep(example_shape))
    if len(example_shape) == 3 and 3 in example_shape[::2]:
        turned = (TransposeStep((2, 0, 1)),) * (example_shape[0] == 3)
        sides = example_shape[1:] if turned else example_shape[:2]
        return (ColourStep(), ResizeStep(*sides), *scaled(largest, (1 / 255, 0.0)), *turned)
    raise UsageError(
        f"the model takes examples of shape {example_shape} and does not say how pictures become that: "
        "pictures can be used with (784,), (28, 28), (1, 28, 28), (3, height, width) and (height, width, 3); "
        "for others --preprocess (preprocess) says how they are prepared; or give it CSV or arrays"
    )


def is_digit(example_shape: tuple[int, ...]) -> bool:
    """True if an example of this shape may be a digit of MNIST."""
    return squeezed(example_shape) in ((PIXELS,), (28, 28))


def is_picture(example_shape: tuple[int, ...]) -> bool:
    """True if an example of this shape may be a picture: a digit of MNIST, grey, or in colour."""
    return is_digit(example_shape) or (len(example_shape) == 3 and bool({1, 3} & {example_shape[0], example_shape[2]}))


def scaled(largest: float | None, usual: tuple[float, float]) -> tuple[ScaleStep, ...]:
    """The step from 0..255 to what the model is made for; none where that is 0..255."""
    if largest is None or 0.5 <= largest <= 4:
        return (ScaleStep(*usual),)
    if not 64 <= largest <= 1024:
        raise UsageError(
            f"the model is made for numbers up to about {largest:.3g}, and does not say how pictures become that: "
            "give it CSV or arrays"
        )
    return ()
