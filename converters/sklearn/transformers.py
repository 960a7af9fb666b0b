"""The steps of pipelines that prepare features, as nodes. Their numbers are what ``fit`` of scikit-learn found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import Any, Final

import numpy as np

from portable_nn.converters.sklearn import categories, projections
from portable_nn.converters.sklearn.expansions import between, bins, function, polynomial, power
from portable_nn.converters.sklearn.features import Features, Step, is_gap, joined
from portable_nn.core.errors import UsageError
from portable_nn.data.raw import Raw
from portable_nn.operators import Symbol, cast, constant, emit, integers


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


def name_of(estimator: Any, table: Mapping[str, Any]) -> str | None:
    """The class of an estimator, or the one that it is derived from, that is a key of ``table``."""
    homes = (each for each in type(estimator).__mro__ if each.__module__.partition(".")[0] == "sklearn")
    return next((each.__name__ for each in homes if each.__name__ in table), None)


def check_fitted(estimator: Any) -> None:
    """Raise ``UsageError`` that names an estimator that is not fitted."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        if is_own(estimator):  # It may be one that learns nothing; it is refused by name.
            return
        raise UsageError(f"{type(estimator).__name__} is not fitted: call its fit(X, y) first") from None
    except TypeError:
        raise UsageError(f"{type(estimator).__name__} is no estimator: it has no fit") from None


def is_own(estimator: Any) -> bool:
    """True if an estimator is a class of the user's own, derived from no estimator of scikit-learn or this package."""
    homes = [f"{each.__module__}." for each in type(estimator).__mro__]
    known, bases = ("sklearn.", "portable_nn."), ("sklearn.base.", "sklearn.utils.")
    return not any(home.startswith(known) and not home.startswith(bases) for home in homes)


def transformed(estimator: Any, features: Features, path: str, notes: list[str]) -> Features:
    """The features that a fitted transformer makes; nodes have the name ``path``.

    Raises ``UsageError`` for one that is not fitted, or is none of ``TRANSFORMERS``.
    """
    if isinstance(estimator, str):
        return features  # "passthrough": what is dropped does not come here.
    check_fitted(estimator)
    if name := name_of(estimator, TRANSFORMERS):
        return TRANSFORMERS[name](estimator, features, Step(path, notes))
    if hasattr(estimator, "get_support"):
        return features.taken(np.flatnonzero(estimator.get_support()).tolist())
    raise no_step(estimator, path)


def no_step(estimator: Any, path: str) -> UsageError:
    """The refusal of a step by name."""
    kind = type(estimator).__name__
    why = ", a class of your own," if is_own(estimator) else REASONS.get(kind, "")
    return UsageError(
        f"{path}: {kind}{why} is not among the steps that become nodes: {', '.join(sorted(TRANSFORMERS))}, and "
        "selections of features"
    )


REASONS: Final[Mapping[str, str]] = {
    "IterativeImputer": ", which fills values round by round,",
    "KNNImputer": ", which keeps its examples,",
    "KernelPCA": ", which keeps its examples,",
    "Nystroem": ", which keeps its examples,",
}
"""Why some steps cannot become nodes."""


# -- steps that hold steps


def _pipeline(estimator: Any, features: Features, step: Step) -> Features:
    for name, each in estimator.steps:
        features = transformed("passthrough" if each is None else each, features, f"{step.title}.{name}", step.notes)
    return features


def _side_by_side(estimator: Any, features: Features, step: Step) -> Features:
    """ColumnTransformer and FeatureUnion."""
    parts, weights = [], estimator.transformer_weights or {}
    for name, each, places in _members(estimator, range(len(features))):
        part = transformed(each, features.taken(places), f"{step.title}.{name}", step.notes)
        parts.append(step.computed(step.numbers(part) * float(weights[name])) if name in weights else part)
    if not parts:
        raise UsageError(f"{step.title}: it drops all columns")
    return joined(parts)


def _members(estimator: Any, places: Sequence[int]) -> Iterator[tuple[str, Any, list[int]]]:
    """The steps side by side that are not dropped: their names, these, and the columns among ``places`` they take."""
    known = getattr(estimator, "_transformer_to_input_indices", None)  # Those of ColumnTransformer alone.
    for name, each, *columns in estimator.transformer_list if known is None else estimator.transformers_:
        taken = list(places) if known is None else [places[place] for place in known[name]]
        if (isinstance(each, str) and each == "drop") or not taken:
            continue
        if columns and np.isscalar(columns[0]):
            raise UsageError(f"{name}: it takes the column {columns[0]!r} alone, as texts; a list of columns is read")
        yield name, each, taken


_HOLDERS: Final = ("Pipeline", "ColumnTransformer", "FeatureUnion", "TransformedTargetRegressor")
"""The estimators that hold others."""


def used_places(estimator: Any, places: Sequence[int]) -> list[int]:
    """The columns among ``places`` that a fitted estimator uses: all but those that ``ColumnTransformer`` drops."""
    match name_of(estimator, dict.fromkeys(_HOLDERS)):
        case "TransformedTargetRegressor":
            return used_places(estimator.regressor_, places)
        case "Pipeline":
            steps = (each for _, each in estimator.steps if each is not None and not isinstance(each, str))
            return used_places(next(steps, None), places)
        case "ColumnTransformer" | "FeatureUnion":
            found = _members(estimator, places)
            return [place for _, each, taken in found for place in used_places(each, taken)]
    return list(places)


# -- scales


def _standard(estimator: Any, features: Features, step: Step) -> Features:
    return _shifted(estimator.mean_ if estimator.with_mean else None, estimator.scale_, features, step)


def _max_abs(estimator: Any, features: Features, step: Step) -> Features:
    found = _shifted(None, estimator.scale_, features, step, ("", "largest"))
    return _clipped(found, -1, 1) if getattr(estimator, "clip", False) else found


def _shifted(
    mean: Any, scale: Any, features: Features, step: Step, roles: tuple[str, str] = ("mean", "std")
) -> Features:
    """(x - mean) / scale."""
    x = step.numbers(features)
    if mean is None and scale is None:
        return features
    if scale is None:
        return step.named("Sub", x, step.frozen(roles[0], mean, x))
    if mean is not None:
        x = emit("Sub", x, step.frozen(roles[0], mean, x))
    return step.named("Div", x, step.frozen(roles[1], scale, x))


def _min_max(estimator: Any, features: Features, step: Step) -> Features:
    x = step.numbers(features)
    x = emit("Mul", x, step.frozen("scale", estimator.scale_, x))
    found = step.named("Add", x, step.frozen("offset", estimator.min_, x))
    return _clipped(found, *estimator.feature_range) if estimator.clip else found


def _clipped(features: Features, low: float, high: float) -> Features:
    x = features.symbol
    return Features(emit("Clip", x, constant(low, x.dtype), constant(high, x.dtype)), features.raw)


def _normalizer(estimator: Any, features: Features, step: Step) -> Features:
    x = step.numbers(features)
    if estimator.norm != "max":
        return step.named("LpNormalization", x, axis=1, p=int(estimator.norm[1]))
    norm = emit("ReduceMax", emit("Abs", x), integers([1]), keepdims=1)
    nothing = emit("Equal", norm, constant(0, x.dtype))
    return step.named("Div", x, emit("Where", nothing, constant(1, x.dtype), norm))


def _binarizer(estimator: Any, features: Features, step: Step) -> Features:
    x = step.numbers(features)
    return step.computed(cast(emit("Greater", x, step.frozen("threshold", [estimator.threshold], x)), x.dtype))


# -- missing values


def _imputer(estimator: Any, features: Features, step: Step) -> Features:
    found = [_filling(estimator, place, raw, step) for place, raw in enumerate(features.raw)]
    kept = [place for place, (fill, _) in enumerate(found) if fill is not None]
    x = features.symbol
    absent = _absent(x, [gap for _, gap in found])
    fills = np.array([0.0 if fill is None else fill for fill, _ in found])
    filled = step.emit("Where", absent, step.frozen(estimator.strategy, fills, x), x)
    raw = tuple(each if each is not None and each.words else None for each in features.raw)
    parts = [Features(filled, raw).taken(kept)]
    if estimator.indicator_ is not None and len(estimator.indicator_.features_):
        noted = Features(cast(absent, x.dtype), (None,) * len(features))
        parts.append(noted.taken(estimator.indicator_.features_.tolist()))
    return joined(parts)


def _filling(estimator: Any, place: int, raw: Raw | None, step: Step) -> tuple[float | None, float]:
    """The number that fills a column, ``None`` where the column is left out, and the number of a missing value."""
    fill, gap = estimator.statistics_[place], estimator.missing_values
    if isinstance(fill, str):
        return _filling_words(fill, gap, raw, step)
    if isinstance(gap, str) or fill is None:
        raise UsageError(f"{step.title}: column {place} has missing values {gap!r} filled with {fill!r}")
    is_nan = is_gap(gap)
    if raw is not None and is_nan:
        indicated = estimator.indicator_ is not None and place in estimator.indicator_.features_
        raw.missing = "indicator" if indicated else ("median" if estimator.strategy == "median" else "mean")
        if estimator.strategy in ("most_frequent", "constant"):
            step.notes.append(f"{raw.name}: missing numbers are filled with {fill:g}, by '{estimator.strategy}'")
    return None if is_gap(fill) else float(fill), math.nan if is_nan else float(gap)


def _filling_words(fill: str, gap: Any, raw: Raw | None, step: Step) -> tuple[float, float]:
    """The same of a column of words."""
    if raw is None:
        raise UsageError(f"{step.title} fills words that are no column of the table")
    code = raw.code(fill)
    if isinstance(gap, str):
        return code, raw.code(gap)
    raw.missing, raw.gap = "mean", gap
    return code, math.nan


def _indicator(estimator: Any, features: Features, step: Step) -> Features:
    """MissingIndicator."""
    is_nan = is_gap(estimator.missing_values)
    if not is_nan and any(raw is not None and raw.words for raw in features.raw):
        raise UsageError(
            f"{step.title}: MissingIndicator of words is read where these are missing, not {estimator.missing_values!r}"
        )
    noted = estimator.features_.tolist()
    is_strict = estimator.features == "missing-only" and estimator.error_on_new
    for place, raw in enumerate(features.raw):
        if raw is not None and is_nan:
            raw.bare |= is_strict and place not in noted
            raw.missing = "indicator" if raw.missing == "refuse" else raw.missing
    gap = math.nan if is_nan else float(estimator.missing_values)
    x = features.symbol
    return step.computed(cast(_absent(x, [gap] * len(features)), x.dtype)).taken(noted)


def _absent(x: Symbol, gaps: list[float]) -> Symbol:
    """True where numbers are missing: NaN, or another number for each column."""
    if all(math.isnan(gap) for gap in gaps):
        return emit("IsNaN", x)
    same = emit("Equal", x, constant([[0.0 if math.isnan(gap) else gap for gap in gaps]], x.dtype))
    if not any(math.isnan(gap) for gap in gaps):
        return same
    by_nan = constant([[math.isnan(gap) for gap in gaps]], "bool")
    return emit("Where", by_nan, emit("IsNaN", x), same)


TRANSFORMERS: Final[Mapping[str, Callable[[Any, Features, Step], Features]]] = {
    "Binarizer": _binarizer,
    "ColumnTransformer": _side_by_side,
    "FactorAnalysis": projections.factors,
    "FastICA": projections.independent,
    "FeatureUnion": _side_by_side,
    "FunctionTransformer": function,
    "GaussianRandomProjection": projections.components,
    "IncrementalPCA": projections.pca,
    "KBinsDiscretizer": bins,
    "LinearDiscriminantAnalysis": projections.discriminants,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "MissingIndicator": _indicator,
    "NeighborhoodComponentsAnalysis": projections.components,
    "Normalizer": _normalizer,
    "OneHotEncoder": categories.one_hot,
    "OrdinalEncoder": categories.ordinal,
    "PCA": projections.pca,
    "Pipeline": _pipeline,
    "PolynomialFeatures": polynomial,
    "PowerTransformer": power,
    "QuantileTransformer": quantiles,
    "RBFSampler": projections.waves,
    "RobustScaler": lambda of, features, step: _shifted(of.center_, of.scale_, features, step, ("center", "scale")),
    "SimpleImputer": _imputer,
    "SparseRandomProjection": projections.components,
    "SplineTransformer": splines,
    "StandardScaler": _standard,
    "TargetEncoder": categories.target,
    "TruncatedSVD": projections.components,
}
"""The transformers that become nodes, by class."""
