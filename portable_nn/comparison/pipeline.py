"""The preparation of a picture as a few decisions, each of which another program may have made otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from portable_nn.comparison.report import Decision
from portable_nn.comparison.scaling import KERNELS, resampled
from portable_nn.core.errors import ShapeError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import Fit
from portable_nn.core.tensors import Array
from portable_nn.core.text import rounded
from portable_nn.data.batches import Taken
from portable_nn.preprocessing.applying import apply, apply_arithmetic
from portable_nn.preprocessing.framing import BgrStep, LetterboxStep, LevelsStep, ShorterSideStep
from portable_nn.preprocessing.pixels import LUMA, Method, resize
from portable_nn.preprocessing.placement import placement
from portable_nn.preprocessing.steps import (
    CentreCropStep,
    ColourStep,
    GreyscaleStep,
    Preprocessing,
    ResizeStep,
    pictorial,
)

Turn: TypeAlias = tuple[int, bool]
"""Quarter turns to the left, after left and right were swapped or not."""

UPRIGHT: Final[Turn] = (0, False)

AS_EXIF: Final = "upright, as EXIF says"

FINISHES: Final = ("whole", "clipped", "as computed")
"""Levels after scaling: rounded to whole ones, cut at 0 and 255, or neither. They are no differences by themselves."""

FIRST, LAST, RESHAPED = "(colour, height, width)", "(height, width, colour)", "reshaped, not transposed"

MOST_ELEMENTS: Final = 2**24
"""The largest array that is explained."""

PLAIN: Final = {
    *(ColourStep, GreyscaleStep, LevelsStep, BgrStep),
    *(ResizeStep, ShorterSideStep, LetterboxStep, CentreCropStep),
}
"""The steps that put a whole picture into a frame."""

BGR: Final = "blue, green, red"

_MEAN: Final = (1 / 3,) * 3
_GREY: Final = tuple(map(float, LUMA))
COLOURS: Final[Mapping[int, Mapping[str, Sequence[Sequence[float]]]]] = {
    3: {
        "red, green, blue": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        BGR: ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        "grey in all three": (_GREY,) * 3,
        "the mean in all three": (_MEAN,) * 3,
        "green, blue, red": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
        "blue, red, green": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
        "red, blue, green": ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
        "green, red, blue": ((0, 1, 0), (1, 0, 0), (0, 0, 1)),
    },
    1: {
        "grey": (_GREY,),
        "grey, red and blue swapped": (_GREY[::-1],),
        "the mean of the colours": (_MEAN,),
        "grey by ITU-R BT.709": ((0.2126, 0.7152, 0.0722),),
        "red": ((1, 0, 0),),
        "green": ((0, 1, 0),),
        "blue": ((0, 0, 1),),
    },
}
"""By the number of channels: the weights of red, green and blue in each."""


class Numbers(NamedTuple):
    """Factor and offset of each channel: level · factor + offset."""

    factor: tuple[float, ...]
    offset: tuple[float, ...]

    def __str__(self) -> str:
        if len({*self.factor}) == len({*self.offset}) == 1:
            black, white = self.offset[0], self.offset[0] + 255 * self.factor[0]
            return f"{rounded(black, 4)} to {rounded(white, 4)}"
        mean, std = self.normalised(255)
        if max(map(abs, (*mean, *std))) > 1:
            mean, std = self.normalised(1)
        mean_text, std_text = (", ".join(rounded(each, 4) for each in numbers) for numbers in (mean, std))
        return f"mean {mean_text}, deviation {std_text}"

    def normalised(self, white: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The same as means and standard deviations of levels up to ``white``, without noise in the last digits."""
        mean = (float(f"{0.0 - b / a * white / 255:.7g}") for a, b in zip(self.factor, self.offset, strict=True))
        return tuple(mean), tuple(float(f"{white / 255 / a:.7g}") for a in self.factor)

    def widened(self, channels: int) -> Numbers:
        """The same for another number of channels."""
        return self if len(self.factor) == channels else Numbers(*(each[:1] * channels for each in self))

    def near(self, other: Numbers) -> bool:
        """True if both give nearly the same for all levels: to a third of one."""
        mine, theirs = np.array(self.widened(len(other.factor))), np.array(other)
        return bool((np.abs(mine - theirs) * [[255.0], [1.0]] <= np.abs(mine[0]) * 0.3).all())


class Frame(NamedTuple):
    """The place of a picture in the input: it is scaled, and put or cut at ``start``.

    Attributes:
        size: the height and width of the input.
        scaled: those of the picture after scaling.
        start: where its top left corner is in the input.
        square: whether only the square in the middle of the picture is taken.
        found: whether a drawing is found in the picture instead, as A does it.
        own: whether A puts pictures of this shape so.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    start: tuple[int, int] = (0, 0)
    square: bool = False
    found: bool = False
    own: bool = False

    @property
    def inside(self) -> tuple[slice, slice]:
        """The rows and columns of the input that the picture fills."""
        ends = zip(self.size, self.scaled, self.start, strict=True)
        rows, columns = (slice(max(0, begin), min(size, begin + scaled)) for size, scaled, begin in ends)
        return rows, columns

    @property
    def how(self) -> Fit:
        """The fit, as options name it."""
        if self.scaled == self.size and self.start == (0, 0):
            return "stretch"
        return "letterbox" if min(self.start) >= 0 else "crop"

    def __str__(self) -> str:
        if self.found:
            return "that of the drawing that is found"
        size, scaled = (f"{y}x{x}" for y, x in (self.size, self.scaled))
        if self.how == "stretch":
            return f"the square in the middle, scaled to {size}" if self.square else f"stretched to {size}"
        if self.how == "crop":
            return f"scaled to {scaled}, {size} cut out at {-self.start[0]}, {-self.start[1]}"
        where = "at the top left" if self.start == (0, 0) else f"at {self.start[0]}, {self.start[1]}"
        return f"scaled to {scaled}, put {where} of {size}"


class Pipeline(NamedTuple):
    """The preparation of pictures in one program: what is decided of each of ``DECISIONS``."""

    frame: Frame
    kernel: str
    colours: str
    numbers: Numbers
    layout: str
    turn: str = AS_EXIF
    fill: float | None = None
    answers: str = "as the network gives them"
    finish: str = "whole"


DECISIONS: Final = {
    "turn": "orientation",
    "frame": "size",
    "kernel": "kernel",
    "fill": "fill",
    "colours": "colours",
    "numbers": "numbers",
    "layout": "layout",
    "answers": "answers",
}
"""The decisions that are compared, in words."""


def differing(own: Pipeline, other: Pipeline) -> tuple[Decision, ...]:
    """The decisions in which two preparations differ."""
    return tuple(
        Decision(
            what, *(rounded(x, 4) if isinstance(x := getattr(each, name), float) else str(x) for each in (own, other))
        )
        for name, what in DECISIONS.items()
        if not _alike(name, own, other)
    )


def _alike(name: str, own: Pipeline, other: Pipeline) -> bool:
    if name == "numbers":
        return own.numbers.near(other.numbers)
    if (name == "frame" and other.frame.own) or (name == "layout" and "" in (own.layout, other.layout)):
        return True
    if name == "fill":
        return own.fill is None or other.fill is None or abs(own.fill - other.fill) <= 1
    return getattr(own, name) == getattr(other, name) or (name == "kernel" and (own.frame.found or other.frame.found))


class Photo:
    """A picture that is prepared in several ways.

    Attributes:
        upright: its colours, 0 to 255, (height, width, 3), as EXIF turns them.
        stored: the turn that undoes what EXIF says.
        steps: the preparation of A.
        found: the levels that the steps of A for pictures make of it.
        prepared: the example that A gets.
    """

    def __init__(self, pixels: NDArray[Any], stored: Turn, steps: Preprocessing, taken: Taken) -> None:
        levels = ColourStep()(pixels)
        self.upright = levels.astype(np.uint8) if pixels.dtype == np.uint8 and pixels.shape[2:] != (4,) else levels
        self.stored, self.steps = stored, steps
        self.found = apply(pictorial(steps), pixels)
        self.prepared = taken.laid_out(apply(steps, pixels)[np.newaxis], "the picture")[0]
        self.turns = {
            self.turn_named((quarters, flip)): (quarters, flip) for quarters in range(4) for flip in (False, True)
        }
        self._turned = lru_cache(2)(lambda turn: _turned(self.upright, turn))

    def turn_named(self, turn: Turn) -> str:
        """The name of a turn in reports."""
        if turn == UPRIGHT:
            return AS_EXIF
        if turn == self.stored:
            return "as stored, without what EXIF says"
        words = ("mirrored" * turn[1], f"turned by {90 * turn[0]}° to the left" * bool(turn[0]))
        return ", then ".join(filter(None, words))

    def own(self) -> Pipeline:
        """The preparation of A; its numbers by what becomes of black and white."""
        shape = (1, *self.found.shape)
        black, white = (
            self.canonical(apply_arithmetic(self.steps, np.full(shape, level)))[0][1][0, 0] for level in (0.0, 255.0)
        )
        kinds = {type(step) for step in self.steps}
        return Pipeline(
            self.own_frame(UPRIGHT),
            next((step.method for step in self.steps if hasattr(step, "method")), "bilinear"),
            [*COLOURS[len(black)]][BgrStep in kinds],
            Numbers(tuple(map(float, (white - black) / 255)), tuple(map(float, black))),
            self.canonical(self.prepared)[0][0],
            fill=next((float(step.fill) for step in self.steps if isinstance(step, LetterboxStep)), None),
            finish="whole" if LevelsStep in kinds else "clipped",
        )

    def own_frame(self, turn: Turn) -> Frame:
        """The place where A puts the picture after a turn."""
        if not {type(step) for step in pictorial(self.steps)} <= PLAIN:
            height, width = self.found.shape[:2]
            return Frame((height, width), (height, width), found=True, own=True)
        place = placement(self.steps, *self._turned(turn).shape[:2])
        height, width = (round(a * b) for a, b in zip(place.picture, place.scale, strict=True))
        return Frame(place.frame, (height, width), (round(place.offset[0]), round(place.offset[1])), own=True)

    def canonical(self, array: Array) -> list[tuple[str, Array]]:
        """An example, perhaps in a batch of one, as (height, width, channel), and its layout; in more than one way.

        Raises ``ShapeError`` where it is no picture.
        """
        x = array
        while x.ndim > self.prepared.ndim and len(x) == 1:
            x = x[0]
        if x.size == self.found.size == x.shape[-1]:
            x = x.reshape(self.found.shape)
        if x.ndim == 2:
            return [("", x[..., np.newaxis])]
        axes = [axis for axis in (0, 2) if x.ndim == 3 and x.shape[axis] in COLOURS]
        if not axes or array.size > MOST_ELEMENTS:
            expected = f"one picture such as {format_shape(self.prepared.shape)}, of at most {MOST_ELEMENTS:,} numbers"
            raise ShapeError(f"expected {expected}, found an array of shape {format_shape(array.shape)}")
        axis = axes[len(axes) == 2 and len(self.prepared) not in COLOURS]
        picture = np.moveaxis(x, axis, 2)
        if picture.shape[2] == 1:
            return [("", picture)]
        again = x.reshape(3, *picture.shape[:2]).transpose(1, 2, 0) if axis else x.reshape(picture.shape)
        return [(LAST if axis else FIRST, picture), (RESHAPED, again)]

    def laid_out(self, x: Array, layout: str) -> Array:
        """The way back of ``canonical``: an example in the shape that A takes."""
        first = self.canonical(self.prepared)[0][0] == FIRST
        moved = x.transpose(2, 0, 1) if first != (layout == RESHAPED) else x
        return moved.reshape(self.prepared.shape)

    def levels(self, turn: Turn, frame: Frame, kernel: str, finish: str, every: int = 1) -> NDArray[Any]:
        """The part of the picture that is in the input, in ``every`` row of so many: (height, width, 3)."""
        if frame.found:
            found = _turned(self.found, turn)[::every]
            return np.stack([found] * 3, axis=-1) if found.ndim == 2 else found
        pixels = self._turned(turn)
        if frame.square:
            side, (height, width) = min(pixels.shape[:2]), pixels.shape[:2]
            top, left = (height - side) // 2, (width - side) // 2
            pixels = pixels[top : top + side, left : left + side]
        rows, columns = (
            np.arange(part.start, part.stop) - start for part, start in zip(frame.inside, frame.start, strict=True)
        )
        if finish == "whole" and kernel in get_args(Method) and every == 1 and pixels.dtype == np.uint8:
            return np.asarray(resize(pixels, *frame.scaled, cast(Method, kernel))[rows][:, columns])
        found = resampled(pixels, frame.scaled, KERNELS[kernel], rows[::every], columns)
        found = found if finish == "as computed" else found.clip(0, 255)
        return np.rint(found) if finish == "whole" else found

    def frames(self, turn: Turn, size: tuple[int, int]) -> list[Frame]:
        """The frames that are tried for an input of a size: that of A, and what other programs have."""
        own, (height, width) = self.own_frame(turn), self._turned(turn).shape[:2]
        longest = max(size)
        shorter = dict.fromkeys((longest, round(longest * 256 / 224), round(longest * 232 / 224), 256))
        found = [Frame(size, size)]
        if own.how == "crop":
            shorter[min(own.scaled)] = None
        for side in shorter:
            ratio = side / min(height, width)
            scaled = {ShorterSideStep(side).scaled(height, width), (round(height * ratio), round(width * ratio))}
            found += (frame for each in sorted(scaled) for frame in _cuts(size, each))
        ratio = min(size[0] / height, size[1] / width)
        for fitted in sorted({LetterboxStep(*size).scaled(height, width), (int(height * ratio), int(width * ratio))}):
            middle = (size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2
            found += [Frame(size, fitted, start) for start in (middle, (0, 0)) if min(fitted) > 0]
        found += [Frame(size, size, square=True), *_cuts(size, (height, width))]
        others = (each for each in dict.fromkeys(found) if each != own._replace(own=False))
        return [own, *others] if own.size == size else list(others)

    def made(self, pipeline: Pipeline) -> Array:
        """The example that a preparation makes: (height, width, channel)."""
        frame, numbers = pipeline.frame, pipeline.numbers
        levels = self.levels(self.turns[pipeline.turn], frame, pipeline.kernel, pipeline.finish)
        rows = np.array(COLOURS[len(numbers.factor)][pipeline.colours], np.float64)
        inside = (levels @ rows.T) * numbers.factor + numbers.offset
        found = np.tile(np.multiply(pipeline.fill or 0.0, numbers.factor) + numbers.offset, (*frame.size, 1))
        found[frame.inside] = inside
        return found


def _turned(pixels: NDArray[Any], turn: Turn) -> NDArray[Any]:
    return np.ascontiguousarray(np.rot90(np.flip(pixels, 1) if turn[1] else pixels, turn[0]))


def _cuts(size: tuple[int, int], scaled: tuple[int, int]) -> Iterator[Frame]:
    """The ways of cutting an input out of a picture: of the middle, its half rounded down or to even, at a corner."""
    over = [both - one for both, one in zip(scaled, size, strict=True)]
    if min(over) >= 0:
        for start in ((round(over[0] / 2), round(over[1] / 2)), (over[0] // 2, over[1] // 2), (0, 0)):
            yield Frame(size, scaled, (-start[0], -start[1]))
