"""Text for people: tables, sizes, and names from untrusted files."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

DIGITS = 19
"""Sizes that are given as text have fewer digits: no file can hold larger ones."""

GAP = "  "
"""The separator of two columns."""


def printable(text: str) -> str:
    """``text`` on one line, with control and invisible characters as escapes: ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quantity(count: int, noun: str) -> str:
    """``1 node``, ``2,000 nodes``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


LONGEST: Final = 60
"""Characters of a value in a message."""


def shortened(value: object) -> str:
    """A value as Python writes it, on one line, and its beginning if that is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


SHOWN: Final = 5
"""How many of many names ``some`` shows."""


def some(names: Iterable[str]) -> str:
    """``a, b, c, d, e, and 3 more``: the first of ``names``, each once, and how many more there are."""
    found = list(dict.fromkeys(names))
    more = f", and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def either(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def size(count: int) -> str:
    """A number of bytes in decimal units: ``640 kB``, ``1.2 MB``."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"


def percent(share: float) -> str:
    """A fraction of 1: ``99.8 %``. Only 0 is written as 0, and only 1 as 100."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


class Table:
    """A table with aligned columns, written as its rows come.

    A heading that begins with ``>`` makes a column of numbers, aligned to the right. Where all headings are empty,
    none are written. Nothing is truncated: a column is as wide as the widest cell so far.
    """

    def __init__(self, *headings: str) -> None:
        self.right = [heading.startswith(">") for heading in headings]
        self.headings = [heading.removeprefix(">") for heading in headings]
        self.widths = [_width(heading) for heading in self.headings]
        self.begun = not any(self.headings)

    def lines(self, rows: Iterable[Sequence[str]]) -> str:
        """The next ``rows`` as lines with line ends; before the first of all, the headings."""
        cells = [[printable(cell) for cell in row] for row in rows]
        for row in cells:
            self.widths = [max(width, _width(cell)) for width, cell in zip(self.widths, row, strict=True)]
        head = [] if self.begun else [self.headings]
        self.begun = True
        return "".join(self._line(row) + "\n" for row in head + cells)

    def loose_lines(self, rows: Iterable[Sequence[str]]) -> str:
        """Rows of a first cell and a text, which is as long as it is: the other columns are not widened for it."""
        cells = [[printable(cell) for cell in row] for row in rows]
        self.widths[0] = max([self.widths[0], *(_width(first) for first, _ in cells)])
        head = "" if self.begun else self.lines([])
        return head + "".join(f"{_pad(first, self.widths[0], False)}{GAP}{text}\n" for first, text in cells)

    def _line(self, row: Sequence[str]) -> str:
        columns = zip(row, self.widths, self.right, strict=True)
        return GAP.join(_pad(cell, width, right) for cell, width, right in columns).rstrip()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A whole ``Table``."""
    return Table(*headings).lines(rows)


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs of name and value, one a line; those with an empty value are left out."""
    return table(("", ""), [pair for pair in pairs if pair[1]])


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """The width of ``text`` on a terminal, in columns."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
