"""Tables of numbers as text (CSV), such as MNIST in T. Rashid's book: a label and 784 values in each row."""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.csv_writing import is_number
from portable_nn.core.errors import DataError
from portable_nn.core.text import quantity, some
from portable_nn.data.counted import headed
from portable_nn.data.files import opened

STDIN = "-"
"""The path that means CSV on standard input."""

DELIMITERS = ",;\t"

MAX_LINE = 2**24
"""The longest line, in characters: a file without line ends must not be read into memory as one row."""

UTF_8: Final = "utf-8"
"""The encoding of tables unless another is named."""

_JSON = re.compile(r'\s*(\{\s*("|\}|$)|\[(\s*[\[{"]|(null|NaN|true|false|[-+.\deE,\s])*(\]\s*)?$))')
"""The beginning of a text that is an object or a list in JSON, and no row of cells."""

MAX_FLOAT = float(np.finfo(np.float32).max)

Line: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a table.

    ``numbers`` are their lines in the file, counted from 1; ``values`` is ``(n, width)`` float64; ``labels`` is
    ``(n,)``, whole numbers as int64, others as float64 and words as text, or None where the table has no such column.
    """

    numbers: list[int]
    values: NDArray[np.float64]
    labels: NDArray[Any] | None


@dataclass(frozen=True)
class _Layout:
    """The format of the rows of a table."""

    path: str
    delimiter: str
    columns: int
    labelled: bool
    expected: str
    words: bool = False


def iterate_csv(
    path: str | Path,
    width: int | None = None,
    chunk_rows: int = 4096,
    *,
    header: bool | None = None,
    encoding: str = UTF_8,
    strict: bool = True,
    words: bool = False,
) -> Iterator[Rows | DataError]:
    """The rows of a table with ``width`` values each, or a label and ``width`` values; ``chunk_rows`` at a time.

    Unless ``strict``, the error of a row that cannot be read takes its place, and the others follow. With ``words``
    labels may be words: they are if the first one is.

    Without ``width`` the first column holds the labels, and the first row determines the number of values. Columns are
    separated by commas, semicolons or tabs; blank lines are skipped, and so is a row of headings, once it is checked:
    the first one with ``header``, and by default one of names, or of the numbers that pandas writes for them. The path
    ``"-"`` is standard input, whose rows are given as soon as they come.

    Raises:
        DataError: the file cannot be read as text, it has no rows, the first one may be headings or an example, or a
            row has a wrong number of cells or a cell that is not a finite number; the message names row and column,
            counted from 1.
    """
    with text_of(path, encoding) as (name, file):
        waiting = waiting_for(file)
        lines = _lines(file, name, waiting)
        top = next(lines, (0, ""))
        delimiter = max(DELIMITERS, key=top[1].count)
        begun = chain([top] if top[0] else [], lines)
        headings, lines = headed(begun, lambda line: _cells(line, delimiter), header, _is_heading, name)
        first = next(lines, None)
        if first is None:
            found = f"only headings, {some(headings)}" if headings else "none"
            raise DataError(name, f"expected rows of numbers, found {found}")
        layout, cells = _layout(name, first, delimiter, width), _cells(first, delimiter)
        if words and layout.labelled and not is_number(cells[0]):
            layout = replace(layout, words=True)
        if headings and len(cells) == layout.columns:
            _check_headings(headings, layout)
        lines = chain([first], lines)
        for chunk in together(lines, chunk_rows, waiting):
            yield from [_parse(chunk, layout)] if strict else _parse_parts(chunk, layout)


@contextmanager
def text_of(path: str | Path, encoding: str, newline: str | None = None) -> Iterator[tuple[str, TextIO]]:
    """The name of a table for messages, and its open text; ``newline`` as ``open`` takes it. ``"-"`` is standard input.

    Raises ``DataError`` where there is no such file, or standard input is closed.
    """
    encoding = "utf-8-sig" if codecs.lookup(encoding).name == UTF_8 else encoding
    if str(path) == STDIN:
        if sys.stdin is None:
            raise DataError("stdin", "expected a table (CSV), but standard input is closed")
        if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.encoding != encoding:
            sys.stdin.reconfigure(encoding=encoding)
        yield "stdin", sys.stdin
        return
    with (
        opened(path, "a table (CSV)") as file,
        io.TextIOWrapper(file, encoding=encoding, newline=newline) as text,
    ):
        yield str(path), text


def looks_like_json(start: str) -> bool:
    """True if the first line of a text, or the first characters of it, begin an object or a list in JSON."""
    return bool(_JSON.match(start.lstrip().partition("\n")[0]))


def waiting_for(file: TextIO) -> deque[str] | None:
    """An empty queue for ``lines_of`` where lines come one by one, on standard input; None for files."""
    return deque() if file is sys.stdin and hasattr(file, "buffer") else None


def lines_of(file: TextIO, name: str, waiting: deque[str] | None = None) -> Iterator[str]:
    """The lines of a table; with ``waiting``, those of standard input as soon as they come.

    Raises ``DataError`` for one that never ends, for bytes that are no text, and for JSON.
    """
    number = 0
    try:
        for line in iter(lambda: file.readline(MAX_LINE), "") if waiting is None else _arriving(file, waiting):
            number += 1
            if number == 1 and looks_like_json(line):
                raise DataError(
                    name,
                    "expected CSV, rows of cells with commas between them, with a header or without, found JSON, which "
                    "is read from a file named .json or .jsonl",
                )
            if len(line) >= MAX_LINE:
                raise DataError(name, f"row {number}: longer than {MAX_LINE} characters, which is no table")
            yield line
    except UnicodeError as error:
        raise DataError(name, _no_text(error, file.encoding, number)) from None


def _arriving(file: TextIO, waiting: deque[str]) -> Iterator[str]:
    """The lines of standard input; all that have come are decoded at once, and wait."""
    decoder = codecs.getincrementaldecoder(file.encoding)(file.errors or "strict")
    decode = io.IncrementalNewlineDecoder(decoder, translate=True).decode
    rest, data = "", b"\n"
    while data and len(rest) < MAX_LINE:
        data = file.buffer.read1(2**16)  # type: ignore[attr-defined]
        *lines, rest = (rest + decode(data, final=not data)).split("\n")
        waiting.extend(f"{line}\n" for line in lines)
        while waiting:
            yield waiting.popleft()
    if rest:
        yield rest


def together(rows: Iterable[Any], most: int, waiting: deque[str] | None) -> Iterator[list[Any]]:
    """Rows in lists of at most ``most``; with ``waiting``, a list ends where the next line has not come."""
    found: list[Any] = []
    for row in rows:
        found.append(row)
        if len(found) == most or (waiting is not None and not any(map(str.strip, waiting))):
            yield found
            found = []
    if found:
        yield found


def _no_text(error: UnicodeError, encoding: str, number: int) -> str:
    """The reason for bytes that are no text in an encoding, after line ``number``, with another encoding to try."""
    expected = f"expected text in {encoding.removesuffix('-sig').upper()}"
    if not isinstance(error, UnicodeDecodeError):  # Of UTF-16 without a mark of the order of bytes.
        return f"{expected}, found none"
    text, byte = error.object, error.object[error.start]
    row = number + text.count(b"\n", 0, error.start) + 1
    is_wide = not row - 1 and text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in text[:64] and not is_wide:
        return f"{expected}, found none: pictures and other files than tables are given by their names"
    other = "utf-16" if is_wide else "cp1252"
    return f"row {row}: {expected}, found the byte 0x{byte:02X}: --encoding {other} (encoding='{other}') may read it"


def _lines(file: TextIO, name: str, waiting: deque[str] | None) -> Iterator[Line]:
    """Lines that are not blank, with their numbers."""
    return ((number, line) for number, line in enumerate(lines_of(file, name, waiting), start=1) if line.strip())


def _cells(line: Line, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line[1].split(delimiter)]


def _is_heading(cells: Sequence[str]) -> bool:
    """True if the cells of the first row are headings.

    They start with a name or an empty cell, and the others are names, too, or count up, as those of pandas do. Beside
    other numbers, a word is a label or a wrong number.
    """
    if all(map(_is_number, cells[0].split() or [""])):
        return False
    if not all(map(_is_number, cells[1:])):
        return True
    numbers = [float(cell) for cell in cells[1:]]
    return not is_number(cells[0]) and all(after == before + 1 for before, after in pairwise(numbers))


LABELS: Final = frozenset({"label", "labels", "class", "target", "species"})
"""Headings that say that a column holds labels."""


def _check_headings(headings: Sequence[str], layout: _Layout) -> None:
    """Raise ``DataError`` where the headings show that the columns are not as ``layout`` says."""
    if len(headings) != layout.columns:
        reason = f"expected {layout.expected}, with a heading for each, found {quantity(len(headings), 'heading')}"
        raise DataError(layout.path, f"{reason} ({some(headings)})")
    places = [place for place, heading in enumerate(headings, start=1) if heading.lower() in LABELS]
    if places and places[0] > 1:
        found = f"'{headings[places[0] - 1]}' in column {places[0]}"
        where = "in the first column" if layout.labelled else "in a column of their own, the first"
        raise DataError(layout.path, f"expected {layout.expected}, found {found}: labels stand {where}")
    if layout.labelled and not headings[0]:
        raise DataError(
            layout.path,
            f"expected {layout.expected}, found a first column without a heading, as for the numbers of rows: without "
            "them (in pandas, to_csv(path, index=False)) it can be read",
        )


def _is_number(cell: str) -> bool:
    # Python accepts more than numpy does: 1_0, and the digits of other scripts.
    return is_number(cell) and abs(float(cell)) <= MAX_FLOAT and cell.isascii() and "_" not in cell


def _layout(name: str, first: Line, delimiter: str, width: int | None) -> _Layout:
    """The format of all rows, by the ``first`` one: whether they have labels, and how many cells."""
    columns = len(_cells(first, delimiter))
    if width is None:
        if columns < 2:
            raise DataError(name, f"row {first[0]}: expected a label and values, found {columns} cell")
        return _Layout(name, delimiter, columns, True, f"a label and {quantity(columns - 1, 'value')}")
    labelled = columns == width + 1
    values = quantity(width, "value")
    expected = {width: values, width + 1: f"a label and {values}"}.get(columns, f"{values}, or a label and {values}")
    return _Layout(name, delimiter, width + labelled, labelled, expected)


def _parse(lines: list[Line], layout: _Layout) -> Rows:
    words: dict[str, int] = {}
    try:
        table = np.loadtxt(
            (line for _, line in lines),
            delimiter=layout.delimiter,
            comments=None,
            quotechar='"',
            ndmin=2,
            converters={0: lambda cell: words.setdefault(cell.strip(), len(words))} if layout.words else None,
        )
    except ValueError as error:
        raise _fault(lines, layout, str(error)) from error
    if table.shape[1] != layout.columns or not (np.abs(table) <= MAX_FLOAT).all():
        raise _fault(lines, layout, "the rows cannot be read")
    numbers = [number for number, _ in lines]
    if not layout.labelled:
        return Rows(numbers, table, None)
    labels = np.array(list(words))[table[:, 0].astype(np.int64)] if layout.words else whole(table[:, 0])
    return Rows(numbers, table[:, 1:], labels)


def _parse_parts(lines: list[Line], layout: _Layout) -> Iterator[Rows | DataError]:
    """Rows that can be read, as many at a time as follow one another, and an error for each other."""
    try:
        found: Rows | DataError = _parse(lines, layout)
    except DataError as error:
        if len(lines) > 1:
            half = len(lines) // 2
            yield from _parse_parts(lines[:half], layout)
            yield from _parse_parts(lines[half:], layout)
            return
        found = DataError(f"{layout.path}:{lines[0][0]}", error.reason.removeprefix(f"row {lines[0][0]}").lstrip(",: "))
    yield found


def whole(values: NDArray[Any]) -> NDArray[Any]:
    """Floats that are all integers as int64, all else unchanged: labels are used as keys and indices."""
    return values.astype(np.int64) if values.dtype.kind == "f" and (values == np.round(values)).all() else values


def _fault(lines: list[Line], layout: _Layout, otherwise: str) -> DataError:
    """The error for the first fault in ``lines``, which is searched for only after numpy, which is fast, failed."""
    for line in lines:
        number, cells = line[0], _cells(line, layout.delimiter)
        if len(cells) != layout.columns:
            hint = ": commas, semicolons or tabs separate columns" if len(cells) == 1 and " " in cells[0] else ""
            found = f"found {quantity(len(cells), 'cell')}{hint}"
            return DataError(layout.path, f"row {number}: expected {layout.expected}, {found}")
        for column, cell in enumerate(cells, start=1):
            if not _is_number(cell) and not (layout.words and column == 1):
                found = repr(cell) if cell else "nothing"
                if layout.labelled and column in {1, layout.columns} and cell and not is_number(cell):
                    found += ": labels are the numbers of classes, in the first column"
                return DataError(layout.path, f"row {number}, column {column}: expected a finite number, found {found}")
    return DataError(layout.path, f"rows {lines[0][0]} to {lines[-1][0]}: {otherwise}")
