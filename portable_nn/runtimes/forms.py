"""A model in the forms that runtimes take: an ONNX file, or for code bases a network in its weight file.

Both can be cut at a value, and get numbers in the place of symbolic sizes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from portable_nn.core.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.writing import to_bytes
from portable_nn.rewrites.unused import needed
from portable_nn.runtimes.cutting import Step, cut, steps, with_sizes
from portable_nn.runtimes.task import Port

if TYPE_CHECKING:
    from onnx import ModelProto


class Form(Protocol):
    """The model as a runtime is given it; ``suffix`` ends the name of its file."""

    suffix: str

    def steps(self, value: str) -> Sequence[Step]:
        """The nodes that a value depends on, in order, with that which computes it."""

    def part(self, value: str, port: Port | None = None) -> Form:
        """The part that computes one value, of the type and shape of ``port`` where that is given."""

    def inputs(self) -> Sequence[str]:
        """The names of the inputs."""

    def fixed(self, arrays: Mapping[str, Array]) -> Form:
        """The same with the shapes of ``arrays`` for inputs and outputs."""

    def data(self) -> bytes:
        """The file. Raises where there can be none."""


@dataclass(frozen=True)
class OnnxForm:
    """An ONNX file."""

    model: ModelProto
    suffix = ".onnx"

    def steps(self, value: str) -> Sequence[Step]:
        """Its nodes."""
        return steps(self.model.graph, value)

    def part(self, value: str, port: Port | None = None) -> OnnxForm:
        """With one output."""
        return OnnxForm(cut(self.model, value, port))

    def inputs(self) -> Sequence[str]:
        """Without those that have an initializer."""
        return [each.name for each in self.model.graph.input]

    def fixed(self, arrays: Mapping[str, Array]) -> OnnxForm:
        """With numbers at both ends."""
        return OnnxForm(with_sizes(self.model, arrays))

    def data(self) -> bytes:
        """The model with its weights."""
        return to_bytes(self.model)


@dataclass(frozen=True)
class NetworkForm:
    """The weight file of a network."""

    network: Network
    suffix = ".safetensors"

    def steps(self, value: str) -> Sequence[Step]:
        """The nodes of the graph."""
        nodes = needed(self.network.graph, [value])
        return [
            Step(node.name, node.operator, tuple(filter(None, node.inputs)), next(filter(None, node.outputs)))
            for node in nodes
        ]

    def part(self, value: str, port: Port | None = None) -> NetworkForm:
        """With one output, and nothing that it does not depend on."""
        nodes = needed(self.network.graph, [value])
        read = {value, *(name for node in nodes for name in node.inputs)}
        ends = (
            tuple(each for each in listed if each.name in read)
            for listed in (self.network.graph.inputs, self.network.graph.parameters)
        )
        inputs, parameters = ends
        graph = replace(self.network.graph, inputs=inputs, outputs=(value,), parameters=parameters, nodes=nodes)
        arrays = {each.name: self.network.parameters[each.name] for each in parameters}
        return NetworkForm(Network.from_graph(graph, arrays, copy=False))

    def inputs(self) -> Sequence[str]:
        """In their order."""
        return [value.name for value in self.network.graph.inputs]

    def fixed(self, arrays: Mapping[str, Array]) -> NetworkForm:
        """With numbers for the inputs; those of the outputs follow."""
        network = self.network
        inputs = tuple(replace(value, shape=arrays[value.name].shape) for value in network.graph.inputs)
        graph = replace(network.graph, inputs=inputs)
        return NetworkForm(Network.from_graph(graph, network.parameters.arrays, inputs=network.inputs, copy=False))

    def data(self) -> bytes:
        """As ``save`` writes it. Raises as that does."""
        with tempfile.TemporaryDirectory(prefix="portable-nn-") as folder:
            path = Path(folder) / f"network{self.suffix}"
            self.network.save(path)
            return path.read_bytes()
