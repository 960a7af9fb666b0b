"""The memory and time that a graph claims: a shape in a file can be of any size (see ``core.limits``)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from portable_nn.core.dims import static
from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Graph, Value
from portable_nn.core.limits import COMPUTED, allowance, excess, most_time, time_limit
from portable_nn.operators import Type, Types, infer
from portable_nn.operators.costs import elements_visited, multiply_adds, volume

SPEED: Final = 1e9
"""The elements that numpy goes through in a second."""


def check_claims(
    graph: Graph,
    types: Types | None = None,
    stored: int | None = None,
    where: str = "",
    examples: int | None = None,
) -> None:
    """Check that no value takes far more memory than is stored, nor all constant ones, before an engine allocates them;
    and that all nodes take no more time than the examples and the multiply-adds allow.

    Args:
        graph: the graph.
        types: the types of its values, by default those that hold for all inputs. A value whose size depends on
            symbolic sizes is not checked.
        stored: the bytes that are stored, by default those of the parameters.
        where: what messages call the graph.
        examples: how many of them the types are for, by default as many as the first sizes of inputs say that are open.

    Raises:
        GraphError: it lists all values that are too large.
    """
    types = infer(graph).types if types is None else types
    stored = size_of(graph.parameters) if stored is None else stored
    allowed, faults = allowance(stored, COMPUTED), list[Fault]()
    varying, constants = {value.name for value in graph.inputs}, 0

    def check(place: str, claimed: int) -> None:
        if claimed > allowed and (fault := excess(claimed, stored, COMPUTED)):
            faults.append(Fault(place, fault))

    for value in graph.inputs:
        check(f"input '{value.name}'", _bytes(types[value.name]))
    for node in graph.nodes:
        claimed = sum(_bytes(types[name]) for name in node.outputs if name)
        check(str(node), claimed)
        if varying.isdisjoint(node.inputs):
            constants += claimed
        else:
            varying.update(node.outputs)
    if not faults:
        check("the constants together", constants)
    examples = examples_in(graph.inputs, types) if examples is None else examples
    if not faults and (fault := _slow(graph, types, examples)):
        faults.append(fault)
    if faults:
        raise GraphError(faults, where)


def _slow(graph: Graph, types: Types, examples: int) -> Fault | None:
    """The node that takes most of the time, where all of them take too much beside their multiply-adds."""
    visited = [elements_visited(node, types) for node in graph.nodes]
    if sum(visited) <= time_limit(0) * SPEED:
        return None
    counted = sum(multiply_adds(node, types) or 0 for node in graph.nodes)
    if sum(visited) <= (most := time_limit(counted, examples)) * SPEED:
        return None
    node = graph.nodes[visited.index(max(visited))]
    takes = f"goes through {max(visited):,} elements, which takes some {max(visited) / SPEED:,.0f} s"
    return Fault(str(node), f"{takes}; {most_time(most, counted)}")


def size_of(values: Iterable[Value]) -> int:
    """The bytes of values whose shapes are numbers."""
    return sum(math.prod(static(each.shape) or (0,)) * np.dtype(each.dtype).itemsize for each in values)


def examples_in(inputs: Iterable[Value], types: Types) -> int:
    """The number of examples in inputs of these types: the largest first size that is open."""
    sizes = [types[each.name].shape[0] for each in inputs if each.shape and isinstance(each.shape[0], str)]
    return max((size for size in sizes if isinstance(size, int)), default=1)


def _bytes(type: Type) -> int:
    """The bytes of a value, of an empty one as ``volume`` has it; 0 where its shape is not known."""
    return volume(type.shape) * np.dtype(type.dtype).itemsize
