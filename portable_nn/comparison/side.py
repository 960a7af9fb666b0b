"""One side of a comparison: a model whose every value onnxruntime shows, also where others are given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from msgspec.structs import replace
from onnx import ModelProto, NodeProto

from portable_nn.core.errors import PortableNNError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.core.tensors import Array
from portable_nn.onnx.opsets.support import reads
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.rounding import Unbounded, bounds, is_quantised
from portable_nn.onnx.verification.sections import MARK, computed_from
from portable_nn.onnx.verification.stored import stored
from portable_nn.onnx.writing import to_bytes
from portable_nn.operators import DTYPE_CODES, is_of_shape
from portable_nn.runtimes.cutting import cut
from portable_nn.runtimes.subject import Feeds, Subject

AXES: Final = 5
"""The most axes of an array that are tried in other orders."""

PUT: Final = " (put) "
"""In the name of a node that was put behind another one, after the name of that."""

_NO_ARRAY: Final = re.compile("^Sequence(?!At|Length)|^SplitToSequence|^Optional|^String|^ZipMap")
"""The names of operators that make no arrays of numbers."""

_DRAWS: Final = ("Random", "Bernoulli", "Multinomial")
"""The beginnings of operators that draw numbers."""

Values: TypeAlias = Sequence[Mapping[str, Array]]
"""Arrays by name, for each of the inputs."""


class Side:
    """A model, and its values.

    Attributes:
        subject: the model, its inputs and outputs.
        letter: A or B, as messages call it.
        nodes: its nodes, without constants, in order.
        read_by: the values that each node reads, also in its bodies, by its ``id``.
        maker: the node that makes each value, and ``place`` where that stands.
        steps: true where what it quantises counts as rounded, as the other side does not quantise.
        runs_in: the runtime and its version, where that is another one than onnxruntime.
    """

    runs_in, steps = "", False

    def __init__(self, subject: Subject, letter: str = "B") -> None:
        self.subject, self.name, self.model, self.letter = subject, subject.name, subject.model, letter
        self.nodes = [node for node in self.model.graph.node if node.op_type != "Constant"]
        self.read_by: dict[int, tuple[str, ...]] = {id(node): tuple(dict.fromkeys(reads(node))) for node in self.nodes}
        self.maker: dict[str, NodeProto] = {name: node for node in self.nodes for name in node.output if name}
        self.named = {self.node_name(name): node for name, node in reversed(self.maker.items())}
        self.place = {name: place for place, node in enumerate(self.nodes) for name in node.output}
        self.inputs = tuple(port.name for port in subject.inputs)
        self.input_types = {port.name: port.dtype for port in subject.inputs}
        self.outputs = tuple(port.name for port in subject.outputs)

    @cached_property
    def dependent(self) -> tuple[str, ...]:
        """The values that depend on the elements of an input, and not only on its shape, and the outputs, in order."""
        found, arrays = {*self.inputs}, list[str]()
        for node in self.nodes:
            reaches = not found.isdisjoint(self.read_by[id(node)]) and not is_of_shape(node.op_type)
            made = [name for name in node.output if name and (reaches or name in self.outputs)]
            found.update(made if reaches else ())
            arrays += [] if _NO_ARRAY.search(node.op_type) else made
        return tuple(arrays)

    @cached_property
    def is_quantised(self) -> bool:
        """True if it has nodes that round numbers to steps."""
        return any(is_quantised(node.op_type) for node in self.nodes)

    @property
    def coarseness(self) -> tuple[bool, int]:
        """More for a model that rounds more: to steps, or because its constants are of a narrower type."""
        sizes = (each.dtype.itemsize for each in self.constants.values() if each.dtype.kind == "f")
        return self.is_quantised, -min(sizes, default=8)

    def reads(self, value: str) -> tuple[str, ...]:
        """The values that the node which makes a value reads, also in its bodies; none for an input."""
        return self.read_by[id(self.maker[value])] if value in self.maker else ()

    def label(self, value: str) -> str:
        """The node that makes a value, as messages name it: by its name, or by that of its first output."""
        return f"'{self.node_name(value)}' ({self.shown(value).op_type})"

    def shown(self, value: str) -> NodeProto:
        """The node that makes a value, or the one behind which it was put."""
        return self.named[self.node_name(value)]

    def node_name(self, value: str) -> str:
        """The name of the node that makes a value, or that of its first output."""
        return (self.maker[value].name or self.maker[value].output[0]).partition(PUT)[0]

    @cached_property
    def constants(self) -> dict[str, Array]:
        """The initializers, and all values that depend on no input, by name."""
        found = {each.name: each.array for each in stored(self.model, self.name)}
        made = dict.fromkeys(found)
        for node in self.nodes:
            if made.keys() >= set(self.read_by[id(node)]) and not node.op_type.startswith(_DRAWS):
                made |= dict.fromkeys(filter(None, node.output))
        if wanted := [name for name in made if name not in found]:
            shown = self._copy(wanted)
            del shown.graph.input[:]
            kept = [node for node in shown.graph.node if made.keys() >= set(node.output)]
            del shown.graph.node[:]
            shown.graph.node.extend(kept)
            found |= self._session(shown).run({})
        return found

    def _session(self, model: ModelProto) -> Session:
        return Session(to_bytes(model), where=self.name, threads=1, optimise=False)

    def _copy(self, outputs: Iterable[str]) -> ModelProto:
        """The model with other outputs."""
        shown = type(self.model)()
        shown.CopyFrom(self.model)
        del shown.graph.output[:], shown.graph.value_info[:]
        for name in outputs:
            shown.graph.output.add(name=name)
        return shown

    def run(self, rounds: Sequence[Feeds], given: Mapping[str, Sequence[Array]]) -> list[dict[str, Array]]:
        """All values for each of the inputs, each node as it stands.

        What reads a value that is ``given`` reads the given array; it is computed all the same.

        Raises ``FormatError`` and ``UnsupportedError`` where onnxruntime cannot run that.
        """
        values = self.opened({name: arrays[0] for name, arrays in given.items()})
        found = []
        for place, feeds in enumerate(rounds):
            read = {name: arrays[place] for name, arrays in given.items()}
            found.append(values({**feeds, **read}))
        return found

    def opened(self, given: Mapping[str, Array]) -> Callable[[Feeds], dict[str, Array]]:
        """A function that computes all values from arrays by name: the inputs, and values that are ``given``.

        Of the arrays given here, only the types count. Raises as ``run``, and so does the function.
        """
        session = self._session(self._shown(given))
        names = [value.name.removesuffix(MARK) for value in session.outputs]

        def values(arrays: Feeds) -> dict[str, Array]:
            results = session.run_fitting({value.name: arrays[value.name] for value in session.inputs})
            return dict(zip(names, results, strict=True))

        return values

    def output(self, name: str, known: Mapping[str, Array]) -> Array:
        """An output: a value that is ``known``, or a constant."""
        return known[name] if name in known else self.constants[name]

    def _shown(self, given: Mapping[str, Array]) -> ModelProto:
        """The model with all values as outputs, and those ``given`` as inputs."""
        names = (name + MARK if name in given else name for name in self.dependent)
        shown = self._copy(names)
        graph = shown.graph
        for node in graph.node:
            node.output[:] = [name + MARK if name in given else name for name in node.output]
        for name, array in given.items():
            graph.input.add(name=name).type.tensor_type.elem_type = DTYPE_CODES[array.dtype.name]
        for value in graph.input:
            value.type.tensor_type.ClearField("shape")
        return shown

    def before(self, values: Iterable[str], ends: Collection[str]) -> list[str]:
        """The dependent values that ``values`` are computed from, with themselves, in order, back to ``ends``."""
        found = computed_from(values, ends, self.reads)
        return [name for name in self.dependent if name in found]

    def read_from(self, value: str, ends: Collection[str]) -> set[str]:
        """The inputs and ``ends`` that a value is computed from."""
        way = {value, *self.before([value], ends)}
        read = {each for name in way for each in self.reads(name)}
        return {each for each in read if each in self.inputs or (each in ends and each != value)}

    def part(self, value: str, known: Mapping[str, Array], given: Collection[str]) -> ModelProto:
        """The model of a value that is computed from those ``given``, and the inputs, with the types that they have."""
        return cut(self.model, value, known, {*given, *self.inputs} - {value})

    def error(
        self, value: str, known: Values, given: Collection[str], off: Mapping[str, float] = MappingProxyType({})
    ) -> list[Array]:
        """Bounds of the error of a value that is computed from those ``given``, for each of the inputs.

        Each is an array of two: guaranteed, and likely, both infinite where no bound is known. Values and constants may
        be ``off`` by so much.
        """
        if value in self.inputs:
            return [np.zeros((2, *feeds[value].shape)) for feeds in known]
        try:
            part, parameters = self._part(value, known[0], given)
            return [
                bounds(
                    _sized(part, feeds),
                    parameters,
                    {each.name: feeds[each.name] for each in part.inputs},
                    off,
                    steps=self.steps,
                )[value].errors
                for feeds in known
            ]
        except (Unbounded, PortableNNError, ValueError):
            return [np.full((2, *feeds[value].shape), math.inf) for feeds in known]

    def _part(
        self, value: str, known: Mapping[str, Array], given: Collection[str]
    ) -> tuple[Graph, Mapping[str, Array]]:
        """The graph of a value from those ``given`` and the inputs, with its parameters. Raises ``KeyError``."""
        if value not in self._makers:  # Another part of the model may have an operator that this package lacks.
            return from_model(self.part(value, known, given), self.name)[:2]
        (graph, arrays), ends = self._read, {*given, *self.inputs}
        found = computed_from([value], ends, lambda name: self._makers[name].inputs if name in self._makers else ())
        nodes = tuple(node for node in graph.nodes if not found.isdisjoint(node.outputs))
        read = {name for node in nodes for name in node.inputs}
        parameters = tuple(each for each in graph.parameters if each.name in read)
        inputs = tuple(Value(name, known[name].dtype.name, known[name].shape) for name in sorted(read & ends))
        graph = replace(graph, inputs=inputs, outputs=(value,), parameters=parameters, nodes=nodes)
        return graph, {each.name: arrays[each.name] for each in parameters}

    @cached_property
    def _read(self) -> tuple[Graph, Mapping[str, Array]]:
        """The model as a graph of this package, and its parameters; an empty one where it has no such graph."""
        try:
            found = from_model(self.model, self.name)
        except PortableNNError:  # It has an operator that this package lacks.
            return Graph((), (), (), ()), {}
        return found.graph, found.parameters

    @cached_property
    def _makers(self) -> dict[str, Node]:
        return self._read[0].makers()


def _sized(graph: Graph, feeds: Mapping[str, Array]) -> Graph:
    return replace(graph, inputs=tuple(replace(each, shape=feeds[each.name].shape) for each in graph.inputs))
