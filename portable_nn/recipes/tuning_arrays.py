"""A trained network, trained further on named arrays of any size: ``tune MODEL data.h5 --inputs x --target y``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from portable_nn.core.arguments import check_kinds
from portable_nn.core.defaults import OPTIMIZER
from portable_nn.core.dims import static
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import BelowOne, Count, Natural
from portable_nn.core.text import quantity
from portable_nn.data.apart import divided
from portable_nn.data.stored import Stored
from portable_nn.layers import Dense
from portable_nn.network import Network, Sequential
from portable_nn.network.preparing import steps_inside
from portable_nn.preprocessing.applying import lay_out
from portable_nn.recipes.arrays import class_range, named_arrays
from portable_nn.recipes.classifier import Classifier, check_labels, passed_on
from portable_nn.recipes.tuning import body_of, loss_of_tuning
from portable_nn.training.fit import FitOptions
from portable_nn.training.losses import Loss, find_loss
from portable_nn.training.metrics import Metrics
from portable_nn.training.optimizers import Optimizer

__all__ = ["tune_arrays"]


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
    x, y = named_arrays(data, inputs), named_arrays(data, targets)
    if len(x) != len(y):
        raise UsageError(f"{x.name} has {quantity(len(x), 'example')}, but {y.name} has {len(y):,}")
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
    count = max(high + 1, len(labels))
    check_labels(labels, count, "class", " of the data")
    return Sequential(body, Dense(count), labels=labels or list(map(str, range(count))), seed=seed), y


def _targets(network: Network, y: Stored, loss: Loss) -> Stored:
    """The targets as ``loss`` takes them: class numbers, or numbers in the shape of the output."""
    [name] = network.graph.outputs
    shape = network.types[name].shape
    width = math.prod(y.shape[1:])
    if loss.classes:
        y, high = class_range(y, width)
        if isinstance(shape[-1], int) and high >= max(shape[-1], 2):
            raise UsageError(f"{y.name} holds the class {high}, and the network has {quantity(shape[-1], 'class')}")
        return y
    numbers = shape[-1] // 2 if loss.name == "gaussian" and isinstance(shape[-1], int) else shape[-1]
    if width != numbers:
        raise UsageError(
            f"{y.name} has {quantity(width, 'number')} for each example, and the network predicts {numbers}"
        )
    return y.changed((width,), np.dtype(np.float32), lambda rows: rows.reshape(len(rows), -1).astype(np.float32))
