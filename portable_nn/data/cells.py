"""The cells of tables: numbers, words and missing values, from text, and why a cell or column is none of them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.core.text import shortened, some

Cells: TypeAlias = NDArray[Any]
"""A column ``(n,)``: numbers as float64, missing ones NaN; or words as objects of type ``str``, missing ones None."""

MISSING: Final = frozenset(
    {"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "?"}
    | {sign + name for sign in ("", "+", "-") for name in ("NaN", "nan", "NAN")}
)
"""The cells of a file that stand for a missing value: as C, R, pandas, SQL and the UCI repository write it."""

# Possessive throughout: a long text that is no list of numbers must fail at once, without trying other ways.
_DIGITS: Final = r"[+-]?+(?>\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+"
_NUMBER: Final = re.compile(_DIGITS, re.ASCII)
_INFINITY: Final = r"[+-]?+(?i:inf(?:inity)?+)"
_OR_INFINITY: Final = rf"(?>{_DIGITS}|{_INFINITY})"
_NUMBER_OR_INFINITY: Final = re.compile(_OR_INFINITY, re.ASCII)
_NUMBERS: Final = re.compile(rf"(?:{_OR_INFINITY}(?:\n{_OR_INFINITY})*+)?+", re.ASCII)
_COMMA: Final = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_DATE: Final = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T]\d{1,2}:\d{2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}(:\d{2})?",
    re.ASCII,
)

_MARKED: Final = re.compile(r"[+-]?[$€£¥]?[+-]?\d[\d.,' ]*[$€£¥%‰]?", re.ASCII)

_SWAPPED: Final = str.maketrans(",.", ".,")


def check_unique(names: Iterable[str], where: str | Path) -> None:
    """Raise ``DataError`` that lists the names which several columns of a table have."""
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(where, f"two columns have one name: {some(repeated)}")


def plain_cell(cell: Any) -> int | float | str | None:
    """A cell of another package's table as a number or a word; None where it is missing, infinite beyond floats."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, (bool, int, float, np.number)):
        if isinstance(cell, int) and abs(cell) > sys.float_info.max:
            return np.inf if cell > 0 else -np.inf
        return None if cell != cell else float(cell)
    return None if str(cell) in MISSING else str(cell)


def word_of(number: float) -> str:
    """A number as the word that a person writes for it: ``3``, ``2.5``."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def is_words(cells: Cells) -> bool:
    """True if a column holds words, and not numbers."""
    return cells.dtype.kind == "O"


def missing(cells: Cells) -> NDArray[np.bool_]:
    """True in the places where a column has no value."""
    return np.array([cell is None for cell in cells], bool) if is_words(cells) else np.isnan(cells)


def is_number(cell: str, decimal: str) -> bool:
    """True if a cell says a number."""
    return _NUMBER.fullmatch(_pointed(cell, decimal)) is not None


def number_in(cell: str, decimal: str = ".") -> float | None:
    """The number that a cell says, infinite if it is too large or says so; None where it says none."""
    pointed = _pointed(cell.strip(), decimal)
    return float(pointed) if _NUMBER_OR_INFINITY.fullmatch(pointed) else None


def _pointed(text: str, decimal: str) -> str:
    """``text`` with decimal points; where commas are decimal marks, points are none."""
    return text if decimal == "." else text.translate(_SWAPPED)


def numbers_in(cells: Sequence[str], decimal: str) -> Cells | None:
    """Cells as numbers, missing ones as NaN; None unless all of them are one or the other.

    Infinity is a number here, be it ``inf``, ``-Infinity`` or ``1e400``: who needs finite ones says which row has it.
    """
    present = [cell for cell in cells if cell not in MISSING]
    if not _NUMBERS.fullmatch(_pointed("\n".join(present), decimal)):
        return None
    return np.array([_pointed(cell, decimal) if cell not in MISSING else "nan" for cell in cells], np.float64)


def words_in(cells: Sequence[str]) -> Cells:
    """Cells as words, missing ones as None."""
    found = np.empty(len(cells), object)
    found[:] = [None if cell in MISSING else sys.intern(cell) for cell in cells]
    return found


DATES: Final = (
    "holds dates or times: make numbers of them that mean something to a network, such as the month or the days since "
    "a day, or leave the column out"
)


COMMAS: Final = "if these are numbers with decimal commas, say so: --decimal , (decimal=',')"

_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3})+,|(?:,\d{3})+\.)\d+", re.ASCII)
_FORMS: Final = {
    ".": (
        _NUMBER,
        re.compile(rf"{_COMMA.pattern}|{_GROUPED.pattern}", re.ASCII),
        f"write numbers without marks of thousands; {COMMAS}",
    ),
    ",": (re.compile(_DIGITS.replace(r"\.", ","), re.ASCII), _GROUPED, "write numbers without marks of thousands"),
}
"""By the decimal mark of a table: the form of a number, that of a word that is meant as one, and what to do with it."""

NOTHING: Final = "holds no value at all: leave it out"

MEND: Final = "mend it, or leave its cell empty if the number is missing"


MOST: Final = 100
"""The most categories that a column of words may have."""

MOSTLY: Final = 0.8
"""A column of which this share are numbers is meant to be one of numbers."""


def number_fault(cell: str, decimal: str) -> str:
    """Why a cell of a column of numbers is none."""
    hint = f"; {COMMAS}" if decimal == "." and _COMMA.fullmatch(cell) else ""
    return f"expected a number, found {shortened(cell)}{hint}"


def word_fault(cells: Cells, decimal: str) -> str | None:
    """Why the words of a column are no categories, of which there may be ``MOST``; None where they are.

    By ``decimal``, the decimal mark of the table, some of them may be numbers, and need no mending.
    """
    different = dict.fromkeys(cell for cell in cells if cell is not None)
    if not different:
        return NOTHING
    number, meant, hint = _FORMS[decimal]
    forms = (_DATE, meant, number, re.compile(_INFINITY))
    dates, others, numbers, infinite = (dict.fromkeys(filter(form.fullmatch, different)) for form in forms)
    if len(dates) == len(different):
        return DATES
    if infinite and len(infinite) + len(numbers) == len(different):
        return f"holds '{next(iter(infinite))}', a number that no network can compute with: {MEND}"
    if others and len(others) + len(numbers) >= MOSTLY * len(different):
        return f"holds words such as '{next(iter(others))}': {hint}"
    if MOSTLY * len(different) <= len(numbers) < len(different):
        word = next(word for word in different if word not in numbers)
        return f"holds numbers, but also the word '{word}': {MEND}"
    if len(different) > MOST:
        return (
            f"holds {len(different):,} different words, such as {some(different)}: names and texts are no categories, "
            f"and there may be at most {MOST}: {_marks(different)}leave the column out"
        )
    return None


def _marks(words: Iterable[str]) -> str:
    """The way out for words that are numbers with marks, such as $3.50 and 12%; empty for other words."""
    return "remove marks such as $ and % to make numbers of them, or " * all(map(_MARKED.fullmatch, words))


NEW: Final = 10
"""More words than that which stand in one row each, and in most rows, are no categories."""


def new_fault(
    cells: Cells, but: str = "leave the column out, or name it if they are categories (--categorical, categorical=)"
) -> str | None:
    """Why words are no categories: most rows have one that no other row has; None where they are.

    ``but`` is what to do if they are.
    """
    counts = Counter(cell for cell in cells if cell is not None)
    once = [word for word, count in counts.items() if count == 1]
    hint = _marks(counts)
    if len(once) <= NEW or len(once) <= (MARKED_SHARE if hint else 0.5) * counts.total():
        return None
    return (
        f"holds {len(counts):,} different words in {counts.total():,} rows, such as {some(counts)}; categories repeat: "
        f"{hint}{but}"
    )


MARKED_SHARE: Final = 0.1
"""The same of words that are numbers with marks, such as 12 %, which repeat sooner."""
