"""A graph and its model, cut at the values that both have.

A value that both sides make under one name is *common*. Most common values are *cuts*: what reads one can be given any
array in its place, so that both sides compute the same step from the same inputs, and an error is that of this step
alone. Constant values, and those that shape inference must see, are compared, but are no cuts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from msgspec.structs import replace
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from portable_nn.core.dims import static
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.format.tensors import ITEM_SIZES, Array
from portable_nn.onnx.opsets.support import captured
from portable_nn.onnx.session import Session
from portable_nn.onnx.storage.tensors import tensor_bytes
from portable_nn.onnx.writing import to_bytes
from portable_nn.operators import DTYPE_CODES, Type, infer

Types: TypeAlias = Mapping[str, Type]

CHUNK: Final = 16 * 2**20
"""Bytes of weights and values that are in memory at once, on either side, unless one node needs more."""

MARK: Final = " (computed)"
"""Added to the name of a cut where it is computed: its own name is that of the input for those that read it."""


class Sides:
    """Both sides of a comparison.

    Args:
        graph: what numpy runs.
        parameters: the values of its parameters.
        model: what onnxruntime runs.
        rounds: the inputs that both run on.
        folder: the folder of the external data files of the model.

    Attributes:
        types: the types of all values, for each set of shapes of the inputs.
        common: the values that both sides make, in the order of the model's nodes.
        stored: the parameters that nodes of the model compute.
        cuts: the values that both sides can be cut at, the inputs among them.
        last: for each value, the place of the last node of the model that it is needed for, on either side.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Array],
        model: ModelProto,
        rounds: Sequence[Mapping[str, Array]],
        folder: Path | None = None,
    ) -> None:
        self.graph, self.parameters, self.model, self.folder = graph, parameters, model, folder
        self._types = {_shapes(feeds): infer(graph, dict(_shapes(feeds))).types for feeds in rounds}
        self.types = list(self._types.values())
        self.node_of = {name: node for node in graph.nodes for name in node.outputs if name}
        self.place_of = {name: place for place, node in enumerate(model.graph.node) for name in node.output if name}
        self.common = tuple(name for name in self.place_of if name in self.node_of)
        self.stored = tuple(name for name in self.place_of if name in parameters)
        self.entries = {value.name for value in graph.inputs}
        self.cuts = self.entries | {name for name in self.common if self._is_cut(name)}
        while apart := self._read_by_one_side():
            self.cuts -= apart
        self.last = {name: place for place, node in enumerate(model.graph.node) for name in reads(node)}
        for name in self.common:
            for each in self._our_cuts(name):
                self.last[each] = max(self.last.get(each, 0), self.place_of[name])

    @cached_property
    def dependent(self) -> set[str]:
        """The values of the graph that depend on the elements of an input, and not only on its shape."""
        found = {value.name for value in self.graph.inputs}
        for node in self.graph.nodes:
            if not found.isdisjoint(node.inputs):
                found.update(name for name in node.outputs if name and not self._is_known(name))
        return found

    def _is_known(self, name: str) -> bool:
        """Whether type inference finds the elements of a value."""
        return any(types[name].constant is not None for types in self.types)

    @cached_property
    def initializers(self) -> Mapping[str, TensorProto]:
        """The initializers of the model by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    def _is_cut(self, name: str) -> bool:
        return name in self.dependent and all(static(types[name].shape) is not None for types in self.types)

    def _read_by_one_side(self) -> set[str]:
        """The cuts that some value depends on at once on one side only: they cannot be given any array.

        A decomposition that makes several outputs, for one, may compute one of them from another.
        """
        found = set[str]()
        for name in self.common:
            found |= self._our_cuts(name) ^ self._their_cuts(name)
        return found - self.entries

    def _our_cuts(self, name: str) -> set[str]:
        """The cuts that the graph computes a value from."""
        return self._cuts_before(name, lambda each: self.node_of[each].inputs if each in self.node_of else ())

    def _their_cuts(self, name: str) -> set[str]:
        """The cuts that the model computes it from."""
        nodes = self.model.graph.node
        return self._cuts_before(name, lambda each: reads(nodes[self.place_of[each]]) if each in self.place_of else ())

    def _cuts_before(self, name: str, inputs: Callable[[str], Iterable[str]]) -> set[str]:
        """The cuts that the value ``name`` is computed from."""
        found, seen, todo = set[str](), set[str](), [name]
        while todo:
            for each in inputs(todo.pop()):
                if each in self.cuts:
                    found.add(each)
                elif each not in seen:
                    seen.add(each)
                    todo.append(each)
        return found

    def types_of(self, feeds: Mapping[str, Array]) -> Types:
        """The types of all values for one of the inputs."""
        return self._types[_shapes(feeds)]

    def size(self, name: str) -> int:
        """The bytes of a value for the largest inputs; 0 where the graph does not have it."""
        return max(map(bytes_of, (types[name] for types in self.types if name in types)), default=0)

    # -- parts

    def our_nodes(self, targets: Iterable[str], given: Collection[str] | None = None) -> list[Node]:
        """The nodes of the graph that compute ``targets`` from cuts, or from values that are ``given``."""
        wanted, found, given = set(targets), list[Node](), self.cuts if given is None else given
        for node in reversed(self.graph.nodes):
            if not wanted.isdisjoint(node.outputs):
                found.append(node)
                wanted.update(name for name in node.inputs if name not in given)
        return found[::-1]

    def their_nodes(self, targets: Iterable[str]) -> list[NodeProto]:
        """The nodes of the model that do."""
        wanted, found = set(targets), list[NodeProto]()
        for node in reversed(self.model.graph.node):
            if not wanted.isdisjoint(node.output):
                found.append(node)
                wanted.update(name for name in reads(node) if name not in self.cuts)
        return found[::-1]

    def numpy_part(
        self,
        targets: Sequence[str],
        types: Types,
        more: Iterable[str] = (),
        free: Collection[str] = (),
        given: Collection[str] | None = None,
    ) -> tuple[Graph, dict[str, str]]:
        """The graph that computes ``targets`` from cuts, and the names of the targets in it.

        Args:
            targets: values.
            types: the types of all values.
            more: further cuts to have as inputs.
            free: parameters to have as inputs.
            given: the values to have as inputs instead of the cuts.
        """
        given = self.cuts if given is None else given
        nodes = self.our_nodes(targets, given)
        made = {name for node in nodes for name in node.outputs if name in given}
        needed = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        inputs = dict.fromkeys([*(name for name in needed if name in given or name in free), *more])
        names = {name: name + MARK for name in made}
        renamed = [replace(node, outputs=tuple(names.get(name, name) for name in node.outputs)) for node in nodes]
        outputs = {name: names.get(name, name) for name in targets}
        graph = Graph(
            tuple(Value(name, types[name].dtype, types[name].shape) for name in inputs),
            tuple(outputs.values()),
            tuple(value for value in self.graph.parameters if value.name in needed and value.name not in inputs),
            tuple(renamed),
        )
        return graph, outputs

    def model_part(self, nodes: Iterable[NodeProto], inputs: Mapping[str, int], outputs: Iterable[str]) -> ModelProto:
        """A model of ``nodes``, with inputs of the given element types and of any shape."""
        part = ModelProto(ir_version=self.model.ir_version, opset_import=self.model.opset_import)
        part.functions.extend(self.model.functions)
        part.graph.name = self.model.graph.name or "part"
        part.graph.node.extend(nodes)
        read = {name for node in part.graph.node for name in reads(node)} - set(inputs)
        part.graph.initializer.extend(tensor for name, tensor in self.initializers.items() if name in read)
        for name, code in inputs.items():
            value = ValueInfoProto(name=name)
            value.type.tensor_type.elem_type = code
            part.graph.input.append(value)
        for name in outputs:
            part.graph.output.add(name=name)
        return part

    def runtime_part(
        self, targets: Sequence[str], types: Types, free: Collection[str] = ()
    ) -> tuple[ModelProto, dict[str, str]]:
        """The model that computes ``targets`` from cuts, and the names of the targets in it; see ``numpy_part``."""
        nodes = []
        for node in self.their_nodes(targets):
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.output[:] = [name + MARK if name in self.cuts else name for name in node.output]
            nodes.append(copy)
        needed = dict.fromkeys(name for node in nodes for name in reads(node))
        inputs = {name: DTYPE_CODES[types[name].dtype] for name in needed if name in self.cuts or name in free}
        outputs = {name: name + MARK if name in self.cuts else name for name in targets}
        return self.model_part(nodes, inputs, outputs.values()), outputs

    def session(self, part: ModelProto, *, optimise: bool = False) -> Session:
        """A session of a part, without optimisation, so that every node runs as it stands."""
        weights = shared(part, self.parameters)
        return Session(to_bytes(part), threads=1, folder=self.folder, optimise=optimise, weights=weights)

    @staticmethod
    def run(session: Session, known: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs of a part by name; its inputs have no declared shapes, and are not checked."""
        results = session.run_fitting({value.name: known[value.name] for value in session.inputs})
        return {value.name: array for value, array in zip(session.outputs, results, strict=True)}

    # -- the whole, piece by piece

    def chunks(self, most: int, rounds: int) -> Iterator[range]:
        """The places of the model's nodes in pieces whose weights, and values for ``rounds``, are ``most`` bytes."""
        start, used, seen = 0, 0, set[str]()
        for place, node in enumerate(self.model.graph.node):
            new = {name for name in reads(node) if name in self.initializers} - seen
            cost = sum(tensor_bytes(self.initializers[name]) for name in new)
            cost += rounds * sum(map(self.size, node.output))
            if place > start and used + cost > most:
                yield range(start, place)
                start, used, seen = place, 0, set()
            used += cost
            seen |= new
        yield range(start, len(self.model.graph.node))


def shared(model: ModelProto, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters that onnxruntime can use where they are, in place of external data with the same bytes.

    That the bytes are the same has been found by reading the file (see ``weights.fates``).
    """
    names = [each.name for each in model.graph.initializer if each.data_location == TensorProto.EXTERNAL]
    arrays = {name: parameters[name] for name in names if name in parameters}
    return {name: array for name, array in arrays.items() if array.size and array.flags.c_contiguous}


def reads(node: NodeProto) -> Iterator[str]:
    """The values that a node reads, also in its subgraphs."""
    yield from filter(None, node.input)
    yield from captured(node)


def _shapes(feeds: Mapping[str, Array]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, array.shape) for name, array in feeds.items())


def bytes_of(type: Type) -> int:
    """The bytes of a value; 0 where its shape is unknown."""
    shape = static(type.shape)
    return 0 if shape is None else ITEM_SIZES[type.dtype] * math.prod(map(int, shape))
