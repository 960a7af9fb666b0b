"""How ``digits-cnn`` is made."""

from __future__ import annotations

from typing import Final, Unpack

import portable_nn as pnn
from portable_nn.models.recipes import Digits, Trained, load_digits, train_on_digits
from portable_nn.training.checkpoint import CheckpointOptions

EPOCHS: Final = 100


def train(
    digits: Digits | None = None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: bool | None = None,
    **checkpoints: Unpack[CheckpointOptions],
) -> Trained:
    """Train a network like Y. LeCun's LeNet (Proc. IEEE 86, 1998) on 4,000 MNIST pictures: two convolutions, one layer.

    The card says how the settings were chosen: on ``load_digits().for_choosing()``.
    """
    network = pnn.Sequential(
        pnn.Input(1, 28, 28, name="image"),
        pnn.Conv2d(16, 5, padding=2, weight_initial="he_normal", name="strokes"),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Conv2d(32, 5, padding=2, weight_initial="he_normal", name="shapes"),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(10, name="digit"),
        labels="0123456789",
        seed=seed,
        name="digits-cnn",
    )
    optimizer = pnn.AdamW(0.003, weight_decay=0.05)
    return train_on_digits(
        network, digits or load_digits(), optimizer, epochs=epochs, batch_size=64, progress=progress, **checkpoints
    )
