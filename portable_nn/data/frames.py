"""Tables with named columns, of numbers and words: CSV, Parquet, JSON, data frames, dicts and structured arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.foreign_values import is_path, is_table
from portable_nn.core.isolated import ask
from portable_nn.core.text import quantity, shortened, some, suggestion
from portable_nn.data import arrow_side
from portable_nn.data.cells import Cells, check_unique, is_words, plain_cell, word_of
from portable_nn.data.csv_columns import read_csv
from portable_nn.data.files import opened, read_by
from portable_nn.data.json_rows import is_json, read_json
from portable_nn.data.stored_files import FILES
from portable_nn.data.tables import STDIN, UTF_8

_ARROW: Final = {".parquet": "parquet", ".arrow": "feather", ".feather": "feather"}
_FILES: Final = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", *_ARROW})


@dataclass(frozen=True)
class Dialect:
    """The form of a CSV file: see ``read_frame``."""

    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."
    encoding: str = UTF_8

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError):
            raise UsageError(f"encoding must be latin-1 or another that Python knows, not {self.encoding!r}") from None
        if self.decimal not in (".", ","):
            raise UsageError(f"decimal must be '.' or ',', not {self.decimal!r}")
        mark = "," if self.delimiter is None else self.delimiter
        if len(mark) != 1 or self.delimiter == self.decimal or mark in '"\r\n':
            raise UsageError(f"delimiter must be one character other than the decimal mark, not {mark!r}")


@dataclass(frozen=True)
class Frame:
    """A table with named columns.

    Args:
        where: what messages call it: its path, or ``table``.
        columns: the columns by name, in order, ``(n,)`` each: see ``Cells``.
        rows: the lines of the rows in the file, from 1; None for a table in memory, whose rows count from 0.
        named: whether the names are those of the table; otherwise it has none, and they are ``column 1`` and so on.
        faults: the reasons why rows cannot be used, by their places; their cells are empty.
        decimal: the decimal mark of numbers among words.
    """

    where: str
    columns: Mapping[str, Cells]
    rows: Sequence[int] | None = None
    named: bool = True
    faults: Mapping[int, str] = field(default_factory=dict)
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

    def called(self, word: str) -> str:
        """The name of a column: ``word``, or where it is no name, ``first`` or ``last``, that of the one there."""
        place = {"first": 0, "last": -1}.get(word)
        return word if place is None or word in self.columns else list(self.columns)[place]

    def column(self, name: str) -> Cells:
        """A column by its name. Raises ``DataError`` that names what there is."""
        if name not in self.columns:
            raise DataError(self.where, self.lacks(name))
        return self.columns[name]

    def lacks(self, name: str) -> str:
        """The words for a column that is not there: the one that may be meant, or those that are."""
        return f"has no column '{name}'; {suggestion(name, self.columns) or f'it has {some(self.columns)}'}"


def tables(given: Any) -> list[Any] | None:
    """The tables in what was given: one, or a list of paths. None where it is something else, such as an array."""
    if isinstance(given, (list, tuple)) and given and all(map(_is_file, given)):
        return list(given)
    if are_rows(given):
        return [given]
    if _is_file(given) or isinstance(given, Frame | Mapping) or is_table(given) or _is_arrow(given):
        return [given]
    return [given] if isinstance(given, np.ndarray) and given.dtype.names else None


def are_rows(given: object) -> bool:
    """True for a list of rows, each of which is a dict of cells by the names of columns."""
    return isinstance(given, (list, tuple)) and bool(given) and all(isinstance(row, Mapping) for row in given)


def _is_file(path: object) -> bool:
    return is_path(path) and (str(path) == STDIN or Path(str(path)).suffix.lower() in _FILES)


def _is_arrow(table: object) -> bool:
    return hasattr(table, "column_names") and hasattr(table, "to_pydict")


def read_frame(
    source: Any,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = UTF_8,
    where: str = "table",
    strict: bool = True,
) -> Frame:
    """A table with named columns.

    Args:
        source: the path of a CSV file (``.csv``, ``.tsv``, ``.txt``, or ``"-"`` for standard input), of a Parquet
            (``.parquet``) or Arrow file (``.arrow``, ``.feather``), or of rows in JSON (``.json``, ``.jsonl`` by
            lines, or on standard input); or in memory: a data frame of pandas or polars, a table of pyarrow, a dict of
            columns, one row or a list of rows as dicts, a structured array of numpy, or a ``Frame``.
        header: whether the first line of a CSV file holds the names of the columns; by default it does unless there is
            a number in it, and if it is ``0, 1, 2, …``, the names that pandas gives to columns without names.
        delimiter: what separates the cells of a CSV file; by default a comma, a semicolon or a tab, whichever the first
            line has most of.
        decimal: the decimal mark in a CSV file, ``.`` or ``,``.
        encoding: the encoding of a CSV file, such as ``latin-1``.
        where: what messages call a table in memory.
        strict: whether rows of another length than the first are an error; otherwise they are among its ``faults``.

    In CSV, cells may be quoted. A column is numbers if all of its cells are, infinity among them, but for missing ones:
    empty cells, and ``NA``, ``N/A``, ``NaN``, ``NULL``, ``None`` and ``?``.

    Raises:
        DataError: the file cannot be read, has no rows, rows of different lengths, two columns of one name, or a first
            line of numbers that may be names or an example.
        UsageError: the source is no table, or an option makes no sense.
        MissingPackageError: a Parquet or Arrow file without pyarrow.
    """
    Dialect(header, delimiter, decimal, encoding)
    if isinstance(source, Frame):
        return source
    if is_path(source):
        return _file(Path(str(source)), header, delimiter, decimal, encoding, strict=strict)
    if _is_arrow(source):
        names = source.column_names
        return _frame({name: _arrow_cells(*arrow_side.arrow_cells(source[name]), where, name) for name in names}, where)
    if is_table(source):
        source = {str(name): source[name] for name in source.columns}
    elif isinstance(source, np.ndarray) and source.dtype.names:
        source = {name: source[name] for name in source.dtype.names}
    source = columns_of(source, where)
    if not isinstance(source, Mapping):
        raise UsageError(
            f"a table is a path, a data frame, a dict of columns, a list of dicts or a structured array, "
            f"not {type(source).__name__}"
        )
    return _frame({str(name): _cells_of(column, where, str(name)) for name, column in source.items()}, where)


def _file(
    path: Path, header: bool | None, delimiter: str | None, decimal: str, encoding: str, *, strict: bool
) -> Frame:
    suffix = path.suffix.lower()
    if suffix in _ARROW:
        return _arrow_file(path, _ARROW[suffix])
    if is_json(path):
        return _json_file(path)
    if suffix in FILES:
        raise UsageError(
            f"{path}: expected a table with names of columns, not a file of arrays: --inputs names the array of the "
            "examples, and --target that of what is right for them (inputs=, targets=)"
        )
    return Frame(*read_csv(path, header, delimiter, decimal, encoding, strict=strict), decimal)


def _json_file(path: Path) -> Frame:
    where, found = read_json(path)
    if are_rows(found) or isinstance(found, Mapping):
        return read_frame(found, where=where)
    rows = found if isinstance(found[0], list) else [found]
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(rows[0]):
            raise DataError(f"{where}[{place}]", f"expected {quantity(len(rows[0]), 'cell')}, as the first row has")
    columns = enumerate(zip(*rows, strict=True), start=1)
    return replace(_frame({f"column {n}": _cells_of(cells, where, f"{n}") for n, cells in columns}, where), named=False)


# -- in memory


def columns_of(given: Any, where: str) -> Any:
    """The columns of rows, or of one alone; anything else as it is. Raises ``DataError`` for rows of other columns."""
    if are_rows(given):
        return _of_rows(given, where)
    return _of_rows([given], where) if _is_row(given) else given


def _is_row(given: object) -> bool:
    """True for a dict of cells by the names of columns, each of which is one number or word."""
    return (
        isinstance(given, Mapping)
        and bool(given)
        and not any(isinstance(cell, _NESTED) or np.ndim(cell) for cell in given.values())
    )


_NESTED: Final = (list, tuple, np.ndarray)
"""What is no cell: of lists of several lengths, numpy makes no array."""


def _of_rows(rows: Sequence[Mapping[Any, Any]], where: str) -> dict[Any, list[Any]]:
    """The columns of rows."""
    for place, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise DataError(f"{where}[{place}]", f"expected the columns {some(rows[0])}, found {some(row)}")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _frame(found: Mapping[str, Cells], where: str) -> Frame:
    if not found or not len(next(iter(found.values()))):
        raise DataError(where, "expected rows of named columns, found none")
    lengths = {len(cells) for cells in found.values()}
    if len(lengths) > 1:
        counts = some(f"{name} has {len(cells)}" for name, cells in found.items())
        raise DataError(where, f"expected as many cells in each column: {counts}")
    return Frame(where, found)


def _cells_of(column: Any, where: str, name: str) -> Cells:
    """A column of numbers or of words, from what packages have."""
    if isinstance(column, np.ma.MaskedArray) and column.dtype.kind not in "cV":
        column = np.ma.filled(column.astype(object), None)
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
        return array.astype(np.float64)
    if array.dtype.kind not in "OUS":
        raise DataError(f"{where}: column '{name}'", f"expected numbers or words, found {array.dtype}")
    try:
        return _plain(array)
    except TypeError as error:
        raise DataError(f"{where}: column '{name}'", f"expected one value a row, found {error}") from None


def _plain(array: NDArray[Any]) -> Cells:
    """Objects as numbers where all of them are some, or else as words. Raises ``TypeError`` for what is no cell."""
    if nested := {kind for kind in {*map(type, array.tolist())} if issubclass(kind, (Mapping, *_NESTED))}:
        raise TypeError(shortened(next(cell for cell in array.tolist() if type(cell) in nested)))
    cells = [plain_cell(cell) for cell in array.tolist()]
    if all(cell is None or isinstance(cell, (int, float)) for cell in cells):
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    return np.array([word_of(cell) if isinstance(cell, float) else cell for cell in cells], object)


def _listed(column: Sequence[Any]) -> NDArray[Any]:
    """A list as an array of one axis, whatever its entries are."""
    array = np.empty(len(column), object)
    for place, cell in enumerate(column):
        array[place] = cell
    return array


# -- Arrow


def _arrow_file(path: Path, kind: str) -> Frame:
    with read_by("pyarrow", "tables", path, f"expected a table in {path.suffix[1:].title()}, found none"):
        with opened(path, "a table") as file:
            seen = arrow_side.Seen.of(path, file)
        columns, numbers = ask(arrow_side.table_cells, seen.stored, source=seen, kind=kind)
    check_unique((name for name, _ in columns), path)
    found = zip(columns, numbers, strict=True)
    return _frame({name: _arrow_cells(cells, each, str(path), name) for (name, cells), each in found}, str(path))


def _arrow_cells(cells: list[Any] | None, numbers: NDArray[Any], where: str, name: str) -> Cells:
    """A column from what ``arrow_side.arrow_cells`` makes of it."""
    if cells is None:
        return numbers.astype(np.float64)
    different = _cells_of(cells, where, name)
    missing = None if is_words(different) else np.nan
    found: Cells = np.append(different, np.array([missing], different.dtype))[numbers]
    return found
