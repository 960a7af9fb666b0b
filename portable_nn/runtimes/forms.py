"""A model in the forms that runtimes take: an ONNX file, or for code bases a network in its weight file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import replace
from onnx import ModelProto

from portable_nn.core.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.writing import to_bytes
from portable_nn.runtimes.cutting import with_sizes


@dataclass(frozen=True)
class OnnxForm:
    """An ONNX file, whose name ends in ``suffix``."""

    model: ModelProto
    suffix = ".onnx"

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


Form: TypeAlias = OnnxForm | NetworkForm
"""The model as a runtime is given it."""
