"""The epochs of one training."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

from portable_nn.core.arrays import as_array
from portable_nn.core.errors import ShapeError, TrainingError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Array
from portable_nn.training.checkpoint import Checkpoints
from portable_nn.training.evaluation import Evaluation
from portable_nn.training.examples import why_it_diverged
from portable_nn.training.halves import Halves
from portable_nn.training.history import History
from portable_nn.training.parts import Measured
from portable_nn.training.progress import Bar
from portable_nn.training.rewind import Rewind
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
