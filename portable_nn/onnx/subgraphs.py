"""Bodies of branches and loops in a model, as those of a graph.

In a model, a body reads what is outside of it by name, and may hide such a name behind its own. Here names are made
unique, so that a body has the names of the values outside for what it reads there, and the constants of bodies are put
among those of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import filterfalse

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from portable_nn.core.errors import FormatError
from portable_nn.core.graph import Attribute, Graph, Node, Parameter, Value
from portable_nn.core.limits import DEEPEST
from portable_nn.onnx.opsets.support import STANDARD, copy_initializers, names_in, set_nodes
from portable_nn.onnx.storage.functions import subgraphs
from portable_nn.onnx.storage.tensors import from_attribute
from portable_nn.operators import find
from portable_nn.rewrites.program import Names


def with_unique_names(model: ModelProto, where: str) -> ModelProto:
    """``model`` with bodies that hide no name, and hold no constants; never changed in place.

    Raises ``FormatError`` where there are too many in each other.
    """
    if not any(any(subgraphs(node)) for node in model.graph.node):
        return model
    made = deepcopy(model)
    names, constants = Names(names_in(made.graph)), list[NodeProto]()
    for node in made.graph.node:
        for body in subgraphs(node):
            _make_unique(body, {}, names, made.graph, constants, where)
    set_nodes(made.graph, [*constants, *made.graph.node])
    return made


def all_names(graph: GraphProto) -> Iterator[str]:
    """The names of all values and nodes of a graph and of the bodies in it; some come twice."""
    yield from names_in(graph)
    for node in graph.node:
        for body in subgraphs(node):
            yield from all_names(body)


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in STANDARD


def _make_unique(
    body: GraphProto,
    outer: dict[str, str],
    names: Names,
    graph: GraphProto,
    constants: list[NodeProto],
    where: str,
    depth: int = 1,
) -> None:
    """Rename what a body makes, where the name is taken, and move its constants to ``graph`` and ``constants``."""
    if depth > DEEPEST:
        raise FormatError(where, f"its loops and branches are in each other more than {DEEPEST} times")
    own = [*(each.name for each in (*body.input, *body.initializer)), *(n for node in body.node for n in node.output)]
    inside = {**outer, **{name: names.fresh(name) for name in dict.fromkeys(own) if name}}
    copy_initializers(body, graph, inside)
    for node in body.node:
        for field in (node.input, node.output):
            field[:] = [inside.get(name, name) for name in field]
        for each in subgraphs(node):
            _make_unique(each, inside, names, graph, constants, where, depth + 1)
    for value in (*body.input, *body.output):
        value.name = inside.get(value.name, value.name)
    constants += deepcopy([*filter(_is_constant, body.node)])
    set_nodes(body, filterfalse(_is_constant, body.node))
    del body.initializer[:]
    del body.value_info[:]


def node_of(proto: NodeProto, name: str, where: str) -> Node:
    """A node of a model under a name. What its bodies read from outside are further inputs."""
    attributes, outside = dict[str, Attribute](), list[str]()
    for attribute in sorted(proto.attribute, key=lambda each: each.name):
        if attribute.type == AttributeProto.GRAPH:
            body = _body(attribute.g, attribute.name, where)
            attributes[attribute.name] = (body,)
            outside += [value.name for value in body.parameters]
        else:
            attributes[attribute.name] = from_attribute(attribute, where)
    operator = find(proto.op_type)
    own = list(proto.input)
    if outside and operator:  # Optional inputs at the end must be there, too.
        own += [""] * (sum(not formal.endswith("*") for formal in operator.inputs) - len(own))
    domain = "" if proto.domain in STANDARD else proto.domain
    return Node(name, proto.op_type, (*own, *outside), tuple(proto.output), attributes, domain)


def _body(graph: GraphProto, wish: str, where: str) -> Graph:
    named = zip(graph.node, node_names(graph, Names(node.name for node in graph.node)), strict=True)
    nodes = [node_of(proto, name, where) for proto, name in named]
    outputs = tuple(value.name for value in graph.output)
    own = {value.name for value in graph.input}.union(name for node in nodes for name in node.outputs)
    read = dict.fromkeys([*(name for node in nodes for name in node.inputs if name), *outputs])
    captured = tuple(Parameter(name, "", ()) for name in read if name not in own)
    inputs = tuple(Value(value.name, "", ()) for value in graph.input)
    return Graph(inputs, outputs, captured, tuple(nodes), graph.name or wish)


def node_names(graph: GraphProto, names: Names) -> Iterator[str]:
    """A name for each node: its own, or a new one where it has none or another node before it has the same."""
    seen: set[str] = {""}
    for node in graph.node:
        unique = node.name not in seen
        seen.add(node.name)
        yield node.name if unique else names.fresh(node.name or node.op_type.lower())
