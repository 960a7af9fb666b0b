"""Tables in HTML, as notebooks show them: plain, without scripts, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import isfinite
from typing import Final, NamedTuple, TypeAlias

from portable_nn.core.text import Cells, keeping_tables, percent, printable

LONG: Final = 40
"""A table with more rows is collapsed at first."""

_LINE: Final = "1px solid rgba(128, 128, 128, 0.4)"

_DOCUMENT: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="portable-nn">
<title>{title}</title>
{head}
</head>
<body>
{body}
</body>
</html>
"""

_STYLE: Final = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
div[tabindex] { overflow-x: auto; margin-bottom: 1.5rem; }
td, th { vertical-align: top; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:last-child { min-width: 16em; white-space: normal; }
</style>"""


class Share(NamedTuple):
    """A cell that is a share of 1: a bar with its percentage."""

    value: float


Cell: TypeAlias = str | Share


def html_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]], total: Sequence[Cell] = (), most: int = LONG
) -> str:
    """A table under a title that expands and collapses it.

    All text is escaped (none is put into an attribute). A heading that begins with ``>`` makes a column of numbers,
    aligned to the right.

    Args:
        title: one line or several.
        headings: one for each column.
        rows: the cells, row by row: text, or a ``Share``.
        total: the cells of a last row, separated by a line; or none.
        most: the rows up to which it is open at first.
    """
    parts = [
        f"<details{'' if len(rows) > most else ' open'}>",
        f'<summary style="white-space: pre-wrap">{_text(title)}</summary>',
        _grid(headings, rows, total),
        "</details>",
    ]
    return "\n".join(parts)


def html_of(write: Callable[[], str]) -> str:
    """A text for people as HTML: the tables in it, by ``core.text.table`` and ``fields``, become those of HTML."""
    with keeping_tables() as kept:
        text = write()
    parts = (
        _grid(part.headings, part.rows)
        if isinstance(part, Cells)
        else f'<p style="white-space: pre-wrap; margin: 0.5em 0">{_text(part.strip())}</p>'
        for part in kept.parts(text)
        if isinstance(part, Cells) or part.strip()
    )
    return "\n".join(["<div>", *parts, "</div>"])


def html_document(title: str, policy: str, head: str, body: str) -> bytes:
    """A whole file: a title in one line of text, its Content Security Policy, and what stands in its head and body."""
    return _DOCUMENT.format(policy=policy, title=escape(printable(title)), head=head, body=body).encode()


def html_page(title: str, *parts: str) -> bytes:
    """A whole file with a title and parts that are HTML: it runs no script and loads nothing, and wide parts scroll."""
    scrolling = "\n".join(f'<div tabindex="0">{part}</div>' for part in parts)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
    return html_document(title, policy, _STYLE, f"<main>\n<h1>{_text(title)}</h1>\n{scrolling}\n</main>")


def html_code(text: str) -> str:
    """Lines of code."""
    return f"<pre>{_text(text)}</pre>"


def html_curve(points: Iterable[tuple[float, float]], label: str, side: int = 240) -> str:
    """A curve through points of the plane, both axes at one scale around 0, as a drawing; ``label`` says what it is."""
    known = [(x, y) for x, y in points if isfinite(x) and isfinite(y)]
    reach = max((max(abs(x), abs(y)) for x, y in known), default=0.0) * 1.05 or 1.0
    half = side / 2
    places = " ".join(f"{half + half * x / reach:.1f},{half - half * y / reach:.1f}" for x, y in known)
    axes = f"M0 {half}H{side}M{half} 0V{side}"
    return (
        f'<svg role="img" width="{side}" height="{side}" viewBox="0 0 {side} {side}" style="color: inherit">'
        f"<title>{_text(label)}</title>"
        f'<path d="{axes}" fill="none" stroke="currentColor" stroke-opacity="0.4"></path>'
        f'<polyline points="{places}" fill="none" stroke="currentColor" stroke-width="1.5"></polyline></svg>'
    )


def _grid(headings: Sequence[str], rows: Sequence[Sequence[Cell]], total: Sequence[Cell] = ()) -> str:
    """The table; without a row of headings where all are empty."""
    head = f'<thead style="border-bottom: {_LINE}">{_row("th", headings, headings)}</thead>'
    parts = [
        '<table style="border-collapse: collapse; color: inherit">',
        "" if headings and not any(headings) else head,
        *("<tbody>", *(_row("td", headings, row) for row in rows), "</tbody>"),
        f'<tfoot style="border-top: {_LINE}">{_row("td", headings, total)}</tfoot>' if total else "",
        "</table>",
    ]
    return "\n".join(filter(None, parts))


def _row(tag: str, headings: Sequence[str], cells: Sequence[Cell]) -> str:
    sides = ["right" if heading.startswith(">") else "left" for heading in headings]
    marked = (
        f'<{tag} style="text-align: {side}; padding: 0.1em 0.8em">{_cell(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(marked)}</tr>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Share):
        return f'<meter value="{cell.value:.4f}"></meter> {_text(percent(cell.value))}'
    return _text(cell.removeprefix(">"))


def _text(text: str) -> str:
    return "\n".join(escape(printable(line), quote=False) for line in text.split("\n"))
