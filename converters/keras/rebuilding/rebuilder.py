"""A network's graph as Keras layers: one row for each operator that has a layer, or an operation of ``keras.ops``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from traceback import walk_tb
from typing import Any, Final

import numpy as np

from portable_nn.converters.array import ROWS as ARRAY_CODE
from portable_nn.converters.array import missing
from portable_nn.converters.array.use import ArrayUse
from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.arrays import dialect
from portable_nn.converters.keras.rebuilding.free import Free
from portable_nn.converters.keras.rebuilding.symbolic import UNNAMED, Open, Symbolic, tensor
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, Made, Sizes, last, plain
from portable_nn.converters.keras.rebuilding.words import plain_activation
from portable_nn.converters.rows import Rows
from portable_nn.core.errors import RefusalError, refuse
from portable_nn.core.graph import Dim, Graph, Node, Parameter, Tensor, Value
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import said, unused
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.operators import InvalidNode, OperatorContext, infer_node, known_operator
from portable_nn.rewrites.lowering import Form, lower
from portable_nn.rewrites.scope import Scope

_SUFFIXES: Final = (".linear", ".cell", ".cells", ".channels_first", ".pool")
"""The ends of the names of nodes behind the name of the Keras layer that they are a part of."""


ROWS: Final = Rows()
"""The function that makes the layers of each operator: ``(what has been made, node)`` → the value of its first
output."""


class Rebuilder:
    """Makes the layers of a network.

    Args:
        network: the network.
        grouped: what makes the layers of several nodes, by the name of one of them.
        form_of: what a node without a layer is in other operators, as a function of symbols.
        channels_last: whether inputs that convolutions read, and outputs that they make, have the channels last.
    """

    def __init__(
        self,
        network: Network,
        grouped: Callable[[Rebuilder], Mapping[str, tuple[list[str], Callable[[], None]]]],
        form_of: Callable[[OperatorContext], Form | None],
        *,
        channels_last: bool,
    ) -> None:
        self.grouped, self.form_of = grouped, form_of
        self.network, self.graph, self.channels_last = network, network.graph, channels_last
        self._scope = Scope.of(self.graph, network.types)
        self.types = self._scope.types
        self.values: dict[str, Made] = {}
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.done: set[str] = set()
        self._layers: dict[tuple[Any, ...], list[tuple[Any, list[Array]]]] = {}
        self._placed: dict[str, str] = {}
        self._operations: dict[int, Any] = {}
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}
        self.inputs: dict[str, str] = {}
        self.turned: set[str] = set()
        self.consumers = self.graph.readers()
        self.free = Free(self.graph, self.values, self.key, self.laid, self._of_tensors)
        self._sources, self._dialect = _sources(self.graph), dialect(self.free.along)

    # -- the whole

    def build(self) -> Any:
        """The Keras model; faults are in ``faults``."""
        for parameter in self.graph.parameters:
            array = self.network.parameters.arrays[parameter.name]
            self.values[parameter.name] = Fixed(array, parameter.trainable, (parameter.name,))
        inputs = [self._input(value) for value in self.graph.inputs]
        groups = self.grouped(self)
        for node in self.graph.nodes:
            reads, make = groups.get(node.name, ([*filter(None, node.inputs)], None))
            if node.name in self.done or any(name not in self.values for name in reads):
                continue
            try:
                self.faults += self.make(node) if make is None else self._together(node, make)
            except (TypeError, ValueError) as error:
                self.faults.append(f"{node}: {_reason(error)}")
        if self.faults:
            return None
        outputs = {name: self._output(name) for name in self.graph.outputs}
        self._new(outputs.values())
        self._rename()
        found = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return keras().Model(inputs[0] if len(inputs) == 1 else inputs, found, name=_key(self.graph.name))

    def _rename(self) -> None:
        """Give operations, which Keras numbers itself, other names than layers have: a model has each once."""
        for operation in self._operations.values():
            if not isinstance(operation, keras().layers.Layer) and operation.name in self._names:
                operation.name = self.key(operation.name)

    def _new(self, tensors: Iterable[Any]) -> list[Any]:
        """The operations that make tensors and have not been seen before, the first ones first."""
        waiting, found = [tensor._keras_history.operation for tensor in tensors], list[Any]()
        while waiting:
            operation = waiting.pop()
            if id(operation) not in self._operations:
                self._operations[id(operation)] = operation
                found.append(operation)
                inputs = [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]
                waiting += [tensor._keras_history.operation for tensor in inputs]
        return found[::-1]

    def _input(self, value: Value) -> Any:
        shape = [size if isinstance(size, int) else None for size in value.shape]
        axes = last(len(shape)) if self.channels_last and self._is_spatial(value.name) else plain(len(shape))
        laid = [shape[axes.index(axis)] for axis in range(len(shape))]
        if axes != plain(len(shape)):
            self.turned.add(value.name)
        self.inputs[value.name] = self.key(value.name)
        tensor = keras().Input(batch_shape=laid, dtype=value.dtype, name=self.inputs[value.name])
        self.values[value.name] = Laid(tensor, axes)
        return tensor

    def _is_spatial(self, name: str) -> bool:
        """True if the nodes that read a value have the channels behind the batch."""
        found = self.consumers.get(name, [])
        return any(self.use(node).operator.window for node in found) and len(self.types[name].shape) > 2

    def _output(self, name: str) -> Any:
        value = self.values[name]
        if not isinstance(value, Laid):
            self.refuse("an output does not depend on an input")
        if self.channels_last and len(value.axes) > 2 and value.axes == last(len(value.axes)):
            self.turned.add(name)
            return value.tensor
        return self.laid(name)

    def make(self, node: Node) -> list[str]:
        """Make the layer of a node, or those of the other operators that it is; the faults."""
        return lower(node, self._scope, self._make, self.form_of, self._enter)

    def _together(self, node: Node, make: Callable[[], None]) -> list[str]:
        """Make the layers of several nodes; the faults, with the name of one of them."""
        return lower(node, self._scope, lambda _: make(), lambda _: None)

    def _make(self, node: Node) -> None:
        if node.name in self.done:
            return
        given = [self.values[name] for name in node.inputs if name]
        known = [self.types[name].constant for name in node.outputs if name]
        if known[0] is not None and not any(isinstance(each, Fixed) and each.names for each in given):
            for name, sizes in zip(filter(None, node.outputs), known, strict=True):
                self.values[name] = self._known(name, sizes or ())
            return
        if all(isinstance(each, Fixed) for each in given):
            self._fold(node)
            return
        if (made := self._made(node)) is not None:
            self.values[node.outputs[0]] = made

    def _made(self, node: Node) -> Made | None:
        """The first output of a node by its layer, or else by array code; ``None`` where others are entered."""
        use, row = self.use(node), ROWS.get(node.operator)
        fault = "has no layer in Keras"
        try:
            if row is not None:
                made: Made | None = row(self, node)
                return made
        except _WRONG as error:
            fault = _reason(error)
        # Training, steps of a recurrence and matrices of weights are not for array code.
        if row is not None and (use.operator.training or use.operator.mixes or node.operator == "Resize"):
            self.refuse(fault)
        try:
            self._by_array_code(use, node)
        except _WRONG as error:
            reason = _reason(error)
            self.refuse(fault if row is not None or not isinstance(error, RefusalError) else reason)
        return None

    def _by_array_code(self, use: OperatorContext, node: Node) -> None:
        """Enter what array code makes of the values that a node reads."""
        if node.domain or node.operator not in ARRAY_CODE:
            self.refuse("has no layer in Keras")
        results = infer_node(use.operator, use.types, node.attributes, len(node.outputs))
        names = [f"x{place}" if name else None for place, name in enumerate(node.inputs)]
        written = ArrayUse(use, results, names, _Spelled())
        if fault := missing(written):
            self.refuse(fault)
        axes = self._common_axes(node) if use.operator.elementwise else None
        compute = self._dialect.compute(written)
        assert compute is not None
        found = compute(*(self._operand(name, axes) if name else None for name in node.inputs))
        made = found if isinstance(found, tuple | list) else (found,)
        for operation in self._new(each.made.tensor for each in made if isinstance(each, Symbolic)):
            if operation.name == UNNAMED:
                operation.name = self.key(f"{node.name}.{UNNAMED}")
        for name, each, result in zip(node.outputs, made, results, strict=False):
            if name:
                self.values[name] = _value(each, result.dtype, axes)

    def _common_axes(self, node: Node) -> Sequence[int] | None:
        """The order of axes in which a function of each element is applied; ``None`` where some tensor lacks axes."""
        laid = [value.axes for name in node.inputs if isinstance(value := self.values.get(name), Laid)]
        return laid[0] if all(len(axes) == self.rank(node.outputs[0]) for axes in laid) else None

    def _operand(self, name: str, axes: Sequence[int] | None) -> Any:
        """A value as array code takes it, with its axes in an order."""
        value = self.values[name]
        if isinstance(value, Sizes):
            return None
        if isinstance(value, Laid) and axes is None:
            sizes = [Open(size, self.free.along) if isinstance(size, str) else size for size in self.types[name].shape]
            return Symbolic(value, partial(self.laid, name), sizes)
        held = self.laid(name, None if isinstance(value, Fixed) and value.array.size == 1 else axes)
        if not isinstance(held, np.ndarray):
            return tensor(held)
        return held.reshape(()) if axes is not None and held.size == 1 else held

    def _enter(self, parts: Sequence[Node]) -> None:
        """Note what nodes read that were made just now."""
        for part in parts:
            for name in part.inputs:
                self.consumers.setdefault(name, []).append(part)

    def _known(self, name: str, sizes: tuple[Dim | float, ...]) -> Made:
        if any(isinstance(each, str) for each in sizes):
            return Sizes(sizes)
        dtype, shape = self.types[name][:2]
        return Fixed(np.array(sizes, dtype).reshape([int(size) for size in shape]), False, ())

    def _of_tensors(self, node: Node) -> Laid | None:
        """The result of a node, where it is a tensor."""
        try:
            made = self._made(node) or self.values[node.outputs[0]]
        except RefusalError:
            return None
        return made if isinstance(made, Laid) else None

    def _fold(self, node: Node) -> None:
        """The values of a node that reads weights and constants alone."""
        fixed = {name: value for name in node.inputs if isinstance(value := self.values.get(name), Fixed)}
        trained, names = any(each.trained for each in fixed.values()), tuple(n for e in fixed.values() for n in e.names)
        if node.operator == "StopGradient" and trained:
            if other := next((n for n in names if self.only_consumer(n) is not node), ""):
                self.refuse(f"the trained parameter '{other}' is read without its gradient here, and with it")
            trained = False
        self.free.makers |= dict.fromkeys(filter(None, node.outputs), node)
        moved = self.use(node).operator.rearranges and all(each.moved for each in fixed.values())
        for name, array in _computed(node, fixed).items():
            self.values[name] = Fixed(array, trained, names, moved)

    # -- what rows ask for

    def use(self, node: Node) -> OperatorContext:
        """A node with the types of its inputs and its attributes."""
        return self._scope.use(node)

    def value(self, node: Node) -> Laid:
        """The tensor that is the first input of a node."""
        found = self.values[node.inputs[0]]
        assert isinstance(found, Laid)
        return found

    def applied(self, node: Node, layer: Callable[[Any], Any]) -> Laid:
        """A layer of each element, whose axes may lie in any order."""
        value = self.value(node)
        return value._replace(tensor=layer(value.tensor))

    refuse = staticmethod(refuse)

    def key(self, name: str) -> str:
        """A name that Keras takes, and that is free; PyTorch, below it, takes no dots."""
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
        found = unused(_key(name), self._names, self._numbers)
        self._names.add(found)
        return found

    def name(self, node: Node) -> str:
        """The name of the layer of a node."""
        return self.key(node.name)

    def laid(self, name: str, axes: Sequence[int] | None = None) -> Any:
        """The tensor of a value with its axes in an order, by default that of the graph."""
        value = self.values[name]
        if isinstance(value, Sizes):
            self.refuse(f"its input '{name}' is sizes that are computed, which Keras has as no tensor")
        if isinstance(value, Fixed):
            return self.free.weight(name, value, axes)
        wanted = plain(len(value.axes)) if axes is None else tuple(axes)
        if value.axes == wanted:
            return value.tensor
        dims = [value.axes[wanted.index(axis)] for axis in range(len(wanted))]
        if dims[0] == 0:
            made = keras().layers.Permute(dims[1:], name=self.key(f"{name}.turned"))(value.tensor)
        else:  # Permute leaves the first axis where it is.
            made = keras().ops.transpose(value.tensor, dims)
        self.values[name] = Laid(made, wanted)
        return made

    def fixed(self, node: Node, place: int) -> Array | None:
        """The weight that is an input of a node; ``None`` where it is left out."""
        if place >= len(node.inputs) or not node.inputs[place]:
            return None
        value = self.values[node.inputs[place]]
        if not isinstance(value, Fixed):
            self.refuse(f"its input {place + 1} is computed, and Keras's layer has a weight there")
        return value.array

    def untrained(self, node: Node, place: int) -> Array | None:
        """A weight that becomes an option of a layer, which training cannot change."""
        found = self.fixed(node, place)
        if found is not None:
            value = self.values[node.inputs[place]]
            assert isinstance(value, Fixed)
            if value.trained:
                self.refuse(f"the trained parameter '{value.names[0]}' has no place in a layer of Keras")
        return found

    def rank(self, name: str) -> int:
        """The number of axes of a value."""
        return len(self.types[name].shape)

    def size(self, name: str, axis: int) -> int | None:
        """A size of a value, where it is known."""
        found = self.types[name].shape[axis]
        return found if isinstance(found, int) else None

    def _read(self, node: Node) -> tuple[bool, ...]:
        return tuple(self.is_read(name) for name in node.outputs)

    def is_read(self, name: str) -> bool:
        """True if a node or an output reads a value."""
        return bool(name) and (name in self.consumers or name in self.graph.outputs)

    def only_consumer(self, name: str) -> Node | None:
        """The node that alone reads a value, which is no output."""
        found = self.consumers.get(name, [])
        return found[0] if len(found) == 1 and name not in self.graph.outputs else None

    def call(
        self,
        node: Node,
        make: Callable[[str], Any],
        tensor: Any,
        weights: Sequence[tuple[int, Array | None]],
        **options: Any,
    ) -> Any:
        """A layer with weights called on a tensor; nodes that read the same parameters are calls of one layer.

        ``weights`` are the places of the node's inputs that they come from, and their values in Keras's layout;
        ``options`` are those of the call.
        """
        read = {
            place: value
            for place, _ in weights
            if place < len(node.inputs) and isinstance(value := self.values.get(node.inputs[place]), Fixed)
        }
        names = tuple(name for value in read.values() for name in value.names)
        key = (node.operator, names, tuple(sorted((k, str(v)) for k, v in node.attributes.items())), self._read(node))
        given = [np.array(array) for _, array in weights if array is not None]  # JAX would share their memory.
        for layer, arrays in self._layers.get(key, []) if names else []:
            if all(map(np.array_equal, given, arrays)):  # Not another part of the same parameter.
                return layer(tensor, **options)
        layer = make(self.name(node))
        made = layer(tensor, **options)
        layer.set_weights([*given, *layer.get_weights()[len(given) :]])
        self._note(node, layer, read)
        self._layers.setdefault(key, []).append((layer, given))
        return made

    def _note(self, node: Node, layer: Any, read: Mapping[int, Fixed]) -> None:
        """Freeze a layer with frozen weights, and note weights that are trained otherwise in it."""
        if any(value.trained and not value.moved for value in read.values()):
            self.notes.append(
                f"'{node.name}': its weights are computed from others, and are trained themselves in Keras"
            )
        self._note_copies(node, layer, [*read.values()])
        operator = known_operator(node)  # None for a layer of several nodes.
        running = operator.state.values() if operator is not None else ()  # They follow the batches, and do not train.
        trained = [value.trained for place, value in read.items() if value.names and place not in running]
        if not any(trained) and (trained or not running):
            layer.trainable = False
        elif not all(trained) and not running:
            self.notes.append(f"'{node.name}': some of its weights are frozen, and all are trained in Keras")

    def _note_copies(self, node: Node, layer: Any, read: Sequence[Fixed]) -> None:
        """Note trained weights that are whole in another layer already: Keras trains each by itself."""
        counts = {each.name: math.prod(map(int, each.shape)) for each in self.graph.parameters}
        for value in read:
            if not (value.trained and value.moved and len(value.names) == 1):
                continue
            name = value.names[0]
            first = self._placed.setdefault(name, layer.name)
            if first != layer.name and value.array.size == counts[name]:
                self.notes.append(
                    f"'{node.name}': its weight '{name}' is that of '{first}' as well, and each trains its own in Keras"
                )

    def activation(self, node: Node, value: str) -> str | None:
        """The activation of the layer of a node, which ``activation_of`` finds; it is then made."""
        word = self.activation_of(node, value)
        self.done |= {self.consumers[value][0].name} if word else set()
        return word

    def activation_of(self, node: Node, value: str) -> str | None:
        """The activation that alone reads the value of a node and bears the name of its layer.

        Of a layer that is called more than once, it must be behind each call.
        """
        following = self.only_consumer(value)
        if following is None or (word := plain_activation(following)) is None:
            return None
        calls = self._calls(node)
        ends = [self.only_consumer(end) for _, end in calls]
        named = any(end and end.name.removesuffix(".channels_first") == call.name.removesuffix(".linear") != call.name
                    for (call, _), end in zip(calls, ends, strict=True))  # fmt: skip
        same = all(end is not None and plain_activation(end) == word for end in ends)
        return word if named and same else None

    def _calls(self, node: Node) -> list[tuple[Node, str]]:
        """The nodes that are calls of the layer of a node, with the value that each ends with: its own, or a sum's."""
        found, weight = list[tuple[Node, str]](), self._sources.get(node.inputs[1])
        for each in self.graph.nodes:
            if each.operator == node.operator and self._sources.get(each.inputs[1], ()) == weight:
                added = self.only_consumer(each.outputs[0])
                is_bias = added and added.operator == "Add" and not {*node.inputs[2:]}.isdisjoint(added.inputs)
                end = added if added and is_bias and node.operator == "MatMul" else each
                found.append((end, end.outputs[0]))
        return found

    def given(self, node: Node, word: str | None, tensor: Any, axes: Sequence[int]) -> Laid | None:
        """The value of a node, or that of the activation behind it."""
        made = Laid(tensor, tuple(axes))
        if word is None:
            return made
        following = self.consumers[node.outputs[0]][0]
        self.values[following.outputs[0]] = made
        self.values[node.outputs[0]] = made
        return None


def _computed(node: Node, fixed: Mapping[str, Fixed]) -> NamedArrays:
    """The outputs of a node for weights and constants."""
    constants = [_constant(name, each.array) for name, each in fixed.items() if not each.names]
    stored = {name: each.array for name, each in fixed.items() if each.names}
    values = tuple(Parameter(name, array.dtype.name, array.shape, False) for name, array in stored.items())
    return run_numpy(Graph((), tuple(filter(None, node.outputs)), values, (*constants, node)), stored, {})


def _sources(graph: Graph) -> dict[str, frozenset[str]]:
    """The parameters that each value is computed from, of values that no input changes."""
    found = {each.name: frozenset({each.name}) for each in graph.parameters}
    for node in graph.nodes:
        inputs = [found.get(name) for name in node.inputs if name]
        if None not in inputs:
            found |= dict.fromkeys(node.outputs, frozenset().union(*filter(None, inputs)))
    return found


_WRONG: Final = (RefusalError, InvalidNode, TypeError, ValueError, IndexError, AttributeError, NotImplementedError)
"""The errors of what Keras, or array code over Keras, does not do."""


def _reason(error: Exception) -> str:
    """The reason of a refusal. Raises an error that is a fault of this package."""
    if isinstance(error, RefusalError | InvalidNode):
        return str(error)
    *_, (frame, _) = walk_tb(error.__traceback__)
    if frame.f_globals.get("__name__", "portable_nn").startswith("portable_nn"):  # Array code has no name.
        raise error
    return f"Keras refuses it {said(error)}"


class _Spelled(dict[str, str]):
    """All open sizes as array code."""

    def __contains__(self, size: object) -> bool:
        return True

    def __getitem__(self, size: str) -> str:
        return f"size({size!r})"


def _value(found: Any, dtype: str, axes: Sequence[int] | None) -> Made:
    """A result of array code, in the type that the graph has."""
    if not isinstance(found, Symbolic):
        return Fixed(np.asarray(found, dtype), False, ())
    made = found.made
    if made.tensor.dtype != dtype:
        made = made._replace(tensor=keras().ops.cast(made.tensor, dtype))
    return made if axes is None else Laid(made.tensor, tuple(axes))


def _key(name: str) -> str:
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in name) or "layer"


def _constant(name: str, array: Array) -> Node:
    value = Tensor(array.dtype.name, array.shape, tuple(array.ravel().tolist()))
    return Node(f"{name}.constant", "Constant", (), (name,), {"value": value})
