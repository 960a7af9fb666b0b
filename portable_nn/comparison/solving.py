"""The preparation that made an array of a picture: solved for where least squares can, tried where they cannot.

For each frame and kernel, the order of the colours and the numbers of each channel follow from sums of products. Errors
are root mean squares, in levels of light: 1 is a 255th of white.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.comparison.recipes import COLOURS, FINISHES, UPRIGHT, Frame, Numbers, Photo, Recipe, Turn
from portable_nn.comparison.scaling import KERNELS
from portable_nn.core.tensors import Array
from portable_nn.preprocessing.named import NAMED

EXPLAINED: Final = 1.0
"""The largest error that decoders of JPEG, and roundings on the way, may have."""

EXACT: Final = 0.05
"""Errors below this are none: libraries sum in another order."""

ROWS: Final = 32
"""The rows of an input that are looked at for all that is tried."""

NEAR: Final = 24
"""So many of the nearest candidates are looked at as a whole, and as many of those with the fewest differences."""


class Scored(NamedTuple):
    """A preparation, and how far what it makes is from the other side's."""

    recipe: Recipe
    error: float


class Sums:
    """The sums of products of levels ``(…, 3)`` and of the other side's numbers ``(…, channels)``."""

    def __init__(self, levels: NDArray[Any], theirs: Array) -> None:
        x, y = levels.reshape(-1, 3).astype(np.float64), theirs.reshape(-1, theirs.shape[-1]).astype(np.float64)
        self.count, self.x, self.y = len(x), x.mean(0), y.mean(0)
        x, y = x - self.x, y - self.y
        self.xx, self.xy, self.yy = x.T @ x, y.T @ x, (y * y).sum(0)

    def solved(self, rows: NDArray[Any], own: Numbers) -> Numbers:
        """The numbers that fit best to the colours ``rows``, or A's own where a channel does not vary."""
        over, across = np.einsum("ck,kl,cl->c", rows, self.xx, rows), (rows * self.xy).sum(1)
        flat = over < EXACT**2 * self.count
        factor = np.where(flat, own.factor, across / np.where(flat, 1, over))
        factor = np.where(factor == 0, np.finfo(np.float64).tiny, factor)
        return Numbers(tuple(factor.tolist()), tuple((self.y - factor * (rows @ self.x)).tolist()))

    def squares(self, rows: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """The sum of the squares of the errors of each channel, in levels."""
        factor, offset = (np.array(each) for each in numbers)
        over, across = np.einsum("ck,kl,cl->c", rows, self.xx, rows), (rows * self.xy).sum(1)
        beside = self.count * (self.y - factor * (rows @ self.x) - offset) ** 2
        with np.errstate(over="ignore"):
            found: NDArray[Any] = (self.yy - factor * (2 * across - factor * over) + beside).clip(0) / factor**2
        return found


@cache
def known_numbers(channels: int) -> tuple[Numbers, ...]:
    """The numbers of published preparations, in the order of both colours, of levels that were not scaled, inverted."""
    found = dict[Numbers, None]()
    for white, (mean, std) in ((row.white, row.numbers) for row in NAMED.values()):
        for step in (1, -1):
            means, stds = (each[::step] if len(each) == channels else each[:1] * channels for each in (mean, std))
            if max(len(mean), len(std)) in (1, channels):
                for scale in (1 / 255 if white == 1 else 1.0, 1.0):
                    factor = tuple(scale / each for each in stds)
                    found[Numbers(factor, tuple(0.0 - m / s for m, s in zip(means, stds, strict=True)))] = None
    for most in (1.0, 255.0):
        found[Numbers((-most / 255,) * channels, (most,) * channels)] = None
    return tuple(found)


def widened(numbers: Numbers, channels: int) -> Numbers:
    """The numbers of A for an array that has another number of channels."""
    return Numbers(*(each if len(each) == channels else each[:1] * channels for each in numbers))


class Try(NamedTuple):
    """A place in the search: what is not solved for."""

    turn: Turn
    frame: Frame | None
    kernel: str
    layout: int
    colours: str


class Search:
    """The search for the preparation of an array.

    Attributes:
        theirs: the array as (height, width, channel), by its layout.
        tried: how many candidates there were.
    """

    def __init__(self, photo: Photo, own: Recipe, theirs: Sequence[tuple[str, Array]]) -> None:
        self.photo, self.own, self.theirs, self.tried = photo, own, theirs, 0
        self.size, self.channels = theirs[0][1].shape[:2], theirs[0][1].shape[2]
        self.colours: Mapping[str, NDArray[Any]] = {
            name: np.array(rows, np.float64) for name, rows in COLOURS[self.channels].items()
        }
        self.numbers = widened(own.numbers, self.channels)

    def found(self) -> list[Scored]:
        """The nearest preparations, each with the error that is left."""
        usual = list(dict.fromkeys((UPRIGHT, self.photo.stored)))
        rough = list(self._rough(usual))
        if min(error for error, _ in rough) > 2 * EXPLAINED:
            rough += self._rough([t for n in range(4) for m in (False, True) if (t := (n, m)) not in usual])
        self.tried = len(rough)
        rough.sort(key=lambda each: each[0])
        most = max(3 * rough[0][0], rough[0][0] + 0.5)
        near = list(dict.fromkeys(place for error, place in rough if error <= most))
        simple = sorted(near, key=self._differences)
        return [scored for place in dict.fromkeys(near[:NEAR] + simple[:NEAR]) for scored in self._whole(place)]

    def _differences(self, place: Try) -> int:
        own = (UPRIGHT, self.own.frame, self.own.kernel, self.own.layout, self.own.colours)
        return sum(a != b for a, b in zip(own, (*place[:3], self.theirs[place.layout][0], place.colours), strict=True))

    def _rough(self, turns: Sequence[Turn]) -> Iterator[tuple[float, Try]]:
        every = max(1, self.size[0] // ROWS)
        for turn in turns:
            for frame in self.photo.frames(turn, self.size, self.own.frame):
                for kernel in KERNELS if frame else [self.own.kernel]:
                    computed = self.photo.levels(turn, frame, kernel, "as computed", every)
                    for levels in (computed, np.rint(computed).clip(0, 255)):
                        for layout in range(len(self.theirs)):
                            yield from self._scored(Try(turn, frame, kernel, layout, ""), levels, every)

    def _scored(self, place: Try, levels: NDArray[Any], every: int) -> Iterator[tuple[float, Try]]:
        sums, beside = self._sums(place, levels, every)
        for name, rows in self.colours.items():
            numbers = sums.solved(rows, self.numbers)
            yield self._error(sums, beside, rows, numbers), place._replace(colours=name)

    def _sums(self, place: Try, levels: NDArray[Any], every: int = 1) -> tuple[Sums, Array]:
        """The sums inside the frame, and the pixels beside it."""
        array = self.theirs[place.layout][1]
        beside, inside = np.ones(self.size, bool), place.frame.inside if place.frame else ...
        beside[inside] = False
        return Sums(levels, array[inside][::every]), array[beside].astype(np.float64)

    def _error(self, sums: Sums, beside: Array, rows: NDArray[Any], numbers: Numbers) -> float:
        """The error inside, and how much the pixels beside vary, which must all be alike."""
        with np.errstate(over="ignore"):
            found = np.sqrt(np.mean(sums.squares(rows, numbers)) / sums.count)
            found += np.mean(np.ptp(beside, axis=0) / np.abs(numbers.factor)) if len(beside) else 0
        return float(np.nan_to_num(found, nan=np.inf))

    def _whole(self, place: Try) -> Iterator[Scored]:
        """A candidate at all pixels, finished in each way, with the simplest numbers that explain as much."""
        for finish in FINISHES:
            levels = self.photo.levels(place.turn, place.frame, place.kernel, finish)
            sums, beside = self._sums(place, levels)
            rows = self.colours[place.colours]
            numbers = sums.solved(rows, self.numbers)
            error = self._error(sums, beside, rows, numbers)
            for known in (self.numbers, *known_numbers(self.channels)):
                if self._error(sums, beside, rows, known) <= 2 * max(error, EXACT):
                    numbers = known
                    break
            fill = float(np.mean((beside[0] - numbers.offset) / numbers.factor)) if len(beside) else None
            recipe = Recipe(
                place.frame,
                place.kernel,
                place.colours,
                numbers,
                self.theirs[place.layout][0],
                self.photo.turn_named(place.turn),
                fill,
                finish=finish,
            )
            yield Scored(recipe, self._error(sums, beside, rows, numbers))
