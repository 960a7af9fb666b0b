"""The preparation that made an array of a picture: solved for where least squares can, tried where they cannot.

For each frame and kernel, the order of the colours and the numbers of each channel follow from sums of products. Errors
are root mean squares, in levels of light: 1 is a 255th of white.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.comparison.pipeline import COLOURS, FINISHES, UPRIGHT, Frame, Numbers, Photo, Pipeline, Turn
from portable_nn.comparison.scaling import KERNELS
from portable_nn.core.tensors import Array
from portable_nn.preprocessing.named import NAMED

EXPLAINED: Final = 1.0
"""The largest error that decoders of JPEG, and roundings on the way, may have."""

EXACT: Final = 0.05
"""Errors below this are none: libraries sum in another order."""

TINY: Final = 1e-100
"""The factor of numbers that do not follow the picture at all."""

ROWS: Final = 32
"""The rows of an input that are looked at for all that is tried."""

NEAR: Final = 24
"""So many of the nearest candidates are looked at as a whole, and as many of those with the fewest differences."""


class Scored(NamedTuple):
    """A preparation, and how far what it makes is from the other side's."""

    pipeline: Pipeline
    error: float


class Centred:
    """Numbers of pixels, ``(…, channels)``, around their means."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        rows = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
        self.means = np.ones(len(rows)) @ rows / len(rows)
        self.rows = rows - self.means


class Theirs(Centred):
    """The numbers of the other side within a frame, in ``every`` row of so many, and ``beside`` it."""

    def __init__(self, theirs: Array, frame: Frame, every: int = 1) -> None:
        super().__init__(theirs[frame.inside][::every])
        self.squares = np.square(self.rows).sum(0)
        beside = np.ones(frame.size, bool)
        beside[frame.inside] = False
        self.beside = theirs[beside].astype(np.float64)
        self.varying = np.ptp(self.beside, axis=0) if len(self.beside) else np.zeros(1)


class LeastSquares:
    """The sums of products of levels, of three colours, and of the numbers beside which they lie.

    ``colours`` have the weights of red, green and blue in each channel, ``(…, channels, 3)``.
    """

    def __init__(self, levels: Centred, theirs: Theirs) -> None:
        self.count, self.x, self.theirs = len(levels.rows), levels.means, theirs
        self.xx, self.xy = levels.rows.T @ levels.rows, theirs.rows.T @ levels.rows

    def solved(self, colours: NDArray[Any], own: Numbers) -> Numbers:
        """The numbers that fit best, or A's own where a channel does not vary."""
        over, across = self._sums(colours)
        flat = over < EXACT**2 * self.count
        factor = np.where(flat, own.factor, across / np.where(flat, 1, over))
        factor = np.where(factor == 0, TINY, factor)
        return Numbers(*np.array((factor, self.theirs.means - factor * (colours @ self.x))))

    def errors(self, colours: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """The error of each: inside the frame, and how much the pixels beside it vary, which must all be alike."""
        over, across = self._sums(colours)
        factor, offset = map(np.array, numbers)
        shifted = self.count * (self.theirs.means - factor * (colours @ self.x) - offset) ** 2
        with np.errstate(over="ignore"):
            squares = (self.theirs.squares - factor * (2 * across - factor * over) + shifted).clip(0) / factor**2
            varying = self.theirs.varying / np.abs(factor)
            return np.asarray(np.sqrt(squares.mean(-1) / self.count) + varying.mean(-1))

    def _sums(self, colours: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return ((colours @ self.xx) * colours).sum(-1), (colours * self.xy).sum(-1)


@cache
def known_numbers(channels: int) -> tuple[Numbers, ...]:
    """The numbers of published preparations, in the order of both colours, of levels that were not scaled, inverted."""
    found = list[Numbers]()
    for row in NAMED.values():
        mean, std = (
            np.array(each if len(each) in (1, channels) else (np.nan,)) * np.ones(channels) for each in row.numbers
        )
        for white, step in product((row.white, 255), (1, -1)):
            numbers = (1 / std[::step] / (255 if white == 1 else 1), 0.0 - mean[::step] / std[::step])
            found.append(Numbers(*(tuple(each.tolist()) for each in numbers)))
    found += [Numbers((-most / 255,) * channels, (most,) * channels) for most in (1.0, 255.0)]
    return tuple(dict.fromkeys(each for each in found if np.isfinite(each).all()))


class Try(NamedTuple):
    """A place in the search: what is not solved for."""

    turn: Turn
    frame: Frame
    kernel: str
    layout: int
    colours: str


class Search:
    """The search for the preparation of an array.

    Attributes:
        theirs: the array as (height, width, channel), by its layout.
        tried: how many candidates there were.
    """

    def __init__(self, photo: Photo, own: Pipeline, theirs: Sequence[tuple[str, Array]]) -> None:
        self.photo, self.own, self.theirs, self.tried = photo, own, theirs, 0
        self.size, channels = theirs[0][1].shape[:2], theirs[0][1].shape[2]
        self.colours = {name: np.array(rows, np.float64) for name, rows in COLOURS[channels].items()}
        self.all_colours = np.stack(list(self.colours.values()))
        self.numbers = own.numbers.widened(channels)
        self.known = (self.numbers, *known_numbers(channels))
        self.all_known = Numbers(*np.array(self.known).swapaxes(0, 1))

    def found(self) -> list[Scored]:
        """The nearest preparations, each with the error that is left."""
        usual = list(dict.fromkeys((UPRIGHT, self.photo.stored)))
        rough = self._rough(usual)
        if min(error for error, _ in rough) > 2 * EXPLAINED:
            rough += self._rough([turn for turn in self.photo.turns.values() if turn not in usual])
        self.tried = len(rough)
        rough.sort(key=lambda each: each[0])
        most = max(3 * rough[0][0], rough[0][0] + 0.5)
        near = list(dict.fromkeys(place for error, place in rough if error <= most))
        simple = sorted(near, key=self._differences)
        return [self._whole(*each) for each in product(dict.fromkeys(near[:NEAR] + simple[:NEAR]), FINISHES)]

    def _differences(self, place: Try) -> int:
        own = (UPRIGHT, True, self.own.kernel, self.own.layout, self.own.colours)
        its = (place.turn, place.frame.own, place.kernel, self.theirs[place.layout][0], place.colours)
        return sum(a != b for a, b in zip(own, its, strict=True))

    def _rough(self, turns: Sequence[Turn]) -> list[tuple[float, Try]]:
        """All candidates with their errors in some of the rows."""
        every, found = max(1, self.size[0] // ROWS), list[tuple[float, Try]]()
        for turn in turns:
            for frame in self.photo.frames(turn, self.size):
                sides = [Theirs(theirs, frame, every) for _, theirs in self.theirs]
                for kernel in [self.own.kernel] if frame.found else KERNELS:
                    computed = self.photo.levels(turn, frame, kernel, "as computed", every)
                    for levels in map(Centred, (computed, np.rint(computed).clip(0, 255))):
                        for layout, theirs in enumerate(sides):
                            fit = LeastSquares(levels, theirs)
                            errors = fit.errors(self.all_colours, fit.solved(self.all_colours, self.numbers))
                            places = (Try(turn, frame, kernel, layout, name) for name in self.colours)
                            found += zip(errors.tolist(), places, strict=True)
        return found

    def _whole(self, place: Try, finish: str) -> Scored:
        """A candidate at all pixels, with the simplest numbers that explain as much as any."""
        layout, theirs = self.theirs[place.layout]
        fit = LeastSquares(Centred(self.photo.levels(*place[:3], finish)), Theirs(theirs, place.frame))
        beside = fit.theirs.beside
        colours = self.colours[place.colours]
        numbers = fit.solved(colours, self.numbers)
        error = float(fit.errors(colours, numbers))
        for known, its in zip(self.known, fit.errors(colours, self.all_known).tolist(), strict=True):
            if its <= 2 * max(error, EXACT):
                numbers, error = known, its
                break
        numbers = Numbers(*(tuple(np.array(each).tolist()) for each in numbers))
        fill = float(np.mean((beside[0] - numbers.offset) / numbers.factor)) if len(beside) else None
        turn = self.photo.turn_named(place.turn)
        return Scored(Pipeline(*place[1:3], place.colours, numbers, layout, turn, fill, finish=finish), error)
