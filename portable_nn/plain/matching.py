"""Which tensors of a file a network could take: by name and shape, and which may be meant where the names differ."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property
from itertools import groupby, islice
from typing import Any, Final, Literal, TypeAlias

from portable_nn.core.graph import Parameter, format_shape
from portable_nn.core.text import printable, quantity, table
from portable_nn.plain.names import TURNED, Words, set_aside, words
from portable_nn.plain.tensors import Entry

Sizes: TypeAlias = tuple[int, ...]

SHOWN: Final = 20
"""How many names that are left over are printed."""

MAX_PAIRS: Final = 10_000
"""With more pairs that may belong together, only names that differ in numbers alone are compared."""

NEAR: Final = 0.5
"""Names that are less alike, from 0 to 1, are suggested only where nothing else has the shape."""


@dataclass(frozen=True)
class Row:
    """One parameter that a network needs, and what a file has for it.

    Where the name is in the file, ``found`` is the shape there. Where it is missing, ``suggestion`` is a name that may
    be meant, and ``found`` its shape. ``axes`` is the transposition with which it would fit, as ``numpy.transpose``
    takes it; empty where none is needed, or none helps.
    """

    name: str
    needed: Sizes
    status: Literal["fits", "shape differs", "missing"]
    found: Sizes | None = None
    suggestion: str = ""
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Match:
    """A row for each parameter, in the network's order, and what of the file is neither taken nor suggested."""

    rows: tuple[Row, ...]
    left_over: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every parameter has a tensor of its name and shape."""
        return all(row.status == "fits" for row in self.rows)


def match(found: Mapping[str, Entry], needed: Sequence[Parameter]) -> Match:
    """Compare the tensors of a file with the parameters of a network. The same files give the same match.

    Suggested is a tensor whose shape fits, if need be transposed, and whose name is nearest: parts such as ``model`` or
    ``layers`` at the beginning do not count, nor what separates parts; ``kernel`` and ``gamma`` are weights. Those of a
    numbered series (``dense``, ``dense_1``, ...) belong together in their order. Each is suggested once, and none where
    several are as near.
    """
    rows = [_row(parameter, found.get(parameter.name)) for parameter in needed]
    taken = {row.name for row in rows if row.status != "missing"}
    free = [_Tensor(name, each.shape) for name, each in found.items() if name not in taken and not set_aside(name)]
    missing = [_Tensor(row.name, row.needed) for row in rows if row.status == "missing"]
    meant = _suggestions(missing, free)
    return Match(
        tuple(replace(row, **meant.get(row.name, {})) for row in rows),
        tuple(name for name in found if name not in taken | {each["suggestion"] for each in meant.values()}),
    )


def _row(parameter: Parameter, entry: Entry | None) -> Row:
    needed = tuple(int(size) for size in parameter.shape)
    if entry is None:
        return Row(parameter.name, needed, "missing")
    if entry.shape == needed:
        return Row(parameter.name, needed, "fits", entry.shape)
    return Row(parameter.name, needed, "shape differs", entry.shape, axes=_axes(entry.shape, needed) or ())


def _axes(found: Sizes, needed: Sizes, turned: bool = False) -> tuple[int, ...] | None:
    """The transposition that makes a shape another one; nothing where none does.

    The weights of layers are either (out, in, \\*window) or (\\*window, in, out). With ``turned``, the two are known to
    differ in that, also where the sizes are equal.
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


class _Tensor:
    """One side of what may belong together."""

    def __init__(self, name: str, shape: Sizes) -> None:
        self.name, self.shape = name, shape

    @cached_property
    def words(self) -> Words:
        return words(self.name)

    @property
    def sizes(self) -> Sizes:
        """The sizes in any order."""
        return tuple(sorted(self.shape))

    @property
    def kind(self) -> tuple[str, Sizes]:
        """What tensors have in common that surely may belong together."""
        return self.words.role, self.sizes

    @property
    def series(self) -> str:
        """The name without its numbers."""
        return re.sub(r"_?\d+", "", self.words.stem)

    @property
    def place(self) -> list[int]:
        """Where in its series: the numbers of its name."""
        return [int(digits) for digits in re.findall(r"\d+", self.words.stem)]


Pair: TypeAlias = tuple[_Tensor, _Tensor]
"""One that is missing, and one of the file."""


def _suggestions(missing: Sequence[_Tensor], free: Sequence[_Tensor]) -> dict[str, dict[str, Any]]:
    """What to put into the row of each missing tensor for which there is a suggestion."""
    pairs = list[Pair]()
    for step in (_alike, _in_series, _by_name):
        done = {each for pair in pairs for each in pair}
        pairs += step([m for m in missing if m not in done], [f for f in free if f not in done])
    return {
        m.name: {"suggestion": f.name, "found": f.shape, "axes": () if axes == tuple(range(len(axes))) else axes}
        for m, f in pairs
        if (axes := _fitting(m, f)) is not None
    }


def _fitting(missing: _Tensor, found: _Tensor) -> tuple[int, ...] | None:
    turned = (missing.words.last in TURNED) != (found.words.last in TURNED)
    return _axes(found.shape, missing.shape, turned)


def _alike(missing: Sequence[_Tensor], free: Sequence[_Tensor]) -> Iterator[Pair]:
    """Tensors of one kind whose names differ in numbers alone, as many in the file as are missing, in their order.

    Keras counts ``dense``, ``dense_1``, ... where others count from 1: the nearest name would be the wrong one.
    """
    wanted, there = (_grouped(side, lambda each: (each.kind, each.series)) for side in (missing, free))
    for kind, group in wanted.items():
        yield from _in_order(group, there.get(kind, []))


def _in_series(missing: Sequence[_Tensor], free: Sequence[_Tensor]) -> Iterator[Pair]:
    """The same where each side has one name apart from numbers, which need not be the other's."""
    wanted, there = (_grouped(side, lambda each: each.kind) for side in (missing, free))
    for kind, group in wanted.items():
        others = there.get(kind, [])
        if len(group) > 1 and len({each.series for each in group}) == len({each.series for each in others}) == 1:
            yield from _in_order(group, others)


def _in_order(group: Sequence[_Tensor], others: Sequence[_Tensor]) -> list[Pair]:
    """Both sides in the order of their numbers, if they are as many and each pair fits."""
    if len(group) != len(others):
        return []
    pairs = list(zip(_ordered(group), _ordered(others), strict=True))
    return pairs if all(_fitting(*pair) is not None for pair in pairs) else []


def _grouped(tensors: Iterable[_Tensor], key: Callable[[_Tensor], Hashable]) -> dict[Hashable, list[_Tensor]]:
    groups = defaultdict(list)
    for each in tensors:
        groups[key(each)].append(each)
    return groups


def _ordered(tensors: Iterable[_Tensor]) -> list[_Tensor]:
    return sorted(tensors, key=lambda each: (each.place, each.name))


def _by_name(missing: Sequence[_Tensor], free: Sequence[_Tensor]) -> Iterator[Pair]:
    """The pairs whose names are nearest, each tensor in one; none of several that are as near."""
    candidates = list(islice(_candidates(missing, free), MAX_PAIRS + 1))
    if len(candidates) > MAX_PAIRS:
        return
    choices = Counter(each for pair in candidates for each in pair)
    scored = [(_nearness(m, f), m, f) for m, f in candidates]
    near = [each for each in scored if each[0] >= NEAR or choices[each[1]] == choices[each[2]] == 1]
    used = set[_Tensor]()
    for _, level in groupby(sorted(near, key=_score, reverse=True), key=_score):
        pairs = [(m, f) for _, m, f in level if m not in used and f not in used]
        sides = Counter(each for pair in pairs for each in pair)
        yield from ((m, f) for m, f in pairs if sides[m] == sides[f] == 1)
        used.update(sides)


def _score(scored: tuple[float, _Tensor, _Tensor]) -> float:
    return scored[0]


def _candidates(missing: Sequence[_Tensor], free: Sequence[_Tensor]) -> Iterator[Pair]:
    by_sizes = _grouped(free, lambda each: each.sizes)
    for each in missing:
        for other in by_sizes.get(each.sizes, []):
            roles = {each.words.role, other.words.role} - {""}
            if len(roles) < 2 and _fitting(each, other) is not None:
                yield each, other


def _nearness(missing: _Tensor, found: _Tensor) -> float:
    """From 0 to 2; above 1 where both are known to be the same of something."""
    same = bool(missing.words.role) and missing.words.role == found.words.role
    return same + SequenceMatcher(None, missing.words.stem, found.words.stem, autojunk=False).ratio()


# -- what is printed


def as_text(found: Match) -> str:
    """The match for people, without a line end."""
    rows = [(r.name, format_shape(r.needed), _shape(r.found), _result(r)) for r in found.rows]
    lines = [table(("tensor", "needed", "found", "result"), rows)] if rows else []
    if found.left_over:
        more = f", … ({len(found.left_over):,})" if len(found.left_over) > SHOWN else ""
        lines.append("left over in the file: " + ", ".join(map(printable, found.left_over[:SHOWN])) + more + "\n")
    fitting = sum(row.status == "fits" for row in found.rows)
    return "\n".join([*lines, f"{fitting:,} of {quantity(len(found.rows), 'tensor')} fit"])


def as_json(found: Match) -> dict[str, Any]:
    """The match for programs."""
    return {"fits": found.fits, "tensors": [asdict(row) for row in found.rows], "left_over": list(found.left_over)}


def _shape(shape: Sizes | None) -> str:
    return "" if shape is None else format_shape(shape)


def _result(row: Row) -> str:
    how = f"transposed {format_shape(row.axes)}" if len(row.axes) > 2 else "transposed" if row.axes else ""
    if row.suggestion:
        return f"missing; perhaps {row.suggestion}" + (f", {how}" if how else "")
    return f"{row.status}; it would fit {how}" if how else row.status
