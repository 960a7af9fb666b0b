"""Eight Gaussians on a ring: a plain GAN that collapses onto some of them, and one that makes all.

``python -m portable_nn.adversarial.gan.ring`` trains ten seeds of the recipe and prints their figures, with ``plain``
behind it those of the plain GAN.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

import portable_nn as pnn
from portable_nn.adversarial.gan.modes import SAMPLES, Modes, Ring, mode_metrics
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.adversarial.gan.schedules import Fall, LinearFall
from portable_nn.adversarial.gan.training import GanResult, train_gan
from portable_nn.errors import UsageError
from portable_nn.layers.layer import Layer
from portable_nn.operators.registry import Array

Recipe: TypeAlias = Literal["regularised", "plain"]

STEPS: Final = 30_000
LATENT: Final = 8
UNITS: Final = 128

RECIPES: Final[dict[str, dict[str, Any]]] = {
    "regularised": {
        "optimizers": pnn.Adam(0.001, beta1=0.0, beta2=0.99),
        "r1": Fall(0.5, 0.001, until=0.8),
        "rate": LinearFall(1.0, 0.01, begin=0.5),
        "average": 0.9995,
    },
    "plain": {"optimizers": pnn.Adam(0.001, beta1=0.5, beta2=0.999), "average": 0.0},
}
"""What ``train_gan`` gets beside the networks and the data. The plain one is as of 2014, its weights not averaged."""


@dataclass(frozen=True)
class RingRun:
    """One seed: its figures on 2,500 samples, and the seconds that training took."""

    seed: int
    modes: Modes
    seconds: float


@dataclass(frozen=True)
class Spread:
    """The mean of one figure over seeds, and the standard error of that mean."""

    mean: float
    error: float


def ring_networks(seed: int = 0) -> tuple[pnn.Network, pnn.Network]:
    """A generator of 8-128-128-2 units with ReLU and a discriminator of 2-128-128-1 with leaky ReLU (0.2).

    First biases are uniform in ±1 / √fan_in: where they are 0, all kinks of the first layer meet in one point.
    """
    noise, point = pnn.Input(LATENT, name="noise"), pnn.Input(2, name="point")
    generator = pnn.Sequential(noise, *_hidden(LATENT, pnn.ReLU), pnn.Dense(2), seed=seed)
    discriminator = pnn.Sequential(
        point, *_hidden(2, lambda: pnn.LeakyReLU(0.2)), pnn.Dense(1), seed=seed + 1000
    )  # fmt: skip
    return generator, discriminator


def _hidden(inputs: int, activation: Callable[[], Layer]) -> list[Layer]:
    """Two layers of 128 units."""
    return [
        layer
        for fan_in in (inputs, UNITS)
        for layer in (pnn.Dense(UNITS, bias_initial=_uniform(fan_in**-0.5)), activation())
    ]


def _uniform(limit: float) -> Callable[[np.random.Generator, tuple[int, ...]], Array]:
    return lambda rng, shape: rng.uniform(-limit, limit, shape)


def train_ring(
    recipe: str = "regularised", *, seed: int = 0, steps: int = STEPS, ring: Ring | None = None, **options: Any
) -> GanResult:
    """Train a pair on the ring by one of ``RECIPES``; ``options`` of ``train_gan`` go before those of the recipe.

    Raises ``UsageError`` for an unknown recipe.
    """
    if recipe not in RECIPES:
        raise UsageError(f"recipe must be one of {', '.join(RECIPES)}, not {recipe!r}")
    settings = {"batch_size": 256, "every": max(1, steps // 20), **RECIPES[recipe], **options}
    return train_gan(*ring_networks(seed), ring or Ring(), seed=seed, steps=steps, **settings)


def ring_figures(generator: pnn.Network, seed: int = 0, ring: Ring | None = None) -> Modes:
    """The metrics on 2,500 samples of a generator."""
    return mode_metrics(sample(generator, SAMPLES, seed), ring)


def measure_ring(
    seeds: Iterable[int], recipe: str = "regularised", *, ring: Ring | None = None, **options: Any
) -> list[RingRun]:
    """Train once for each seed and measure."""
    runs = []
    for seed in seeds:
        start = time.perf_counter()
        result = train_ring(recipe, seed=seed, ring=ring, **options)
        seconds = time.perf_counter() - start
        runs.append(RingRun(seed, ring_figures(result.averaged, seed + 10_000, ring), seconds))
    return runs


def spreads(runs: Iterable[RingRun]) -> dict[str, Spread]:
    """Mean and standard error of each figure: ``quality``, ``captured``, ``strict``, ``kl``."""
    rows = np.array([astuple(run.modes) for run in runs])
    errors = rows.std(axis=0, ddof=1) / math.sqrt(len(rows)) if len(rows) > 1 else np.zeros(rows.shape[1])
    names = Modes.__dataclass_fields__
    return {name: Spread(float(m), float(e)) for name, m, e in zip(names, rows.mean(axis=0), errors, strict=True)}


def _main(arguments: list[str]) -> None:
    recipe = arguments[0] if arguments else "regularised"
    seeds = range(int(arguments[1]) if len(arguments) > 1 else 10)
    runs = []
    for seed in seeds:
        runs += measure_ring([seed], recipe, progress=False)
        print(f"seed {seed}: {runs[-1].modes}, {runs[-1].seconds:.0f} s", flush=True)
    for name, spread in spreads(runs).items():
        print(f"{name:9}{spread.mean:.4g} ± {spread.error:.2g}")


if __name__ == "__main__":
    _main(sys.argv[1:])
