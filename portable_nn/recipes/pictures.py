"""Networks for labelled pictures: what ``train cnn folder/`` makes, and ``tune MODEL folder/``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.dims import static
from portable_nn.core.errors import DataError, DataWarning, UsageError, warn
from portable_nn.core.names import Prepare
from portable_nn.core.numbers import BelowOne, Natural
from portable_nn.core.text import quantity, several, some
from portable_nn.data.apart import divided as divided_in_blocks
from portable_nn.data.apart import split
from portable_nn.data.augment import RandomAffine
from portable_nn.data.batches import Bad, Taken
from portable_nn.data.dataset import Dataset
from portable_nn.data.folders import Parts, divided, examples_of, labelled_pictures, look
from portable_nn.data.given import Labelled
from portable_nn.data.picture_batches import picture_steps
from portable_nn.data.stored import Stored, as_stored, piece_of, pieces, rows_of
from portable_nn.engines.ranges import ranges
from portable_nn.format import InputInfo
from portable_nn.layers import BatchNorm2d, Conv2d, Flatten, GlobalAvgPool, Input, Layer, MaxPool2d, Rescaling
from portable_nn.layers.layer import OperatorLayer
from portable_nn.network import Network, Sequential
from portable_nn.network.preparing import steps_inside
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.applying import lay_out, squeezed
from portable_nn.preprocessing.checks import MAX_SIDE
from portable_nn.preprocessing.defaults import DIGIT, DIGITS, PIXELS, SHEET
from portable_nn.preprocessing.steps import ColourStep, GreyscaleStep, Preprocessing, ResizeStep
from portable_nn.recipes.classifier import (
    activation_of,
    check_finite,
    check_labels,
    check_pixels,
    classes,
    fit_classes,
    hidden_layers,
    last_layers,
)
from portable_nn.recipes.digits import LOOKED, digit_steps
from portable_nn.recipes.table import sizes_of
from portable_nn.recipes.tuning import adapted, class_count, loss_of_tuning
from portable_nn.training.history import History
from portable_nn.training.losses import Loss, with_options
from portable_nn.training.optimizers import Adam
from portable_nn.training.schedules import OneCycle

__all__ = ["train_pictures", "tune_pictures"]

COLOURS: Final = 3
"""The channels of a picture in colour."""

IN_MEMORY: Final = 2**28
"""The bytes up to which arrays of pictures are read at once, as float32: MNIST has fewer."""

CNN: Final = "cnn"
"""The word for convolutional layers in place of the sizes of hidden ones."""

FILTERS: Final = (16, 128)
"""The filters of the first convolution, and the most: each has twice as many as the one before it."""

SMALLEST: Final = 4
"""A map with a side below this is not convolved further."""

SHIFT: Final = 0.1
"""The largest shift of a picture that is varied for a network with convolutions, as a share of its shorter side."""

STEPS: Final = 1500
"""The least steps of a training, by default: 10 epochs of few pictures are too few."""


RATE: Final = 0.005
"""The largest learning rate of a convolutional network, by default."""


class Told(NamedTuple):
    """Notes on pictures, those that could not be used in words, those held out, and the classes of those measured."""

    notes: Sequence[str] = ()
    left_out: str = ""
    held_out: Sequence[Labelled] = ()
    measured: Sequence[Any] = ()


class TrainedPictures(NamedTuple):
    """A trained network, how its training went, and what is to be said of the pictures."""

    network: Network
    history: History
    pictures: Told


Examples: TypeAlias = tuple[tuple[Array, Array], Array, Told]
"""Examples to train on and those held out, ``(n, *shape)``, the label of each of both, and what is to be said."""


class _Source(NamedTuple):
    """The shape and steps of pictures, the names of the classes, and what reads the examples."""

    shape: tuple[int, ...]
    steps: Preprocessing
    names: Sequence[str]
    read: Callable[[], Examples]


@check_kinds
def train_pictures(
    layers: str,
    data: str | Path | Sequence[Labelled] | Dataset,
    *,
    activation: str = "relu",
    loss: str | Loss = "cross_entropy",
    loss_options: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    preprocess: Prepare | None = None,
    validation: BelowOne = 0.1,
    seed: Natural = 0,
    **options: Any,
) -> TrainedPictures:
    """Train a new network on labelled pictures.

    Args:
        layers: ``"cnn"``, a small convolutional network: blocks of a 3x3 convolution, batch normalisation, activation
            and 2x2 pool, with 16 filters and twice as many in each further one, at most 128, until a side is below 4;
            then the mean of each map and the layer of the classes. Each time that a picture is used it is turned by up
            to 10°, scaled by up to 15 % and shifted by up to a tenth of its side. Or sizes of dense layers,
            ``"784-200-3"``. The first size says the size of pictures: 784 is 28x28 in grey, 3072 is 32x32 in colour;
            ``auto``, as in ``"auto-200-auto"``, finds it by a look at the pictures. ``"784-cnn-10"`` says it for a
            convolutional network.
        data: a folder with a folder of pictures for each class, which is named like it; or arrays of pictures
            ``(n, height, width)``, in grey, or with three colours as the last axis or the one after the first.
        labels: the names of the classes of arrays.
        preprocess: ``none`` takes the numbers of arrays as they are. Otherwise they are pixels, 0 to 255; ``digits``,
            for pictures of 28x28, is as ``train_classifier`` takes it. Of a folder, ``digits`` brings the drawing in
            each picture, dark or light, to the size and the middle that MNIST's have; it is the default in the
            classes 0 to 9, for 784 inputs and where pictures in grey have their size found. With ``none`` pictures are
            only scaled.
        validation: the share of the pictures, drawn at random within each class of a folder, that is held out; 0 for
            none.

    All else is as ``train_classifier`` takes it; ``epochs`` are by default 10, or as many as 1,500 steps need. Without
    an ``optimizer`` or a ``schedule``, ``cnn`` is trained by ``Adam(0.005)`` with ``OneCycle()``, and without
    ``patience`` the last weights are kept. The size and the colours of the pictures of a folder become the
    preprocessing of the network. Prepared pictures are kept in a temporary file, and read in pieces where they have
    more than 64 MiB; arrays are where they have more than 256 MiB as float32.

    Warns with ``DataWarning`` of pictures that cannot be used, which are left out.

    Raises:
        DataError: a folder that is not as described, or a class of which no picture can be used.
        UsageError, TrainingError, FileError: as ``train_classifier`` does.
    """
    loss = with_options(loss, loss_options or {})
    parts = ["auto", CNN, "auto"] if layers == CNN else layers.split("-")
    is_cnn = parts[1:-1] == [CNN]
    size, *units, count = sizes_of(parts[::2] if is_cnn else parts)
    if isinstance(data, Dataset):
        shape, steps, names, examples = _of_arrays(data, count, validation, seed, preprocess)
    elif labels:
        raise UsageError("labels are for arrays: pictures of a folder have its names")
    else:
        shape, steps, names, examples = _of_folder(data, size, validation, seed, preprocess)
        preprocess = None  # Whatever it says, these are pixels.
    _check_sizes(size, count, shape, names)
    check_labels(labels, len(names), "unit", " of the last layer, one each")
    first: list[Layer] = [] if preprocess == "none" else [Rescaling(1 / 127.5, -1)]
    first += _convolutions(shape, activation) if is_cnn else [Flatten()]
    dense = hidden_layers([] if is_cnn else [each for each in units if each], activation)
    last = last_layers(len(names), activation, loss)
    network = Sequential(Input(*shape), *first, *dense, *last, labels=labels or names, seed=seed)
    network.inputs = (InputInfo(network.inputs[0].name, "tensor" if preprocess == "none" else "image", steps),)
    x, y, told = examples()
    return _fitted(network, x, y, told, loss, _usual(options, len(x[0]), is_cnn))


def _usual(options: dict[str, Any], count: int, is_cnn: bool) -> dict[str, Any]:
    """The options with those that are not given, for so many pictures."""
    usual: dict[str, Any] = {"epochs": max(10, -(-STEPS // -(-count // options.get("batch_size", 32))))}
    if is_cnn and not {"optimizer", "schedule"} & options.keys():
        # The smallest loss on a few pictures that are held out is of an early epoch, by chance.
        usual |= {"optimizer": Adam(RATE), "schedule": OneCycle()}
        options["patience"] = options.get("patience") or 0
    return {**usual, **options}


def _check_sizes(size: int | None, count: int | None, shape: tuple[int, ...], names: Sequence[str]) -> None:
    """Raise ``UsageError`` where the first or the last layer does not fit the pictures or the classes."""
    if size not in (None, math.prod(shape)):
        raise UsageError(f"the first layer has {size} units, but a picture has {quantity(math.prod(shape), 'number')}")
    if count not in (None, len(names)):
        raise UsageError(f"the last layer has {count} units, but there are {len(names)} classes: {some(names)}")


@check_kinds
def tune_pictures(
    network: Network,
    folder: str | Path | Sequence[Labelled],
    *,
    until: str | None = None,
    freeze: Sequence[str] = (),
    loss: str | Loss | None = None,
    loss_options: Mapping[str, Any] | None = None,
    validation: BelowOne = 0.1,
    seed: Natural = 0,
    **options: Any,
) -> TrainedPictures:
    """Train a copy of a classifier further on the pictures of a folder, prepared as the network says.

    Args:
        network: the network to begin with: one input, and one output with a number for each class.
        folder: as ``train_pictures`` takes it. If all classes in it are classes of the network, these stay as they are;
            otherwise a new layer for those of the folder takes the place of the last linear one.
        until: the value after which a new layer is put in any case, as ``tune_classifier`` takes it.
        freeze: the parameters that are not trained.

    All else is as ``train_pictures`` takes it, which says what is raised and warned of.
    """
    files, assumed = divided(_pictures(folder), validation, seed), list[str]()
    if until is None and (new := [name for name in classes_of(files) if name not in network.labels]):
        until, known = "-1", some(network.labels) if network.labels else "none by name"
        assumed.append(f"a new last layer tells them apart, as the model has no class {new[0]}: it has {known}")
    loss = loss_of_tuning(network, until, loss, loss_options)
    network, taken = _for_pictures(network, assumed)
    if until:
        network.until(until)  # A name that is wrong is refused before thousands of pictures are read.
    x, labels, told = _read(files, taken)
    body, y = adapted(network, labels, 0, loss, until=until, freeze=freeze, labels=(), seed=seed)
    return _fitted(body, x, y, told._replace(notes=[*told.notes, *assumed]), loss, options)


def _fitted(
    network: Network, x: Sequence[Array], y: Array, told: Told, loss: str | Loss, options: Mapping[str, Any]
) -> TrainedPictures:
    """The network after training on the first of ``x``, ``(n, …)``, measured on the second; ``y`` is for both."""
    sides = [(x[0], y[: len(x[0])]), (x[1], y[len(x[0]) :])]
    has_places = any(node.operator == "Conv" for node in network.graph.nodes) and x[0].ndim == 4
    if has_places and network.inputs[0].kind == "image":
        height, width = _height_and_width(x[0].shape[1:])
        varied = RandomAffine(height, width, rotation=10, scale=0.15, shift=SHIFT * min(height, width), fill=None)
        options = {"augment": varied, **options}
    return TrainedPictures(network, fit_classes(network, *sides, loss=loss, **options), told)


def _convolutions(shape: tuple[int, ...], activation: str) -> list[Layer]:
    """Convolutions and pools for pictures ``(channels, height, width)`` or with colours last; then rows of features."""
    make, initial = activation_of(activation)
    layers, filters, size = list[Layer](), FILTERS[0], _height_and_width(shape)
    if size != shape[1:]:
        layers = [OperatorLayer("Transpose", "channels", None, perm=[0, 3, 1, 2])]
    side = min(size)
    if side < SMALLEST:
        raise UsageError(f"{CNN} needs pictures of at least {SMALLEST}x{SMALLEST} pixels, not {size[0]}x{size[1]}")
    while side >= SMALLEST:
        layers += [Conv2d(filters, 3, padding=1, weight_initial=initial), BatchNorm2d(), make(), MaxPool2d(2)]
        side, filters = side // 2, min(2 * filters, FILTERS[1])
    return [*layers, GlobalAvgPool(), Flatten()]


def _height_and_width(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Those of pictures ``(channels, height, width)`` or with channels last."""
    return shape[:2] if shape[2] in (1, COLOURS) and shape[0] not in (1, COLOURS) else shape[1:]


def _of_arrays(data: Dataset, count: int | None, validation: float, seed: int, preprocess: Prepare | None) -> _Source:
    shape = _shape_of(data.x.shape[1:])
    x = as_stored(rows_of(data.x, "x"), "x").changed(
        shape, np.dtype(np.float32), lambda rows: lay_out(rows.astype(np.float32), shape)
    )
    y, names = classes(data.y, count or class_count(data.y), math.prod(shape))
    parts = (check_finite(x[start:stop], start) for start, stop in pieces(len(x), piece_of([x])))
    ends = np.array([(part.min(), part.max()) for part in parts])
    if preprocess != "none":
        check_pixels(ends, "pictures have")
    steps = digit_steps(x[:LOOKED], len(names), preprocess) or _steps_for(shape)
    sides, labels = _divided(x, y, validation, seed)
    examples = sides, np.concatenate(labels), Told(measured=list(labels[1]))
    return _Source(shape, () if preprocess == "none" else steps, names, lambda: examples)


def _divided(x: Stored, y: Array, validation: float, seed: int) -> tuple[tuple[Any, Any], list[Array]]:
    """The pictures to train on and those to hold out, and the classes of both.

    Where the pictures need much memory, they are read in pieces, and blocks of them are held out.
    """
    if len(x) * x.row_bytes <= IN_MEMORY:
        train, held_out = split(len(x), validation, seed)
        whole = x[:]
        return (whole[train], whole[held_out]), [y[train], y[held_out]]
    learned, held = divided_in_blocks([x], validation, seed)
    return (learned.of(x), held.of(x)), [each.of(as_stored(y, "y"))[:] for each in (learned, held)]


def _of_folder(
    folder: str | Path | Sequence[Labelled], size: int | None, validation: float, seed: int, preprocess: Prepare | None
) -> _Source:
    files = divided(_pictures(folder), validation, seed)
    names = classes_of(files)
    are_digits = tuple(names) == tuple(DIGITS) and preprocess is None
    shape = _shape_in(PIXELS if size is None and preprocess == "digits" else size, files[0], are_digits=are_digits)
    asked: Prepare = "digits" if are_digits and math.prod(shape) == PIXELS else preprocess or "none"
    steps = digit_steps(np.empty((1, *shape)), len(names), asked) or _steps_for(shape)
    made = DIGIT if steps == SHEET else steps  # Who made a folder has cut out each digit.

    def read() -> Examples:
        x, labels, told = _read(files, Taken(shape, made, "image"))
        note = f"{made[-1]}, in {'grey' if shape[0] == 1 else 'colour'}"
        note += "; --preprocess digits finds digits in photographs" * (are_digits and asked == "none")
        return x, classes(labels, len(names), 0)[0], told._replace(notes=[*told.notes, note])

    return _Source(shape, steps, names, read)


def _shape_of(found: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a picture for a network; rows of as many numbers as a square has are one in grey."""
    grey = squeezed(found) if len(found) != 1 else (math.isqrt(found[0]),) * 2
    if len(grey) == 2 and math.prod(grey) == math.prod(found):
        return (1, *grey)
    if len(found) == 3 and COLOURS in (found[0], found[2]):
        return found
    raise UsageError(
        f"expected pictures (n, height, width), with 3 colours (n, height, width, 3) or (n, 3, height, width), or rows "
        f"of as many numbers as a square has, found examples of shape {found}"
    )


def _steps_for(shape: tuple[int, ...]) -> Preprocessing:
    """The steps from any picture to examples of this shape; none where the colours come first, as predict knows it."""
    if shape[0] == 1:
        return (GreyscaleStep(), ResizeStep(shape[1], shape[2]))
    return (ColourStep(), ResizeStep(shape[0], shape[1])) if shape[2] == COLOURS else ()


def _shape_in(size: int | None, pictures: Sequence[Labelled], *, are_digits: bool) -> tuple[int, ...]:
    """The shape of a square of so many numbers; ``None`` has it found in pictures: digits in grey are 28x28."""
    if size is None:
        side, in_colour = look(pictures)
        if are_digits and not in_colour:
            side = math.isqrt(PIXELS)
    else:
        in_colour = math.isqrt(size) ** 2 != size
        side = math.isqrt(size // COLOURS if in_colour else size)
        if size != side**2 * (COLOURS if in_colour else 1) or not 2 <= side <= MAX_SIDE:
            raise UsageError(
                f"the first layer has {size} units, which is no square of 2 to {MAX_SIDE} pixels a side: 28x28 has "
                "784, in colour 2352; auto finds a size"
            )
    return (side, side, COLOURS) if in_colour else (1, side, side)


def _pictures(folder: str | Path | Sequence[Labelled]) -> Sequence[Labelled]:
    return labelled_pictures(folder) if isinstance(folder, str | Path) else folder


def classes_of(files: Parts) -> list[str]:
    """The names of the classes."""
    return sorted({each.label for part in files for each in part})


def _read(files: Parts, taken: Taken) -> Examples:
    """The examples that pictures become for a model. Raises ``DataError`` where a class has none to learn from."""
    left_out, folder = list[Bad](), files[0][0].path.parent.parent
    (train, labels), (held_out, others) = (examples_of(part, taken, left_out) for part in files)
    names = classes_of(files)
    if missing := sorted(set(names).difference(labels)):
        own = [f"{each.name}: {each.reason}" for each in left_out if Path(each.name).parent.name == missing[0]]
        why = several(own) or "all of them are held out"
        raise DataError(folder, f"there is no picture of the class {missing[0]} to learn from: {why}")
    count = quantity(len(files[0]) + len(files[1]), "picture")
    reasons = several([f"{each.name}: {each.reason}" for each in left_out])
    fault = f"of {count}, {len(left_out):,} cannot be used: {reasons}" if left_out else ""
    if fault:
        warn(fault, DataWarning)
    told = Told([f"{folder}: {count} of {len(names)} classes, {some(names)}"], fault, files[1], others)
    return (train, held_out), np.array([*labels, *others]), told


def _for_pictures(network: Network, assumed: list[str]) -> tuple[Network, Taken]:
    """A copy that takes what steps for pictures give, and what that is; steps that it does not say are ``assumed``."""
    [name] = network.graph.outputs
    [info], [value] = network.inputs, network.graph.inputs
    largest = [float(each.high.max()) for each in ranges(network.graph, network.parameters).values()]
    taken = Taken(
        static(value.shape[1:]) or (), info.preprocessing, info.kind, largest[0] if largest else None, info.columns,
        dtype=value.dtype,
    )  # fmt: skip
    network = network.until(name)
    network.inputs = (replace(info, kind="image", preprocessing=picture_steps(taken, assumed)),)
    network = steps_inside(network)
    [info], [value] = network.inputs, network.graph.inputs
    return network, Taken(static(value.shape[1:]) or (), info.preprocessing, "image", dtype=value.dtype)
