"""Training: what is asked for is checked, and then run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import DataWarning, PortableNNWarning, UsageError, warn
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import BelowOne, Count, Natural, Positive
from portable_nn.core.text import quantity
from portable_nn.data.stored import rows_of
from portable_nn.engines.apart import mixing_node
from portable_nn.engines.ranges import warn_of_range
from portable_nn.operators import NamedArrays, infer, replay
from portable_nn.operators.opaque.nodes import opaque_notes
from portable_nn.training.checkpoint import CheckpointOptions, Checkpoints
from portable_nn.training.curves import check_plot, draw_curves
from portable_nn.training.evaluation import Evaluation
from portable_nn.training.examples import Check, Examples, check_parameters, resolved
from portable_nn.training.given import examples_of
from portable_nn.training.history import Best, EarlyStopping, History, stopping
from portable_nn.training.losses import Loss, LossLike, find_losses, usual_losses
from portable_nn.training.metrics import Metric, Metrics, find_metrics
from portable_nn.training.optimizers import Optimizer, find_optimizer
from portable_nn.training.parts import is_batch
from portable_nn.training.progress import progress_bar
from portable_nn.training.run import Augment, Callback, Run
from portable_nn.training.schedules import ReduceOnPlateau, Schedule, watched
from portable_nn.training.settings import describe_settings
from portable_nn.training.sources import Arrays, HeldOut, Iterated, Rows, Source, count_of, find_validation
from portable_nn.training.state import State
from portable_nn.training.step import TrainingStep
from portable_nn.training.surroundings import csv_rows, interruptible
from portable_nn.training.trainable import Trainable
from portable_nn.training.updating import LATEST, Groups, Updating

__all__ = ["Augment", "EarlyStopping", "History", "fit"]


class FitOptions(CheckpointOptions, total=False):
    """Options of ``fit`` that those who call it pass on as they are."""

    schedule: Schedule | ReduceOnPlateau | None
    groups: Groups | None
    clip_norm: float | None
    accumulate: int
    average: float | None
    truncate: int | None
    train_metrics: bool


@check_kinds
def fit(
    network: Trainable,
    x: Any,
    y: Any = None,
    *,
    loss: LossLike | Mapping[str, LossLike] | None = None,
    optimizer: Optimizer | str | None = None,
    epochs: Count = 10,
    batch_size: Count = 32,
    shuffle: bool = True,
    window: Count | None = None,
    validation: tuple[Any, ...] | float | None = None,
    sample_weight: Any = None,
    schedule: Schedule | ReduceOnPlateau | None = None,
    groups: Groups | None = None,
    clip_norm: Positive | None = None,
    accumulate: Count = 1,
    average: BelowOne | None = None,
    truncate: Count | None = None,
    early_stopping: EarlyStopping | Natural | None = None,
    metrics: Metrics = (),
    train_metrics: bool = False,
    augment: Augment | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    steps_per_epoch: Count | None = None,
    metrics_csv: str | Path | None = None,
    plot: str | Path | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    every: Count | None = None,
    keep: Count = 3,
    resume: bool | Callable[[], object] = False,
) -> History:
    """Train a network in place; the history of its loss and metrics. ``Network.fit`` is this function.

    Args:
        network: the network; as a method, the one that it is called on.
        x: the examples (n, …), or a dict of arrays by input name. They may be larger than memory: memory maps, datasets
            of h5py and zarr, and all else with a shape, a dtype and slices are read in pieces where they have more
            than 64 MiB. Without ``y``: batches, an iterable of pairs ``(x, y)`` or of ``(x, y, weights)``, which
            ``pnn.ahead`` makes in a thread.
        y: the targets (n, …) as the loss takes them, or a dict of arrays by output name. For ``cross_entropy``:
            class numbers, the labels of the output, or probabilities.
        loss: of numbers ``mean_squared_error``, ``mean_absolute_error``, ``huber``, or ``gaussian`` where their
            variance is predicted, too; of classes ``cross_entropy``, ``focal``, ``binary_cross_entropy``,
            ``kl_divergence`` or ``hinge``. Or one with options, such as ``CrossEntropy(label_smoothing=0.1)``, or a
            function ``(output, target)`` of symbols that returns the loss of each example. A dict by output name
            trains several outputs on the sum of their losses. By default the one that the network notes that it was
            trained with (``network.outputs[0].loss``), or ``cross_entropy`` where it notes none.
        optimizer: ``SGD``, ``RMSProp``, ``Adam``, ``AdamW``, ``AMSGrad`` or ``Lion``, or its name; by default
            ``Adam()``. ``"same"`` goes on with that of the last ``fit`` of this network, and with its state.
        epochs: how many times every example is seen.
        batch_size: the number of examples a step; the last batch of an epoch may be smaller.
        shuffle: draw a new order for each epoch. What is read in pieces is shuffled by pieces: these come in a random
            order, and the examples of those in a ``window`` do (see ``data.shuffling.Order``).
        window: how many examples are shuffled together where they are read in pieces; two windows are in memory at
            once. By default those that take 64 MiB.
        validation: ``(x, y)`` or ``(x, y, weights)``; or the share of the examples (from the end) that is held out; or
            a list, or another iterable that ends, of such batches. What can be gone through again is, in each epoch;
            the batches of an iterator are kept in memory.
        sample_weight: the weight of each example in loss and metrics, (n,); or of each step or place in it, such as
            (n, steps), the first axes of a loss that is not averaged yet (without that of the classes). Padding has the
            weight 0: ``np.arange(steps) < lengths[:, np.newaxis]`` is true for the steps that are none.
        schedule: what the learning rate is multiplied by as training goes on: ``StepDecay``, ``ExponentialDecay``,
            ``CosineDecay``, ``OneCycle``, ``Warmup``, a function of the epoch and the number of epochs, or
            ``ReduceOnPlateau``.
        groups: options of the optimizer for parameters whose names match a pattern, as ``freeze`` matches them:
            ``{"features": {"learning_rate": 1e-4}, "*.bias": {"weight_decay": 0.0}}``. Of two patterns that match,
            the later one goes before.
        clip_norm: gradients whose norm, of all parameters together, is larger are scaled down to it.
        accumulate: the number of batches a step: their gradients are those of one batch of so many times the examples.
        average: β of an exponential moving average of the weights, such as 0.999: w̄ ← β·w̄ + (1 - β)·w after each
            step, from the first step on. Validation, early stopping and checkpoints are of the averages, and the
            network has them in the end; running statistics are those of the training steps.
        truncate: in recurrent layers, the states before every ``truncate``-th step are taken for numbers, and no
            gradient flows back through them, as PyTorch's ``detach`` does: with 20, from the steps 20 to 39 back to
            step 20. Outputs are the same. By default gradients flow back through all steps. Williams and Peng, Neural
            Computation 2 (1990).
        early_stopping: a rule, or the number of epochs without a smaller validation loss after which training stops;
            the best weights are kept. By default, with ``validation``, a fifth of the epochs and at least 10, and with
            a schedule all of them. With 0, all epochs are run and the last weights kept.
        metrics: one or several, of classes ``accuracy``, ``precision``, ``recall`` and ``f1``, of numbers
            ``mean_absolute_error``, ``mean_squared_error``, ``root_mean_squared_error`` and ``r2``, or functions
            ``(outputs, targets) → number``; or a dict of such by output name. They are computed after each epoch, on
            the validation set, and where there is none, on the training examples.
        train_metrics: compute them on the training examples as well as on the validation set.
        augment: ``(batch, generator) → batch``, applied to each batch of the first input.
        callbacks: a function of the row of each epoch that has ended, or several; ``True`` stops the training.
        steps_per_epoch: the number of batches in an epoch, where ``x`` gives them; by default ``len(x)``.
        metrics_csv: a file that gets a row after each epoch.
        plot: a picture (.png, .svg or .pdf) of loss, metrics and learning rate by epoch, drawn in the end.
        progress: show the epochs on stderr, with a bar; by default the bar where that is a terminal, and otherwise a
            line for each epoch.
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
    1 where ``Rescaling(1 / 255)`` comes first, and with ``PortableNNWarning`` of nodes that onnxruntime runs.

    Raises:
        ShapeError, UsageError: arguments that do not fit, or that hold NaN; a checkpoint of another training, or one
            in the way; a folder of checkpoints that another training uses.
        TrainingError: the loss, or a weight, is NaN or infinite. The network has the weights from before that step.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
        FormatError: the newest checkpoint is damaged.
    """
    if checkpoint is None and (resume or every is not None):
        raise UsageError("every and resume need checkpoint=, the folder of the checkpoints")
    kept = find_kept(network, optimizer, groups)
    updating = Updating(kept.optimizer, kept.groups, clip_norm, accumulate, average)
    is_assumed = loss is None and not any(output.loss for output in network.outputs)
    check = Check(network, _losses(network, loss), is_assumed=is_assumed)
    cut = (batch_size, shuffle, window, steps_per_epoch)
    source, held_out = _find_source(check, x, y, sample_weight, validation, *cut)
    first, losses = source.first, resolved(network, check.losses, source.first)
    _check_labels(network, losses)
    _check_pairs(network, source)
    if not resume:
        check_parameters(network)
    warn_of_range(network.graph, network.parameters, network.inputs, first.x)
    _warn_of_steps(network)
    _warn_of_opaque(network)
    wanted = find_metrics(metrics, first.y, losses)
    evaluations = _evaluations(network, losses, source, held_out, wanted, train_metrics)
    rule = stopping(early_stopping, epochs, is_watched=held_out is not None, is_scheduled=schedule is not None)
    rules = {"early stopping": rule, "ReduceOnPlateau": watched(schedule)}
    columns = _columns(evaluations, held_out, rules)
    picture = check_plot(plot)
    step = TrainingStep(network, losses, first.x, first.y, updating, weighted=first.weighted, truncate=truncate)
    put_back(kept, step.state)
    best = Best(network, rule)
    state = State(network, step.state, best, source.batches, columns, step=kept.step, parts=len(step.parts))
    called = (callbacks,) if callable(callbacks) else tuple(callbacks)
    run = Run(step, state, source, evaluations, epochs, schedule, augment, called, every)
    if checkpoint is not None:
        settings = describe_settings(
            losses, source.all or first, held_out, wanted, updating,
            source=source.settings, iterated=source.all is None, train_metrics=train_metrics, callbacks=called,
            validation=validation, epochs=epochs, batch_size=min(batch_size, source.batch_size),
            shuffle=shuffle, schedule=schedule, early_stopping=early_stopping, augment=augment,
            **({} if truncate is None else {"truncate": truncate}),
        )  # fmt: skip
        watching = rule or EarlyStopping(monitor="val_loss" if held_out else "loss")
        run.checkpoints = Checkpoints(checkpoint, keep, state, settings, watching)
    with (
        run.checkpoints.open(resume=resume) if run.checkpoints else nullcontext(),
        csv_rows(metrics_csv, state.rows) as write_row,
        progress_bar(progress, epochs, source.batches, state.done) as bar,
        interruptible() as stop,
    ):
        _note_losses(network, losses)
        source.skip(state.done)
        if resume:
            step.swap()  # A checkpoint has the averages as the weights of the network.
        history = run(stop, write_row, bar)
    history.held_out = count_of(held_out)
    keep_last(network, Kept(kept.optimizer, kept.groups, step.state, state.step))
    draw_curves(history, picture)
    return history


def _losses(network: Trainable, loss: LossLike | Mapping[str, LossLike] | None) -> dict[str, Loss]:
    return find_losses(network.graph.outputs, usual_losses(network.outputs) if loss is None else loss)


def _find_source(
    check: Check,
    x: Any,
    y: Any,
    weight: Any,
    validation: Any,
    batch_size: int,
    shuffle: bool,
    window: int | None,
    steps: int | None,
) -> tuple[Source, HeldOut | None]:
    """The source of the batches, and the validation examples. Raises ``UsageError`` and ``ShapeError``."""
    if y is not None:
        if steps is not None:
            raise UsageError("steps_per_epoch is for batches in place of x and y: arrays have batch_size")
        train, held_out = find_validation(check, examples_of(check, x, y, weight), validation)
        if isinstance(train, Examples):
            return Arrays(train, batch_size, shuffle), held_out
        _check_not_balanced(check, "stored examples")
        return Rows(train, batch_size, shuffle, window), held_out
    if isinstance(x, np.ndarray | Mapping) or rows_of(x, "x") is not x:
        raise UsageError("y is missing: the targets of the examples x; or x gives batches (x, y)")
    if weight is not None:
        raise UsageError("sample_weight is for arrays: batches bring their weights, (x, y, weights)")
    if isinstance(validation, float | np.floating):
        raise UsageError("validation as a share is for arrays: beside batches it must be (x, y), or batches")
    _check_not_balanced(check, "batches")
    iterated = Iterated(x, steps, check)
    return iterated, find_validation(check, iterated.first, validation)[1]


def _check_not_balanced(check: Check, what: str) -> None:
    if any(getattr(loss, "class_weight", None) == "balanced" for loss in check.losses.values()):
        raise UsageError(f"class_weight='balanced' counts all examples first: beside {what}, give the numbers")


def _check_labels(network: Trainable, losses: Mapping[str, Loss]) -> None:
    """Raise ``UsageError`` where an output would have labels for its variances, which no file can hold."""
    shapes = {name: symbol.shape for name, symbol in replay(network.graph).items() if name in losses}
    for info in network.outputs:
        if info.labels and info.name in losses and losses[info.name].kind(shapes[info.name][1:]) == "gaussian":
            count = int(shapes[info.name][-1]) // 2
            if len(info.labels) != count:
                raise UsageError(
                    f"output '{info.name}' has {quantity(len(info.labels), 'label')}, but with the loss 'gaussian' it "
                    f"predicts {quantity(count, 'number')}: labels are for these, or leave them out"
                )


def _check_pairs(network: Trainable, source: Source) -> None:
    """Raise ``UsageError`` where targets of pairs of examples, (n, n), would be cut into batches of rows alone."""
    for name, target in source.first.y.items():
        shape = replay(network.graph)[name].shape
        pairs = [axis for axis, dim in enumerate(shape[: target.ndim]) if axis and is_batch(dim, shape)]
        if any(target.shape[axis] != source.batch_size for axis in pairs):
            raise UsageError(
                f"output '{name}' {format_shape(shape)} compares the examples of a batch with each other, and y has "
                f"{target.shape[pairs[0]]} of them: batch_size must be {target.shape[pairs[0]]}, all at once"
            )


def _warn_of_steps(network: Trainable) -> None:
    """Warn where the first axis, along which the examples lie, is one along which a node combines them."""
    node = mixing_node(network.graph, infer(network.graph).types)
    if node is not None:
        shapes = ", ".join(f"'{each.name}' {format_shape(each.shape)}" for each in network.graph.inputs)
        warn(
            f"examples lie along the first axis of {shapes}, and are shuffled and cut into batches there, but "
            f"{node} combines what lies along it, as the steps of a sequence: the batch "
            "should come first",
            DataWarning,
        )


def _warn_of_opaque(network: Trainable) -> None:
    """Warn of nodes through which nothing learns."""
    for note in opaque_notes(network.graph.nodes):
        warn(note, PortableNNWarning)


def _columns(
    evaluations: Iterable[Evaluation],
    held_out: HeldOut | None,
    rules: Mapping[str, EarlyStopping | ReduceOnPlateau | None],
) -> list[str]:
    """The columns of the history. Raises ``UsageError`` where one of the ``rules`` watches another."""
    watchable = ["loss", *(name for each in evaluations for name in each.columns)]
    for what, rule in rules.items():
        if rule is not None and rule.monitor not in watchable:
            hint = "" if held_out else "; more with validation="
            raise UsageError(f"{what} watches '{rule.monitor}', but there is {', '.join(watchable)}{hint}")
    return ["epoch", "loss", "learning_rate", *watchable[1:]]


def _evaluations(
    network: Trainable,
    losses: Mapping[str, Loss],
    source: Source,
    held_out: HeldOut | None,
    metrics: Mapping[str, Mapping[str, Metric]],
    train_metrics: bool,
) -> list[Evaluation]:
    """The evaluations after each epoch: metrics of the training examples, then loss and metrics of the others."""
    found = []
    if any(metrics.values()) and (train_metrics or not held_out):
        if source.all is None:
            raise UsageError("metrics of batches need validation=(x, y): the batches are not gone through twice")
        found.append(Evaluation(network, losses, source.all, metrics, prefix="", with_loss=False))
    if held_out:
        found.append(Evaluation(network, losses, held_out, metrics))
    return found


def _note_losses(network: Trainable, losses: Mapping[str, Loss]) -> None:
    """Note at each output the loss that it is trained with, and the kind that this implies.

    Probabilities stay such: their logits are trained.
    """
    shapes = {
        name: losses[name].in_order(symbol.shape)[1:]
        for name, symbol in replay(network.graph).items()
        if name in losses
    }
    is_kept = {info.name: info.kind == "probabilities" and bool(losses[info.name].inside)
               for info in network.outputs if info.name in losses}  # fmt: skip
    network.outputs = tuple(
        replace(
            info,
            kind=info.kind if is_kept[info.name] else losses[info.name].kind(shapes[info.name]) or info.kind,
            loss=str(losses[info.name]),
        )
        if info.name in losses
        else info
        for info in network.outputs
    )


SAME = "same"


class Kept(NamedTuple):
    """The optimizer of the last training, its groups, state and number of steps."""

    optimizer: Optimizer
    groups: Groups
    state: NamedArrays
    step: int


_LAST: WeakKeyDictionary[Trainable, Kept] = WeakKeyDictionary()


def keep_last(network: Trainable, kept: Kept) -> None:
    """Keep what the last training of a network leaves behind, as long as there is the network."""
    _LAST[network] = kept._replace(state={name: a for name, a in kept.state.items() if not name.endswith(f"/{LATEST}")})


def find_kept(network: Trainable, optimizer: Optimizer | str | None, groups: Groups | None) -> Kept:
    """The optimizer and its groups; with the state of the last training for ``"same"``. Raises ``UsageError``."""
    if optimizer != SAME:
        return Kept(find_optimizer(optimizer), groups or {}, {}, 0)
    if network not in _LAST:
        raise UsageError(
            "optimizer='same' goes on with the optimizer of this network's last fit, and there was none; to resume, "
            "name the optimizer: its state is in the checkpoint"
        )
    if groups is not None:
        raise UsageError("optimizer='same' has the groups of the last fit: leave groups out, or give an optimizer")
    return _LAST[network]


def put_back(kept: Kept, state: NamedArrays) -> None:
    """Put what was kept into the state of another training. Raises ``UsageError`` where it has none for a parameter."""
    for name, array in state.items():
        if name.endswith(f"/{LATEST}") or not kept.step:
            continue
        found = kept.state.get(name)
        if found is None or found.shape != array.shape or found.dtype != array.dtype:
            raise UsageError(
                f"optimizer='same' has no state for '{name.rpartition('/')[0]}', which the last fit did not train: "
                "give the optimizer itself, which begins anew"
            )
        array[...] = found
