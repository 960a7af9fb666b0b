"""Gaussians on a ring, and metrics of mode collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import ShapeError
from portable_nn.core.numbers import Count, Positive

SAMPLES = 2500
"""The number of samples of the metrics. Lin et al., "PacGAN", NeurIPS 2018, arXiv:1712.04086."""

NEAR = 3.0
"""Up to so many sigma from a centre, a point is of high quality."""

FULL = math.sqrt(1 - NEAR**2 / 2 * math.exp(-(NEAR**2) / 2) / (1 - math.exp(-(NEAR**2) / 2)))
"""The spread of the data: the standard deviation, in sigma, of a normal distribution in the plane up to ``NEAR``."""


@check_kinds
@dataclass(frozen=True)
class Ring:
    """``modes`` Gaussians with centres at the angles 2πk / modes on a circle of ``radius``, deviation ``sigma``."""

    modes: Count = 8
    radius: Positive = 1.0
    sigma: Positive = 0.01

    @property
    def centres(self) -> NDArray[np.float64]:
        """(modes, 2)."""
        angle = 2 * math.pi * np.arange(self.modes) / self.modes
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """``count`` points, (count, 2)."""
        points = self.centres[rng.integers(self.modes, size=count)]
        return (points + self.sigma * rng.standard_normal((count, 2))).astype(np.float32)


@dataclass(frozen=True)
class Modes:
    """Metrics of mode collapse.

    Attributes:
        quality: the share of high-quality points, up to ``NEAR`` sigma from a centre; only these count below.
        captured: modes with at least one point.
        strict: modes with at least 1 % of all points.
        kl: the reverse divergence KL(points ‖ uniform) over the modes, in nats.
        spread: the standard deviation within the modes, each around its own mean, in sigma. It is ``FULL`` for the
            data, and less for modes that are too narrow; nan where no mode has two points.
    """

    quality: float
    captured: int
    strict: int
    kl: float
    spread: float


def mode_metrics(points: NDArray[np.floating], ring: Ring | None = None) -> Modes:
    """The metrics of points (n, 2). Raises ``ShapeError`` for another shape or no points."""
    ring, points = ring or Ring(), np.asarray(points)
    if points.ndim != 2 or points.shape[1:] != (2,) or not len(points):
        raise ShapeError(f"points must be (n, 2) with n from 1, not {points.shape}")
    distance = np.linalg.norm(points[:, None, :] - ring.centres, axis=2)
    good = distance.min(axis=1) <= NEAR * ring.sigma
    nearest = distance.argmin(axis=1)[good]
    counts = np.bincount(nearest, minlength=ring.modes)
    share = counts[counts > 0] / max(len(nearest), 1)
    return Modes(
        quality=len(nearest) / len(points),
        captured=int((counts > 0).sum()),
        strict=int((counts >= len(points) / 100).sum()),
        kl=float((share * np.log(share * ring.modes)).sum()) if len(nearest) else math.inf,
        spread=_deviation(points[good].astype(np.float64), nearest, counts) / ring.sigma,
    )


def _deviation(points: NDArray[np.float64], nearest: NDArray[np.intp], counts: NDArray[np.intp]) -> float:
    """The standard deviation of a coordinate of points (n, 2) around the means of their groups, without bias."""
    free = 2 * (len(points) - int((counts > 0).sum()))
    if not free:
        return math.nan
    sums = np.stack([np.bincount(nearest, axis, len(counts)) for axis in points.T], axis=1)
    apart = points - (sums / np.maximum(counts, 1)[:, None])[nearest]
    return math.sqrt(float((apart**2).sum()) / free)
