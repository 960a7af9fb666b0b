"""The state of a training: all that its steps change, and its form in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from msgspec import UNSET

from portable_nn.core.graph import Value
from portable_nn.format.training import BEST, STATE, Figure, GeneratorState, TrainingRecord
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.training.history import Best, Watch
from portable_nn.training.trainable import Trainable

T = TypeVar("T")


@dataclass
class State:
    """Everything that, with the settings and the data, determines how the training continues.

    Args:
        network: the network that is trained.
        optimizer: the arrays that the optimizer keeps, as ``TrainingStep.state``.
        best: the best epoch so far.
        batches: the number of batches in an epoch.
        columns: the names of the entries of a row.
        rows: the metrics of each finished epoch.
        epoch: the number of finished epochs.
        batch: the number of finished batches of the epoch after those.
        step: the number of all steps taken.
        parts: the number of parts of the loss that are measured.
        sums: of each part of the loss the sum over these batches, each multiplied by what it counts, and the sum of
            what they count: the weights of the examples, or of their classes.
        epoch_generator: the state of the network's generator at the start of this epoch.
    """

    network: Trainable
    optimizer: NamedArrays
    best: Best
    batches: int
    columns: Sequence[str]
    rows: list[dict[str, float]] = field(default_factory=list)
    epoch: int = 0
    batch: int = 0
    step: int = 0
    parts: int = 1
    sums: list[list[float]] = field(default_factory=list)
    epoch_generator: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begin_epoch()

    @property
    def done(self) -> int:
        """The number of all finished batches."""
        return self.epoch * self.batches + self.batch

    def drawn(self, draw: Callable[[np.random.Generator], T]) -> T:
        """The result of ``draw`` with the generator of this epoch; in the middle of the epoch, the same as at its
        start."""
        generator = self.network.rng.bit_generator
        now = generator.state
        generator.state = self.epoch_generator
        found = draw(self.network.rng)
        if self.batch:
            generator.state = now
        return found

    def end_batch(self, measured: Sequence[tuple[float, float]]) -> None:
        """Count a batch by the mean of each part of its loss, and what that counts."""
        for sums, (loss, weight) in zip(self.sums, measured, strict=True):
            sums[0] += loss * weight
            sums[1] += weight
        self.batch += 1

    def end_epoch(self, figures: Sequence[float]) -> dict[str, float]:
        """Add the row of the finished epoch, and begin the next one."""
        row = dict(zip(self.columns, figures, strict=True))
        self.rows.append(row)
        self.best.note(row)
        self.epoch += 1
        self._begin_epoch()
        return row

    def _begin_epoch(self) -> None:
        self.batch, self.sums = 0, [[0.0, 0.0] for _ in range(self.parts)]
        self.epoch_generator = self.network.rng.bit_generator.state

    # -- in a checkpoint

    def tensors(self) -> dict[str, Array]:
        """The tensors of a checkpoint beside the weights."""
        kept = {STATE + name: array for name, array in self.optimizer.items()}
        return kept | {BEST + name: array for name, array in self.best.weights.items()}

    def training(self, settings: Mapping[str, str]) -> TrainingRecord:
        """The entry in the manifest of a checkpoint."""
        return TrainingRecord(
            tensors=tuple(Value(name, array.dtype.name, array.shape) for name, array in self.tensors().items()),
            settings=dict(settings),
            epoch=self.epoch,
            batch=self.batch,
            step=self.step,
            loss=self.sums[0][0],
            weight=self.sums[0][1],
            more=tuple((loss, weight) for loss, weight in self.sums[1:]) or UNSET,
            generator=_as_words(self.network.rng.bit_generator.state),
            epoch_generator=_as_words(self.epoch_generator),
            rows=tuple({name: _as_figure(number) for name, number in row.items()} for row in self.rows),
            best_epoch=self.best.epoch,
        )

    def mismatches(self, training: TrainingRecord) -> Iterator[str]:
        """Why this training cannot continue from ``training``, which is consistent in itself."""
        if training.batch >= self.batches:
            yield f"{training.batch} batches of an epoch are done, but an epoch has {self.batches}"
        more = len(training.more or ())
        if more != self.parts - 1:
            yield f"the loss of the batches has {more + 1} parts, but should have {self.parts}"
        found = {value.name for value in training.tensors if value.name.startswith(STATE)}
        needed = {STATE + name for name in self.optimizer}
        yield from (f"tensor '{name}' is missing: the optimizer needs it" for name in sorted(needed - found))
        yield from (f"tensor '{name}' is not part of the optimizer's state" for name in sorted(found - needed))
        columns = set(training.rows[0]) if training.rows else set(self.columns)
        if columns != set(self.columns):
            yield f"the rows have {', '.join(sorted(columns))}, but should have {', '.join(sorted(self.columns))}"
            return
        best = Watch(self.best.rule, self._rows(training)).epoch if self.best.rule else None
        if best != training.best_epoch:
            yield f"epoch {training.best_epoch} is recorded as the best, but by the rows it is {best}"

    def resume(self, training: TrainingRecord, tensors: NamedArrays) -> None:
        """Take the state from a checkpoint: in place, because plans hold the arrays and the generator."""
        for name, array in self.network.parameters.items():
            array[...] = tensors[name]
        for name, array in self.optimizer.items():
            array[...] = tensors[STATE + name]
        self.network.rng.bit_generator.state = _as_numbers(training.generator)
        self.epoch_generator = _as_numbers(training.epoch_generator)
        self.epoch, self.batch, self.step = training.epoch, training.batch, training.step
        self.sums = [[training.loss, training.weight], *map(list, training.more or ())]
        self.rows[:] = self._rows(training)
        best = [value.name for value in training.tensors if value.name.startswith(BEST)]
        self.best.resume(self.rows, {name.removeprefix(BEST): np.array(tensors[name]) for name in best})

    def _rows(self, training: TrainingRecord) -> list[dict[str, float]]:
        return [{name: _as_number(row[name]) for name in self.columns} for row in training.rows]


def _as_figure(number: float) -> Figure:
    return number if math.isfinite(number) else str(float(number))  # type: ignore[return-value]


def _as_number(figure: Figure) -> float:
    return float(figure) if isinstance(figure, str) else figure


def _as_words(state: Mapping[str, Any]) -> GeneratorState:
    """The state of a PCG64, as numpy gives it."""
    large = state["state"]
    return GeneratorState(f"{large['state']:032x}", f"{large['inc']:032x}", state["has_uint32"], state["uinteger"])


def _as_numbers(words: GeneratorState) -> dict[str, Any]:
    large = {"state": int(words.state, 16), "inc": int(words.increment, 16)}
    return {
        "bit_generator": words.name,
        "state": large,
        "has_uint32": words.has_uint32,
        "uinteger": words.uinteger,
    }
