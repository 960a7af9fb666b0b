"""The order in which stored rows are read: pieces at random, and the rows of a few pieces at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WINDOW: Final = 2**26
"""The bytes of the rows that are shuffled together, unless two pieces have more."""


@dataclass(frozen=True)
class Order:
    """The order of rows in an epoch.

    Rows that follow one another make up pieces of ``piece`` rows (the last one may have fewer), which are numbered from
    0. With a seed s, the pieces are read in the order ``default_rng([s, 0]).permutation(pieces)``. Each ``several`` of
    them in that order are a window; the rows of window k (from 0), one piece after the other, are seen in the order
    ``default_rng([s, k + 1]).permutation(rows)``. So each row comes once, a piece is read once, and the order depends
    on nothing but these four numbers. Without a seed, the rows come as they are stored.

    Args:
        count: the number of rows.
        piece: the rows of a piece.
        several: the pieces of a window.
        seed: the seed, or ``None``.
    """

    count: int
    piece: int
    several: int
    seed: int | None

    @cached_property
    def _pieces(self) -> NDArray[Any]:
        pieces = -(-self.count // self.piece)
        return np.arange(pieces) if self.seed is None else np.random.default_rng([self.seed, 0]).permutation(pieces)

    @property
    def windows(self) -> int:
        """The number of windows."""
        return -(-len(self._pieces) // self.several)

    def pieces(self, window: int) -> list[tuple[int, int]]:
        """The beginnings and ends of the pieces of a window, in the order in which they are read."""
        starts = (self._pieces[window * self.several : (window + 1) * self.several] * self.piece).tolist()
        return [(start, min(start + self.piece, self.count)) for start in starts]

    def places(self, window: int) -> NDArray[Any]:
        """The order of the rows of a window: places in its pieces, one after the other."""
        rows = sum(stop - start for start, stop in self.pieces(window))
        if self.seed is None:
            return np.arange(rows)
        return np.random.default_rng([self.seed, window + 1]).permutation(rows)

    def from_row(self, row: int) -> tuple[int, int]:
        """The window in which the row at a place of the order is, and its place there."""
        for window in range(self.windows):
            rows = sum(stop - start for start, stop in self.pieces(window))
            if row < rows:
                return window, row
            row -= rows
        return self.windows, row

    def __iter__(self) -> Iterator[int]:
        """The rows in their order."""
        for window in range(self.windows):
            rows = [row for start, stop in self.pieces(window) for row in range(start, stop)]
            for place in self.places(window).tolist():
                yield rows[place]
