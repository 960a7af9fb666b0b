"""The recipe of ``digits-cnn``."""

from __future__ import annotations

from typing import Final, Unpack

import portable_nn as pnn
from portable_nn.models.recipes import Digits, Trained, load_digits, train_on_digits
from portable_nn.models.unlike import further
from portable_nn.training.checkpoint import CheckpointOptions

EPOCHS: Final = 20

PRINTED: Final = 2000
"""The number of printed digits that are learned from."""

THRESHOLD: Final = 0.6
"""The probability that a digit must have: what stays below is no digit, or cannot be read."""


def train(
    digits: Digits | None = None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: bool | None = None,
    **checkpoints: Unpack[CheckpointOptions],
) -> Trained:
    """Train a network like Y. LeCun's LeNet (Proc. IEEE 86, 1998): two convolutions, two layers.

    On 4,000 MNIST pictures, on the same digits in photographs and in other hands, on printed digits, and on what is no
    digit. A run on fewer pictures takes fewer of the others. The card says how the settings were chosen.
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
        pnn.Dense(128, weight_initial="he_normal", name="parts"),
        pnn.ReLU(),
        pnn.Dense(10, name="digit"),
        labels="0123456789",
        seed=seed,
        name="digits-cnn",
    )
    digits = digits or load_digits()
    return train_on_digits(
        network,
        digits,
        pnn.AdamW(0.003, weight_decay=0.05),
        further(digits, PRINTED),
        epochs=epochs,
        batch_size=64,
        threshold=THRESHOLD,
        progress=progress,
        **checkpoints,
    )
