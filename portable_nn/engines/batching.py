"""Examples on their way through a graph: checked, in batches that fit into memory, and joined again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.arguments import check_argument
from portable_nn.core.arrays import as_array
from portable_nn.core.dims import static, substituted
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.names import MOST_AT_ONCE
from portable_nn.core.numbers import Count
from portable_nn.core.text import some
from portable_nn.data.ahead import ahead
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.engines.apart import mixing_node
from portable_nn.engines.feeds import check_kind, fitted
from portable_nn.operators import Array, NamedArrays, Types, infer

Run: TypeAlias = Callable[[NamedArrays], NamedArrays]
"""Computes the outputs from the inputs."""

READ: Final = 2**24
"""The bytes that are read at once of examples that are stored."""
LARGEST: Final = 2**25
"""The inference batch size is chosen so that no intermediate tensor has more bytes than this."""


class Batching:
    """The arrays that fit the inputs of a graph, and the number of examples that are computed at once."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.types = graph, infer(graph).types
        alone = len(graph.inputs) == 1 == len(graph.outputs)
        self.single: object = np.dtype(graph.inputs[0].dtype) if alone else None
        """The element type of the input, where the graph has one input and one output."""
        self._batch_sizes: dict[tuple[tuple[int, ...], ...], int] = {}

    def check(self, x: Any, *, cast: bool = True) -> dict[str, Array]:
        """``x``, an array or a dict of arrays by input name, as arrays by input name, with ``cast`` of their types.

        Raises ``ShapeError`` where they do not fit, ``UsageError`` for an array where there are several inputs.
        """
        return fitted(self.graph.inputs, self._by_name(x), cast=cast)

    def _by_name(self, x: Any) -> Mapping[str, Any]:
        names = [value.name for value in self.graph.inputs]
        if not isinstance(x, Mapping):
            if len(names) > 1:
                raise UsageError(f"the network has the inputs {', '.join(names)}: give a dict of arrays by name")
            return {names[0]: x}
        if len(names) == 1 and names[0] not in x:
            given = f"a dict of {some(map(str, x)) or 'nothing'}"
            raise ShapeError(
                f"input '{names[0]}' is missing in {given}, which holds an array for each input; "
                "pnn.prepare(network, columns) makes one of the columns of a table"
            )
        return x

    def size(self, feeds: NamedArrays) -> int:
        """The inference batch size for examples such as ``feeds``: at most ``MOST_AT_ONCE``, less for large tensors."""
        key = tuple(feeds[value.name].shape[1:] for value in self.graph.inputs)
        if key not in self._batch_sizes:
            most = largest_of_one(self.graph, self.types, feeds)
            self._batch_sizes[key] = min(MOST_AT_ONCE, max(1, LARGEST // max(most, 1)))
        return self._batch_sizes[key]

    def predict(self, x: Any, run: Run, batch_size: int | None, look: Callable[[NamedArrays], None] | None) -> Any:
        """The outputs that ``run`` computes from ``x``, which is checked, shown to ``look`` and split into batches.

        An array where there is one output and ``x`` is an array, otherwise a dict by output name.
        """
        check_kind(x)
        parts = list[NamedArrays]()
        for given in self._pieces(x):
            feeds = self.check(given)
            if look and not parts:
                look(feeds)
            parts += [self._of_nothing(part) or run(part) for part in self._batches(feeds, batch_size)]
        results = parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        return results if isinstance(x, Mapping) or len(results) > 1 else next(iter(results.values()))

    def _of_nothing(self, feeds: NamedArrays) -> NamedArrays | None:
        """The outputs for inputs without elements, where they have none either: there is nothing to run.

        onnxruntime 1.32 ends the process where an LSTM or a GRU gets no elements.
        """
        if all(array.size for array in feeds.values()):
            return None
        types = infer(self.graph, {name: array.shape for name, array in feeds.items()}).types
        shapes = {name: static(types[name].shape) for name in self.graph.outputs}
        if any(shape is None or math.prod(shape) for shape in shapes.values()):
            return None
        return {name: np.empty(shape or (), types[name].dtype) for name, shape in shapes.items()}

    def _pieces(self, x: Any) -> Iterator[Any]:
        """``x``; where it is stored, and each example is computed by itself, some examples at a time."""
        feeds = {key: rows_of(each, f"input '{key}'") for key, each in self._by_name(x).items()}
        stored = {name: each for name, each in feeds.items() if isinstance(each, Stored)}
        if not stored or not self._has_batches:
            yield feeds | {name: each[:] for name, each in stored.items()}
        else:
            found = {name: each if isinstance(each, Stored) else as_array(each, name) for name, each in feeds.items()}
            counts = {name: len(each) for name, each in found.items()}
            if len(set(counts.values())) > 1:
                unequal = some(f"'{name}' has {count:,}" for name, count in counts.items())
                raise ShapeError(f"as many examples are needed in each input: {unequal}")
            places = pieces(min(counts.values()), piece_of([*stored.values()], READ))
            with closing(
                ahead({name: each[start:stop] for name, each in found.items()} for start, stop in places)
            ) as read:
                yield from read

    @cached_property
    def _has_batches(self) -> bool:
        """True if the first axis of all inputs and outputs is that of the examples."""
        names = (*(each.name for each in self.graph.inputs), *self.graph.outputs)
        first = {self.types[name].shape[:1] for name in names}
        symbol = next(iter(first))
        is_one = len(first) == 1 and bool(symbol) and isinstance(symbol[0], str)
        return is_one and mixing_node(self.graph, self.types) is None

    def _batches(self, feeds: dict[str, Array], size: int | None) -> Iterator[dict[str, Array]]:
        """``feeds`` in batches, where the first axis of all inputs and outputs is that of the examples."""
        if size is not None:
            check_argument("batch_size", size, Count)
        count = len(next(iter(feeds.values()))) if self._has_batches and feeds else 0
        if count <= 1:
            yield feeds
            return
        size = self.size(feeds) if size is None else size
        for start in range(0, count, size):
            yield {name: array[start : start + size] for name, array in feeds.items()}


def largest_of_one(graph: Graph, types: Types, feeds: NamedArrays) -> int:
    """The bytes of the largest intermediate tensor for one example such as those of ``feeds``, as far as known."""
    single = {name: (1, *array.shape[1:]) for name, array in feeds.items()}
    sizes = {
        dim: size
        for value in graph.inputs
        for dim, size in zip(value.shape, single[value.name], strict=True)
        if isinstance(dim, str)
    }
    made = [name for node in graph.nodes for name in node.outputs if name]
    shapes = [static(substituted(types[name].shape, sizes)) for name in made]
    if None in shapes:  # A size that shape arithmetic alone does not give.
        found = infer(graph, single).types
        shapes = [static(found[name].shape) for name in made]
    sizes_in_bytes = (
        np.dtype(types[name].dtype).itemsize * math.prod(shape)
        for name, shape in zip(made, shapes, strict=True)
        if shape is not None
    )
    return max(sizes_in_bytes, default=1)
