"""The columns of tables as text, each of numbers or of words."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import DataError
from portable_nn.core.text import quantity, said
from portable_nn.data.cells import Cells, check_unique, is_number, numbers_in, words_in
from portable_nn.data.counted import headed
from portable_nn.data.tables import DELIMITERS, STDIN, UTF_8, lines_of, text_of, together, waiting_for


class Text(NamedTuple):
    """A table as text: the fields of ``frames.Frame``."""

    where: str
    columns: dict[str, Cells]
    rows: Sequence[int]
    named: bool
    faults: Mapping[int, str]


def read_csv(
    path: Any, header: bool | None, delimiter: str | None, decimal: str, encoding: str, *, strict: bool = True
) -> Text:
    """A table as text; the options are those of ``frames.read_frame``.

    A column turns out to hold words as late as in its last row: the text is then read again.

    Raises ``DataError``.
    """
    with text_of(path, encoding, newline="") as (where, file):
        if str(path) == STDIN:  # It cannot be read again.
            file = io.StringIO("".join(lines_of(file, where)), newline="")
        words: set[int] = set()
        frame = None
        while frame is None:
            file.seek(0)
            head, rows = _begun(lines_of(file, where), where, header, delimiter, decimal, strict)
            frame = _parsed(together(rows, PART, None), where, *head, decimal, words, strict)
        return frame


def arriving_csv(header: bool | None, delimiter: str | None, decimal: str, encoding: str) -> Iterator[Text]:
    """The table on standard input as ``read_csv`` reads it if it is not ``strict``: as many rows at once as have come.

    Raises ``DataError``.
    """
    with text_of(STDIN, encoding) as (where, file):
        waiting = waiting_for(file)
        head, rows = _begun(lines_of(file, where, waiting), where, header, delimiter, decimal, strict=False)
        chunks = together(rows, PART, waiting)
        yield from filter(None, (_parsed([chunk], where, *head, decimal, set(), strict=False) for chunk in chunks))


def _delimiter(line: str, decimal: str) -> str:
    return max((each for each in DELIMITERS if each != decimal), key=line.count)


def headings(path: str | Path) -> list[str]:
    """The cells of the first line of a table as text. What is below is not read.

    Raises ``DataError`` where it is no text.
    """
    with text_of(path, UTF_8, newline="") as (where, file):
        first = next(lines_of(file, where), "")
        return next(csv.reader([first], delimiter=_delimiter(first, "."), skipinitialspace=True), [])


def _begun(
    lines: Iterator[str], where: str, header: bool | None, delimiter: str | None, decimal: str, strict: bool
) -> tuple[tuple[list[str], bool], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and whether they are the table's own; and its rows.

    Raises ``DataError`` where there are none.
    """
    first = next(lines, "")
    if not first:
        raise DataError(where, "expected rows, found an empty file")
    delimiter = delimiter or _delimiter(first, decimal)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    names, rows = headed(_rows(reader, where, strict), itemgetter(1), header, partial(_are_names, decimal), where)
    top = next(rows, None)
    if top is None:
        raise DataError(where, f"expected rows{' below the names of the columns' * bool(names)}, found none")
    _check_names(names, where)
    numbered = [f"column {place}" for place in range(1, len(top[1]) + 1)]
    return (names or numbered, bool(names)), chain([top], rows)


def _parsed(
    chunks: Iterable[list[tuple[int, list[str]]]],
    where: str,
    names: list[str],
    is_named: bool,
    decimal: str,
    words: set[int],
    strict: bool,
) -> Text | None:
    """The table. The places of the columns that hold words are ``words``; those that turn out to are added.

    None where one does whose first cells have been taken for numbers.
    """
    places, parts, is_late, faults = array("q"), [list[Cells]() for _ in names], False, dict[int, str]()
    for chunk in chunks:
        faults |= _level(chunk, len(names), where, len(places), strict)
        places.extend(place for place, _ in chunk)
        for column, cells in enumerate(zip(*(row for _, row in chunk), strict=True)):
            numbers = None if column in words else numbers_in(cells, decimal)
            if numbers is None and column not in words:
                words.add(column)
                is_late |= bool(parts[column])
            parts[column].append(words_in(cells) if numbers is None else numbers)
    columns = (np.concatenate(each) for each in parts)
    return None if is_late else Text(where, dict(zip(names, columns, strict=True)), places, is_named, faults)


def _are_names(decimal: str, cells: Sequence[str]) -> bool:
    return not any(is_number(cell, decimal) for cell in cells)


def _level(rows: list[tuple[int, list[str]]], count: int, where: str, start: int, strict: bool) -> dict[int, str]:
    """Empty the rows that have not ``count`` cells; the reasons by their places, counted from ``start``.

    Raises ``DataError`` for the first of them if ``strict``.
    """
    faults = {}
    for place, (line, row) in enumerate(rows):
        if len(row) != count:
            found = len(row) or "quotes in a cell that is not quoted as a whole, or not doubled"
            fault = f"expected {quantity(count, 'cell')}, as the first line has, found {found}"
            if strict:
                raise DataError(f"{where}:{line}", fault)
            faults[start + place], rows[place] = fault, (line, [""] * count)
    return faults


PART: Final = 2**13
"""The number of rows that are held as text at once."""


def _rows(reader: Any, where: str, strict: bool) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each after the number of its last line.

    A row that cannot be read is empty, or raises ``DataError`` if ``strict``.
    """
    while True:
        try:
            for row in reader:
                if len(row) > 1 or any(map(str.strip, row)):
                    yield reader.line_num, [cell.strip() for cell in row]
            return
        except csv.Error as error:
            if strict:
                raise DataError(where, f"line {reader.line_num} cannot be read as CSV {said(error)}") from None
            yield reader.line_num, []


def _check_names(names: list[str], where: str) -> None:
    if names and not names[0]:  # The index that R and pandas write.
        names[0] = "index"
    for place, name in enumerate(names, start=1):
        if not name:
            raise DataError(where, f"column {place} has no name")
        if not name.isprintable():
            raise DataError(where, f"column {place}: {name!r} is no name, because it has invisible characters")
    check_unique(names, where)
