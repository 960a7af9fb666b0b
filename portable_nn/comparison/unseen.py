"""Differences of two models that no input shows: rows of tables that none looks up, limits that none reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
from onnx import NodeProto

from portable_nn.comparison.bodies import untaken
from portable_nn.comparison.given import Given
from portable_nn.comparison.matching import Match
from portable_nn.comparison.side import Side
from portable_nn.comparison.structure import attributes, difference_of, node_difference
from portable_nn.core.errors import PortableNNError
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import difference, finite_gaps

Times: TypeAlias = Callable[[Mapping[str, Array], Iterable[str]], dict[str, Array]]
"""A function that gives some of the values, of which some are multiplied."""

ENDLESS: Final = 1e9
"""The magnitude from which on a limit is none, and a mask hides all."""

ANOTHER: Final = 1e-3
"""The relative difference beyond which a constant is another one, however it was folded."""

STRETCH: Final = 32
"""The factor by which numbers are larger where nodes are seen beyond what the inputs show."""

OFF: Final = 0.01
"""The share of all magnitudes by which nodes that do the same may then differ."""

_DECIDING: Final = "inputs that show it (INPUTS, inputs=) would decide"


def unseen(found: Given) -> Iterator[str]:
    """The outputs that are empty, and the nodes that agree on all inputs, but not beyond.

    Nodes are not looked at where one of the models rounds more than floats do.
    """
    shown = {name for known in found.theirs for name in found.one.outputs if found.one.output(name, known).size}
    yield from (f"output '{name}' is empty on all inputs; {_DECIDING}" for name in sorted({*found.one.outputs} - shown))
    if found.is_narrow or found.one.is_quantised:
        return
    # The first of them may be found alone.
    for name, how in chain(untaken(found), _other_tables(found), _other_constants(found), _beyond(found)):
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


_BEYOND: Final = {
    f"numbers {STRETCH} times as large": ("f", STRETCH),
    f"whole numbers {STRETCH} times as large": ("i", STRETCH),
    "negative whole numbers": ("i", -1),
}
"""The kind of numbers that are multiplied, and by what, by what is then said of them."""


def _beyond(found: Given) -> Iterator[tuple[str, str]]:
    """The nodes that differ where numbers are larger, so that a limit is reached, or whole numbers are negative."""
    kinds = {found.feeds[0][name].dtype.kind for name in found.other.inputs}
    met = {name: match for name, match in found.given.items() if match.value in found.one.maker}
    for words, (kind, factor) in _BEYOND.items():
        times = partial(_times, kind, factor)
        with suppress(PortableNNError):  # What is found in an image, say, has another size where numbers are larger.
            if kind == "f":  # Whole numbers between inputs and outputs may be sizes.
                for name, nodes in _changed(found, met, times):
                    yield name, f"not on {words}" + nodes
            if kind in kinds:
                for name in _changed_ends(found, met, times):
                    yield name, f"not on {words}"


@np.errstate(over="ignore")  # A mask is the lowest number, say.
def _times(kind: str, factor: int, known: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """Some of the values, of which those of a kind are multiplied."""
    arrays = {name: known[name] for name in names}
    for name, x in arrays.items():
        if x.dtype.kind == kind:
            arrays[name] = np.multiply(x, factor, dtype=x.dtype)
    return arrays


def _changed_ends(found: Given, met: Mapping[str, Match], times: Times) -> Iterator[str]:
    """The outputs that differ where inputs are changed: one side of a Where, say, is taken there alone."""
    rounds = [times(known, found.one.inputs) for known in found.theirs]
    theirs = found.one.run(rounds, {})
    rounds = [times(known, found.other.inputs) for known in found.feeds]
    ours = found.other.run(rounds, {})
    for name in found.other.outputs:
        if name in met:
            match = met[name]
            if any(_are_apart(match, x[match.value], y[name]) for x, y in zip(theirs, ours, strict=True)):
                yield name


def _changed(found: Given, met: Mapping[str, Match], times: Times) -> Iterator[tuple[str, str]]:
    """The nodes that differ where what they read is changed, and how they differ as nodes.

    They read one value: several may depend on each other, as x and whether it is above 20 do.
    """
    given = times(found.theirs[0], {match.value for match in met.values()})
    feeds = times(found.theirs[0], found.one.inputs)
    [theirs] = found.one.run([feeds], {name: [x] for name, x in given.items()})
    moved = {name: match.arranged(given[match.value], found.ours[0][name]) for name, match in met.items()}
    feeds = times(found.feeds[0], found.other.inputs)
    [ours] = found.other.run([feeds], {name: [x] for name, x in moved.items()})
    for name, match in met.items():
        read = _read_alone(found, name, met)
        values = given if match.value == read else theirs
        if read and _are_apart(match, values[match.value], ours[name]):
            nodes = node_difference(found.one, found.other, match.value, name)
            yield name, nodes and f": {nodes}"


def _are_apart(match: Match, theirs: Array, ours: Array) -> bool:
    if theirs.size != ours.size:
        return True
    wanted = match.arranged(theirs, ours)
    return bool(finite_gaps(wanted, ours).sum() > OFF * finite_gaps(wanted, np.zeros_like(wanted)).sum())


def _read_alone(found: Given, name: str, met: Mapping[str, Match]) -> str:
    """The one value of the first model that both values are computed from; empty if there is none."""
    before = [met[each].value if each in met else each for each in found.other.read_from(name, met)]
    alone = len(before) == len(found.one.read_from(met[name].value, found.met)) == 1
    place = found.one.place
    # Where axes are turned back, the second model computes the value from a later one: that is not compared.
    return before[0] if alone and place.get(before[0], -1) <= place[met[name].value] else ""


def _settings(side: Side, node: NodeProto) -> tuple[str, ...]:
    return (node.op_type, *attributes(side, node))
