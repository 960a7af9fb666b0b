"""The headings of a table, also those that are numbers: ``0, 1, 2, …``, as pandas names columns that have no names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Final, TypeVar

from portable_nn.core.errors import DataError

T = TypeVar("T")

SURE: Final = 10
"""So many numbers from 0 on are names, whatever stands below them."""


def headed(
    rows: Iterator[T],
    cells_of: Callable[[T], list[str]],
    header: bool | None,
    is_heading: Callable[[list[str]], bool],
    where: str,
) -> tuple[list[str], Iterator[T]]:
    """The headings of a table, if it has any, and the rows below them.

    Args:
        rows: the rows, the first of which may have headings.
        cells_of: the cells of a row.
        header: whether it has; where nobody says so, ``is_heading`` does by its cells, unless they are numbers.
        where: the table, for the message.

    Raises ``DataError`` where that cannot be told.
    """
    first = next(rows, None)
    if first is None:
        return [], rows
    cells = cells_of(first)
    if header is None and may_be_counted(cells):
        second = next(rows, None)
        header = is_counted_heading(cells, None if second is None else cells_of(second), where)
        rows = rows if second is None else chain([second], rows)
    if is_heading(cells) if header is None else header:
        return cells, rows
    return [], chain([first], rows)


def are_counted(cells: Sequence[str]) -> bool:
    """True if cells are ``0, 1, 2, …``, perhaps after the empty one that stands above an index."""
    numbers = cells[1:] if cells and not cells[0] else cells
    return bool(numbers) and list(numbers) == [str(place) for place in range(len(numbers))]


def may_be_counted(cells: Sequence[str]) -> bool:
    """True if cells may be such names: all of them, or at least four that are left of them, such as ``1, 2, 5, 7``."""
    return are_counted(cells) or (
        len(cells) >= 4
        and all(cell.isdecimal() and cell.isascii() and len(cell) < 10 for cell in cells)
        and all(int(before) < int(after) for before, after in pairwise(cells))
    )


def is_counted_heading(first: Sequence[str], second: Sequence[str] | None, where: str) -> bool:
    """True if the first line of a table holds names that are numbers, as ``DataFrame(array).to_csv`` writes them.

    An array is written with all numbers of a column in one form. Below names of at least three columns there is thus
    something else than whole numbers, or they are many. Names of some of the columns are not told from an example with
    whole numbers in order. A line alone is an example.

    Args:
        first: the cells of the first line.
        second: those of the next one; None where there is none.
        where: the table, for the message.

    Raises ``DataError`` where the line may as well be an example: a wrong guess would shift all answers by a row.
    """
    if second is None or not may_be_counted(first):
        return False
    if not first[0]:
        return True
    count, fractions = len(first), [not cell.lstrip("+-").isdigit() for cell in second if cell]
    if not are_counted(first) and not (fractions and all(fractions)):
        return False
    goes_on = list(second) == [str(count + place) for place in range(count)]
    if are_counted(first) and count >= (3 if any(fractions) else SURE) and not goes_on:
        return True
    raise DataError(
        where,
        f"the first line, {','.join(first[:3])}{',…' if count > 3 else ''}, may be an example, or the names of the "
        "columns as pandas writes them: say which by the option header (--header, --no-header)",
    )
