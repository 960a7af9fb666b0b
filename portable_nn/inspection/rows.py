"""The contents of a model as rows: its nodes with their shapes and parameters, its inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from portable_nn.core.graph import Graph, Parameter, Shape, Value
from portable_nn.core.tensors import ITEM_SIZES
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.format.packed import stored
from portable_nn.operators import Types, infer
from portable_nn.operators.opaque.nodes import opaque_notes
from portable_nn.preprocessing.steps import describe


@dataclass(frozen=True)
class NodeRow:
    """One node.

    Args:
        name: its name.
        operator: its operator, with the domain in front unless that is ONNX's own.
        inputs: the shapes of its inputs without parameters; ``None`` where one is unknown.
        outputs: the shapes of its outputs.
        parameters: the number of elements of the parameters that no earlier node reads.
        bytes: their size.
        reads: the names of all inputs, parameters among them.
        makes: the names of the outputs.
    """

    name: str
    operator: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    parameters: int
    bytes: int
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValueRow:
    """A named array; ``shape`` is ``None`` where it is unknown."""

    name: str
    dtype: str
    shape: Shape | None


@dataclass(frozen=True)
class InputRow(ValueRow):
    """An input: its kind, preprocessing (a line for each step), columns, range and state, as in a manifest."""

    kind: str = "tensor"
    preprocessing: tuple[str, ...] = ()
    columns: tuple[Mapping[str, Any], ...] = ()
    range: tuple[float, float] | None = None
    state: str = ""

    @classmethod
    def of(cls, info: InputInfo, dtype: str, shape: Shape | None) -> InputRow:
        """The row of an input, as a manifest describes it."""
        columns = tuple(msgspec.to_builtins(column) for column in info.columns)
        return cls(
            info.name, dtype, shape, info.kind, tuple(describe(info.preprocessing)), columns, info.range, info.state
        )


@dataclass(frozen=True)
class OutputRow(ValueRow):
    """An output, and what a manifest says of it: its kind, the names of its entries, and how they are to be read."""

    kind: str = ""
    labels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    target: str = ""
    loss: str = ""
    temperature: float = 1.0
    threshold: float = 0.0

    @classmethod
    def of(cls, info: OutputInfo, dtype: str, shape: Shape | None) -> OutputRow:
        """The row of an output, as a manifest describes it."""
        units = info.units or ((info.unit,) if info.unit else ())
        more = (info.target, info.loss, info.temperature, info.threshold)
        return cls(info.name, dtype, shape, info.kind, info.labels, units, *more)


@dataclass(frozen=True)
class TensorRow:
    """A tensor in a file of arrays; a type that numpy does not have has its name in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class FileRow:
    """The file that a model is in; ``signature`` is one beside it by its name, which has not been verified.

    ``weights`` are the sizes of other files in which it keeps weights, by their names; its SHA-256 does not cover them.
    """

    path: str
    bytes: int
    sha256: str
    signature: str | None = None
    weights: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRow:
    """The state of a checkpoint's training: finished epochs, batches of the next one, and steps in all."""

    epoch: int
    batch: int
    step: int


@dataclass(frozen=True)
class Inspection:
    """The contents of a model, as ``portable-nn inspect`` prints them.

    Args:
        name: the name of the graph; empty for a file of arrays.
        opset: the version of the standard operators; 0 where there is none.
        producer: the program that wrote the model.
        nodes: the nodes, in order.
        inputs: the inputs.
        outputs: the outputs.
        parameters: the number of elements of all parameters, or of all arrays.
        bytes: their size.
        metadata: the user's metadata.
        file: the file; ``None`` for a network in memory.
        digest: the digest of the network in a weight file, which ``load`` can be given.
        training: the state of the training in a checkpoint.
        tensors: the arrays in a file of arrays.
        notes: what else there is to know.
        frozen: how many elements are of parameters that training does not change.
    """

    name: str
    opset: int
    producer: str
    nodes: tuple[NodeRow, ...]
    inputs: tuple[InputRow, ...]
    outputs: tuple[OutputRow, ...]
    parameters: int
    bytes: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    file: FileRow | None = None
    digest: str = ""
    training: TrainingRow | None = None
    tensors: tuple[TensorRow, ...] = ()
    notes: tuple[str, ...] = ()
    frozen: int = 0

    @property
    def holds_arrays(self) -> bool:
        """True if the model is a file of arrays: every network has outputs."""
        return not (self.nodes or self.outputs)


def inspect_manifest(manifest: Manifest) -> Inspection:
    """The contents of the network that ``manifest`` describes."""
    training, graph = manifest.training, manifest.graph
    types = infer(graph).types
    return Inspection(
        name=graph.name,
        opset=manifest.opset,
        producer=manifest.producer,
        nodes=tuple(_nodes(graph, types)),
        inputs=tuple(
            InputRow.of(info, value.dtype, value.shape)
            for info, value in zip(manifest.inputs, graph.inputs, strict=True)
        ),
        outputs=tuple(OutputRow.of(info, types[info.name].dtype, types[info.name].shape) for info in manifest.outputs),
        parameters=sum(map(_count, graph.parameters)),
        bytes=sum(map(bytes_of, graph.parameters)),
        metadata=manifest.metadata,
        training=TrainingRow(training.epoch, training.batch, training.step) if training else None,
        notes=opaque_notes(graph.nodes),
        frozen=frozen_in(graph.parameters),
    )


def _nodes(graph: Graph, types: Types) -> Iterator[NodeRow]:
    seen = set[str]()
    parameters = {value.name: value for value in graph.parameters}
    for node in graph.nodes:
        own = [parameters[name] for name in dict.fromkeys(node.inputs) if name in parameters and name not in seen]
        seen.update(value.name for value in own)
        yield NodeRow(
            node.name,
            node.full_operator,
            tuple(types[name].shape for name in node.inputs if name and name not in parameters),
            tuple(types[name].shape for name in node.outputs if name),
            sum(map(_count, own)),
            sum(map(bytes_of, own)),
            tuple(filter(None, node.inputs)),
            tuple(filter(None, node.outputs)),
        )


def sizes_of(parameter: Value) -> tuple[int, ...]:
    """The shape of a parameter, in numbers."""
    return tuple(int(dim) for dim in parameter.shape)


def frozen_in(parameters: Iterable[Parameter]) -> int:
    """The number of elements of parameters that training does not change."""
    return sum(_count(each) for each in parameters if not each.trainable)


def _count(parameter: Value) -> int:
    return math.prod(sizes_of(parameter))


def bytes_of(parameter: Parameter) -> int:
    """The size of a parameter in a file, in bytes."""
    value = stored(parameter)
    return _count(value) * ITEM_SIZES[value.dtype]
