"""Networks for named arrays of any size: ``train LAYERS data.h5 --inputs x --target y``, ``tune MODEL data.h5``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import as_array
from portable_nn.core.dims import static
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import OPTIMIZER
from portable_nn.core.numbers import BelowOne, Count, Natural
from portable_nn.core.text import quantity, some
from portable_nn.data.apart import divided
from portable_nn.data.statistics import READ, moments
from portable_nn.data.stored import Blocks, Stored, as_stored, piece_of, pieces, rows_of
from portable_nn.data.stored_files import open_stored, side_by_side
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.format.meaning import InputInfo
from portable_nn.layers import Dense, Input, Layer, Normalization
from portable_nn.network import Network, Sequential
from portable_nn.network.preparing import steps_inside
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.applying import lay_out
from portable_nn.recipes.classifier import Classifier, check_labels, passed_on
from portable_nn.recipes.table import Target, Task, TrainedTable, fit_target, layers_for, loss_of, metrics_of, sizes_of
from portable_nn.recipes.tuning import body_of, loss_of_tuning
from portable_nn.training.fit import FitOptions
from portable_nn.training.losses import Loss, find_loss, with_options
from portable_nn.training.metrics import Metrics
from portable_nn.training.optimizers import Optimizer

__all__ = ["train_arrays", "tune_arrays"]


@check_kinds
def train_arrays(
    layers: str | Sequence[int | str],
    data: str | Path | Mapping[str, Any],
    *,
    inputs: str | Sequence[str],
    targets: str | Sequence[str],
    task: Task | None = None,
    units: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    standardise: bool = True,
    activation: str = "relu",
    loss: str | Loss | None = None,
    loss_options: Mapping[str, Any] | None = None,
    metrics: Sequence[str] | None = None,
    optimizer: Optimizer | str = OPTIMIZER,
    epochs: Count = 10,
    batch_size: Count = 32,
    window: Count | None = None,
    validation: BelowOne = 0.1,
    patience: Natural | None = None,
    seed: Natural = 0,
    metrics_csv: str | Path | None = None,
    plot: str | Path | None = None,
    progress: bool | None = None,
    **others: Unpack[FitOptions],
) -> TrainedTable:
    """Train a network that predicts some arrays of a file from others; they may be larger than memory.

    Args:
        layers: the sizes of the layers, ``"104-64-32-1"`` or as a list. The first is the numbers of an example, and the
            last that of classes or of numbers to predict; ``auto`` counts them.
        data: an HDF5, npy, npz, zarr or Parquet file (see ``open_stored``); or arrays by name, such as an open
            ``h5py.File``.
        inputs: the array that the network takes, ``(n, …)``, or several, whose numbers stand side by side.
        targets: the array that it predicts: classes, whole numbers from 0; or one number or more for each example.
            Several of numbers stand side by side.
        task: ``classes`` or ``numbers``; by default one array of whole numbers is classes.
        units: units by the names of targets; by default those that the file gives (``units``).
        labels: the names of the classes; by default those that the file gives (``flag_values``, ``flag_meanings``).
        standardise: bring each number of the inputs to mean 0 and standard deviation 1, over the training examples.
        window: how many examples are shuffled together, as ``fit`` takes it.
        validation: the share of the examples that is held out to measure by, drawn in blocks of rows that are read
            together (see ``data.stored.held_out``): all over data that are sorted by class or by time.

    All else is as ``train_table`` takes it.

    Raises:
        DataError: the data cannot be read, or there are not as many examples in each array.
        UsageError: invalid arguments.
        TrainingError: the loss is NaN or infinite.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
    """
    sizes = sizes_of(layers)
    x, y = _pair(data, inputs, targets)
    x, names = _flat(x), (targets,) if isinstance(targets, str) else tuple(targets)
    if sizes[0] not in (None, x.shape[1]):
        raise UsageError(
            f"the first layer has {quantity(sizes[0], 'unit')}, but an example has {quantity(x.shape[1], 'number')}"
        )
    train, held = divided([x, y], validation, seed)
    wanted, y = _wanted(y, train, names, task, sizes[-1], None if loss is None else find_loss(loss), labels)
    wanted = replace(wanted, loss=with_options(wanted.loss, loss_options or {}))
    units = {name: said.unit for name, said in zip(names, y.meanings, strict=False)} | dict(units or {})
    first = _first_layers(x, train) if standardise else []
    layers_after = layers_for(wanted, sizes, activation)
    network = Sequential(Input(x.shape[1]), *first, *layers_after, labels=wanted.labels, seed=seed)
    network.inputs = (InputInfo(network.inputs[0].name, "table"),)
    scaled = _scaled(y, wanted)
    trained = fit_target(
        network,
        wanted,
        (train.of(x), train.of(scaled)),
        (held.of(x), held.of(scaled), held.of(y)),
        units,
        metrics=metrics_of(wanted, ["accuracy"] * bool(wanted.labels and len(held)) if metrics is None else metrics),
        patience=patience,
        **passed_on(locals()),
    )
    what = f"{len(wanted.labels)} classes: {some(wanted.labels)}" if wanted.labels else "numbers"
    scaling = ", each brought to mean 0 and standard deviation 1" if standardise else ""
    rows = f"{quantity(len(x), 'example')} of {quantity(x.shape[1], 'number')}"
    notes = [f"from {rows}{scaling}, predicts {some(names)}, {what}", *_not_read(names, y)]
    return trained._replace(notes=[*dict.fromkeys([*notes, *trained.notes, *x.notes, *y.notes])])


def _not_read(names: Sequence[str], y: Stored) -> Iterator[str]:
    """A note for each target whose unit or classes the file says in a kind of attribute that is not read."""
    for name, said in zip(names, y.meanings, strict=False):
        if said.unread:
            way = "--unit or --labels (units=, labels=) gives them, and np.bytes_ writes them with a fixed length"
            yield f"{name}: attributes that are not read, as their length is not fixed: {some(said.unread)}; {way}"


def _pair(
    data: str | Path | Mapping[str, Any], inputs: str | Sequence[str], targets: str | Sequence[str]
) -> tuple[Stored, Stored]:
    """Inputs and targets. Raises ``UsageError`` and ``DataError``."""
    x, y = named_arrays(data, inputs, targets), named_arrays(data, targets, inputs)
    if len(x) != len(y):
        raise UsageError(f"{x.name} has {quantity(len(x), 'example')}, but {y.name} has {len(y):,}")
    return x, y


def named_arrays(
    data: str | Path | Mapping[str, Any], names: str | Sequence[str], beside: str | Sequence[str] = ()
) -> Stored:
    """Arrays of a file, or of those by name, as one; others are read ``beside``. Raises as ``open_stored``."""
    chosen = [names] if isinstance(names, str) else list(names)
    if not chosen:
        raise UsageError("inputs and targets must name at least one array each")
    if not isinstance(data, Mapping):
        return open_stored(data, chosen, [beside] if isinstance(beside, str) else beside)
    if missing := [name for name in chosen if name not in data]:
        raise UsageError(f"data has no '{missing[0]}'; it has {some(map(str, data))}")
    found = {name: rows_of(data[name], name) for name in chosen}
    each = [as_stored(one if isinstance(one, Stored) else as_array(one, name), name) for name, one in found.items()]
    said = [data[name].meanings if isinstance(data[name], Stored) else () for name in found]
    return side_by_side([replace(one, meanings=of) for one, of in zip(each, said, strict=True)], "data")


def _flat(x: Stored) -> Stored:
    """Examples as rows of numbers."""
    return x.changed((math.prod(x.shape[1:]),), x.dtype, lambda rows: rows.reshape(len(rows), -1))


def _first_layers(x: Stored, train: Blocks) -> list[Layer]:
    mean, std = _statistics(x, train)
    return [Normalization(mean=mean, std=std)]


def _statistics(x: Stored, train: Blocks) -> tuple[Array, Array]:
    """The mean and the standard deviation of each column over the examples to train on, 1 where it does not vary.

    Raises ``UsageError`` that names the first row of all with NaN or infinity.
    """
    found = moments(train.of(x), 1)
    if not np.isfinite(found.mean).all() or not np.isfinite(found.std).all():
        parts = (x[start:stop] for start, stop in pieces(len(x), piece_of([x])))
        bad = np.concatenate([~np.isfinite(each).reshape(len(each), -1).all(axis=1) for each in parts])
        rows = f"{bad.sum():,} of {quantity(len(x), 'row')}, the first is {bad.argmax()} (from 0)"
        instead = "leave these rows out of all arrays, or put numbers there"
        raise UsageError(f"{x.name} holds NaN or infinity in {rows}: nothing can be learned from it: {instead}")
    return found.mean, np.where(found.is_constant | (found.std == 0), 1.0, found.std)


def _wanted(
    y: Stored, train: Blocks, names: tuple[str, ...], task: Task | None, last: int | None, loss: Loss | None,
    labels: Sequence[str],
) -> tuple[Target, Stored]:  # fmt: skip
    """The target and its array; statistics are of the examples to train on."""
    width = math.prod(y.shape[1:])
    if (task or ("classes" if y.dtype.kind in "iub" and width == 1 else "numbers")) == "classes":
        return _of_classes(y, width, names, last, loss, labels)
    y = _flat(y)
    check_labels(labels, width, "number")
    called = tuple(labels) or (names if len(names) == width else tuple(f"{names[0]}[{n}]" for n in range(width)))
    loss = loss_of("numbers have", loss)
    if last not in (None, width):
        raise UsageError(f"the last layer has {quantity(last, 'unit')}, but a target has {quantity(width, 'number')}")
    mean, std = _statistics(y, train)
    return Target(called, np.empty(0), width, loss, mean=mean, std=std), y


def _of_classes(
    y: Stored, width: int, names: tuple[str, ...], last: int | None, loss: Loss | None, labels: Sequence[str]
) -> tuple[Target, Stored]:
    loss = loss_of("classes of which one is right have", loss)
    y, high = class_range(y, width)
    labels = labels or labels_said(y, high, last)
    count = last or max(high + 1, len(labels))
    if high >= count or count < 2:
        raise UsageError(f"{y.name} holds the classes 0 to {high}, and the last layer has {quantity(count, 'unit')}")
    check_labels(labels, count, "class")
    return Target(names, np.empty(0), count, loss, tuple(labels) or tuple(map(str, range(count)))), y


def labels_said(y: Stored, high: int, count: int | None) -> tuple[str, ...]:
    """The names that a file gives the classes 0 to ``high``; none where they are not as many as ``count``, if given."""
    said = y.meanings[0].labels if y.meanings else ()
    return said if high < len(said) and count in (None, len(said)) else ()


def class_range(y: Stored, width: int) -> tuple[Stored, int]:
    """Class numbers ``(n,)`` and the largest of them. Raises ``UsageError`` where they are none.

    Whole numbers of which some could be missing are floats.
    """
    fault = f"classes are one array of whole numbers, and {y.name} is {y.dtype} {y.shape}"

    def whole(rows: Array) -> Array:
        if rows.dtype.kind == "f" and not (np.isfinite(rows) & (rows == np.rint(rows))).all():
            raise UsageError(fault)
        return rows.reshape(-1).astype(np.int64, copy=False)

    if width != 1:
        raise UsageError(fault)
    y = y.changed((), np.dtype(np.int64), whole)
    ends = [(int(each.min()), int(each.max())) for each in (y[a:b] for a, b in pieces(len(y), piece_of([y], READ)))]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < 0:
        raise UsageError(f"{y.name} holds {low}, and classes are numbers from 0")
    return y, high


def _scaled(y: Stored, wanted: Target) -> Stored:
    """Numbers brought to mean 0 and standard deviation 1; classes as they are."""
    if wanted.mean is None:
        return y
    mean, std = wanted.mean, wanted.std
    return y.changed(y.shape[1:], np.dtype(np.float32), lambda rows: ((rows - mean) / std).astype(np.float32))


@check_kinds
def tune_arrays(
    network: Network,
    data: str | Path | Mapping[str, Any],
    *,
    inputs: str | Sequence[str],
    targets: str | Sequence[str],
    until: str | None = None,
    freeze: Sequence[str] = (),
    loss: str | Loss | None = None,
    loss_options: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    optimizer: Optimizer | str = OPTIMIZER,
    epochs: Count = 10,
    batch_size: Count = 32,
    window: Count | None = None,
    validation: BelowOne = 0.1,
    patience: Natural | None = None,
    labels: Sequence[str] = (),
    seed: Natural = 0,
    metrics_csv: str | Path | None = None,
    plot: str | Path | None = None,
    progress: bool | None = None,
    **others: Unpack[FitOptions],
) -> Classifier:
    """Train a copy of a network further on arrays of a file, which may be larger than memory.

    Args:
        network: the network to begin with: one input, and one output of classes or of numbers.
        data, inputs, targets: as ``train_arrays`` takes them. Targets are class numbers from 0, or as many numbers as
            the output has, in its units.
        until: the value after which a new dense layer takes the place of what follows (see ``Network.until``), for the
            classes that the data have; ``"-1"`` for the input of the last linear layer, whose place it takes.
        freeze: the parameters that are not trained (see ``Network.freeze``), by the names that ``network`` has.
        loss: by default the one that the network says it was trained with, or the usual one of its output.
        labels: the names of the classes of a new head.
        window, validation: as ``train_arrays`` takes them.

    All else is as ``train_classifier`` takes it.

    Raises:
        DataError: the data cannot be read, or there are not as many examples in each array.
        UsageError: invalid arguments, or data that do not fit the network.
        TrainingError: the loss is NaN or infinite.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
    """
    loss = loss_of_tuning(network, until, loss, loss_options)
    network = steps_inside(network)
    x, y = _pair(data, inputs, targets)
    x = _laid_out(x, network)
    body = body_of(network, loss, until=until, freeze=freeze, labels=labels)
    if until:
        body, y = _with_head(body, y, labels, seed)
    else:
        y = _targets(body, y, find_loss(loss))
        body.rng = np.random.default_rng(seed)
    train, held = divided([x, y], validation, seed)
    is_of_classes = y.dtype.kind == "i"
    history = body.fit(
        train.of(x),
        train.of(y),
        loss=loss,
        validation=(held.of(x), held.of(y)) if len(held) else None,
        metrics=(["accuracy"] if is_of_classes and len(held) else []) if metrics is None else metrics,
        early_stopping=patience,
        **passed_on(locals()),
    )
    return Classifier(body, history)


def _laid_out(x: Stored, network: Network) -> Stored:
    """The examples in the shape of the input. Raises ``UsageError`` where they do not fit it."""
    shape = static(network.graph.inputs[0].shape[1:])
    if shape is None or x.shape[1:] == shape:
        return x
    try:
        lay_out(np.zeros((1, *x.shape[1:]), np.float32), shape)
    except ValueError as error:
        raise UsageError(f"{x.name} does not fit the network: {error}") from None
    return x.changed(shape, x.dtype, lambda rows: lay_out(rows, shape))


def _with_head(body: Network, y: Stored, labels: Sequence[str], seed: int) -> tuple[Network, Stored]:
    """The network with a new layer for the classes of the data, and these."""
    [value] = body.graph.outputs
    if len(body.types[value].shape) != 2:
        raise UsageError(f"until must be a value of rows, and '{value}' is {format_shape(body.types[value].shape)}")
    y, high = class_range(y, 1)
    labels = labels or labels_said(y, high, None)
    count = max(high + 1, len(labels))
    check_labels(labels, count, "class", " of the data")
    return Sequential(body, Dense(count), labels=labels or list(map(str, range(count))), seed=seed), y


def _targets(network: Network, y: Stored, loss: Loss) -> Stored:
    """The targets as ``loss`` takes them: class numbers, or numbers in the shape of the output."""
    [name] = network.graph.outputs
    shape = network.types[name].shape
    width = math.prod(y.shape[1:])
    if loss.classes:
        y, high = class_range(_numbered(y, ClassFinder(network.labels)) if width == 1 else y, width)
        if isinstance(shape[-1], int) and high >= max(shape[-1], 2):
            raise UsageError(f"{y.name} holds the class {high}, and the network has {quantity(shape[-1], 'class')}")
        return y
    numbers = shape[-1] // 2 if loss.name == "gaussian" and isinstance(shape[-1], int) else shape[-1]
    if width != numbers:
        raise UsageError(
            f"{y.name} has {quantity(width, 'number')} for each example, and the network predicts {numbers}"
        )
    return y.changed((width,), np.dtype(np.float32), lambda rows: rows.reshape(len(rows), -1).astype(np.float32))


def _numbered(y: Stored, find: ClassFinder) -> Stored:
    """Class numbers; where numbers name the classes, those of the classes that ``y`` names, and others are refused."""

    def numbers(rows: Array) -> Array:
        found = find.of(labels := rows.reshape(-1).tolist())
        if found.min() < 0:
            raise UsageError(
                f"{y.name} holds {labels[found.argmin()]:g}, and the network's classes are {some(find.classes)}"
            )
        return found

    return y.changed((), np.dtype(np.int64), numbers) if find.numbered else y
