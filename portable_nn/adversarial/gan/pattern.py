"""The first GAN of T. Rashid's beginner's book ("Make Your First GAN with PyTorch", 2020): the pattern 1010."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import portable_nn as pnn
from portable_nn.adversarial.gan.optimistic import OptimisticAdam
from portable_nn.adversarial.gan.training import GanResult, train_gan

LATENT = 2


@dataclass(frozen=True)
class Pattern:
    """Rows of the numbers in ``pattern``, each with noise from N(0, ``noise``²)."""

    pattern: tuple[float, ...] = (1.0, 0.0, 1.0, 0.0)
    noise: float = 0.05

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """``count`` rows, (count, numbers)."""
        size = (count, len(self.pattern))
        return (self.pattern + self.noise * rng.standard_normal(size)).astype(np.float32)


def pattern_networks(seed: int = 0, numbers: int = 4) -> tuple[pnn.Network, pnn.Network]:
    """A generator of 2-8-4 and a discriminator of 4-8-1 units, small enough for a dense Jacobian."""
    generator = pnn.Sequential(
        pnn.Input(LATENT, name="noise"), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dense(numbers), seed=seed
    )
    discriminator = pnn.Sequential(
        pnn.Input(numbers, name="pattern"), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dense(1), seed=seed + 1000
    )
    return generator, discriminator


def train_pattern(method: str = "alternating", *, seed: int = 0, steps: int = 2000, **options: Any) -> GanResult:
    """Train the two networks on the pattern; ``options`` are those of ``train_gan``.

    The defaults are an R1 penalty of 1 and Adam(0.003, β₁ 0, β₂ 0.99), with which every method converges.
    """
    generator, discriminator = pattern_networks(seed)
    adam = {"learning_rate": 0.003, "beta1": 0.0, "beta2": 0.99}
    optimizer = OptimisticAdam(**adam) if method == "optimistic_adam" else pnn.Adam(**adam)
    settings: dict[str, Any] = {"optimizers": optimizer, "r1": 1.0, "batch_size": 32, "average": 0.99, "every": 100}
    data = options.pop("data", Pattern())
    return train_gan(generator, discriminator, data, method=method, steps=steps, seed=seed, **{**settings, **options})
