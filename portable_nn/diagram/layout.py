"""The layout of boxes: in layers, so that arrows go down, and close to the boxes that they read.

After Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures" (1981): layers by
the longest path, a place for every arrow in each layer that it passes, few crossings, then straight lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

SWEEPS: Final = 8
"""The number of passes that reduce crossings, down and up in turn."""

HEAVY: Final = 100.0
LIGHT: Final = 0.01
"""The weights of boxes on a longest path and of passing arrows; that of other boxes is 1."""

LANE: Final = 0.16
"""The width of an arrow that passes boxes, as a part of that of a box."""

GAP: Final = 0.12
"""The space between two neighbours, as a part of the width of a box."""


@dataclass(frozen=True)
class Layout:
    """The layer of each box, from 0, its middle in widths of a box, and of each arrow the places that it passes.

    ``ways`` has for an arrow the middles at the layers between its ends.
    """

    layers: tuple[int, ...]
    middles: tuple[float, ...]
    ways: Mapping[tuple[int, int], tuple[float, ...]]

    @property
    def depth(self) -> int:
        """The number of layers."""
        return max(self.layers, default=-1) + 1


def arrange(count: int, arrows: Sequence[tuple[int, int]]) -> Layout:
    """A layout of ``count`` boxes. An arrow goes from an earlier box to a later one, and is given once."""
    layers, slack = _layers(count, arrows)
    rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for box in range(count):
        rows[layers[box]].append(box)
    above: dict[int, list[int]] = defaultdict(list)
    below: dict[int, list[int]] = defaultdict(list)
    passing: dict[tuple[int, int], list[int]] = {}
    place = count
    for source, target in arrows:
        layers_between = range(layers[source] + 1, layers[target])
        chain = [*range(place, place + len(layers_between))]
        place += len(chain)
        for layer, each in zip(layers_between, chain, strict=True):
            rows[layer].append(each)
        for one, other in pairwise([source, *chain, target]):
            above[other].append(one)
            below[one].append(other)
        passing[source, target] = chain
    weights = [LIGHT if each >= count else 1.0 if slack[each] else HEAVY for each in range(place)]
    _order(rows, above, below)
    middles = _middles(rows, above, below, weights, count)
    ways = {arrow: tuple(middles[each] for each in chain) for arrow, chain in passing.items()}
    return Layout(tuple(layers), tuple(middles[box] for box in range(count)), ways)


def _layers(count: int, arrows: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The layer of each box: the longest path to it; and how far it could move down.

    A box without sources is just above the first that reads it.
    """
    down, up = [0] * count, [0] * count
    sources: list[list[int]] = [[] for _ in range(count)]
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in arrows:
        sources[target].append(source)
        targets[source].append(target)
    for box in range(count):
        down[box] = max((down[source] + 1 for source in sources[box]), default=0)
    for box in reversed(range(count)):
        up[box] = max((up[target] + 1 for target in targets[box]), default=0)
        if not sources[box] and targets[box]:
            down[box] = min(down[target] for target in targets[box]) - 1
    longest = max((down[box] + up[box] for box in range(count)), default=0)
    return down, [longest - down[box] - up[box] for box in range(count)]


def _order(rows: list[list[int]], above: Mapping[int, Sequence[int]], below: Mapping[int, Sequence[int]]) -> None:
    """Sort each row by the mean position of the neighbours in the row before, or after: few arrows then cross."""
    spots = {each: float(spot) for row in rows for spot, each in enumerate(row)}
    for sweep in range(SWEEPS):
        neighbours = below if sweep % 2 else above
        for row in reversed(rows) if sweep % 2 else rows:
            row.sort(key=lambda each: _mean([spots[other] for other in neighbours[each]], spots[each]))
            spots.update((each, float(spot)) for spot, each in enumerate(row))


def _mean(numbers: Sequence[float], default: float) -> float:
    return sum(numbers) / len(numbers) if numbers else default


def _middles(
    rows: Sequence[Sequence[int]],
    above: Mapping[int, Sequence[int]],
    below: Mapping[int, Sequence[int]],
    weights: Sequence[float],
    count: int,
) -> dict[int, float]:
    """Middles, row by row: below the sources, as far as the neighbours leave room."""
    middles: dict[int, float] = {}

    def place(row: Sequence[int], wanted: Sequence[float]) -> None:
        halves = [0.5 if each < count else LANE / 2 for each in row]
        middles.update(zip(row, spread(wanted, halves, [weights[each] for each in row]), strict=True))

    for row in rows:
        place(row, [_mean(_firmest(above[each], weights, middles), 0.0) for each in row])
    for row in reversed(rows):  # A box without sources is above its targets.
        if not all(above[each] for each in row):
            firm = [_firmest(below[each] if not above[each] else (), weights, middles) for each in row]
            place(row, [_mean(found, middles[each]) for found, each in zip(firm, row, strict=True)])
    return middles


def _firmest(boxes: Sequence[int], weights: Sequence[float], middles: Mapping[int, float]) -> list[float]:
    """The middles of the boxes with the largest weight."""
    most = max((weights[each] for each in boxes), default=0.0)
    return [middles[each] for each in boxes if weights[each] == most]


def spread(wanted: Sequence[float], halves: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Places in order, nearest to those that are ``wanted``, so that nothing overlaps.

    Of all such places those with the least Σ weight·(place - wanted)², found by joining neighbours that are too near.
    """
    offsets = [0.0]
    for one, other in pairwise(halves):
        offsets.append(offsets[-1] + one + other + GAP)
    groups: list[tuple[float, float, int]] = []  # the mean of what is wanted, less the offset; its weight; how many
    for want, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, total, size = want - offset, weight, 1
        while groups and groups[-1][0] > mean:
            before, heavy, many = groups.pop()
            mean = (before * heavy + mean * total) / (heavy + total)
            total, size = total + heavy, size + many
        groups.append((mean, total, size))
    starts = [mean for mean, _, size in groups for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets, strict=False)]
