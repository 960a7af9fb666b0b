"""The recipe of ``digits-mlp``."""

from __future__ import annotations

from typing import Final, Unpack

import portable_nn as pnn
from portable_nn.models.recipes import Digits, Trained, load_digits, train_on_digits
from portable_nn.models.unlike import further
from portable_nn.training.checkpoint import CheckpointOptions

EPOCHS: Final = 100

PRINTED: Final = 4000
"""The number of printed digits that are learned from."""

THRESHOLD: Final = 0.5
"""The probability that a digit must have: what stays below is no digit, or cannot be read."""


def train(
    digits: Digits | None = None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: bool | None = None,
    **checkpoints: Unpack[CheckpointOptions],
) -> Trained:
    """Train the 784-200-10 network of T. Rashid, *Make Your Own Neural Network* (2016), on 4,000 MNIST pictures.

    As in the book: sigmoid hidden units, first weights normal(0, fan_in^-0.5), pixels in 0.01..1, pictures turned by
    up to ±10°. Other than in the book: biases, AdamW on the cross-entropy of logits, shifts and changes of size, and
    the further examples that digits-cnn learns from as well: photographs, other hands, print, and what is no digit.
    """
    network = pnn.Sequential(
        pnn.Input(784, name="image"),
        pnn.Dense(200, weight_initial="book", name="hidden"),
        pnn.Sigmoid(name="activation"),
        pnn.Dense(10, weight_initial="book", name="digit"),
        labels="0123456789",
        seed=seed,
        name="digits-mlp",
    )
    digits = digits or load_digits()
    return train_on_digits(
        network,
        digits,
        pnn.AdamW(0.003, weight_decay=0.02),
        further(digits, PRINTED),
        epochs=epochs,
        batch_size=64,
        threshold=THRESHOLD,
        progress=progress,
        **checkpoints,
    )
