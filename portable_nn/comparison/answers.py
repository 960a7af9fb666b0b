"""The preparation after which a network gave its answers: tried one difference after another, then two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, zip_longest
from typing import Any, Final

import numpy as np

from portable_nn.comparison.recipes import COLOURS, FINISHES, RESHAPED, Photo, Recipe
from portable_nn.comparison.scaling import KERNELS
from portable_nn.comparison.solving import Scored, known_numbers
from portable_nn.core.errors import ShapeError
from portable_nn.core.graph import Value, format_shape
from portable_nn.core.tensors import Array
from portable_nn.opening.runners import Runnable
from portable_nn.prediction.arrays import run_one

MOST: Final = 600
"""The most preparations that the network runs on."""

NEAR: Final = 8
"""The candidates whose roundings are looked at."""

DRAWS: Final = 4
"""The roundings of a picture that are drawn, to see what they do to the answers."""

ROUNDING: Final = 12**-0.5
"""The root mean square of a rounding to whole levels."""

PRECISION: Final = 1e-5
"""The differences that runtimes have by themselves, relative to the largest answer."""


def _softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def _as_it_is(x: Array) -> Array:
    return x


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.clip(-80, 80))))


FORMS: Final[Mapping[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]]] = {
    Recipe._field_defaults["answers"]: (_as_it_is, _as_it_is),
    "with softmax": (_softmax, _as_it_is),
    "without softmax": (_as_it_is, _softmax),
    "with a sigmoid": (_sigmoid, _as_it_is),
    "without a sigmoid": (_as_it_is, _sigmoid),
    "with the logarithm of softmax": (lambda x: np.log(_softmax(x).clip(1e-300)), _as_it_is),
}
"""The forms of answers, with what is done to those of A and to the others before they are compared."""


class Answers:
    """The search for the preparation behind answers.

    Attributes:
        theirs: the answers by the names of the outputs of A.
        tried: on how many preparations the network ran.
        count: how many numbers the answers have.
    """

    def __init__(self, photo: Photo, own: Recipe, model: Runnable, entry: Value, given: Mapping[str, Array]) -> None:
        self.photo, self.own, self.model, self.entry, self.tried = photo, own, model, entry, 0
        ours = self._run(own)
        self.theirs = dict(_paired(ours, given))
        self.count = sum(array.size for array in self.theirs.values())

    def found(self) -> list[Scored]:
        """The nearest preparations, with errors in levels: a rounding of the picture of that size does as much."""
        singles = list(self._singles())
        rough = [self._nearest(self.own), *map(self._nearest, singles)]
        best = min(rough, key=lambda each: each.error)
        if self._errors(best.recipe).error > 1:
            pairs = sorted(combinations(range(len(singles)), 2), key=sum)
            both = (self._joined(singles[one], singles[other]) for one, other in pairs)
            rough += [
                self._nearest(each) for each, _ in zip(filter(None, both), range(MOST - len(rough)), strict=False)
            ]
        rough.sort(key=lambda each: each.error)
        near = [self.own._replace(answers=rough[0].recipe.answers), *(each.recipe for each in rough[:NEAR])]
        return [self._errors(each._replace(finish=finish)) for each in dict.fromkeys(near) for finish in FINISHES]

    def _singles(self) -> Iterator[Recipe]:
        """The preparations that differ from A's in one decision, the frequent ones of each decision first."""
        own, size, channels = self.own, self.photo.found.shape[:2], len(self.own.numbers.factor)
        upright = self.photo.turns[own.turn]
        changes: dict[str, Sequence[Any]] = {
            "colours": [*COLOURS[channels]],
            "numbers": known_numbers(channels),
            "frame": self.photo.frames(upright, size, own.frame),
            "kernel": [*KERNELS] if own.frame else (),
            "turn": [self.photo.turn_named(turn) for turn in {upright: 0, self.photo.stored: 0}],
            "layout": [RESHAPED] if channels == 3 else (),
            "fill": [0.0, 114.0, 127.5, 128.0, 255.0] if own.fill is not None else (),
        }
        rows = ([own._replace(**{name: value}) for value in values] for name, values in changes.items())
        for row in zip_longest(*rows):
            yield from (each for each in row if each is not None and each != own)

    def _joined(self, one: Recipe, other: Recipe) -> Recipe | None:
        """Both differences at once; None where they are in one decision."""
        changed = [
            {name: value for name, value in each._asdict().items() if value != getattr(self.own, name)}
            for each in (one, other)
        ]
        return None if changed[0].keys() & changed[1].keys() else self.own._replace(**changed[0], **changed[1])

    def _nearest(self, recipe: Recipe) -> Scored:
        """A preparation with the form of the answers that is nearest, and the relative error that is left."""
        ours = self._run(recipe)
        forms = ((self._apart(ours, form), form) for form in FORMS)
        error, form = min(forms, key=lambda each: each[0])
        return Scored(recipe._replace(answers=form), error)

    def _errors(self, recipe: Recipe) -> Scored:
        """The same in levels: the error as a multiple of what roundings of the picture do, which have a known size."""
        rng, ours = np.random.default_rng(0), self._run(recipe)
        form, noises = FORMS[recipe.answers][0], list[float]()
        for _ in range(DRAWS):
            other = self._run(recipe, rng)
            noises.append(
                _distance({name: form(ours[name]) for name in other}, {name: form(other[name]) for name in other})
            )
        noise = max(float(np.sqrt(np.mean(np.square(noises)))), PRECISION)
        return Scored(recipe, self._apart(ours, recipe.answers) * ROUNDING / noise)

    def _apart(self, ours: Mapping[str, Array], form: str) -> float:
        mine, its = FORMS[form]
        return _distance({n: mine(ours[n]) for n in self.theirs}, {n: its(self.theirs[n]) for n in self.theirs})

    def _run(self, recipe: Recipe, rounding: np.random.Generator | None = None) -> dict[str, Array]:
        self.tried += 1
        x = self.photo.made(recipe)
        if rounding is not None:
            x = x + rounding.uniform(-0.5, 0.5, x.shape) * np.array(recipe.numbers.factor)
        example = self.photo.laid_out(x, recipe.layout)
        if np.dtype(self.entry.dtype).kind in "iu":
            example = np.rint(example).clip(0, 255)
        found = run_one(self.model, self.entry, example[np.newaxis].astype(self.entry.dtype))
        return {name: array.astype(np.float64) for name, array in found.items()}


def _distance(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """The root mean square of the differences, relative to the largest of the other numbers of each output."""
    with np.errstate(over="ignore", invalid="ignore"):
        shares = [
            np.mean(np.square(ours[name] - array)) / max(float(np.abs(array).max(initial=0)), 1e-30) ** 2
            for name, array in theirs.items()
        ]
    found = float(np.sqrt(np.mean(shares)))
    return found if np.isfinite(found) else float("inf")


def _paired(ours: Mapping[str, Array], given: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """The given answers by output: by name, or else by shape. Raises ``ShapeError`` where none fits."""
    left = dict(ours)
    for name, array in sorted(given.items(), key=lambda each: each[0] not in ours):
        fitting = [each for each, mine in left.items() if np.squeeze(mine).shape == np.squeeze(array).shape]
        which = name if name in fitting else next(iter(fitting), None)
        if which is None:
            shapes = ", ".join(f"'{each}' {format_shape(mine.shape)}" for each, mine in ours.items())
            raise ShapeError(f"answers '{name}' have the shape {format_shape(array.shape)}; the outputs are {shapes}")
        yield which, np.asarray(array, np.float64).reshape(left.pop(which).shape)
