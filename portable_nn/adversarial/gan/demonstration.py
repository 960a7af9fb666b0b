"""The two examples, trained and measured: the ring of Gaussians, and the pattern 1010."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.options import Option, find
from portable_nn.adversarial.gan.modes import SAMPLES, Ring, mode_metrics
from portable_nn.adversarial.gan.pattern import Pattern, train_pattern
from portable_nn.adversarial.gan.ring import RECIPES, STEPS, train_ring
from portable_nn.adversarial.gan.sampling import sample
from portable_nn.adversarial.gan.training import GanResult
from portable_nn.network import Network
from portable_nn.operators.registry import Array

EXAMPLES: Final = {"pattern": 2000, "ring": STEPS}
"""The examples, with the default number of steps."""

LOOKS: Final = 10
"""The number of times that the eigenvalues are computed for the pattern, by default."""

SAMPLED: Final = 10_000
"""Added to the seed for the samples that are measured."""


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


def demonstrate(
    example: str = "pattern",
    *,
    recipe: str = "regularised",
    method: str = "alternating",
    loss: str = "non_saturating",
    seed: int = 0,
    steps: int | None = None,
    eigenvalues: int | None = None,
    progress: bool | None = None,
) -> Demonstration:
    """Train one of ``EXAMPLES`` and measure it.

    Args:
        example: ``pattern`` or ``ring``.
        recipe: ``regularised``, with an R1 penalty and averaged weights, or ``plain``, with neither.
        method, loss, seed, steps, progress: as in ``train_gan``; ``wasserstein_gp`` has its own gradient penalty, and
            no R1 penalty.
        eigenvalues: compute those of the Jacobian every so many steps; by default ten times for the pattern, and never
            for the ring, whose networks are too large.

    Raises as ``train_gan``, and ``UsageError`` for an unknown example or recipe.
    """
    default = find("example", example, EXAMPLES)
    find("recipe", recipe, RECIPES)
    seed = int(Option(0, "seed", 0, whole=True).check("seed", seed))
    target: Ring | Pattern = Ring() if example == "ring" else Pattern()
    figures = _figures(target)

    def samples(generator: Network) -> Array:
        return sample(generator, SAMPLES, seed + SAMPLED)

    options: dict[str, Any] = {
        "method": method,
        "loss": loss,
        "seed": seed,
        "steps": default if steps is None else steps,
        "eigenvalues": eigenvalues,
        "metrics": lambda generator: figures(samples(generator)),
        "snapshot": samples,
        "progress": progress,
    }
    if loss == "wasserstein_gp":
        options["r1"] = None
    begin = time.perf_counter()
    result = train_ring(recipe, **options) if example == "ring" else _pattern(recipe, options)
    seconds, last = time.perf_counter() - begin, figures(samples(result.averaged))
    return Demonstration(example, recipe, method, loss, seed, target, result, last, seconds)


def _pattern(recipe: str, options: dict[str, Any]) -> GanResult:
    if options["eigenvalues"] is None and isinstance(options["steps"], int):
        options["eigenvalues"] = max(1, options["steps"] // LOOKS)
    plain: dict[str, Any] = {"r1": None, "average": 0.0} if recipe == "plain" else {}
    return train_pattern(**{**plain, **options})


def _figures(target: Ring | Pattern) -> Callable[[Array], dict[str, float]]:
    """The function that measures samples."""
    if isinstance(target, Ring):
        return lambda samples: asdict(mode_metrics(samples, target))

    def pattern(samples: Array) -> dict[str, float]:
        error = np.abs(samples.mean(axis=0) - np.array(target.pattern)).max()
        return {"error": float(error), "deviation": float(samples.std(axis=0).mean())}

    return pattern
