"""The encoders of categories, as nodes that compare with the numbers of the categories."""

from __future__ import annotations

import math
import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.sklearn.features import Features, Step, joined
from portable_nn.core.errors import UsageError
from portable_nn.data.raw import Raw
from portable_nn.operators import Symbol, cast, constant, emit, integers

ABSENT: Final = -3e38
"""Stands for a missing value where categories are compared: a number that no table has."""


def one_hot(estimator: Any, features: Features, step: Step) -> Features:
    """OneHotEncoder: a 1 in the place of the category."""
    outs = _probed(estimator)
    parts = []
    for place, (raw, cats) in enumerate(zip(features.raw, estimator.categories_, strict=True)):
        x = features.taken([place]).symbol
        codes = _codes(cats, raw, step)
        if estimator.handle_unknown == "error":
            _refuse_others(raw, codes, step)
        same = _same(x, codes)
        parts.append(step.computed(_mapped(same, outs[place], estimator, place, x.dtype)))
    found = joined(parts)
    return Features(step.emit("Identity", found.symbol), found.raw)


def _probed(estimator: Any) -> list[NDArray[np.float64]]:
    """For each column, what the encoder makes of each of its categories: (categories, features)."""
    cats = estimator.categories_
    most = max(map(len, cats))
    rows = np.empty((most, len(cats)), object)
    for place, each in enumerate(cats):
        rows[:, place] = [each[min(row, len(each) - 1)] for row in range(most)]
    if not any(each.dtype.kind in "OUS" for each in cats):
        rows = rows.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Names of columns that the probe does not have.
        found = estimator.transform(rows)
    made = np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)
    ends = np.cumsum(estimator._n_features_outs)
    return [
        made[: len(each), end - count : end]
        for each, end, count in zip(cats, ends, estimator._n_features_outs, strict=True)
    ]


def _mapped(same: Symbol, made: NDArray[np.float64], estimator: Any, place: int, dtype: str) -> Symbol:
    """The features of a column of ones and zeros for its categories."""
    other = np.zeros(made.shape[1])
    infrequent = getattr(estimator, "infrequent_categories_", None)
    if infrequent is not None and infrequent[place] is not None and estimator.handle_unknown != "ignore":
        other = made[list(estimator.categories_[place]).index(infrequent[place][0])]
    found = same
    if made.shape[0] != made.shape[1] or (made != np.eye(len(made))).any():
        found = emit("MatMul", same, constant(made, dtype))
    if other.any():
        none = 1.0 - emit("ReduceSum", same, integers([1]), keepdims=1)
        found = found + none * constant(other[np.newaxis], dtype)
    return found


def _codes(cats: NDArray[Any], raw: Raw | None, step: Step) -> list[float]:
    """The numbers of the categories of a column."""
    found = []
    for cat in cats.tolist():
        if cat is None or (isinstance(cat, float) and math.isnan(cat)):
            if raw is not None:
                raw.missing, raw.gap = "indicator", cat
            found.append(ABSENT)
        elif isinstance(cat, str):
            if raw is None:
                raise UsageError(f"{step.title} reads words that are no column of the table")
            found.append(raw.code(cat))
        else:
            found.append(float(cat))
    return found


def _refuse_others(raw: Raw | None, codes: list[float], step: Step) -> None:
    """Keep that there are no other categories: of words; of numbers, this is a note."""
    if raw is None:
        return
    raw.unknown = "refuse"
    if not raw.words:
        raw.bare = raw.bare or ABSENT not in codes
        raw.codes = tuple(code for code in codes if code != ABSENT)
        step.notes.append(
            f"{raw.name}: a number that is no category is none of them here, and an error in scikit-learn"
        )


def _same(x: Symbol, codes: list[float]) -> Symbol:
    """1 where a number is that of a category, else 0: (batch, 1) → (batch, categories)."""
    if ABSENT in codes:
        x = emit("Where", emit("IsNaN", x), constant(ABSENT, x.dtype), x)
    return cast(emit("Equal", x, constant([codes], x.dtype)), x.dtype)


def ordinal(estimator: Any, features: Features, step: Step) -> Features:
    """OrdinalEncoder: the number of the category."""
    if getattr(estimator, "_infrequent_enabled", False):
        raise UsageError(f"{step.title}: OrdinalEncoder with infrequent categories is not read")
    parts = []
    for place, (raw, cats) in enumerate(zip(features.raw, estimator.categories_, strict=True)):
        x = features.taken([place]).symbol
        codes = _codes(cats, raw, step)
        numbers = np.arange(len(cats), dtype=np.float64)
        if ABSENT in codes:
            numbers[codes.index(ABSENT)] = estimator.encoded_missing_value
        other = 0.0
        if estimator.handle_unknown == "use_encoded_value":
            other = float(estimator.unknown_value)
        else:
            _refuse_others(raw, codes, step)
        if np.isnan(numbers).any() or math.isnan(other):
            raise UsageError(f"{step.title}: OrdinalEncoder that encodes as NaN is not read: give it a number")
        same = _same(x, codes)
        found = emit("MatMul", same, step.frozen(f"codes_{place}", (numbers - other)[:, np.newaxis], x))
        parts.append(step.computed(found + other if other else found))
    whole = joined(parts)
    return Features(step.emit("Identity", whole.symbol), whole.raw)


def target(estimator: Any, features: Features, step: Step) -> Features:
    """TargetEncoder: what the target is on average for each category, a number for each of several classes."""
    each = len(estimator.encodings_) // len(estimator.categories_)
    means = np.broadcast_to(np.ravel(estimator.target_mean_), (each,))
    parts = []
    for place, (raw, cats) in enumerate(zip(features.raw, estimator.categories_, strict=True)):
        x = features.taken([place]).symbol
        numbers = np.stack(estimator.encodings_[place * each : (place + 1) * each], axis=1)
        same = _same(x, _codes(cats, raw, step))
        made = emit("MatMul", same, step.frozen(f"encodings_{place}", numbers - means, x))
        parts.append(step.computed(made + constant([means], x.dtype)))
    whole = joined(parts)
    return Features(step.emit("Identity", whole.symbol), whole.raw)
