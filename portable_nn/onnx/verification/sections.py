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
from typing import Final

import numpy as np
from msgspec.structs import replace
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from portable_nn.core.dims import static
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.core.tensors import ITEM_SIZES, Array, NamedArrays
from portable_nn.engines.once import run_numpy
from portable_nn.onnx.narrow import narrow_values
from portable_nn.onnx.opsets.support import reads
from portable_nn.onnx.session import Session
from portable_nn.onnx.storage.tensors import literal, tensor_bytes
from portable_nn.onnx.writing import to_bytes
from portable_nn.operators import DTYPE_CODES, FLOATS, Type, Types, has_open, infer, is_of_shape
from portable_nn.operators.narrow import NARROW

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
        common: the values that both sides make in one type, in the order of the model's nodes.
        stored: the parameters that nodes of the model compute.
        narrow: the values of the model that are of a type that numpy lacks.
        cuts: the values that both sides can be cut at, the inputs among them.
        last: for each value, the place of the last node of the model that it is needed for, on either side.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: NamedArrays,
        model: ModelProto,
        rounds: Sequence[NamedArrays],
        folder: Path | None = None,
    ) -> None:
        self.graph, self.parameters, self.model, self.folder = graph, parameters, model, folder
        self.rounds, self._types = rounds, self._types_of(rounds)
        self.types = list({id(types): types for types in self._types.values()}.values())
        self._read = [tuple(dict.fromkeys(reads(node))) for node in model.graph.node]
        self._our_place = _places(node.outputs for node in graph.nodes)
        self.place_of = _places(node.output for node in model.graph.node)
        self.node_of = {name: graph.nodes[place] for name, place in self._our_place.items()}
        self.narrow = narrow_values(model)
        self.common = tuple(filter((self.node_of.keys() - self.narrow.keys()).__contains__, self.place_of))
        self.stored = tuple(filter(parameters.__contains__, self.place_of))
        self.entries = {value.name for value in graph.inputs}
        self._arrays = dict[int, dict[str, Array]]()
        self.cuts = self.entries.union(filter(self._is_cut, self.common))
        while apart := self._read_by_one_side():
            self.cuts -= apart
        self.last = {name: place for place, names in enumerate(self._read) for name in names}
        settled = frozenset[str].intersection(*(frozenset(self._settled(types)) for types in self.types))
        for before in self._cuts_before(settled.__contains__):
            for name in self.common:
                for each in before[name]:
                    self.last[each] = max(self.last.get(each, 0), self.place_of[name])

    def _types_of(self, rounds: Sequence[NamedArrays]) -> dict[int, Types]:
        """The types of all values for each of the inputs, the same object for the same sizes."""
        found = {_shapes(feeds): infer(self.graph, dict(_shapes(feeds))).types for feeds in rounds}
        return {id(feeds): self._sized(found[_shapes(feeds)], feeds) for feeds in rounds}

    def _sized(self, types: Types, feeds: NamedArrays) -> Types:
        """``types`` with the sizes that onnxruntime finds for one of the inputs where they are data-dependent."""
        made = {name for node in self.model.graph.node for name in node.output}
        if not (wanted := [name for name, type in types.items() if name in made and has_open([type])]):
            return types
        inputs = {name: DTYPE_CODES[array.dtype.name] for name, array in feeds.items()}
        found = self.run(self.session(self.model_part(self.model.graph.node, inputs, wanted)), feeds)
        return {**types, **{name: Type(types[name].dtype, array.shape) for name, array in found.items()}}

    @cached_property
    def dependent(self) -> set[str]:
        """The values of either side that depend on the elements of an input, and not only on its shape."""
        found = {value.name for value in self.graph.inputs}
        for node in self.graph.nodes:
            if not found.isdisjoint(node.inputs):
                found.update(
                    name
                    for name in node.outputs
                    if name and not any(each[name].constant is not None for each in self.types)
                )
        for node, read in zip(self.model.graph.node, self._read, strict=True):
            if not found.isdisjoint(read) and not is_of_shape(node.op_type):
                found.update(name for name in node.output if name and name not in self.node_of)
        return found

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
        ours, theirs = self._cuts_before(lambda name: name not in self.dependent)
        return set[str]().union(*(ours[name] ^ theirs[name] for name in self.common)) - self.entries

    def _cuts_before(self, ends: Callable[[str], bool]) -> list[dict[str, frozenset[str]]]:
        """The cuts that each value is computed from, on our side and on theirs; none where one ``ends`` the search."""
        found, none = [dict[str, frozenset[str]](), dict[str, frozenset[str]]()], frozenset[str]()
        ours = ((node.inputs, node.outputs) for node in self.graph.nodes)
        theirs = zip(self._read, (node.output for node in self.model.graph.node), strict=True)
        for side, steps in zip(found, (ours, theirs), strict=True):
            for read, made in steps:
                before = [frozenset((name,)) if name in self.cuts else side.get(name, none) for name in read if name]
                whole = none.union(*before)
                side.update((name, none if ends(name) else whole) for name in made)
        return found

    def types_of(self, feeds: NamedArrays) -> Types:
        """The types of all values for one of the inputs."""
        return self._types[id(feeds)]

    def size(self, name: str) -> int:
        """The bytes of a value for the largest inputs; 0 where the graph does not have it."""
        return max(map(bytes_of, (types[name] for types in self.types if name in types)), default=0)

    # -- parts

    def our_nodes(self, targets: Iterable[str], given: Collection[str]) -> list[Node]:
        """The nodes of the graph that compute ``targets`` from the values ``given``."""
        places = _makers(targets, given, self._our_place, lambda place: self.graph.nodes[place].inputs)
        return [self.graph.nodes[place] for place in places]

    def their_nodes(self, targets: Iterable[str], given: Collection[str]) -> list[NodeProto]:
        """The nodes of the model that do."""
        places = _makers(targets, given, self.place_of, lambda place: self._read[place])
        return [self.model.graph.node[place] for place in places]

    def numpy_part(
        self,
        targets: Sequence[str],
        types: Types,
        more: Iterable[str] = (),
        free: Collection[str] = (),
        given: Collection[str] | None = None,
    ) -> tuple[Graph, dict[str, Array], dict[str, str]]:
        """The graph that computes ``targets`` from cuts, its parameters, and the names of the targets in it.

        Args:
            targets: values.
            types: the types of all values.
            more: further cuts to have as inputs.
            free: parameters to have as inputs.
            given: the values to have as inputs instead of the cuts.
        """
        given, settled = self.cuts if given is None else given, self._settled(types)
        apart = {*given, *settled}
        nodes = self.our_nodes(targets, apart)
        needed = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        inputs = dict.fromkeys([*filter({*given, *free}.__contains__, needed), *more])
        rest = [name for name in needed if name not in inputs]
        renamed = [replace(node, outputs=tuple(_marked(node.outputs, apart))) for node in nodes]
        outputs = dict(zip(targets, _marked(targets, apart), strict=True))
        arrays = {name: self.parameters[name] for name in rest if name in self.parameters}
        parameters = [value for value in self.graph.parameters if value.name in arrays]
        constants = list[Node]()
        for name in filter(settled.__contains__, rest):
            if types[name].constant is None:
                arrays[name] = array = settled[name]
                parameters.append(Parameter(name, array.dtype.name, array.shape, trainable=False))
            else:  # Shapes may follow from its elements.
                constants.append(Node(name + MARK, "Constant", (), (name,), {"value": literal(settled[name])}))
        graph = Graph(
            tuple(Value(name, types[name].dtype, types[name].shape) for name in inputs),
            tuple(outputs.values()),
            tuple(parameters),
            (*constants, *renamed),
        )
        return graph, arrays, outputs

    def _settled(self, types: Types) -> NamedArrays:
        """The values that follow from constants and sizes alone, as far as others are computed from them.

        They are computed once, and not in each part again.
        """
        if id(types) not in self._arrays:
            known = {name: _known(types[name]) for name in self._our_place}
            self._arrays[id(types)] = arrays = {name: array for name, array in known.items() if array is not None}
            fixed = {*arrays, *(value.name for value in self.graph.parameters if value.dtype not in FLOATS)}
            wanted = dict[str, None]()
            for node in self.graph.nodes:
                if fixed.issuperset(filter(None, node.inputs)):
                    fixed.update(filter(None, node.outputs))
                else:
                    wanted |= dict.fromkeys(name for name in node.inputs if name in fixed and name in self._our_place)
            graph, parameters, _ = self.numpy_part([name for name in wanted if name not in arrays], types)
            arrays |= run_numpy(graph, parameters, {})
        return self._arrays[id(types)]

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
        self, targets: Sequence[str], types: Types, free: Collection[str]
    ) -> tuple[ModelProto, dict[str, str]]:
        """The model that computes ``targets`` from cuts, and the names of the targets in it; see ``numpy_part``."""
        settled = {name: array for name, array in self._settled(types).items() if name not in self.narrow}
        nodes, apart = [], {*self.cuts, *settled}
        for node in self.their_nodes(targets, {*apart, *free}):
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.output[:] = _marked(node.output, apart)
            nodes.append(copy)
        needed = dict.fromkeys(name for node in nodes for name in reads(node))
        inputs = {name: DTYPE_CODES[types[name].dtype] for name in needed if name in self.cuts or name in free}
        outputs = dict(zip(targets, _marked(targets, apart), strict=True))
        part = self.model_part(nodes, inputs, outputs.values())
        constants = (name for name in needed if name in settled and name not in inputs)
        part.graph.initializer.extend(numpy_helper.from_array(settled[name], name) for name in constants)
        return part, outputs

    def session(self, part: ModelProto, *, optimise: bool = False) -> Session:
        """A session of a part, without optimisation, so that every node runs as it stands."""
        weights = shared(part, self.parameters)
        return Session(to_bytes(part), threads=1, folder=self.folder, optimise=optimise, weights=weights)

    @staticmethod
    def run(session: Session, known: NamedArrays) -> dict[str, Array]:
        """The outputs of a part by name; its inputs have no declared shapes, and are not checked."""
        results = session.run_fitting({value.name: known[value.name] for value in session.inputs})
        return {value.name: array for value, array in zip(session.outputs, results, strict=True)}

    # -- the whole, piece by piece

    def made(self, piece: range) -> list[str]:
        """The values that the model's nodes at some places make."""
        return [name for place in piece for name in self.model.graph.node[place].output if name]

    def chunks(self, most: int, rounds: int) -> Iterator[range]:
        """The places of the model's nodes in pieces whose weights, and values for ``rounds``, are ``most`` bytes."""
        start, used, seen, whole = 0, 0, set[str](), -1
        for place, node in enumerate(self.model.graph.node):
            new = {name for name in reads(node) if name in self.initializers} - seen
            cost = sum(tensor_bytes(self.initializers[name]) for name in new)
            cost += rounds * sum(map(self.size, node.output))
            if place > max(start, whole) and used + cost > most:
                yield range(start, place)
                start, used, seen = place, 0, set()
            used += cost
            seen |= new
            # What numpy lacks leads from no piece to another.
            whole = max(whole, *(self.last.get(name, -1) for name in node.output if name in self.narrow), -1)
        yield range(start, len(self.model.graph.node))


def shared(model: ModelProto, parameters: NamedArrays) -> dict[str, Array]:
    """The parameters that onnxruntime can use where they are, in place of external data with the same bytes.

    That the bytes are the same has been found by reading the file (see ``weights.fates``).
    """
    apart = (each for each in model.graph.initializer if each.data_location == TensorProto.EXTERNAL)
    names = [each.name for each in apart if each.data_type not in NARROW]
    arrays = {name: parameters[name] for name in names if name in parameters}
    return {name: array for name, array in arrays.items() if array.size and array.flags.c_contiguous}


def _places(made: Iterable[Iterable[str]]) -> dict[str, int]:
    """The places of the nodes that make values, by the names of these, from those that each node makes."""
    return {name: place for place, names in enumerate(made) for name in names if name}


def _marked(names: Iterable[str], apart: Collection[str]) -> list[str]:
    """``names``, with ``MARK`` behind those of values that are ``apart``."""
    return [name + MARK if name in apart else name for name in names]


def _makers(
    targets: Iterable[str], given: Collection[str], place_of: Mapping[str, int], read: Callable[[int], Iterable[str]]
) -> list[int]:
    """The places of the nodes that compute ``targets`` from the values ``given``, by what nodes make and read."""
    found = computed_from(targets, given, lambda name: read(place_of[name]) if name in place_of else ())
    return sorted({place_of[name] for name in found if name in place_of})


def computed_from(targets: Iterable[str], given: Collection[str], read: Callable[[str], Iterable[str]]) -> set[str]:
    """``targets`` with all values that they are computed from, back to those ``given``, by what is read for each."""
    found, waiting = set[str](), list(targets)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += [each for each in read(name) if each and each not in given]
    return found


def _known(type: Type) -> Array | None:
    """The elements of a value where inference finds them, as numbers."""
    shape = static(type.shape)
    if type.constant is None or shape is None or any(isinstance(each, str) for each in type.constant):
        return None
    return np.array(type.constant, type.dtype).reshape(shape)


def _shapes(feeds: NamedArrays) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, array.shape) for name, array in feeds.items())


def bytes_of(type: Type) -> int:
    """The bytes of a value; 0 where its shape is unknown."""
    shape = static(type.shape)
    return 0 if shape is None else ITEM_SIZES[type.dtype] * math.prod(map(int, shape))
