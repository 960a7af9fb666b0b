"""The sources of batches: arrays in memory or stored ones, or an iterable that gives one after the other."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sized
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from portable_nn.core.errors import ShapeError, TrainingError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.text import quantity
from portable_nn.data.ahead import ahead
from portable_nn.data.shuffling import WINDOW, Order
from portable_nn.operators import Array, NamedArrays
from portable_nn.training.examples import Check, Examples, split
from portable_nn.training.given import StoredExamples, examples_of
from portable_nn.training.parts import TARGET, WEIGHT
from portable_nn.training.state import State

Batch: TypeAlias = tuple[int, NamedArrays, Array | None]
"""The number of examples, arrays by input of the training graph, and the places in them; ``None`` for all."""


def weight_of(batch: Batch) -> float:
    """The sum of the weights of the examples in a batch, or of their steps, by default of 1 for each example."""
    size, arrays, places = batch
    if WEIGHT not in arrays:
        return float(size)
    return float((arrays[WEIGHT] if places is None else arrays[WEIGHT][places]).sum())


def targets_of(batch: Batch) -> tuple[int, dict[str, Array]]:
    """The number of examples in a batch, and what a loss compares with: their targets, and their weights."""
    size, arrays, places = batch
    named = {name: array for name, array in arrays.items() if name.startswith(TARGET) or name == WEIGHT}
    return size, named if places is None else {name: array[places] for name, array in named.items()}


def fill(inputs: NamedArrays, batch: Batch) -> None:
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
        self.first: NamedArrays | None = None

    def __call__(self, given: Any, number: int) -> Examples:
        """The examples of a batch, whose number is from 1.

        Raises ``UsageError`` and ``ShapeError``, also where it differs in more than the number of examples.
        """
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            found = quantity(len(given), "part") if isinstance(given, tuple | list) else f"a {type(given).__name__}"
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


HeldOut: TypeAlias = Examples | InBatches | StoredExamples
"""Validation examples, which each evaluation goes through; ``first`` are those of the kind that there are."""


def count_of(held_out: HeldOut | None) -> int:
    """The number of validation examples; 0 without any, and where they come in batches."""
    return len(held_out) if isinstance(held_out, Sized) else 0


def find_validation(
    check: Check, train: Examples | StoredExamples, validation: Any
) -> tuple[Examples | StoredExamples, HeldOut | None]:
    """The training examples and, if there are any, the validation examples: those given, or a share of the former.

    Raises ``UsageError`` or ``ShapeError`` where they do not fit the network, the losses or each other.
    """
    if validation is None:
        return train, None
    if isinstance(validation, float | np.floating):
        return split(train, float(validation))
    if isinstance(validation, tuple) and len(validation) in (2, 3):
        xs, ys, *weights = validation
        return train, examples_of(check, xs, ys, weights[0] if weights else None, "validation ")
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
        self.all, self.settings = self.first, dict[str, str]()
        self.arrays = inputs_of(self.first)
        self.batch_size = min(self.batch_size, len(self.first))
        self.batches = math.ceil(len(self.first) / self.batch_size)

    def epoch(self, state: State) -> Generator[Batch]:
        """The last batch may be smaller."""
        count = len(self.first)
        order = state.drawn(lambda rng: rng.permutation(count)) if self.shuffle else np.arange(count)
        for batch in range(state.batch, self.batches):
            places = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield len(places), self.arrays, places

    def skip(self, batches: int) -> None:
        """Nothing: the order is drawn from the state that is restored."""


class Rows:
    """Batches of stored examples, in the order of ``data.shuffling.Order``; the seed is drawn for each epoch.

    Two windows of rows are in memory: that which is trained on, and the next one, which a thread reads.

    Args:
        examples: the examples.
        batch_size: the number of examples in a batch.
        shuffle: whether the order is drawn.
        window: how many examples are shuffled together, rounded up to whole pieces; by default as many pieces as take
            ``WINDOW`` bytes, two at least.
    """

    def __init__(self, examples: StoredExamples, batch_size: int, shuffle: bool, window: int | None) -> None:
        self.all, self.first, self.shuffle = examples, examples.first, shuffle
        count, piece = len(examples), examples.piece
        self.batch_size = min(batch_size, count)
        self.batches = math.ceil(count / self.batch_size)
        several = max(2, WINDOW // (piece * examples.row_bytes)) if window is None else math.ceil(window / piece)
        self.order = Order(count, piece, several, None)
        self.settings = {"window": f"{several} pieces of {quantity(piece, 'example')}"}

    def epoch(self, state: State) -> Generator[Batch]:
        """The last batch may be smaller."""
        order = self.order
        if self.shuffle:
            order = replace(order, seed=state.drawn(lambda rng: int(rng.integers(2**63))))
        window, passed = order.from_row(state.batch * self.batch_size)
        with closing(ahead(self._window(order, place) for place in range(window, order.windows))) as windows:
            yield from self._cut(windows, passed)

    def skip(self, batches: int) -> None:
        """Nothing: the seed is drawn from the state that is restored."""

    def _window(self, order: Order, window: int) -> tuple[dict[str, Array], Array]:
        """The arrays of a window by input of the training graph, and the order of its rows."""
        places = order.places(window)
        arrays = {
            name: np.empty((len(places), *array.shape[1:]), array.dtype)
            for name, array in inputs_of(self.first).items()
        }
        at = 0
        for start, stop in order.pieces(window):
            for name, array in inputs_of(self.all.read(start, stop)).items():
                arrays[name][at : at + stop - start] = array
            at += stop - start
        return arrays, places

    def _cut(self, windows: Iterable[tuple[dict[str, Array], Array]], passed: int) -> Iterator[Batch]:
        """The batches of windows, without the first ``passed`` rows. One in two windows is a copy of its rows."""
        size, left = self.batch_size, dict[str, Array]()
        for arrays, order in windows:
            places, passed = order[passed:], 0
            if left:
                missing = size - len(next(iter(left.values())))
                begun, places = places[:missing], places[missing:]
                left = {name: np.concatenate([left[name], array[begun]]) for name, array in arrays.items()}
                if len(begun) < missing:
                    continue
                yield size, left, None
            whole = len(places) // size * size
            for start in range(0, whole, size):
                yield size, arrays, places[start : start + size]
            left = {name: array[places[whole:]] for name, array in arrays.items()} if whole < len(places) else {}
        if left:
            yield len(next(iter(left.values()))), left, None


class Iterated:
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
        if batches is None and (batches := _length(given)) is None:
            raise UsageError("steps_per_epoch must say how many batches an epoch has: these have no len()")
        self.given, self.all = given, None
        self.batches = batches
        self.settings = {"steps_per_epoch": str(self.batches)}
        self.seen = 0
        begun = iter(given)
        self.is_once = begun is given
        first = next(begun, None)
        if first is None or self.batches < 1:
            raise UsageError("there are no batches to learn from")
        self.alike = Alike(check)
        self.first = self.alike(first, 1)
        self.batch_size = len(self.first)
        self.flow = self._flow(chain([first], begun))

    def epoch(self, state: State) -> Generator[Batch]:
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


Source: TypeAlias = Arrays | Rows | Iterated
"""Batches of examples, the same number in each epoch.

``first`` are examples of the kind that there are: all of them, or the first ones; ``all``, all of them, where they can
be gone through again at any time; ``settings``, what determines the batches and is not given elsewhere, as text by
name. ``epoch`` gives the batches of the present epoch, from that on with which the state goes on, and ``skip`` passes
over the first batches of all, which a training that is resumed has seen.
"""


def _length(given: Any) -> int | None:
    try:
        return len(given)
    except TypeError:
        return None
