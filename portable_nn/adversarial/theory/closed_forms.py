"""Convergence factors on f = x·y in closed form: by how much a step multiplies the distance to the equilibrium.

Each takes h, the learning rate times a singular value of A for f = xᵀAy, and the options of the method, of which gamma
and lam are multiplied by that value too. It is the largest modulus of a root of the characteristic polynomial at ±ih.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.operators.registry import Array

ClosedForm: TypeAlias = Callable[..., Any]
"""``form(learning_rate·sigma, **options)`` with all options: the factor per step, of a number or an array."""


def _largest_root(coefficients: Sequence[Any]) -> Array:
    """The largest modulus of a root of Σ cᵢλⁿ⁻ⁱ, each c an array."""
    stacked = np.stack(np.broadcast_arrays(*(np.asarray(c, dtype=complex) for c in coefficients)), axis=-1)
    flat = [np.abs(np.roots(row)).max() for row in stacked.reshape(-1, len(coefficients))]
    return np.array(flat).reshape(stacked.shape[:-1])


def _optimistic(h: Any) -> Any:
    root = np.sqrt(np.asarray(1 - 4 * h * h, dtype=complex))
    return np.maximum(np.abs(1 - 2j * h + root), np.abs(1 - 2j * h - root)) / 2


def _alternating(h: Any) -> Any:
    half = 1 - np.asarray(h * h, dtype=float) / 2
    return np.where(h <= 2, 1.0, -half + np.sqrt(np.maximum(half * half - 1, 0.0)))


def _alternating_momentum(h: Any, beta: float) -> Any:
    # (λ - 1)²(λ - β)² + h²λ³
    leading, third, *rest = np.polymul([1, -2, 1], [1, -2 * beta, beta * beta]).tolist()
    return _largest_root([leading, third + np.asarray(h) ** 2, *rest])


FORMS: Final[Mapping[str, ClosedForm]] = {
    "simultaneous": lambda h: np.hypot(1, h),
    "alternating": _alternating,
    "extragradient": lambda h, gamma: np.hypot(1 - h * (h if gamma is None else gamma), h),
    "optimistic": _optimistic,
    "alternating-optimistic": lambda h: _largest_root([1.0, 4 * h * h - 2, 1 - 4 * h * h, h * h]),
    "proximal": lambda h: 1 / np.hypot(1, h),
    "competitive": lambda h: 1 / np.hypot(1, h),
    "competitive-linear": lambda h: np.hypot(1 - h * h, h),
    "lola": lambda h: np.hypot(1 - 2 * h * h, h),
    "consensus": lambda h, gamma: np.hypot(1 - h * gamma, h),
    "symplectic": lambda h, lam: np.hypot(1 - h * lam, h),
    "hamiltonian": lambda h: np.abs(1 - np.asarray(h)),
    "momentum": lambda h, beta: _largest_root([1.0, -(1 + beta + 1j * np.asarray(h)), beta]),
    "alternating-momentum": _alternating_momentum,
    "lookahead": lambda h, k, alpha: np.abs(1 - alpha + alpha * (1 + 1j * np.asarray(h)) ** k) ** (1 / k),
    "midpoint": lambda h: np.ones_like(h, dtype=float),
    "runge-kutta": lambda h: np.sqrt(1 - h**6 / 72 + h**8 / 576),
}
