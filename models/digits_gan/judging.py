"""Predictions of ``digits-cnn`` for generated digits: its confidence, and the frequency of each class."""

from __future__ import annotations

import numpy as np

from portable_nn.adversarial.gan.sampling import sample
from portable_nn.model_files import load_model
from portable_nn.network import Network
from portable_nn.operators.registry import Array

SURE = 0.9
"""The probability above which a prediction counts as sure."""


def probabilities(samples: Array) -> Array:
    """Those of the ten classes for samples from 0 to 1, (n, 1, 28, 28): (n, 10)."""
    network = load_model("digits-cnn")
    logits = network.predict(samples * np.float32(255))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def judge(network: Network, count: int = 1000, seed: int = 0) -> dict[str, float]:
    """Of ``count`` samples: the share of which it is ``sure``, and of its ``rarest`` and ``commonest`` class."""
    found = probabilities(sample(network, count, seed))
    shares = np.bincount(found.argmax(axis=1), minlength=10) / len(found)
    sure = float((found.max(axis=1) > SURE).mean())
    return {"sure": sure, "rarest": float(shares.min()), "commonest": float(shares.max())}
