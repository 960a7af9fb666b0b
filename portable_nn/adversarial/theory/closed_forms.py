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
"""``form(learning_rate·sigma, **options)`` with all options: the factor a step, of a number or an array."""


def _largest_root(coefficients: Sequence[Any]) -> Array:
    """The largest modulus of a root of Σ cᵢλⁿ⁻ⁱ, each c an array."""
    parts = np.broadcast_arrays(*(np.asarray(c, dtype=complex) for c in coefficients))
    stacked = np.stack(parts, axis=-1)
    flat = [np.abs(np.roots(row)).max() for row in stacked.reshape(-1, len(parts))]
    return np.array(flat).reshape(stacked.shape[:-1])


def _optimistic(h: Any) -> Any:
    root = np.sqrt(np.asarray(1 - 4 * h * h, dtype=complex))
    return np.maximum(np.abs(1 - 2j * h + root), np.abs(1 - 2j * h - root)) / 2


def _alternating(h: Any) -> Any:
    half = 1 - np.asarray(h * h, dtype=float) / 2
    return np.where(h <= 2, 1.0, -half + np.sqrt(np.maximum(half * half - 1, 0.0)))


def _alternating_optimistic(h: Any) -> Any:
    square = np.asarray(h * h)
    return _largest_root([1.0, 4 * square - 2, 1 - 4 * square, square])


def _momentum(h: Any, beta: float) -> Any:
    return _largest_root([1.0, -(1 + beta + 1j * np.asarray(h)), beta])


def _alternating_momentum(h: Any, beta: float) -> Any:
    # (λ - 1)²(λ - β)² + h²λ³
    leading, third, *rest = np.polymul([1, -2, 1], [1, -2 * beta, beta * beta]).tolist()
    return _largest_root([leading, third + np.asarray(h) ** 2, *rest])


def _extragradient(h: Any, gamma: float | None) -> Any:
    return np.hypot(1 - h * (h if gamma is None else gamma), h)


def _proximal(h: Any) -> Any:
    return 1 / np.hypot(1, h)


def _ahead(h: Any) -> Any:
    return np.hypot(1 - h * h, h)


def _pulled(h: Any, strength: float) -> Any:
    return np.hypot(1 - h * strength, h)


def _lookahead(h: Any, k: float, alpha: float) -> Any:
    return np.abs(1 - alpha + alpha * (1 + 1j * np.asarray(h)) ** k) ** (1 / k)


FORMS: Final[Mapping[str, ClosedForm]] = {
    "simultaneous": lambda h: np.hypot(1, h),
    "alternating": _alternating,
    "extragradient": _extragradient,
    "optimistic": _optimistic,
    "alternating-optimistic": _alternating_optimistic,
    "proximal": _proximal,
    "competitive": _proximal,
    "competitive-linear": _ahead,
    "lola": lambda h: np.hypot(1 - 2 * h * h, h),
    "consensus": lambda h, gamma: _pulled(h, gamma),
    "symplectic": lambda h, lam: _pulled(h, lam),
    "hamiltonian": lambda h: np.abs(1 - np.asarray(h)),
    "momentum": _momentum,
    "alternating-momentum": _alternating_momentum,
    "lookahead": _lookahead,
    "midpoint": lambda h: np.ones_like(h, dtype=float),
    "runge-kutta": lambda h: np.sqrt(1 - h**6 / 72 + h**8 / 576),
}
