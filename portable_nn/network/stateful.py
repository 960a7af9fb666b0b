"""Networks that are run on a sequence in parts: the states of their layers become inputs and outputs of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import Dim, Graph, Node
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.network.in_parts import first_difference, values_of
from portable_nn.operators import (
    Array,
    InvalidNode,
    Leaf,
    OperatorContext,
    Streamed,
    Symbol,
    infer,
    lookup,
    replay,
    trace,
)
from portable_nn.rewrites.program import Names


class StatefulNode(NamedTuple):
    """A node that keeps states, its streamed form, and the name that its steps have in its first input."""

    node: Node
    form: Streamed
    steps: Dim


def stateful(network: Manifest, weights: Mapping[str, Array]) -> Manifest:
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
        operator = lookup(node.operator, node.domain)
        if operator.streamed is None:
            continue
        known = [types[name] if name else None for name in node.inputs]
        try:
            form = operator.streamed(OperatorContext(operator, known, node.attributes, len(node.outputs)))
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


def _check_beginnings(graph: Graph, weights: Mapping[str, Array], uses: Mapping[str, StatefulNode], steps: str) -> None:
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
