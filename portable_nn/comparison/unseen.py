"""Differences of two models that no input shows: rows of tables that none looks up, limits that none reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

import numpy as np
from onnx import NodeProto

from portable_nn.comparison.bodies import untaken
from portable_nn.comparison.given import Given
from portable_nn.comparison.side import Side
from portable_nn.comparison.structure import attributes, difference_of, node_difference
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import difference, finite_gaps

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

    Raises ``FormatError`` and ``UnsupportedError`` where a model does not run on larger numbers.
    """
    shown = {name for known in found.theirs for name in found.one.outputs if found.one.output(name, known).size}
    yield from (f"output '{name}' is empty on all inputs; {_DECIDING}" for name in sorted({*found.one.outputs} - shown))
    if found.is_narrow or found.one.is_quantised:
        return
    # The first of them may be found alone.
    for name, how in chain(untaken(found), _other_tables(found), _other_constants(found), _stretched(found)):
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


def _stretched(found: Given) -> Iterator[tuple[str, str]]:
    """The nodes that differ where what they read is larger, so that a limit is reached.

    They read one value: several may depend on each other, as x and whether it is above 20 do.
    """
    met = {name: match for name, match in found.given.items() if match.value in found.one.maker}
    given = _wide(found.theirs[0], {match.value for match in met.values()})
    moved = {name: match.arranged(given[match.value], found.ours[0][name]) for name, match in met.items()}
    [theirs] = found.one.run([_wide(found.theirs[0], found.one.inputs)], {name: [x] for name, x in given.items()})
    [ours] = found.other.run([_wide(found.feeds[0], found.other.inputs)], {name: [x] for name, x in moved.items()})
    place = found.one.place
    for name, match in met.items():
        read = [met[each].value if each in met else each for each in found.other.read_from(name, met)]
        alone = len(read) == len(found.one.read_from(match.value, found.met)) == 1
        # Where axes are turned back, the second model computes the value from a later one: that is not compared.
        if alone and place.get(read[0], -1) <= place[match.value]:
            known = given if match.value in read else theirs
            if _are_apart(match.arranged(known[match.value], ours[name]), ours[name]):
                nodes = node_difference(found.one, found.other, match.value, name)
                yield name, f"not on numbers {STRETCH} times as large" + (nodes and f": {nodes}")


def _are_apart(one: Array, other: Array) -> bool:
    return bool(finite_gaps(one, other).sum() > OFF * finite_gaps(one, np.zeros_like(one)).sum())


def _settings(side: Side, node: NodeProto) -> tuple[str, ...]:
    return (node.op_type, *attributes(side, node))


@np.errstate(over="ignore")  # A mask is the lowest number, say.
def _wide(known: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """Some of the values, of which floats are larger."""
    arrays = {name: known[name] for name in names}
    return {name: np.multiply(x, STRETCH, dtype=x.dtype) if x.dtype.kind == "f" else x for name, x in arrays.items()}
