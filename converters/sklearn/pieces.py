"""Steps of pipelines that are made of pieces: quantiles and splines."""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from portable_nn.converters.sklearn.expansions import between
from portable_nn.converters.sklearn.features import Features, Step
from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol, cast, constant, emit


def quantiles(estimator: Any, features: Features, step: Step) -> Features:
    """QuantileTransformer: the share of the examples below a number, a line between two quantiles."""
    if estimator.output_distribution != "uniform":
        raise UsageError(
            f"{step.title}: QuantileTransformer(output_distribution={estimator.output_distribution!r}) needs the "
            "quantiles of a normal distribution, which no operator has: use 'uniform'"
        )
    step.numbers(features)
    known, shares = np.asarray(estimator.quantiles_, np.float64), np.asarray(estimator.references_)
    return step.by_column(features, lambda place, x: _interpolated(x, known[:, place], shares, step, place))


def _interpolated(x: Symbol, known: Any, shares: Any, step: Step, place: int) -> Symbol:
    """Lines between points; where several have the same x, a jump, in the middle of which that number is."""
    starts = np.flatnonzero(np.diff(known, prepend=-np.inf) > 0)
    ends = np.append(starts[1:], len(known)) - 1
    numbers, low, high = known[starts], shares[starts], shares[ends]
    found = x * 0.0 + float(shares[0])
    jumps = high - low
    if jumps.any():
        sides = np.stack([jumps, jumps]) / 2
        sides[:, -1] = 0, jumps[-1]  # The largest number is 1,
        sides[:, 0] = jumps[0], 0  # and the smallest 0.
        where = step.frozen(f"jumps_{place}", numbers[jumps > 0], x)
        for operator, sizes in zip(("Greater", "GreaterOrEqual"), sides[:, jumps > 0], strict=True):
            above = cast(emit(operator, x, where), x.dtype)
            found = found + emit("MatMul", above, constant(sizes[:, np.newaxis], x.dtype))
    if len(numbers) > 1:
        gaps = np.diff(numbers)
        over = emit("Sub", x, step.frozen(f"quantiles_{place}", numbers[:-1], x)) / constant(gaps[np.newaxis], x.dtype)
        inside = emit("Clip", over, constant(0, x.dtype), constant(1, x.dtype))
        found = found + emit("MatMul", inside, constant((low[1:] - high[:-1])[:, np.newaxis], x.dtype))
    return found


def splines(estimator: Any, features: Features, step: Step) -> Features:
    """SplineTransformer: a polynomial between each two knots."""
    if estimator.extrapolation not in ("constant", "continue"):
        raise UsageError(
            f"{step.title}: SplineTransformer(extrapolation={estimator.extrapolation!r}) is not read: 'constant' and "
            "'continue' are"
        )
    from scipy.interpolate import PPoly

    step.numbers(features)

    def of_column(place: int, x: Symbol) -> Symbol:
        spline = estimator.bsplines_[place]
        degree, knots = spline.k, spline.t
        inner = knots[degree : len(knots) - degree]
        if estimator.extrapolation == "constant":
            x = emit("Clip", x, constant(inner[0], x.dtype), constant(inner[-1], x.dtype))
        polynomials = [
            PPoly.from_spline((knots, column, degree)).c[:, degree : len(knots) - degree - 1] for column in spline.c.T
        ]
        inside = between(x, step.frozen(f"knots_{place}", inner[1:-1], x))
        over = inside * emit("Sub", x, step.frozen(f"starts_{place}", inner[:-1], x))
        powers = list(accumulate([inside, *[over] * degree], mul))
        matrix = np.stack([each[::-1].reshape(-1) for each in polynomials], axis=1)
        made = emit("MatMul", emit("Concat", *powers, axis=1), step.frozen(f"polynomials_{place}", matrix, x))
        return step.computed(made).taken(range(int(made.shape[1]) - (not estimator.include_bias))).symbol

    return step.by_column(features, of_column)
