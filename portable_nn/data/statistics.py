"""The mean and the standard deviation of data of any size, from parts of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.data.ahead import ahead
from portable_nn.data.stored import Stored, piece_of, pieces

Floats: TypeAlias = NDArray[np.float64]

PART: Final = 2**20
"""The number of elements of an array in memory that are taken at once."""

READ: Final = 2**24
"""The bytes that are read at once of what is stored."""


class Moments(NamedTuple):
    """The mean, the standard deviation, and the smallest and the largest number, of each entry of an axis."""

    mean: Floats
    std: Floats
    low: NDArray[Any]
    high: NDArray[Any]

    @property
    def is_constant(self) -> NDArray[np.bool_]:
        """True where all numbers are the same: a sum of equal numbers, divided by their count, is not always one of
        them."""
        return np.asarray(self.low == self.high)


def moments(x: NDArray[Any] | Stored, axis: int | None) -> Moments:
    """Those of ``x``, ``(n, …)``, for each entry of ``axis``, or of all numbers; in float64, and read once.

    Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983).
    """
    others = tuple(each for each in range(x.ndim) if each != axis)
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    low, high = np.array(np.inf), np.array(-np.inf)
    with closing(_parts(x)) as parts, np.errstate(over="ignore", invalid="ignore"):
        for part in parts:
            rows = part.astype(np.float64)
            more = rows.size if axis is None else rows.size // rows.shape[axis]
            inner = rows.sum(axis=others) / more
            away = inner - mean
            squares = squares + np.square(rows - np.expand_dims(inner, others)).sum(axis=others)
            squares = squares + np.square(away) * (count * more / (count + more))
            mean = mean + away * (more / (count + more)) if count else inner
            low, high = np.minimum(low, part.min(axis=others)), np.maximum(high, part.max(axis=others))
            count += more
        return Moments(np.atleast_1d(mean), np.atleast_1d(np.sqrt(squares / count)), low, high)


def _parts(x: NDArray[Any] | Stored) -> Any:
    if isinstance(x, Stored):
        return ahead(x[start:stop] for start, stop in pieces(len(x), piece_of([x], READ)))
    return _in_memory(x)


def _in_memory(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    yield from (x[start:stop] for start, stop in pieces(len(x), max(1, PART * len(x) // x.size)))
