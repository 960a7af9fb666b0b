"""The answers of a model for examples, batch by batch, and the classes or numbers that they are about."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import DataError, DataWarning, FormatError, UsageError, warn
from portable_nn.core.text import quantity
from portable_nn.data.batches import Bad, Batch, Place
from portable_nn.data.sources import iterate
from portable_nn.data.trained import trained_notes
from portable_nn.engines.recording import Recorder
from portable_nn.evaluation.scoring import NOT_FINITE, class_names, kind_for
from portable_nn.format.meaning import OutputInfo
from portable_nn.network import Network
from portable_nn.opening.runners import Runnable, Runner
from portable_nn.operators.registry import Array
from portable_nn.prediction.options import ModelOptions
from portable_nn.prediction.undeclared import is_undeclared, meaning_of
from portable_nn.training.evaluation import joined


class Answer(NamedTuple):
    """A batch, the outputs ``(n, width)`` as float64, and for which examples they are finite; 0 stands for others."""

    batch: Batch
    numbers: Array
    finite: Array


class Part(NamedTuple):
    """A batch, its rows with those around them, and how many of these are before it."""

    batch: Batch
    x: Array
    before: int


@dataclass
class Answers:
    """The answers of a model; iterated over once.

    Args:
        runner: the model.
        found: the answers before it is known which classes or numbers they are about.
        options: what is wanted, and whether the first fault is raised.
        names: the names of the classes that are given, or empty.
        notes: a list to which is appended what was assumed of the model's output.
        warnings: what people must know, asked or not: what was assumed of examples, and of outputs that may mean
            something else.
        place: how many examples are passed over without being computed, and how many there are.
        targets: what is right for the examples, where the data do not say it themselves.
    """

    runner: Runner
    found: Iterable[Answer | Bad]
    options: ModelOptions
    names: tuple[str, ...]
    notes: list[str]
    warnings: list[str] = dataclasses.field(default_factory=list)
    place: Place = dataclasses.field(default_factory=Place)
    targets: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        self._names = self.names or self.runner.info.labels
        self.kind = self.runner.kind
        """The kind of the output; of one that the model does not describe, after the first answer the one guessed."""
        self.classes = tuple[str, ...]()
        """The names of the classes, after the first answer; empty where the model predicts quantities."""

    @property
    def is_of_numbers(self) -> bool:
        """True if the model predicts quantities, and no classes."""
        return self.kind in ("values", "gaussian")

    @property
    def info(self) -> OutputInfo:
        """The meaning of the output, as far as it is known."""
        labels = () if self.classes else self.runner.info.labels
        return replace(self.runner.info, kind=cast("Any", self.kind), labels=labels)

    @property
    def are_pictures(self) -> bool:
        """True if an example can be drawn."""
        taken = self.runner.input.taken
        return taken.kind == "image" or len(taken.shape) > 1

    def __iter__(self) -> Iterator[Answer | Bad]:
        for each in self.found:
            if isinstance(each, Answer):
                batch, numbers, finite = each
                if self.options.strict and not finite.all():
                    name = batch.names[int(finite.argmin())]
                    raise FormatError(self.runner.model.where, f"{NOT_FINITE} for {name}")
                if finite.any():
                    self._understand(numbers[finite], batch.labels)
            yield each

    def _understand(self, numbers: Array, labels: Sequence[Any] | None) -> None:
        """Find out which kind and which classes the outputs have, by the first of them."""
        width = numbers.shape[1]
        given = self._names if self.options.labels is not None else ()
        if self.kind == self.runner.kind and is_undeclared(self.runner, given, width):
            self.kind = self._assume(numbers, labels)
        self.kind = kind_for(self.options.task, self.kind, width)
        if not self.classes and not self.is_of_numbers:
            self.classes = self._classes(width)

    def _assume(self, numbers: Array, labels: Sequence[Any] | None) -> str:
        """The kind of outputs that the model does not describe, by the first batch; adds a note on it."""
        given = self.options.labels is not None or len(self._names) in (1, numbers.shape[1])
        names = self._names if given else ()
        found = meaning_of(numbers, self.runner, names=names, task=self.options.task, targets=labels or self.targets)
        if found.hint:
            self.warnings.append(f"{found.note}: {found.hint}")
        elif found.note:
            self.notes.append(found.note)
        if found.kind == "values" and labels is not None and not self.options.labelled:
            self.warnings.append("the data have labels (in a table, the first column), which are no inputs: left out")
        return found.kind

    def _classes(self, width: int) -> tuple[str, ...]:
        """The names of the classes of an output of so many numbers."""
        found = class_names(self._names, width)
        if self._names and len(self._names) not in (len(found), width):
            classes = quantity(len(found), "class")
            said = f"{quantity(len(self._names), 'label')}, but {self.runner.model.where} has {classes}"
            if isinstance(given := self.options.labels, str | Path):
                raise DataError(given, f"has {said}")
            if given is not None:
                raise UsageError(f"given are {said}")
            self.notes.append(f"the labels in the model are not used: there are {said}")
        return found


def answers_of(
    model: str | Path | Network | Runnable,
    inputs: Any,
    options: ModelOptions,
    notes: list[str] | None = None,
    recorder: Recorder | None = None,
) -> Answers:
    """The answers of ``model`` for ``inputs``: the errors are those of ``predict``.

    ``notes`` is a list to which is appended how each input is prepared; ``recorder`` keeps what the network computes.
    """
    if options.stream:  # What comes after a step that is missing is another sequence.
        options = dataclasses.replace(options, strict=True)
    names, named, runner = options.names, options.named, options.runner(model)
    if recorder:
        watched = dataclasses.replace(runner.model, run=partial(recorder.watched, runner.model.run))
        runner = dataclasses.replace(runner, model=watched)
    if notes is not None:
        notes += [f"{runner.model.where} runs in {options.engine}", *runner.notes]
    warnings, place = list(runner.input.warnings), Place(before=runner.input.info.context)
    if options.labelled:
        warnings += trained_notes(runner.model.description.trained_on, inputs)
    batches = iterate(
        inputs,
        runner.taken(options.labelled),
        batch_size=options.batch_size,
        polarity=options.polarity,
        raw=options.raw,
        strict=options.strict,
        notes=notes,
        assumed=warnings,
        dialect=options.dialect,
        named=named,
        place=place,
    )
    found = _computed(runner, place.passed(in_context(batches, place.before), example_count))
    return Answers(runner, found, options, names, [] if notes is None else notes, warnings, place)


def example_count(part: Part | Answer | Bad) -> int:
    """The number of examples in a part of them."""
    return 1 if isinstance(part, Bad) else len(part.batch.names)


def _computed(runner: Runner, parts: Iterable[Part | Bad]) -> Iterator[Answer | Bad]:
    """The answers of a model for batches; warns once of examples that are far from what the model is made for."""
    warned = False
    for part in parts:
        if isinstance(part, Bad):
            yield part
            continue
        batch, x, before = part
        if not warned and (fault := runner.fault(batch.x)):
            warned = True
            warn(fault, DataWarning)
        numbers = runner(x)[before : before + len(batch.x)].astype(np.float64)
        finite = np.logical_and.reduce(np.isfinite(numbers), axis=1)
        numbers[~finite] = 0
        yield Answer(batch, numbers, finite)


def in_context(batches: Iterable[Batch | Bad], context: int) -> Iterator[Part | Bad]:
    """Each batch with up to ``context`` rows on either side of it, from the batches around it.

    Rows are consecutive within a file or an array. Where one of them is bad, those before and after it are far from
    each other. No more rows than those of a batch and its surroundings are kept.
    """
    waiting, earlier = deque[Batch](), list[Array]()
    for found in chain(batches, [None]):
        ends = not isinstance(found, Batch) or bool(waiting and _source(found) != _source(waiting[-1]))
        if not ends:
            waiting.append(cast("Batch", found))
        while waiting and (ends or sum(len(each.x) for each in waiting) - len(waiting[0].x) >= context):
            batch = waiting.popleft()
            later = list(_first(context, (each.x for each in waiting)))
            yield Part(batch, joined([*earlier, batch.x, *later]), sum(map(len, earlier)))
            earlier = [joined([*earlier, batch.x])[-context:]] if context else []
        if ends:
            earlier = []
        if isinstance(found, Bad):
            yield found
        elif found and ends:
            waiting.append(found)


def _source(batch: Batch) -> str:
    """The file of a row: ``track.h5`` of ``track.h5:12``."""
    return batch.names[0].rstrip("0123456789]")


def _first(count: int, arrays: Iterable[Array]) -> Iterator[Array]:
    """The first rows of some arrays."""
    for array in arrays:
        if count <= 0:
            return
        yield array[:count]
        count -= len(array)
