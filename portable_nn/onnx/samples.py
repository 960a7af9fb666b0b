"""Random inputs to compare two engines on, each in a range that the graph can use.

Most inputs are normally distributed. Indices must be within the table that they index, masks are zeros and ones,
logarithms need positive numbers: such ranges are propagated from the nodes back to the inputs. The ``samples`` of an
operator's registration are the ranges of its inputs; the range of an output holds for the inputs that it ``passes`` on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.engines.claims import check_claims
from portable_nn.format.tensors import Array
from portable_nn.operators import INTEGERS, Family, Interval, OperatorContext, Type, infer, lookup

BATCHES: Final = (1, 3)
"""The values of an unknown first size: one example is a special case, and so is an odd number."""

SIZES: Final = (16, 32, 64, 128, 224, 256, 8, 4, 2, 1)
"""The values that are tried for any other unknown size, such as the length of a sequence; the first that fits."""


class NoInputsError(Exception):
    """No inputs are found that fit a graph; never leaves the package."""


Types: TypeAlias = Mapping[str, Type]

_TRUTH: Final = Interval(0, 1)


_RECKONING: Final[frozenset[Family]] = frozenset({"linear", "activation", "reduction", "arithmetic"})
"""The families of operators that integers of any size may go into."""


def spans(graph: Graph, types: Types) -> dict[str, Interval]:
    """The ranges of values, as far as the nodes that read them have limits."""
    found: dict[str, Interval] = {}
    for node in reversed(graph.nodes):
        after = next((found[name] for name in node.outputs if name in found), None)
        whole = any(types[name].dtype in INTEGERS for name in node.outputs if name in found)
        for place, name in enumerate(node.inputs):
            span = _limit(node, place, types, after, whole) if name else None
            if span:
                found[name] = span.within(found.get(name))
    return found


def _limit(node: Node, place: int, types: Types, after: Interval | None, whole: bool) -> Interval | None:
    """The limit of a node's input at ``place``; ``after`` is that of its output, which is of integers if ``whole``."""
    operator = lookup(node.operator, node.domain)
    own = operator.samples.get(place)
    if callable(own):
        own = own(OperatorContext(operator, [types[name] if name else None for name in node.inputs], node.attributes))
    if after and place in operator.passes:
        return after.within(own)
    if after and whole and own is None:  # Sums and products of indices are valid indices only if they are small.
        return _TRUTH
    dtype = types[next(filter(None, node.inputs))].dtype
    if own or operator.family not in _RECKONING or dtype not in INTEGERS:
        return own
    return Interval(0, 9) if dtype.startswith("u") else Interval(-9, 9)


def rounds(graph: Graph, rng: np.random.Generator) -> Iterator[dict[str, Array]]:
    """Random inputs for each of the batch sizes; only once where every size is a number.

    Raises:
        NoInputsError: no values are found for the unknown sizes.
        GraphError: inputs or values of these sizes would take too much memory.
    """
    symbolic = any(isinstance(dim, str) for value in graph.inputs for dim in value.shape)
    for batch in BATCHES if symbolic else BATCHES[:1]:
        shapes, types = _bound(graph, batch)
        check_claims(graph, types)
        limits = spans(graph, types)
        yield {value.name: _draw(value, shapes[value.name], limits.get(value.name), rng) for value in graph.inputs}


def _bound(graph: Graph, batch: int) -> tuple[dict[str, tuple[int, ...]], Types]:
    """Shapes of the inputs without unknown sizes, and the types of all values for these."""
    leading = {dim for value in graph.inputs for dim in value.shape[:1]}
    others = sorted({dim for value in graph.inputs for dim in value.shape if isinstance(dim, str)} - leading)
    reason: GraphError | None = None
    for size in SIZES if others else SIZES[:1]:
        shapes = {
            value.name: tuple(dim if isinstance(dim, int) else batch if dim in leading else size for dim in value.shape)
            for value in graph.inputs
        }
        try:
            return shapes, infer(graph, shapes).types
        except GraphError as error:
            reason = reason or error
    assert reason is not None
    if not others:
        raise reason
    named = " and ".join(f"'{dim}'" for dim in others)
    raise NoInputsError(
        f"none of the sizes {', '.join(map(str, sorted(SIZES)))} that are tried for {named} fits the nodes"
    ) from reason


def _draw(value: Value, shape: tuple[int, ...], span: Interval | None, rng: np.random.Generator) -> Array:
    """Normally distributed, or uniform in ``span``; integers without one are zeros and ones, which mostly fit."""
    if np.dtype(value.dtype).kind == "f":
        drawn = rng.uniform(*span, shape) if span else rng.standard_normal(shape)
        return drawn.astype(value.dtype)
    low, high = span if span and value.dtype != "bool" else _TRUTH
    most = 1 if value.dtype == "bool" else np.iinfo(value.dtype).max
    return rng.integers(math.ceil(low), min(math.floor(high), most), shape, endpoint=True).astype(value.dtype)
