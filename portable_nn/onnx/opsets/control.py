"""Branches and loops of a model: what is decided is put in place of the node, and other bodies are translated."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Attribute, Node, all_nodes, own_inputs
from portable_nn.core.limits import BOUNDLESS, NODES, UNROLLED
from portable_nn.onnx.opsets.turns import in_known_turns
from portable_nn.operators import InvalidNode, OperatorContext, Type, Types, add_types
from portable_nn.operators.control.bodies import Body, bodies_of, types_in
from portable_nn.operators.control.branches import taken
from portable_nn.operators.control.loops import ScanUse, scan_of
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.scope import Scope

Lift = Callable[[Node, Scope, bool], Iterator[Node]]
"""Translates a node that is put in the place of one with bodies; while it is tried whether that can be done."""

Translate = Callable[[Sequence[Node], Types, Collection[str]], Sequence[Node]]
"""Translates the nodes of a body, by the types of what they read and the names that are read of them."""


class StaysError(Exception):
    """A loop stays one, and so does each that it is in. Never leaves the package."""


def control(
    node: Node,
    scope: Scope,
    lift: Lift,
    translate: Translate,
    unrolled: list[str],
    earlier: Iterable[Node],
    trying: bool,
) -> list[Node]:
    """A node with bodies in the form of the vocabulary.

    Args:
        node: the node, whose bodies are of an older opset.
        scope: what is known before it.
        lift: translates a node that is put in its place.
        translate: translates the nodes of a body that stays one.
        unrolled: gets the names of loops whose turns become nodes, and how many these are.
        earlier: the nodes before it.
        trying: whether the turns of a loop around it are tried to become nodes. Raises ``StaysError`` then for a loop.
    """
    use = scope.use(node)
    use.operator.check(node.attributes, use.types, len(node.outputs))
    found = bodies_of(use)
    if node.operator != "If":
        inner = scope._replace(types=ChainMap({}, scope.types))
        try:
            nodes = list(_turns(node, use, found["body"], inner, lift))
        except (StaysError, GraphError, InvalidNode):  # What does not fit is reported of the body itself.
            if trying:
                raise StaysError from None
        else:
            unrolled.append(f"'{node.name}'")
            return nodes
    elif name := taken(use):
        types_in(use, body := found[name], ())
        wishes = dict(zip(body.graph.outputs, node.outputs, strict=False))
        inner = scope._replace(types=ChainMap({}, scope.types))
        placed, outputs = _placed(body, node, (), scope, wishes)
        return [*_lifted(placed, inner, lift, trying=trying), *_named(node, outputs, scope)]
    return _translated(node, use, found, translate, scope, earlier)


def _lifted(nodes: Sequence[Node], scope: Scope, lift: Lift, *, trying: bool) -> Iterator[Node]:
    """Nodes in the form of the vocabulary, whose types are added to the scope."""
    for node in nodes:
        for each in lift(node, scope, trying):
            add_types(each, scope.types)
            yield each


def _translated(
    node: Node,
    use: OperatorContext,
    found: Mapping[str, Body],
    translate: Translate,
    scope: Scope,
    earlier: Iterable[Node],
) -> list[Node]:
    """A node that stays, with translated bodies, which read from outside what they need; after nodes that it needs."""
    ready, outside, before = dict[str, Attribute](), list[str](), list[Node]()
    entries = use.operator.entries(use) if use.operator.entries else ()
    for name, body in found.items():
        names = Names(())
        try:
            made = translate(body.graph.nodes, types_in(use, body, entries), body.graph.outputs)
            nodes = tuple(replace(each, name=names.fresh(each.name)) for each in made)
            if node.operator == "Loop":
                before, node, nodes = in_known_turns(
                    node, use, body._replace(graph=replace(body.graph, nodes=nodes)), scope, earlier
                )
        except GraphError as error:
            faults = (Fault(str(node), f"in '{body.graph.name}', {fault}") for fault in error.faults)
            raise GraphError(faults) from None
        read = {each for inner in nodes for each in inner.inputs}.union(body.graph.outputs)
        places = dict(zip(body.graph.parameters, body.places, strict=True))
        kept = [value for value in body.graph.parameters if value.name in read]
        outside += [node.inputs[places[value]] for value in kept]
        ready[name] = (replace(body.graph, nodes=nodes, parameters=tuple(kept)),)
    return [*before, replace(node, inputs=(*own_inputs(node), *outside), attributes={**node.attributes, **ready})]


def _placed(
    body: Body, node: Node, entries: Sequence[str], scope: Scope, wishes: Mapping[str, str]
) -> tuple[list[Node], list[str]]:
    """The nodes of a body under new names, and the names of its outputs.

    Args:
        body: the body.
        node: the node that has it.
        entries: the values that its inputs are.
        scope: gives the names.
        wishes: the names that some values get.
    """
    given = (*entries, *(node.inputs[place] for place in body.places))
    formal = [value.name for value in (*body.graph.inputs, *body.graph.parameters)]
    if len(formal) != len(given):
        raise StaysError
    names, nodes, used = dict(zip(formal, given, strict=True)), list[Node](), set[str]()
    for each in body.graph.nodes:
        for name in filter(None, each.outputs):
            wish = wishes.get(name, "")
            names[name] = wish if wish and wish not in used else scope.names.fresh(name)
            used.add(names[name])
        inputs, outputs = ([names.get(name, name) for name in side] for side in (each.inputs, each.outputs))
        nodes.append(replace(each, name=scope.names.fresh(each.name), inputs=tuple(inputs), outputs=tuple(outputs)))
    return nodes, [names.get(name, name) for name in body.graph.outputs]


def _named(node: Node, made: Sequence[str], scope: Scope) -> Iterator[Node]:
    """Copies of what is not under the names of the outputs of ``node`` yet."""
    for name, output in zip(made, node.outputs, strict=False):
        if output and name != output:
            yield Node(scope.names.fresh(f"{node.name}.{output}"), "Identity", (name,), (output,))


def _turns(node: Node, use: OperatorContext, body: Body, scope: Scope, lift: Lift) -> Iterator[Node]:
    """The nodes of all turns of a loop. Raises ``StaysError`` where these are too many, or their number is unknown."""
    scan = scan_of(use) if use.operator.name == "Scan" else None
    count = scan.states if scan else body.places.start - 2
    states, written = list(node.inputs[0 if scan else 2 :][:count]), list[list[str]]()
    most, going = _steps(scan) if scan else _begin(use)
    turn, size = 0, sum(1 for _ in all_nodes(body.graph))
    while going and turn != most:
        if turn >= UNROLLED or (turn + 1) * size > NODES:
            raise StaysError
        before = _slices(node, scan, turn, scope) if scan else _counted(node, turn, scope)
        for each in before:
            add_types(each, scope.types)
            yield each
        given = [each.outputs[0] for each in before if each.operator != "Constant" or not scan]
        nodes, made = _placed(body, node, [*states, *given] if scan else [*given, *states], scope, {})
        for each in _lifted(nodes, scope, lift, trying=True):
            size += 1
            yield each
        if not scan:
            condition, *made = made or [""]
            going = _goes_on(scope.types.get(condition))
        states, turn = made[:count], turn + 1
        written.append(made[count:])
    if not written and len(node.outputs) > count:
        raise StaysError
    yield from _named(node, states, scope)
    for place, (names, output) in enumerate(zip(zip(*written, strict=True), node.outputs[count:], strict=False)):
        yield from _joined(names, output, (scan.out_axes[place], scan.out_backwards[place]) if scan else (0, 0), scope)


def _goes_on(condition: Type | None) -> bool:
    if condition is None or not condition.constant:
        raise StaysError
    return bool(condition.constant[0])


def _counted(node: Node, turn: int, scope: Scope) -> list[Node]:
    """The number of a turn of a Loop, and that it goes on."""
    return [scope.scalar(f"{node.name}.turn", turn, "int64"), scope.scalar(f"{node.name}.goes_on", 1, "bool")]


def _slices(node: Node, scan: ScanUse, turn: int, scope: Scope) -> list[Node]:
    """The nodes that take what a Scan reads in a turn."""
    made = list[Node]()
    for name, axis, back in zip(node.inputs[scan.states :], scan.axes, scan.backwards, strict=False):
        place = scope.scalar(f"{node.name}.place", int(scan.steps) - 1 - turn if back else turn, "int64")
        step = scope.names.fresh(f"{name}.step")
        made += [place, Node(step, "Gather", (name, place.outputs[0]), (step,), {"axis": axis})]
    return made


def _joined(names: Sequence[str], output: str, along: tuple[int, int], scope: Scope) -> Iterator[Node]:
    """The results of all turns along an axis, perhaps backwards."""
    axis, back = along
    constant, parts = scope.constant(f"{output}.axis", [axis]), [scope.names.fresh(f"{name}.part") for name in names]
    yield constant
    for name, part in zip(names, parts, strict=True):
        yield Node(part, "Unsqueeze", (name, constant.outputs[0]), (part,))
    if output:
        yield Node(scope.names.fresh(output), "Concat", tuple(parts[:: -1 if back else 1]), (output,), {"axis": axis})


def _steps(scan: ScanUse) -> tuple[int, bool]:
    if not isinstance(scan.steps, int):
        raise StaysError
    return scan.steps, True


def _begin(use: OperatorContext) -> tuple[int, bool]:
    """The largest number of turns of a Loop, and whether there is one. Raises ``StaysError`` where that is unknown."""
    known = use.type(0).constant if use.has(0) else (BOUNDLESS,)
    most = known[0] if known else ""
    if not isinstance(most, int) or UNROLLED < most < BOUNDLESS:
        raise StaysError
    return max(0, most), _goes_on(use.type(1)) if use.has(1) else True
