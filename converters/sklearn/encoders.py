"""Encoders of categories, fitted: what the numbers of a network say that they make of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from portable_nn.converters.sklearn.made_up import Rows, fitted
from portable_nn.converters.sklearn.values import Array, Entry, Value, taken
from portable_nn.core.errors import UsageError
from portable_nn.core.text import some


class Plan(NamedTuple):
    """How a feature is encoded.

    Attributes:
        kind: ``one-hot``, ``ordinal`` or ``target``.
        cats: its categories, as they stand in the table.
        dropped: the category that becomes zeros, by its place, or -1.
        options: those of the encoder, but for ``categories`` and ``drop``.
    """

    kind: str
    cats: Array
    dropped: int
    options: dict[str, Any]


def groups(x: Value, before: Value, rows: Rows) -> list[Value]:
    """An encoder of several features as encoders of scikit-learn, each with its features that have the same options."""
    inner = taken(x.base, [entry.place for entry in x.of["entries"]])
    plans = _plans(x, inner, rows)
    if _is_one(plans):
        return [x]
    found = list[list[int]]()
    for place, plan in enumerate(plans):
        if found and _is_one([*(plans[each] for each in found[-1]), plan]):
            found[-1].append(place)
        else:
            found.append([place])
    entries = [tuple(x.of["entries"][place] for place in places) for places in found]
    return [replace(x, width=sum(entry.made.shape[1] for entry in each), of={"entries": each}) for each in entries]


def _is_one(plans: Sequence[Plan]) -> bool:
    """Whether one encoder does all of them."""
    first = plans[0]
    same = all(plan.kind == first.kind and plan.options == first.options for plan in plans)
    return len(plans) == 1 or (same and _drop(plans) is not _SEVERAL)


_SEVERAL = object()


def _drop(plans: Sequence[Plan]) -> Any:
    """The option ``drop`` of a OneHotEncoder."""
    if all(plan.dropped == -1 for plan in plans):
        return None
    if all(plan.dropped == 0 for plan in plans):
        return "first"
    if all((plan.dropped == 0) == (len(plan.cats) == 2) and plan.dropped < 1 for plan in plans):
        return "if_binary"
    if all(plan.dropped >= 0 for plan in plans):
        drop = np.empty(len(plans), object)
        drop[:] = [plan.cats[plan.dropped] for plan in plans]
        return drop
    return _SEVERAL


def encoder(x: Value, before: Value, rows: Rows) -> list[tuple[str, Any]]:
    """The fitted encoder of features that have one."""
    from sklearn import preprocessing

    entries, plans = x.of["entries"], _plans(x, before, rows)
    first, options = plans[0], dict(plans[0].options)
    names = {"one-hot": "OneHotEncoder", "ordinal": "OrdinalEncoder", "target": "TargetEncoder"}
    if first.kind == "one-hot":
        options |= {"drop": _drop(plans), "sparse_output": False}
    if not all(_is_sorted(plan.cats) for plan in plans):
        options["categories"] = [plan.cats for plan in plans]
    cells = [_cells(plan, entry) for plan, entry in zip(plans, entries, strict=True)]
    count = max(map(len, cells))
    cells = [each[np.arange(count) % len(each)] if len(each) < count else each for each in cells]
    given = rows.framed(cells, before)
    made = getattr(preprocessing, names[first.kind])(**options)
    if first.kind == "target":
        _fit_means(made, given, entries, rows)
    else:
        fitted(made, given)
    _check(made, x, entries, plans, rows, before)
    return [(x.title.split(".")[-1] or names[first.kind].lower(), made)]


def _plans(x: Value, before: Value, rows: Rows) -> list[Plan]:
    origins, is_raw = rows.origins(before), rows.is_raw(before)
    # Of numbers, the network says no more than that others are no category: with words, they are refused as these are.
    refuses = any(
        origin is not None and len(rows.words[origin]) > 0 and rows.columns[origin].unknown == "refuse"
        for origin in origins
    )
    return [
        _plan(x, entry, origin, is_raw, refuses, rows) for entry, origin in zip(x.of["entries"], origins, strict=True)
    ]


def _plan(x: Value, entry: Entry, origin: int | None, is_raw: bool, refuses: bool, rows: Rows) -> Plan:
    column = None if origin is None else rows.columns[origin]
    words: Sequence[Any] = [] if origin is None else rows.words[origin].tolist()
    gap = np.nan if origin is None else rows.gaps[origin]
    cats = _categories(entry.codes, words, gap, is_raw)
    refuses = refuses and (not len(words) or (column is not None and column.unknown == "refuse"))
    made, other, count = entry.made, entry.other, entry.made.shape[1]
    sums = made.sum(axis=1)
    is_ones = bool(np.isin(made, (0, 1)).all() and (sums <= 1).all() and made.any(axis=0).all())
    if is_ones and entry.role in ("", "vectors") and (sums == 0).sum() <= 1:
        rare = bool((other == np.eye(count)[-1]).all())  # The last feature may be that of all rare categories.
        several = np.flatnonzero(made.sum(axis=0) > 1)
        columns = made[sums == 1].argmax(axis=1)
        columns = columns[columns < count - 1] if rare or len(several) else columns
        dropped = int(np.flatnonzero(sums == 0)[0]) if (sums == 0).any() else -1
        in_order = (np.diff(columns) > 0).all() and several.tolist() in ([], [count - 1])
        unknown = "infrequent_if_exist" if rare else "error" if refuses else "ignore"
        other = np.zeros(count) if rare else other
        options: dict[str, Any] = {"handle_unknown": unknown}
        if len(several):
            options["max_categories"] = count + (dropped >= 0)
        elif rare:
            options["min_frequency"] = 2
        has_gap = is_raw and column is not None and column.missing != "refuse" and not _is_missing(cats[-1])
        if has_gap and unknown == "error" and dropped == -1:  # Words that are missing are zeros, others refused.
            cats, dropped = np.array([*cats, gap], object), len(cats)
        elif has_gap and unknown == "error":
            options["handle_unknown"] = "ignore"
        if in_order and not other.any():
            return Plan("one-hot", cats, dropped, options)
    numbers = made[:, 0]
    whole = np.arange(len(cats))
    gaps = np.array([_is_missing(cat) for cat in cats])
    if count == 1 and entry.role in ("", "codes") and (numbers == whole)[~gaps].all():
        options = {"handle_unknown": "error"}
        if other[0] not in whole:
            options = {"handle_unknown": "use_encoded_value", "unknown_value": int(other[0])}
        if gaps.any():
            options["encoded_missing_value"] = int(numbers[gaps][0])
        return Plan("ordinal", cats, -1, options)
    if count == 1 or count == len(rows.classes) > 2:
        return Plan("target", cats, -1, {})
    raise UsageError(
        f"{x.title or 'its categories'}: scikit-learn has no encoder that makes {count} numbers such as "
        f"{made[0].tolist()} of {some(str(cat) for cat in cats)}"
    )


def _is_missing(cat: Any) -> bool:
    return cat is None or (isinstance(cat, float) and np.isnan(cat))


def _categories(codes: Array, words: Sequence[Any], gap: Any, is_raw: bool) -> Array:
    """Categories as they stand in the table, by their codes."""
    if len(words):
        found = [gap if np.isnan(code) else words[int(code)] for code in codes]
        is_one_kind = all(isinstance(each, bool) for each in found) or not any(
            each is None or isinstance(each, (bool, str)) for each in found
        )
        return np.array(found) if is_one_kind else np.array(found, object)
    is_whole = is_raw and all(float(code).is_integer() for code in codes)
    return codes.astype(np.int64 if is_whole else np.float64)


def _is_sorted(cats: Array) -> bool:
    """Whether ``fit`` would find categories in this order."""
    known = [cat for cat in cats if not _is_missing(cat)]
    return known == sorted(known) and not any(map(_is_missing, cats[: len(known)]))


def _cells(plan: Plan, entry: Entry) -> Array:
    """Categories as often that those of their own stay such, and others become one."""
    if not {"max_categories", "min_frequency"} & plan.options.keys():
        return plan.cats
    return np.repeat(plan.cats, np.where(entry.made[:, -1] == 1, 1, 3))


def _fit_means(made: Any, given: Any, entries: Sequence[Entry], rows: Rows) -> None:
    """TargetEncoder, with the means of a network in the place of its own."""
    count, each = len(given), entries[0].made.shape[1]
    y: Array = np.arange(float(count)) / 3
    if rows.classes:
        y = np.array(rows.classes)[np.arange(max(count, len(rows.classes))) % len(rows.classes)]
        repeated = np.arange(len(y)) % count
        given = given[repeated] if isinstance(given, np.ndarray) else given.iloc[repeated]
    fitted(made, given, y)
    made.encodings_ = [np.array(entry.made[:, place]) for entry in entries for place in range(each)]
    other = entries[0].other
    made.target_mean_ = float(other[0]) if each == 1 else np.array(other)


def _check(made: Any, x: Value, entries: Sequence[Entry], plans: Sequence[Plan], rows: Rows, before: Value) -> None:
    """Raise ``UsageError`` where an encoder makes something else of the categories than the network does."""
    count = max(len(entry.codes) for entry in entries)
    cells = [plan.cats[np.arange(count) % len(entry.codes)] for plan, entry in zip(plans, entries, strict=True)]
    expected = np.concatenate([entry.made[np.arange(count) % len(entry.codes)] for entry in entries], axis=1)
    found = np.asarray(made.transform(rows.framed(cells, before)), np.float64)
    if found.shape != expected.shape or not np.allclose(found, expected):
        raise UsageError(f"{x.title or 'its categories'}: scikit-learn has no encoder that makes these numbers of them")
