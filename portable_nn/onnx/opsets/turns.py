"""Loops of other programs in a form that shows how many turns they take, and the sizes of what each reads.

Exporters write ``while t < n: t += 1`` as the condition of a Loop, and a step as ``x[t : t + 1]``: the number of turns
and the size of a step do not depend on the data, but seem to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from portable_nn.core.graph import Node, Tensor
from portable_nn.operators import OperatorContext, Symbol, Type, Types, cast, constant, emit, integers
from portable_nn.operators.control.bodies import Body, inferred
from portable_nn.operators.elements import same
from portable_nn.operators.registry import INTEGERS, operator_of
from portable_nn.rewrites.scope import Scope


class _Ahead(NamedTuple):
    """A value of a body: a number that the body is given, and how much more."""

    origin: str
    by: int


class _Limit(NamedTuple):
    """A largest number of turns: what a value outside holds, or 0, and so much more."""

    outside: str
    more: int


class _Counters(NamedTuple):
    """The values of the body of a Loop that count.

    Attributes:
        ahead: those that are a number which the body is given, and a constant more.
        starts: the inputs of the body that are one more in each turn, and their first values.
        given: the values outside that stay the same in all turns, by their names in the body.
        types: the types of the values of the body.
    """

    ahead: Mapping[str, _Ahead]
    starts: Mapping[str, int]
    given: Mapping[str, str]
    types: Types

    def limit(self, counter: str, end: str, more: int) -> _Limit | None:
        """The number of turns after which a counter is no longer less than its ``end``."""
        ahead, last = self.ahead.get(counter), self.ahead.get(end)
        if ahead is None or ahead.origin not in self.starts:
            return None
        more += 1 - self.starts[ahead.origin] - ahead.by
        if last and last.origin in self.given:
            return _Limit(self.given[last.origin], last.by + more)
        known = _whole(self.types[end])
        return None if known is None else _Limit("", known + more)


def in_known_turns(
    node: Node, use: OperatorContext, body: Body, scope: Scope, earlier: Iterable[Node]
) -> tuple[list[Node], Node, tuple[Node, ...]]:
    """Nodes before a Loop, the Loop, and the nodes of its body, with no sizes that depend on data and need not.

    A condition that a counter ends becomes a number of turns. A Slice from a counter to the next number becomes a
    Gather, which refuses a step beyond the end, where the Slice is empty. ``earlier`` are the nodes before the Loop.
    """
    if not body.graph.outputs:  # The operator's own rule says that there must be some.
        return [], node, body.graph.nodes
    graph, counters = body.graph, _counters(node, use, body)
    nodes = tuple(_gathered(graph.nodes, counters))
    made, makers = graph.outputs[0], _makers(nodes)
    limits = [] if counters.types[made].constant else list(_limits(makers.get(made), makers, counters.limit))
    found = [each for each in limits if each]
    if not found:
        return [], node, nodes
    turns, [most, start] = scope.names.fresh(f"{node.name}.turns"), node.inputs[:2]
    is_read = made in graph.outputs[1:] or any(made in each.inputs for each in nodes)
    ends, least = None not in limits and not is_read, 1
    if ends:
        always = Node(makers[made].name, "Constant", (), (made,), {"value": Tensor("bool", (), (1,))})
        nodes = tuple(always if each is makers[made] else each for each in nodes)
        if start and _begins_as(start, found, _makers(earlier), scope.types):
            start, least = "", 0
    asked = Node(turns, "Min", (*(each.outside for each in found), most), (turns,))
    before = scope.spliced(asked, lambda *given: _smallest(given, [each.more for each in found], least))
    return before, replace(node, inputs=(turns, start, *node.inputs[2:])), nodes


def _makers(nodes: Iterable[Node]) -> dict[str, Node]:
    return {name: each for each in nodes for name in each.outputs}


def _smallest(given: Sequence[Symbol | None], more: Sequence[int], least: int) -> Symbol:
    """The smallest of ``given`` numbers, with so much ``more``, and no less than ``least``; or the last, if less."""
    *limits, most = [each and cast(emit("Reshape", each, integers([])), "int64") for each in given]
    counts = [each + by if each else constant(by, "int64") for each, by in zip(limits, more, strict=True)]
    smallest = emit("Min", *counts) if counts[1:] else counts[0]
    turns = emit("Max", smallest, constant(least, "int64"))
    return emit("Min", turns, most) if most else turns


def _begins_as(start: str, limits: Sequence[_Limit], makers: Mapping[str, Node], types: Types) -> bool:
    """True if a condition before a Loop says that there is at least one turn by its ``limits``."""

    def origin(name: str) -> str:
        while name in makers and _is_same(makers[name]):
            name = makers[name].inputs[0]
        return name

    def first(counter: str, end: str, more: int) -> _Limit | None:
        begun, last = _whole(types[counter]), _whole(types[end])
        return None if begun is None else _Limit("" if last is not None else origin(end), (last or 0) + more - begun)

    return [*_limits(makers.get(start), makers, first)] == [_Limit(origin(name), more) for name, more in limits]


def _limits(
    node: Node | None, makers: Mapping[str, Node], limit: Callable[[str, str, int], _Limit | None]
) -> Iterator[_Limit | None]:
    """The limits of a condition, all of which must hold; ``None`` for what is no limit of a counter."""
    if node and (node.operator == "And" or _is_same(node)):
        for name in node.inputs if node.operator == "And" else node.inputs[:1]:
            yield from _limits(makers.get(name), makers, limit)
    elif node and is_order(node.operator):
        counter, end = node.inputs[:: 1 if node.operator.startswith("Less") else -1]
        yield limit(counter, end, int(node.operator.endswith("OrEqual")))
    else:
        yield None


def is_order(operator: str) -> bool:
    """True for an operator that says of two numbers which is larger."""
    return operator.startswith(("Less", "Greater"))


def _is_same(node: Node) -> bool:
    """True if a node makes the one number that it is given first."""
    return operator_of(node).constant is same or node.operator == "Cast"


def _whole(type: Type) -> int | None:
    """The one whole number that a value is known to be."""
    match type.constant:
        case (int() | float() as number,) if number == int(number):
            return int(number)
    return None


def _counters(node: Node, use: OperatorContext, body: Body) -> _Counters:
    """The counters of a Loop with a body in the vocabulary."""
    graph = body.graph
    types = inferred(use, body, use.operator.entries(use) if use.operator.entries else ())
    turn, _, *states = (value.name for value in graph.inputs)
    outside = {value.name: node.inputs[place] for value, place in zip(graph.parameters, body.places, strict=True)}
    ahead = _ahead(graph.nodes, types, (turn, *states, *outside))
    starts = {turn: 0}
    for place, (name, made) in enumerate(zip(states, graph.outputs[1:], strict=False), 2):
        start = _whole(use.type(place))
        if ahead.get(made) == (name, 0):
            outside[name] = node.inputs[place]
        elif ahead.get(made) == (name, 1) and start is not None:
            starts[name] = start
    return _Counters(ahead, starts, outside, types)


def _ahead(nodes: Iterable[Node], types: Types, given: Iterable[str]) -> dict[str, _Ahead]:
    """The values that are one of the whole numbers among those ``given``, and a constant more."""
    ahead = {
        name: _Ahead(name, 0) for name in given if types[name].dtype in INTEGERS and types[name].shape in ((), (1,))
    }
    for node in nodes:
        first, second = (*node.inputs, "", "")[:2]
        if _is_same(node) and first in ahead:
            ahead[node.outputs[0]] = ahead[first]
        for one, other in ((first, second), (second, first)) if node.operator == "Add" else ():
            if one in ahead and (more := _whole(types[other])) is not None:
                ahead[node.outputs[0]] = _Ahead(ahead[one].origin, ahead[one].by + more)
    return ahead


def _gathered(nodes: Sequence[Node], counters: _Counters) -> Iterator[Node]:
    """Nodes with a Gather for each Slice from a counter, which is not negative, to the next number."""
    nowhere = _Ahead("", 0)
    for node in nodes:
        x, start, end, axis, step = (*node.inputs, "", "", "", "", "")[:5] if node.operator == "Slice" else [""] * 5
        first, last = counters.ahead.get(start, nowhere), counters.ahead.get(end, nowhere)
        begun = counters.starts.get(first.origin)
        if begun is not None and begun + first.by >= 0 and last == (first.origin, first.by + 1):
            along = _whole(counters.types[axis]) if axis else 0
            if along is not None and (not step or _whole(counters.types[step]) == 1):
                node = replace(node, operator="Gather", inputs=(x, start), attributes={"axis": along})
        yield node
