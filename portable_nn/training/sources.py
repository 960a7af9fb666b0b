"""Where batches come from: arrays that are drawn from, or an iterable that gives one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np

from portable_nn.core.errors import ShapeError, TrainingError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.operators import Array
from portable_nn.training.examples import Check, Examples, split
from portable_nn.training.parts import TARGET, WEIGHT
from portable_nn.training.state import State

Batch: TypeAlias = tuple[int, Mapping[str, Array], Array | None]
"""The number of examples, arrays by input of the training graph, and the places in them; ``None`` for all."""


def weight_of(batch: Batch) -> float:
    """The sum of the weights of the examples in a batch, by default of 1 each."""
    size, arrays, places = batch
    if WEIGHT not in arrays:
        return float(size)
    return float((arrays[WEIGHT] if places is None else arrays[WEIGHT][places]).sum())


def targets_of(batch: Batch) -> tuple[int, dict[str, Array]]:
    """The number of examples in a batch, and what a loss compares with: their targets, and their weights."""
    size, arrays, places = batch
    named = {name: array for name, array in arrays.items() if name.startswith(TARGET) or name == WEIGHT}
    return size, named if places is None else {name: array[places] for name, array in named.items()}


def fill(inputs: Mapping[str, Array], batch: Batch) -> None:
    """Copy a batch into the inputs of a plan."""
    _, arrays, places = batch
    for name, source in arrays.items():
        into = inputs[name]
        if places is None:
            into[...] = source
        elif source.dtype == into.dtype:
            np.take(source, places, axis=0, out=into, mode="clip")
        else:
            into[...] = source[places]


class Source(Protocol):
    """Batches of examples, the same number in each epoch."""

    first: Examples
    """Examples of the kind that there are: all of them, or those of the first batch."""
    batches: int
    """The number of batches in an epoch."""

    def epoch(self, state: State) -> Iterator[Batch]:
        """The batches of the present epoch, from that on with which ``state`` goes on."""

    def skip(self, batches: int) -> None:
        """Pass over the first batches of all, which a training that is resumed has seen."""


def inputs_of(examples: Examples) -> dict[str, Array]:
    """The arrays of examples by input of the training graph."""
    found = {**examples.x, **{TARGET + name: array for name, array in examples.y.items()}}
    return found if examples.weight is None else {**found, WEIGHT: examples.weight}


class Alike:
    """Makes examples of batches, ``(x, y)`` or ``(x, y, weights)``, all of which are of the kind of the first.

    Args:
        check: what makes examples of arrays, and refuses those that do not fit.
        what: what comes before the names in a message.
    """

    def __init__(self, check: Check, what: str = "") -> None:
        self.check, self.what = check, what
        self.first: Mapping[str, Array] | None = None

    def __call__(self, given: Any, number: int) -> Examples:
        """The examples of a batch, whose number is from 1.

        Raises ``UsageError`` and ``ShapeError``, also where it differs in more than the number of examples.
        """
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            found = f"{len(given)} parts" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
            raise UsageError(f"a {self.what}batch must be (x, y) or (x, y, weights), not {found}")
        x, y, *weight = given
        examples = self.check(x, y, weight[0] if weight else None, self.what)
        now = inputs_of(examples)
        first = self.first = self.first or {name: array[:1] for name, array in now.items()}
        for name in [*first, *(name for name in now if name not in first)]:
            sides = [
                f"{side[name].dtype} {format_shape(('n', *side[name].shape[1:]))}" if name in side else "nothing"
                for side in (first, now)
            ]
            if sides[0] != sides[1]:
                title = "the weights" if name == WEIGHT else f"'{name.removeprefix(TARGET)}'"
                raise ShapeError(f"{self.what}batch {number}: {title} is {sides[1]}, but {sides[0]} in the first batch")
        return examples


class HeldOut(Protocol):
    """Validation examples, which each evaluation goes through."""

    @property
    def first(self) -> Examples:
        """Examples of the kind that there are: all of them, or those of the first batch."""

    def __iter__(self) -> Iterator[Examples]: ...


@dataclass(frozen=True)
class Whole:
    """Validation examples in arrays."""

    first: Examples

    def __iter__(self) -> Iterator[Examples]:
        yield self.first


class InBatches:
    """Validation examples in batches: those of an iterator, which gives them once, are kept.

    Args:
        given: the iterable, which must end.
        check: what makes examples of arrays, and refuses those that do not fit.

    Raises ``UsageError`` and ``ShapeError`` where there is no batch, or the first does not fit.
    """

    def __init__(self, given: Iterable[Any], check: Check) -> None:
        self.given = list(given) if iter(given) is given else given
        self.alike = Alike(check, "validation ")
        first = next(iter(self), None)
        if first is None:
            raise UsageError("validation has no batches")
        self.first = first

    def __iter__(self) -> Iterator[Examples]:
        for number, batch in enumerate(self.given, 1):
            yield self.alike(batch, number)


def find_validation(check: Check, train: Examples, validation: Any) -> tuple[Examples, HeldOut | None]:
    """The training examples and, if there are any, the validation examples: those given, or a share of the former.

    Raises ``UsageError`` or ``ShapeError`` where they do not fit the network, the losses or each other.
    """
    if validation is None:
        return train, None
    if isinstance(validation, float | np.floating):
        train, held_out = split(train, float(validation))
        return train, Whole(held_out)
    if isinstance(validation, tuple) and len(validation) in (2, 3):
        xs, ys, *weights = validation
        return train, Whole(check(xs, ys, weights[0] if weights else None, "validation "))
    if isinstance(validation, tuple | str | np.ndarray | Mapping) or not isinstance(validation, Iterable):
        raise UsageError(
            "validation must be (x, y), (x, y, weights), a share such as 0.1, or a list or another iterable of batches"
        )
    return train, InBatches(validation, check)


@dataclass
class Arrays:
    """Batches of examples in arrays, in order or in one that is drawn for each epoch."""

    first: Examples
    batch_size: int
    shuffle: bool

    def __post_init__(self) -> None:
        self.arrays = inputs_of(self.first)
        self.batch_size = min(self.batch_size, len(self.first))
        self.batches = math.ceil(len(self.first) / self.batch_size)

    def epoch(self, state: State) -> Iterator[Batch]:
        """The last batch may be smaller."""
        count = len(self.first)
        order = state.order(count) if self.shuffle else np.arange(count)
        for batch in range(state.batch, self.batches):
            places = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield len(places), self.arrays, places

    def skip(self, batches: int) -> None:
        """Nothing: the order is drawn from the state that is restored."""


class Stream:
    """Batches that an iterable gives: pairs ``(x, y)``, or ``(x, y, weights)``.

    What can be gone through again is, as often as it takes; an iterator only once.

    Args:
        given: the iterable.
        batches: the number of batches in an epoch; by default that of ``len(given)``.
        check: what makes examples of arrays, and refuses those that do not fit.

    Raises ``UsageError`` where it is none, or its length is not known.
    """

    def __init__(self, given: Any, batches: int | None, check: Check) -> None:
        if not isinstance(given, Iterable):
            raise UsageError(
                "without y, x must be batches (x, y), a list or an iterator, not of the type " + type(given).__name__
            )
        if batches is None and not hasattr(given, "__len__"):
            raise UsageError("steps_per_epoch must say how many batches an epoch has: these have no len()")
        self.given = given
        self.batches = len(given) if batches is None else batches  # type: ignore[arg-type]
        self.seen = 0
        begun = iter(given)
        self.is_once = begun is given
        first = next(begun, None)
        if first is None or self.batches < 1:
            raise UsageError("there are no batches to learn from")
        self.alike = Alike(check)
        self.first = self.alike(first, 1)
        self.flow = self._flow(chain([first], begun))

    def epoch(self, state: State) -> Iterator[Batch]:
        """The next batches, whatever the epoch."""
        for batch in range(state.batch, self.batches):
            found = next(self.flow, None)
            if found is None:
                raise TrainingError(
                    f"the batches ran out in epoch {state.epoch + 1}, after {batch} of {self.batches}: an iterator "
                    "gives them once; a list, or an object whose __iter__ begins anew, as often as it takes"
                )
            yield len(found), inputs_of(found), None

    def skip(self, batches: int) -> None:
        """Go through them again."""
        for _ in range(batches):
            next(self.flow, None)

    def _flow(self, begun: Iterator[Any]) -> Iterator[Examples]:
        while True:
            before = self.seen
            for given in begun:
                self.seen += 1
                yield self.alike(given, self.seen)
            if self.is_once or self.seen == before:
                return
            begun = iter(self.given)
