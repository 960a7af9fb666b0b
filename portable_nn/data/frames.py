"""Tables with named columns, of numbers and words: CSV and Parquet files, data frames, dicts and structured arrays."""

from __future__ import annotations

import csv
import io
import re
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, MissingPackageError, UsageError
from portable_nn.core.recognise import is_path, is_table
from portable_nn.core.text import some
from portable_nn.data.counted import is_counted_heading, may_be_counted
from portable_nn.data.files import opened
from portable_nn.data.tables import DELIMITERS, STDIN, lines_of, text_of

Cells: TypeAlias = NDArray[Any]
"""A column ``(n,)``: numbers as float64, missing ones NaN; or words as objects of type ``str``, missing ones None."""

MISSING: Final = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?"})
"""What stands in the cells of a file where a value is missing: what R, pandas, SQL and the UCI repository write."""

# Possessive throughout: a long text that is no list of numbers must fail at once, without trying other ways.
_DIGITS: Final = r"[+-]?+(?>\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+"
_NUMBER: Final = re.compile(_DIGITS, re.ASCII)
_NUMBERS: Final = re.compile(rf"(?:{_DIGITS}(?:\n{_DIGITS})*+)?+", re.ASCII)
_COMMA: Final = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_DATE: Final = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T]\d{1,2}:\d{2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}(:\d{2})?",
    re.ASCII,
)

_ARROW: Final = {".parquet": "parquet", ".arrow": "feather", ".feather": "feather"}


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: see ``read_frame``."""

    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."


@dataclass(frozen=True)
class Frame:
    """A table with named columns.

    Args:
        where: what messages call it: its path, or ``table``.
        columns: the columns by name, in order, ``(n,)`` each: see ``Cells``.
        rows: the lines of the rows in the file, from 1; None for a table in memory, whose rows count from 0.
        named: whether the names are those of the table; otherwise it has none, and they are ``column 1`` and so on.
        decimal: the decimal mark of numbers among words.
    """

    where: str
    columns: Mapping[str, Cells]
    rows: Sequence[int] | None = None
    named: bool = True
    decimal: str = "."

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def row(self, place: int) -> str:
        """The name of a row: ``data.csv:12`` or ``table[3]``."""
        return f"{self.where}[{place}]" if self.rows is None else f"{self.where}:{self.rows[place]}"

    def taken(self, places: NDArray[Any]) -> Frame:
        """The rows at ``places`` alone."""
        rows = range(len(self)) if self.rows is None else self.rows
        columns = {name: cells[places] for name, cells in self.columns.items()}
        return replace(self, columns=columns, rows=[rows[int(place)] for place in places])

    def column(self, name: str) -> Cells:
        """A column by its name. Raises ``DataError`` that names what there is."""
        if name not in self.columns:
            raise DataError(self.where, f"has no column '{name}'; its columns are {some(self.columns)}")
        return self.columns[name]


def is_words(cells: Cells) -> bool:
    """Whether a column holds words, and not numbers."""
    return cells.dtype.kind == "O"


def missing(cells: Cells) -> NDArray[np.bool_]:
    """Where a column has no value."""
    if is_words(cells):
        return np.array([cell is None for cell in cells], bool)
    found: NDArray[np.bool_] = np.isnan(cells)
    return found


def tables(given: Any) -> list[Any] | None:
    """The tables in what was given: one, or a list of paths. None where it is something else, such as an array."""
    if isinstance(given, (list, tuple)) and given and all(map(_is_file, given)):
        return list(given)
    if _is_file(given) or isinstance(given, Mapping) or is_table(given) or _is_arrow(given):
        return [given]
    return [given] if isinstance(given, np.ndarray) and given.dtype.names else None


def _is_file(path: object) -> bool:
    return is_path(path) and (str(path) == STDIN or Path(str(path)).suffix.lower() in {".csv", ".tsv", ".txt", *_ARROW})


def _is_arrow(table: object) -> bool:
    return hasattr(table, "column_names") and hasattr(table, "to_pydict")


def read_frame(
    source: Any, *, header: bool | None = None, delimiter: str | None = None, decimal: str = ".", where: str = "table"
) -> Frame:
    """A table with named columns.

    Args:
        source: the path of a CSV file (``.csv``, ``.tsv``, ``.txt``, or ``"-"`` for standard input), of a Parquet
            (``.parquet``) or Arrow file (``.arrow``, ``.feather``); or in memory: a data frame of pandas or polars, a
            table of pyarrow, a dict of columns, or a structured array of numpy.
        header: whether the first line of a CSV file holds the names of the columns; by default it does unless there is
            a number in it, and if it is ``0, 1, 2, …``, the names that pandas gives to columns without names.
        delimiter: what separates the cells of a CSV file; by default a comma, a semicolon or a tab, whichever the first
            line has most of.
        decimal: the decimal mark in a CSV file, ``.`` or ``,``.
        where: what messages call a table in memory.

    In CSV, cells may be quoted. A column is numbers if all of its cells are, but for missing ones: empty cells, and
    ``NA``, ``N/A``, ``NaN``, ``NULL``, ``None`` and ``?``.

    Raises:
        DataError: the file cannot be read, has no rows, rows of different lengths, two columns of one name, or a first
            line of numbers that may be names or an example.
        UsageError: the source is no table, or an option makes no sense.
        MissingPackageError: a Parquet or Arrow file without pyarrow.
    """
    if decimal not in (".", ","):
        raise UsageError(f"decimal must be '.' or ',', not {decimal!r}")
    if delimiter is not None and (len(delimiter) != 1 or delimiter == decimal or delimiter in '"\r\n'):
        raise UsageError(f"delimiter must be one character other than the decimal mark, not {delimiter!r}")
    if is_path(source):
        suffix = Path(str(source)).suffix.lower()
        if suffix in _ARROW:
            return _from_columns(_arrow_columns(Path(str(source)), _ARROW[suffix]), str(source))
        return _read_csv(source, header, delimiter, decimal)
    if _is_arrow(source):
        source = dict(
            zip(source.column_names, (_arrow_cells(source[name]) for name in source.column_names), strict=True)
        )
    elif is_table(source):
        source = {str(name): source[name] for name in source.columns}
    elif isinstance(source, np.ndarray) and source.dtype.names:
        source = {name: source[name] for name in source.dtype.names}
    if not isinstance(source, Mapping):
        raise UsageError(
            f"a table is a path, a data frame, a dict of columns or a structured array, not {type(source).__name__}"
        )
    return _from_columns(source, where)


# -- in memory


def _from_columns(columns: Mapping[Any, Any], where: str) -> Frame:
    found = {str(name): _cells_of(column, where, str(name)) for name, column in columns.items()}
    if not found or not len(next(iter(found.values()))):
        raise DataError(where, "expected rows of named columns, found none")
    lengths = {len(cells) for cells in found.values()}
    if len(lengths) > 1:
        counts = some(f"{name} has {len(cells)}" for name, cells in found.items())
        raise DataError(where, f"expected as many cells in each column: {counts}")
    return Frame(where, found)


def _cells_of(column: Any, where: str, name: str) -> Cells:
    """A column of numbers or of words, from what packages have."""
    if isinstance(column, np.ma.MaskedArray):
        column = [
            None if hidden else cell for cell, hidden in zip(column.data, np.ma.getmaskarray(column), strict=True)
        ]
    if hasattr(column, "to_numpy") and not isinstance(column, np.ndarray):
        column = column.to_numpy()
    array = np.asarray(column) if not isinstance(column, (list, tuple)) else _listed(column)
    if array.ndim != 1:
        raise DataError(f"{where}: column '{name}'", f"expected one value a row, found shape {array.shape}")
    if array.dtype.kind in "Mm":  # Refused where a network has a use for them.
        times = array.astype("datetime64[s]").astype(str) if array.dtype.kind == "M" else np.full(len(array), "00:00")
        words = times.astype(object)
        words[np.isnat(array)] = None
        return words
    if array.dtype.kind in "fiub":
        return _finite(array.astype(np.float64), where, name)
    if array.dtype.kind not in "OUS":
        raise DataError(f"{where}: column '{name}'", f"expected numbers or words, found {array.dtype}")
    cells = [_plain(cell) for cell in array.tolist()]
    if all(cell is None or isinstance(cell, (int, float)) for cell in cells):
        return _finite(np.array([np.nan if cell is None else float(cell) for cell in cells]), where, name)
    return np.array([None if cell is None else str(cell) for cell in cells], object)


def _listed(column: Sequence[Any]) -> NDArray[Any]:
    """A list as an array of one axis, whatever its entries are."""
    array = np.empty(len(column), object)
    for place, cell in enumerate(column):
        array[place] = cell
    return array


def _plain(cell: Any) -> int | float | str | None:
    """A cell as a number or a word; None where it is missing."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, (bool, int, float, np.number)):
        return None if cell != cell else float(cell)
    return None if str(cell) in MISSING else str(cell)


def _finite(numbers: NDArray[np.float64], where: str, name: str) -> NDArray[np.float64]:
    if np.isinf(numbers).any():
        raise DataError(f"{where}: column '{name}'", f"row {int(np.isinf(numbers).argmax())} holds infinity")
    return numbers


def _arrow_columns(path: Path, kind: str) -> dict[str, Any]:
    try:
        import pyarrow
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError("pyarrow", f"reading {path.suffix} files", "tables") from error
    with opened(path, "a table") as file:
        try:
            table = pyarrow.parquet.read_table(file) if kind == "parquet" else pyarrow.feather.read_table(file)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(path, f"expected a table in {path.suffix[1:].title()}, found none: {error}") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise DataError(path, f"two columns have one name: {some(_twice(table.column_names))}")
    return {name: _arrow_cells(table[name]) for name in table.column_names}


def _arrow_cells(column: Any) -> NDArray[Any] | list[Any]:
    kind = str(column.type)
    if kind.startswith(("date", "time", "duration")):
        return np.zeros(len(column), "datetime64[s]")
    if kind.startswith(("int", "uint", "float", "double", "halffloat")) and not column.null_count:
        found: NDArray[Any] = column.to_numpy()
        return found
    cells: list[Any] = column.to_pylist()
    return cells


# -- CSV


def _read_csv(path: Any, header: bool | None, delimiter: str | None, decimal: str) -> Frame:
    """A table as text. A column turns out to hold words as late as in its last row: the text is then read again."""
    with text_of(path, newline="") as (where, file):
        if str(path) == STDIN:  # It cannot be read again, and may begin with a byte order mark.
            file = io.StringIO("".join(lines_of(file, where)).removeprefix("\ufeff"), newline="")
        first = next(lines_of(file, where), None)
        if first is None:
            raise DataError(where, "expected rows, found an empty file")
        delimiter = delimiter or _delimiter(first, decimal)
        words: set[int] = set()
        frame = None
        while frame is None:
            file.seek(0)
            reader = csv.reader(lines_of(file, where), delimiter=delimiter, skipinitialspace=True, strict=True)
            frame = _parsed(reader, where, header, decimal, words)
        return frame


def _delimiter(line: str, decimal: str) -> str:
    return max((each for each in DELIMITERS if each != decimal), key=line.count)


def headings(path: str | Path) -> list[str]:
    """The cells of the first line of a table as text. What is below is not read.

    Raises ``DataError`` where it is no text.
    """
    with text_of(path, newline="") as (where, file):
        first = next(lines_of(file, where), "")
        return next(csv.reader([first], delimiter=_delimiter(first, "."), skipinitialspace=True), [])


def _parsed(reader: Any, where: str, header: bool | None, decimal: str, words: set[int]) -> Frame | None:
    """The table. The places of the columns that hold words are ``words``; those that turn out to are added.

    None where one does whose first cells have been taken for numbers.
    """
    rows = _rows(reader, where)
    first = next(rows, None)
    if first is None:
        raise DataError(where, "expected rows, found none")
    if header is None and may_be_counted(first[1]):
        second = next(rows, None)
        header = is_counted_heading(first[1], second and second[1], where)
        rows = chain([second] if second else [], rows)
    if header is None:
        header = not any(_is_number(cell, decimal) for cell in first[1])
    names = first[1] if header else [f"column {place}" for place in range(1, len(first[1]) + 1)]
    if header:
        _check_names(names, where)
    else:
        rows = chain([first], rows)
    places, parts, is_late = array("q"), [list[Cells]() for _ in names], False
    while chunk := list(islice(rows, PART)):
        for place, row in chunk:
            if len(row) != len(names):
                fault = f"expected {len(names)} cells, as the first line has, found {len(row)}"
                raise DataError(f"{where}:{place}", fault)
        places.extend(place for place, _ in chunk)
        for column, cells in enumerate(zip(*(row for _, row in chunk), strict=True)):
            numbers = None if column in words else _numbers(cells, decimal)
            if numbers is None and column not in words:
                words.add(column)
                is_late |= bool(parts[column])
            parts[column].append(_words(cells) if numbers is None else numbers)
    if is_late:
        return None
    if not places:
        raise DataError(where, "expected rows below the names of the columns, found none")
    columns = (np.concatenate(each) for each in parts)
    return Frame(where, dict(zip(names, columns, strict=True)), places, header, decimal)


PART: Final = 2**13
"""The number of rows that are held as text at once."""


def _rows(reader: Any, where: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each after the number of its last line."""
    try:
        for row in reader:
            if len(row) > 1 or any(map(str.strip, row)):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DataError(where, f"line {reader.line_num}: {error}") from None


def _check_names(names: list[str], where: str) -> None:
    if names and not names[0]:  # The index that R and pandas write.
        names[0] = "index"
    for place, name in enumerate(names, start=1):
        if not name:
            raise DataError(where, f"column {place} has no name")
        if not name.isprintable():
            raise DataError(where, f"column {place}: {name!r} is no name, because it has invisible characters")
    if twice := _twice(names):
        raise DataError(where, f"two columns have one name: {some(twice)}")


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _is_number(cell: str, decimal: str) -> bool:
    return _NUMBER.fullmatch(_pointed(cell, decimal)) is not None


def number_in(cell: str, decimal: str = ".") -> float | None:
    """The number that a cell says, infinite if it is too large; None where it says none."""
    pointed = _pointed(cell.strip(), decimal)
    return float(pointed) if _NUMBER.fullmatch(pointed) else None


def _pointed(text: str, decimal: str) -> str:
    """``text`` with decimal points; where commas are decimal marks, points are none."""
    return text if decimal == "." else text.translate(_SWAPPED)


_SWAPPED: Final = str.maketrans(",.", ".,")


def _numbers(cells: Sequence[str], decimal: str) -> Cells | None:
    """Cells as numbers, missing ones as NaN; None unless all of them are one or the other."""
    present = [cell for cell in cells if cell not in MISSING]
    if not _NUMBERS.fullmatch(_pointed("\n".join(present), decimal)):
        return None
    found = np.array([_pointed(cell, decimal) if cell not in MISSING else "nan" for cell in cells], np.float64)
    return found if np.isfinite(found).sum() == len(present) else None  # 1e400 is infinity.


def _words(cells: Sequence[str]) -> Cells:
    """Cells as words, missing ones as None."""
    found = np.empty(len(cells), object)
    found[:] = [None if cell in MISSING else sys.intern(cell) for cell in cells]
    return found


# -- what a column of words may be

DATES: Final = (
    "holds dates or times: make numbers of them that mean something to a network, such as the month or the days since "
    "a day, or leave the column out"
)


COMMAS: Final = "if these are numbers with decimal commas, say so: the option decimal is ','"

MOSTLY: Final = 0.8
"""A column of which this share are numbers is meant to be one of numbers."""


def number_fault(cell: str, decimal: str = ".") -> str:
    """Why a cell of a column of numbers is none."""
    hint = f"; {COMMAS}" if decimal == "." and _COMMA.fullmatch(cell) else ""
    return f"expected a number, found '{cell}'{hint}"


def word_fault(cells: Cells, most: int) -> str | None:
    """Why the words of a column are no categories, of which there may be ``most``; None where they are."""
    words = [cell for cell in cells if cell is not None]
    different = dict.fromkeys(words)
    if words and all(_DATE.fullmatch(word) for word in different):
        return DATES
    commas = [word for word in different if _COMMA.fullmatch(word)]
    numbers = {word for word in different if _NUMBER.fullmatch(word)}
    if commas and len(commas) + len(numbers) >= MOSTLY * len(different):
        return f"holds words such as '{commas[0]}': {COMMAS}"
    if MOSTLY * len(different) <= len(numbers) < len(different):
        word = next(word for word in different if word not in numbers)
        return f"holds numbers, but also the word '{word}': mend it, or leave its cell empty if the number is missing"
    if len(different) > most:
        return (
            f"holds {len(different):,} different words, such as {some(different)}: names and texts are no categories, "
            f"of which there may be at most {most}: leave the column out"
        )
    return None
