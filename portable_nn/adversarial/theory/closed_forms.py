"""Convergence factors on f = x·y in closed form: by how much a step multiplies the distance to the equilibrium.

Each takes h, the learning rate times a singular value of A for f = xᵀAy, and the options of the method, scaled by that
value too, as ``POWERS`` says. It is the largest modulus of a root of the characteristic polynomial at ±ih.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.operators import Array

ClosedForm: TypeAlias = Callable[..., Any]
"""``form(learning_rate·sigma, **options)`` with all options: the factor per step, of a number or an array."""


def _largest_root(coefficients: Sequence[Any]) -> Array:
    """The largest modulus of a root of Σ cᵢλⁿ⁻ⁱ, each c an array."""
    stacked = np.stack(np.broadcast_arrays(*(np.asarray(c, dtype=complex) for c in coefficients)), axis=-1)
    flat = [np.abs(np.roots(row)).max() for row in stacked.reshape(-1, len(coefficients))]
    return np.array(flat).reshape(stacked.shape[:-1])


def _optimistic(h: Any, gamma: float | None) -> Any:
    # λ² - (1 - i(h + g))λ - ig
    g = np.asarray(h if gamma is None else gamma)
    half = 1 - 1j * (h + g)
    root = np.sqrt(half * half + 4j * g)
    return np.maximum(np.abs(half + root), np.abs(half - root)) / 2


def _alternating_optimistic(h: Any, gamma: float | None) -> Any:
    # λ(λ - 1)² + ((h + g)λ - g)²
    g = np.asarray(h if gamma is None else gamma)
    both = h + g
    return _largest_root([1.0, both * both - 2, 1 - 2 * both * g, g * g])


def _prediction(h: Any) -> Any:
    # λ² - 2(1 - h²)λ + 1 - h²
    rest = 1 - np.asarray(h * h, dtype=float)
    return np.where(rest >= 0, np.sqrt(np.abs(rest)), np.abs(rest) + h * np.sqrt(np.abs(rest)))


def _smoothed(h: Any, pull: float, beta: float) -> Any:
    # (λ - 1 + hp)(λ - 1)(λ - 1 + b) + h²λ(λ - 1 + b) - hpbλ(λ - 1)
    h = np.asarray(h, dtype=float)
    hp, keep, square = h * pull, beta - 1, h * h
    return _largest_root(
        [
            1.0,
            hp + keep - 2 + square - hp * beta,
            1 - hp - 2 * keep + keep * hp + square * keep + hp * beta,
            keep * (1 - hp),
        ]
    )


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
    "alternating-optimistic": _alternating_optimistic,
    "prediction": _prediction,
    "slingshot": lambda h: np.sqrt(np.abs(1 - np.asarray(h * h, dtype=float))),
    "smoothed": _smoothed,
    "adaptive-extragradient": lambda h, relax: np.sqrt((1 + (1 - relax) * h * h) ** 2 + (relax * h) ** 2) / (1 + h * h),
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

POWERS: Final[Mapping[str, int]] = {"gamma": 1, "lam": 1, "pull": -1}
"""The options of closed forms that are multiplied by a power of the singular value, and the power."""

FORMULAS: Final[Mapping[str, str]] = {
    "simultaneous": "√(1 + η²)",
    "alternating": "1 up to η = 2, then η²/2 - 1 + √((η²/2 - 1)² - 1)",
    "extragradient": "√((1 - γη)² + η²)",
    "optimistic": "root of λ² - (1 - i(η + γ))λ - iγ",
    "alternating-optimistic": "root of λ(λ - 1)² + ((η + γ)λ - γ)²",
    "prediction": "√(1 - η²) up to η = 1, then η² - 1 + η√(η² - 1)",
    "slingshot": "√|1 - η²|",
    "smoothed": "root of (λ - 1 + ηp)(λ - 1)(λ - 1 + β) + η²λ(λ - 1 + β) - ηpβλ(λ - 1)",
    "adaptive-extragradient": "√((1 + (1 - r)η²)² + (rη)²) / (1 + η²), r = relax",
    "proximal": "1/√(1 + η²)",
    "competitive": "1/√(1 + η²)",
    "competitive-linear": "√((1 - η²)² + η²)",
    "lola": "√((1 - 2η²)² + η²)",
    "consensus": "√((1 - γη)² + η²)",
    "symplectic": "√((1 - λη)² + η²)",
    "hamiltonian": "|1 - η|",
    "momentum": "root of λ² - (1 + β + iη)λ + β",
    "alternating-momentum": "root of (λ - 1)²(λ - β)² + η²λ³",
    "lookahead": "the k-th root of |1 - α + α(1 + iη)ᵏ|",
    "midpoint": "1",
    "runge-kutta": "√(1 - η⁶/72 + η⁸/576)",
}
"""``FORMS`` as formulas of the learning rate η and the options; of several roots λ, the largest modulus."""
