"""Constant folding for the sizes and pads that exporters compute in many small steps.

The shape rules propagate constants through lists of numbers. Where they pass through arrays of more dimensions, or an
operator without such a rule, the resulting list is computed here and replaces the node. This happens while nodes are
translated and is no rewrite of a finished graph, because the types of the following nodes depend on it.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Final

import numpy as np
from msgspec.structs import replace

from portable_nn.core.dims import static
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.core.tensors import is_finite
from portable_nn.engines.plan import Plan
from portable_nn.onnx.storage.tensors import literal
from portable_nn.operators.inference import has_open
from portable_nn.operators.registry import FLOATS, INTEGERS, Array, NamedArrays, Type, Types
from portable_nn.rewrites.program import Names

LARGE: Final = 1024
"""The most elements of an array that is a constant in the graph; larger ones become parameters."""


class Folder:
    """Constant folding: collects small constants node by node, and computes the nodes that depend only on them.

    Those that no node makes are given as ``arrays``.
    """

    def __init__(self, names: Names, arrays: NamedArrays = MappingProxyType({})) -> None:
        self._names = names
        self._arrays = dict(arrays)
        self._taken: set[str] = set()
        self.replaced: list[str] = []
        """The names of the folded nodes."""

    def folded(self, node: Node, types: Types) -> list[Node]:
        """Constants in place of ``node`` where it computes sizes that the shape rules cannot follow; otherwise itself.

        Raises ``GraphError`` where it cannot be computed.
        """
        outputs = [*filter(None, node.outputs)]
        if node.operator == "Constant":
            self._arrays.update(_elements(node))
            return [node]
        if node.operator == "NonZero" and has_open(map(types.__getitem__, filter(types.__contains__, outputs))):
            return self._places(node, types)
        if not all(name in types and _is_small(types[name]) for name in outputs):
            return [node]
        read = {name: self._array(name, types) for name in node.inputs if name}
        known = {name: array for name, array in read.items() if array is not None}
        if len(known) < len(read) or all(_constant_value(types[name]) is not None for name in outputs):
            return [node]
        return self._computed(node, outputs, known)

    def _computed(self, node: Node, outputs: list[str], read: dict[str, Array]) -> list[Node]:
        """The outputs of ``node`` as constants; ``node`` itself while these are arrays of more dimensions."""
        constants = [Node(name, "Constant", (), (name,), {"value": literal(array)}) for name, array in read.items()]
        arrays = Plan(Graph((), tuple(outputs), (), (*constants, replace(node, name="/folded"))), {}, {}).outputs
        if not all(map(is_finite, arrays.values())):
            return [node]
        self._arrays.update(arrays)
        if all(arrays[name].ndim > 1 for name in outputs):
            return [node]
        self.replaced.append(node.name)
        self._taken.update(read)
        names = [node.name, *(self._names.fresh(name) for name in outputs[1:])]
        return [
            Node(name, "Constant", (), (output,), {"value": literal(arrays[output])})
            for name, output in zip(names, outputs, strict=True)
        ]

    def _places(self, node: Node, types: Types) -> list[Node]:
        """NonZero of a constant with several axes, which the shape rules do not propagate."""
        array = self._array(node.inputs[0], types) if len(node.inputs) == 1 else None
        if array is None or array.ndim < 2 or node.attributes or len(node.outputs) > 1:  # Faults are reported later.
            return [node]
        self._arrays[node.outputs[0]] = places = np.array(np.nonzero(array))
        self.replaced.append(node.name)
        self._taken.add(node.inputs[0])
        return [Node(node.name, "Constant", (), node.outputs, {"value": literal(places)})]

    def _array(self, name: str, types: Types) -> Array | None:
        """The elements of a value that is constant."""
        if name not in self._arrays and name in types and (constant_value := _constant_value(types[name])) is not None:
            dtype, shape, _ = types[name]
            self._arrays[name] = np.array(constant_value, dtype).reshape(static(shape) or ())
        return self._arrays.get(name)

    def without_taken(self, nodes: list[Node], outputs: frozenset[str]) -> list[Node]:
        """``nodes`` without those that only folded nodes have read."""
        taken, needed, kept = set[str](), set[str](), list[Node]()
        for node in reversed(nodes):
            is_needed = any(name in needed or name in outputs for name in node.outputs)
            if not is_needed and any(name in taken or name in self._taken for name in node.outputs):
                taken.update(name for name in node.inputs if name)
            else:  # Nodes that nothing has ever read stay, with what they read.
                kept.append(node)
                needed.update(name for name in node.inputs if name)
        return kept[::-1]


_NUMBERS: Final = INTEGERS | FLOATS | {"bool"}


def _elements(node: Node) -> dict[str, Array]:
    """The numbers of a Constant node; none where their number does not fit the shape, which is reported later."""
    value = node.attributes.get("value")
    if not isinstance(value, Tensor) or value.dtype not in _NUMBERS or len(value.data) != math.prod(value.shape):
        return {}
    return {name: np.array(value.data, value.dtype).reshape(value.shape) for name in node.outputs if name}


def _is_small(type: Type) -> bool:
    """True if a value may hold sizes or pads, or something they are computed from."""
    shape = static(type.shape)
    return type.dtype in _NUMBERS and shape is not None and math.prod(shape) <= LARGE


def _constant_value(type: Type) -> tuple[float, ...] | None:
    """The constant value, if all of its elements are known as numbers."""
    if type.constant is None or type.dtype not in _NUMBERS:
        return None
    numbers = tuple(item for item in type.constant if not isinstance(item, str))
    return numbers if len(numbers) == len(type.constant) else None
