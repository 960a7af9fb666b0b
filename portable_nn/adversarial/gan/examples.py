"""The two examples: the pattern 1010, and eight Gaussians on a ring; their networks, training and figures.

The pattern is the first GAN of T. Rashid's beginner's book ("Make Your First GAN with PyTorch", 2020). On the ring, a
plain GAN and a regularised one have the same first weights, optimizer, batches of 256 and 30,000 steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import portable_nn as pnn
from portable_nn.adversarial.games.options import Option, find
from portable_nn.adversarial.gan.modes import SAMPLES, Ring, mode_metrics
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.adversarial.gan.schedules import Fall, LinearFall
from portable_nn.adversarial.gan.stages import OptimisticAdam
from portable_nn.adversarial.gan.training import DEFAULT, GanResult, train_gan
from portable_nn.adversarial.gan.verdicts import pattern_verdict, ring_verdict
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.operators import Array

EXAMPLES: Final = {"pattern": 2000, "ring": 30_000}
"""The examples, with the default number of steps."""

LOOKS: Final = 10
"""The number of times that the eigenvalues are computed for the pattern, by default."""

SAMPLED: Final = 10_000
"""Added to the seed for the samples that are measured."""

LATENT: Final = {"pattern": 2, "ring": 8}
"""The numbers of noise."""

UNITS: Final = 128
"""Those of a hidden layer on the ring."""


# -- the pattern


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
        pnn.Input(LATENT["pattern"], name="noise"), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dense(numbers), seed=seed
    )
    discriminator = pnn.Sequential(
        pnn.Input(numbers, name="pattern"), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dense(1), seed=seed + 1000
    )
    return generator, discriminator


def train_pattern(
    method: str = "alternating", *, seed: int = 0, steps: int = EXAMPLES["pattern"], **options: Any
) -> GanResult:
    """Train the two networks on the pattern; ``options`` are those of ``train_gan``.

    The defaults are an R1 penalty of 1 and Adam(0.003, β₁ 0, β₂ 0.99), with which every method converges.
    """
    adam = (OptimisticAdam if method == "optimistic_adam" else pnn.Adam)(0.003, beta1=0.0, beta2=0.99)
    settings: dict[str, Any] = {"optimizers": adam, "r1": 1.0, "batch_size": 32, "average": 0.99, "every": 100}
    settings |= {"data": Pattern(), "method": method, "steps": steps, "seed": seed}
    return train_gan(*pattern_networks(seed), **{**settings, **options})


# -- the ring


RECIPES: Final[dict[str, dict[str, Any]]] = {
    "regularised": {
        "optimizers": DEFAULT,
        "r1": Fall(0.5, 0.001, until=0.8),
        "rate": LinearFall(1.0, 0.01, begin=0.5),
        "average": 0.9995,
    },
    "plain": {"optimizers": DEFAULT, "average": 0.0},
}
"""Options of ``train_gan``: the same but for the R1 penalty, the learning rate that falls, and the averaged weights."""


def _uniform(fan_in: int) -> Initial:
    return lambda rng, shape: rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape)


INITIALS: Final[dict[str, tuple[Initial, Callable[[int], Initial]]]] = {
    "small": ("glorot_uniform", _uniform),
    "he": ("he_normal", lambda fan_in: 0.0),
}
"""First weights and, for a layer's fan_in, biases: small weights and biases in ±1 / √fan_in, or He's, usual with ReLU.

With biases of 0, the kinks of all units of the first layer meet in one point.
"""


def ring_networks(seed: int = 0, initial: str = "small") -> tuple[pnn.Network, pnn.Network]:
    """A generator of 8-128-128-2 units with ReLU and a discriminator of 2-128-128-1 with leaky ReLU (0.2).

    ``initial`` is one of ``INITIALS``. Raises ``UsageError`` for any other.
    """
    weights, biases = find("initial", initial, INITIALS)
    noise, point = pnn.Input(LATENT["ring"], name="noise"), pnn.Input(2, name="point")

    def layers(inputs: int, activation: Callable[[], Layer], outputs: int) -> list[Layer]:
        hidden = [
            layer
            for fan_in in (inputs, UNITS)
            for layer in (pnn.Dense(UNITS, weight_initial=weights, bias_initial=biases(fan_in)), activation())
        ]
        return [*hidden, pnn.Dense(outputs, weight_initial=weights)]

    return (
        pnn.Sequential(noise, *layers(LATENT["ring"], pnn.ReLU, 2), seed=seed),
        pnn.Sequential(point, *layers(2, lambda: pnn.LeakyReLU(0.2), 1), seed=seed + 1000),
    )


def train_ring(
    recipe: str = "regularised",
    *,
    seed: int = 0,
    steps: int = EXAMPLES["ring"],
    ring: Ring | None = None,
    initial: str = "small",
    **options: Any,
) -> GanResult:
    """Train a pair on the ring by one of ``RECIPES``; ``options`` of ``train_gan`` override those of the recipe.

    ``initial`` is of ``ring_networks``. Raises ``UsageError`` for an unknown recipe.
    """
    settings = {"batch_size": 256, "every": max(1, steps // 20), **find("recipe", recipe, RECIPES), **options}
    networks = ring_networks(seed, initial)
    return train_gan(*networks, ring or Ring(), seed=seed, steps=steps, **settings)


# -- both, trained and measured


@dataclass(frozen=True)
class Demonstration:
    """A training run and its metrics.

    Attributes:
        example, recipe, method, loss, seed: the arguments.
        target: the data.
        result: of the training; its snapshots are the samples that were measured.
        figures: metrics of the averaged generator. For the ring those of ``Modes``; for the pattern ``error``, the
            largest error of a component's mean, and ``deviation``, the mean standard deviation of the components, which
            is ``target.noise`` in the data.
        seconds: of the training.
    """

    example: str
    recipe: str
    method: str
    loss: str
    seed: int
    target: Ring | Pattern
    result: GanResult
    figures: Mapping[str, float]
    seconds: float

    @property
    def title(self) -> str:
        """The example that was trained, and the method."""
        steps = int(self.result.history[-1]["step"]) if self.result.history else 0
        stopped = ", interrupted" if self.result.stopped == "interrupted" else ""
        how = f"{self.method}, {self.loss}, {steps:,} steps, seed {self.seed}{stopped}"
        return f"{self.example}, {self.recipe}: {how}"

    @property
    def verdict(self) -> str:
        """The words for what the samples prove."""
        if isinstance(self.target, Ring):
            return ring_verdict(self.target, self.figures, [samples for _, samples in self.result.snapshots])
        return pattern_verdict(self.target.noise, self.figures, self.result["error"])


def demonstrate(
    example: str = "pattern",
    *,
    recipe: str = "regularised",
    method: str = "alternating",
    loss: str = "non_saturating",
    seed: int = 0,
    steps: int | None = None,
    eigenvalues: int | None = None,
    **options: Any,
) -> Demonstration:
    """Train one of ``EXAMPLES`` and measure it.

    Args:
        example: ``pattern`` or ``ring``.
        recipe: ``regularised``, with an R1 penalty and averaged weights, or ``plain``, with neither.
        method, loss, seed, steps: as in ``train_gan``; ``wasserstein_gp`` has its own gradient penalty, and no R1
            penalty.
        eigenvalues: compute those of the Jacobian every so many steps; by default ten times for the pattern, and never
            for the ring, whose networks are too large.
        options: others of ``train_gan``, and for the ring of ``train_ring``.

    Raises as ``train_gan``, and ``UsageError`` for an unknown example or recipe.
    """
    default = find("example", example, EXAMPLES)
    find("recipe", recipe, RECIPES)
    seed = int(Option(0, "seed", 0, whole=True).check("seed", seed))
    is_ring = example == "ring"
    target = Ring() if is_ring else Pattern()
    steps = default if steps is None else steps

    def samples(generator: pnn.Network) -> Array:
        return sample(generator, SAMPLES, seed + SAMPLED)

    def figures(generator: pnn.Network) -> dict[str, float]:
        return _figures(samples(generator), target)

    if eigenvalues is None and not is_ring and isinstance(steps, int):
        eigenvalues = max(1, steps // LOOKS)
    options |= {"method": method, "loss": loss, "seed": seed, "steps": steps, "eigenvalues": eigenvalues}
    options |= {"metrics": figures, "snapshot": samples}
    if loss == "wasserstein_gp":
        options["r1"] = None
    if recipe == "plain" and not is_ring:
        options = {"r1": None, "average": 0.0} | options
    begin = time.perf_counter()
    result = train_ring(recipe, **options) if is_ring else train_pattern(**options)
    seconds, last = time.perf_counter() - begin, figures(result.averaged)
    return Demonstration(example, recipe, method, loss, seed, target, result, last, seconds)


def _figures(samples: Array, target: Ring | Pattern) -> dict[str, float]:
    """The metrics of samples."""
    if isinstance(target, Ring):
        return asdict(mode_metrics(samples, target))
    error = np.abs(samples.mean(axis=0) - np.array(target.pattern)).max()
    return {"error": float(error), "deviation": float(samples.std(axis=0).mean())}
