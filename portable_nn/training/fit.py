"""The training loop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arrays import as_array
from portable_nn.core.errors import ShapeError, TrainingError, UsageError
from portable_nn.core.kinds import check_kinds
from portable_nn.engines.ranges import warn_of_range
from portable_nn.operators import Array, replay
from portable_nn.training.checkpoint import Checkpoints
from portable_nn.training.evaluation import Evaluation
from portable_nn.training.examples import Examples, check_parameters, find_examples, resolved, why_it_diverged
from portable_nn.training.history import Best, EarlyStopping, History
from portable_nn.training.losses import Loss, LossLike, find_losses, usual_losses
from portable_nn.training.metrics import Metric, Metrics, find_metrics
from portable_nn.training.optimizers import Optimizer, find_optimizer
from portable_nn.training.schedules import Schedule
from portable_nn.training.settings import describe_settings
from portable_nn.training.state import State
from portable_nn.training.step import SCALAR, TARGET, WEIGHT, TrainingStep
from portable_nn.training.surroundings import Bar, Write, csv_rows, interruptible, progress_bar
from portable_nn.training.trainable import Trainable

__all__ = ["Augment", "EarlyStopping", "History", "fit"]

Augment: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""``(batch, generator)`` → the changed batch."""


@check_kinds
def fit(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike | Mapping[str, LossLike] | None = None,
    optimizer: Optimizer | str | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    validation: tuple[Any, ...] | float | None = None,
    sample_weight: Array | None = None,
    schedule: Schedule | None = None,
    early_stopping: EarlyStopping | None = None,
    metrics: Metrics = (),
    train_metrics: bool = False,
    augment: Augment | None = None,
    metrics_csv: str | Path | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    every: int | None = None,
    keep: int = 3,
    resume: bool | Callable[[], object] = False,
) -> History:
    """Train a network in place; the history of its loss and metrics. ``Network.fit`` is this function.

    Args:
        network: the network; as a method, the one that it is called on.
        x: the examples (n, …), or a dict of arrays by input name.
        y: the targets (n, …) as the loss takes them, or a dict of arrays by output name. For ``cross_entropy``:
            class numbers, the labels of the output, or probabilities.
        loss: of numbers ``mean_squared_error``, ``mean_absolute_error``, ``huber``, or ``gaussian`` where their
            variance is predicted, too; of classes ``cross_entropy``, ``focal``, ``binary_cross_entropy``,
            ``kl_divergence`` or ``hinge``. Or one with options, such as ``CrossEntropy(label_smoothing=0.1)``, or a
            function ``(output, target)`` of symbols that returns the loss of each example. A dict by output name
            trains several outputs on the sum of their losses. By default the one that the network notes that it was
            trained with (``network.outputs[0].loss``), or ``cross_entropy`` where it notes none.
        optimizer: ``SGD``, ``Adam``, ``AdamW`` or ``RMSProp``, or its name; by default ``SGD(0.01)``.
        epochs: how many times every example is seen.
        batch_size: the number of examples a step; the last batch of an epoch may be smaller.
        shuffle: draw a new order for each epoch.
        validation: ``(x, y)`` or ``(x, y, weights)``, or the share of the examples (from the end) that is held out.
        sample_weight: (n,), the weight of each example in the loss.
        schedule: what the learning rate is multiplied by as training goes on: ``StepDecay``, ``ExponentialDecay``,
            ``CosineDecay``, ``Warmup``, or a function of the epoch and the number of epochs.
        early_stopping: when to stop before ``epochs``.
        metrics: one or several, of classes ``accuracy``, ``precision``, ``recall`` and ``f1``, of numbers
            ``mean_absolute_error``, ``mean_squared_error``, ``root_mean_squared_error`` and ``r2``, or functions
            ``(outputs, targets) → number``; or a dict of such by output name. They are computed after each epoch, on
            the validation set, and where there is none, on the training examples.
        train_metrics: compute them on the training examples as well as on the validation set.
        augment: ``(batch, generator) → batch``, applied to each batch of the first input.
        metrics_csv: a file that gets a row after each epoch.
        progress: show a progress bar on stderr; by default where that is a terminal.
        checkpoint: a folder for checkpoints: weight files that also hold the state of the training. One is written
            at the start, after each epoch, and on Ctrl-C.
        every: write a checkpoint after so many batches, too.
        keep: how many of the last checkpoints are kept; that of the best epoch is kept as well.
        resume: go on from the newest checkpoint. The weights, the optimizer's state, the random generator and the
            history are restored, so that the training ends with the same bytes as if it had never stopped. Network,
            data and settings must be the same; without a schedule, there may be more ``epochs``. Functions are
            recognised by their names alone, and must draw random numbers from the generator that they are given. A
            function in place of ``True`` is called when all of that has been checked, before the first step.

    Ctrl-C stops after the current step and keeps what was learned: ``history.stopped`` is ``"interrupted"``.

    Warns with ``DataWarning`` of examples that miss by far what the first nodes are made for, such as pixels from 0 to
    1 where ``Rescaling(1 / 255)`` comes first.

    Raises:
        ShapeError, UsageError: arguments that do not fit, or that hold NaN; a checkpoint of another training, or one
            in the way; a folder of checkpoints that another training uses.
        TrainingError: the loss is NaN or infinite.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
        FormatError: the newest checkpoint is damaged.
    """
    _check_counts(epochs=epochs, batch_size=batch_size, keep=keep, every=1 if every is None else every)
    if checkpoint is None and (resume or every is not None):
        raise UsageError("every and resume need checkpoint=, the folder of the checkpoints")
    chosen = find_optimizer(optimizer)
    losses = find_losses(network.graph.outputs, usual_losses(network.outputs) if loss is None else loss)
    train, held_out = find_examples(network, losses, x, y, sample_weight, validation)
    losses = resolved(network, losses, train)
    if not resume:
        check_parameters(network)
    warn_of_range(network.graph, network.parameters, network.inputs, train.x)
    wanted = find_metrics(metrics, train.y, losses)
    evaluations = _evaluations(network, losses, train, held_out, wanted, train_metrics)
    columns = ["loss", *(name for each in evaluations for name in each.columns)]
    if early_stopping and early_stopping.monitor not in columns:
        hint = "" if held_out else "; more with validation="
        raise UsageError(f"early stopping watches '{early_stopping.monitor}', but there is {', '.join(columns)}{hint}")
    step = TrainingStep(network, losses, train.x, train.y, chosen, weighted=train.weight is not None)
    batch_size = min(batch_size, len(train))
    batches = math.ceil(len(train) / batch_size)
    names = ["epoch", "loss", "learning_rate", *columns[1:]]
    state = State(network, step.state, Best(network, early_stopping), batches, names)
    run = _Run(step, state, train, evaluations, epochs, batch_size, shuffle, schedule, augment, every)
    if checkpoint is not None:
        settings = describe_settings(
            losses,
            train,
            held_out,
            wanted,
            optimizer=chosen,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            validation=validation,
            schedule=schedule,
            early_stopping=early_stopping,
            augment=augment,
        )
        rule = early_stopping or EarlyStopping(monitor="val_loss" if held_out else "loss")
        run.checkpoints = Checkpoints(checkpoint, keep, state, settings, rule)
    with (
        run.checkpoints.open(resume=resume) if run.checkpoints else nullcontext(),
        csv_rows(metrics_csv, state.rows) as write_row,
        progress_bar(progress, epochs, batches, state.done) as bar,
        interruptible() as stop,
    ):
        _note_losses(network, losses)
        return _loop(run, stop, write_row, bar)


def _check_counts(**counts: int) -> None:
    for name, number in counts.items():
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise UsageError(f"{name} must be a whole number from 1, not {number!r}")


def _evaluations(
    network: Trainable,
    losses: Mapping[str, Loss],
    train: Examples,
    held_out: Examples | None,
    metrics: Mapping[str, Mapping[str, Metric]],
    train_metrics: bool,
) -> list[Evaluation]:
    """What is computed after each epoch: metrics of the training examples, then loss and metrics of the others."""
    found = []
    if any(metrics.values()) and (train_metrics or not held_out):
        found.append(Evaluation(network, losses, train, metrics, prefix="", with_loss=False))
    if held_out:
        found.append(Evaluation(network, losses, held_out, metrics))
    return found


def _loop(run: _Run, stop: threading.Event, write_row: Write, bar: Bar) -> History:
    best = run.state.best
    history = History(run.state.rows, "interrupted")
    try:
        run.save()
        while run.state.epoch < run.epochs and not best.is_over:
            row = run.epoch(stop, bar)
            if row is None:
                run.save()
                return history
            write_row(row)
            bar.epoch(row)
            run.save()
        history.stopped = "early" if best.is_over else "finished"
    finally:
        best.restore()
        history.best_epoch = best.epoch
    return history


@dataclass
class _Run:
    """The epochs of one call of ``fit``."""

    step: TrainingStep
    state: State
    train: Examples
    evaluations: Sequence[Evaluation]
    epochs: int
    batch_size: int
    shuffle: bool
    schedule: Schedule | None
    augment: Augment | None
    every: int | None
    checkpoints: Checkpoints | None = None

    def __post_init__(self) -> None:
        self.sources = {**self.train.x, **{TARGET + name: array for name, array in self.train.y.items()}}
        if self.train.weight is not None:
            self.sources[WEIGHT] = self.train.weight

    def epoch(self, stop: threading.Event, bar: Bar) -> dict[str, float] | None:
        """Train on the rest of the epoch; the row of the history, or ``None`` when interrupted."""
        state, count = self.state, len(self.train)
        order = state.order(count) if self.shuffle else np.arange(count)
        for batch in range(state.batch, state.batches):
            if stop.is_set():
                return None
            if self.every and state.done % self.every == 0:
                self.save()
            rate = self.step.optimizer.learning_rate
            if self.schedule:
                rate *= self.schedule(state.epoch + batch / state.batches, self.epochs)
            loss, weight = self._step(order[batch * self.batch_size : (batch + 1) * self.batch_size], rate)
            state.end_batch(loss, weight)
            bar.step()
        figures = [state.epoch + 1, self._mean_loss(), float(rate)]
        return state.end_epoch(figures + [figure for each in self.evaluations for figure in each().values()])

    def save(self) -> None:
        """Write a checkpoint, if there is a folder for them. Raises ``TrainingError`` where the loss is no number."""
        if self.checkpoints:
            if self.state.weight:
                self._mean_loss()
            self.checkpoints.save()

    def _mean_loss(self) -> float:
        """The mean loss in this epoch so far. Raises ``TrainingError`` where it is no number."""
        mean = self.state.loss / self.state.weight if self.state.weight else math.nan
        if not math.isfinite(mean):
            hint = why_it_diverged(self.state.network, self.train, self.step.optimizer.learning_rate)
            raise TrainingError(f"the loss is {mean} in epoch {self.state.epoch + 1}: {hint}")
        return mean

    def _step(self, places: Array, rate: float) -> tuple[float, float]:
        """One step on the examples at ``places``: its loss, and the sum of their weights."""
        plan = self.step.plan(len(places))
        for name, source in self.sources.items():
            into = plan.inputs[name]
            if source.dtype == into.dtype:
                np.take(source, places, axis=0, out=into, mode="clip")
            else:
                into[...] = source[places]
        weight = float(plan.inputs[WEIGHT].sum()) if self.train.weight is not None else float(len(places))
        if not weight:  # The mean of an empty set is not defined.
            return 0.0, 0.0
        if self.augment:
            batch = plan.inputs[next(iter(self.train.x))]
            changed = as_array(self.augment(batch.copy(), self.state.network.rng), "the batch of augment")
            if changed.shape != batch.shape:
                raise ShapeError(f"augment was given a batch of shape {batch.shape} and returned {changed.shape}")
            batch[...] = changed
        self.state.step += 1
        for name, value in self.step.optimizer.scalars(self.state.step, rate).items():
            plan.inputs[SCALAR + name][()] = value
        plan.run()
        return float(plan.outputs[self.step.loss]), weight


def _note_losses(network: Trainable, losses: Mapping[str, Loss]) -> None:
    """Note at each output the loss that it is trained with, and the kind that this implies."""
    shapes = {name: symbol.shape[1:] for name, symbol in replay(network.graph).items() if name in losses}
    network.outputs = tuple(
        replace(info, kind=losses[info.name].kind(shapes[info.name]) or info.kind, loss=str(losses[info.name]))
        if info.name in losses
        else info
        for info in network.outputs
    )
