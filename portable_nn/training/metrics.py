"""Metrics, computed on whole data sets and not differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.words import meant
from portable_nn.operators.registry import Array
from portable_nn.training.losses import Loss

Metric: TypeAlias = Callable[[Array, Array, Array, float], float]
"""``(outputs, targets, weights, threshold)`` → a number; arrays have one entry (or row) an example.

A single output above ``threshold`` is the positive class."""


def accuracy(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The share of examples whose largest output is that of the class; of a single output, on the right side."""
    if outputs.size == len(outputs):
        right = (outputs.ravel() > threshold) == (targets.ravel() > 0.5)
    else:
        classes = targets if targets.ndim < outputs.ndim else targets.argmax(1)
        right = outputs.argmax(1) == classes
    return float(np.average(right.reshape(len(right), -1).mean(1), weights=weights))


def mean_absolute_error(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The mean of |output - target|."""
    errors = np.abs(outputs - targets).reshape(len(outputs), -1).mean(1)
    return float(np.average(errors, weights=weights))


def _are_quantities(target: Array, loss: Loss) -> bool:
    """Whether targets of a squared error, one number each, are quantities rather than one of two classes, 0 or 1."""
    return not loss.inside and target.size == len(target) and not bool(np.isin(target, (0, 1)).all())


METRICS: Final[Mapping[str, Metric]] = {"accuracy": accuracy, "mean_absolute_error": mean_absolute_error}


def find_metrics(names: Sequence[str], targets: Mapping[str, Array], losses: Mapping[str, Loss]) -> dict[str, Metric]:
    """The metrics of those names. Raises ``UsageError`` for one that is unknown or not defined for ``targets``."""
    for name in names:
        if name not in METRICS:
            raise UsageError(f"metrics must be among {', '.join(METRICS)}, not {name!r}{meant('metrics=', name)}")
        for output, target in targets.items():
            if METRICS[name] is mean_absolute_error and target.dtype.kind == "i":
                raise UsageError(f"{name} needs numbers to compare with, but y has classes for '{output}'")
            if METRICS[name] is accuracy and _are_quantities(target, losses[output]):
                found = f"numbers from {target.min():.4g} to {target.max():.4g} for '{output}'"
                raise UsageError(f"accuracy counts classes, but y has {found}: mean_absolute_error is for quantities")
    return {name: METRICS[name] for name in names}
