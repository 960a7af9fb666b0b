"""Differences of two models that no input shows: rows of tables that none looks up, limits that none reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from onnx import NodeProto

from portable_nn.comparison.bodies import untaken
from portable_nn.comparison.given import Given
from portable_nn.comparison.matching import Match
from portable_nn.comparison.side import Side
from portable_nn.comparison.structure import attributes, difference_of, node_difference
from portable_nn.core.errors import PortableNNError
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import difference, finite_gaps, gaps

ENDLESS: Final = 1e9
"""The magnitude from which on a limit is none, and a mask hides all."""

ANOTHER: Final = 1e-3
"""The relative difference beyond which a constant is another one, however it was folded."""

STRETCH: Final = 32
"""The factor by which numbers are larger where nodes are seen beyond what the inputs show."""

OFF: Final = 0.01
"""The share of all magnitudes by which nodes that do the same may then differ."""

_DECIDING: Final = "inputs that show it (INPUTS, inputs=) would decide"


def unseen(found: Given, *, drawn: bool) -> Iterator[str]:
    """The outputs that are empty, and the nodes that agree on all inputs, but not beyond.

    Whole models are run on others only where inputs are ``drawn``, as the user's own are what counts. Nodes are not
    looked at where one of the models rounds more than floats do.
    """
    shown = {name for known in found.theirs for name in found.one.outputs if found.one.output(name, known).size}
    for name in sorted({*found.one.outputs} - shown):
        yield f"output '{name}' is empty on all inputs; {_DECIDING}"
    if found.is_narrow or found.one.is_quantised:
        return
    # The first of them may be found alone.
    for name, how in chain(untaken(found), _other_tables(found), _other_constants(found), _beyond(found, drawn)):
        yield f"{found.other.label(name)} agrees on all inputs, but {how}; {_DECIDING}"


def _other_tables(found: Given) -> Iterator[tuple[str, str]]:
    """The nodes of classical models whose tables and trees, which are attributes, are others."""
    for name, match in found.given.items():
        node, theirs = found.other.maker[name], found.one.maker.get(match.value)
        is_one = theirs and node.domain == "ai.onnx.ml" and node.op_type == theirs.op_type
        if is_one and (how := node_difference(found.one, found.other, match.value, name)):
            yield name, f"its attributes differ: {how}"


def _other_constants(found: Given) -> Iterator[tuple[str, str]]:
    """The nodes that read the same values and another constant: a table of which no input looks up some rows, say."""
    same = {"": "", **dict(zip(found.other.inputs, found.one.inputs, strict=True))}
    same |= {name: match.value for name, match in found.given.items() if not match.axes}
    for name, match in found.given.items():
        node, theirs = found.other.maker[name], found.one.maker.get(match.value)
        if theirs is None or _settings(found.one, theirs) != _settings(found.other, node):
            continue
        others = {
            mine: (found.one.constants.get(its), found.other.constants.get(mine))
            for mine, its in zip(node.input, theirs.input, strict=False)
            if same.get(mine) != its
        }
        is_fixed = all(x is not None and y is not None for x, y in others.values())
        for mine, (x, y) in others.items() if is_fixed else ():
            if x is not None and y is not None and _is_another(x, y):
                yield name, f"'{mine}' is another: {difference_of(x, y)}"


def _is_another(x: Array, y: Array) -> bool:
    """True if two constants of floats differ by more than folding does."""
    return (
        x.dtype.kind == "f"
        and x.shape == y.shape
        and difference(*np.clip([y, x], -ENDLESS, ENDLESS, dtype=np.float64)).max_rel_error > ANOTHER
    )


class _Change(NamedTuple):
    """Other numbers in place of those that models were run on.

    Attributes:
        kind: the kind of numpy types that change: ``f``, floats, or ``i``, whole numbers.
        change: the function that makes them.
        within: whether nodes are also run one by one, each on other numbers.
    """

    kind: str
    change: Callable[[Array], Array]
    within: bool = False

    def of(self, known: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
        """The values with these names, of which those of the kind are changed."""
        found = {name: known[name] for name in names}
        for name, x in found.items():
            if x.dtype.kind == self.kind:
                with np.errstate(over="ignore"):  # A mask is the lowest number, say.
                    found[name] = np.asarray(self.change(x))
        return found


_CHANGES: Final = {
    f"numbers {STRETCH} times as large": _Change("f", lambda x: x * STRETCH, within=True),
    "multiples of a half": _Change("f", lambda x: np.rint(x * 2) / 2, within=True),  # ... which are often equal, or 0.
    "numbers of the other sign": _Change("f", np.negative),
    f"whole numbers {STRETCH} times as large": _Change("i", lambda x: x * STRETCH),
    "whole numbers of the other sign": _Change("i", np.negative),
}
"""The other numbers, by words for them. Not all are for nodes: rewrites may rely on the sign of a value, and whole
numbers may be sizes."""


def _beyond(found: Given, drawn: bool) -> Iterator[tuple[str, str]]:
    """The nodes that differ on other numbers, and on which."""
    kinds = {found.feeds[0][name].dtype.kind for name in found.other.inputs if drawn}
    met = {name: match for name, match in found.given.items() if match.value in found.one.maker}
    with suppress(PortableNNError):  # A session that shows all values may be too large, say.
        yield from _changed(found, met)
        yield from _changed_ends(found, met, kinds)


def _changed(found: Given, met: Mapping[str, Match]) -> Iterator[tuple[str, str]]:
    """The nodes that differ where each reads other floats.

    Only nodes that read one value are looked at: several may depend on each other, as x and whether it is above 20 do.
    """
    known, ours = found.theirs[0], found.ours[0]
    one = found.one.opened({match.value: known[match.value] for match in met.values()})
    other = found.other.opened({name: ours[name] for name in met})
    for words, change in _CHANGES.items():
        if change.within:
            given = change.of(known, {match.value for match in met.values()})
            moved = {name: match.arranged(given[match.value], ours[name]) for name, match in met.items()}
            with suppress(PortableNNError):  # What is found in an image, say, has another size.
                theirs = one(change.of(known, found.one.inputs) | given)
                mine = other(change.of(found.feeds[0], found.other.inputs) | moved)
                for name, match in met.items():
                    read = _read_alone(found, name, met)
                    values = given if match.value == read else theirs
                    if read and _are_apart(match, values[match.value], mine[name]):
                        nodes = node_difference(found.one, found.other, match.value, name)
                        yield name, f"not on {words}" + (nodes and f": {nodes}")


def _changed_ends(found: Given, met: Mapping[str, Match], kinds: Collection[str]) -> Iterator[tuple[str, str]]:
    """The outputs that differ on other inputs of these ``kinds``, as where another side of a Where is taken there."""
    one, other = found.one.opened({}), found.other.opened({})
    rounds = [*zip(found.theirs, found.feeds, strict=True)][:2]
    for words, change in _CHANGES.items():
        if change.kind not in kinds:
            continue
        with suppress(PortableNNError):  # A whole number may be too large for an index.
            for known, feeds in rounds:
                theirs = one(change.of(known, found.one.inputs))
                ours = other(change.of(feeds, found.other.inputs))
                for name in found.other.outputs:
                    if name in met and _are_apart(met[name], theirs[met[name].value], ours[name]):
                        yield name, f"not on {words}"


def _are_apart(match: Match, theirs: Array, ours: Array) -> bool:
    """True if arrays differ by more than rounding could, or one has numbers where the other has NaN."""
    if theirs.size != ours.size:
        return True
    # A mask may be the lowest number, or infinite.
    wanted, found = (np.clip(x.astype(np.float64), -ENDLESS, ENDLESS) for x in (match.arranged(theirs, ours), ours))
    most = OFF * finite_gaps(wanted, np.zeros_like(wanted)).sum()
    return bool(gaps(wanted, found).sum() > most)


def _read_alone(found: Given, name: str, met: Mapping[str, Match]) -> str:
    """The one value of the first model that both values are computed from; empty if there is none."""
    before = [met[each].value if each in met else each for each in found.other.read_from(name, met)]
    alone = len(before) == len(found.one.read_from(met[name].value, found.met)) == 1
    place = found.one.place
    # Where axes are turned back, the second model computes the value from a later one: that is not compared.
    return before[0] if alone and place.get(before[0], -1) <= place[met[name].value] else ""


def _settings(side: Side, node: NodeProto) -> tuple[str, ...]:
    return (node.op_type, *attributes(side, node))
