"""Tables in HTML, as notebooks show them: plain, without scripts, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from portable_nn.core.text import printable

LONG: Final = 40
"""A table with more rows is collapsed at first."""

_LINE: Final = "1px solid rgba(128, 128, 128, 0.4)"


def html_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] = ()) -> str:
    """A table under a title that expands and collapses it.

    All text is escaped (none is put into an attribute). A heading that begins with ``>`` makes a column of numbers,
    aligned to the right.

    Args:
        title: one line or several.
        headings: one for each column.
        rows: the cells, row by row.
        total: the cells of a last row, separated by a line; or none.
    """
    parts = [
        f"<details{'' if len(rows) > LONG else ' open'}>",
        f'<summary style="white-space: pre-wrap">{_text(title)}</summary>',
        '<table style="border-collapse: collapse; color: inherit">',
        f'<thead style="border-bottom: {_LINE}">{_row("th", headings, headings)}</thead>',
        *("<tbody>", *(_row("td", headings, row) for row in rows), "</tbody>"),
        f'<tfoot style="border-top: {_LINE}">{_row("td", headings, total)}</tfoot>' if total else "",
        "</table></details>",
    ]
    return "\n".join(filter(None, parts))


def _row(tag: str, headings: Sequence[str], cells: Sequence[str]) -> str:
    sides = ["right" if heading.startswith(">") else "left" for heading in headings]
    marked = (
        f'<{tag} style="text-align: {side}; padding: 0.1em 0.8em">{_text(cell.removeprefix(">"))}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(marked)}</tr>"


def _text(text: str) -> str:
    return "\n".join(escape(printable(line), quote=False) for line in text.split("\n"))
