"""Predictions of ``digits-cnn`` for generated digits: whether it is sure, and the frequency of each class."""

from __future__ import annotations

import numpy as np

from portable_nn.adversarial.gan.noise import JUDGE, probabilities
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.network import Network
from portable_nn.opening import load_model


def judge(network: Network, count: int = 1000, seed: int = 0) -> dict[str, float]:
    """Of ``count`` samples: the share of which it is ``sure``, and of its ``rarest`` and ``commonest`` class.

    It is sure where it does not answer ``?``: where a class has the probability that is its threshold.
    """
    found = probabilities(sample(network, count, seed))
    shares = np.bincount(found.argmax(axis=1), minlength=10) / len(found)
    sure = float((found.max(axis=1) >= load_model(JUDGE).outputs[0].threshold).mean())
    return {"sure": sure, "rarest": float(shares.min()), "commonest": float(shares.max())}
