"""The readings of generated digits by ``digits-cnn``."""

from __future__ import annotations

from typing import Final

import numpy as np

from portable_nn.core.errors import ShapeError
from portable_nn.opening import load_model
from portable_nn.operators.registry import Array

JUDGE: Final = "digits-cnn"

SURE: Final = 0.9
"""The probability above which a prediction counts as sure."""

SIDE: Final = 28
"""Pixels along a side of what it reads."""


def probabilities(samples: Array) -> Array:
    """Those of the classes for samples from 0 to 1, n pictures of 28 x 28 pixels: (n, classes)."""
    network = load_model(JUDGE)
    logits = network.predict(samples.reshape(-1, 1, SIDE, SIDE).astype(np.float32) * np.float32(255))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def read_as(samples: Array, digit: int) -> Array:
    """True for each sample that is surely a ``digit``: (n,). Raises ``ShapeError`` for what is not 28 x 28."""
    if samples[0].size != SIDE * SIDE:
        raise ShapeError(
            f"digit {digit} is found by {JUDGE}, which reads grey pictures of {SIDE} x {SIDE} pixels, and these "
            f"samples are {samples.shape[1:]}"
        )
    place = load_model(JUDGE).outputs[0].labels.index(str(digit))
    return np.asarray(probabilities(samples)[:, place] > SURE)
