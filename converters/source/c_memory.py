"""The memory of intermediate values of a C file: one static array for each type, whose places are used again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from portable_nn.converters.source.c_operators.use import C_TYPES
from portable_nn.core.dims import evaluated, names_in
from portable_nn.core.graph import Dim


class Place(NamedTuple):
    """A value in the shared memory of its type: how many numbers it has, and the first and last node that needs it."""

    dtype: str
    numbers: Dim
    first: int
    last: int


def most(count: Dim, up_to: Mapping[str, int]) -> int:
    """The largest value of a size, for all numbers that the symbolic ones may be."""
    if isinstance(count, int):
        return count
    names = sorted(names_in([count]))
    ends = [sorted({1, 2, 3, up_to[name] - 1, up_to[name]} - {0}) for name in names]
    found = [evaluated(count, dict(zip(names, values, strict=True))) for values in itertools.product(*ends)]
    return max(each or 0 for each in found)


def arranged(places: Mapping[str, Place], up_to: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The place of each value in the memory of its type, first fit by size; and the sizes of these memories."""
    offsets, totals = dict[str, int](), dict[str, int]()
    order = sorted(places, key=lambda name: -most(places[name].numbers, up_to))
    done = list[tuple[Place, int, int]]()
    for name in order:
        place, count = places[name], most(places[name].numbers, up_to)
        busy = sorted((start, end) for other, start, end in done if _meet(other, place))
        offset = 0
        for start, end in busy:
            if offset + count <= start:
                break
            offset = max(offset, end)
        offsets[name] = offset
        done.append((place, offset, offset + count))
        totals[place.dtype] = max(totals.get(place.dtype, 0), offset + count)
    return offsets, totals


def declared(totals: Mapping[str, int]) -> Iterator[str]:
    """The lines that make the memories."""
    if not totals:
        return
    yield "/* Where intermediate values are. Define NET_STORAGE to put them elsewhere, or for each thread. */"
    yield "#ifndef NET_STORAGE"
    yield "#define NET_STORAGE static"
    yield "#endif"
    for dtype, count in totals.items():
        yield f"NET_STORAGE {C_TYPES[dtype]} {work(dtype)}[{max(1, count)}];"


def work(dtype: str) -> str:
    """The name of the memory of a type."""
    return "net_work" if dtype == "float32" else f"net_work_{dtype}"


def _meet(one: Place, other: Place) -> bool:
    """True if both are needed at one time, in one memory."""
    return one.dtype == other.dtype and one.first <= other.last and other.first <= one.last
