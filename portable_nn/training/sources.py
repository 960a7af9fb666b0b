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
from portable_nn.training.examples import Check, Examples
from portable_nn.training.state import State
from portable_nn.training.step import TARGET, WEIGHT

Batch: TypeAlias = tuple[int, Mapping[str, Array], Array | None]
"""The number of examples, arrays by input of the training graph, and the places in them; ``None`` for all."""


def counts(batch: Batch) -> bool:
    """Whether an example of a batch with weights has one of more than 0."""
    _, arrays, places = batch
    return bool((arrays[WEIGHT] if places is None else arrays[WEIGHT][places]).any())


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
        self.given, self.check = given, check
        self.batches = len(given) if batches is None else batches  # type: ignore[arg-type]
        self.seen = 0
        begun = iter(given)
        self.is_once = begun is given
        first = next(begun, None)
        if first is None or self.batches < 1:
            raise UsageError("there are no batches to learn from")
        self.first = self._examples(first)
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
                examples = self._examples(given)
                self._check_alike(examples)
                yield examples
            if self.is_once or self.seen == before:
                return
            begun = iter(self.given)

    def _examples(self, given: Any) -> Examples:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            found = f"{len(given)} parts" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
            raise UsageError(f"a batch must be (x, y) or (x, y, weights), not {found}")
        x, y, *weight = given
        return self.check(x, y, weight[0] if weight else None)

    def _check_alike(self, examples: Examples) -> None:
        """Raise ``ShapeError`` where a batch differs from the first one in more than the number of examples."""
        first, now = inputs_of(self.first), inputs_of(examples)
        for name in [*first, *(name for name in now if name not in first)]:
            sides = [
                f"{side[name].dtype} {format_shape(('n', *side[name].shape[1:]))}" if name in side else "nothing"
                for side in (first, now)
            ]
            if sides[0] != sides[1]:
                what = "the weights" if name == WEIGHT else f"'{name.removeprefix(TARGET)}'"
                raise ShapeError(f"batch {self.seen}: {what} is {sides[1]}, but {sides[0]} in the first batch")
