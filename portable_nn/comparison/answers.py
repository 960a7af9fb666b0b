"""The preparation after which a network gave its answers: tried one difference after another, then two at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product, zip_longest
from operator import attrgetter
from typing import Any, Final

import numpy as np

from portable_nn.comparison.pipeline import COLOURS, FINISHES, RESHAPED, UPRIGHT, Frame, Photo, Pipeline
from portable_nn.comparison.scaling import KERNELS
from portable_nn.comparison.solving import EXPLAINED, TINY, Scored, known_numbers
from portable_nn.core.errors import ShapeError
from portable_nn.core.graph import Value, format_shape
from portable_nn.core.tensors import Array
from portable_nn.evaluation.probabilities import softmax
from portable_nn.opening.runners import Runnable
from portable_nn.prediction.arrays import run_one

MOST: Final = 600
"""The most preparations with two differences that the network runs on, and with more."""

BEAM: Final = 4
"""The nearest of these to which one more difference is added."""

FILLS: Final = (0.0, 114.0, 127.5, 128.0, 255.0)
"""The levels that other programs have beside a picture."""

NEAR: Final = 8
"""The candidates whose roundings are looked at."""

DRAWS: Final = 4
"""The roundings of a picture that are drawn, to see what they do to the answers."""

ROUNDING: Final = 12**-0.5
"""The root mean square of a rounding to whole levels."""

PRECISION: Final = 1e-5
"""The differences that runtimes have by themselves, relative to the largest answer."""


def _same(x: Array) -> Array:
    return x


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.clip(-80, 80))))


FORMS: Final[Mapping[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]]] = {
    Pipeline._field_defaults["answers"]: (_same, _same),
    "with softmax": (softmax, _same),
    "without softmax": (_same, softmax),
    "with a sigmoid": (_sigmoid, _same),
    "without a sigmoid": (_same, _sigmoid),
    "with the logarithm of softmax": (lambda x: np.log(softmax(x).clip(1e-300)), _same),
}
"""The forms of answers, with what is done to those of A and to the others before they are compared."""


class Answers:
    """The search for the preparation behind answers.

    Attributes:
        theirs: the answers by the names of the outputs of A.
        tried: on how many preparations the network ran.
        count: how many numbers the answers have.
    """

    def __init__(self, photo: Photo, own: Pipeline, model: Runnable, entry: Value, given: Mapping[str, Array]) -> None:
        self.photo, self.own, self.model, self.entry, self.tried = photo, own, model, entry, 0
        self.theirs: dict[str, Array] = {}
        self.theirs = dict(_paired(self._run(own), given))
        self.count = sum(array.size for array in self.theirs.values())

    def found(self) -> list[Scored]:
        """The nearest preparations, with errors in levels: a rounding of the picture of that size does as much."""
        singles = list(self._singles())
        rough = sorted(map(self._nearest, (self.own, *singles)), key=attrgetter("error"))
        for firsts in (singles, None, None):
            if self._in_levels(rough[0].pipeline).error <= EXPLAINED:
                break
            firsts = firsts or [each.pipeline for each in rough[:BEAM]]
            places = sorted(product(range(len(firsts)), range(len(singles))), key=sum)
            both = dict.fromkeys(filter(None, (self._joined(firsts[one], singles[other]) for one, other in places)))
            rough = sorted([*rough, *map(self._nearest, [*both][:MOST])], key=attrgetter("error"))
        near = [self.own._replace(answers=rough[0].pipeline.answers), *(each.pipeline for each in rough[:NEAR])]
        tried = product(dict.fromkeys(near), FINISHES)
        return [self._in_levels(each._replace(finish=finish)) for each, finish in tried]

    def _singles(self) -> Iterator[Pipeline]:
        """The preparations that differ from A's in one decision, the frequent ones of each decision first."""
        own, channels = self.own, len(self.own.numbers.factor)
        frames, stored = self.photo.frames(UPRIGHT, own.frame.size), self.photo.stored
        turns = {self.photo.turn_named(stored): stored} | self.photo.turns
        changes: tuple[list[dict[str, Any]], ...] = (
            [{"colours": name} for name in COLOURS[channels]],
            [{"numbers": numbers} for numbers in known_numbers(channels)],
            [{"frame": each, "fill": fill} for each in frames for fill in _fills(own, each)],
            [{"kernel": name} for name in KERNELS if not own.frame.found],
            [{"turn": name, "frame": self.photo.own_frame(turn)} for name, turn in turns.items()],
            [{"layout": RESHAPED}] if channels == 3 else [],
            [{"fill": fill} for fill in FILLS if own.fill is not None],
        )
        for row in zip_longest(*changes, fillvalue={}):
            yield from (each for change in row if (each := own._replace(**change)) != own)

    def _joined(self, one: Pipeline, other: Pipeline) -> Pipeline | None:
        """Both differences at once; None where they are in one decision."""
        mine, its = (
            {name: value for name, value in each._asdict().items() if value != getattr(self.own, name)}
            for each in (one, other)
        )
        return None if mine.keys() & its.keys() else self.own._replace(**mine, **its)

    def _nearest(self, pipeline: Pipeline) -> Scored:
        """A preparation with the form of the answers that is nearest, and the relative error that is left."""
        ours = self._run(pipeline)
        errors = {form: _apart(ours, self.theirs, *pair) for form, pair in FORMS.items()}
        form = min(errors, key=lambda each: errors[each])
        return Scored(pipeline._replace(answers=form), errors[form])

    def _in_levels(self, pipeline: Pipeline) -> Scored:
        """The same in levels: the error as a multiple of what roundings of the picture do, which have a known size."""
        rng, (mine, its) = np.random.default_rng(0), FORMS[pipeline.answers]
        ours = self._run(pipeline)
        noises = [_apart(ours, self._run(pipeline, rng), mine, mine) for _ in range(DRAWS)]
        noise = max(float(np.sqrt(np.mean(np.square(noises)))), PRECISION)
        return Scored(pipeline, _apart(ours, self.theirs, mine, its) * ROUNDING / noise)

    def _run(self, pipeline: Pipeline, rounding: np.random.Generator | None = None) -> dict[str, Array]:
        """The outputs that are compared, perhaps for a picture with other roundings."""
        self.tried += 1
        x = self.photo.made(pipeline)
        if rounding is not None:
            x = x + rounding.uniform(-0.5, 0.5, x.shape) * np.array(pipeline.numbers.factor)
        if np.dtype(self.entry.dtype).kind in "iu":
            x = np.rint(x).clip(0, 255)
        example = self.photo.laid_out(x, pipeline.layout)[np.newaxis].astype(self.entry.dtype)
        found = run_one(self.model, self.entry, example)
        return {
            name: array.astype(np.float64) for name, array in found.items() if name in self.theirs or not self.theirs
        }


def _fills(own: Pipeline, frame: Frame) -> tuple[float | None, ...]:
    """The levels that may be beside a picture that A does not put into a box."""
    return (own.fill,) if frame.how != "letterbox" or own.fill is not None else (114.0, 0.0)


def _apart(
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
    mine: Callable[[Array], Array] = _same,
    its: Callable[[Array], Array] = _same,
) -> float:
    """The root mean square of the differences, relative to the largest of the other numbers of each output."""
    if any(ours[name].shape != theirs[name].shape for name in theirs):
        return math.inf
    with np.errstate(over="ignore", invalid="ignore"):
        pairs = ((mine(ours[name]), its(array)) for name, array in theirs.items())
        shares = (np.mean(np.square((a - b) / np.maximum(np.abs(b).max(initial=0), TINY))) for a, b in pairs)
        found = np.sqrt(np.mean(list(shares)))
    return float(np.nan_to_num(found, nan=math.inf))


def _paired(ours: Mapping[str, Array], given: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """The given answers by output: by name, or else by shape. Raises ``ShapeError`` where none fits."""
    left = dict(ours)
    for name, array in sorted(given.items(), key=lambda each: each[0] not in ours):
        fitting = [each for each, mine in left.items() if np.squeeze(mine).shape == np.squeeze(array).shape]
        if not fitting:
            shapes = ", ".join(f"'{each}' {format_shape(mine.shape)}" for each, mine in ours.items())
            raise ShapeError(f"answers '{name}' have the shape {format_shape(array.shape)}; the outputs are {shapes}")
        which = name if name in fitting else fitting[0]
        yield which, np.asarray(array, np.float64).reshape(left.pop(which).shape)
