"""Networks that are run on a sequence in parts: the states of their layers become inputs and outputs of the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.core.dims import names_in
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import Dim, Graph, Node, Value
from portable_nn.engines.claims import check_claims
from portable_nn.engines.once import run_numpy
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.onnx.samples import drawn, spans
from portable_nn.operators import (
    FLOATS,
    Array,
    InvalidNode,
    Leaf,
    NamedArrays,
    Streamed,
    Symbol,
    infer,
    operator_of,
    replay,
    trace,
    use_of,
)
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.unused import needed

PARTS: Final = (4, 1, 3)
"""The lengths of the parts."""
TOLERANCE: Final = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-9}
"""The largest difference of both, relative to the largest number: by rounding, not by a step that is missing."""


def first_difference(
    graph: Graph, made: Manifest, weights: NamedArrays, lengths: Collection[str], steps: str
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
    found = _by_parts(made, weights, [*axes], feeds, lengths, steps)
    for name, axis in axes.items():
        joined = found[name][-1] if axis < 0 else np.concatenate(found[name], axis)
        scale = float(np.abs(whole[name]).max(initial=0)) or 1.0
        if not np.allclose(joined, whole[name], rtol=0, atol=TOLERANCE[types[name].dtype] * scale, equal_nan=True):
            return makers[name]
    return None


def _by_parts(
    made: Manifest, weights: NamedArrays, names: Sequence[str], feeds: NamedArrays, lengths: Collection[str], steps: str
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


def values_of(graph: Graph, weights: NamedArrays, names: Sequence[str], steps: str) -> dict[str, Array]:
    """Some values of a network on a random sequence."""
    return _computed(graph, weights, names, _drawn(graph, _sizes(graph, steps, sum(PARTS)), ()))


def _computed(graph: Graph, weights: NamedArrays, names: Sequence[str], feeds: NamedArrays) -> dict[str, Array]:
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


class StatefulNode(NamedTuple):
    """A node that keeps states, its streamed form, and the name that its steps have in its first input."""

    node: Node
    form: Streamed
    steps: Dim


def stateful(network: Manifest, weights: NamedArrays) -> Manifest:
    """The description of the network for sequences in parts, with the same weights: see ``Network.stateful``."""
    if any(info.state for info in network.inputs):
        return network
    graph, uses = _found(network.graph)
    steps = _steps_of(graph, uses)
    _check_beginnings(graph, weights, uses, steps)
    made = _in_parts(replace(network, graph=graph), uses)
    if found := first_difference(graph, made, weights, _lengths(uses), steps):
        raise UsageError(
            f"stateful: {found} gives other numbers for a sequence in parts than for the whole: it looks at "
            "steps of other parts, which no state keeps"
        )
    return made


def _lengths(uses: Mapping[str, StatefulNode]) -> set[str]:
    """The values that say how many steps of each sequence are not padding."""
    given = ((use.node.inputs, use.form.lengths) for use in uses.values())
    return {names[place] for names, place in given if place is not None and len(names) > place}


def _found(graph: Graph) -> tuple[Graph, Mapping[str, StatefulNode]]:
    """The nodes that keep states, by name, in a graph whose number of steps is open. Raises ``UsageError``."""
    uses = _uses(graph)
    if not uses:
        raise UsageError(
            "stateful: no layer keeps a state from step to step (LSTM, GRU, RNN, Conv1d with causal=True): predict(x) "
            "takes the parts of a sequence as they are"
        )
    fixed = next((use.steps for use in uses.values() if isinstance(use.steps, int)), None)
    if fixed is None:
        return graph, uses
    name = Names({dim for value in graph.inputs for dim in value.shape if isinstance(dim, str)}).fresh("steps")
    for place, value in enumerate(graph.inputs):
        for axis in (axis for axis, size in enumerate(value.shape[1:], 1) if size == fixed):
            shape = (*value.shape[:axis], name, *value.shape[axis + 1 :])
            inputs = (*graph.inputs[:place], replace(value, shape=shape), *graph.inputs[place + 1 :])
            opened = replace(graph, inputs=inputs)
            try:
                uses = _uses(opened)
            except (GraphError, UsageError):
                continue
            if all(use.steps == name for use in uses.values()):
                return opened, uses
    raise UsageError(
        f"stateful: the number of steps is fixed, {fixed}, and nodes depend on it: make the network with a name for "
        "it, such as Input('steps', features)"
    )


def _uses(graph: Graph) -> dict[str, StatefulNode]:
    types, found = infer(graph).types, dict[str, StatefulNode]()
    for node in graph.nodes:
        streamed = operator_of(node).streamed
        if streamed is None:
            continue
        try:
            form = streamed(use_of(node, types))
        except InvalidNode as reason:
            raise UsageError(f"stateful: {node} has no state that a stream can keep: {reason}") from None
        if form is not None:
            found[node.name] = StatefulNode(node, form, types[node.inputs[0]].shape[form.steps])
    return found


def _steps_of(graph: Graph, uses: Mapping[str, StatefulNode]) -> str:
    """The name of the size that is cut into parts. Raises ``UsageError`` where it is not one and the same."""
    inputs = [dim for value in graph.inputs for dim in value.shape]
    first = next(iter(uses.values()))
    for use in uses.values():
        if not isinstance(use.steps, str) or use.steps not in inputs or use.steps != first.steps:
            raise UsageError(
                f"stateful: {use.node} has {use.steps} steps, which must be a size of an input"
                + (f", and {first.node} {first.steps}" if use is not first else "")
                + ": a part of a sequence must have as many steps in each layer"
            )
    return str(first.steps)


def _in_parts(network: Manifest, uses: Mapping[str, StatefulNode]) -> Manifest:
    """The network whose states are inputs and outputs behind the others."""
    graph = network.graph
    names, given = Names.beside(graph), {value.name for value in graph.inputs}
    leaves, new = list[Leaf](), list[Symbol]()
    follows = dict[str, Symbol]()

    def form(node: Node, inputs: Sequence[Symbol | None]) -> Sequence[Symbol] | None:
        use = uses.get(node.name)
        if use is None or given.intersection(_beginnings(use)):
            return None
        first = inputs[0]
        assert first is not None
        states = [
            Leaf(names.fresh(f"{node.name}.{role}"), first.dtype, shape) for role, shape in use.form.states.items()
        ]
        made, after = use.form.build(inputs, states, node.name)
        for leaf, symbol in zip(states, after, strict=True):
            symbol.name = names.fresh(f"{leaf.name}.next")
            follows[str(leaf.name)] = symbol
        leaves.extend(states)
        new.extend(after)
        return made

    symbols = replay(graph, form=form)
    marked = _marked(graph, uses)
    inputs = [*(symbols[value.name] for value in graph.inputs), *leaves]
    outputs = [*graph.outputs, *(name for name in marked.values() if name not in graph.outputs)]
    results = [*(symbols[name] for name in outputs), *new]
    traced = trace([leaf for leaf in inputs if isinstance(leaf, Leaf)], results, graph.name)
    infos = [info if info.name not in marked else replace(info, state=marked[info.name]) for info in network.inputs]
    infos += [InputInfo(str(leaf.name), state=traced.names[follows[str(leaf.name)]]) for leaf in leaves]
    more = traced.graph.outputs[len(graph.outputs) :]
    return replace(network, graph=traced.graph, inputs=tuple(infos), outputs=(*network.outputs, *map(OutputInfo, more)))


def _beginnings(use: StatefulNode) -> list[str]:
    """The values that a node takes for its states before the first step."""
    return [use.node.inputs[place] for place in use.form.first if use.node.inputs[place : place + 1] not in ((), ("",))]


def _marked(graph: Graph, uses: Mapping[str, StatefulNode]) -> dict[str, str]:
    """The inputs of the graph that are states already, and the values that follow them."""
    given, found = {value.name for value in graph.inputs}, dict[str, str]()
    for use in uses.values():
        for name, after in zip(_beginnings(use), use.node.outputs[1:], strict=False):
            if name in given:
                found[name] = after
    return found


def _check_beginnings(graph: Graph, weights: NamedArrays, uses: Mapping[str, StatefulNode], steps: str) -> None:
    """Raise ``UsageError`` where states before the first step are neither zeros nor inputs."""
    given = {value.name for value in graph.inputs}
    for use in uses.values():
        names = _beginnings(use)
        has_inputs = given.intersection(names)
        if has_inputs and (len(has_inputs) < len(use.form.states) or not all(use.node.outputs[1 : len(names) + 1])):
            raise UsageError(
                f"stateful: {use.node} begins with the input {', '.join(sorted(has_inputs))}, and its states "
                "after the last step are no values of the graph"
            )
        for name in names:
            if name not in given and values_of(graph, weights, [name], steps)[name].any():
                raise UsageError(
                    f"stateful: {use.node} begins with the states '{name}', which are not zeros: a stream "
                    "begins with zeros"
                )
