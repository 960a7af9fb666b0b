"""Weights where no layer of Keras has one: constants, and the one row of an ``Embedding``, which is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, Made, finite, plain
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Graph, Node
from portable_nn.operators import operator_of

LARGEST: Final = 2**12
"""The number of elements that a constant among the arguments of an operation may have: they are text in the file."""


class Free:
    """The weights and sizes of a model that are tensors in it.

    Args:
        graph: the graph.
        values: what has been made of its values.
        key: gives names for layers.
        laid: gives the tensor of a value.
        made: what a node makes of tensors, if Keras has a layer for it.
    """

    def __init__(
        self,
        graph: Graph,
        values: dict[str, Made],
        key: Callable[[str], str],
        laid: Callable[[str], Any],
        made: Callable[[Node], Laid | None],
    ) -> None:
        self._graph, self._values, self._key, self._laid, self._made = graph, values, key, laid, made
        self._rows: dict[str, Any] = {}
        self._tables: dict[str, Any] = {}
        self._tied = _tied(graph)
        self.makers: dict[str, Node] = {}

    def weight(self, name: str, value: Fixed, axes: Sequence[int] | None) -> Any:
        """A weight or constant whose axis i is axis ``axes[i]`` of the tensor; an array where nothing trains it.

        Where it has less axes than ``axes``, it is given more in front, of size 1.
        """
        rank = value.array.ndim
        order = range(rank) if axes is None else axes
        dims = [list(order).index(axis) for axis in range(len(order))]
        if not value.trained and value.array.size <= LARGEST:
            return np.transpose(finite(value.array).reshape((1,) * (len(dims) - rank) + value.array.shape), dims)
        is_whole = not value.names or value.names == (name,)
        tensor = self._row(name, value) if is_whole else self._computed(name)
        if dims == sorted(dims):
            return tensor
        tensor = keras().ops.expand_dims(tensor, list(range(len(dims) - rank))) if len(dims) > rank else tensor
        return keras().ops.transpose(tensor, dims)

    def is_tied(self, value: Made) -> bool:
        """True if a weight is that of an ``Embedding``, or its entries in another order."""
        return isinstance(value, Fixed) and value.trained and value.moved and value.names[0] in self._tied

    def table(self, name: str, value: Fixed) -> Any:
        """The ``Embedding`` of a matrix that other operators read as well, as the rows of all its places."""
        if name not in self._tables:
            entries, features = value.array.shape
            layer = keras().layers.Embedding(entries, features, name=self._key(name.removesuffix(".weight")))
            layer.build(None)
            layer.set_weights([value.array.copy()])  # JAX would share its memory.
            self._tables[name] = layer
        return self._tables[name]

    def _row(self, name: str, value: Fixed) -> Any:
        if name in self._tied and name not in self._rows:
            first = keras().ops.zeros_like(self._first(), dtype="int32")
            places = keras().ops.add(first, np.arange(len(value.array), dtype="int32"))
            self._rows[name] = self.table(name, value)(places)
        if name not in self._rows:
            layer = keras().layers.Embedding(
                1, value.array.size, name=self._key(value.names[0] if value.names else name)
            )
            row = layer(keras().ops.zeros_like(self._first(), dtype="int32"))
            layer.set_weights([value.array.reshape(1, -1).copy()])  # JAX would share its memory.
            layer.trainable = value.trained
            self._rows[name] = keras().ops.reshape(row, value.array.shape)
        return self._rows[name]

    def _computed(self, name: str) -> Any:
        """The result of a node for weights, so that training changes these."""
        node = self.makers[name]
        before = {each: self._values[each] for each in (*node.inputs, *node.outputs) if each}
        for each in filter(None, node.inputs):
            value = before[each]
            if isinstance(value, Fixed) and value.trained:
                self._values[each] = Laid(self._laid(each), plain(value.array.ndim))
        try:
            made = self._made(node)
        finally:
            self._values.update(before)
        if made is None:
            raise RefusalError(f"it reads what {node} computes from trained parameters")
        dims = list(made.axes)
        return made.tensor if dims == sorted(dims) else keras().ops.transpose(made.tensor, dims)

    def _first(self) -> Any:
        """One number of an input."""
        tensor = self._inputs()[self._graph.inputs[0].name].tensor
        return tensor[(0,) * len(tensor.shape)]

    def _inputs(self) -> Mapping[str, Laid]:
        found = {value.name: self._values[value.name] for value in self._graph.inputs}
        return {name: each for name, each in found.items() if isinstance(each, Laid)}

    def along(self, size: str) -> Any:
        """Ones, as many as an open size of an input. Raises ``RefusalError`` where none has it."""
        inputs = self._inputs()
        for value in self._graph.inputs:
            if size in value.shape:
                tensor, axes = inputs[value.name]
                axis = axes[value.shape.index(size)]
                places = tuple(slice(None) if each == axis else 0 for each in range(len(axes)))
                return keras().ops.ones_like(tensor if len(places) == 1 else tensor[places], dtype="int32")
        raise RefusalError(f"the size {size} is that of no input")


def _tied(graph: Graph) -> set[str]:
    """The trained matrices of which rows are taken in one place, and which are read in another."""
    origin = {value.name: value.name for value in graph.parameters if value.trainable and len(value.shape) == 2}
    tables, others = set[str](), set[str]()
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            if name not in origin:
                continue
            if operator_of(node).rearranges:
                origin[node.outputs[0]] = origin[name]
            else:
                is_table = node.operator == "Gather" and not place and name == origin[name]
                (tables if is_table and not node.attributes.get("axis") else others).add(origin[name])
    return tables & others
