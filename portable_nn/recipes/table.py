"""A network of dense layers for a table with named columns: ``portable-nn train LAYERS data.csv --target NAME``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, Unpack

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arguments import check_argument, check_kinds
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.names import ACTIVATIONS, OPTIMIZER
from portable_nn.core.numbers import BelowOne, Count, Natural
from portable_nn.core.text import either, quantity, some
from portable_nn.data.apart import split
from portable_nn.data.cells import is_words, missing, new_fault, word_fault, word_of
from portable_nn.data.columns import encoded, find_columns, numbers_fault, without_holes
from portable_nn.data.frames import Frame, read_frame
from portable_nn.data.tables import UTF_8
from portable_nn.format.meaning import Column, Missing, OutputInfo, Unknown
from portable_nn.layers import Columns, Dense, Input, Layer, Normalization
from portable_nn.network import Network, Sequential
from portable_nn.operators.registry import Array
from portable_nn.recipes.classifier import hidden_layers, passed_on
from portable_nn.training.fit import FitOptions
from portable_nn.training.history import History
from portable_nn.training.losses import Loss, find_loss, with_options
from portable_nn.training.metrics import METRICS, Metric
from portable_nn.training.optimizers import Optimizer

__all__ = ["train_table"]

Task: TypeAlias = Literal["classes", "numbers"]
"""The kind of prediction: the class of an example, or one or several numbers."""

Policy: TypeAlias = Missing | Literal["drop"]

MOST_CLASSES: Final = 20
"""Whole numbers 0, 1, 2, … without a gap are taken for classes up to so many."""

FITTING: Final = {
    "numbers have": ("mean_squared_error", "mean_absolute_error", "huber", "gaussian"),
    "classes of which one is right have": ("cross_entropy", "focal"),
    "one output for two classes has": ("binary_cross_entropy", "focal"),
}
"""The losses by what is predicted, the usual one first."""

EPOCHS: Final = 200
SHORTEST: Final = 10
FEWEST_STEPS, MOST_STEPS = 1_000, 40_000
"""By default each example is seen 200 times; more often or, down to 10 times, less often, for this number of steps."""


class TrainedTable(NamedTuple):
    """A trained network, how its training went, what it achieves on the examples held out, and what was decided."""

    network: Network
    history: History
    figures: dict[str, float]
    notes: list[str]


@dataclass(frozen=True)
class Target:
    """The target of a prediction: ``y`` as the loss takes it, and the meaning of the output."""

    names: tuple[str, ...]
    y: Array
    units: int
    loss: Loss
    labels: tuple[str, ...] = ()
    mean: Array | None = None
    std: Array | None = None


@check_kinds
def train_table(
    layers: str | Sequence[int | str],
    data: Any,
    target: str | Sequence[str] = "last",
    *,
    task: Task | None = None,
    missing: Policy = "refuse",
    unknown: Unknown = "refuse",
    categorical: Collection[str] = (),
    embedding: Count | None = None,
    drop: Collection[str] = (),
    units: Mapping[str, str] | None = None,
    standardise: bool = True,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = UTF_8,
    activation: str = "relu",
    loss: str | Loss | None = None,
    loss_options: Mapping[str, Any] | None = None,
    metrics: Sequence[str] | None = None,
    optimizer: Optimizer | str = OPTIMIZER,
    epochs: Count | None = None,
    batch_size: Count = 32,
    validation: BelowOne = 0.1,
    patience: Natural | None = None,
    seed: Natural = 0,
    metrics_csv: str | Path | None = None,
    plot: str | Path | None = None,
    progress: bool | None = None,
    **others: Unpack[FitOptions],
) -> TrainedTable:
    """Train a network that predicts one column of a table, or several, from the others.

    The network takes the numbers of a row as they are. What it does with them, and with categories and missing values,
    is a part of its graph; the names of the columns, their order, categories and statistics travel with it.

    Args:
        layers: the sizes of the layers, ``"auto-32-16-auto"`` or as a list. The first is the number of columns, and the
            last that of classes or of numbers to predict, 1 for two classes with one output; ``auto`` counts them.
        data: the table: a path, a data frame, a dict of columns or a structured array: see ``read_frame``, which
            ``header``, ``delimiter``, ``decimal`` and ``encoding`` are for.
        target: the column that is predicted, by its name, or ``first`` or ``last``; several columns of numbers.
        task: ``classes`` or ``numbers``. By default words are classes, and so are whole numbers 0, 1, 2, … (or from 1)
            without a gap up to 20; other numbers are numbers.
        missing: how missing values are met: ``refuse`` is an error that counts them by column, ``mean`` and ``median``
            put that of the column in their place, ``indicator`` the mean and tells the network, ``drop`` leaves out
            these rows. All but ``refuse`` leave out rows without a target.
        unknown: how ``predict`` meets a word that is no category: ``refuse`` or, as none of them, ``other``.
        categorical: columns of numbers that are categories, such as postal codes.
        embedding: the length of a trained vector for each category; by default a category is a 1 among zeros.
        drop: columns that the network does not get.
        units: units by the names of columns.
        standardise: bring columns of numbers to mean 0 and standard deviation 1.
        activation: the activation between the layers: ``sigmoid``, ``tanh`` or ``relu``.
        loss: by default ``cross_entropy`` for classes (or ``focal``), ``binary_cross_entropy`` for two classes with one
            output (or ``focal``), and ``mean_squared_error`` for numbers, each of which is brought to mean 0 and
            standard deviation 1; or ``mean_absolute_error``, ``huber``, whose ``delta`` then counts in standard
            deviations, or ``gaussian``, which predicts a standard deviation for each number, too.
        loss_options: options that go before those of the loss, such as ``{"class_weight": {"Gentoo": 2.0}}``.
        metrics: the names of what is measured after each epoch, as ``fit`` has them, of numbers in the units of the
            table; by default ``accuracy`` of classes.
        epochs: how many times every example is seen; by default 200, more often where the table is short, and less
            where it is long.

    All else is as ``train_classifier`` takes it.

    Raises:
        DataError: the table cannot be read, or has values missing, dates or texts in columns that are not dropped.
        UsageError: invalid arguments.
        TrainingError: the loss is NaN or infinite.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
    """
    check_argument("missing", missing, Policy)
    check_argument("unknown", unknown, Unknown)
    frame = read_frame(data, header=header, delimiter=delimiter, decimal=decimal, encoding=encoding)
    names = _target_names(frame, target)
    inputs = _input_names(frame, names, drop)
    frame, dropped = complete(frame, target, drop, missing)
    policy = "refuse" if missing == "drop" else missing
    sizes = sizes_of(layers)
    wanted = _find_target(frame, names, task, sizes[-1], None if loss is None else find_loss(loss))
    columns = find_columns(
        frame,
        inputs,
        missing=policy,
        unknown=unknown,
        categorical=categorical,
        units={name: unit for name, unit in (units or {}).items() if name not in names},
    )
    if sizes[0] not in (None, len(columns)):
        raise UsageError(
            f"the first layer has {quantity(sizes[0], 'unit')}, but the inputs are {quantity(len(columns), 'column')}"
        )
    x, _ = encoded(frame, columns, list(frame.columns))
    train, held_out = split(len(x), validation, seed)
    weighed = with_options(wanted.loss, loss_options or {}).resolved(wanted.labels, (wanted.units,), wanted.y[train])
    wanted = replaced(wanted, loss=weighed)
    measured = metrics_of(wanted, ["accuracy"] * bool(wanted.labels) if metrics is None else metrics)
    prepare = Columns(columns, x[train], embedding=embedding, standardise=standardise, name="columns")
    network = Sequential(Input(len(columns), name="row"), prepare, *layers_for(wanted, sizes, activation), seed=seed)
    network.inputs = (replace(network.inputs[0], kind="table", columns=columns),)
    y = wanted.y if wanted.mean is None else ((wanted.y - wanted.mean) / wanted.std).astype(np.float32)
    steps = -(-len(train) // batch_size)
    epochs = epochs or max(SHORTEST, min(EPOCHS, MOST_STEPS // steps), FEWEST_STEPS // steps)
    trained = fit_target(
        network,
        wanted,
        (x[train], y[train]),
        (x[held_out], y[held_out], wanted.y[held_out]),
        units,
        metrics=measured,
        patience=patience,
        **passed_on(locals()),
    )
    return trained._replace(notes=[*dropped, *_notes(frame, columns, wanted, drop, standardise), *trained.notes])


# -- what is asked for


def complete(
    frame: Frame, target: str | Sequence[str], drop: Collection[str], missing: Policy
) -> tuple[Frame, list[str]]:
    """The rows in which no value is missing, or no target unless that is refused; and a note on those left out."""
    names = _target_names(frame, target)
    inputs = _input_names(frame, names, drop) if missing == "drop" else []
    whole = frame if missing == "refuse" else without_holes(frame, [*inputs, *names])
    left, what = len(frame) - len(whole), "value" if inputs else "target"
    return whole, [f"left out: {left:,} of {quantity(len(frame), 'row')}, as a {what} is missing in them"] * bool(left)


def sizes_of(layers: str | Sequence[int | str]) -> list[int | None]:
    """The sizes of the layers; None where they are counted."""
    parts = layers.split("-") if isinstance(layers, str) else [str(size) for size in layers]
    ends = {0, len(parts) - 1}
    for place, part in enumerate(parts):
        if not re.fullmatch(r"[1-9]\d{0,8}", part) and not (part == "auto" and place in ends):
            raise UsageError(
                "layers must be sizes with hyphens between them, such as auto-32-auto (auto is for the first and the "
                f"last, which are then counted), not '{'-'.join(parts)}'"
            )
    if len(parts) < 2:
        raise UsageError(f"layers must be two or more sizes, such as auto-32-auto, not '{'-'.join(parts)}'")
    return [None if part == "auto" else int(part) for part in parts]


def _target_names(frame: Frame, target: str | Sequence[str]) -> tuple[str, ...]:
    target = (frame.called(target),) if isinstance(target, str) else target
    for name in target:
        if name not in frame.columns:
            raise UsageError(f"target: {frame.where} {frame.lacks(name)}")
    if not target or len(set(target)) < len(target):
        raise UsageError("target must be a column, or several different ones")
    return tuple(target)


def _input_names(frame: Frame, targets: Sequence[str], drop: Collection[str]) -> list[str]:
    for name in drop:
        if name not in frame.columns or name in targets:
            why = "it is the target" if name in targets else f"{frame.where} has {some(frame.columns)}"
            raise UsageError(f"drop: column '{name}' cannot be left out: {why}")
    names = [name for name in frame.columns if name not in targets and name not in drop]
    if not names:
        raise UsageError(f"{frame.where} has no column beside the target to learn from")
    return names


def _find_target(
    frame: Frame, names: tuple[str, ...], task: Task | None, last: int | None, loss: Loss | None
) -> Target:
    """The target of a prediction. Raises ``DataError`` where it is missing, ``UsageError`` where it is something
    else."""
    cells = [_predicted(frame, name) for name in names]
    are_several, words = len(names) > 1, [name for name in names if is_words(frame.column(name))]
    if words and (task == "numbers" or are_several):
        raise UsageError(f"target '{words[0]}' holds words such as '{frame.column(words[0])[0]}', and no numbers")
    if task == "classes" and are_several:
        raise UsageError("several targets are numbers: train a network for each column of classes")
    if task != "numbers" and not are_several and (words or task or _are_classes(cells[0])):
        return _class_target(frame, names[0], cells[0], last, loss, are_meant=bool(task))
    if last not in (None, len(names)):
        raise UsageError(
            f"the last layer has {quantity(last, 'unit')}, but {quantity(len(names), 'number')} are predicted"
        )
    y = np.stack(cells, axis=1)
    mean, std = y.mean(axis=0), y.std(axis=0)
    std = np.where(std <= np.abs(mean) * np.finfo(np.float32).eps, 1.0, std)
    return Target(names, y, len(names), loss_of("numbers have", loss), mean=mean, std=std)


def _predicted(frame: Frame, name: str) -> Array:
    """A column that is predicted. Raises ``DataError`` where a value is missing, or a number is of no use."""
    cells = frame.column(name)
    fault = numbers_fault(frame, cells)
    if count := int(missing(cells).sum()):
        found = f"is missing in {quantity(count, 'row')}"
        fault = f"{found}: --missing mean, median, indicator or drop (missing=) leaves them out"
    if fault:
        raise DataError(frame.where, f"the target '{name}' {fault}")
    return cells


def _are_classes(cells: Array) -> bool:
    """True if numbers are 0, 1, 2, … or 1, 2, 3, … without a gap."""
    values = np.unique(cells)
    counted = np.arange(len(values))
    return 2 <= len(values) <= MOST_CLASSES and bool((values == counted).all() or (values == counted + 1).all())


def _class_target(
    frame: Frame, name: str, cells: Array, last: int | None, loss: Loss | None, *, are_meant: bool
) -> Target:
    if is_words(cells) and (
        fault := word_fault(cells, frame.decimal)
        or (None if are_meant else new_fault(cells, "say that they are classes (--task classes, task=)"))
    ):
        raise DataError(frame.where, f"the target '{name}' {fault}")
    found, numbers = np.unique(cells.astype(str) if is_words(cells) else cells, return_inverse=True)
    labels = tuple(str(value) if is_words(cells) else word_of(float(value)) for value in found)
    if len(labels) < 2:
        raise UsageError(f"the target '{name}' is '{labels[0]}' in each row: there is nothing to tell apart")
    if last == 1 and len(labels) == 2:
        loss, y = loss_of("one output for two classes has", loss), numbers.astype(np.float32)[:, np.newaxis]
        return Target((name,), y, 1, loss, labels)
    if last not in (None, len(labels)):
        raise UsageError(
            f"the last layer has {quantity(last, 'unit')}, but '{name}' has "
            f"{quantity(len(labels), 'class')}: {some(labels)}"
        )
    return Target(
        (name,), numbers.astype(np.int64), len(labels), loss_of("classes of which one is right have", loss), labels
    )


def loss_of(what: str, given: Loss | None) -> Loss:
    """The loss for a target, a row of ``FITTING``; by default the first. Raises ``UsageError`` for another one."""
    loss = given or find_loss(FITTING[what][0])
    if loss.name not in FITTING[what]:
        raise UsageError(f"{what} the loss {either(FITTING[what])}, not {loss}")
    return loss


def metrics_of(wanted: Target, names: Sequence[str]) -> list[Metric]:
    """The metrics, those of numbers in the units of the table. Raises ``UsageError`` for one that does not fit."""
    kind = "classes" if wanted.labels else "numbers"
    fitting = [name for name, metric in METRICS.items() if metric.of == kind]
    if wrong := [name for name in names if name not in fitting]:
        raise UsageError(f"metrics must be {either(fitting)} for a target of {kind}, not {wrong[0]}")
    return [METRICS[name] if wanted.mean is None else _in_units(METRICS[name], wanted) for name in names]


def _in_units(metric: Metric, wanted: Target) -> Metric:
    mean, std = wanted.mean, wanted.std
    return replaced(metric, measure=lambda x, y, *rest: metric.measure(x * std + mean, y * std + mean, *rest))


# -- what comes of it


def layers_for(wanted: Target, sizes: Sequence[int | None], activation: str) -> list[Layer]:
    """The dense layers of a network for a target."""
    hidden = hidden_layers([size for size in sizes[1:-1] if size], activation)
    gaussian = wanted.loss.name == "gaussian"  # A mean, and the logarithm of a variance, for each number.
    return [*hidden, Dense(wanted.units * (1 + gaussian), weight_initial=ACTIVATIONS[activation][1])]


def fit_target(
    network: Network,
    wanted: Target,
    train: tuple[Any, Any],
    held_out: tuple[Any, Any, Any],
    units: Mapping[str, str] | None,
    *,
    patience: int | None,
    **options: Any,
) -> TrainedTable:
    """Train a network on examples and targets, and describe it by what it achieves on those held out.

    ``held_out`` are examples, their targets as the loss takes them, and as the data have them; options are those of
    ``fit``.
    """
    x, y, in_units = held_out
    validation = (x, y) if len(x) else None
    history = network.fit(*train, loss=wanted.loss, validation=validation, early_stopping=patience, **options)
    network = described(network, wanted, units or {})
    scaled = f"losses are those of {some(wanted.names)} scaled to mean 0 and standard deviation 1"
    notes = [scaled] * (wanted.mean is not None)
    return TrainedTable(network, history, figures_of(network, history, wanted, x, in_units), notes)


def described(network: Network, wanted: Target, units: Mapping[str, str]) -> Network:
    """The network with outputs in the units of the data, and what they mean."""
    if wanted.mean is not None and wanted.std is not None:
        mean, std = wanted.mean, wanted.std
        if wanted.loss.name == "gaussian":  # Of a standard deviation s times as large, log σ² is 2·log s more.
            mean, std = np.concatenate([mean, 2 * np.log(std)]), np.concatenate([std, np.ones_like(std)])
        back = Normalization(mean=mean, std=std, invert=True, name="in_units")
        network = Sequential(network, back)
    name = network.graph.outputs[0]
    if wanted.labels:
        kind = network.outputs[0].kind
        info = OutputInfo(name, kind, wanted.labels, target=wanted.names[0], loss=str(wanted.loss))
    else:
        each = tuple(units.get(target, "") for target in wanted.names)
        same = len(set(each)) == 1
        info = OutputInfo(
            name,
            "gaussian" if wanted.loss.name == "gaussian" else "values",
            labels=wanted.names,
            unit=each[0] if same else "",
            units=() if same else each,
            target=", ".join(wanted.names),
            loss=str(wanted.loss),
        )
    network.outputs = (info,)
    return network


def figures_of(network: Network, history: History, wanted: Target, x: Any, y: Any) -> dict[str, float]:
    """The figures of the network on the examples held out."""
    row = history.rows[(history.best_epoch or 0) - 1] if history.rows else {}
    losses = ("loss", "val_loss")  # Of numbers they are in standard deviations, which says little.
    found = {name: row[name] for name in row if name in losses} if wanted.labels else {}
    found |= {name: value for name, value in row.items() if name not in ("epoch", "learning_rate", *losses)}
    if not len(x):
        return found
    evaluation = network.evaluate(x, y)
    if wanted.labels:
        return found | {"val_accuracy": evaluation.accuracy}
    for number in evaluation.numbers:
        end = f" of {number.name}" if len(wanted.names) > 1 else ""
        found |= {f"val_rmse{end}": number.rmse, f"val_mae{end}": number.mae}
        found |= {f"val_r2{end}": number.r2} if number.r2 is not None else {}
    return found


def _notes(
    frame: Frame, columns: Sequence[Column], wanted: Target, drop: Collection[str], standardise: bool
) -> list[str]:
    """The decisions that were made, in words."""
    numbers = [column.name for column in columns if not column.categories]
    listed = {
        "numbers": numbers,
        "categories": [f"{column.name} ({len(column.categories)})" for column in columns if column.categories],
        "missing values": [
            f"{column.name} ({'in no category' if column.categories else column.missing})"
            for column in columns
            if column.missing != "refuse"
        ],
        "left out": drop,
    }
    kind = f"{len(wanted.labels)} classes: {some(wanted.labels)}" if wanted.labels else "a number"
    scaled = {"numbers": ", each brought to mean 0 and standard deviation 1"} if standardise else {}
    return [
        f"from {quantity(len(frame), 'row')}, predicts {some(wanted.names)}, {kind}",
        *(f"{what}: {some(names)}{scaled.get(what, '')}" for what, names in listed.items() if names),
        *(
            f"'{name}' only counts the rows: drop it, or the network learns their order"
            for name in numbers
            if _counts_rows(frame.column(name))
        ),
    ]


def _counts_rows(cells: Array) -> bool:
    """True if a column is 0, 1, 2, … or counts from any other number."""
    return len(cells) > 2 and bool((np.diff(cells) == 1).all())
