"""The epochs of one training."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import numpy as np

from portable_nn.core.arrays import as_array
from portable_nn.core.errors import ShapeError, TrainingError
from portable_nn.core.tensors import is_finite
from portable_nn.engines.plan import Plan
from portable_nn.operators import Array
from portable_nn.training.checkpoint import Checkpoints
from portable_nn.training.evaluation import Evaluation
from portable_nn.training.examples import why_it_diverged
from portable_nn.training.halves import Halves
from portable_nn.training.history import History
from portable_nn.training.parts import Measured
from portable_nn.training.progress import Bar
from portable_nn.training.schedules import ReduceOnPlateau, Schedule, settled
from portable_nn.training.sources import Batch, Source, fill, weight_of
from portable_nn.training.state import State
from portable_nn.training.step import TrainingStep
from portable_nn.training.surroundings import Write
from portable_nn.training.updating import SCALAR

Augment: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""``(batch, generator)`` → the changed batch."""

Callback: TypeAlias = Callable[[Mapping[str, float]], bool | None]
"""Called with the row of each epoch that has ended; ``True`` stops the training."""


@dataclass
class Run:
    """The epochs of one call of ``fit``."""

    step: TrainingStep
    state: State
    source: Source
    evaluations: Sequence[Evaluation]
    epochs: int
    schedule: Schedule | ReduceOnPlateau | None
    augment: Augment | None
    callbacks: Sequence[Callback]
    every: int | None
    checkpoints: Checkpoints | None = None

    def __post_init__(self) -> None:
        self.rewind = Rewind(self.step, self.state, self._step)

    def __call__(self, stop: threading.Event, write_row: Write, bar: Bar) -> History:
        """Train until the end, or until something stops it."""
        state, best = self.state, self.state.best
        history = History(state.rows, "interrupted")
        try:
            self.save()
            while state.epoch < self.epochs and not best.is_over:
                row = self._epoch(stop, bar)
                if row is None:
                    self.save()
                    return history
                write_row(row)
                bar.epoch(row)
                self.save()
                if [callback for callback in self.callbacks if callback(dict(row)) is True]:
                    history.stopped = "callback"
                    return history
            history.stopped = "early" if best.is_over else "finished"
        finally:
            self.step.swap()
            best.restore()
            history.best_epoch = best.epoch
        return history

    def _epoch(self, stop: threading.Event, bar: Bar) -> dict[str, float] | None:
        """Train on the rest of the epoch; the row of the history, or ``None`` when interrupted."""
        state, together = self.state, self.step.updating.accumulate
        schedule, factor = settled(self.schedule, state.rows), 1.0
        self.rewind.begin()
        with closing(self.source.epoch(state)) as batches:
            # Steps of one batch each, or of several.
            steps = zip(batches) if together == 1 else iter(lambda: tuple(islice(batches, together)), ())
            for several in steps:
                if stop.is_set():
                    return None
                if self.every and state.done % self.every < together:
                    self.save()
                if schedule:
                    factor = schedule(state.epoch + state.batch / state.batches, self.epochs)
                self.rewind.keep(several, factor)
                for measured in self._step(several, factor):
                    state.end_batch(measured)
                    bar.step()
                if not all(math.isfinite(loss) for loss, _ in state.sums):
                    self._mean_loss()
        rate = self.step.updating.optimizer.learning_rate * factor
        figures = [state.epoch + 1, self._mean_loss(), float(rate)]
        with self._averaged():
            return state.end_epoch(figures + [figure for each in self.evaluations for figure in each().values()])

    def save(self) -> None:
        """Write a checkpoint, if there is a folder for them. Raises ``TrainingError`` where the loss is no number."""
        if self.checkpoints:
            if any(weight for _, weight in self.state.sums):
                self._mean_loss()
            with self._averaged():
                self.checkpoints.save()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """With the averages of the weights in the network, where there are averages."""
        self.step.swap()
        try:
            yield
        finally:
            self.step.swap()

    def _mean_loss(self) -> float:
        """The mean loss in this epoch so far.

        Raises ``TrainingError`` where it, or a weight, is no number; the step that made it so is taken back.
        """
        mean = self.step.mean_loss(self.state.sums)
        if math.isfinite(mean) and self.rewind.is_finite:
            return mean
        what = "weights are NaN or infinite" if math.isfinite(mean) else f"the loss is {mean}"
        rate = self.step.updating.optimizer.learning_rate
        hint = why_it_diverged(self.state.network, self.source.first, rate)
        self.rewind.undo()
        raise TrainingError(f"{what} in epoch {self.state.epoch + 1}: {hint}")

    def _step(self, batches: Sequence[Batch], factor: float) -> list[Sequence[Measured]]:
        """One step on ``batches``: what is measured of each of them, nothing of those that do not count."""
        weights = [weight_of(each) for each in batches]
        counting = [(each, weight) for each, weight in zip(batches, weights, strict=True) if weight]
        nothing = [((0.0, 0.0),) * len(self.step.parts)] * (len(batches) - len(counting))
        if not counting:  # The mean of an empty set is not defined.
            return [*nothing]
        self.state.step += 1
        scalars, found = self.step.updates.values(self.state.step, factor), list[Sequence[Measured]]()
        shared = self.step.shares(counting) if self.step.shares else [{}]
        for (batch, weight), shares in zip(counting, shared, strict=True):
            plan = self.step.plan(batch[0], len(found) == len(counting) - 1)
            inputs = plan.inputs
            fill(inputs, batch)
            if self.augment:
                self._augment(self.augment, plan)
            for name, value in {**scalars, **shares}.items() if shares else scalars.items():
                inputs[SCALAR + name][()] = value
            plan.run()
            found.append(self.step.measured(plan, weight))
        if self.step.gathered:
            self.step.end_step()
        return [*found, *nothing]

    def _augment(self, augment: Augment, plan: Plan | Halves) -> None:
        batch = plan.inputs[next(iter(self.source.first.x))]
        changed = as_array(augment(batch.copy(), self.state.network.rng), "the batch of augment")
        if changed.shape != batch.shape:
            raise ShapeError(f"augment was given a batch of shape {batch.shape} and returned {changed.shape}")
        batch[...] = changed


EVERY: Final = 64
"""The most steps between two copies."""

LARGE: Final = 2**20
"""Arrays of a batch of more bytes are not kept beside those of another: such a step takes longer than a copy."""


class Rewind:
    """Takes back the steps of a training that made a loss or a weight NaN or infinite.

    Args:
        step: the step, and the arrays that it changes.
        state: the state of the training.
        take: takes a step on batches with a factor of the learning rate.
    """

    def __init__(self, step: TrainingStep, state: State, take: Callable[[Sequence[Batch], float], object]) -> None:
        self.state, self.take, self.changed = state, take, step.changed
        self._steps: list[tuple[Sequence[Batch], float]] = []

    @property
    def is_finite(self) -> bool:
        """True if all weights and running statistics that a step changes are numbers."""
        parameters = self.state.network.parameters
        return all(is_finite(parameters[name]) for name in self.changed if name in parameters)

    def begin(self) -> None:
        """Forget the steps so far: an epoch begins."""
        self._steps.clear()

    def keep(self, batches: Sequence[Batch], factor: float) -> None:
        """Remember the step that is about to be taken."""
        if not self._steps or len(self._steps) == EVERY or self._is_large(batches[-1]):
            self._steps.clear()
            self._copy()
        self._steps.append((batches, factor))

    def undo(self) -> None:
        """Put the weights back before the last step, or before one earlier since which they are no numbers."""
        if self._steps:
            self._put_back()
        for batches, factor in self._steps[:-1]:
            self._copy()
            self.take(batches, factor)
            if not self.is_finite:
                self._put_back()
                break

    def _is_large(self, batch: Batch) -> bool:
        arrays, last = batch[1], self._steps[-1][0][-1][1]
        return arrays is not last and sum(array.nbytes for array in arrays.values()) > LARGE

    def _copy(self) -> None:
        self._number, self._generator = self.state.step, self.state.network.rng.bit_generator.state
        self._arrays: dict[str, Array] = {name: array.copy() for name, array in self.changed.items()}

    def _put_back(self) -> None:
        self.state.step, self.state.network.rng.bit_generator.state = self._number, self._generator
        for name, array in self._arrays.items():
            self.changed[name][...] = array
