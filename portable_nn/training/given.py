"""The arguments of ``fit`` as examples: in memory and checked, or stored and checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cached_property
from typing import Any

from portable_nn.core.arrays import as_array
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.data.ahead import ahead
from portable_nn.data.rows import as_rows
from portable_nn.data.stored import Stored, as_stored, piece_of, pieces, rows_of
from portable_nn.training.examples import Check, Examples, check_counts


class StoredExamples:
    """Examples that are read in pieces, and checked then.

    Args:
        x, y: arrays by input and by output.
        weight: a weight for each example, or ``None``.
        check: what makes examples of arrays, and refuses those that do not fit.
        what: what messages call them: ``validation`` or nothing.

    Raises ``ShapeError`` where there are not as many in each array.
    """

    def __init__(
        self, x: Mapping[str, Stored], y: Mapping[str, Stored], weight: Stored | None, check: Check, what: str
    ) -> None:
        self.x, self.y, self.weight, self._check, self._what = dict(x), dict(y), weight, check, what
        self._arrays = [*x.values(), *y.values(), *([] if weight is None else [weight])]
        check_counts({each.name: len(each) for each in self._arrays})
        self.row_bytes = sum(each.row_bytes for each in self._arrays)
        self.piece = piece_of(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays[0])

    @cached_property
    def first(self) -> Examples:
        """The first ones."""
        return self.read(0, min(self.piece, len(self)))

    def part(self, start: int, stop: int) -> StoredExamples:
        """Some of them."""
        x, y = ({name: each.part(start, stop) for name, each in side.items()} for side in (self.x, self.y))
        weight = None if self.weight is None else self.weight.part(start, stop)
        return StoredExamples(x, y, weight, self._check, self._what)

    def read(self, start: int, stop: int) -> Examples:
        """Some of them, read now."""
        x, y = ({name: each[start:stop] for name, each in side.items()} for side in (self.x, self.y))
        weight = None if self.weight is None else self.weight[start:stop]
        what = f"{self._what}examples from {start:,} on: " if start else self._what
        return self._check(x, y, weight, what, is_piece=True)

    def __iter__(self) -> Iterator[Examples]:
        """All in their order, a piece at a time; a thread reads the next one."""
        with closing(ahead(self.read(*place) for place in pieces(len(self), self.piece))) as read:
            yield from read


def examples_of(check: Check, x: Any, y: Any, weight: Any, what: str = "") -> Examples | StoredExamples:
    """The examples that are given, which stay where they are if one of the arrays is stored and large.

    ``what`` comes before each name in a message. Raises ``UsageError`` or ``ShapeError``.
    """
    x = as_rows(check.network.graph, check.network.inputs, x)
    xs, ys = _rows(x, f"{what}x"), _rows(y, f"{what}y")
    weight = rows_of(weight, f"{what}sample_weight")
    given = [weight, *(xs.values() if isinstance(xs, Mapping) else [xs])]
    given += ys.values() if isinstance(ys, Mapping) else [ys]
    if not any(isinstance(each, Stored) for each in given):
        return check(xs, ys, weight, what)
    inputs, outputs = [value.name for value in check.network.graph.inputs], list(check.losses)
    return StoredExamples(
        _stored(xs, f"{what}x", inputs),
        _stored(ys, f"{what}y", outputs),
        None if weight is None else _as_stored(weight, f"{what}sample_weight"),
        check,
        what,
    )


def _rows(given: Any, name: str) -> Any:
    if isinstance(given, Mapping):
        return {key: rows_of(each, f"{name}['{key}']") for key, each in given.items()}
    return rows_of(given, name)


def _stored(given: Any, name: str, names: list[str]) -> dict[str, Stored]:
    """Arrays by the names of the network's inputs or outputs. Raises ``UsageError`` where names are missing."""
    if isinstance(given, Mapping):
        return {key: _as_stored(each, f"{name}['{key}']") for key, each in given.items()}
    if len(names) > 1:
        raise UsageError(f"{name} must be a dict of arrays by name, for {', '.join(names)}")
    return {names[0]: _as_stored(given, name)}


def _as_stored(given: Any, name: str) -> Stored:
    array = given if isinstance(given, Stored) else as_array(given, name)
    if not array.ndim:
        raise ShapeError(f"{name} is one number, not an entry or a row for each example")
    return as_stored(array, name)
