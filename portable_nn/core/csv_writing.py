"""CSV as it is written: no cell of words is a formula to a spreadsheet, or commands a terminal."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

_FORMULA: Final = re.compile("'*[-=+@\t\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
"""The beginning of what a spreadsheet computes, or of what was marked as none; a sign alone is a word."""

_COMMAND: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tabs and line ends, and those that turn the direction of what follows."""


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV.

    The names of files and classes are of strangers. A word that a spreadsheet would compute gets an apostrophe in
    front, as OWASP advises, and a control character is an escape: ``\\x1b``. Numbers stay.

    >>> csv_text([["=1+1", "-1.5", -2.0, "-"]])
    "'=1+1,-1.5,-2.0,-\\n"
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*map(_safe, row)] for row in rows)
    return text.getvalue()


def _safe(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    shown = _COMMAND.sub(lambda found: found[0].encode("unicode_escape").decode(), cell)
    return f"'{shown}" if _FORMULA.match(shown) and not is_number(shown) else shown


def is_number(text: str) -> bool:
    """True if Python reads a number in the text, be it NaN or too large."""
    try:
        float(text)
    except ValueError:
        return False
    return True
