"""The context of a node that is being translated: the types of values, new names, and ways to make nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Attribute, Graph, Node, Tensor, all_nodes, bodies
from portable_nn.operators import Leaf, OperatorContext, Symbol, Type, Types, emit, infer, trace, use_of
from portable_nn.rewrites.program import Names


class Scope(NamedTuple):
    """The context of a node: the types of all values before it, new names, and the names that any node reads.

    ``portable`` where nodes are written in the form that all runtimes take. ``packed`` has the element types of values
    that a file packs.
    """

    types: MutableMapping[str, Type]
    names: Names
    read: Collection[str]
    portable: bool = False
    packed: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of(cls, graph: Graph, types: Types | None = None, *, portable: bool = False) -> Scope:
        """That of the nodes of a graph."""
        read = {name for node in all_nodes(graph) for name in node.inputs}.union(graph.outputs)
        read.update(name for node in all_nodes(graph) for _, body in bodies(node) for name in body.outputs)
        return cls(dict(types or infer(graph).types), Names.beside(graph), read, portable)

    def use(self, node: Node) -> OperatorContext:
        """A node as the rules of its operator see it."""
        return use_of(node, self.types)

    def type(self, node: Node, index: int = 0) -> Type:
        """The type of an input."""
        return self.types[node.inputs[index]]

    def numbers(self, name: str) -> tuple[Any, ...]:
        """The constant value of an input; empty if it is unknown or left out."""
        return self.types[name].constant or () if name else ()

    def constant(self, wish: str, values: Sequence[int | float], dtype: str = "int64") -> Node:
        """A new node that makes the 1-D array ``values``."""
        return self._constant(wish, Tensor(dtype, (len(values),), tuple(values)), tuple(values))

    def scalar(self, wish: str, value: float, dtype: str) -> Node:
        """A new node that makes the scalar ``value``."""
        return self._constant(wish, Tensor(dtype, (), (value,)), (value,))

    def _constant(self, wish: str, tensor: Tensor, constant_value: tuple[int | float, ...]) -> Node:
        name = self.names.fresh(wish)
        self.types[name] = Type(tensor.dtype, tensor.shape, constant_value)
        return Node(name, "Constant", (), (name,), {"value": tensor})

    def spliced(self, node: Node, function: Callable[..., Symbol | Sequence[Symbol]]) -> list[Node]:
        """The nodes of ``function``, called with symbols for the inputs of ``node`` and with its attributes.

        The node that makes the first output is named like ``node``, and the names of the others begin with that name;
        the outputs keep their names, and what makes further ones that nothing reads is left out. Raises ``GraphError``
        that names ``node``.
        """
        leaves = {name: _leaf(name, self.types[name]) for name in node.inputs if name}
        try:
            found = function(*map(leaves.get, node.inputs), **node.attributes)
        except GraphError as error:
            raise GraphError([Fault(str(node), fault.message) for fault in error.faults]) from None
        made = [found] if isinstance(found, Symbol) else list(found)
        # An output cannot be an input, nor another output.
        named = {
            name: emit("Identity", symbol) if symbol in [*leaves.values(), *made[:place]] else symbol
            for place, (name, symbol) in enumerate(zip(node.outputs, made, strict=False))
            if name and (place == 0 or name in self.read)
        }
        graph, local = trace(list(leaves.values()), list(named.values()))
        names = dict(zip(leaves, leaves, strict=True)) | {local[symbol]: name for name, symbol in named.items()}
        for symbol, name in local.items():
            if name not in names:
                names[name] = self.names.fresh(f"{node.name}.{name}")
            self.types[names[name]] = symbol.type
        return [self._renamed(each, node, names) for each in graph.nodes]

    def _renamed(self, each: Node, node: Node, names: dict[str, str]) -> Node:
        outputs = tuple(names[name] for name in each.outputs)
        if node.outputs[0] in outputs:
            name = node.name
        else:
            name = outputs[0] if outputs[0] not in node.outputs else self.names.fresh(f"{node.name}.{each.name}")
        inputs = tuple(names[name] if name else "" for name in each.inputs)
        return Node(name, each.operator, inputs, outputs, each.attributes, each.domain)


def _leaf(name: str, type: Type) -> Leaf:
    leaf = Leaf(name, type.dtype, type.shape)
    leaf.type = type
    return leaf


def given(node: Node, index: int) -> str:
    """The name of an input, ``""`` where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else ""


def without(node: Node, *names: str) -> dict[str, Attribute]:
    """The attributes of ``node`` without ``names``."""
    return {name: value for name, value in node.attributes.items() if name not in names}
