"""Features as the steps of a pipeline make them, recovered from the nodes of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

Kind: TypeAlias = Literal[
    "row", "taken", "joined",
    "arithmetic", "encoded", "filled", "flags", "function", "greater", "norm", "normalised", "projected", "truth",
    "unknown",
]  # fmt: skip


class Entry(NamedTuple):
    """What is made of the categories of a feature.

    Attributes:
        place: the feature, among those of the value that is encoded.
        codes: the numbers of the categories; NaN is a missing value.
        made: the numbers that each of them becomes, (categories, n).
        other: those that anything else becomes, (n,).
        role: what the numbers are called, where they are parameters: ``encodings``, ``codes`` or ``vectors``.
    """

    place: int
    codes: Array
    made: Array
    other: Array
    role: str = ""


@dataclass(frozen=True, eq=False)
class Value:
    """Features side by side, (batch, width), and how they come about.

    Attributes:
        kind: what is done: ``row`` is what goes in, ``taken`` some features of the base, ``joined`` several values side
            by side, ``truth`` and ``greater`` comparisons, ``unknown`` what is no step; all else is a step.
        width: how many features there are.
        bases: what it is computed from.
        of: the numbers of the step.
        title: the name of the step, as the nodes have it; or ``""``.
    """

    kind: Kind
    width: int
    bases: tuple[Value, ...] = ()
    of: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""

    @property
    def base(self) -> Value:
        """The value that it is computed from."""
        return self.bases[0]


class Operation(NamedTuple):
    """Arithmetic with fixed numbers, one for each feature: ``Add``, ``Sub``, ``Mul``, ``Div`` or ``Clip``."""

    operator: str
    numbers: Array
    role: str = ""


def taken(x: Value, places: Sequence[int]) -> Value:
    """Some of the features of a value."""
    places = tuple(int(place) for place in places)
    if places == tuple(range(x.width)):
        return x
    if x.kind == "taken":
        return taken(x.base, [x.of["places"][place] for place in places])
    if x.kind in ("truth", "flags"):
        of = {name: tuple(each[place] for place in places) for name, each in x.of.items()}
        return replace(x, width=len(places), of=of)
    return Value("taken", len(places), (x,), {"places": places})


def source(x: Value) -> tuple[Value, tuple[int, ...]]:
    """The value that features are taken from, and which of its features they are."""
    return (x.base, x.of["places"]) if x.kind == "taken" else (x, tuple(range(x.width)))


def joined(parts: Sequence[Value]) -> Value:
    """Values side by side; an imputer and its indicators are one step, and so are encoders of the same features."""
    found = list[Value]()
    for part in (each for whole in parts for each in (whole.bases if whole.kind == "joined" else (whole,))):
        if found and (noted := _indicators(found[-1], part)) is not None:
            before = found[-1]
            found[-1] = replace(before, width=before.width + part.width, of={**before.of, "indicators": noted})
            continue
        for each in _encoders(part) if part.kind == "flags" else [part]:
            if found and found[-1].kind == each.kind == "encoded" and _are_one(found[-1], each):
                entries = (*found[-1].of["entries"], *each.of["entries"])
                found[-1] = replace(found[-1], width=found[-1].width + each.width, of={"entries": entries})
            else:
                found.append(each)
    return found[0] if len(found) == 1 else Value("joined", sum(each.width for each in found), tuple(found))


def features(x: Value) -> Value:
    """A value that further steps work on: ones and zeros are those of an encoder."""
    return joined([x]) if x.kind == "flags" else x


def _encoders(flags: Value) -> list[Value]:
    """Ones and zeros as an encoder of each feature; those that say what is missing stay as they are."""
    places, codes = flags.of["places"], flags.of["codes"]
    starts = [place for place in range(flags.width) if place == 0 or places[place] != places[place - 1]]
    found = list[Value]()
    for start, stop in zip(starts, [*starts[1:], flags.width], strict=True):
        known = np.array(codes[start:stop])
        if len(known) == 1 and np.isnan(known).all():
            found.append(replace(flags, width=1, of={"places": places[start:stop], "codes": codes[start:stop]}))
            continue
        entry = Entry(places[start], known, np.eye(len(known)), np.zeros(len(known)))
        found.append(Value("encoded", len(known), flags.bases, {"entries": (entry,)}, flags.title))
    return found


def _are_one(a: Value, b: Value) -> bool:
    """Whether two encoders are one: of the same value, and different features of it."""
    places = [{entry.place for entry in each.of["entries"]} for each in (a, b)]
    return a.base is b.base and a.title == b.title and not places[0] & places[1]


def _indicators(filled: Value, flags: Value) -> tuple[int, ...] | None:
    """Which features of an imputer ``flags`` says to be missing; ``None`` if it says something else."""
    if filled.kind != "filled" or flags.kind != "flags" or "indicators" in filled.of:
        return None
    base, places = source(filled.base)
    if flags.base is not base or not set(flags.of["places"]) <= set(places):
        return None
    found = tuple(places.index(place) for place in flags.of["places"])
    gaps = [filled.of["gaps"][place] for place in found]
    return found if np.array_equal(gaps, flags.of["codes"], equal_nan=True) else None
