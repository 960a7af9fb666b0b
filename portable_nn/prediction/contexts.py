"""Consecutive rows for a network whose answer for a row depends on those around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple, cast

import numpy as np

from portable_nn.data.batches import Bad, Batch
from portable_nn.operators.registry import Array


class Part(NamedTuple):
    """A batch, its rows with those around them, and how many of these are before it."""

    batch: Batch
    x: Array
    before: int


def in_context(batches: Iterable[Batch | Bad], context: int) -> Iterator[Part | Bad]:
    """Each batch with up to ``context`` rows on either side of it, from the batches around it.

    Rows are consecutive within a file or an array. Where one of them is bad, those before and after it are far from
    each other. No more rows than those of a batch and its surroundings are kept.
    """
    waiting, earlier = deque[Batch](), list[Array]()
    for found in chain(batches, [None]):
        ends = not isinstance(found, Batch) or bool(waiting and _source(found) != _source(waiting[-1]))
        if not ends:
            waiting.append(cast("Batch", found))
        while waiting and (ends or sum(len(each.x) for each in waiting) - len(waiting[0].x) >= context):
            batch = waiting.popleft()
            later = list(_first(context, (each.x for each in waiting)))
            yield Part(batch, _joined([*earlier, batch.x, *later]), sum(map(len, earlier)))
            earlier = [_joined([*earlier, batch.x])[-context:]] if context else []
        if ends:
            earlier = []
        if isinstance(found, Bad):
            yield found
        elif found and ends:
            waiting.append(found)


def _source(batch: Batch) -> str:
    """What the rows are of: ``track.h5`` of ``track.h5:12``."""
    return batch.names[0].rstrip("0123456789]")


def _first(count: int, arrays: Iterable[Array]) -> Iterator[Array]:
    """The first rows of some arrays."""
    for array in arrays:
        if count <= 0:
            return
        yield array[:count]
        count -= len(array)


def _joined(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
