"""A model as it stands, a faulty one as well: its nodes, its weights, and the types of its values as far as known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from portable_nn.analysis.report import Finding
from portable_nn.analysis.walk import walk
from portable_nn.core.binding import Sizes, bind
from portable_nn.core.graph import OPSET, Graph, Node, Shape
from portable_nn.operators.registry import Array, Type

Surveyor: TypeAlias = "Callable[[Sizes], Survey]"
"""An open model: what is known of it with its inputs of given sizes."""


@dataclass(frozen=True)
class Survey:
    """What is known of a model. Nodes and values are called as in its file.

    ``types`` lacks the values of which nothing is known. ``weights`` are the arrays that the file stores. ``opset`` is
    0 where it is one that is not read. ``fitting`` are the places of nodes that are as their operators need them;
    ``findings`` are what was found wrong on the way.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, Type]
    weights: Mapping[str, Array]
    opset: int
    fitting: frozenset[int]
    findings: tuple[Finding, ...] = ()

    @cached_property
    def readers(self) -> Mapping[str, Sequence[int]]:
        """The places of the nodes that read each value; values that none reads are not there."""
        found: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            for name in dict.fromkeys(filter(None, node.inputs)):
                found.setdefault(name, []).append(place)
        return found

    @cached_property
    def constants(self) -> Mapping[str, frozenset[str]]:
        """The values that no input has a part in, and the weights that each is made of."""
        found = {name: frozenset([name]) for name in self.weights}
        for node in self.nodes:
            read = [name for name in node.inputs if name]
            if all(name in found for name in read) and (read or node.operator == "Constant"):
                made_of = frozenset[str]().union(*(found[name] for name in read))
                found.update({name: made_of for name in node.outputs if name and name not in found})
        return found

    def shape(self, name: str) -> Shape | None:
        """The shape of a value, as far as it is known."""
        return self.types[name].shape if name in self.types else None

    def numbers(self, name: str) -> tuple[int | float, ...]:
        """The elements of a short list of numbers that is known to be constant; none of any other value."""
        constant_value = self.types[name].constant if name in self.types else None
        return tuple(item for item in constant_value or () if not isinstance(item, str))


def survey_graph(graph: Graph, weights: Mapping[str, Array], sizes: Sizes = None) -> Survey:
    """What is known of ``graph`` with its inputs of the given sizes. Raises ``UsageError`` as ``bind`` does."""
    shapes, _ = bind({value.name: value.shape for value in graph.inputs}, sizes)
    types = {value.name: Type(value.dtype, value.shape) for value in graph.parameters}
    types.update({value.name: Type(value.dtype, shapes[value.name]) for value in graph.inputs})
    findings, fitting = walk(graph.nodes, lambda place, _: [graph.nodes[place]], types, {})
    inputs = tuple(value.name for value in graph.inputs)
    return Survey(graph.nodes, inputs, graph.outputs, types, weights, OPSET, fitting, tuple(findings))
