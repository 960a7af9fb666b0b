"""Text for people: tables, sizes, and names from untrusted files."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import wrap
from typing import Final, NamedTuple

DIGITS = 19
"""Sizes that are given as text have fewer digits: no file can hold larger ones."""

GAP = "  "
"""The separator of two columns."""


SIGNIFICANT: Final = 6
"""Significant digits of a number, unless more are asked for."""

PERCENT: Final = 3
"""Significant digits of a percentage, unless more are asked for."""

NARROWEST: Final = 8
"""A column of text is not made narrower than this."""

COMFORTABLE: Final = 16
"""The width of a column of text in a table whose columns do not all fit beside each other."""


class Look(NamedTuple):
    """The look of text for people.

    Args:
        width: the columns of the terminal that shows it, or ``None`` where nothing limits the lines.
        digits: the significant digits of numbers and percentages; ``None`` for ``SIGNIFICANT``, and ``PERCENT``.
    """

    width: int | None = None
    digits: int | None = None


_USUAL: Final = Look()
_look: Final = ContextVar("look", default=_USUAL)


@contextmanager
def looking(width: int | None, digits: int | None) -> Iterator[None]:
    """Write all text of the block with a ``Look``."""
    token = _look.set(Look(width, digits))
    try:
        yield
    finally:
        _look.reset(token)


def rounded(value: float, usual: int = SIGNIFICANT) -> str:
    """A number in ``usual`` significant digits, or as many as the ``Look`` has."""
    return f"{value:.{_look.get().digits or usual}g}"


def grouped(value: float, usual: int = SIGNIFICANT) -> str:
    """As ``rounded``, as a person writes it, 122,800: with a power of ten only below 1e-4 and from 1e9 on."""
    text = rounded(value, usual)
    size = abs(float(text))  # The rounded number decides: 999.9999 is 1,000.
    if size < 1000 or not abs(value) < 1e9:
        return text
    places = max(0, (_look.get().digits or usual) - 1 - math.floor(math.log10(size)))
    text = f"{float(text):,.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def digits_are_asked() -> bool:
    """True if the ``Look`` has a number of digits."""
    return _look.get().digits is not None


def unused(wish: str, taken: Collection[str], numbers: dict[str, int], form: Callable[[str], str] = str) -> str:
    """``wish``, or the first of ``wish_2``, ``wish_3``, … whose ``form`` is not taken.

    ``numbers`` keeps how far each wish has come, so that ten thousand equal ones are not counted through each time.

    >>> unused("conv", {"conv", "conv_2"}, {})
    'conv_3'
    """
    found, key = wish, form(wish)
    while form(found) in taken:
        numbers[key] = numbers.get(key, 1) + 1
        found = f"{wish}_{numbers[key]}"
    return found


def printable(text: str, most: int | None = None) -> str:
    """``text`` on one line, cut off at ``most`` characters, with escapes for control and invisible ones: ``\\x1b``."""
    if most is not None and len(text) > most:
        text = f"{text[:most]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


SAID: Final = 300
"""The most characters of what another library says."""


def said(error: BaseException | str) -> str:
    """The words of another library for a fault, in brackets and on one line: it follows what this package says."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"({printable(text, SAID)})"


ENDINGS: Final = (("is", "es"), ("ss", "sses"), ("tch", "tches"), ("nch", "nches"), ("ry", "ries"))
"""Ends of words in the singular and in the plural, where it is not an s."""


def quantity(count: int, noun: str) -> str:
    """``1 node``, ``2,000 nodes``, ``3 axes``."""
    plural = next((noun.removesuffix(end) + ends for end, ends in ENDINGS if noun.endswith(end)), f"{noun}s")
    return f"{count:,} {noun if count == 1 else plural}"


LONGEST: Final = 60
"""Characters of a value in a message."""


def shortened(value: object) -> str:
    """A value as Python writes it, on one line, and its beginning if that is long; of an object, its class."""
    text = re.sub(r"^<(\S+) object at 0x\w+>$", r"an object of \1", " ".join(repr(value).split()))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


SHOWN: Final = 5
"""The number of names that ``some`` shows."""


def some(names: Iterable[str]) -> str:
    """``a, b, c, d, e, and 3 more``: the first of ``names``, each once, and how many more there are."""
    found = list(dict.fromkeys(names))
    more = f", and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


NAMED: Final = 3
"""The number of faults that ``several`` names."""


def several(faults: Sequence[str], count: int | None = None) -> str:
    """``a; b; c, and 2 more``: the first of ``count`` faults, by default of those given, and how many more."""
    left = (len(faults) if count is None else count) - NAMED
    return "; ".join(faults[:NAMED]) + (f", and {left:,} more" if left > 0 else "")


def either(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def nearest(word: str, names: Iterable[str], similar: int = 1) -> list[str]:
    """The names that ``word`` may mean, the nearest first.

    One that is almost the word, or some that begin with it or hold it, or at most ``similar`` that are like it.

    >>> nearest("extra", ["extragradient", "adaptive-extragradient", "extra-adam", "lola"])
    ['extra-adam', 'extragradient', 'adaptive-extragradient']
    """
    from difflib import get_close_matches

    places = {name: name.lower().find(word.lower()) for name in names}
    found = sorted(
        (name for name in places if word and places[name] >= 0), key=lambda name: (places[name] > 0, len(name))
    )
    return get_close_matches(word, places, 1, 0.9) or found[:SHOWN] or get_close_matches(word, places, similar)


def suggestion(word: str, names: Iterable[str]) -> str:
    """``did you mean 'relu_1'?``: the names that ``word`` may mean; empty where none is near."""
    return f"did you mean {either(map(repr, close))}?" if (close := nearest(word, names)) else ""


def size(count: int) -> str:
    """A number of bytes in decimal units: ``640 kB``, ``1.2 MB``."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"


def percent(share: float) -> str:
    """A fraction of 1: ``99.8 %``. Only 0 is written as 0, and only 1 as 100.

    If the ``Look`` asks for digits, with so many.
    """
    if (digits := _look.get().digits or 0) > PERCENT:
        text = f"{100 * share:.{digits}g}"
        return f">{100 - 10.0 ** (2 - digits):.{digits}g} %" if float(text) == 100 and share < 1 else f"{text} %"
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


class Table:
    """A table with aligned columns, written as its rows come.

    A heading that begins with ``>`` makes a column of numbers, aligned to the right. Where all headings are empty,
    none are written. A column is as wide as the widest cell so far. Nothing is left out, but where the ``Look`` has a
    width that lines would exceed, the words of headings are written below each other, and then long cells of text are
    ``fitted`` into it.
    """

    def __init__(self, *headings: str) -> None:
        self.right = [heading.startswith(">") for heading in headings]
        self.headings = [heading.removeprefix(">") for heading in headings]
        self.widths = [0] * len(headings)
        self.begun = not any(self.headings)

    def lines(self, rows: Iterable[Sequence[str]]) -> str:
        """The next ``rows`` as lines with line ends; before the first of all, the headings."""
        cells = [[printable(cell) for cell in row] for row in rows]
        for row in cells:
            self.widths = [max(width, _width(cell)) for width, cell in zip(self.widths, row, strict=True)]
        widths = self._narrowed()
        head = [] if self.begun else _below(self.headings, widths)
        self.begun = True
        return "".join(self._line(row, widths) + "\n" for row in head + cells)

    def loose_lines(self, rows: Iterable[Sequence[str]]) -> str:
        """Rows of a first cell and a text, which is as long as it is: the other columns are not widened for it."""
        cells = [[printable(cell) for cell in row] for row in rows]
        self.widths[0] = max([self.widths[0], *(_width(first) for first, _ in cells)])
        head, first_width = "" if self.begun else self.lines([]), self._narrowed()[0]
        return head + "".join(
            f"{_pad(fitted(first, first_width), first_width, False)}{GAP}{text}\n" for first, text in cells
        )

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        columns = zip(row, widths, self.right, strict=True)
        return GAP.join(_pad(fitted(cell, width), width, right) for cell, width, right in columns).rstrip()

    def _narrowed(self) -> Sequence[int]:
        """The widths, of which the largest columns of text are reduced so that lines fit; numbers are never cut."""
        limit = _look.get().width
        room = (limit or 0) - len(GAP) * (len(self.widths) - 1)
        whole = [max(width, _width(heading)) for width, heading in zip(self.widths, self.headings, strict=True)]
        if limit is None or sum(whole) <= room:
            return whole
        wide = [max(width, _longest(heading)) for width, heading in zip(self.widths, self.headings, strict=True)]
        least = self._least(NARROWEST)
        for most in range(min(limit, max(wide)), 0, -1):
            widths = [max(low, min(width, most)) for width, low in zip(wide, least, strict=True)]
            if sum(widths) <= room:
                return widths
        return least

    def _least(self, text: int) -> list[int]:
        """The least widths, if columns of text have ``text``."""
        columns = zip(self.widths, self.headings, self.right, strict=True)
        return [max(width if right else min(width, text), _longest(heading)) for width, heading, right in columns]

    def parts(self) -> list[list[int]]:
        """The columns that fit beside each other: all, or several groups, each of which begins with the first."""
        limit = _look.get().width
        count = len(self.widths)
        if limit is None or not any(self.headings) or sum(self._least(NARROWEST)) + len(GAP) * (count - 1) <= limit:
            return [[*range(count)]]
        first, *others = self._least(COMFORTABLE)
        groups, used = [[0]], first
        for place, width in enumerate(others, start=1):
            if used + len(GAP) + width > limit and len(groups[-1]) > 1:
                groups.append([0])
                used = first
            groups[-1].append(place)
            used += len(GAP) + width
        return groups


def _longest(heading: str) -> int:
    """The width of the longest word."""
    return max(map(_width, heading.split()), default=0)


def _below(headings: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """Headings in as many lines as they need, the last words in the last line."""
    parts = [
        wrap(heading, width, break_long_words=False) if heading else []
        for heading, width in zip(headings, widths, strict=True)
    ]
    height = max(map(len, parts))
    filled = [[""] * (height - len(part)) + part for part in parts]
    return [[part[line] for part in filled] for line in range(height)]


class Cells(NamedTuple):
    """The cells of a table, and its headings as in ``Table``."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Kept:
    """The tables of a text that are kept as cells: the text has a mark in place of each."""

    def __init__(self) -> None:
        self.tables: list[Cells] = []
        self.mark = os.urandom(16).hex()  # No text of a model can have it.

    def keep(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """The mark of a table, on a line of its own."""
        self.tables.append(Cells(headings, rows))
        return f"{self.mark}:{len(self.tables) - 1};\n"

    def parts(self, text: str) -> Iterator[str | Cells]:
        """The text between the tables, and the tables in it."""
        for place, part in enumerate(re.split(rf"{self.mark}:(\d+);", text)):
            yield self.tables[int(part)] if place % 2 else part


_kept: Final[ContextVar[Kept | None]] = ContextVar("kept", default=None)


@contextmanager
def keeping_tables() -> Iterator[Kept]:
    """Keep the cells of the tables that are written meanwhile by ``table`` and ``fields``, for another form of them."""
    kept = Kept()
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A whole ``Table``: columns that find no room beside the others follow below, after the first column again."""
    cells = [[*row] for row in rows]
    if kept := _kept.get():
        return kept.keep(headings, cells) if cells else ""
    whole = Table(*headings)
    whole.lines(cells)
    return "\n".join(
        Table(*(headings[place] for place in part)).lines([[row[place] for place in part] for row in cells])
        for part in whole.parts()
    )


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs of name and value, one a line; those with an empty value are left out.

    Where the ``Look`` has a width, long values go on below: nothing of them is left out.
    """
    rows = [(printable(name), printable(value)) for name, value in pairs if value]
    indent = max((_width(name) for name, _ in rows), default=0) + len(GAP)
    room = (_look.get().width or 0) - indent
    if room >= NARROWEST:
        rows = [
            ("" if place else name, line)
            for name, value in rows
            for place, line in enumerate(wrap(value, room, break_long_words=False, break_on_hyphens=False) or [value])
        ]
    with looking(None, None):
        return table(("", ""), rows)


def fitted(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns: of words the beginning, of a name or path both ends."""
    if _width(text) <= width:
        return text
    if " " in text:
        begun = _beginning(text, width - 1)
        whole = f"{begun}{text[len(begun)]}".rfind(" ") + 1  # A word that is cut reads as another one.
        return f"{begun[:whole] or begun}…"
    head = (width - 1) // 3
    return f"{_beginning(text, head)}…{_beginning(text[::-1], width - 1 - head)[::-1]}"


def _beginning(text: str, width: int) -> str:
    """As many characters as ``width`` columns hold."""
    while _width(text := text[:width]) > width:
        text = text[:-1]
    return text


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """The width of ``text`` on a terminal, in columns."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
