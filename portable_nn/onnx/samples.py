"""What two engines are compared on: seeded inputs, each of the kind that the graph can do something with.

Most inputs are normal numbers. What a graph takes as the places of rows in a table must be such places, a mask is made
of zeros and ones, logarithms want positive numbers: that is found by walking from the nodes back to the inputs. Where
an operator limits what it takes there is a row in ``LIMITS``; through the operators in ``PASSED`` a limit holds as well
for what they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Dim, Graph, Node, Value
from portable_nn.format.tensors import Array
from portable_nn.operators import Type, infer
from portable_nn.operators.registry import FLOATS, INTEGERS

BATCHES: Final = (1, 3)
"""What a leading size without a number is set to: one example is a case of its own, and so is an odd number."""

SIZES: Final = (16, 32, 64, 128, 224, 256, 8, 4, 2, 1)
"""What every other size without a number is set to, such as the length of a sequence: the first that fits the graph."""


class NoInputsError(Exception):
    """No inputs are found that a graph can take; never leaves the package."""


class Span(NamedTuple):
    """The smallest and the largest number that a value should hold."""

    low: float
    high: float

    def within(self, other: Span | None) -> Span:
        """What lies in both; this one alone, where nothing does."""
        if other is None:
            return self
        both = Span(max(self.low, other.low), min(self.high, other.high))
        return both if both.low <= both.high else self


Types: TypeAlias = Mapping[str, Type]
Limit: TypeAlias = Callable[[Node, Types], Span | None]

_TRUTH: Final = Span(0, 1)
_LEVELS: Final = Span(0, 255)
_POSITIVE: Final = Span(0.1, 3)
_WITHIN_ONE: Final = Span(-0.9, 0.9)


def _places(count: Dim) -> Span | None:
    """The numbers of ``count`` things."""
    return Span(0, max(0, count - 1)) if isinstance(count, int) else None


def _along_axis(node: Node, types: Types) -> Span | None:
    axis = node.attributes.get("axis", 0)
    assert isinstance(axis, int)
    return _places(types[node.inputs[0]].shape[axis])


def _in_all_axes(node: Node, types: Types) -> Span | None:
    """For coordinates, of which each row has one for each of the first axes."""
    start, last = node.attributes.get("batch_dims", 0), types[node.inputs[1]].shape[-1]
    assert isinstance(start, int)
    sizes = types[node.inputs[0]].shape[start : start + last] if isinstance(last, int) else ()
    return _places(min((size for size in sizes if isinstance(size, int)), default=1))


def _below_depth(node: Node, types: Types) -> Span | None:
    depth = types[node.inputs[1]].content
    return _places(int(depth[0])) if depth and not isinstance(depth[0], str) else None


def _of_classes(node: Node, types: Types) -> Span | None:
    return _places(types[node.inputs[0]].shape[1])


def _always(span: Span) -> Limit:
    return lambda node, types: span


def _for_integers(span: Span) -> Limit:
    """A limit that only whole numbers have, as divisors that must not be 0."""
    return lambda node, types: span if types[node.inputs[1]].dtype in INTEGERS else None


def _cast(node: Node, types: Types) -> Span | None:
    """Bytes that become floats are levels of light."""
    is_level = types[node.inputs[0]].dtype == "uint8" and types[node.outputs[0]].dtype in FLOATS
    return _LEVELS if is_level else None


def _arithmetic(node: Node, types: Types) -> Span | None:
    """Whole numbers that are reckoned with."""
    dtype = types[next(filter(None, node.inputs))].dtype
    return None if dtype not in INTEGERS else Span(0, 9) if dtype.startswith("u") else Span(-9, 9)


LIMITS: Final[Mapping[tuple[str, int], Limit]] = {
    ("Gather", 1): _along_axis,
    ("GatherElements", 1): _along_axis,
    ("ScatterElements", 1): _along_axis,
    ("GatherND", 1): _in_all_axes,
    ("ScatterND", 1): _in_all_axes,
    ("OneHot", 0): _below_depth,
    ("SoftmaxCrossEntropyLoss", 1): _of_classes,
    ("NegativeLogLikelihoodLoss", 1): _of_classes,
    ("Log", 0): _always(_POSITIVE),
    ("Sqrt", 0): _always(_POSITIVE),
    ("Pow", 0): _always(_POSITIVE),
    ("Acosh", 0): _always(Span(1.1, 3)),
    ("Asin", 0): _always(_WITHIN_ONE),
    ("Acos", 0): _always(_WITHIN_ONE),
    ("Atanh", 0): _always(_WITHIN_ONE),
    ("Pow", 1): _for_integers(Span(0, 3)),
    ("Div", 1): _for_integers(Span(1, 9)),
    ("Mod", 1): _for_integers(Span(1, 9)),
    ("BitShift", 1): _always(Span(0, 7)),
    ("Cast", 0): _cast,
}
"""What an operator takes at a place. A limit that cannot be told, as of an axis of unknown size, is ``None``."""

ARITHMETIC: Final = {
    "Abs", "Add", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Clip", "CumSum", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "MatMul", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "ReduceL1",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Sign", "Sub", "Sum",
    "TopK",
}  # fmt: skip
"""Operators that whole numbers of any size may go into."""

PASSED: Final[Mapping[str, range]] = {
    **dict.fromkeys(("Cast", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND"), range(1)),
    **dict.fromkeys(("Identity", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile"), range(1)),
    **dict.fromkeys(("Transpose", "Unsqueeze"), range(1)),
    **dict.fromkeys(("Concat", "Max", "Min"), range(2**31)),
    "Where": range(1, 3),
}
"""The places of an operator whose elements are, or may be, those of its outputs."""


def spans(graph: Graph, types: Types) -> dict[str, Span]:
    """The numbers that values should hold, as far as the nodes that read them have limits."""
    found: dict[str, Span] = {}
    for node in reversed(graph.nodes):
        after = next((found[name] for name in node.outputs if name in found), None)
        whole = any(types[name].dtype in INTEGERS for name in node.outputs if name in found)
        for place, name in enumerate(node.inputs):
            span = _limit(node, place, types, after, whole) if name else None
            if span:
                found[name] = span.within(found.get(name))
    return found


def _limit(node: Node, place: int, types: Types, after: Span | None, whole: bool) -> Span | None:
    """What a node limits its input at ``place`` to; ``after`` is the limit of what it makes, of ``whole`` numbers."""
    own = LIMITS[node.operator, place](node, types) if (node.operator, place) in LIMITS else None
    if after and place in PASSED.get(node.operator, ()):
        return after.within(own)
    if after and whole and own is None:  # Sums and products of places are places only if they are small.
        return _TRUTH
    return own or (_arithmetic(node, types) if node.operator in ARITHMETIC else None)


def rounds(graph: Graph, rng: np.random.Generator) -> Iterator[dict[str, Array]]:
    """Inputs for each of the batch sizes; once, where every size is a number.

    Raises:
        NoInputsError: no size is found for those that have no number.
    """
    symbolic = any(isinstance(dim, str) for value in graph.inputs for dim in value.shape)
    for batch in BATCHES if symbolic else BATCHES[:1]:
        shapes, types = _bound(graph, batch)
        limits = spans(graph, types)
        yield {value.name: _draw(value, shapes[value.name], limits.get(value.name), rng) for value in graph.inputs}


def _bound(graph: Graph, batch: int) -> tuple[dict[str, tuple[int, ...]], Types]:
    """Shapes of the inputs in numbers, and the types of all values that follow from them."""
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


def _draw(value: Value, shape: tuple[int, ...], span: Span | None, rng: np.random.Generator) -> Array:
    """Normal numbers, or what lies in ``span``; of integers zeros and ones, which are valid as almost anything."""
    if np.dtype(value.dtype).kind == "f":
        drawn = rng.uniform(*span, shape) if span else rng.standard_normal(shape)
        return drawn.astype(value.dtype)
    low, high = span if span and value.dtype != "bool" else _TRUTH
    most = 1 if value.dtype == "bool" else np.iinfo(value.dtype).max
    return rng.integers(math.ceil(low), min(math.floor(high), most), shape, endpoint=True).astype(value.dtype)
