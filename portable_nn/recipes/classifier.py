"""A network of dense layers for labelled examples: what ``portable-nn train 784-200-10 data.csv`` makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Unpack

import numpy as np

from portable_nn import layers as pnn_layers
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import PortableNNWarning, UsageError, warn
from portable_nn.core.names import ACTIVATIONS, OPTIMIZER, Prepare
from portable_nn.core.numbers import BelowOne, Count, Natural
from portable_nn.core.text import quantity
from portable_nn.data.apart import split
from portable_nn.data.dataset import Dataset
from portable_nn.data.tables import whole
from portable_nn.format import InputInfo
from portable_nn.layers import Dense, Input, Layer, Normalization, Rescaling, Sigmoid
from portable_nn.network import Network, Sequential
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.defaults import BOOK, PIXELS
from portable_nn.recipes.digits import ENOUGH, digit_steps, reads_digits, set_threshold
from portable_nn.training.fit import FitOptions
from portable_nn.training.history import History
from portable_nn.training.losses import Loss, find_loss, with_options
from portable_nn.training.metrics import Metrics
from portable_nn.training.optimizers import Optimizer

__all__ = ["train_classifier"]

PASSED: Final = ("optimizer", "epochs", "batch_size", "window", "metrics_csv", "plot", "progress")
"""The arguments of recipes that are those of ``fit``."""


def passed_on(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``fit`` among the arguments of a recipe, by their names."""
    return {**{name: given[name] for name in PASSED if name in given}, **given["others"]}


class Classifier(NamedTuple):
    """A trained network and how its training went."""

    network: Network
    history: History


@check_kinds
def train_classifier(
    layers: str | Sequence[int],
    data: Dataset,
    *,
    activation: str = "sigmoid",
    loss: str | Loss = "cross_entropy",
    loss_options: Mapping[str, Any] | None = None,
    metrics: Metrics = None,
    optimizer: Optimizer | str = OPTIMIZER,
    epochs: Count = 10,
    batch_size: Count = 32,
    validation: BelowOne = 0.1,
    patience: Natural | None = None,
    labels: Sequence[str] = (),
    preprocess: Prepare | None = None,
    standardise: bool = False,
    seed: Natural = 0,
    metrics_csv: str | Path | None = None,
    plot: str | Path | None = None,
    progress: bool | None = None,
    **others: Unpack[FitOptions],
) -> Classifier:
    """Train a network of dense layers as a classifier.

    Args:
        layers: the sizes from the input to the number of classes: ``"784-200-10"`` or ``[784, 200, 10]``.
        data: the examples, as ``read_dataset`` gives them; each is laid out as one row of numbers. Their labels are
            class numbers from 0, or as many different values as there are classes, which then become the labels.
        activation: the activation between the layers: ``sigmoid``, ``tanh`` or ``relu``.
        loss: ``cross_entropy`` or ``focal``, ``hinge`` or ``kl_divergence``; ``binary_cross_entropy`` for each class on
            its own; ``mean_squared_error`` of a sigmoid to 0.01 and 0.99, as in T. Rashid's book, and likewise
            ``mean_absolute_error`` and ``huber``. Or one with options, such as ``CrossEntropy("balanced")``.
        loss_options: options that go before those of the loss, such as ``{"label_smoothing": 0.1}``.
        metrics: what is measured after each epoch, as ``fit`` takes it; by default ``accuracy``, where examples are
            held out.
        optimizer: an ``Optimizer`` or its name.
        epochs: how many times every example is seen.
        batch_size: examples a step.
        validation: the share of the examples, drawn at random, that is held out to measure by; 0 for none.
        patience: stop after so many epochs without a smaller validation loss, and keep the best weights; by default a
            fifth of the epochs, at least 10, and all with a schedule. With 0, all are run and the last weights kept.
        labels: the names of the classes.
        preprocess: ``none`` takes the numbers as they are; it is the default for rows of 784 numbers from -1 to
            1. Others of 784 are pixels, 0 to 255, and begin with ``Rescaling`` to 0.01 to 1. ``digits`` finds the
            digits in photographs; it is the default for ten classes of pictures that are laid out as in MNIST.
            ``predict`` then answers ``"?"`` below a probability that at most 2 % of the digits that are held out do not
            have.
        standardise: begin with ``Normalization``, which brings each column of the training examples to mean 0 and
            standard deviation 1.
        seed: the seed of the initial weights, the split and the shuffling.
        metrics_csv: a file that gets a row after each epoch.
        plot: a picture (.png, .svg or .pdf) of loss, metrics and learning rate by epoch.
        progress: show a bar on stderr; by default where that is a terminal.
        others: ``train_metrics``, ``schedule``, ``groups``, ``clip_norm``, ``accumulate`` and ``average``, and for
            checkpoints ``checkpoint``, ``every``, ``keep`` and ``resume``: as ``fit`` takes them.

    What prepares the numbers becomes the first layer of the network, which is never trained: it takes rows such as
    those of ``data``. Ctrl-C stops, and keeps what was learned.

    Raises:
        UsageError: invalid arguments, sizes that do not fit the data, data without labels, or checkpoints of
            another training.
        TrainingError: the loss is NaN or infinite.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
    """
    loss = with_options(loss, loss_options or {})
    sizes = parse_layers(layers) if isinstance(layers, str) else list(layers)
    x = _check_examples(data, sizes[0])
    targets, names = classes(data.y, sizes[-1], sizes[0])
    check_labels(labels, sizes[-1], "unit", " of the last layer, one each")
    train, held_out = split(len(x), validation, seed)
    if preprocess and standardise:
        raise UsageError("preprocess (--preprocess) or standardise (--standardise), not both")
    if preprocess is None and x[0].size == PIXELS and not standardise and -1 <= x.min() <= x.max() <= 1:
        preprocess = "none"
        warn(f"rows of {PIXELS} numbers from {x.min():g} to {x.max():g} are taken as they are", PortableNNWarning)
    steps = () if standardise else digit_steps(x, sizes[-1], preprocess)
    first = [Normalization().adapt(x[train])] if standardise else _scaling(x) if steps else []
    network = build_classifier(sizes, activation, loss, labels=labels or names, first=first, seed=seed)
    if first:
        network.inputs = (InputInfo(network.inputs[0].name, "table" if standardise else "image", steps),)
    history = fit_classes(
        network,
        (x[train], targets[train]),
        (x[held_out], targets[held_out]),
        loss=loss,
        metrics=metrics,
        patience=patience,
        **passed_on(locals()),
    )
    return Classifier(network, history)


@check_kinds
def fit_classes(
    network: Network,
    train: tuple[Array, Array],
    held_out: tuple[Array, Array],
    *,
    loss: str | Loss,
    metrics: Metrics = None,
    optimizer: Optimizer | str = OPTIMIZER,
    patience: Natural | None = None,
    **options: Any,
) -> History:
    """Train ``network`` on examples and class numbers, and measure it on others, if any; options are those of ``fit``.

    Examples in memory maps are read in pieces where they are many.
    """
    count = int(network.types[network.graph.outputs[0]].shape[-1])
    (x, y), validation = ((x, y if find_loss(loss).classes else _one_hot(y, count, loss)) for x, y in (train, held_out))
    history = network.fit(
        x,
        y,
        loss=loss,
        optimizer=optimizer,
        validation=validation if len(validation[0]) else None,
        metrics=(["accuracy"] if len(validation[0]) else []) if metrics is None else metrics,
        early_stopping=patience,
        **options,
    )
    if len(validation[0]) >= ENOUGH and reads_digits(network):
        set_threshold(network, network.predict(validation[0][:]))
    return history


def parse_layers(text: str) -> list[int]:
    """``"784-200-10"`` as numbers. Raises ``UsageError`` for anything else."""
    if not re.fullmatch(r"[1-9]\d{0,8}(-[1-9]\d{0,8})+", text):
        raise UsageError(
            f"layers must be two or more sizes with hyphens between them, such as 784-200-10, not '{text}'"
        )
    return [int(size) for size in text.split("-")]


def build_classifier(
    sizes: Sequence[int],
    activation: str = "sigmoid",
    loss: str | Loss = "cross_entropy",
    *,
    labels: Sequence[str] = (),
    first: Sequence[Layer] = (),
    seed: Natural = 0,
) -> Network:
    """The untrained network: dense layers of ``sizes``, and a sigmoid at the end where the loss is one of numbers.

    ``first`` are layers that prepare the inputs.

    Raises ``UsageError`` for an unknown activation or fewer than two classes, and for a loss of variances.
    """
    last = last_layers(sizes[-1], activation, loss)
    return Sequential(Input(sizes[0]), *first, *hidden_layers(sizes[1:-1], activation), *last, labels=labels, seed=seed)


def last_layers(count: int, activation: str, loss: str | Loss) -> list[Layer]:
    """The layers that end with so many classes. Raises ``UsageError`` as ``build_classifier`` does."""
    if find_loss(loss).name == "gaussian":
        raise UsageError("loss 'gaussian' is for numbers, and these are classes")
    if count < 2:
        raise UsageError(f"the last layer needs a unit for each class, at least 2, not {count}")
    _, initial = activation_of(activation)
    return [Dense(count, weight_initial=initial), *([Sigmoid()] if _is_of_numbers(loss) else [])]


def hidden_layers(sizes: Sequence[int], activation: str) -> list[Layer]:
    """Dense layers, each with the activation after it. Raises ``UsageError`` for an unknown one."""
    make, initial = activation_of(activation)
    return [layer for size in sizes for layer in (Dense(size, weight_initial=initial), make())]


def activation_of(name: str) -> tuple[Callable[[], Layer], str]:
    """The layer of an activation, and the initializer of weights before it. Raises ``UsageError`` for others."""
    if name not in ACTIVATIONS:
        raise UsageError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    layer, initial = ACTIVATIONS[name]
    return getattr(pnn_layers, layer), initial


def check_labels(labels: Sequence[str], count: int, thing: str, of: str = "") -> None:
    """Raise ``UsageError`` unless there are as many labels as things to name, or none."""
    if labels and len(labels) != count:
        raise UsageError(
            f"{quantity(len(labels), 'label')} cannot name {'the ' * bool(of)}{quantity(count, thing)}{of}"
        )


def _check_examples(data: Dataset, width: int) -> Array:
    """The examples as rows ``(n, width)`` float32."""
    x = np.asarray(data.x, np.float32).reshape(len(data.x), -1)
    if x.shape[1] != width:
        raise UsageError(
            f"the first layer has {quantity(width, 'unit')}, but an example has {quantity(x.shape[1], 'number')}"
        )
    return check_finite(x)


def check_finite(x: Array, first: int = 0) -> Array:
    """``x``, (n, …), from the example ``first`` on. Raises ``UsageError`` for an example that is not finite."""
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise UsageError(
            f"example {first + finite.argmin()} (from 0) holds NaN, infinity or a number that is too large"
        )
    return x


def classes(y: Array | None, count: int, width: int) -> tuple[Array, list[str]]:
    """The class number of each example, and the names of the classes: the values in the data, or the numbers."""
    if y is None:
        where = f"in CSV they come first in each row, before the {quantity(width, 'number')} of an example"
        beside = "in npz and HDF5 they are y beside x, or what --inputs and --target name (inputs=, targets=)"
        raise UsageError(f"the data have no labels: {where}; {beside}; or give them in a file of their own")
    if y.ndim == 2 and y.shape[1] == count > 1:
        y = y.argmax(axis=1)
    y = y.reshape(len(y), -1)
    if y.shape[1] != 1:
        raise UsageError(
            f"the last layer has {quantity(count, 'unit')}, but each example is labelled by "
            f"{quantity(y.shape[1], 'number')}"
        )
    y = whole(y)
    values, numbers = np.unique(y[:, 0], return_inverse=True)
    if values.dtype.kind in "bui" and values[0] >= 0 and values[-1] < count:
        return y[:, 0].astype(np.int64), [str(number) for number in range(count)]
    if len(values) != count:
        some = ", ".join(map(str, values[:5])) + (", …" if len(values) > 5 else "")
        raise UsageError(
            f"the last layer has {quantity(count, 'unit')}, but the data have {quantity(len(values), 'class')}: {some}"
        )
    return numbers.astype(np.int64), [str(value) for value in values]


def _scaling(x: Array) -> list[Layer]:
    """The layer that scales pixels. Raises ``UsageError`` for what cannot be pixels."""
    check_pixels(x, f"rows of {PIXELS} numbers are taken for")
    return [Rescaling(*BOOK)]


def check_pixels(x: Array, what: str) -> None:
    """Raise ``UsageError`` unless the numbers can be pixels, 0 to 255; ``what`` says why they should be."""
    low, high = float(x.min()), float(x.max())
    if low < 0 or not 1 < high <= 255:
        raise UsageError(f"{what} pixels, 0 to 255, found {low:g} to {high:g}: preprocess none takes them as they are")


def _is_of_numbers(loss: str | Loss) -> bool:
    found = find_loss(loss)
    return not (found.classes or found.inside)


def _one_hot(targets: Array, count: int, loss: str | Loss) -> Array:
    """Class numbers → ``(n, count)``, 1 at the class; for a loss of numbers 0.01 and 0.99, which a sigmoid reaches."""
    ones = np.eye(count, dtype=np.float32)[targets]
    return ones * np.float32(0.98) + np.float32(0.01) if _is_of_numbers(loss) else ones
