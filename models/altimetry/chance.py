"""Random numbers for echoes: independent ones, or such as change slowly along a track."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.models.altimetry.echoes import Generator, erf
from portable_nn.operators import Array

SPACING: Final = 0.29
"""The distance of two echoes at 20 Hz along the track, in kilometres: the ground speed is 5.8 km/s."""

BLOCK: Final = 256


def autoregressive(count: int, length: float, rng: Generator) -> Array:
    """A stationary Gaussian process of mean 0 and variance 1: (count,), with the correlation exp(-k/length) at lag k.

    ``length`` is in steps. It is x_k = ρ·x_{k-1} + √(1 - ρ²)·ε_k, of which a block at once is a matrix product.
    """
    rho = math.exp(-1 / length)
    size = min(BLOCK, count)
    powers = rho ** np.arange(size + 1)
    lags = np.subtract.outer(np.arange(size), np.arange(size))
    kernel = np.where(lags >= 0, powers[np.maximum(lags, 0)], 0.0) * math.sqrt(1 - rho**2)
    blocks = -(-count // size)
    parts = rng.standard_normal((blocks, size)) @ kernel.T
    last = rng.standard_normal()
    for part in parts:
        part += last * powers[1:]
        last = part[-1]
    return np.asarray(parts.reshape(-1)[:count])


def wandering(lengths: Array, steps: int, rng: Generator) -> Array:
    """Such a process for each of the ``lengths`` (n,), in steps: (n, steps)."""
    rho = np.exp(-1 / np.asarray(lengths, np.float64))
    fresh = rng.standard_normal((steps, len(rho)))
    fresh[1:] *= np.sqrt(1 - rho**2)
    for place in range(1, steps):
        fresh[place] += rho * fresh[place - 1]
    return np.asarray(fresh.T)


@dataclass(frozen=True)
class Chance:
    """The source of the random numbers of ``count`` echoes.

    Attributes:
        count: the number of echoes.
        rng: the generator.
        along: whether the echoes follow each other along a track; otherwise each is a place of its own.
    """

    count: int
    rng: Generator
    along: bool = False

    def normal(self, length: float) -> Array:
        """Standard normal numbers (count,), which along a track are correlated over ``length`` kilometres."""
        if self.along:
            return autoregressive(self.count, length / SPACING, self.rng)
        return self.rng.standard_normal(self.count)

    def uniform(self, low: float, high: float, length: float) -> Array:
        """Numbers (count,) from ``low`` to ``high``, all as likely."""
        share = 0.5 + 0.5 * erf(self.normal(length)[:, np.newaxis] * math.sqrt(0.5))[:, 0]
        return np.asarray(low + (high - low) * share)

    def magnitude(self, low: float, high: float, length: float) -> Array:
        """Numbers (count,) from ``low`` to ``high``, whose logarithms are all as likely."""
        return np.exp(self.uniform(math.log(low), math.log(high), length))
