"""The training loop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.errors import ShapeError, TrainingError, UsageError
from portable_nn.network import Network
from portable_nn.operators.registry import Array
from portable_nn.training.evaluation import Evaluation
from portable_nn.training.examples import Examples, find_examples
from portable_nn.training.losses import Loss, find_losses
from portable_nn.training.metrics import find_metrics
from portable_nn.training.optimizers import Optimizer, find_optimizer
from portable_nn.training.schedules import Schedule
from portable_nn.training.step import SCALAR, TARGET, WEIGHT, TrainingStep
from portable_nn.training.surroundings import Bar, Write, csv_rows, interruptible, progress_bar

Augment: TypeAlias = Callable[[Array, np.random.Generator], Array]
Stopped: TypeAlias = Literal["finished", "early", "interrupted"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when ``monitor`` has not improved by ``min_delta`` for ``patience`` epochs; keep the best weights.

    The best weights are put back however the training ends: by itself, by Ctrl-C, or by an error.
    """

    patience: int = 5
    monitor: str = "val_loss"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise UsageError(f"patience must be at least 1 epoch, not {self.patience}")

    @property
    def sign(self) -> int:
        """1 where smaller is better, -1 where larger is."""
        return 1 if self.monitor.endswith(("loss", "error")) else -1


@dataclass
class History:
    """What each epoch gave: rows with ``epoch``, ``loss``, ``learning_rate`` and, with validation, ``val_…``.

    ``loss`` is the mean over the epoch's steps, ``learning_rate`` that of the last one. ``best_epoch`` is the one whose
    weights early stopping kept.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    stopped: Stopped = "finished"
    best_epoch: int | None = None

    def __getitem__(self, name: str) -> list[float]:
        """One column."""
        return [row[name] for row in self.rows]


def fit(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: str | Mapping[str, str] = "cross_entropy",
    optimizer: Optimizer | str | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    shuffle: bool = True,
    validation: tuple[Any, ...] | float | None = None,
    sample_weight: Array | None = None,
    schedule: Schedule | None = None,
    early_stopping: EarlyStopping | None = None,
    metrics: str | Sequence[str] = (),
    augment: Augment | None = None,
    metrics_csv: str | Path | None = None,
    progress: bool | None = None,
) -> History:
    """Train ``network`` in place.

    Args:
        network: what is trained.
        x: examples (n, …), or a dict of arrays by input name.
        y: targets (n, …) as the loss takes them, or a dict of arrays by output name.
        loss: ``mean_squared_error``, ``cross_entropy`` or ``binary_cross_entropy``; a dict by output name trains
            several outputs on the sum.
        optimizer: an ``Optimizer`` or its name; by default SGD(0.01).
        epochs: how many times every example is seen.
        batch_size: examples a step; the last batch of an epoch may be smaller.
        shuffle: draw a new order for each epoch.
        validation: ``(x, y)`` or ``(x, y, weights)``, or the share of the examples (from the end) that is held out.
        sample_weight: (n,), how much each example counts.
        schedule: what the learning rate is multiplied by as training goes on.
        early_stopping: when to stop before ``epochs``.
        metrics: ``accuracy``, ``mean_absolute_error``: computed on the validation set, where there is one.
        augment: ``(batch, generator) → batch``, applied to each batch of the first input.
        metrics_csv: a file that gets a row after each epoch.
        progress: show a bar on stderr; by default where that is a terminal.

    Ctrl-C stops after the step that is running and keeps what was learned: ``history.stopped`` is ``"interrupted"``.
    Raises ``ShapeError``, ``UsageError`` for arguments that do not fit, ``TrainingError`` when the loss is no number.
    """
    for name, number in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise UsageError(f"{name} must be a whole number from 1, not {number!r}")
    chosen = find_optimizer(optimizer)
    losses = find_losses(network.graph.outputs, loss)
    train, held_out = find_examples(network, losses, x, y, sample_weight, validation)
    wanted = find_metrics((metrics,) if isinstance(metrics, str) else metrics, train.y)
    evaluate = Evaluation(network, losses, held_out, wanted) if held_out else None
    columns = ["loss", *(evaluate.columns if evaluate else ())]
    if early_stopping and early_stopping.monitor not in columns:
        hint = "" if evaluate else "; more with validation="
        raise UsageError(f"early stopping watches '{early_stopping.monitor}', but there is {', '.join(columns)}{hint}")
    step = TrainingStep(network, losses, train.y, chosen, weighted=train.weight is not None)
    _remember_kinds(network, losses)
    run = _Run(network, step, train, evaluate, epochs, min(batch_size, len(train)), shuffle, schedule, augment)
    best = _Best(network, early_stopping)
    with (
        csv_rows(metrics_csv) as write_row,
        progress_bar(progress, epochs, run.batches) as bar,
        interruptible() as stop,
    ):
        return _loop(run, best, stop, write_row, bar)


def _loop(run: _Run, best: _Best, stop: threading.Event, write_row: Write, bar: Bar) -> History:
    history = History()
    try:
        for epoch in range(run.epochs):
            row = run.epoch(epoch, stop, bar)
            if row is None:
                history.stopped = "interrupted"
                break
            history.rows.append(row)
            write_row(row)
            bar.epoch(row)
            if best.is_over(row):
                history.stopped = "early"
                break
    finally:
        best.restore()
        history.best_epoch = best.epoch
    return history


class _Run:
    """The epochs of one call of ``fit``."""

    def __init__(
        self, network: Network, step: TrainingStep, train: Examples, evaluate: Evaluation | None, epochs: int,
        batch_size: int, shuffle: bool, schedule: Schedule | None, augment: Augment | None,
    ) -> None:  # fmt: skip
        self.network, self.step, self.train, self.evaluate = network, step, train, evaluate
        self.epochs, self.batch_size, self.shuffle = epochs, batch_size, shuffle
        self.schedule, self.augment = schedule, augment
        self.batches = math.ceil(len(train) / batch_size)
        self.steps = 0
        self.sources = {**dict(train.x), **{TARGET + name: array for name, array in train.y.items()}}
        if train.weight is not None:
            self.sources[WEIGHT] = train.weight

    def epoch(self, epoch: int, stop: threading.Event, bar: Bar) -> dict[str, float] | None:
        """Train on every example once; the row of the history, or ``None`` when interrupted."""
        count = len(self.train)
        order = self.network.rng.permutation(count) if self.shuffle else np.arange(count)
        total = seen = 0.0
        for batch, start in enumerate(range(0, count, self.batch_size)):
            if stop.is_set():
                return None
            places = order[start : start + self.batch_size]
            rate = self._rate(epoch + batch / self.batches)
            loss, weight = self._step(places, rate)
            total, seen = total + loss * weight, seen + weight
            bar.step()
        mean = total / seen if seen else math.nan
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss is {mean} in epoch {epoch + 1}: a smaller learning rate than "
                f"{self.step.optimizer.learning_rate:g} may help, or inputs of a smaller size"
            )
        row = {"epoch": epoch + 1, "loss": mean, "learning_rate": rate}
        return row if self.evaluate is None else {**row, **self.evaluate()}

    def _rate(self, epoch: float) -> float:
        rate = self.step.optimizer.learning_rate
        return rate * self.schedule(epoch, self.epochs) if self.schedule else rate

    def _step(self, places: Array, rate: float) -> tuple[float, float]:
        """One step on the examples at ``places``; its loss and what it weighs."""
        plan = self.step.plan(len(places))
        for name, source in self.sources.items():
            _gather(source, places, plan.inputs[name])
        weight = float(plan.inputs[WEIGHT].sum()) if self.train.weight is not None else float(len(places))
        if not weight:  # The mean over nothing is no number.
            return 0.0, 0.0
        if self.augment:
            _change(plan.inputs[next(iter(self.train.x))], self.augment, self.network.rng)
        self.steps += 1
        for name, value in self.step.optimizer.scalars(self.steps, rate).items():
            plan.inputs[SCALAR + name][()] = value
        plan.run()
        return float(plan.outputs[self.step.loss]), weight


def _gather(source: Array, places: Array, into: Array) -> None:
    if source.dtype == into.dtype:
        np.take(source, places, axis=0, out=into, mode="clip")
    else:
        into[...] = source[places]


def _change(batch: Array, augment: Augment, rng: np.random.Generator) -> None:
    changed = np.asarray(augment(batch.copy(), rng))
    if changed.shape != batch.shape:
        raise ShapeError(f"augment was given a batch of shape {batch.shape} and returned {changed.shape}")
    batch[...] = changed


class _Best:
    """The best weights so far, where early stopping asks for them."""

    def __init__(self, network: Network, rule: EarlyStopping | None) -> None:
        self.network, self.rule = network, rule
        self.value, self.waited = math.inf, 0
        self.epoch: int | None = None
        self.weights: dict[str, Array] = {}

    def is_over(self, row: Mapping[str, float]) -> bool:
        """Note the epoch; whether patience has run out."""
        if self.rule is None:
            return False
        value = self.rule.sign * row[self.rule.monitor]
        if value < self.value - self.rule.min_delta:
            self.value, self.epoch, self.waited = value, int(row["epoch"]), 0
            self.weights = {name: array.copy() for name, array in self.network.parameters.items()}
            return False
        self.waited += 1
        return self.waited >= self.rule.patience

    def restore(self) -> None:
        """Put the best weights back."""
        for name, array in self.weights.items():
            self.network.parameters[name][...] = array


def _remember_kinds(network: Network, losses: Mapping[str, Loss]) -> None:
    """Note what an output means now that a loss has said it."""
    kinds = {"cross_entropy": "logits", "binary_cross_entropy": "binary_logits"}
    network.outputs = tuple(
        replace(info, kind=kinds.get(losses[info.name].name, info.kind)) if info.name in losses else info
        for info in network.outputs
    )
