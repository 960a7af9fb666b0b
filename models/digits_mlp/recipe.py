"""The recipe of ``digits-mlp``."""

from __future__ import annotations

from typing import Final, Unpack

import portable_nn as pnn
from portable_nn.models.recipes import Digits, Trained, load_digits, train_on_digits
from portable_nn.training.checkpoint import CheckpointOptions

EPOCHS: Final = 120


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
    up to ±10°. Other than in the book: biases, AdamW on the cross-entropy of logits, and shifts and changes of size.
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
    optimizer = pnn.AdamW(0.003, weight_decay=0.1)
    return train_on_digits(
        network, digits or load_digits(), optimizer, epochs=epochs, batch_size=32, progress=progress, **checkpoints
    )
