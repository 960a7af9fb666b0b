"""Naive Bayes classifiers and quadratic discriminants: logarithms of probabilities, as layers and squares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.sklearn.outputs import Output, labels_of, linear
from portable_nn.operators import Symbol, cast, constant, emit, integers

COUNTED: Final = "scikit-learn counts, and trains by no gradient: fit goes on with cross-entropy"


def _logits(estimator: Any, x: Symbol, weight: NDArray[Any], bias: Any) -> Output:
    symbol, layers = linear(x, weight, bias)
    return Output(symbol, "logits", "predict_proba", labels_of(estimator.classes_), "cross_entropy", (COUNTED,), layers)


def _multinomial(estimator: Any, x: Symbol) -> Output:
    return _logits(estimator, x, estimator.feature_log_prob_, estimator.class_log_prior_)


def _complement(estimator: Any, x: Symbol) -> Output:
    return _logits(estimator, x, estimator.feature_log_prob_, 0.0)


def _bernoulli(estimator: Any, x: Symbol) -> Output:
    if estimator.binarize is not None:
        x = cast(emit("Greater", x, constant(estimator.binarize, x.dtype)), x.dtype)
    absent = np.log(1 - np.exp(estimator.feature_log_prob_))
    bias = estimator.class_log_prior_ + absent.sum(axis=1)
    return _logits(estimator, x, estimator.feature_log_prob_ - absent, bias)


def _gaussian(estimator: Any, x: Symbol) -> Output:
    """A dense layer of the features, about their mean, and of their squares."""
    center, var = estimator.theta_.mean(axis=0), estimator.var_
    means = estimator.theta_ - center
    x = x - constant(center[np.newaxis], x.dtype)
    bias = np.log(estimator.class_prior_) - 0.5 * (np.log(2 * np.pi * var) + means**2 / var).sum(axis=1)
    weight = np.concatenate([means / var, -0.5 / var], axis=1)
    return _logits(estimator, emit("Concat", x, x * x, axis=1), weight, bias)


def _quadratic(estimator: Any, x: Symbol) -> Output:
    """QuadraticDiscriminantAnalysis: a distance from each class, in axes of its own."""
    parts = []
    for mean, axes, sizes in zip(estimator.means_, estimator.rotations_, estimator.scalings_, strict=True):
        turned = emit("MatMul", x - constant(mean[np.newaxis], x.dtype), constant(axes * sizes**-0.5, x.dtype))
        parts.append(emit("ReduceSum", turned * turned, integers([1]), keepdims=1))
    logs = np.array([np.log(sizes).sum() for sizes in estimator.scalings_])
    bias = np.log(estimator.priors_) - 0.5 * logs
    found = _logits(estimator, emit("Concat", *parts, axis=1), -0.5 * np.eye(len(bias)), bias)
    return replace(found, layers=())  # Of two classes, its decision_function is a difference.


BAYES: Final[Mapping[str, Callable[[Any, Symbol], Output]]] = {
    "BernoulliNB": _bernoulli,
    "ComplementNB": _complement,
    "GaussianNB": _gaussian,
    "MultinomialNB": _multinomial,
    "QuadraticDiscriminantAnalysis": _quadratic,
}
"""The classifiers of probabilities by class that become layers."""
