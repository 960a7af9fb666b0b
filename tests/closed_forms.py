"""Formulas that several tests compare with."""

from __future__ import annotations

from typing import Any

import numpy as np


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / Σ exp(x) along an axis."""
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))
