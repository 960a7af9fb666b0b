"""Lowering: a node that a target has no counterpart for becomes nodes of simpler operators, until all have one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from msgspec.structs import replace

from portable_nn.core.errors import GraphError, RefusalError
from portable_nn.core.graph import Graph, Node, bodies
from portable_nn.operators import InvalidNode, OperatorContext, Types
from portable_nn.operators.control.bodies import body_types
from portable_nn.operators.spatial.resize_taps import resized
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.scope import Scope
from portable_nn.rewrites.unused import needed

Form: TypeAlias = Callable[..., Any]
"""The decomposition of a node into other operators, as a function of symbols."""


def form_of(use: OperatorContext) -> Form | None:
    """The lowering of a node, or what portable files have in its place; ``None`` where there is neither."""
    if use.operator.name == "Resize":
        return partial(resized, use)
    portable = use.operator.portability.portable
    return use.operator.lowering or (portable(use) if portable else None)


def lower(
    node: Node,
    scope: Scope,
    write: Callable[[Node], object],
    form_of: Callable[[OperatorContext], Form | None] = form_of,
    enter: Callable[[Sequence[Node]], object] = len,
    above: tuple[object, ...] = (),
) -> list[str]:
    """Write a node, or where that is refused, the nodes that it is in other operators; the fault where none can be.

    Args:
        node: the node.
        scope: the types of its inputs, and new names.
        write: writes a node. Raises ``RefusalError`` where the target has no counterpart for it.
        form_of: gives the form of a node in other operators.
        enter: takes the nodes in place of one before they are written.
        above: the nodes that this one is a part of, without names: none is made of itself again.
    """
    try:
        write(node)
    except RefusalError as refusal:
        fault = f"{node}: {refusal}"
    else:
        return []
    try:
        form = form_of(scope.use(node))
        parts = scope.spliced(node, form) if form else []
    except (GraphError, InvalidNode) as error:  # Such a use has no other form.
        why = error.faults[0].message if isinstance(error, GraphError) else str(error)
        return [fault if why in fault else f"{fault}; {why}"]
    above = (*above, _meaning(node, scope))
    if any(_meaning(part, scope) in above for part in parts):  # A lowering of booleans alone, for one.
        return [fault]
    enter(parts)
    found = (each for part in parts for each in lower(part, scope, write, form_of, enter, above))
    if (inner := next(found, None)) is not None:
        return [f"{fault}; and in other operators, {inner}"]
    return [] if parts else [fault]


def _meaning(node: Node, scope: Scope) -> tuple[object, ...]:
    """A node without the names of its values."""
    return node.operator, node.domain, node.attributes, *(scope.types[name] if name else None for name in node.inputs)


def lowered(
    graph: Graph,
    lacks: Callable[[Node, Scope], str | None],
    types: Types | None = None,
    names: Names | None = None,
) -> Graph:
    """``graph`` in operators that a target has; ``lacks`` says why it does not have a node, or ``None``.

    The values of a body have ``types``, and new ones get ``names``.

    Raises ``RefusalError`` with all that has no counterpart in the end.
    """
    scope, nodes = Scope.of(graph, types), list[Node]()
    scope = scope._replace(names=names or scope.names)

    def write(node: Node) -> None:
        for name, body in bodies(node):
            with suppress(InvalidNode):  # A branch that is never taken may not fit.
                inside = (lowered(body, lacks, body_types(scope.use(node), name), names),)
                node = replace(node, attributes={**node.attributes, name: inside})
        if fault := lacks(node, scope):
            raise RefusalError(fault)
        nodes.append(node)

    if faults := [fault for node in graph.nodes for fault in lower(node, scope, write)]:
        raise RefusalError(*faults)
    made = replace(graph, nodes=tuple(nodes))
    return replace(made, nodes=needed(made, made.outputs))
