"""Steps of pipelines that multiply by a matrix: components, discriminants, random and other projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from portable_nn.converters.sklearn.features import Features, Step
from portable_nn.core.errors import UsageError
from portable_nn.operators import emit


def projected(matrix: Any, mean: Any, features: Features, step: Step) -> Features:
    """(x - mean) · matrix, whose nodes and numbers have the name of the step."""
    x = step.numbers(features)
    if mean is not None:
        x = emit("Sub", x, step.frozen("mean", mean, x))
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return step.named("MatMul", x, step.frozen("components", np.asarray(matrix, np.float64), x))


def pca(estimator: Any, features: Features, step: Step) -> Features:
    """PCA and IncrementalPCA."""
    matrix = estimator.components_.T.astype(np.float64)
    if estimator.whiten:
        scale = np.sqrt(estimator.explained_variance_)
        matrix = matrix / np.maximum(scale, np.finfo(scale.dtype).eps)
    return projected(matrix, estimator.mean_, features, step)


def components(estimator: Any, features: Features, step: Step) -> Features:
    """TruncatedSVD, random projections and NeighborhoodComponentsAnalysis."""
    return projected(estimator.components_.T, None, features, step)


def independent(estimator: Any, features: Features, step: Step) -> Features:
    """FastICA."""
    return projected(estimator.components_.T, estimator.mean_ if estimator.whiten else None, features, step)


def factors(estimator: Any, features: Features, step: Step) -> Features:
    """FactorAnalysis: the expected factors."""
    weighed = estimator.components_ / estimator.noise_variance_
    spread = np.linalg.inv(np.eye(len(weighed)) + weighed @ estimator.components_.T)
    return projected(weighed.T @ spread, estimator.mean_, features, step)


def discriminants(estimator: Any, features: Features, step: Step) -> Features:
    """LinearDiscriminantAnalysis, in the middle of a pipeline."""
    if estimator.solver == "lsqr":
        raise UsageError(f"{step.title}: LinearDiscriminantAnalysis(solver='lsqr') transforms nothing: use 'svd'")
    matrix = estimator.scalings_[:, : estimator._max_components]
    return projected(matrix, estimator.xbar_ if estimator.solver == "svd" else None, features, step)


def waves(estimator: Any, features: Features, step: Step) -> Features:
    """RBFSampler: cosines of random projections."""
    x = projected(estimator.random_weights_, None, features, step).symbol
    shifted = emit("Add", x, step.frozen("offset", estimator.random_offset_, x))
    size = float(np.sqrt(2 / len(estimator.random_offset_)))
    return step.computed(emit("Cos", shifted) * size)
