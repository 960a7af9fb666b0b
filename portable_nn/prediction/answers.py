"""What a model gives for examples, batch by batch, and which classes or numbers that is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from portable_nn.core.errors import DataError, DataWarning, FormatError, UsageError, warn
from portable_nn.core.names import Engine
from portable_nn.data.batches import Bad, Batch, Place, Taken
from portable_nn.data.columns import far_fault
from portable_nn.data.frames import Dialect
from portable_nn.data.given import Named
from portable_nn.data.sources import iterate
from portable_nn.engines.recording import Recorder
from portable_nn.evaluation.scoring import NOT_FINITE, Task, class_names, kind_for
from portable_nn.format.meaning import OutputInfo
from portable_nn.network import Network
from portable_nn.network.execution import check_engine
from portable_nn.opening.opening import open_model
from portable_nn.opening.runners import UNKNOWN, Runnable, Runner, network_runnable
from portable_nn.operators.registry import Array
from portable_nn.prediction.contexts import Part, in_context
from portable_nn.prediction.labels import read_labels
from portable_nn.prediction.streams import streamed_runnable
from portable_nn.prediction.undeclared import meaning_of
from portable_nn.preprocessing.named import Preparation, preparation_of
from portable_nn.preprocessing.steps import ArithmeticStep, Found, PictureStep, Preprocessing, check_order

Preprocess: TypeAlias = str | Mapping[str, Any] | Preparation | Preprocessing
"""How callers say that pictures are prepared: a name, the fields of a ``Preparation``, one, or steps."""


class Answer(NamedTuple):
    """A batch, the outputs ``(n, width)`` as float64, and for which examples they are finite; 0 stands for others."""

    batch: Batch
    numbers: Array
    finite: Array


@dataclass
class Answers:
    """The answers of a model; iterated over once.

    Args:
        runner: the model.
        batches: the examples.
        given: names of the classes, or a file of them, instead of those of the model.
        task: what is wanted, instead of what the model says or seems to give.
        strict: raise for the first output that is not finite.
        notes: a list to which is appended what was assumed of the model's output.
        assumed: what was assumed of the examples, and of outputs that may mean something else.
        place: how many examples are passed over without being computed, and how many there are.
        computed: the answers, where something else computes them; ``batches`` are then not read.
        targets: what is right for the examples, where the data do not say it themselves.
    """

    runner: Runner
    batches: Iterator[Batch | Bad]
    given: Sequence[str] | str | Path | None
    task: Task | None
    strict: bool
    notes: list[str]
    assumed: list[str]
    place: Place = dataclasses.field(default_factory=Place)
    computed: Iterable[Answer | Bad] | None = None
    targets: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        given = self.given
        self._names = read_labels(given) if isinstance(given, str | Path) else tuple(given or self.runner.labels)
        self.kind = self.runner.kind
        """The kind of the output; of one that the model does not describe, after the first answer the one guessed."""
        self.classes = tuple[str, ...]()
        """The names of the classes, after the first answer; empty where the model predicts quantities."""
        self._warned = False

    @property
    def is_of_numbers(self) -> bool:
        """Whether the model predicts quantities, and no classes."""
        return self.kind in ("values", "gaussian")

    @property
    def info(self) -> OutputInfo:
        """The meaning of the output, as far as it is known."""
        runner, kind = self.runner, cast("Any", self.kind)
        names = () if self.classes else runner.labels
        return OutputInfo(
            runner.output, kind, names, units=runner.units, temperature=runner.temperature, threshold=runner.threshold
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people must know, asked or not."""
        return (*self.runner.warnings, *self.assumed)

    @property
    def are_pictures(self) -> bool:
        """Whether an example can be drawn: not where something else had it."""
        return self.computed is None and (self.runner.takes == "image" or len(self.runner.example_shape) > 1)

    def __iter__(self) -> Iterator[Answer | Bad]:
        found: Iterable[Part | Answer | Bad]
        found = in_context(self.batches, self.runner.context) if self.computed is None else self.computed
        for each in found:
            if self.place.skip > 0:
                self.place.skip -= 1 if isinstance(each, Bad) else len(each.batch.names)
                continue
            if isinstance(each, Bad):
                yield each
                continue
            answer = self._computed(each) if isinstance(each, Part) else each
            batch, numbers, finite = answer
            if self.strict and not finite.all():
                name = batch.names[int(finite.argmin())]
                raise FormatError(self.runner.where, f"{NOT_FINITE} for {name}")
            if finite.any():
                self._understand(numbers[finite], batch.labels)
            yield answer

    def _computed(self, part: Part) -> Answer:
        """What the model gives for a batch."""
        batch, x, before = part
        self._warn_of_range(batch.x)
        numbers = self.runner(x)[before : before + len(batch.x)].astype(np.float64)
        finite = np.logical_and.reduce(np.isfinite(numbers), axis=1)
        numbers[~finite] = 0
        return Answer(batch, numbers, finite)

    def _understand(self, numbers: Array, labels: Sequence[Any] | None) -> None:
        """Find out which kind and which classes the outputs have, by the first of them."""
        width = numbers.shape[1]
        if self.kind == UNKNOWN:
            self.kind = self._assume(numbers, labels)
        self.kind = kind_for(self.task, self.kind, width)
        if not self.classes and not self.is_of_numbers:
            self.classes = self._classes(width)

    def _warn_of_range(self, x: Array) -> None:
        """Warn once of examples that miss by far what the model is made for."""
        if not self._warned and (fault := far_fault(x, self.runner.columns)):
            self._warned = True
            warn(f"{self.runner.where}: {fault}", DataWarning)
        made_for = None if self._warned else self.runner.range
        if made_for and (fault := made_for.fault(x)):
            self._warned = True
            where = f"{self.runner.where} is made for numbers {made_for}, which '{made_for.node}' scales"
            warn(f"the examples {fault}, but {where}", DataWarning)

    def _assume(self, numbers: Array, labels: Sequence[Any] | None) -> str:
        """The kind of outputs that the model does not describe, by the first batch; adds a note on it."""
        given = self.given is not None or len(self._names) in (1, numbers.shape[1])
        names = self._names if given else ()
        found = meaning_of(numbers, self.runner, names=names, task=self.task, targets=labels or self.targets)
        if found.hint:
            self.assumed.append(f"{found.note}: {found.hint}")
        elif found.note:
            self.notes.append(found.note)
        return found.kind

    def _classes(self, width: int) -> tuple[str, ...]:
        """The names of the classes of an output of so many numbers."""
        found = class_names(self._names, width)
        if self._names and len(self._names) not in (len(found), width):
            said = f"{len(self._names)} labels, but {self.runner.where} has {len(found)} classes"
            if isinstance(self.given, str | Path):
                raise DataError(self.given, f"has {said}")
            if self.given is not None:
                raise UsageError(f"there are {said}")
            self.notes.append(f"the labels in the model are not used: there are {said}")
        return found


def answers_of(
    model: str | Path | Network | Runnable,
    inputs: Any,
    *,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    task: Task | None = None,
    batch_size: int = 256,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = True,
    digest: str | None = None,
    edited: bool = False,
    recorder: Recorder | None = None,
    dialect: Dialect | None = None,
    notes: list[str] | None = None,
    labelled: bool = False,
    preprocess: Preprocess | None = None,
    output: str | None = None,
    named: Named | None = None,
    stream: bool = False,
) -> Answers:
    """What ``model`` gives for ``inputs``: arguments and errors are those of ``predict``.

    ``notes`` is a list to which is appended how each input is prepared. ``labelled`` says that tables have labels
    before the values, also where they are numbers.
    """
    opened = opened_model(model, engine, digest, edited, stream=stream)
    runner = opened.runner(as_preparation(preprocess), output)
    strict = strict or stream  # What comes after a step that is missing would be another sequence.
    if recorder:
        runner = dataclasses.replace(runner, run=recorder.watching(runner.run))
    if notes is not None:
        notes += [f"{runner.where} runs in {engine}", *runner.notes]
    assumed, place = list[str](), Place(before=runner.context)
    batches = iterate(
        inputs,
        taken_by(runner, labelled),
        batch_size=batch_size,
        polarity=polarity,
        raw=raw,
        strict=strict,
        notes=notes,
        assumed=assumed,
        dialect=dialect,
        named=named,
        place=place,
    )
    return Answers(runner, batches, labels, task, strict, [] if notes is None else notes, assumed, place)


def named_in(inputs: str | Sequence[str] | None, targets: str | Sequence[str] | None = None) -> Named | None:
    """Names of arrays as callers give them: one, or several; ``None`` where none are given."""
    if inputs is None and targets is None:
        return None
    each = ([given] if isinstance(given, str) else list(given or ()) for given in (inputs, targets))
    return Named(*each)


def opened_model(
    model: str | Path | Network | Runnable,
    engine: Engine,
    digest: str | None = None,
    edited: bool = False,
    *,
    stream: bool = False,
) -> Runnable:
    """A model ready to run; with ``stream``, on the steps of a sequence; one that is so already as it is.

    Raises as ``predict`` does.
    """
    if isinstance(model, Runnable):
        return model
    check_engine(engine)
    if not isinstance(model, (Network, str, Path)):
        raise UsageError(f"model must be a network, a path or the name of a shipped model, not {type(model).__name__}")
    if not isinstance(model, Network):
        file = open_model(model, digest=digest, edited=edited)
        return streamed_runnable(file.network, str(model), engine) if stream else file.runnable(str(model), engine)
    if digest is not None or edited:
        raise UsageError("digest and edited are for a model in a file: this one is a network in memory")
    name = model.graph.name
    make = streamed_runnable if stream else network_runnable
    return make(model, "the network" if name == "network" else f"the network '{name}'", engine)


def as_preparation(preprocess: Preprocess | None) -> Preparation | Preprocessing | None:
    """What callers give as ``preprocess``: a name, a dict, a preparation or steps. Raises ``UsageError``."""
    if not isinstance(preprocess, tuple | list):
        return None if preprocess is None else preparation_of(preprocess)
    steps = tuple(preprocess)
    if not steps or not all(isinstance(step, PictureStep | ArithmeticStep) for step in steps):
        raise UsageError("preprocess must be a name, a dict, a Preparation, or a list of steps of preprocessing")
    try:
        check_order(steps)
    except ValueError as error:
        raise UsageError(f"preprocess: {error}") from None
    return steps


def taken_by(runner: Runner, labelled: bool = False) -> Taken:
    """What a model takes; ``labelled`` says that tables have labels, also where it predicts numbers."""
    numbers = runner.kind in ("values", "gaussian")
    return Taken(
        runner.example_shape,
        runner.preprocessing,
        runner.takes,
        float(runner.range.high.max()) if runner.range else None,
        runner.columns,
        (runner.labels if numbers and runner.labels else (runner.target,)) if runner.target else (),
        numbers,
        labelled or not numbers,
        runner.input.dtype,
    )
