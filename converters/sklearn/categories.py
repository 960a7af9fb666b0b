"""The encoders of categories, as nodes that compare with the numbers of the categories."""

from __future__ import annotations

import math
import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.sklearn.features import Features, Step, is_gap
from portable_nn.core.errors import UsageError
from portable_nn.data.raw import Raw
from portable_nn.operators import Symbol, cast, constant, emit

ABSENT: Final = -3e38
"""Stands for a missing value where categories are compared: a number that no table has."""


def one_hot(estimator: Any, features: Features, step: Step) -> Features:
    """OneHotEncoder: a 1 in the place of the category."""
    outs = _probed(estimator)
    rare = getattr(estimator, "infrequent_categories_", None)

    def of_column(place: int, x: Symbol) -> Symbol:
        made, cats = outs[place], estimator.categories_[place]
        other = np.zeros(made.shape[1])
        if rare is not None and rare[place] is not None and estimator.handle_unknown != "ignore":
            other = made[cats.tolist().index(rare[place][0])]
        strict = estimator.handle_unknown == "error"
        return _encoded(x, _codes(cats, features.raw[place], step, strict=strict), made, other, step, place)

    return step.by_column(features, of_column)


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


def _encoded(x: Symbol, codes: list[float], made: Any, other: Any, step: Step, place: int) -> Symbol:
    """A row of ``made`` for each category of a column, (batch, 1), and ``other`` for what is none."""
    if ABSENT in codes:
        x = emit("Where", emit("IsNaN", x), constant(ABSENT, x.dtype), x)
    found = cast(emit("Equal", x, constant([codes], x.dtype)), x.dtype)
    if made.shape != (len(made), len(made)) or (made != np.eye(len(made))).any() or other.any():
        found = emit("MatMul", found, step.frozen(f"codes_{place}", made - other, x))
    return found + constant([other], x.dtype) if other.any() else found


def _codes(cats: NDArray[Any], raw: Raw | None, step: Step, *, strict: bool = False) -> list[float]:
    """The numbers of the categories of a column, which has no others where the encoder is ``strict``."""
    found = []
    for cat in cats.tolist():
        if is_gap(cat):
            if raw is not None:
                raw.missing, raw.gap = "indicator", cat
            found.append(ABSENT)
        elif isinstance(cat, str):
            if raw is None:
                raise UsageError(f"{step.title} reads words that are no column of the table")
            found.append(raw.code(cat))
        else:
            found.append(float(cat))
    if strict and raw is not None:
        raw.unknown = "refuse"
        if not raw.words:
            raw.bare = raw.bare or ABSENT not in found
            raw.codes = tuple(code for code in found if code != ABSENT)
            step.notes.append(
                f"{raw.name}: a number that is no category is none of them here, and an error in scikit-learn"
            )
    return found


def ordinal(estimator: Any, features: Features, step: Step) -> Features:
    """OrdinalEncoder: the number of the category."""
    if getattr(estimator, "_infrequent_enabled", False):
        raise UsageError(f"{step.title}: OrdinalEncoder with infrequent categories is not read")
    strict = estimator.handle_unknown != "use_encoded_value"
    other = 0.0 if strict else float(estimator.unknown_value)

    def of_column(place: int, x: Symbol) -> Symbol:
        codes = _codes(estimator.categories_[place], features.raw[place], step, strict=strict)
        numbers = np.arange(len(codes), dtype=np.float64)[:, np.newaxis]
        if ABSENT in codes:
            numbers[codes.index(ABSENT)] = estimator.encoded_missing_value
        if np.isnan(numbers).any() or math.isnan(other):
            raise UsageError(f"{step.title}: OrdinalEncoder that encodes as NaN is not read: give it a number")
        return _encoded(x, codes, numbers, np.array([other]), step, place)

    return step.by_column(features, of_column)


def target(estimator: Any, features: Features, step: Step) -> Features:
    """TargetEncoder: what the target is on average for each category, a number for each of several classes."""
    each = len(estimator.encodings_) // len(estimator.categories_)
    means = np.broadcast_to(np.ravel(estimator.target_mean_), (each,))

    def of_column(place: int, x: Symbol) -> Symbol:
        numbers = np.stack(estimator.encodings_[place * each : (place + 1) * each], axis=1)
        return _encoded(x, _codes(estimator.categories_[place], features.raw[place], step), numbers, means, step, place)

    return step.by_column(features, of_column)
