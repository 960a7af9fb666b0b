"""Matching the tensors of a file with the parameters of a network, by name and shape, or else by similarity."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, Final, Literal, TypeAlias

from portable_nn.core.graph import Parameter, format_shape
from portable_nn.core.text import printable, quantity, table
from portable_nn.plain.names import TURNED, Words, is_counter, is_gated, set_aside, words
from portable_nn.plain.tensors import Entry

Sizes: TypeAlias = tuple[int, ...]

SHOWN: Final = 20
"""The most unmatched names that are printed."""

MAX_PAIRS: Final = 10_000
"""With more candidate pairs, only names that differ in their numbers alone are matched."""

NEAR: Final = 0.5
"""Names with a lower similarity (0 to 1) are suggested only where no other tensor has the shape."""


def target(name: str, axes: Sequence[int]) -> str:
    """The name of a parameter, with a transposition of what it is made of, as ``--rename`` takes it."""
    if not axes:
        return name
    plain = tuple(axes) == tuple(range(len(axes)))[::-1]
    return f"{name}.T" if plain else f"{name}.transpose({','.join(map(str, axes))})"


@dataclass(frozen=True)
class MatchRow:
    """One parameter of a network, and its match in a file.

    Where the file has the name, ``found`` is the shape there. Where it is missing, ``suggestion`` is the name of a
    similar tensor, or ``""``, and ``found`` its shape. ``axes`` is the transposition with which the tensor would fit,
    as in ``numpy.transpose``; empty where none is needed, or none helps.
    """

    name: str
    needed: Sizes
    status: Literal["fits", "shape differs", "missing"]
    found: Sizes | None = None
    suggestion: str = ""
    axes: tuple[int, ...] = ()

    @property
    def target(self) -> str:
        """The name, with the transposition of what is suggested for it, as ``--rename`` takes it."""
        return target(self.name, self.axes)


@dataclass(frozen=True)
class Match:
    """A row for each parameter, in the network's order, and the tensors that are neither matched nor suggested.

    Counters are not among these.
    """

    rows: tuple[MatchRow, ...]
    left_over: tuple[str, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """The tensors that are left over, without the state of a training."""
        return tuple(name for name in self.left_over if not set_aside(name))

    @property
    def fits(self) -> bool:
        """True if every parameter has a tensor of its name and shape, and no tensor is left over.

        What is left over says that the tensors are those of another network: one with batch normalizations, for
        example, which here are folded into convolutions.
        """
        return not self.others and all(row.status == "fits" for row in self.rows)


def match(found: Mapping[str, Entry], needed: Sequence[Parameter]) -> Match:
    """Compare the tensors of a file with the parameters of a network; deterministic.

    For a missing parameter, the tensor with the most similar name is suggested whose shape fits, transposed if
    necessary. Prefixes such as ``model`` or ``layers``, and separators, are ignored; ``kernel`` and ``gamma`` are roles
    of weights.
    Numbered series (``dense``, ``dense_1``, ...) are matched in their order. Each tensor is suggested once, and none
    where several are equally similar.
    """
    rows = [_row(parameter, found.get(parameter.name)) for parameter in needed]
    taken = {row.name for row in rows if row.status != "missing"}
    free = [_Candidate(name, each.shape) for name, each in found.items() if name not in taken and not set_aside(name)]
    missing = [_Candidate(row.name, row.needed) for row in rows if row.status == "missing"]
    meant = _suggestions(missing, free)
    return Match(
        tuple(replace(row, **meant.get(row.name, {})) for row in rows),
        tuple(
            name
            for name in found
            if name not in taken | {each["suggestion"] for each in meant.values()} and not is_counter(name)
        ),
    )


def _row(parameter: Parameter, entry: Entry | None) -> MatchRow:
    needed = tuple(int(size) for size in parameter.shape)
    if entry is None:
        return MatchRow(parameter.name, needed, "missing")
    if entry.shape == needed:
        return MatchRow(parameter.name, needed, "fits", entry.shape)
    return MatchRow(parameter.name, needed, "shape differs", entry.shape, axes=_axes(entry.shape, needed) or ())


def _axes(found: Sizes, needed: Sizes, turned: bool = False) -> tuple[int, ...] | None:
    """The transposition of the shape ``found`` to ``needed``, or ``None``.

    The weights of layers are either (out, in, \\*window) or (\\*window, in, out). With ``turned``, the two are known to
    have different orders, even where the sizes are equal.
    """
    rank = len(found)
    straight = tuple(range(rank))
    ways = [straight]
    if rank > 1:
        ways += [(rank - 1, rank - 2, *straight[:-2]), (*straight[2:], 1, 0)]
    if turned:
        ways = [*ways[1:], straight]
    return next((way for way in ways if tuple(found[axis] for axis in way) == needed), None)


# -- suggestions


class _Candidate:
    """A missing parameter or an unmatched tensor of the file."""

    def __init__(self, name: str, shape: Sizes) -> None:
        self.name, self.shape = name, shape

    @cached_property
    def words(self) -> Words:
        return words(self.name)

    @property
    def sizes(self) -> Sizes:
        """The sizes, sorted."""
        return tuple(sorted(self.shape))

    @property
    def kind(self) -> tuple[str, Sizes]:
        """The role and the sizes, which are equal in tensors that can match."""
        return self.words.role, self.sizes

    @property
    def series(self) -> str:
        """The name without its numbers."""
        return re.sub(r"_?\d+", "", self.words.stem)

    @property
    def place(self) -> list[int]:
        """The place in its series: the numbers of its name."""
        return [int(digits) for digits in re.findall(r"\d+", self.words.stem)]


Pair: TypeAlias = tuple[_Candidate, _Candidate]
"""A missing parameter, and a tensor of the file."""


def _suggestions(missing: Sequence[_Candidate], free: Sequence[_Candidate]) -> dict[str, dict[str, Any]]:
    """The changed fields of the rows of missing parameters that have a suggestion, by name."""
    pairs = list[Pair]()
    same_names = partial(_in_series, key=lambda each: (each.kind, each.series))
    for step in (same_names, partial(_in_series, key=lambda each: each.kind, least=2), _by_name):
        done = {each for pair in pairs for each in pair}
        pairs += step([m for m in missing if m not in done], [f for f in free if f not in done])
    return _told(pairs)


def _told(pairs: Iterable[Pair]) -> dict[str, dict[str, Any]]:
    return {
        m.name: {"suggestion": f.name, "found": f.shape, "axes": () if axes == tuple(range(len(axes))) else axes}
        for m, f in pairs
        if (axes := _fitting(m, f)) is not None
    }


def in_order(result: Match, found: Mapping[str, Entry]) -> list[MatchRow]:
    """The rows without a suggestion with what is left over in their order, as far as role and sizes fit.

    Order alone says it: two code bases of one architecture mostly define, and read, their tensors in the same one.
    """
    rows = [row for row in result.rows if row.found is None]
    missing = [_Candidate(row.name, row.needed) for row in rows]
    free = [_Candidate(name, found[name].shape) for name in result.others]
    here, there = ([each.kind for each in side] for side in (missing, free))
    blocks = SequenceMatcher(None, here, there, autojunk=False).get_matching_blocks()
    pairs = [(missing[block.a + place], free[block.b + place]) for block in blocks for place in range(block.size)]
    meant = _told(pairs)
    return [replace(row, **meant[row.name]) for row in rows if row.name in meant]


def _fitting(missing: _Candidate, found: _Candidate) -> tuple[int, ...] | None:
    turned = (missing.words.last in TURNED) != (found.words.last in TURNED)
    return _axes(found.shape, missing.shape, turned)


def _in_series(
    missing: Sequence[_Candidate], free: Sequence[_Candidate], key: Callable[[_Candidate], Hashable], least: int = 1
) -> Iterator[Pair]:
    """Numbered series with the same ``key``, ``least`` or more tensors, and as many on both sides, in their order.

    Keras counts ``dense``, ``dense_1``, ... where others count from 1: the most similar name would be the wrong one.
    """
    wanted, there = (_grouped(side, key) for side in (missing, free))
    for kind, group in wanted.items():
        others = there.get(kind, [])
        if len(group) >= least and len({each.series for each in group}) == len({each.series for each in others}) == 1:
            yield from _in_order(group, others)


def _in_order(group: Sequence[_Candidate], others: Sequence[_Candidate]) -> list[Pair]:
    """Pairs in the order of their numbers, if both sides have the same length and each pair fits."""
    if len(group) != len(others):
        return []
    sides = [sorted(side, key=lambda each: (each.place, each.name)) for side in (group, others)]
    pairs = list(zip(*sides, strict=True))
    return pairs if all(_fitting(*pair) is not None for pair in pairs) else []


def _grouped(tensors: Iterable[_Candidate], key: Callable[[_Candidate], Hashable]) -> dict[Hashable, list[_Candidate]]:
    groups = defaultdict(list)
    for each in tensors:
        groups[key(each)].append(each)
    return groups


def _by_name(missing: Sequence[_Candidate], free: Sequence[_Candidate]) -> Iterator[Pair]:
    """The pairs with the most similar names, each tensor in one pair; none of several that are equally similar."""
    candidates = list(islice(_candidates(missing, free), MAX_PAIRS + 1))
    if len(candidates) > MAX_PAIRS:
        return
    levels = defaultdict[float, list[Pair]](list)
    choices = _sides(candidates)
    used = set[_Candidate]()
    for m, f in candidates:
        near = _nearness(m, f)
        if near >= NEAR or choices[m] == choices[f] == 1:
            levels[near].append((m, f))
    for level in sorted(levels, reverse=True):
        pairs = [pair for pair in levels[level] if used.isdisjoint(pair)]
        sides = _sides(pairs)
        yield from ((m, f) for m, f in pairs if sides[m] == sides[f] == 1)
        used.update(sides)


def _sides(pairs: Iterable[Pair]) -> Counter[_Candidate]:
    """The number of pairs that each tensor is in."""
    return Counter(chain.from_iterable(pairs))


def _candidates(missing: Sequence[_Candidate], free: Sequence[_Candidate]) -> Iterator[Pair]:
    by_sizes = _grouped(free, lambda each: each.sizes)
    for each in missing:
        for other in by_sizes.get(each.sizes, []):
            roles = {each.words.role, other.words.role} - {""}
            if len(roles) < 2 and _fitting(each, other) is not None:
                yield each, other


def _nearness(missing: _Candidate, found: _Candidate) -> float:
    """The similarity of two names, from 0 to 2; at least 1 where both have the same known role."""
    same = bool(missing.words.role) and missing.words.role == found.words.role
    return same + SequenceMatcher(None, missing.words.stem, found.words.stem, autojunk=False).ratio()


# -- what is printed


def as_text(found: Match) -> str:
    """The match for people, without a line end."""
    rows = [
        (row.name, format_shape(row.needed), "" if row.found is None else format_shape(row.found), _result(row))
        for row in found.rows
    ]
    lines = [table(("tensor", "needed", "found", "result"), rows)] if rows else []
    if found.left_over:
        more = f", … ({len(found.left_over):,})" if len(found.left_over) > SHOWN else ""
        lines.append("left over in the file: " + ", ".join(map(printable, found.left_over[:SHOWN])) + more + "\n")
    meant = [row for row in found.rows if row.suggestion or row.axes]
    renames = [f"--rename '{row.suggestion or row.name}={row.target}'" for row in meant]
    if renames:
        lines.append("as import --against takes it: " + " ".join(map(printable, renames)) + "\n")
    fitting = sum(row.status == "fits" for row in found.rows)
    summary = f"{fitting:,} of {quantity(len(found.rows), 'tensor')} fit"
    if found.others:
        gated = any(map(is_gated, found.others))
        whose = (
            "gates have another order in PyTorch: import --against tells" if gated else "they are of another network"
        )
        summary += f", and {len(found.others):,} of the file are left over: {whose}"
    return "\n".join([*lines, summary])


def as_json(found: Match) -> dict[str, Any]:
    """The match for programs."""
    return {"fits": found.fits, "tensors": [asdict(row) for row in found.rows], "left_over": list(found.left_over)}


def _result(row: MatchRow) -> str:
    how = f"transposed {format_shape(row.axes)}" if len(row.axes) > 2 else "transposed" if row.axes else ""
    if row.suggestion:
        return f"missing; perhaps {row.suggestion}" + (f", {how}" if how else "")
    return f"{row.status}; it would fit {how}" if how else row.status
