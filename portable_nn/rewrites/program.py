"""The argument and result of a rewrite: a graph, its parameters, and the descriptions of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from portable_nn.core.errors import GraphError, UsageError, listed
from portable_nn.core.graph import Graph, Node
from portable_nn.core.text import unused
from portable_nn.format.documentation import Documentation, ValueRemark
from portable_nn.format.meaning import InputInfo
from portable_nn.operators import NamedArrays, infer


class Program(NamedTuple):
    """A graph and its description.

    Args:
        graph: the graph.
        parameters: the values of its parameters by name.
        inputs: the preprocessing of each input; may be empty.
        documentation: the documentation of its nodes and values.
        notes: what the rewrites so far have done, as text.
    """

    graph: Graph
    parameters: NamedArrays
    inputs: tuple[InputInfo, ...] = ()
    documentation: Documentation = Documentation()
    notes: tuple[str, ...] = ()


Rewrite: TypeAlias = Callable[[Program], Program]
"""A pure function: it changes neither its argument nor the arrays in it."""


def checked(after: Program, before: Program, refused: str = "") -> Program:
    """``after``, the result of a rewrite of ``before``, without documentation that is no longer true.

    Raises ``UsageError`` where its nodes do not fit each other, with ``refused`` before the list of faults.
    """
    try:
        types = infer(after.graph).types
    except GraphError as error:
        raise UsageError(listed(map(str, error.faults), refused)) from None
    if not after.documentation:
        return after
    old, kept = infer(before.graph).types, after.documentation.within(after.graph)
    changed = {name for name, type in types.items() if old.get(name) not in (None, type)}
    values = {name: replace(remark, sizes=()) if name in changed else remark for name, remark in kept.values.items()}
    values = {name: remark for name, remark in values.items() if remark != ValueRemark()}
    return after._replace(documentation=replace(kept, values=values))


def read_once(graph: Graph) -> dict[str, Node]:
    """The nodes that make the values which one other node reads, and which are no outputs; by these values."""
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(graph.outputs)
    return {name: node for node in graph.nodes for name in node.outputs if readers[name] == 1}


class Names:
    """New names for nodes and values, none of which is taken."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self._numbers = dict[str, int]()

    @classmethod
    def beside(cls, graph: Graph) -> Names:
        """Names that neither a value nor a node of ``graph`` has."""
        return cls([*graph.values(), *(node.name for node in graph.nodes)])

    def fresh(self, wish: str) -> str:
        """``wish``, numbered if it is taken; taken from now on."""
        name = unused(wish, self.taken, self._numbers)
        self.taken.add(name)
        return name
