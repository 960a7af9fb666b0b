"""Equalities between the symbolic sizes of a graph's inputs, without which some node does not fit.

Exporters give each input its own name for the batch or the length, although the nodes add, multiply or join them: the
mask of a decoder with a cache is as long as the cache and the new words together. What could be equal are the sizes
that meet in a node, solved for one name (``dims.solved``). The rule of the operator that refuses such sizes decides
which equalities it needs: the fewest with which it accepts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Final, NamedTuple, TypeAlias

from portable_nn.core.dims import names_in, put, solved, substituted
from portable_nn.core.graph import Dim, Node
from portable_nn.operators.inference import types_made
from portable_nn.operators.registry import DataDependentShape, InvalidNode, Type, Types, types_read

Equality: TypeAlias = tuple[str, Dim]
"""A name, and the size that it is equal to: a name that comes before it, a formula of others, or a number."""

MOST: Final = 3
"""The most equalities that are tried for one node at once."""
TRIALS: Final = 3000
"""The most combinations of equalities that are tried for one node."""
REFUSALS: Final = 20
"""The most nodes for which equalities are tried, of those that do not fit."""
MET: Final = 16
"""The most numbers, and the most formulas, that meet in one node and are compared with other sizes."""
LONGEST: Final = 200
"""The most characters of a formula that is solved for a name."""
ROUNDS: Final = 32
"""The most nodes whose equalities are found, one after the other."""


class Needed(NamedTuple):
    """Equalities, and the label of the node that needs them."""

    equalities: tuple[Equality, ...]
    node: str


def solution(needed: Iterable[Needed]) -> dict[str, Dim]:
    """The sizes that are needed in place of names."""
    return {name: size for each in needed for name, size in each.equalities}


def needed_equalities(nodes: Sequence[Node], types: Types, inputs: Sequence[str]) -> list[Needed]:
    """The sizes that the ``inputs`` must have for ``nodes`` to fit, as far as that is one answer.

    Of several answers, those that make sizes of one axis of the inputs equal are preferred; where that leaves several,
    there is none. A name occurs on the left side once, and then on the right side no more.

    Args:
        nodes: in an order in which they can run.
        types: the types of the values that no node makes.
        inputs: those of these values whose sizes can be set.
    """
    found, types = list[Needed](), dict(types)
    for _ in range(ROUNDS):
        needed = _first_needed(nodes, types, inputs)
        if needed is None:
            break
        known = dict(needed.equalities)
        found = [Needed(tuple((name, put(size, known)) for name, size in each.equalities), each.node) for each in found]
        found.append(needed)
        types.update((name, _put(types[name], known)) for name in inputs)
    return found


def _first_needed(nodes: Sequence[Node], types: Types, inputs: Sequence[str]) -> Needed | None:
    axes: dict[Dim, set[int]] = {}
    for name in inputs:
        for axis, dim in enumerate(types[name].shape):
            for each in names_in([dim]):
                axes.setdefault(each, set()).add(axis)
    types, refusals = dict(types), 0
    for node in nodes if axes else ():
        if any(name and name not in types for name in node.inputs):
            continue
        given = types_read(node, types)
        try:
            types.update(zip(node.outputs, types_made(node, given), strict=False))
        except DataDependentShape:
            continue
        except InvalidNode:
            refusals += 1
            if refusals <= REFUSALS and (found := _fitting(node, given, axes)):
                return Needed(found, str(node))
    return None


def _fitting(node: Node, given: Sequence[Type | None], axes: Mapping[Dim, Set[int]]) -> tuple[Equality, ...] | None:
    """The fewest equalities with which ``node`` fits, if that is one answer; ``axes`` are those of each name."""
    trials = itertools.islice(_combinations(_possible(given, list(axes))), TRIALS)
    for _, several in itertools.groupby(trials, len):
        fitting = [each for each in several if fits(node, given, dict(each))]
        aligned = [sum(b in axes and not axes[a].isdisjoint(axes[b]) for a, b in each) for each in fitting]
        if best := [each for each, count in zip(fitting, aligned, strict=True) if count == max(aligned)]:
            return best[0] if len(best) == 1 else None
    return None


def _possible(given: Sequence[Type | None], known: Sequence[Dim]) -> list[Equality]:
    """The equalities of two sizes that meet in a node, solved for one of the names ``known``."""
    dims = sizes_met(given)
    symbolic = list(dict.fromkeys(dim for dim in dims if isinstance(dim, str)))
    names = sorted(names_in(symbolic).intersection(known), key=known.index)
    numbers = list(dict.fromkeys(dim for dim in dims if isinstance(dim, int) and dim > 1))[:MET]
    # Sums of products alone: a quotient says that two sizes that were equal have become another one.
    formulas = [dim for dim in symbolic if dim not in names and "(" not in dim and len(dim) <= LONGEST][:MET]
    pairs: Iterable[tuple[Dim, Dim]] = itertools.chain(
        itertools.combinations(names, 2),
        itertools.product(names, numbers),
        itertools.product(formulas, [*names, *numbers]),
        itertools.combinations(formulas, 2),
    )
    return list(dict.fromkeys(each for pair in pairs if (each := solved(*pair, names)) and each[1] not in (0, 1)))


def sizes_met(given: Sequence[Type | None]) -> list[Dim | float]:
    """The sizes of the inputs of a node, and the elements of those that are constant."""
    types = [type for type in given if type]
    return [dim for type in types for dim in type.shape] + [dim for type in types for dim in type.constant or ()]


def _combinations(single: Sequence[Equality]) -> Iterator[tuple[Equality, ...]]:
    """Sets of equalities, the smallest first, in which no name is on both sides, nor twice on the left."""
    for count in range(1, min(MOST, len({name for name, _ in single})) + 1):
        for each in itertools.combinations(single, count):
            left = {name for name, _ in each}
            if len(left) == count and left.isdisjoint(names_in(size for _, size in each)):
                yield each


def fits(node: Node, given: Sequence[Type | None], known: Mapping[str, Dim]) -> bool:
    """True if a node fits with the sizes that ``known`` has in place of its symbolic ones."""
    try:
        types_made(node, [type and _put(type, known) for type in given])
    except InvalidNode:
        return False
    return True


def _put(type: Type, known: Mapping[str, Dim]) -> Type:
    elements = type.constant and tuple(put(each, known) if isinstance(each, str) else each for each in type.constant)
    return Type(type.dtype, substituted(type.shape, known), elements)
