"""Inputs at the edges of what nodes do: beyond the numbers that they compare with, at these numbers, and at halves.

Noise reaches neither a limit of ten thousand nor a tie of a rounding. A node that one side has in another form, where a
limit may be lost, or whose value does not vary on noise, is run on such inputs as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from onnx import ModelProto, TensorProto

from portable_nn.core.dims import static
from portable_nn.core.graph import Graph, Node, Tensor, Value
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.onnx.samples import spans
from portable_nn.onnx.storage.tensors import from_attribute, from_tensor, is_attribute
from portable_nn.operators import INTEGERS, Interval, infer, known_operator

FEW: Final = 16
"""The elements up to which a constant counts as limits, and not as a weight."""

NEAR: Final = 8.0
"""The largest number that is a tie: beyond it, what other numbers vary would hide the steps of a rounding."""

LARGEST: Final = 1e15
"""The largest number that counts: beyond it are masks, and what stands for no limit at all."""

ROUNDS: Final = 4
"""The inputs of either kind: a single number has so many values."""

_HALVES: Final = np.arange(-3.5, 4, 0.5)


def far_and_ties(
    graph: Graph, model: ModelProto, parameters: NamedArrays, rng: np.random.Generator
) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
    """Inputs for a part of both sides that go beyond its constants, and others that are halves and these constants.

    None of the first kind where no constant is larger than what noise reaches.
    """
    limits = spans(graph, infer(graph).types, any_whole=True)
    found = np.array(sorted({*_ours(graph, parameters), *_theirs(model)}))
    ties = np.concatenate([_HALVES, found[np.abs(found) <= NEAR]])
    far = np.unique(np.outer([1, -1, 2, -2], found)) if (np.abs(found) > 1).any() else np.array([])
    far = np.concatenate([far, (far[1:] + far[:-1]) / 2])

    def inputs(numbers: Array) -> list[dict[str, Array]]:
        if not len(numbers):
            return []
        made = {value.name: _drawn(value, limits.get(value.name), numbers, rng) for value in graph.inputs}
        return [{name: arrays[number] for name, arrays in made.items()} for number in range(ROUNDS)]

    return inputs(far), inputs(ties)


def jumps(nodes: Iterable[Node]) -> bool:
    """True if nodes do nothing but jump between numbers, as roundings and comparisons do: they compute exactly."""
    operators = [known_operator(node) for node in nodes if node.operator != "Constant"]
    return all(each is not None and each.elementwise and each.gradient is None for each in operators)


def _drawn(value: Value, span: Interval | None, numbers: Array, rng: np.random.Generator) -> Array:
    """``ROUNDS`` inputs of those ``numbers`` that are in its ``span``, or of its ends where none is."""
    shape, dtype = static(value.shape), np.dtype(value.dtype)
    assert shape is not None
    if value.dtype in INTEGERS:
        held = np.iinfo(dtype)
        span = Interval(float(held.min), float(held.max)).within(span)
        numbers = np.round(numbers)
    elif dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        span = Interval(-most, most).within(span)
    else:
        span = Interval(0, 1)
    numbers = numbers[(numbers >= span.low) & (numbers <= span.high)]
    if not len(numbers):
        numbers = np.array([math.ceil(span.low), math.floor(span.high)] if dtype.kind != "f" else span, np.float64)
    chosen = rng.permutation(np.resize(rng.permutation(numbers), ROUNDS * math.prod(shape)))
    return chosen.reshape(ROUNDS, *shape).astype(dtype)


def _ours(graph: Graph, parameters: NamedArrays) -> Iterator[float]:
    """The few constants of the nodes of a graph."""
    for value in graph.parameters:
        yield from _usable(parameters[value.name])
    for node in graph.nodes:
        for attribute in node.attributes.values():
            if isinstance(attribute, Tensor):
                yield from _usable(np.asarray(attribute.data))
            else:
                yield from _usable(np.asarray(attribute))


def _theirs(model: ModelProto) -> Iterator[float]:
    """Those of the nodes of a model."""
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= FEW and tensor.data_location != TensorProto.EXTERNAL:
            yield from _usable(from_tensor(tensor, ""))
    for node in model.graph.node:
        for attribute in filter(is_attribute, node.attribute):
            found = from_attribute(attribute, "")
            yield from _usable(np.asarray(found.data if isinstance(found, Tensor) else found))


def _usable(array: Array) -> Iterator[float]:
    if array.size <= FEW and array.dtype.kind in "fiu":
        yield from (number for number in map(float, array.ravel()) if 0 < abs(number) <= LARGEST)
