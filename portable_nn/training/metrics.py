"""Metrics, computed on whole data sets and not differentiated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from portable_nn.core import names
from portable_nn.core.errors import UsageError
from portable_nn.core.text import either
from portable_nn.core.words import meant
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.training.losses import Loss, OwnLoss
from portable_nn.training.losses.numbers import GaussianLikelihood

Measure: TypeAlias = Callable[[Array, Array, Array, float], float]
"""``(outputs, targets, weights, threshold)`` → a number; arrays have one entry (or row) an example.

A single output above ``threshold`` is the positive class."""

Function: TypeAlias = Callable[[Array, Array], float]
"""A metric of the user's own: ``(outputs, targets)`` → a number. Arrays have one entry (or row) an example."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Args:
        name: its name, which is that of its column.
        measure: what computes it.
        of: what it compares: ``classes``, ``numbers``, or whatever there is (``any``).
    """

    name: str
    measure: Measure
    of: Literal["classes", "numbers", "any"] = "any"


MetricLike: TypeAlias = str | Function | Metric
Metrics: TypeAlias = MetricLike | Sequence[MetricLike] | Mapping[str, MetricLike | Sequence[MetricLike]] | None


# -- of classes


def accuracy(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The share of examples whose largest output is that of the class; of a single output, on the right side."""
    found, true = _classes(outputs, targets, threshold)
    right = found == true
    return float(np.average(right.reshape(len(right), -1).mean(1), weights=weights))


def _classes(outputs: Array, targets: Array, threshold: float) -> tuple[Array, Array]:
    """The class numbers that were found, and the true ones."""
    if outputs.size == len(outputs):
        return outputs.ravel() > threshold, targets.ravel() > 0.5
    return outputs.argmax(1), targets if targets.ndim < outputs.ndim else targets.argmax(1)


def _counts(outputs: Array, targets: Array, weights: Array, threshold: float) -> tuple[Array, Array, Array]:
    """By class, the weight of what was rightly found, of what was found, and of what is true.

    Of a single output, only for the positive class; otherwise for all that were found or are true.
    """
    found, true = _classes(outputs, targets, threshold)
    each = np.repeat(weights, found.size // len(weights))
    found, true = found.ravel().astype(np.intp), true.ravel().astype(np.intp)
    size = int(max(found.max(), true.max())) + 1
    right, positives, relevant = (
        np.bincount(array, part, size) for array, part in ((true, each * (found == true)), (found, each), (true, each))
    )
    if outputs.size == len(outputs):
        return (*(np.pad(array, (0, 2))[1:2] for array in (right, positives, relevant)),)  # type: ignore[return-value]
    there = (positives > 0) | (relevant > 0)
    return right[there], positives[there], relevant[there]


def _share(part: Array, whole: Array) -> Array:
    """part / whole; 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def precision(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The share of what was found of a class that is of it; the mean over classes. Of a single output: of class 1."""
    right, positives, _ = _counts(outputs, targets, weights, threshold)
    return float(_share(right, positives).mean())


def recall(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The share of a class that was found; the mean over classes. Of a single output: of class 1."""
    right, _, relevant = _counts(outputs, targets, weights, threshold)
    return float(_share(right, relevant).mean())


def f1(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The harmonic mean of precision and recall of a class; the mean over classes. Of a single output: of class 1."""
    right, positives, relevant = _counts(outputs, targets, weights, threshold)
    return float(_share(2 * right, positives + relevant).mean())


# -- of numbers


def mean_absolute_error(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The mean of |output - target|."""
    errors = np.abs(outputs - targets).reshape(len(outputs), -1).mean(1)
    return float(np.average(errors, weights=weights))


def mean_squared_error(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The mean of (output - target)²."""
    errors = np.square(outputs - targets, dtype=np.float64).reshape(len(outputs), -1).mean(1)
    return float(np.average(errors, weights=weights))


def root_mean_squared_error(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """The square root of the mean of (output - target)² over all entries."""
    return math.sqrt(mean_squared_error(outputs, targets, weights))


def r2(outputs: Array, targets: Array, weights: Array, threshold: float = 0.0) -> float:
    """1 - Σ (target - output)² / Σ (target - mean)², the mean over entries; nan where all targets are the same."""
    true = targets.reshape(len(targets), -1).astype(np.float64)
    errors = (outputs.reshape(true.shape) - true) ** 2
    spread = (true - np.average(true, 0, weights=weights)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.average(errors, 0, weights=weights) / np.average(spread, 0, weights=weights)
    return float(np.mean(1 - ratios)) if np.isfinite(ratios).all() else math.nan


METRICS: Final[Mapping[str, Metric]] = {name: Metric(name, globals()[name], of) for name, of in names.METRICS.items()}
"""The metrics by name. A new one is a function here and a row in ``names``."""


# -- by name


def find_metrics(given: Metrics, targets: NamedArrays, losses: Mapping[str, Loss]) -> dict[str, dict[str, Metric]]:
    """The metrics of each trained output by name. Raises ``UsageError`` for one that is unknown or does not fit."""
    if isinstance(given, Mapping):
        if not set(given) <= set(losses):
            named = ", ".join(map(str, given))
            raise UsageError(f"metrics names {named}, but the trained outputs are {', '.join(losses)}")
        by_output = {name: _listed(given.get(name)) for name in losses}
    else:
        by_output = dict.fromkeys(losses, _listed(given))
    found: dict[str, dict[str, Metric]] = {}
    for output, each in by_output.items():
        metrics = [_find(one) for one in each]
        for metric in metrics:
            _check_fits(metric, output, targets[output], losses[output])
        found[output] = {metric.name: _for_loss(metric, losses[output]) for metric in metrics}
    return found


def _listed(given: MetricLike | Sequence[MetricLike] | None) -> Sequence[MetricLike]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str | Metric) or callable(given) else given


def _find(given: MetricLike) -> Metric:
    if isinstance(given, Metric):
        return given
    if callable(given):
        named = given if hasattr(given, "__name__") else type(given)
        if not named.__name__.isidentifier():
            raise UsageError(f"metrics has a function without a name, {named.__name__}: def gives its column one")
        return Metric(named.__name__, lambda outputs, targets, weights, threshold: _number(given, outputs, targets))
    if given not in METRICS:
        raise UsageError(f"metrics must be among {', '.join(METRICS)}, not {given!r}{meant('metrics=', given)}")
    return METRICS[given]


def _number(function: Function, outputs: Array, targets: Array) -> float:
    found = function(outputs, targets)
    try:
        return float(found)
    except (TypeError, ValueError):
        raise UsageError(f"the metric {function!r} must return a number, not {found!r}") from None


def _check_fits(metric: Metric, output: str, target: Array, loss: Loss) -> None:
    """Raise ``UsageError``, which says what fits, for a metric of classes where there are none, or of numbers."""
    classes = target.dtype.kind == "i" and not isinstance(loss, OwnLoss)
    kind = "numbers" if _are_quantities(target, loss) else "classes" if classes else "any"
    if "any" in (kind, metric.of) or kind == metric.of:
        return
    fitting = either(name for name, each in METRICS.items() if each.of == kind)
    if metric.of == "numbers":
        raise UsageError(
            f"{metric.name} needs numbers to compare with, but y has classes for '{output}': {fitting} count them"
        )
    found = f"numbers from {target.min():.4g} to {target.max():.4g} for '{output}'"
    raise UsageError(f"{metric.name} counts classes, but y has {found}: {fitting} is for quantities")


def _are_quantities(target: Array, loss: Loss) -> bool:
    """True if targets, one number each, are quantities rather than one of two classes, 0 or 1."""
    if isinstance(loss, GaussianLikelihood):
        return True
    if loss.shares or target.dtype.kind == "i":
        return False
    return target.size == len(target) and not bool(np.isin(target, (0, 1)).all())


def _for_loss(metric: Metric, loss: Loss) -> Metric:
    """The metric as it suits the loss: of predicted means, or of the places whose class is not ignored."""
    ignored = getattr(loss, "ignore_index", None)
    if metric.of == "numbers" and isinstance(loss, GaussianLikelihood):
        return replace(metric, measure=lambda outputs, *rest: metric.measure(np.split(outputs, 2, -1)[0], *rest))
    if metric.of == "classes" and ignored is not None:
        return replace(metric, measure=lambda *given: _but_for(ignored, metric.measure, *given))
    return metric


def _but_for(ignored: int, measure: Measure, outputs: Array, targets: Array, weights: Array, threshold: float) -> float:
    """A metric of classes without the places whose class is ``ignored``."""
    if targets.ndim == outputs.ndim:
        return measure(outputs, targets, weights, threshold)
    each = np.repeat(weights, targets.size // len(weights))
    rows, flat = np.moveaxis(outputs, 1, -1).reshape(targets.size, -1), targets.ravel()
    counts = (flat != ignored) & (each > 0)
    return measure(rows[counts], flat[counts], each[counts], threshold) if counts.any() else math.nan
