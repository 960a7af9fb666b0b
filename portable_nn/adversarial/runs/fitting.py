"""The convergence factor of a run, measured from its points alone."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import norm
from portable_nn.operators import Array

WINDOW: Final = 600
"""The number of the last points that are used."""

ORDERS: Final = 8
"""The largest order of a recurrence."""

FITS: Final = 1e-10
"""The largest relative residual of a recurrence that fits."""

SPREAD: Final = 24
"""Strides in a window: points of small steps are taken farther apart."""

SMALLEST: Final = 1e-280
"""Distances below this are subject to underflow."""

FEW: Final = 8
"""With fewer points than this, the factor is that from the first point to the last."""


class Fit(NamedTuple):
    """The factor from point to point; ``exact`` where it is the root of a recurrence that all points satisfy."""

    factor: float
    exact: bool


def fit(offsets: Array, period: int = 1, floor: float = 0.0) -> Fit:
    """The convergence factor of one run, from its points (n, d) relative to the equilibrium.

    A linear method on a linear game satisfies zₙ₊ₚ = c₀zₙ + … + cₚ₋₁zₙ₊ₚ₋₁ for some p, and the largest root of
    λᵖ - cₚ₋₁λᵖ⁻¹ - … is the factor (Prony's method): the smallest p that fits all points is taken, with points a
    multiple of ``period`` apart. If none fits, it is the mean factor from the largest distance in the third quarter of
    the run to that in the last. Points closer than ``floor`` are left out.
    """
    lengths = norm(offsets)
    usable = np.isfinite(lengths) & (lengths > max(floor, SMALLEST))
    end = len(usable) if usable.all() else int(np.argmin(usable))
    if end < 2:
        return Fit(np.nan, exact=False)
    points, sizes = offsets[max(0, end - WINDOW) : end], lengths[:end]
    stride = period * max(1, len(points) // (SPREAD * period))
    for order in range(1, ORDERS + 1):
        if len(points) - order * stride < max(3, 2 * order // points.shape[1] + 2):
            break
        found = _recurrence(points, order, stride)
        if found is not None:
            return Fit(found ** (1 / stride), exact=True)
    return Fit(_envelope(sizes), exact=False)


def _recurrence(points: Array, order: int, stride: int) -> float | None:
    """The largest root of the recurrence of that order; ``None`` if none fits."""
    rows = len(points) - order * stride
    columns = [points[place * stride : place * stride + rows] for place in range(order + 1)]
    scale = np.max([np.abs(column).max(-1) for column in columns], axis=0)[:, None]
    matrix = np.stack([(column / scale).ravel() for column in columns], axis=-1)
    before, after = matrix[:, :-1], matrix[:, -1]
    coefficients, *_ = np.linalg.lstsq(before, after, rcond=None)
    error = np.abs(before @ coefficients - after).max()
    if not error <= FITS * min(1.0, float(np.abs(after).max())):
        return None
    roots = np.roots([1.0, *(-coefficients[::-1])])
    return float(np.abs(roots).max()) if len(roots) else 0.0


def _envelope(sizes: Array) -> float:
    """The mean factor between the largest distances of the last two quarters; of few points, over all."""
    count = len(sizes)
    if count < FEW:
        return float((sizes[-1] / sizes[0]) ** (1 / (count - 1)))
    third, last = quarters(sizes)
    return float(np.exp((np.log(last) - np.log(third)) / (count // 4)))


def quarters(sizes: Array) -> tuple[float, float]:
    """The largest distance of the third and of the last quarter."""
    quarter = len(sizes) // 4
    return float(sizes[-2 * quarter : -quarter].max()), float(sizes[-quarter:].max())
