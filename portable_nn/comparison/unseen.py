"""Differences of two models that no input shows: rows of tables that none looks up, limits that none reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from onnx import NodeProto

from portable_nn.comparison.given import Given
from portable_nn.comparison.matching import Match
from portable_nn.comparison.side import Side
from portable_nn.comparison.structure import attributes, difference_of
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


def unseen(found: Given) -> Iterator[str]:
    """The nodes that agree on all inputs, but not beyond; none where one of the models rounds more than floats do.

    Raises ``FormatError`` and ``UnsupportedError`` where a model does not run on larger numbers.
    """
    if found.is_narrow or found.one.is_quantised:
        return
    for name, how in (*_other_constants(found), *_stretched(found)):
        decides = "inputs that show it (INPUT, inputs=) would decide"
        yield f"{found.other.label(name)} agrees on all inputs, but {how}; {decides}"


def _other_constants(found: Given) -> Iterator[tuple[str, str]]:
    """The nodes that read another constant: a table of which no input looks up some rows, say."""
    for name, match in found.given.items():
        node, theirs = found.other.maker[name], found.one.maker.get(match.value)
        if theirs is None or _settings(found.one, theirs) != _settings(found.other, node):
            continue
        for mine, its in zip(node.input, theirs.input, strict=False):
            x, y = found.one.constants.get(its), found.other.constants.get(mine)
            if x is None or y is None:
                if found.given.get(mine, Match(its)) != Match(its):
                    break
            elif x.dtype.kind == "f" and x.shape == y.shape:
                limited = (each.clip(-ENDLESS, ENDLESS) for each in (y, x))
                if difference(*limited).max_rel_error > ANOTHER:
                    yield name, f"'{mine}' is another: {difference_of(x, y)}"


def _stretched(found: Given) -> Iterator[tuple[str, str]]:
    """The nodes that differ where all that they read is larger, so that a limit is reached."""
    met = {name: match for name, match in found.given.items() if match.value in found.one.maker}
    wide = {match.value: [_wide(known[match.value]) for known in found.theirs] for match in met.values()}
    moved = {
        name: [match.arranged(array, mine[name]) for array, mine in zip(wide[match.value], found.ours, strict=True)]
        for name, match in met.items()
    }
    theirs = found.one.run([_all_wide(known, found.one.inputs) for known in found.theirs], wide)
    ours = found.other.run([_all_wide(feeds, found.other.inputs) for feeds in found.feeds], moved)
    for name, match in met.items():
        read = {met[each].value for each in found.other.read_from(name, met) if each in met}
        for known, mine, array in zip(theirs, ours, moved[name], strict=True):
            x = array if match.value in read else match.arranged(known[match.value], mine[name])
            if finite_gaps(x, mine[name]).sum() > OFF * finite_gaps(x, np.zeros_like(x)).sum():
                yield name, f"not on numbers {STRETCH} times as large"
                break


def _settings(side: Side, node: NodeProto) -> tuple[str, ...]:
    return (node.op_type, *attributes(side, node))


def _all_wide(known: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Array]:
    return {name: _wide(known[name]) for name in names}


def _wide(array: Array) -> Array:
    return np.multiply(array, STRETCH, dtype=array.dtype) if array.dtype.kind == "f" else array
