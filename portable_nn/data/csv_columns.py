"""The columns of tables as text, each of numbers or of words."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import DataError
from portable_nn.core.text import quantity, said
from portable_nn.data.cells import Cells, check_unique, is_number, numbers_in, words_in
from portable_nn.data.counted import headed
from portable_nn.data.tables import DELIMITERS, STDIN, UTF_8, lines_of, text_of


class Text(NamedTuple):
    """A table as text: what messages call it, its columns by name, the line of each row, and whether it names them."""

    where: str
    columns: dict[str, Cells]
    rows: Sequence[int]
    named: bool


def read_csv(path: Any, header: bool | None, delimiter: str | None, decimal: str, encoding: str) -> Text:
    """A table as text; the options are those of ``frames.read_frame``.

    A column turns out to hold words as late as in its last row: the text is then read again.

    Raises ``DataError``.
    """
    with text_of(path, encoding, newline="") as (where, file):
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
    with text_of(path, UTF_8, newline="") as (where, file):
        first = next(lines_of(file, where), "")
        return next(csv.reader([first], delimiter=_delimiter(first, "."), skipinitialspace=True), [])


def _parsed(reader: Any, where: str, header: bool | None, decimal: str, words: set[int]) -> Text | None:
    """The table. The places of the columns that hold words are ``words``; those that turn out to are added.

    None where one does whose first cells have been taken for numbers.
    """
    names, rows = headed(_rows(reader, where), itemgetter(1), header, partial(_are_names, decimal), where)
    first = next(rows, None)
    if first is None:
        raise DataError(where, f"expected rows{' below the names of the columns' * bool(names)}, found none")
    is_named, rows = bool(names), chain([first], rows)
    if is_named:
        _check_names(names, where)
    else:
        names = [f"column {place}" for place in range(1, len(first[1]) + 1)]
    places, parts, is_late = array("q"), [list[Cells]() for _ in names], False
    while chunk := list(islice(rows, PART)):
        _check_lengths(chunk, len(names), where)
        places.extend(place for place, _ in chunk)
        for column, cells in enumerate(zip(*(row for _, row in chunk), strict=True)):
            numbers = None if column in words else numbers_in(cells, decimal)
            if numbers is None and column not in words:
                words.add(column)
                is_late |= bool(parts[column])
            parts[column].append(words_in(cells) if numbers is None else numbers)
    columns = (np.concatenate(each) for each in parts)
    return None if is_late else Text(where, dict(zip(names, columns, strict=True)), places, is_named)


def _are_names(decimal: str, cells: Sequence[str]) -> bool:
    return not any(is_number(cell, decimal) for cell in cells)


def _check_lengths(rows: Sequence[tuple[int, list[str]]], count: int, where: str) -> None:
    """Raise ``DataError`` for a row that has not so many cells."""
    for place, row in rows:
        if len(row) != count:
            raise DataError(
                f"{where}:{place}", f"expected {quantity(count, 'cell')}, as the first line has, found {len(row)}"
            )


PART: Final = 2**13
"""The number of rows that are held as text at once."""


def _rows(reader: Any, where: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each after the number of its last line."""
    try:
        for row in reader:
            if len(row) > 1 or any(map(str.strip, row)):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DataError(where, f"line {reader.line_num} cannot be read as CSV {said(error)}") from None


def _check_names(names: list[str], where: str) -> None:
    if names and not names[0]:  # The index that R and pandas write.
        names[0] = "index"
    for place, name in enumerate(names, start=1):
        if not name:
            raise DataError(where, f"column {place} has no name")
        if not name.isprintable():
            raise DataError(where, f"column {place}: {name!r} is no name, because it has invisible characters")
    check_unique(names, where)
