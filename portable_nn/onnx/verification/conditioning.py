"""How far rounding alone moves a value: the measure of where two right implementations may differ by more.

Nothing here decides which side is right. A float64 run of numpy shares its kernels: were one of them wrong, both runs
would be wrong alike, their distance would stay small, and the difference to onnxruntime would be refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import OPSET, Attribute, Graph, Node, Tensor, Value
from portable_nn.engines.plan import Plan
from portable_nn.format.tensors import Array
from portable_nn.onnx.opsets.standard import signature
from portable_nn.onnx.verification.differences import finite_gaps
from portable_nn.operators import DTYPE_CODES

TRIES: Final = 6
"""The runs whose inputs and weights are changed by rounding errors."""

ROUNDINGS: Final = 16
"""How often the distance that rounding moves a value is allowed between the two sides."""

RUNTIME: Final = 4
"""How often that of onnxruntime with and without optimisation is, but at most ``ROUNDINGS`` times as much in all."""

AnyValue = TypeVar("AnyValue", bound=Value)

_CODES: Final = frozenset({"to", "dtype", "stash_type"})
"""The attributes that are element types."""


def rounding_effect(
    graph: Graph,
    parameters: Mapping[str, Array],
    feeds: Mapping[str, Array],
    targets: Sequence[str],
    ours: Mapping[str, Array],
) -> dict[str, Array]:
    """For each element of ``targets``, how far it moves with its inputs and weights by one rounding of float32.

    That is the largest of the distance of ``ours``, in float32, to a float64 run, and of that run to others whose
    inputs and weights are off by up to one unit in the last place. Zeros where nothing can be run in float64.
    """
    wide, rng = widened(graph), np.random.default_rng(0)
    arrays, inputs = as_declared(wide.parameters, parameters), as_declared(wide.inputs, feeds)
    try:
        exact = run(wide, arrays, inputs, targets)
    except GraphError:
        return {name: np.zeros(ours[name].shape) for name in targets}
    effect = {name: finite_gaps(ours[name], exact[name]) for name in targets}
    for _ in range(TRIES):
        moved = run(wide, _moved(arrays, rng), _moved(inputs, rng), targets)
        effect = {name: np.maximum(effect[name], finite_gaps(moved[name], exact[name])) for name in targets}
    return effect


def allowance(effect: Array, runtime: Array) -> Array:
    """The difference that is allowed for ``effect``, and for the distance of onnxruntime to itself."""
    allowed: Array = np.maximum(ROUNDINGS * effect, np.minimum(RUNTIME * runtime, ROUNDINGS**2 * effect))
    return allowed


def run(
    graph: Graph, parameters: Mapping[str, Array], feeds: Mapping[str, Array], outputs: Sequence[str]
) -> dict[str, Array]:
    """The values ``outputs`` of a graph; they are the caller's."""
    plan = Plan(graph, {name: array.shape for name, array in feeds.items()}, parameters, outputs=outputs)
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return plan.outputs


def widened(graph: Graph) -> Graph:
    """``graph`` with float64 in place of float32 and float16, but for what must be float32, such as scales."""
    kept = {name for node in graph.nodes for name in _only_narrow(node)}
    return replace(
        graph,
        inputs=tuple(_wide_value(value, kept) for value in graph.inputs),
        parameters=tuple(_wide_value(value, kept) for value in graph.parameters),
        nodes=tuple(node if kept.issuperset(node.outputs) else _wide_node(node) for node in graph.nodes),
    )


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
    unit = float(np.finfo(np.float32).eps)
    return {
        name: array * (1 + unit * rng.uniform(-1, 1, array.shape)) if array.dtype == np.float64 else array
        for name, array in arrays.items()
    }
