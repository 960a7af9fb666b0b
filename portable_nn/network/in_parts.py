"""A network that is run on a sequence in parts, compared with the whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from portable_nn.core.dims import names_in
from portable_nn.core.graph import Dim, Graph, Node, Value
from portable_nn.engines.claims import check_claims
from portable_nn.engines.once import run_numpy
from portable_nn.format.manifest import Manifest
from portable_nn.onnx.samples import drawn, spans
from portable_nn.operators import FLOATS, Array, infer
from portable_nn.rewrites.unused import needed

PARTS: Final = (4, 1, 3)
"""The lengths of the parts."""
TOLERANCE: Final = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-9}
"""The largest difference of both, relative to the largest number: by rounding, not by a step that is missing."""


def first_difference(
    graph: Graph, made: Manifest, weights: Mapping[str, Array], lengths: Collection[str], steps: str
) -> Node | None:
    """The first node that gives something else for a sequence in parts, on a random one.

    Args:
        graph: the network for the whole sequence.
        made: the same with states.
        weights: those of both.
        lengths: the inputs that say how many steps of each sequence are not padding.
        steps: the name of the number of steps.
    """
    types, known = infer(graph).types, set(made.graph.values())
    makers = {name: node for node in graph.nodes for name in node.outputs if name in known}
    floats = [name for name in makers if types[name].dtype in FLOATS]
    axes = {name: axis for name in floats if (axis := _axis(types[name].shape, steps)) is not None}
    sizes = _sizes(graph, steps, sum(PARTS))
    states = {name: np.zeros(_sized(value, sizes), value.dtype) for name, value in _states(made).items()}
    feeds = {**_drawn(graph, sizes, lengths), **states}
    whole = _computed(graph, weights, [*axes], feeds)
    found = _in_parts(made, weights, [*axes], feeds, lengths, steps)
    for name, axis in axes.items():
        joined = found[name][-1] if axis < 0 else np.concatenate(found[name], axis)
        scale = float(np.abs(whole[name]).max(initial=0)) or 1.0
        if not np.allclose(joined, whole[name], rtol=0, atol=TOLERANCE[types[name].dtype] * scale, equal_nan=True):
            return makers[name]
    return None


def _in_parts(
    made: Manifest,
    weights: Mapping[str, Array],
    names: Sequence[str],
    feeds: Mapping[str, Array],
    lengths: Collection[str],
    steps: str,
) -> dict[str, list[Array]]:
    """Some values of a network with states for each of the parts of a sequence."""
    after = {info.name: info.state for info in made.inputs if info.state}
    states = {name: feeds[name] for name in after}
    found: dict[str, list[Array]] = {name: [] for name in names}
    start = 0
    for count in PARTS:
        part = {name: _part(value, feeds[name], steps, start, count, lengths) for name, value in _data(made).items()}
        part.update(states)
        results = _computed(made.graph, weights, [*names, *after.values()], part)
        states = {name: results[output] for name, output in after.items()}
        for name in names:
            found[name].append(results[name])
        start += count
    return found


def _states(network: Manifest) -> dict[str, Value]:
    names = {info.name for info in network.inputs if info.state}
    return {value.name: value for value in network.graph.inputs if value.name in names}


def _data(network: Manifest) -> dict[str, Value]:
    names = {info.name for info in network.inputs if info.state}
    return {value.name: value for value in network.graph.inputs if value.name not in names}


def _axis(shape: Sequence[Dim], steps: str) -> int | None:
    """The axis of the steps; -1 where there is none; ``None`` where a size is computed from their number."""
    if steps in shape:
        return list(shape).index(steps) if list(shape).count(steps) == 1 else None
    return None if steps in names_in(shape) else -1


def _sizes(graph: Graph, steps: str, count: int) -> dict[Dim, int]:
    return {dim: count if dim == steps else 2 for value in graph.inputs for dim in value.shape if isinstance(dim, str)}


def _sized(value: Value, sizes: Mapping[Dim, int]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else sizes[dim] for dim in value.shape)


def _drawn(graph: Graph, sizes: Mapping[Dim, int], lengths: Collection[str]) -> dict[str, Array]:
    """Random inputs; the lengths of sequences are those of the whole."""
    shapes = {value.name: _sized(value, sizes) for value in graph.inputs}
    types = infer(graph, shapes).types
    check_claims(graph, types)
    limits, rng = spans(graph, types), np.random.default_rng(0)
    found = {value.name: drawn(value, shapes[value.name], limits.get(value.name), rng) for value in graph.inputs}
    return {name: np.full_like(array, sum(PARTS)) if name in lengths else array for name, array in found.items()}


def _part(value: Value, array: Array, steps: str, start: int, count: int, lengths: Collection[str]) -> Array:
    if value.name in lengths:
        return np.full_like(array, count)
    axis = _axis(value.shape, steps)
    return array if axis is None or axis < 0 else array.take(range(start, start + count), axis)


def values_of(graph: Graph, weights: Mapping[str, Array], names: Sequence[str], steps: str) -> dict[str, Array]:
    """Some values of a network on a random sequence."""
    return _computed(graph, weights, names, _drawn(graph, _sizes(graph, steps, sum(PARTS)), ()))


def _computed(
    graph: Graph, weights: Mapping[str, Array], names: Sequence[str], feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """Some values of a network."""
    nodes = needed(graph, tuple(names))
    read = {*names, *(name for node in nodes for name in node.inputs)}
    part = replace(
        graph,
        nodes=nodes,
        outputs=tuple(names),
        inputs=tuple(value for value in graph.inputs if value.name in read),
        parameters=tuple(value for value in graph.parameters if value.name in read),
    )
    return run_numpy(part, weights, {value.name: feeds[value.name] for value in part.inputs})
