"""Whole numbers that a file computes from constants alone: exporters find sizes and pads in many small steps.

The shape rules follow such steps by themselves as long as they go through lists. Where arrays of more dimensions stand
between, what comes out at the end is computed here and takes the place of the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from portable_nn.core.dims import count, static
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.engines.plan import Plan
from portable_nn.onnx.scope import Names
from portable_nn.onnx.tensors import literal
from portable_nn.operators import Type
from portable_nn.operators.registry import INTEGERS, Array

LARGE: Final = 1024
"""Elements up to which an array is a constant in the graph; larger ones are stored as parameters."""


class Folder:
    """Knows which values are constant among those of the nodes that it has seen, and computes what follows."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._arrays: dict[str, Array] = {}
        self._taken: set[str] = set()
        self.replaced: list[str] = []
        """The names of the nodes that were computed."""

    def seen(self, node: Node, types: dict[str, Type]) -> list[Node]:
        """Constants in place of ``node`` where it makes lists that no rule can follow; itself otherwise.

        Raises ``GraphError`` where it cannot be computed.
        """
        outputs = [name for name in node.outputs if name]
        value = node.attributes.get("value")
        if node.operator == "Constant" and isinstance(value, Tensor) and value.dtype in _WHOLE:
            if len(value.data) == count(value.shape):  # The check tells where that is not so.
                made = np.array(value.data, value.dtype).reshape(value.shape)
                self._arrays.update((name, made) for name in outputs)
            return [node]
        if node.operator == "NonZero" and outputs and outputs[0] not in types:
            return self._places(node, types)
        if not outputs or not all(name in types and _is_small(types[name]) for name in outputs):
            return [node]
        if all(_content(types[name]) is not None for name in outputs):
            return [node]
        read = {name: self._array(name, types) for name in node.inputs if name}
        known = {name: array for name, array in read.items() if array is not None}
        if len(known) < len(read) or node.operator == "Constant":
            return [node]
        constants = [Node(name, "Constant", (), (name,), {"value": literal(array)}) for name, array in known.items()]
        arrays = Plan(Graph((), tuple(outputs), (), (*constants, _apart(node))), {}, {}).outputs
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

    def _places(self, node: Node, types: dict[str, Type]) -> list[Node]:
        """NonZero of a constant with several axes, of which the shape rules see nothing."""
        array = self._array(node.inputs[0], types) if len(node.inputs) == 1 else None
        if array is None or array.ndim < 2 or node.attributes or len(node.outputs) > 1:  # Faults are told later.
            return [node]
        self._arrays[node.outputs[0]] = places = np.array(np.nonzero(array))
        self.replaced.append(node.name)
        self._taken.add(node.inputs[0])
        return [Node(node.name, "Constant", (), node.outputs, {"value": literal(places)})]

    def _array(self, name: str, types: dict[str, Type]) -> Array | None:
        """The elements of a value that is constant."""
        if name not in self._arrays and name in types and (content := _content(types[name])) is not None:
            dtype, shape, _ = types[name]
            self._arrays[name] = np.array(content, dtype).reshape(static(shape) or ())
        return self._arrays.get(name)

    @property
    def note(self) -> str:
        """What was done, for people."""
        names = ", ".join(f"'{name}'" for name in self.replaced)
        return f"read as constants, which is what these nodes compute ({len(self.replaced)}): {names}"

    def without_taken(self, nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
        """``nodes`` without those that only what was computed has read."""
        taken, needed, kept = set(self._taken), set(outputs), list[Node]()
        for node in reversed(nodes):
            if needed.isdisjoint(node.outputs) and not taken.isdisjoint(node.outputs):
                taken.update(name for name in node.inputs if name)
            else:  # What nobody has read stays, and so does what it reads.
                kept.append(node)
                needed.update(name for name in node.inputs if name)
        return kept[::-1]


_WHOLE: Final = INTEGERS | {"bool"}


def _is_small(type: Type) -> bool:
    """Whether a value may be sizes or pads, or lead to them: the shape rules must see what it is."""
    shape = static(type.shape)
    return type.dtype in _WHOLE and shape is not None and count(shape) <= LARGE


def _content(type: Type) -> tuple[int, ...] | None:
    """The elements that the shape rules know, if all of them are numbers."""
    if type.content is None or type.dtype not in _WHOLE:
        return None
    numbers = tuple(item for item in type.content if isinstance(item, int))
    return numbers if len(numbers) == len(type.content) else None


def _apart(node: Node) -> Node:
    """``node`` under a name that none of the values it reads has."""
    return Node("/folded", node.operator, node.inputs, node.outputs, node.attributes, node.domain)
