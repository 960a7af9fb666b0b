"""A trained network, trained further on other examples: what ``portable-nn tune MODEL data.csv`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.dims import static
from portable_nn.core.errors import DataError, DataWarning, UsageError, warn
from portable_nn.core.graph import format_shape
from portable_nn.core.names import Prepare
from portable_nn.core.numbers import BelowOne, Natural
from portable_nn.core.text import quantity, some
from portable_nn.data.apart import split
from portable_nn.data.dataset import Dataset
from portable_nn.data.frames import Dialect, read_frame
from portable_nn.data.rows import TableRows
from portable_nn.data.tables import whole
from portable_nn.engines.ranges import ranges
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.format.meaning import OutputInfo
from portable_nn.layers import Dense, Flatten, GlobalAvgPool, GlobalMaxPool, Layer
from portable_nn.network import Network, Sequential
from portable_nn.network.heads import global_pool
from portable_nn.network.preparing import steps_inside
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.applying import lay_out
from portable_nn.preprocessing.defaults import is_digit
from portable_nn.preprocessing.steps import pictorial
from portable_nn.recipes.classifier import Classifier, check_finite, check_labels, check_pixels, classes, fit_classes
from portable_nn.recipes.digits import digit_steps
from portable_nn.training.losses import Loss, find_loss, usual_losses, with_options


@check_kinds
def tune_classifier(
    network: Network,
    data: Dataset,
    *,
    until: str | None = None,
    freeze: Sequence[str] = (),
    loss: str | Loss | None = None,
    loss_options: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    preprocess: Prepare | None = None,
    validation: BelowOne = 0.1,
    seed: Natural = 0,
    **options: Any,
) -> Classifier:
    """Train a copy of a classifier further.

    Args:
        network: the network to begin with: one input, and one output with a number for each class. A last Softmax is
            dropped, because the loss has one inside: the outputs are then logits.
        data: the examples, as ``read_dataset`` gives them. Their labels are names or numbers of its classes.
        until: the value after which a new dense layer takes the place of what follows (see ``Network.until``), for the
            classes that the data have; ``"-1"`` for the input of the last linear layer, whose place it takes. Before
            it maps are flattened, or averaged where the network has a global pool in what is cut off.
        freeze: the parameters that are not trained (see ``Network.freeze``), by the names that ``network`` has.
        loss: as ``train_classifier`` takes it; by default the one that the network says it was trained with, or
            ``cross_entropy`` where it says none or ``until`` is given.
        labels: the names of the classes of a new head.
        preprocess: ``none``: the data are what the graph of the network takes: they need not be pixels, and what an
            older file lists as steps of preprocessing has been done. ``digits``, for rows of 784 pixels, finds the
            digits in photographs, whatever the network did before.

    All else is as ``train_classifier`` takes it.

    Raises:
        UsageError: invalid arguments, or data that do not fit the network.
        TrainingError: the loss is NaN or infinite.
        FileError: a file cannot be written, or there is no checkpoint to resume from.
    """
    loss = loss_of_tuning(network, until, loss, loss_options)
    raw = preprocess == "none"
    if not raw:
        network = steps_inside(network)
    x = _fitting(network, data.x, raw)
    body, targets = adapted(network, data.y, x[0].size, loss, until=until, freeze=freeze, labels=labels, seed=seed)
    if preprocess == "digits":
        steps = digit_steps(x, len(body.labels), preprocess)
        body.inputs = (replace(body.inputs[0], kind="image", preprocessing=steps),)
    train, held_out = split(len(x), validation, seed)
    parts = [(x[part], targets[part]) for part in (train, held_out)]
    history = fit_classes(body, *parts, loss=loss, **options)
    return Classifier(_described(steps_inside(body), x), history)


def adapted(
    network: Network,
    y: Array | None,
    width: int,
    loss: str | Loss,
    *,
    until: str | None,
    freeze: Sequence[str],
    labels: Sequence[str],
    seed: int,
) -> tuple[Network, Array]:
    """A copy that is ready to be trained, with a new head where ``until`` says so, and the class of each example.

    ``width`` is the size of an example; all else is as ``tune_classifier`` takes it.
    """
    body = body_of(network, loss, until=until, freeze=freeze, labels=labels)
    if until:
        count = class_count(y)
        targets, names = classes(y, count, width)
        check_labels(labels, count, "class", " of the data")
        return Sequential(body, *_head(network, body, count), labels=labels or names, seed=seed), targets
    targets = _name_classes(body, y, width)
    body.rng = np.random.default_rng(seed)
    return body, targets


def table_examples(network: Network, source: Any, dialect: Dialect, target: str | None = None) -> Dataset:
    """The rows of a table with named columns as ``network``, which was trained on such a table, takes them, and the
    classes in the column ``target``, by default the one that it predicts.

    Raises ``DataError`` for rows that cannot be used, ``UsageError`` where the column that is predicted is not there or
    holds numbers.
    """
    [info], [output] = network.inputs, network.outputs
    if output.kind not in ("logits", "binary_logits", "probabilities"):
        raise UsageError(f"tune is for classes, and this network predicts {output.target or 'numbers'}: train anew")
    rows = TableRows.of(read_frame(source, **vars(dialect)), info.columns, [target or output.target])
    for place, fault in rows.faults.items():
        more = f" (and {quantity(len(rows.faults) - 1, 'other row')})" if len(rows.faults) > 1 else ""
        raise DataError(rows.frame.row(place), fault + more)
    if rows.labels is None:
        raise UsageError(f"{rows.frame.where} has no column '{target or output.target}', which the network predicts")
    if None in rows.labels:
        raise DataError(
            rows.frame.row(rows.labels.index(None)), f"there is no value in column '{target or output.target}'"
        )
    return Dataset(rows.x, np.array(rows.labels, object))


def _described(network: Network, x: Array) -> Network:
    """``network``, which was trained on ``x``, with how pictures become such examples, where it does not say that.

    Otherwise ``predict`` would scale pictures, as models in general want it, for a network that has learned from pixels
    as they are. Warns with ``DataWarning`` where nothing says what the network takes.
    """
    [info], shape = network.inputs, tuple(x.shape[1:])
    are_pixels = info.preprocessing == () and x.min() >= 0 and 1 < x.max() <= 255 and bool((x == np.round(x)).all())
    if not are_pixels:
        return network
    if is_digit(shape):
        steps = digit_steps(x, len(network.labels), None)
        network.inputs = (replace(info, kind="image", preprocessing=steps),)
        way = "the network does not say what it takes: if it was trained on 0 to 1, divide them by 255 first"
    else:
        way = (
            "predict scales pictures to 0 to 1 for a model that says nothing of them: begin it with "
            "Rescaling(1 / 255), or give predict arrays"
        )
    if (is_digit(shape) or (len(shape) == 3 and shape[0] == 3)) and not ranges(network.graph, network.parameters):
        warn(f"the examples are pixels from 0 to {x.max():g}, but {way}", DataWarning)
    return network


def _fitting(network: Network, x: Array, raw: bool) -> Array:
    """The examples in the shape of the input."""
    if pictorial(network.inputs[0].preprocessing) and not raw:
        check_pixels(x, "the network takes")
    shape = static(network.graph.inputs[0].shape[1:])
    if shape is None:
        return x
    try:
        x = lay_out(np.asarray(x, np.float32), shape)
    except ValueError as error:
        raise UsageError(f"the data do not fit the network: {error}") from None
    # Tables may have gaps: fit knows in which columns.
    return x if network.inputs[0].columns else check_finite(x)


OLD_NAMES: Final = "the classes of a trained network have their names: others are for a new head, which until= asks for"


def loss_of_tuning(
    network: Network, until: str | None, loss: str | Loss | None, options: Mapping[str, Any] | None
) -> Loss:
    """The loss by which a network is trained further; by default its own, or that of a new head for classes.

    Raises ``UsageError`` for a network of several inputs or outputs, and for options that the loss does not have.
    """
    if (len(network.inputs), len(network.outputs)) != (1, 1):
        found = f"{quantity(len(network.inputs), 'input')} and {quantity(len(network.outputs), 'output')}"
        raise UsageError(f"only a network with one input and one output can be tuned: this has {found}")
    if loss is None:
        loss = find_loss("cross_entropy") if until else usual_losses(network.outputs)[network.outputs[0].name]
    return with_options(loss, options or {})


def body_of(
    network: Network, loss: str | Loss, *, until: str | None, freeze: Sequence[str], labels: Sequence[str]
) -> Network:
    """The part of a network that is trained on, with what is frozen. Raises ``UsageError`` for new names."""
    if labels and not until:
        raise UsageError(OLD_NAMES)
    body = network.until(until) if until else for_loss(network, loss)
    if freeze:
        body.freeze(*freeze)
    return body


def for_loss(network: Network, loss: str | Loss) -> Network:
    """A copy, without a Softmax at the end where the loss has one inside."""
    (name,) = network.graph.outputs
    last = next((node for node in network.graph.nodes if name in node.outputs), None)
    if last is None or last.operator != "Softmax" or find_loss(loss).inside != "Softmax":
        return network.until(name)
    body = network.until(last.inputs[0])
    body.outputs = (OutputInfo(last.inputs[0], "logits", network.labels),)
    return body


def _head(network: Network, body: Network, count: int) -> list[Layer]:
    """The layers from the output of ``body`` to ``count`` classes: maps are pooled where ``network`` pools them."""
    [value] = body.graph.outputs
    if len(body.types[value].shape) <= 2:
        return [Dense(count)]
    pool = global_pool(network.graph, value)
    pools = [] if pool is None else [GlobalAvgPool() if pool == "mean" else GlobalMaxPool()]
    return [*pools, Flatten(), Dense(count)]


def class_count(y: Array | None) -> int:
    """The number of classes of the labels."""
    if y is None:
        return 0
    return y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else len(np.unique(y))


def _name_classes(network: Network, y: Array | None, width: int) -> Array:
    """The class number of each example; classes without names get those in the data."""
    (name,) = network.graph.outputs
    shape = network.types[name].shape
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise UsageError(f"output '{name}' is {format_shape(shape)}, and not (batch, classes): until can cut before it")
    if network.labels and y is not None and y.size == len(y):
        labels = whole(y.reshape(-1)).tolist()
        numbers = ClassFinder(network.labels).of(labels)
        if strange := dict.fromkeys(str(label) for label, number in zip(labels, numbers, strict=True) if number < 0):
            way = "until -1 (until='-1') gives it a new last layer for those of the data"
            raise UsageError(
                f"the data have other classes, {some(strange)}, than the network, {some(network.labels)}: {way}"
            )
        return numbers
    targets, names = classes(y, shape[1], width)
    if not network.labels:
        network.outputs = (replace(network.outputs[0], labels=tuple(names)),)
    return targets
