"""Where the tensors lie in a weight file: the same in every carrier, and decided by the manifest alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, cast

from portable_nn.core.graph import Value
from portable_nn.core.memory import CHUNK
from portable_nn.format.tensors import ITEM_SIZES

ALIGNMENT: Final = 64
"""The data start at a multiple of this many bytes, so that a mapped file is aligned for every vector unit."""


class Span(NamedTuple):
    """One tensor, and where its bytes lie, counted from the first byte of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.stop - self.start


def layout(values: Iterable[Value]) -> list[Span]:
    """The spans of ``values``: larger elements first, then in the order given, without a gap.

    So every tensor starts at a multiple of the size of its elements.
    """
    spans, start = [], 0
    for value in sorted(values, key=lambda value: -ITEM_SIZES[value.dtype]):
        shape = cast("tuple[int, ...]", value.shape)
        stop = start + ITEM_SIZES[value.dtype] * math.prod(shape)
        spans.append(Span(value.name, value.dtype, shape, start, stop))
        start = stop
    return spans


def groups(spans: Sequence[Span]) -> Iterator[range]:
    """Places of spans of one type that together have a ``CHUNK``; a large one is alone."""
    start = 0
    while start < len(spans):
        stop, total = start + 1, spans[start].size
        while stop < len(spans) and spans[stop].dtype == spans[start].dtype and total + spans[stop].size <= CHUNK:
            total += spans[stop].size
            stop += 1
        yield range(start, stop)
        start = stop


def padding(length: int) -> int:
    """How many bytes are missing from ``length`` to a multiple of ``ALIGNMENT``."""
    return -length % ALIGNMENT
