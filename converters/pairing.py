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

TRIES: Final = 100
"""The most ways that are tried."""

Pair: TypeAlias = tuple[Slot, Slot]
"""A slot here, and the one there."""

Sides: TypeAlias = tuple[Sequence[Slot], Sequence[Slot]]
"""Slots here and there."""


def ways(sides: Sides, known: Sequence[Pair]) -> Iterator[tuple[list[Pair], list[Sides]]]:
    """The ways to pair slots, most likely first, as ``paired`` gives each."""
    choices = list[int]()
    for _ in range(TRIES):
        found, doubtful = paired(sides, known, choices)
        yield found, doubtful
        choices = [*choices, *[0] * len(doubtful)][: len(doubtful)]
        while choices and choices[-1] + 1 == len(doubtful[len(choices) - 1][1]):
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


def paired(sides: Sides, known: Sequence[Pair], choices: Sequence[int]) -> tuple[list[Pair], list[Sides]]:
    """The pairs of slots, and groups of several that only ``choices`` told apart.

    Slots that are the only ones of their role and shape on both sides are a pair; then those that are the only ones
    between pairs. Where no more are found, one of those that look alike is taken.

    Args:
        sides: the slots here and there, in their order.
        known: pairs that are certain.
        choices: for each group, the place of the one that is taken among those of the most similar names; or the first.
    """
    found, doubtful, reach = list(known), list[Sides](), 0
    while True:
        alike = [group for group in _alike(sides, found, reach) if len(group[0]) == len(group[1])]
        if new := [(ours[0], theirs[0]) for ours, theirs in alike if len(ours) == 1]:
            found += new
        elif reach < FARTHEST:
            reach += 1
            continue
        elif alike:
            found.append(_choice(alike[0], [*choices, *[0] * len(sides[0])][len(doubtful)]))
            doubtful.append(alike[0])
        else:
            return found, doubtful
        reach = 0


def _alike(sides: Sides, found: Sequence[Pair], reach: int) -> list[tuple[list[Slot], list[Slot]]]:
    """The slots in no pair, in groups of those that look alike up to so many steps around them."""
    fixed = {slot: hash(("pair", place)) for place, pair in enumerate(found) for slot in pair}
    after = defaultdict[Slot, list[Slot]](list)
    looks = {slot: fixed.get(slot, hash((slot.role, slot.values.shape))) for side in sides for slot in side}
    for slot in looks:
        for before in slot.before:
            after[before].append(slot)
    for _ in range(reach):
        ways = {slot: [frozenset(map(looks.get, way)) for way in (slot.before, after[slot])] for slot in looks}
        looks = {slot: fixed.get(slot, hash((look, *ways[slot]))) for slot, look in looks.items()}
    groups = defaultdict[int, tuple[list[Slot], list[Slot]]](lambda: ([], []))
    for place, slot in ((place, slot) for place, side in enumerate(sides) for slot in side if slot not in fixed):
        groups[looks[slot]][place].append(slot)
    return [*groups.values()]


def _choice(group: Sides, place: int) -> Pair:
    """The first slot here, with one there: names are compared as far as they are not those of all in the group."""
    words = [{slot: set(re.split(r"[._]", ".".join(slot.names).lower())) for slot in side} for side in group]
    own = {slot: " ".join(sorted(its - set.intersection(*s.values()))) for s in words for slot, its in s.items()}

    def unlike(theirs: Slot) -> float:
        return 1 - SequenceMatcher(None, own[group[0][0]], own[theirs]).ratio()

    return group[0][0], sorted(group[1], key=unlike)[place]
