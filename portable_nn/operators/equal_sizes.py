"""Equalities between the symbolic sizes of a graph's inputs, without which some node does not fit.

Exporters give each input its own name for the batch or the length, although the nodes add, multiply or join them. The
rule of the operator that refuses such sizes decides which equalities it needs: the fewest with which it accepts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from portable_nn.core.dims import names_in, put
from portable_nn.core.graph import Dim, Node
from portable_nn.operators.inference import infer_node
from portable_nn.operators.registry import DataDependentShape, InvalidNode, Type, lookup

Equality: TypeAlias = tuple[str, Dim]
"""A name, and the size that it is equal to: a name that comes before it, or a number."""

MOST: Final = 3
"""The most equalities that are tried for one node at once."""
TRIALS: Final = 3000
"""The most combinations of equalities that are tried for one node."""
REFUSALS: Final = 20
"""The most nodes for which equalities are tried, of those that do not fit."""
NUMBERS: Final = 16
"""The most numbers that names of one node are set to."""
ROUNDS: Final = 32
"""The most nodes whose equalities are found, one after the other."""


class Needed(NamedTuple):
    """Equalities, and the label of the node that needs them."""

    equalities: tuple[Equality, ...]
    node: str


def needed_equalities(nodes: Sequence[Node], types: Mapping[str, Type], inputs: Sequence[str]) -> list[Needed]:
    """What the sizes of the ``inputs`` must be for ``nodes`` to fit, as far as that is one answer.

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


def _first_needed(nodes: Sequence[Node], types: Mapping[str, Type], inputs: Sequence[str]) -> Needed | None:
    axes: dict[str, set[int]] = {}
    for name in inputs:
        for axis, dim in enumerate(types[name].shape):
            if isinstance(dim, str):
                axes.setdefault(dim, set()).add(axis)
    types, refusals = dict(types), 0
    for node in nodes if axes else ():
        if any(name and name not in types for name in node.inputs):
            continue
        given = [types[name] if name else None for name in node.inputs]
        try:
            types.update(zip(node.outputs, _outputs(node, given), strict=False))
        except DataDependentShape:
            continue
        except InvalidNode:
            refusals += 1
            if refusals <= REFUSALS and (found := _fitting(node, given, axes)):
                return Needed(found, f"'{node.name}' ({node.operator})")
    return None


def _outputs(node: Node, given: Sequence[Type | None]) -> tuple[Type, ...]:
    return infer_node(lookup(node.operator, node.domain), given, node.attributes, len(node.outputs))


def _fitting(
    node: Node, given: Sequence[Type | None], axes: Mapping[str, Collection[int]]
) -> tuple[Equality, ...] | None:
    """The fewest equalities with which ``node`` fits, if that is one answer; ``axes`` are those of each name."""
    order = list(axes)
    types = [type for type in given if type]
    dims = [dim for type in types for dim in type.shape] + [dim for type in types for dim in type.constant or ()]
    names = sorted(names_in(dim for dim in dims if isinstance(dim, str)).intersection(axes), key=order.index)
    numbers = list(dict.fromkeys(dim for dim in dims if isinstance(dim, int) and dim > 1))[:NUMBERS]
    single: list[Equality] = [(b, a) for a, b in itertools.combinations(names, 2)]
    single += [(name, number) for name in names for number in numbers]
    trials = itertools.islice(_combinations(single), TRIALS)
    for _, several in itertools.groupby(trials, len):
        fitting = [each for each in several if _fits(node, given, dict(each))]
        aligned = [sum(isinstance(b, str) and not axes[a].isdisjoint(axes[b]) for a, b in each) for each in fitting]  # type: ignore[attr-defined]
        best = [each for each, count in zip(fitting, aligned, strict=True) if count == max(aligned)]
        if best:
            return best[0] if len(best) == 1 else None
    return None


def _combinations(single: Sequence[Equality]) -> Iterator[tuple[Equality, ...]]:
    """Sets of equalities, the smallest first, in which no name is on both sides, nor twice on the left."""
    for count in range(1, min(MOST, len({name for name, _ in single})) + 1):
        for each in itertools.combinations(single, count):
            left = {name for name, _ in each}
            if len(left) == count and left.isdisjoint(size for _, size in each if isinstance(size, str)):
                yield each


def _fits(node: Node, given: Sequence[Type | None], known: Mapping[str, Dim]) -> bool:
    try:
        _outputs(node, [type and _put(type, known) for type in given])
    except InvalidNode:
        return False
    return True


def _put(type: Type, known: Mapping[str, Dim]) -> Type:
    elements = type.constant and tuple(put(each, known) if isinstance(each, str) else each for each in type.constant)
    return Type(type.dtype, tuple(put(dim, known) for dim in type.shape), elements)
