"""The layout of a weight file, which follows from the manifest: the tensors, and the bytes around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias, cast

from portable_nn.core.graph import Value
from portable_nn.core.memory import CHUNK, Bytes
from portable_nn.core.tensors import ITEM_SIZES, from_bytes, value_fault
from portable_nn.format.canonical import byte_difference
from portable_nn.format.manifest import Text

ALIGNMENT: Final = 64
"""The data start at a multiple of this many bytes, so that a mapped file is aligned for every vector unit."""

WORTH_THREADS: Final = 4 * CHUNK
"""Bytes of data from which several threads are faster than one."""


class Span(NamedTuple):
    """One tensor, and the place of its bytes, counted from the first byte of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of its bytes."""
        return self.stop - self.start


Crcs: TypeAlias = Mapping[str, int]
"""The CRC-32 of tensors by name."""


class Frame(NamedTuple):
    """The layout of a file for certain tensors.

    Args:
        spans: the tensors, in the order of the file.
        around: makes all other bytes from the manifest's text and the CRC-32 of the tensors: the bytes before the first
            tensor and, where the tensors are not contiguous up to the end of the file, those after each tensor.
        seeds: in a carrier that stores the CRC-32 of each tensor, the initial values of their computation.
        crcs: extracts the stored CRC-32 from the bytes around the tensors, which may be truncated.
    """

    spans: Sequence[Span]
    around: Callable[[Text, Crcs], Sequence[bytes]]
    seeds: Crcs = MappingProxyType({})
    crcs: Callable[[Sequence[bytes]], Crcs] = lambda found: {}

    @property
    def data(self) -> int:
        """The number of bytes from the first tensor to the end of the last one."""
        return self.spans[-1].stop if self.spans else 0


def places(around: Sequence[bytes], spans: Sequence[Span]) -> list[int]:
    """The offsets in the file at which the pieces of ``around`` begin (see ``Frame``)."""
    return [0, *(len(around[0]) + span.stop for span in spans[: len(around) - 1])]


class Piece(NamedTuple):
    """A part of the bytes around the tensors, its name in messages, and the names and sizes of its first fields."""

    what: str
    data: bytes
    fields: Sequence[tuple[str, int]] = ()


def piece_fault(pieces: Iterable[Piece], found: bytes, start: int = 0) -> list[str]:
    """The first difference, if any, between ``pieces`` and the bytes that were ``found`` at ``start`` of a file."""
    at = 0
    for what, data, fields in pieces:
        if (there := found[at : at + len(data)]) != data:
            return [f"{what} is not what the manifest demands: {byte_difference(data, there, start + at, fields)}"]
        at += len(data)
    return []


def layout(values: Iterable[Value]) -> list[Span]:
    """The spans of ``values`` without gaps: larger elements first, then in the order given.

    This aligns every tensor to the size of its elements.
    """
    spans, start = [], 0
    for value in sorted(values, key=lambda value: -ITEM_SIZES[value.dtype]):
        shape = cast("tuple[int, ...]", value.shape)
        stop = start + ITEM_SIZES[value.dtype] * math.prod(shape)
        spans.append(Span(value.name, value.dtype, shape, start, stop))
        start = stop
    return spans


def value_faults(span: Span, data: Bytes, finite: Collection[str]) -> list[str]:
    """The fault of the values in ``data``, a part of a tensor, if any; the tensors ``finite`` must not have NaN."""
    fault = value_fault(from_bytes(data, span.dtype, (-1,)), allow_nonfinite=span.name not in finite)
    return [f"tensor {span.name!r} {fault}"] if fault else []


def groups(spans: Sequence[Span]) -> Iterator[range]:
    """Ranges of contiguous spans of one dtype that together have at most a ``CHUNK``; a larger one is alone."""
    start = 0
    while start < len(spans):
        stop, total = start + 1, spans[start].size
        while (
            stop < len(spans)
            and spans[stop].dtype == spans[start].dtype
            and spans[stop].start == spans[stop - 1].stop
            and total + spans[stop].size <= CHUNK
        ):
            total += spans[stop].size
            stop += 1
        yield range(start, stop)
        start = stop


def padding(length: int) -> int:
    """The number of bytes from ``length`` to the next multiple of ``ALIGNMENT``."""
    return -length % ALIGNMENT
