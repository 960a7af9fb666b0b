"""The memory that a graph claims: a shape in a file of a hundred bytes can be of any size (see ``core.limits``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from portable_nn.core.dims import static
from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Graph, Value
from portable_nn.core.limits import COMPUTED, allowance, excess
from portable_nn.operators import Type, infer


def check_claims(
    graph: Graph, types: Mapping[str, Type] | None = None, stored: int | None = None, where: str = ""
) -> None:
    """Check that no value takes far more memory than is stored, nor all constant ones, before an engine allocates them.

    Args:
        graph: the graph.
        types: the types of its values, by default those that hold for all inputs. A value whose size depends on
            symbolic sizes is not checked.
        stored: the bytes that are stored, by default those of the parameters.
        where: what messages call the graph.

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
        check(f"'{node.name}' ({node.operator})", claimed)
        if varying.isdisjoint(node.inputs):
            constants += claimed
        else:
            varying.update(node.outputs)
    if not faults:
        check("the constants together", constants)
    if faults:
        raise GraphError(faults, where)


def size_of(values: Iterable[Value]) -> int:
    """The bytes of values whose shapes are numbers."""
    return sum(_bytes(Type(value.dtype, value.shape)) for value in values)


def _bytes(type: Type) -> int:
    """The bytes of a value, 0 where its shape is not known."""
    shape = static(type.shape)
    return 0 if shape is None else math.prod(shape) * np.dtype(type.dtype).itemsize
