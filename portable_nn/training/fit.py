"""The training loop."""

from __future__ import annotations

import csv
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.engines.plan import Plan
from portable_nn.errors import FileError, ShapeError, TrainingError, UsageError
from portable_nn.network import BATCH, Network
from portable_nn.operators import replay
from portable_nn.operators.registry import Array
from portable_nn.training.losses import Loss, check_target, find_loss
from portable_nn.training.metrics import Metric, find_metrics
from portable_nn.training.optimizers import OPTIMIZERS, SGD, Optimizer
from portable_nn.training.schedules import Schedule
from portable_nn.training.step import SCALAR, TARGET, WEIGHT, TrainingStep, loss_graph

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


@dataclass(frozen=True)
class Examples:
    """A checked set of examples: arrays by input and by output, and a weight for each."""

    x: Mapping[str, Array]
    y: Mapping[str, Array]
    weight: Array | None

    def __post_init__(self) -> None:
        if self.weight is not None and not self.weight.any():
            raise UsageError("all of the sample weights are 0: there is nothing to learn from, or to judge by")

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))


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
    chosen = _find_optimizer(optimizer)
    losses = _find_losses(network, loss)
    train, held_out = _find_examples(network, losses, x, y, sample_weight, validation)
    wanted = find_metrics((metrics,) if isinstance(metrics, str) else metrics, train.y)
    evaluate = _Evaluation(network, losses, held_out, wanted) if held_out else None
    columns = ["loss", *(evaluate.columns if evaluate else ())]
    if early_stopping and early_stopping.monitor not in columns:
        hint = "" if evaluate else "; more with validation="
        raise UsageError(f"early stopping watches '{early_stopping.monitor}', but there is {', '.join(columns)}{hint}")
    step = TrainingStep(network, losses, train.y, chosen, weighted=train.weight is not None)
    _remember_kinds(network, losses)
    run = _Run(network, step, train, evaluate, epochs, min(batch_size, len(train)), shuffle, schedule, augment)
    best = _Best(network, early_stopping)
    with _csv(metrics_csv) as write_row, _bar(progress, epochs, run.batches) as bar, _interruptible() as stop:
        return _loop(run, best, stop, write_row, bar)


def _loop(run: _Run, best: _Best, stop: threading.Event, write_row: _Write, bar: _Bar) -> History:
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
        self, network: Network, step: TrainingStep, train: Examples, evaluate: _Evaluation | None, epochs: int,
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

    def epoch(self, epoch: int, stop: threading.Event, bar: _Bar) -> dict[str, float] | None:
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


class _Evaluation:
    """Loss and metrics of a network on a set that it does not learn from."""

    def __init__(
        self, network: Network, losses: Mapping[str, Loss], examples: Examples, metrics: Mapping[str, Metric]
    ) -> None:
        self.network, self.examples, self.losses, self.metrics = network, examples, losses, metrics
        prefixes = {name: "val_" if len(losses) == 1 else f"val_{name}_" for name in losses}
        self.columns = ["val_loss", *(prefix + metric for prefix in prefixes.values() for metric in metrics)]
        self.graph, _ = loss_graph(network, losses, examples.y)
        self.loss = self.graph.outputs[0]
        self.plans: dict[int, Plan] = {}

    def __call__(self) -> dict[str, float]:
        """``val_loss`` and ``val_`` each metric (with several outputs: ``val_``output``_``metric)."""
        count = len(self.examples)
        total = seen = 0.0
        found: dict[str, list[Array]] = {name: [] for name in self.losses}
        weights = self.examples.weight if self.examples.weight is not None else np.ones(count)
        for start in range(0, count, BATCH):
            part = slice(start, min(start + BATCH, count))
            plan = self._plan(part.stop - start)
            for name, array in self.examples.x.items():
                plan.inputs[name][...] = array[part]
            for name, array in self.examples.y.items():
                plan.inputs[TARGET + name][...] = array[part]
            plan.inputs[WEIGHT][...] = weights[part]
            plan.run()
            weight = float(weights[part].sum())
            if weight:
                total, seen = total + float(plan.outputs[self.loss]) * weight, seen + weight
            for name, parts in found.items():
                parts.append(plan.outputs[name].copy())
        row = [total / seen]
        for name, parts in found.items():
            outputs, targets, threshold = np.concatenate(parts), self.examples.y[name], self.losses[name].threshold
            row += [metric(outputs, targets, weights, threshold) for metric in self.metrics.values()]
        return dict(zip(self.columns, row, strict=True))

    def _plan(self, size: int) -> Plan:
        if size not in self.plans:
            shapes = {value.name: (size, *value.shape[1:]) for value in self.graph.inputs}
            self.plans[size] = Plan(self.graph, shapes, self.network.parameters)
        return self.plans[size]


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


# -- arguments


def _find_optimizer(optimizer: Optimizer | str | None) -> Optimizer:
    if optimizer is None:
        return SGD()
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise UsageError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {optimizer!r}")
        return OPTIMIZERS[optimizer]()  # type: ignore[call-arg]
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"optimizer must be an optimizer such as Adam(0.001), or its name, not {optimizer!r}")
    return optimizer


def _find_losses(network: Network, loss: str | Mapping[str, str]) -> dict[str, Loss]:
    if isinstance(loss, str):
        return {name: find_loss(loss) for name in network.graph.outputs}
    if not isinstance(loss, Mapping) or not loss or not set(loss) <= set(network.graph.outputs):
        outputs = ", ".join(network.graph.outputs)
        raise UsageError(f"loss must be a name, or a dict of names for some of the outputs {outputs}, not {loss!r}")
    return {name: find_loss(kind) for name, kind in loss.items()}


def _find_examples(
    network: Network, losses: Mapping[str, Loss], x: Any, y: Any, weight: Any, validation: Any
) -> tuple[Examples, Examples | None]:
    """What is learned from, and what is held out to judge by."""
    train = _check_examples(network, losses, x, y, weight, "")
    if isinstance(validation, float):
        return _split(train, validation)
    return train, _check_validation(network, losses, validation)


def _check_examples(network: Network, losses: Mapping[str, Loss], x: Any, y: Any, weight: Any, what: str) -> Examples:
    try:
        xs = network.check_inputs(x, cast=False)
    except (ShapeError, UsageError) as error:
        raise type(error)(f"{what}{error}") from None
    if not isinstance(y, Mapping):
        if len(losses) > 1:
            raise UsageError(f"the outputs {', '.join(losses)} are trained: give {what}y as a dict of arrays by name")
        y = {next(iter(losses)): y}
    if set(y) != set(losses):
        raise UsageError(f"{what}y has {', '.join(map(str, y))}, but the trained outputs are {', '.join(losses)}")
    symbols = replay(network.graph)
    ys = {name: check_target(loss, symbols[name], y[name], f"{what}y") for name, loss in losses.items()}
    counts = {f"{what}x": len(next(iter(xs.values()))), **{f"{what}y": len(array) for array in ys.values()}}
    if weight is not None:
        dtype = symbols[next(iter(losses))].dtype
        weight = np.asarray(weight, dtype)
        if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
            raise UsageError(f"{what}sample_weight must be (n,) numbers from 0, not {weight.dtype} {weight.shape}")
        counts[f"{what}sample_weight"] = len(weight)
    if len(set(counts.values())) > 1 or not min(counts.values()):
        found = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ShapeError(f"as many examples are needed in each, and one at least: {found}")
    return Examples(xs, ys, weight)


def _check_validation(
    network: Network, losses: Mapping[str, Loss], validation: tuple[Any, ...] | None
) -> Examples | None:
    if validation is None:
        return None
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        raise UsageError("validation must be (x, y), (x, y, weights) or a share such as 0.1")
    weight = validation[2] if len(validation) == 3 else None
    return _check_examples(network, losses, validation[0], validation[1], weight, "validation ")


def _split(examples: Examples, share: float) -> tuple[Examples, Examples]:
    count = round(len(examples) * share)
    if not 0 < count < len(examples):
        raise UsageError(f"validation={share:g} of {len(examples)} examples leaves one side empty")
    parts = slice(None, -count), slice(-count, None)
    train, held_out = (
        Examples(
            {name: array[part] for name, array in examples.x.items()},
            {name: array[part] for name, array in examples.y.items()},
            None if examples.weight is None else examples.weight[part],
        )
        for part in parts
    )
    return train, held_out


def _remember_kinds(network: Network, losses: Mapping[str, Loss]) -> None:
    """Note what an output means now that a loss has said it."""
    kinds = {"cross_entropy": "logits", "binary_cross_entropy": "binary_logits"}
    network.outputs = tuple(
        replace(info, kind=kinds.get(losses[info.name].name, info.kind)) if info.name in losses else info
        for info in network.outputs
    )


# -- around the loop


class _Write(Protocol):
    def __call__(self, row: Mapping[str, float]) -> None: ...


@contextmanager
def _csv(path: str | Path | None) -> Iterator[_Write]:
    """Write rows as they come; the header is the first row's."""
    if path is None:
        yield lambda row: None
        return
    try:  # Apart from the block that uses it, whose errors are others.
        opened = Path(path).open("w", newline="", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise FileError(path, f"the metrics cannot be written: {error.strerror}") from error
    with opened as file:
        writer: csv.DictWriter[str] | None = None

        def write(row: Mapping[str, float]) -> None:
            nonlocal writer
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()

        yield write


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; a second one raises as usual.

    Only the main thread can; and where the process is to ignore Ctrl-C (as behind ``nohup``), it still does.
    """
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in {None, signal.SIG_IGN}:
        yield stop
        return

    def note(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class _Bar:
    """No progress bar."""

    def step(self) -> None:
        """A batch is done."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is done."""


@contextmanager
def _bar(progress: bool | None, epochs: int, batches: int) -> Iterator[_Bar]:
    show = sys.stderr.isatty() if progress is None else progress
    if not show:
        yield _Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("training", total=epochs * batches)

        class Shown(_Bar):
            def __init__(self) -> None:
                self.pending = 0

            def step(self) -> None:
                self.pending += 1
                if self.pending % 16 == 0:
                    display.advance(task, 16)

            def epoch(self, row: Mapping[str, float]) -> None:
                text = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in {"epoch", "learning_rate"})
                display.update(task, completed=int(row["epoch"]) * batches, description=f"epoch {row['epoch']}  {text}")
                self.pending = 0

        yield Shown()
