"""How far rounding alone moves a value: the measure of where two right implementations may differ by more.

Nothing here decides which side is right. A float64 run of numpy shares its kernels: were one of them wrong, both runs
would be wrong alike, their distance would stay small, and the difference to onnxruntime would be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeVar

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import OPSET, Attribute, Graph, Node, Tensor, Value
from portable_nn.core.tensors import Array
from portable_nn.engines.once import run_numpy
from portable_nn.engines.plan import Plan
from portable_nn.onnx.opsets.standard import signature
from portable_nn.onnx.verification.differences import Pair, finite_gaps, gaps
from portable_nn.operators import DTYPE_CODES, Type, infer, lookup

TRIES: Final = 6
"""The runs whose inputs and weights are changed by rounding errors."""

ROUNDINGS: Final = 16
"""How often the distance that rounding moves a value is allowed between the two sides."""

RUNTIME: Final = 4
"""How often the distance of onnxruntime with and without optimisation is."""

AnyValue = TypeVar("AnyValue", bound=Value)

_CODES: Final = frozenset({"to", "dtype"})
"""The attributes that are element types; a kernel takes float64 as it is, whatever its ``stash_type``."""


def explained(
    graph: Graph,
    parameters: Mapping[str, Array],
    feeds: Mapping[str, Array],
    pair: Pair,
    itself: Callable[[], Array] | None = None,
) -> tuple[bool, Array]:
    """Whether rounding explains how far the two sides of ``pair`` are apart, and how far they may be.

    Args:
        graph: what computes the value.
        parameters: the values of its parameters.
        feeds: its inputs.
        pair: the value on both sides, and what is allowed anyway.
        itself: the distance of onnxruntime to itself, with and without optimisation.
    """
    apart, allowed = gaps(pair.ours, pair.theirs), pair.allowed
    for more in _explanations(rounding_effects(graph, parameters, feeds, pair.name, pair.ours), itself):
        allowed = np.maximum(allowed, pair.allowed + more)
        if (apart <= allowed).all():
            return True, allowed
    return False, allowed


def _explanations(effects: Iterator[Array], itself: Callable[[], Array] | None) -> Iterator[Array]:
    """The differences that each explanation allows, the cheapest first."""
    yield from (ROUNDINGS * effect for effect in islice(effects, 1))
    if itself:
        yield RUNTIME * itself()
    yield from (ROUNDINGS * effect for effect in effects)


def rounding_effects(
    graph: Graph, parameters: Mapping[str, Array], feeds: Mapping[str, Array], name: str, ours: Array
) -> Iterator[Array]:
    """How far the roundings of float32 move each element of a value, measured in several ways; the largest counts.

    First the distance of ``ours``, in float32, to a float64 run, then ``TRIES`` times that of this run to another one
    in which all inputs, weights and values on the way are off by up to one unit in the last place of float32: Parker's
    Monte Carlo arithmetic (1997). Nothing where nothing can be run in float64.
    """
    wide, rng = widened(graph), np.random.default_rng(0)
    arrays, inputs = as_declared(wide.parameters, parameters), as_declared(wide.inputs, feeds)
    try:
        exact = run_numpy(wide, arrays, inputs, [name])[name]
        yield finite_gaps(ours, exact)
        held = {each: array.copy() for each, array in arrays.items()}
        plan = Plan(with_noise(wide, inputs), _shapes(inputs), held, outputs=[name], rng=rng)
    except GraphError:
        return
    for _ in range(TRIES):
        for into, arrays_before in ((held, arrays), (plan.inputs, inputs)):
            for each, array in _moved(arrays_before, rng).items():
                into[each][...] = array
        plan.run()
        yield finite_gaps(plan.outputs[name], exact)


def widened(graph: Graph) -> Graph:
    """``graph`` with float64 in place of float32 and float16, but for what must be float32, such as scales."""
    kept = {name for node in graph.nodes for name in _only_narrow(node)}
    return replace(
        graph,
        inputs=tuple(_wide_value(value, kept) for value in graph.inputs),
        parameters=tuple(_wide_value(value, kept) for value in graph.parameters),
        nodes=tuple(node if kept.issuperset(node.outputs) else _wide_node(node) for node in graph.nodes),
    )


def with_noise(graph: Graph, feeds: Mapping[str, Array]) -> Graph:
    """``graph`` with every float64 that a node computes off by one unit in the last place of float32, up or down.

    Values that are known from the shapes of ``feeds`` are as they were, and so are those that a node only moves.
    """
    types, nodes = infer(graph, _shapes(feeds)).types, [*_NOISE]
    for node in graph.nodes:
        is_moved = lookup(node.operator, node.domain).moves
        noisy = () if is_moved else [name for name in node.outputs if name and _is_computed(types[name])]
        exact = {name: f"{name} (exact)" for name in noisy}
        nodes.append(replace(node, outputs=tuple(exact.get(name, name) for name in node.outputs)))
        for name, before in exact.items():
            either, up, down = (f"{name} ({each})" for each in ("either", "up", "down"))
            nodes += [
                Node(either, "Dropout", (before, "", _TRUE), (f"{name} (dropped)", either)),
                Node(up, "Mul", (before, _UP), (up,)),
                Node(down, "Mul", (before, _DOWN), (down,)),
                Node(f"{name} (noisy)", "Where", (either, up, down), (name,)),
            ]
    return replace(graph, nodes=tuple(nodes))


def _is_computed(type: Type) -> bool:
    return type.dtype == "float64" and type.constant is None


_UNIT: Final = float(np.finfo(np.float32).eps)

_TRUE, _UP, _DOWN = "noise/true", "noise/up", "noise/down"

_NOISE: Final = tuple(
    Node(name, "Constant", (), (name,), {"value": Tensor(dtype, (), (number,))})
    for name, dtype, number in ((_TRUE, "bool", 1), (_UP, "float64", 1 + _UNIT), (_DOWN, "float64", 1 - _UNIT))
)
"""The numbers of ``with_noise``: dropping half of a value at random is its toss of a coin for every element."""


def _shapes(feeds: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


def as_declared(values: Iterable[Value], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of ``values``, in their types."""
    return {value.name: arrays[value.name].astype(value.dtype, copy=False) for value in values}


def _only_narrow(node: Node) -> list[str]:
    """The inputs of a node that the standard does not define for float64, such as scales."""
    known = signature(node.operator, OPSET) if not node.domain else None
    if known is None:
        return []
    formal = known.inputs
    return [
        name
        for place, name in enumerate(node.inputs)
        if name and "tensor(double)" not in formal[min(place, len(formal) - 1)]
    ]


def _wide_node(node: Node) -> Node:
    return replace(node, attributes={name: _wide_attribute(name, value) for name, value in node.attributes.items()})


def _wide_attribute(name: str, value: Attribute) -> Attribute:
    if isinstance(value, Tensor) and value.dtype in _NARROW:
        return replace(value, dtype="float64")
    if name in _CODES and value in (DTYPE_CODES["float32"], DTYPE_CODES["float16"]):
        return DTYPE_CODES["float64"]
    return value


_NARROW: Final = frozenset({"float16", "float32"})


def _wide_value(value: AnyValue, kept: Collection[str]) -> AnyValue:
    return replace(value, dtype="float64") if value.dtype in _NARROW and value.name not in kept else value


def _moved(arrays: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """``arrays`` with every float off by up to one unit in the last place of float32."""
    return {
        name: array * (1 + _UNIT * rng.uniform(-1, 1, array.shape)) if array.dtype == np.float64 else array
        for name, array in arrays.items()
    }
