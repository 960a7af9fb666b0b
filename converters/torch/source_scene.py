"""The graph around a node, and layers of PyTorch that are found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from portable_nn.converters.torch.source_names import Path
from portable_nn.converters.torch.source_use import Made, Use, torch_dtype
from portable_nn.core.graph import Graph, Node, Parameter
from portable_nn.layers.pytorch import COUNTERPARTS, NEEDED, options
from portable_nn.operators import Array, Types


@dataclass(frozen=True, eq=False)
class Entry:
    """A tensor of the state dict: ``array[index]`` of a parameter of the network, or all of it.

    Attributes:
        key: its name in the state dict.
        parameter: the parameter's name.
        index: which of its elements; ``()`` for all.
    """

    key: str
    parameter: str
    index: tuple[Any, ...] = ()

    def of(self, array: Array) -> Array:
        """The tensor, from the parameter."""
        found: Array = array[self.index] if self.index else array
        return found


@dataclass(frozen=True)
class Layer:
    """A layer with parameters.

    Attributes:
        place: its name: a prefix of its parameters' names, where they have one.
        made: the call of its class.
        entries: its tensors, with keys behind ``place``.
        extra: what PyTorch's layer has besides and the network has not.
    """

    place: str
    made: str
    entries: tuple[Entry, ...] = field(compare=False)

    def paths(self, path: Path) -> list[Path]:
        """The paths of its tensors, where ``path`` is its own."""
        return [(*path, *entry.key.removeprefix(f"{self.place}.").split(".")) for entry in self.entries]

    @property
    def claims(self) -> frozenset[str]:
        """The parameters that are its."""
        return frozenset(entry.parameter for entry in self.entries)


@dataclass(frozen=True)
class Found:
    """A use of a layer: the layer, and what writes the call, given the expression of the layer."""

    layer: Layer
    call: Any
    """``(Use, expression) → Made``"""

    def made(self, use: Use, module: str) -> Made:
        """The call."""
        found: Made = self.call(use, module)
        return found


_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Scene:
    """A graph with what makes and reads each value.

    Args:
        graph: the graph.
        types: the types of its values.
        tied: further names of parameters.
    """

    def __init__(self, graph: Graph, types: Types, tied: Mapping[str, str] = _NONE) -> None:
        self.graph, self.types, self.tied = graph, types, tied
        self.parameters: dict[str, Parameter] = {value.name: value for value in graph.parameters}
        self.makers, self.readers = graph.makers(), graph.readers()
        self.order = {node.name: place for place, node in enumerate(graph.nodes)}

    def maker(self, name: str, operator: str) -> Node | None:
        """The node that makes a value, if it is of that operator."""
        node = self.makers.get(name)
        return node if node and node.operator == operator and not node.domain else None

    def constant(self, name: str) -> tuple[Any, ...] | None:
        """The elements of a constant, or ``None``."""
        return self.types[name].constant if name in self.types else None

    def sizes(self, name: str) -> tuple[int, ...]:
        """The shape of a value whose sizes are numbers."""
        return tuple(int(size) for size in self.types[name].shape)

    def prefix(self, name: str, role: str) -> str | None:
        """The text before ``.role`` in the name of a parameter."""
        return name.removesuffix(f".{role}") if name in self.parameters and name.endswith(f".{role}") else None

    def place(self, node: Node, name: str, role: str) -> str | None:
        """The place of a layer, of which a parameter is ``.role``: by the node's name where the parameter is tied."""
        return node.name if self.is_tied(f"{node.name}.{role}", name) else self.prefix(name, role)

    def is_tied(self, key: str, name: str) -> bool:
        """True if a name is another one of a parameter."""
        return self.tied.get(key) == name

    def is_called(self, name: str, key: str) -> bool:
        """True if a name, or another one of it, is that; no parameter is what any layer may do without."""
        return name in ("", key) or self.is_tied(key, name)

    def children(self, place: str) -> frozenset[str]:
        """The parameters whose names begin so."""
        return frozenset(name for name in self.parameters if name.startswith(f"{place}."))

    def linear(self, name: str) -> tuple[str, str, str] | None:
        """Of a value x·Wᵀ + b: x, the parameter W of (outputs, inputs), and the parameter b or ``""``."""
        added = self.maker(name, "Add")
        if added:
            for product, bias in (added.inputs, added.inputs[::-1]):
                found = self.linear(product) if bias in self.parameters else None
                if found and not found[2] and len(self.types[bias].shape) == 1:
                    return (*found[:2], bias)
            return None
        node = self.maker(name, "MatMul")
        if node:
            turned = self.maker(node.inputs[1], "Transpose")
            if turned and turned.attributes.get("perm", (1, 0)) == (1, 0) and turned.inputs[0] in self.parameters:
                return node.inputs[0], turned.inputs[0], ""
        return None


def module(kind: str, dtype: str = "float32", **given: Any) -> str:
    """The call of a class of PyTorch: by position its first parameter and those without a default, by name the rest."""
    first, *_ = parameters = COUNTERPARTS[kind].parameters
    front = [name for name in given if name == first or parameters[name].usual is NEEDED]
    rest = options(kind, **{name: value for name, value in given.items() if name not in front})
    rest += "" if dtype == "float32" else f", dtype={torch_dtype(dtype)}"
    return f"nn.{kind}({', '.join(repr(given[name]) for name in front)}{rest})"


def roles(place: str, **names: str) -> tuple[Entry, ...]:
    """Entries that are whole parameters, by their keys in the layer; without those that are missing."""
    return tuple(Entry(f"{place}.{key}", name) for key, name in names.items() if name)
