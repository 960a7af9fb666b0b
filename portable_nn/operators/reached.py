"""The largest indices that a graph computes of sizes alone, such as positions, and the sizes that they need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import reduce

from portable_nn.core.dims import difference, is_at_least, largest, names_in, product, put, smallest, total
from portable_nn.core.graph import Dim, Graph
from portable_nn.operators.elements import Unknown
from portable_nn.operators.registry import APART, INTEGERS, Ends, OperatorContext, Type, Types, use_of


def sizes_for_indices(graph: Graph, types: Types) -> Iterator[tuple[Dim, Dim]]:
    """The sizes of axes that indices count along, and how large each should be.

    Of values that are combined, the largest need not meet: a smaller size may do.
    """
    known = dict[str, Ends | None]()
    for node in graph.nodes:
        use = use_of(node, types)
        given = [known.get(name) or _of_constant(types[name]) if name else None for name in node.inputs]
        for place, rule in use.operator.indexes.items():
            sizes, ends = rule(use), given[place] or ()
            if len(sizes) == len(ends):
                yield from ((size, total([high, 1])) for size, (_, high) in zip(sizes, ends, strict=True))
        made = types.get(node.outputs[0])  # An output that nobody reads may have no name.
        if made and made.dtype in INTEGERS and any(given):
            known[node.outputs[0]] = _ends(use, given, made)


def _of_constant(type: Type) -> Ends | None:
    found = [each for each in type.constant or () if type.dtype in INTEGERS and not isinstance(each, float)]
    return tuple((each, each) for each in found) if 0 < len(found) <= APART else None


def _ends(use: OperatorContext, given: Sequence[Ends | None], type: Type) -> Ends | None:
    """The ends of the output of a node, where they follow from those ``given`` of its inputs."""
    operator = use.operator
    with suppress(Unknown, ArithmeticError, ValueError):
        if operator.ends:
            return operator.ends(use, given)
        if operator.affine:
            return _at_corners(use, given, type)
        passed = [ends for place, ends in enumerate(given) if place in operator.passes]
        if passed and all(ends is not None and len(ends) == 1 for ends in passed):
            return (_around([number for ends in passed if ends for pair in ends for number in pair]),)
        if len(passed) == 1 and use.type().shape[-1:] == type.shape[-1:]:
            return passed[0]
    return None


def _at_corners(use: OperatorContext, given: Sequence[Ends | None], type: Type) -> Ends | None:
    """Of a function that is affine in each input that varies, the ends lie where those of the inputs do."""
    rule, found = use.operator.constant, list[tuple[Dim, Dim]]()
    if rule is None or not all(given):
        return None
    count = max(len(ends or ()) for ends in given)
    for column in zip(*(ends * count if len(ends) == 1 else ends for ends in given if ends), strict=True):
        if any(low != high and place not in use.operator.affine for place, (low, high) in enumerate(column)):
            return None
        values = list[Dim]()
        for corner in itertools.product(*column):
            types = [Type(type.dtype, (), (number,)) for number in corner]
            values += rule(OperatorContext(use.operator, types, use.attributes), Type(type.dtype, ()))  # type: ignore[arg-type]
        found.append(_around(values))
    return tuple(found)


def _around(values: Sequence[Dim]) -> tuple[Dim, Dim]:
    """The smallest and the largest of ``values``, where no size is 0."""
    return _first(values, smallest, 1), _first(values, largest, -1)


def _first(values: Sequence[Dim], extreme: Callable[[Dim, Dim], Dim], sign: int) -> Dim:
    from_one = {name: total([name, 1]) for name in names_in(values)}
    for one in values:
        gaps = (product([sign, difference(other, one)]) for other in values)
        if all(is_at_least(put(gap, from_one), 0) for gap in gaps):
            return one
    return reduce(extreme, values)
