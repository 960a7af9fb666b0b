"""The columns of a table as a network gets them: numbers as they are, and the index of a word among its categories."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.text import quantity, some
from portable_nn.data.cells import (
    MEND,
    NOTHING,
    Cells,
    is_words,
    missing,
    new_fault,
    number_fault,
    number_in,
    word_fault,
    word_of,
)
from portable_nn.data.counted import are_counted
from portable_nn.data.frames import Frame
from portable_nn.format.meaning import Column, Missing, Statistics, Unknown

OTHER: Final = -1.0
"""The number that a network gets for a word that is none of its categories."""

TRUTH: Final = {"True": 1.0, "False": 0.0, "TRUE": 1.0, "FALSE": 0.0, "true": 1.0, "false": 0.0}
"""Booleans in files, as pandas and R write them, and as numbers."""


def find_columns(
    frame: Frame,
    names: Sequence[str],
    *,
    missing: Missing = "refuse",
    unknown: Unknown = "refuse",
    categorical: Collection[str] = (),
    units: Mapping[str, str] | None = None,
) -> tuple[Column, ...]:
    """The columns ``names`` of a table: their kinds, categories and statistics.

    Args:
        frame: the examples that a network is trained on.
        names: the columns that it gets, in this order.
        missing: how missing values are met. ``refuse`` is an error that counts them; ``mean``, ``median`` and
            ``indicator`` are for columns of numbers that have some, and words that are missing are then no category.
        unknown: how words are met later that the table does not have.
        categorical: columns that are categories, although they hold numbers, or words of which most stand in one row.
        units: units by the names of columns.

    Raises ``DataError`` for columns that are missing, dates, texts, and values that are missing.
    """
    for option, given in (("categorical", categorical), ("units", units or {})):
        if strange := [name for name in given if name not in frame.columns]:
            raise UsageError(f"{option}: {frame.where} {frame.lacks(strange[0])}")
    found, useless, faults = [], list[str](), _missing_faults(frame, names) if missing == "refuse" else []
    for name in names:
        cells = frame.column(name)
        if name in categorical and not is_words(cells):
            cells = _codes(cells)
        if fault := _fault(frame, cells, name in categorical):
            faults.append(f"column '{name}' {fault}")
            useless.append(name)
            continue
        found.append(_column(name, cells, missing, unknown, (units or {}).get(name, "")))
    if useless:
        faults.append(f"--drop {shlex.quote(','.join(useless))} (drop=) leaves them out")
    if faults:
        raise DataError(frame.where, "\n  ".join(faults))
    return tuple(found)


def _fault(frame: Frame, cells: Cells, is_meant: bool) -> str | None:
    """Why a column is of no use; None where it is, such as for words that are meant to be categories."""
    if not is_words(cells):
        return numbers_fault(frame, cells)
    return word_fault(cells, frame.decimal) or (None if is_meant else new_fault(cells))


def _column(name: str, cells: Cells, policy: Missing, unknown: Unknown, unit: str) -> Column:
    absent = missing(cells)
    policy = policy if absent.any() else "refuse"
    if is_words(cells):
        return Column(name, categories=tuple(sorted(set(cells[~absent]))), unknown=unknown, missing=policy)
    return Column(name, unit, missing=policy, statistics=statistics_of(cells[~absent]))


def statistics_of(numbers: Cells) -> Statistics:
    """The range, the mean, which rounding may not move out of it, and the standard deviation."""
    low, high = float(numbers.min()), float(numbers.max())
    return Statistics(low, high, min(max(float(numbers.mean()), low), high), float(numbers.std()))


def numbers_fault(frame: Frame, cells: Cells, dtype: str = "float32") -> str | None:
    """Why the numbers of a column of ``frame`` are of no use in ``dtype``; None where they are, or for words."""
    if is_words(cells):
        return None
    if np.isnan(cells).all():
        return NOTHING
    if (large := np.abs(cells) > float(np.finfo(dtype).max)).any():
        place = int(large.argmax())
        return f"holds {cells[place]:g} ({frame.row(place)}), which is no finite {dtype}: {MEND}"
    return None


def _codes(cells: Cells) -> Cells:
    """Numbers as words: 3.0 is ``3``."""
    return np.array([None if np.isnan(cell) else word_of(float(cell)) for cell in cells], object)


EXACT: Final = 2**24
"""The whole number below which float32 has all, and takes no other for one of them."""


def codes_of(column: Column) -> tuple[float, ...]:
    """The numbers that the categories of a column are, where a table has numbers there, however written; or empty."""
    numbers = [number_in(word) for word in column.categories]
    found = tuple(number for number in numbers if number is not None and abs(number) < EXACT)
    return found if [*map(word_of, found)] == [*column.categories] else ()


def _missing_faults(frame: Frame, names: Sequence[str]) -> list[str]:
    holes = {name: count for name in names if (count := int(missing(frame.column(name)).sum()))}
    listed = some(f"'{name}' {count:,}" for name, count in holes.items())
    fault = (
        f"of {quantity(len(frame), 'row')} values are missing in {quantity(len(holes), 'column')}: {listed}. "
        "--missing (missing=) says what to put there: mean, median or indicator; drop leaves out these rows"
    )
    return [fault] if holes else []


def without_holes(frame: Frame, names: Sequence[str]) -> Frame:
    """The rows in which no value is missing. Raises ``DataError`` where none is left."""
    whole = ~np.any([missing(frame.column(name)) for name in names], axis=0)
    if not whole.any():
        raise DataError(frame.where, "a value is missing in each row")
    return frame if whole.all() else frame.taken(np.flatnonzero(whole))


def encoded(
    frame: Frame, columns: Sequence[Column], targets: Sequence[str] = (), dtype: str = "float32"
) -> tuple[NDArray[Any], dict[int, str]]:
    """The rows ``(n, columns)`` as a network gets them, and for each that cannot be used the reason, by its place.

    Columns are found by their names, in any order; those of a table without names by their order, unless it has the
    ``targets`` beside them. Missing values are NaN, words the index of their category, and unknown ones ``OTHER``.

    Raises ``DataError`` where columns are missing, or hold words where numbers belong.
    """
    frame = _named(frame, columns, targets)
    rows = np.empty((len(frame), len(columns)), dtype)
    faults: dict[int, str] = {}
    for place, column in enumerate(columns):
        cells = frame.column(column.name)
        numbers, wrong = _indices(cells, column) if column.categories else _numbers(cells, frame.decimal)
        with np.errstate(over="ignore"):
            rows[:, place] = numbers
        for row, fault in wrong.items():
            faults.setdefault(row, f"column '{column.name}': {fault}")
        for row in np.flatnonzero(np.isinf(rows[:, place])).tolist():
            faults.setdefault(row, f"column '{column.name}': {numbers[row]:g} does not fit into a {dtype}")
        if column.missing == "refuse":
            for row in np.flatnonzero(np.isnan(rows[:, place])).tolist():
                faults.setdefault(row, f"column '{column.name}': the value is missing, as none was in training")
    return rows, faults


def _named(frame: Frame, columns: Sequence[Column], targets: Sequence[str]) -> Frame:
    """``frame`` with the names that the columns of a network have."""
    names = [column.name for column in columns]
    if frame.named and not frame.columns.keys() >= set(names):
        frame = _uncounted(frame)
    if not frame.named:
        # Numbered may be those that the network was trained on.
        return frame if frame.columns.keys() == {*names, *targets} else _with_names(frame, names)
    if absent := [name for name in names if name not in frame.columns]:
        extra = [name for name in frame.columns if name not in names]
        others = f"; what it has beside the others: {some(extra)}" if extra else ""
        raise DataError(frame.where, f"has no column {some(repr(name) for name in absent)}{others}")
    return frame


def _with_names(frame: Frame, names: Sequence[str]) -> Frame:
    """``frame``, whose columns have no names, with as many. Raises ``DataError`` where these stand in its first row."""
    if len(frame.columns) != len(names):
        found = f"expected {quantity(len(names), 'column')}, {some(names)}, or a first line with their names"
        raise DataError(frame.where, f"{found}; found {len(frame.columns)} without names")
    if {word for cells in frame.columns.values() for word in cells[:1].tolist()} == {*names}:
        raise DataError(frame.where, "the first row holds the names of the columns: in JSON, rows are objects")
    return replace(frame, columns=dict(zip(names, frame.columns.values(), strict=True)), named=True)


def _uncounted(frame: Frame) -> Frame:
    """``frame`` without the names ``0, 1, 2, …`` of columns that have none, and without the index before them."""
    columns = dict(frame.columns)
    index = next(iter(columns))
    if index == "index" and are_counted(["", *list(columns)[1:]]):
        del columns[index]
    return Frame(frame.where, columns, frame.rows, named=False) if are_counted(list(columns)) else frame


def unused(frame: Frame, columns: Sequence[Column], targets: Collection[str] = ()) -> list[str]:
    """The names of the columns that a network with ``columns`` has no use for."""
    known = {column.name for column in columns}.union(targets)
    return [name for name in frame.columns if name not in known] if frame.named else []


FAR: Final = 10
"""A number is far from those of training if it is so many times their range beyond them."""

SMALL: Final = 0.1
"""A number of this share of the least of training is in another unit, if all of a column are."""

APART: Final = 3
"""By how many standard deviations the least number must differ from 0 for few numbers to show that."""

MANY: Final = 20
"""So many numbers show it without that."""

SHARE: Final = 0.1
"""The share of a column that may be far: an outlier is no other unit."""


def far_fault(rows: NDArray[Any], columns: Sequence[Column]) -> str | None:
    """The columns whose numbers are far from all of training: more than a tenth too large, or all much too small.

    Such a column is in another unit, such as kg for g. No part of the training data is far.
    """
    found = [_far(rows[:, place], column) for place, column in enumerate(columns) if column.statistics]
    return "; ".join(filter(None, found)) or None


def _far(numbers: NDArray[Any], column: Column) -> str:
    known, x = column.statistics, numbers[np.isfinite(numbers)]
    if known is None or not len(x) or known.maximum == known.minimum:
        return ""
    reach, least = FAR * (known.maximum - known.minimum), max(known.minimum, -known.maximum)
    is_small = (np.abs(x) < SMALL * least).all() and (len(x) >= MANY or least > APART * known.std)
    if not is_small and np.mean((x < known.minimum - reach) | (x > known.maximum + reach)) <= SHARE:
        return ""
    unit = f" {column.unit}" if column.unit else ""
    held = f"{x.min():g}" if x.min() == x.max() else f"{x.min():g} to {x.max():g}"
    seen = f"{known.minimum:g} to {known.maximum:g}{unit}"
    return f"column '{column.name}' holds {held}, and training had {seen}: is its unit the same?"


def _indices(cells: Cells, column: Column) -> tuple[NDArray[np.float64], dict[int, str]]:
    """The index of each word among the categories of ``column``; NaN for a missing one."""
    words = cells if is_words(cells) else _codes(cells)
    if not is_words(cells) and set(column.categories) <= TRUTH.keys():  # A file has words where a frame has booleans.
        names = {word_of(TRUTH[word]): word for word in column.categories}
        words = np.array([names.get(word, word) for word in words], object)
    known: dict[str | None, float] = {word: float(place) for place, word in enumerate(column.categories)}
    known[None] = np.nan
    faults = {}
    if column.unknown == "refuse" and (strange := set(words) - known.keys()):
        reason = (
            f"is none of the categories {some(column.categories)} (train --missing indicator,other takes new words; in "
            "Python unknown='other')"
        )
        faults = {row: f"'{word}' {reason}" for row, word in enumerate(words) if word in strange}
    return np.array([known.get(word, OTHER) for word in words]), faults


def _numbers(cells: Cells, decimal: str) -> tuple[NDArray[np.float64], dict[int, str]]:
    """A column as numbers, NaN for a missing one; among words, those that the CSV reader takes for numbers."""
    if not is_words(cells):
        return cells, {}
    found, faults = np.full(len(cells), np.nan), {}
    for row, cell in enumerate(cells):
        number = np.nan if cell is None else TRUTH.get(cell, number_in(cell, decimal))
        if number is None:
            faults[row] = number_fault(cell, decimal)
        else:
            found[row] = number
    return found, faults
