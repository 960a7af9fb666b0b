"""The survey of a model, also of a faulty one: its nodes, its weights, and the types of its values as far as known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from portable_nn.analysis.report import Finding
from portable_nn.analysis.walk import walk
from portable_nn.core.binding import Sizes, bind
from portable_nn.core.graph import OPSET, Graph, Node, Shape
from portable_nn.operators.registry import NamedArrays, Type, Types

Surveyor: TypeAlias = "Callable[[Sizes], Survey]"
"""A function from sizes of the inputs to the survey of a model. Raises ``UsageError`` where they do not fit."""


@dataclass(frozen=True)
class Survey:
    """A model as far as it is known. Nodes and values have the names of its file.

    Attributes:
        nodes: in the order of the file.
        inputs, outputs: names of values.
        types: of values, by name; those of unknown type are missing.
        weights: the arrays in the file, by name.
        opset: the version of the operators; 0 for one that is not supported.
        fitting: the places of the valid nodes, whose inputs have known types that fit.
        findings: faults found by shape inference.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Types
    weights: NamedArrays
    opset: int
    fitting: frozenset[int]
    findings: tuple[Finding, ...] = ()

    @cached_property
    def readers(self) -> Mapping[str, Sequence[int]]:
        """The places of the nodes that read each value; values without readers are missing."""
        found: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            for name in dict.fromkeys(filter(None, node.inputs)):
                found.setdefault(name, []).append(place)
        return found

    @cached_property
    def makers(self) -> Mapping[str, Node]:
        """The node that makes each value; inputs and weights are missing."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def constants(self) -> Mapping[str, frozenset[str]]:
        """The values that depend on no input, and the weights that each depends on."""
        found = {name: frozenset([name]) for name in self.weights}
        for node in self.nodes:
            read = [name for name in node.inputs if name]
            if all(name in found for name in read) and (read or node.operator == "Constant"):
                made_of = frozenset[str]().union(*(found[name] for name in read))
                found.update({name: made_of for name in node.outputs if name and name not in found})
        return found

    def shape(self, name: str) -> Shape | None:
        """The shape of a value; ``None`` if unknown."""
        return self.types[name].shape if name in self.types else None

    def numbers(self, name: str) -> tuple[int | float, ...]:
        """The elements of a short constant list of numbers; empty for any other value."""
        constant_value = self.types[name].constant if name in self.types else None
        return tuple(item for item in constant_value or () if not isinstance(item, str))


def survey_graph(graph: Graph, weights: NamedArrays, sizes: Sizes = None) -> Survey:
    """The survey of ``graph`` with inputs of the given sizes. Raises ``UsageError`` as ``bind`` does."""
    shapes, _ = bind({value.name: value.shape for value in graph.inputs}, sizes)
    types = {value.name: Type(value.dtype, value.shape) for value in graph.parameters}
    types.update({value.name: Type(value.dtype, shapes[value.name]) for value in graph.inputs})
    findings, fitting = walk(graph.nodes, lambda place, _: [graph.nodes[place]], types, {})
    inputs = tuple(value.name for value in graph.inputs)
    return Survey(graph.nodes, inputs, graph.outputs, types, weights, OPSET, fitting, tuple(findings))
