"""The slots of one network that are those of another: found by what is read before and after them, not by names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, TypeAlias

from portable_nn.converters.slots import Slot

FARTHEST: Final = 4
"""The most steps around a slot that tell it from others."""

Pair: TypeAlias = tuple[Slot, Slot]
"""A slot here, and the one there."""

Sides: TypeAlias = tuple[Sequence[Slot], Sequence[Slot]]
"""Slots here and there."""

Way: TypeAlias = tuple[Sequence[Pair], Sequence[Sides]]


def ways(sides: Sides, known: Sequence[Pair], doubtful: Sequence[Sides] = ()) -> Iterator[Way]:
    """The ways to pair slots, the likeliest first: the pairs, and the groups of which names or a trial told one.

    Slots that are the only ones of their role and shape on both sides are a pair; then those that are the only ones
    between pairs. Where no more are found, each of those that look alike is tried, by the similarity of names.
    """
    found, alike, reach = list(known), list[Sides](), 0
    while reach <= FARTHEST:
        alike = [group for group in _alike(sides, found, reach) if len(group[0]) == len(group[1])]
        new = [(ours[0], theirs[0]) for ours, theirs in alike if len(ours) == 1]
        found += new
        reach = 0 if new else reach + 1
    if not alike:
        yield found, doubtful
    for each in _by_names(*alike[0]) if alike else ():
        yield from ways(sides, [*found, (alike[0][0][0], each)], [*doubtful, alike[0]])


def _alike(sides: Sides, found: Sequence[Pair], reach: int) -> list[tuple[list[Slot], list[Slot]]]:
    """The slots in no pair, in groups of those that look alike up to so many steps around them."""
    fixed = {slot: hash(("pair", place)) for place, pair in enumerate(found) for slot in pair}
    after = defaultdict[Slot, list[Slot]](list)
    looks = {slot: fixed.get(slot, hash((slot.role, slot.values.shape))) for side in sides for slot in side}
    for slot in looks:
        for before in slot.before:
            after[before].append(slot)
    for _ in range(reach):
        near = {slot: [frozenset(map(looks.get, way)) for way in (slot.before, after[slot])] for slot in looks}
        looks = {slot: fixed.get(slot, hash((look, *near[slot]))) for slot, look in looks.items()}
    groups = defaultdict[int, tuple[list[Slot], list[Slot]]](lambda: ([], []))
    for place, slot in ((place, slot) for place, side in enumerate(sides) for slot in side if slot not in fixed):
        groups[looks[slot]][place].append(slot)
    return [*groups.values()]


def _by_names(ours: Sequence[Slot], theirs: Sequence[Slot]) -> list[Slot]:
    """Those there, by the similarity to the first one here of what not all of their names have."""
    words = [{slot: set(re.split(r"[._]", ".".join(slot.names).lower())) for slot in side} for side in (ours, theirs)]
    own = {slot: " ".join(sorted(its - set.intersection(*s.values()))) for s in words for slot, its in s.items()}
    return sorted(theirs, key=lambda each: -SequenceMatcher(None, own[ours[0]], own[each]).ratio())
