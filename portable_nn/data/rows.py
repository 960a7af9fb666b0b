"""Batches of the rows of tables for a model whose columns have names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.core.foreign_values import is_table
from portable_nn.core.graph import Graph
from portable_nn.core.text import some
from portable_nn.data.batches import Bad, Batch, Taken, bad
from portable_nn.data.cells import word_of
from portable_nn.data.columns import encoded, unused
from portable_nn.data.csv_columns import arriving_csv
from portable_nn.data.frames import Dialect, Frame, are_rows, read_frame
from portable_nn.data.json_rows import is_json
from portable_nn.data.tables import STDIN
from portable_nn.format.meaning import Column, InputInfo


@dataclass(frozen=True)
class TableRows:
    """Rows of a table as a network gets them.

    ``x`` is ``(n, columns)``; ``faults`` has a reason for each row that cannot be used, by its place; ``labels`` are
    what the columns hold that the network predicts: words, or lists of numbers; or None.
    """

    frame: Frame
    x: NDArray[Any]
    faults: dict[int, str]
    labels: list[Any] | None

    @classmethod
    def of(
        cls,
        frame: Frame,
        columns: Sequence[Column],
        targets: Sequence[str] = (),
        *,
        numbers: bool = False,
        dtype: str = "float32",
    ) -> TableRows:
        """Those of ``frame`` as ``dtype``, of which ``targets`` are predicted: classes, or ``numbers``.

        Raises ``DataError`` where columns are missing.
        """
        x, faults = encoded(frame, columns, targets, dtype)
        return cls(frame, x, {**faults, **frame.faults}, _labels(frame, targets, numbers))

    def parts(self, size: int) -> Iterator[slice | int]:
        """Rows that can be used, in slices of at most ``size``, and between them the places of the others."""
        for is_bad, group in groupby(range(len(self.x)), key=self.faults.__contains__):
            places = list(group)
            if is_bad:
                yield from places
            else:
                for start in range(places[0], places[-1] + 1, size):
                    yield slice(start, min(start + size, places[-1] + 1))


def row_batches(
    given: list[Any], taken: Taken, size: int, strict: bool, assumed: list[str] | None, dialect: Dialect
) -> Iterator[Batch | Bad]:
    """The rows of tables, whose columns are found by their names, in batches of at most ``size``.

    A table that cannot be read, and each row that cannot be used, is an error with ``strict``, and otherwise a ``Bad``.
    To ``assumed`` is appended which columns are not used.
    """
    read = [_parts(source, taken, strict, dialect) for source in given]
    first = [next(each) for each in read]  # Errors with ``strict``, and notes, come before the first batch.
    if assumed is not None:
        frames = [rows.frame for rows in first if isinstance(rows, TableRows)]
        extra = dict.fromkeys(name for frame in frames for name in unused(frame, taken.columns, taken.targets))
        assumed += [f"columns that the model does not use: {some(extra)}"] if extra else []
    parts = chain.from_iterable(chain([begun], rest) for begun, rest in zip(first, read, strict=True))
    return _batches(parts, size, strict)


def _parts(source: Any, taken: Taken, strict: bool, dialect: Dialect) -> Iterator[TableRows | Bad]:
    """The rows of a table; on standard input, in the parts in which they come."""
    try:
        arriving = (Frame(*each, dialect.decimal) for each in arriving_csv(**vars(dialect)))
        is_whole = strict or str(source) != STDIN or is_json(source)
        for frame in [read_frame(source, **vars(dialect), strict=strict)] if is_whole else arriving:
            yield TableRows.of(frame, taken.columns, taken.targets, numbers=taken.numbers, dtype=taken.precision)
    except DataError as error:
        yield bad(error, strict)


def _batches(found: Iterable[TableRows | Bad], size: int, strict: bool) -> Iterator[Batch | Bad]:
    for rows in found:
        if isinstance(rows, Bad):
            yield rows
            continue
        for part in rows.parts(size):
            if isinstance(part, slice):
                names = [rows.frame.row(place) for place in range(part.start, part.stop)]
                yield Batch(names, rows.x[part], rows.labels and rows.labels[part])
            else:
                yield bad(DataError(rows.frame.row(part), rows.faults[part]), strict)


def as_rows(graph: Graph, inputs: Sequence[InputInfo], x: Any) -> Any:
    """``x``; if it has the columns of the only input by their names, its rows as the network gets them.

    It is then a data frame, one row or a list of rows as dicts, or a dict of columns.

    Columns are found by their names, words are the places of their categories, missing values are NaN.

    Raises ``DataError`` where columns are missing, and for the first row that cannot be used.
    """
    columns = inputs[0].columns if len(inputs) == 1 else ()
    first = x[0] if are_rows(x) else x
    named = isinstance(first, Mapping) and any(column.name in first for column in columns)
    if not columns or not (named or is_table(x)):
        return x
    frame = read_frame(x, where="x")
    rows, faults = encoded(frame, columns, dtype=graph.inputs[0].dtype)
    for row in sorted(faults)[:1]:
        raise DataError(frame.row(row), faults[row])
    return rows


def _labels(frame: Frame, targets: Sequence[str], numbers: bool) -> list[Any] | None:
    if not targets or any(name not in frame.columns for name in targets):
        return None
    columns = [frame.columns[name].tolist() for name in targets]
    if numbers:
        return [list(row) for row in zip(*columns, strict=True)]
    return [
        None if cell is None or cell != cell else cell if isinstance(cell, str) else word_of(cell)
        for cell in columns[0]
    ]
