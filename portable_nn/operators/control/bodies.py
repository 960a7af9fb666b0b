"""Bodies: the graphs in the attributes of a node, their types, and how they are made of symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from portable_nn.core.dims import agreed_shape
from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Dim, Graph, Node, Parameter, Value, all_nodes, bodies
from portable_nn.operators.costs import elements_visited, multiply_adds
from portable_nn.operators.inference import has_open, infer
from portable_nn.operators.registry import (
    CALL,
    FLOATS,
    Array,
    Compiled,
    InvalidNode,
    KernelContext,
    OperatorContext,
    Type,
    Types,
    operator_of,
    use_of,
)
from portable_nn.operators.symbols import Leaf, Symbol, emit, emit_all
from portable_nn.operators.tracing import trace


class Body(NamedTuple):
    """A body, and the places of the inputs of its node that it reads from outside."""

    graph: Graph
    places: range


def bodies_of(use: OperatorContext) -> dict[str, Body]:
    """The bodies of a node by the names of their attributes."""
    graphs = {name: use.body(name) for name in sorted(use.operator.attributes) if use.operator.attributes[name].is_body}
    stop = len(use.types)
    found = dict[str, Body]()
    for name, graph in reversed(graphs.items()):
        found[name] = Body(graph, range(stop - len(graph.parameters), stop))
        stop -= len(graph.parameters)
    least = sum(not formal.endswith(("?", "*")) for formal in use.operator.inputs)
    if stop < least:
        use.fail(f"its bodies read {len(use.types) - stop} values from outside, and it has {len(use.types)} inputs")
    return dict(reversed(found.items()))


def types_in(use: OperatorContext, body: Body, inputs: Sequence[Type]) -> dict[str, Type]:
    """The types of the inputs of a body and of what it reads from outside, by name."""
    if len(inputs) != len(body.graph.inputs):
        use.fail(f"'{body.graph.name}' takes {len(body.graph.inputs)} inputs and is given {len(inputs)}")
    formal = [value.name for value in (*body.graph.inputs, *body.graph.parameters)]
    return dict(zip(formal, [*inputs, *map(use.type, body.places)], strict=True))


def inferred(use: OperatorContext, body: Body, inputs: Sequence[Type]) -> Types:
    """The types of all values of a body. Raises ``InvalidNode``."""
    try:
        return infer(body.graph, types_in(use, body, inputs)).types
    except GraphError as error:
        use.fail(f"in '{body.graph.name}', {'; '.join(map(str, error.faults))}")


def body_types(use: OperatorContext, name: str) -> Types:
    """The types of all values of the body that an attribute is."""
    rule = use.operator.entries
    return inferred(use, bodies_of(use)[name], rule(use) if rule else ())


def results(use: OperatorContext, body: Body, inputs: Sequence[Type]) -> list[Type]:
    """The types of the outputs of a body."""
    types = inferred(use, body, inputs)
    return [types[name] for name in body.graph.outputs]


def same_type(use: OperatorContext, what: str, one: Type, other: Type) -> Type:
    """The type of a value that two ways lead to. Raises ``InvalidNode`` where its shape depends on which is taken."""
    shape = agreed_shape(one.shape, other.shape)
    if shape is None or (one.shape != other.shape and has_open((one, other))) or one.dtype != other.dtype:
        use.fail(f"{what} is {one} one way and {other} the other: its type must not depend on the data")
    return Type(one.dtype, shape)


def compiled(n: KernelContext, body: Body, inputs: Sequence[Type]) -> Compiled:
    """A body, ready to run."""
    arrays = {value.name: n.x[place] for value, place in zip(body.graph.parameters, body.places, strict=True)}
    return n.compiled(body.graph, types_in(n, body, inputs), arrays)


def cost(use: OperatorContext, body: Body, inputs: Sequence[Type], *, visited: bool = False) -> int:
    """The multiply-adds of one run of a body, or the elements that it goes through."""
    types = inferred(use, body, inputs)
    if visited:
        return sum(CALL + elements_visited(node, types) for node in body.graph.nodes)
    return sum(multiply_adds(node, types) or 0 for node in body.graph.nodes)


def mixed(use: OperatorContext) -> Iterator[Dim]:
    """The sizes along which nodes in bodies combine elements."""
    for name, body in bodies_of(use).items():
        with suppress(InvalidNode):  # A branch that is never taken may not fit.
            types = body_types(use, name)
            for node in body.graph.nodes:
                rule = operator_of(node).mixes
                yield from rule(use_of(node, types)) if rule else ()


def unstreamed(use: OperatorContext) -> NoReturn:
    """Raise ``InvalidNode``: nothing is known of what a body keeps from step to step."""
    use.fail("its bodies are not given sequences in parts")


# -- bodies as symbols


def leaf(name: str, type: Type, *, captured: bool = False) -> Leaf:
    """An input of a body that is being built, or, if ``captured``, what it reads from outside."""
    made = Leaf(name, type.dtype, type.shape, parameter=captured)
    made.type = type
    return made


def inlined(graph: Graph, given: Iterable[Symbol]) -> list[Symbol]:
    """The outputs of a body as symbols, with ``given`` for its inputs and then for what it reads from outside."""
    symbols = dict(zip((value.name for value in (*graph.inputs, *graph.parameters)), given, strict=True))
    for node in graph.nodes:
        attributes: dict[str, Any] = node.attributes
        made = emit_all(
            node.operator,
            *map(symbols.get, node.inputs),
            outputs=len(node.outputs),
            stem=node.operator.lower(),
            domain=node.domain,
            **attributes,
        )
        symbols.update((name, symbol) for name, symbol in zip(node.outputs, made, strict=True) if name)
    return [symbols[name] for name in graph.outputs]


class Outside:
    """The values that bodies read from outside, each once, and the leaves that stand for them."""

    def __init__(self) -> None:
        self.leaves: dict[Symbol, Leaf] = {}

    def leaf(self, symbol: Symbol) -> Leaf:
        """The leaf that stands for a value."""
        name = f"outside_{len(self.leaves) + 1}"
        return self.leaves.setdefault(symbol, leaf(name, symbol.type, captured=True))

    def body(self, name: str, inputs: Sequence[Leaf], outputs: Sequence[Symbol]) -> tuple[Graph, list[Symbol]]:
        """The body that makes ``outputs``, and the values that it reads from outside."""
        apart = [
            emit("Identity", each) if isinstance(each, Leaf) or each in outputs[:place] else each
            for place, each in enumerate(outputs)
        ]
        graph, _ = trace(inputs, apart, name)
        known = {each.name: symbol for symbol, each in self.leaves.items()}
        closed = graph_of(graph, [value.name for value in graph.inputs], [value.name for value in graph.parameters])
        return closed, [known[value.name] for value in graph.parameters]


def graph_of(graph: Graph, inputs: Iterable[str], captured: Iterable[str]) -> Graph:
    """A graph as a body: the node that has it says the types of its inputs and of what it reads from outside."""
    values = tuple(Value(name, "", ()) for name in inputs)
    return Graph(values, graph.outputs, tuple(Parameter(name, "", ()) for name in captured), graph.nodes, graph.name)


def emit_node(
    operator: str,
    own: Sequence[Symbol | None],
    made: Mapping[str, tuple[Graph, list[Symbol]]],
    outputs: int,
    **attributes: Any,
) -> tuple[Symbol, ...]:
    """Make a node with bodies, by the names of their attributes, and what they read from outside."""
    outside = [symbol for _, (_, captured) in sorted(made.items()) for symbol in captured]
    graphs: dict[str, Any] = {name: (graph,) for name, (graph, _) in made.items()}
    return emit_all(operator, *own, *outside, outputs=outputs, **graphs, **attributes)


def is_differentiable(symbol: Symbol | None) -> bool:
    """True if a gradient may flow back to a value: of floats, and not known from the start."""
    return symbol is not None and symbol.dtype in FLOATS and symbol.type.constant is None


def trained(
    operator: str, inputs: Sequence[Symbol | None], attributes: Mapping[str, Any], name: str, skipped: int = 0
) -> Sequence[Symbol]:
    """The training form of an operator with bodies: itself, where no node in them has another one.

    The node has one output for each of its body but the first ``skipped``.
    """
    graphs = [graph for _, graph in bodies(Node(name, operator, (), (), dict(attributes)))]
    for node in (node for graph in graphs for node in all_nodes(graph)):
        found = operator_of(node)
        if found.training and not found.truncated and not any(bodies(node)):
            reason = f"{node} is in a body of it, and does there in training what it does without"
            raise GraphError([Fault(f"'{name}' ({operator})", reason)])
    return emit_all(operator, *inputs, outputs=len(graphs[0].outputs) - skipped, name=name, **attributes)


def copied(out: Array, made: Array) -> None:
    """Copy an array, which may have one axis of one element too many or too few: conditions and counts have."""
    out[...] = made.reshape(out.shape)
