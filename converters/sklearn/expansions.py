"""Steps of pipelines that make other features of each one: powers and products, bins, functions of numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import mul
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.array import FORMULAS
from portable_nn.converters.sklearn.features import Features, Step
from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol, cast, constant, emit, integers

_OPERATORS: Final = {
    "abs": "Abs", "absolute": "Abs", "cos": "Cos", "exp": "Exp", "expit": "Sigmoid", "log": "Log", "negative": "Neg",
    "reciprocal": "Reciprocal", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt", "tanh": "Tanh",
}  # fmt: skip

_OTHERS: Final[Mapping[str, Callable[[Symbol], Symbol]]] = {
    name: FORMULAS[name] for name in ("expm1", "log10", "log1p", "log2", "square")
}

FUNCTIONS: Final[Mapping[str, Callable[[Symbol], Symbol]]] = {
    name: _OTHERS.get(name) or partial(emit, _OPERATORS[name]) for name in sorted([*_OPERATORS, *_OTHERS])
}
"""The functions of numpy and scipy.special that are nodes, by name."""


def function_of(given: Any, where: str) -> Callable[[Symbol], Symbol]:
    """The nodes of a function of numpy. Raises ``UsageError`` for others."""
    name = getattr(given, "__name__", "")
    if not isinstance(given, np.ufunc) or name not in FUNCTIONS:
        raise UsageError(
            f"{where}: the function {name or given!r} has no nodes; those of numpy that have: {', '.join(FUNCTIONS)}"
        )
    return FUNCTIONS[name]


def function(estimator: Any, features: Features, step: Step) -> Features:
    """FunctionTransformer."""
    if estimator.func is None:
        return features
    if estimator.kw_args:
        raise UsageError(f"{step.title}: FunctionTransformer with kw_args has no nodes")
    return step.computed(function_of(estimator.func, step.title)(step.numbers(features)))


def polynomial(estimator: Any, features: Features, step: Step) -> Features:
    """PolynomialFeatures: products of at most ``degree`` columns, one of which is 1."""
    x, powers = step.numbers(features), np.asarray(estimator.powers_)
    count, most = powers.shape[1], int(powers.sum(axis=1).max(initial=0))
    factors = np.full((len(powers), max(most, 1)), count)
    for row, each in enumerate(powers):
        places = np.repeat(np.arange(count), each)
        factors[row, : len(places)] = places
    ones = emit("Slice", x, integers([0]), integers([1]), integers([1])) * 0.0 + 1.0
    wide = emit("Concat", x, ones, axis=1)
    taken = [emit("Gather", wide, constant(places.astype(np.int64), "int64"), axis=1) for places in factors.T]
    return step.named("Identity", reduce(mul, taken))


def bins(estimator: Any, features: Features, step: Step) -> Features:
    """KBinsDiscretizer: the number of the bin, or a 1 in its place."""
    step.numbers(features)

    def of_column(place: int, x: Symbol) -> Symbol:
        edges = step.frozen(f"edges_{place}", np.asarray(estimator.bin_edges_[place])[1:-1], x)
        if estimator.encode == "ordinal":
            return emit("ReduceSum", above(x, edges), integers([1]), keepdims=1)
        return between(x, edges)

    return step.by_column(features, of_column)


def above(x: Symbol, edges: Symbol) -> Symbol:
    """1 for each of the edges that a number (batch, 1) is not below, else 0."""
    return cast(emit("GreaterOrEqual", x, edges), x.dtype)


def between(x: Symbol, edges: Symbol) -> Symbol:
    """A 1 in the place of the part that a number (batch, 1) is in, where parts end at the edges; 0 for others."""
    ones, over = x * 0.0 + 1.0, above(x, edges)
    return emit("Concat", ones, over, axis=1) - emit("Concat", over, ones * 0.0, axis=1)


def power(estimator: Any, features: Features, step: Step) -> Features:
    """PowerTransformer: Yeo and Johnson's powers, or those of Box and Cox, and perhaps their scale."""
    x, powers = step.numbers(features), np.asarray(estimator.lambdas_, np.float64)
    if estimator.method == "box-cox":
        found = _box_cox(x, powers)
    else:
        zero = constant(0, x.dtype)
        above = _box_cox(emit("Max", x, zero) + 1.0, powers)
        below = -_box_cox(emit("Max", -x, zero) + 1.0, 2 - powers)
        found = emit("Where", emit("Less", x, zero), below, above)
    if estimator.standardize:
        scaler = estimator._scaler
        found = (found - step.frozen("mean", scaler.mean_, x)) / step.frozen("std", scaler.scale_, x)
    return step.computed(step.emit("Identity", found))


def _box_cox(x: Symbol, powers: NDArray[np.float64]) -> Symbol:
    """(x^λ - 1) / λ, or log x where λ is 0."""
    is_zero = np.abs(powers) < np.finfo(np.float64).eps
    safe = constant([np.where(is_zero, 1.0, powers)], x.dtype)
    logs = emit("Log", x)
    curved = (emit("Exp", logs * safe) - 1.0) / safe
    return emit("Where", constant([is_zero], "bool"), logs, curved) if is_zero.any() else curved
