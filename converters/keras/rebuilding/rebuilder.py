"""A network's graph as Keras layers: one row for each operator that has a layer, or an operation of ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.words import plain_activation
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.core.text import unused
from portable_nn.engines.once import run_numpy
from portable_nn.format.tensors import Array
from portable_nn.network import Network

_SUFFIXES: Final = (".linear", ".cell", ".cells", ".channels_first", ".pool")
"""What the names of nodes have behind the name of the Keras layer that they are a part of."""


_SPATIAL: Final = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"})
_RUNNING: Final[Mapping[str, Sequence[int]]] = {"BatchNormalization": (3, 4)}
"""The inputs of an operator that are running statistics."""


class NoLayerError(Exception):
    """Why a node has no layer in Keras."""


class Fixed(NamedTuple):
    """A value that no input decides: a weight, what nodes make of one, or the constant of the node ``source``."""

    array: Array
    trained: bool
    names: tuple[str, ...]
    source: Node | None = None


class Laid(NamedTuple):
    """A Keras tensor for a value of the graph, whose axis i is axis ``axes[i]`` of the tensor."""

    tensor: Any
    axes: tuple[int, ...]


Made = Fixed | Laid


def plain(rank: int) -> tuple[int, ...]:
    """The axes of a tensor in the order of the graph."""
    return tuple(range(rank))


def last(rank: int) -> tuple[int, ...]:
    """The axes of a tensor with the channels last."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 1 else plain(rank)


Row: TypeAlias = "Callable[[Rebuilder, Node], Made | None]"
"""Makes the layers of a node: ``(what has been made, node)`` → the value of its first output."""


class Rebuilder:
    """Makes the layers of a network.

    Args:
        network: the network.
        rows: what makes the layers of each operator.
        grouped: what makes the layers of several nodes, by the name of one of them.
        channels_last: whether inputs that convolutions read, and outputs that they make, have the channels last.
    """

    def __init__(
        self,
        network: Network,
        rows: Mapping[str, Row],
        grouped: Callable[[Rebuilder], Mapping[str, tuple[list[str], Callable[[], None]]]],
        *,
        channels_last: bool,
    ) -> None:
        self.rows, self.grouped = rows, grouped
        self.network, self.graph, self.channels_last = network, network.graph, channels_last
        self.values: dict[str, Made] = {}
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.done: set[str] = set()
        self._layers: dict[tuple[Any, ...], Any] = {}
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}
        self.inputs: dict[str, str] = {}
        self.turned: set[str] = set()
        self.consumers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                self.consumers.setdefault(name, []).append(node)

    # -- the whole

    def build(self) -> Any:
        """The Keras model; faults are in ``faults``."""
        for parameter in self.graph.parameters:
            array = self.network.parameters.arrays[parameter.name]
            self.values[parameter.name] = Fixed(array, parameter.trainable, (parameter.name,))
        inputs = [self._input(value) for value in self.graph.inputs]
        groups = self.grouped(self)
        for node in self.graph.nodes:
            reads, make = groups.get(node.name, ([*filter(None, node.inputs)], partial(self.make, node)))
            if node.name in self.done or any(name not in self.values for name in reads):
                continue
            try:
                make()
            except NoLayerError as error:
                self.faults.append(f"'{node.name}' ({node.operator}): {error}")
            except (TypeError, ValueError) as error:
                self.faults.append(f"'{node.name}' ({node.operator}): Keras refuses it: {error}")
        if self.faults:
            return None
        outputs = {name: self._output(name) for name in self.graph.outputs}
        found = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return keras().Model(inputs[0] if len(inputs) == 1 else inputs, found, name=_key(self.graph.name))

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
        """Whether what reads a value has the channels behind the batch."""
        found = self.consumers.get(name, [])
        return any(node.operator in _SPATIAL for node in found) and len(self.network.types[name].shape) > 2

    def _output(self, name: str) -> Any:
        value = self.values[name]
        if isinstance(value, Fixed):
            raise NoLayerError("an output does not depend on an input")
        if self.channels_last and len(value.axes) > 2 and value.axes == last(len(value.axes)):
            self.turned.add(name)
            return value.tensor
        return self.laid(name)

    def make(self, node: Node) -> None:
        """Make the layer of a node. Raises ``NoLayerError``."""
        given = [self.values[name] for name in node.inputs if name]
        if all(isinstance(each, Fixed) for each in given):
            self._fold(node, given)
            return
        row = self.rows.get(node.operator)
        if row is None or node.domain:
            raise NoLayerError("has no layer in Keras")
        made = row(self, node)
        if made is not None:
            self.values[node.outputs[0]] = made

    def _fold(self, node: Node, given: Sequence[Made]) -> None:
        """The values of a node that reads weights alone."""
        fixed = {name: value for name, value in self.values.items() if name in node.inputs and isinstance(value, Fixed)}
        constants = [each.source for each in fixed.values() if each.source is not None]
        stored = {name: each for name, each in fixed.items() if each.source is None}
        values = tuple(Parameter(n, each.array.dtype.name, each.array.shape, False) for n, each in stored.items())
        outputs = tuple(name for name in node.outputs if name)
        graph = Graph((), outputs, values, (*constants, node))
        made = run_numpy(graph, {name: each.array for name, each in stored.items()}, {})
        trained, names = any(each.trained for each in fixed.values()), tuple(n for e in fixed.values() for n in e.names)
        for name, array in made.items():
            self.values[name] = Fixed(array, trained, names, None if fixed else node)

    # -- what rows ask for

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
        if isinstance(value, Fixed):
            raise NoLayerError(f"its input '{name}' is a weight, and Keras's layer takes none there")
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
            raise NoLayerError(f"its input {place + 1} is computed, and Keras's layer has a weight there")
        return value.array

    def untrained(self, node: Node, place: int) -> Array | None:
        """A weight that becomes an option of a layer, which training cannot change."""
        found = self.fixed(node, place)
        if found is not None:
            value = self.values[node.inputs[place]]
            assert isinstance(value, Fixed)
            if value.trained:
                raise NoLayerError(f"the trained parameter '{value.names[0]}' has no place in a layer of Keras")
        return found

    def rank(self, name: str) -> int:
        """The number of axes of a value."""
        return len(self.network.types[name].shape)

    def size(self, name: str, axis: int) -> int | None:
        """A size of a value, where it is known."""
        found = self.network.types[name].shape[axis]
        return found if isinstance(found, int) else None

    def _read(self, node: Node) -> tuple[bool, ...]:
        return tuple(self.is_read(name) for name in node.outputs)

    def is_read(self, name: str) -> bool:
        """Whether a node or an output reads a value."""
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
        names = tuple(
            name for place, _ in weights if place < len(node.inputs) and node.inputs[place]
            for name in _names(self.values[node.inputs[place]])
        )  # fmt: skip
        key = (node.operator, names, tuple(sorted((k, str(v)) for k, v in node.attributes.items())), self._read(node))
        if names and key in self._layers:
            return self._layers[key](tensor, **options)
        layer = make(self.name(node))
        made = layer(tensor, **options)
        given = [np.array(array) for _, array in weights if array is not None]  # JAX would share their memory.
        layer.set_weights([*given, *layer.get_weights()[len(given) :]])
        running = _RUNNING.get(node.operator, ())  # What follows the batches, and is trained in no layer.
        followed = {name for place in running for name in _names(self.values[node.inputs[place]])}
        trained = [value.trainable for value in self.graph.parameters if value.name in {*names} - followed]
        if trained and not any(trained):
            layer.trainable = False
        elif not all(trained) and not running:
            self.notes.append(f"'{node.name}': some of its weights are frozen, and all are trained in Keras")
        if names:
            self._layers[key] = layer
        return made

    def activation(self, node: Node, value: str) -> str | None:
        """The activation that alone reads the value of a node and bears the name of its layer; it is then made."""
        following = self.only_consumer(value)
        if following is None or following.name != node.name.removesuffix(".linear") or following.name == node.name:
            return None
        word = plain_activation(following)
        if word is None:
            return None
        self.done.add(following.name)
        return word

    def given(self, node: Node, word: str | None, tensor: Any, axes: Sequence[int]) -> Laid | None:
        """The value of a node, or that of the activation behind it."""
        made = Laid(tensor, tuple(axes))
        if word is None:
            return made
        following = self.consumers[node.outputs[0]][0]
        self.values[following.outputs[0]] = made
        self.values[node.outputs[0]] = made
        return None


def _names(value: Made) -> tuple[str, ...]:
    return value.names if isinstance(value, Fixed) else ()


def _key(name: str) -> str:
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in name) or "layer"
