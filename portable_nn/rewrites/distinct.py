"""Names of values in bodies that no other value has, for targets in which a body sees all names around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from portable_nn.core.graph import Attribute, Graph, Node, bodies
from portable_nn.rewrites.program import Names


def distinct(nodes: Iterable[Node], names: Names, called: Mapping[str, str] = MappingProxyType({})) -> tuple[Node, ...]:
    """Nodes in whose bodies each value and node has a name of its own, and what is outside the name that it has there.

    Args:
        nodes: the nodes.
        names: gives the new names.
        called: the new names of values and nodes of the body that these nodes are in.
    """
    return tuple(_renamed(node, names, called) for node in nodes)


def _renamed(node: Node, names: Names, called: Mapping[str, str]) -> Node:
    inputs, outputs = (tuple(called.get(name, name) for name in side) for side in (node.inputs, node.outputs))
    inside, stop = dict[str, Attribute](), len(inputs)
    for name, body in reversed([*bodies(node)]):
        start = stop - len(body.parameters)
        inside[name] = (_body(body, inputs[start:stop], names),)
        inputs, stop = (*inputs[:start], *dict.fromkeys(inputs[start:stop]), *inputs[stop:]), start
    if not called and not inside:
        return node
    return replace(node, inputs=inputs, outputs=outputs, attributes=node.attributes | inside)


def _body(body: Graph, outside: Sequence[str], names: Names) -> Graph:
    own = [*(value.name for value in body.inputs), *(name for node in body.nodes for name in node.outputs if name)]
    made = {name: names.fresh(name) for name in own}
    named = [replace(node, name=made.get(node.name) or names.fresh(node.name)) for node in body.nodes]
    called = made | dict(zip((value.name for value in body.parameters), outside, strict=True))
    read = {called[value.name]: replace(value, name=called[value.name]) for value in body.parameters}
    return replace(
        body,
        inputs=tuple(replace(value, name=called[value.name]) for value in body.inputs),
        parameters=tuple(read.values()),
        outputs=tuple(called[name] for name in body.outputs),
        nodes=distinct(named, names, called),
    )
