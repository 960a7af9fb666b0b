"""Whole numbers that a file computes from constants alone: exporters find sizes and pads in many small steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from portable_nn.converters.onnx.scope import Names
from portable_nn.converters.onnx.tensors import literal
from portable_nn.dims import count, static
from portable_nn.engines.plan import Plan
from portable_nn.graph import Graph, Node
from portable_nn.operators import Type
from portable_nn.operators.registry import INTEGERS

LARGE: Final = 1024
"""Elements up to which an array is a constant in the graph; larger ones are stored as parameters."""


SHOWN: Final = 5
"""How many nodes a note names."""


class Folder:
    """Knows the constants among the nodes that it has seen, and computes what follows from them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._constants: dict[str, Node] = {}
        self._taken: set[str] = set()
        self.replaced: list[str] = []
        """The names of the nodes that were computed."""

    def seen(self, node: Node, types: dict[str, Type]) -> list[Node]:
        """Constants in place of ``node`` where it reads nothing else and makes a few whole numbers; itself otherwise.

        Raises ``GraphError`` where it cannot be computed.
        """
        outputs = [name for name in node.outputs if name]
        known = all(name in self._constants for name in node.inputs if name) and all(name in types for name in outputs)
        if not outputs or not known or not all(_is_list(types[name]) for name in outputs):
            return [node]
        if node.operator == "Constant":
            self._constants[node.outputs[0]] = node
            return [node]
        read = {name: self._constants[name] for name in node.inputs if name}
        arrays = Plan(Graph((), tuple(outputs), (), (*read.values(), node)), {}, {}).outputs
        self.replaced.append(node.name)
        self._taken.update(read)
        names = [node.name, *(self._names.fresh(name) for name in outputs[1:])]
        made = [
            Node(name, "Constant", (), (output,), {"value": literal(arrays[output])})
            for name, output in zip(names, outputs, strict=True)
        ]
        self._constants.update((each.outputs[0], each) for each in made)
        return made

    @property
    def note(self) -> str:
        """What was done, for people."""
        some = ", ".join(f"'{name}'" for name in self.replaced[:SHOWN]) + ", …" * (len(self.replaced) > SHOWN)
        return f"read as constants, which is what these nodes compute ({len(self.replaced)}): {some}"

    def without_taken(self, nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
        """``nodes`` without the constants that only what was computed has read."""
        left_over = self._taken.difference(outputs, *(node.inputs for node in nodes))
        return [node for node in nodes if node.operator != "Constant" or left_over.isdisjoint(node.outputs)]


def _is_list(type: Type) -> bool:
    """Whether a value may be sizes or pads: the shape rules must see what it is."""
    shape = static(type.shape)
    return type.dtype in INTEGERS and shape is not None and count(shape) <= LARGE
