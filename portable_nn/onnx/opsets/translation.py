"""Conversion of nodes between opsets: from ``OPSET``, which every graph has, to another one and back.

Where an operator had another form at some version, ``forms`` has the translation. Whether a version can express a node
is looked up in the standard itself. An operator that a version lacks is written as its ``lowering``, and a use that
onnxruntime cannot run as the ``substitute`` of its operator.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from msgspec.structs import replace

from portable_nn.core.errors import Fault, GraphError, RefusalError, UsageError, listed
from portable_nn.core.graph import OPSET, Attribute, Graph, Node, Tensor, Value, bodies, links, own_inputs, trimmed
from portable_nn.format.packed import PACKED
from portable_nn.onnx.opsets.control import control
from portable_nn.onnx.opsets.explicit_pads import explicit, numbered
from portable_nn.onnx.opsets.folding import Folder
from portable_nn.onnx.opsets.forms import Change, changes_of
from portable_nn.onnx.opsets.microsoft import of_microsoft
from portable_nn.onnx.opsets.newer import has_newer, in_vocabulary
from portable_nn.onnx.opsets.standard import Signature, check_form, is_same_at, signature
from portable_nn.onnx.opsets.support import noted
from portable_nn.operators import (
    DTYPE_CODES,
    REGISTRY,
    InvalidNode,
    OperatorContext,
    Type,
    Types,
    add_types,
    lookup,
    operator_of,
)
from portable_nn.operators.control.bodies import body_types
from portable_nn.operators.narrow import NARROW, narrow_type
from portable_nn.operators.opaque.nodes import completed, is_opaque
from portable_nn.rewrites.lowering import lower
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.scope import Scope, without

OLDEST_WRITTEN: Final = 13
"""The oldest opset that is written."""

# -- to an opset


_TYPE_NAMES: Final = {"float32": "float", "float64": "double"}


def _complaints(node: Node, opset: int, scope: Scope) -> Iterator[str]:
    """Why version ``opset`` of the standard cannot express ``node``."""
    known = signature(node.operator, opset)
    if known is None or node.domain:
        yield "there is no such operator"
        return
    if any(change.older is None and opset < change.since for change in changes_of(node.operator)):
        yield "there it means something else"
    for name, value in sorted(node.attributes.items()):
        if name not in known.attributes:
            yield f"there is no attribute '{name}'"
        elif isinstance(value, str) and opset < lookup(node.operator).portability.since.get((name, value), 0):
            yield f"there is no {name} '{value}'"
    if (code := narrow_type(node)) and opset < NARROW[code].since:
        yield f"there is no element type {NARROW[code].name}"
    yield from _input_complaints(node, known, scope)


def _input_complaints(node: Node, known: Signature, scope: Scope) -> Iterator[str]:
    """Why an operator of a version cannot have these inputs."""
    inputs, packed = own_inputs(node), scope.packed if reads_packed(node, scope.packed) else {}
    if len(inputs) > known.most:
        yield f"there are at most {known.most} inputs, and it has {len(inputs)}"
        return
    for index, name in enumerate(inputs):
        dtype = scope.types[name].dtype if name in scope.types else "int64"  # A constant that a translation has added.
        dtype = packed.get(name, dtype)
        if name and f"tensor({_TYPE_NAMES.get(dtype, dtype)})" not in known.inputs[min(index, len(known.inputs) - 1)]:
            yield f"there it is not defined for {dtype}"


def _opaque_complaints(node: Node, opset: int, scope: Scope) -> Iterator[str]:
    """Why version ``opset`` of the standard cannot express an opaque node."""
    if not is_same_at(node, opset):
        yield "there it may mean something else"


def _without_new_defaults(node: Node, opset: int) -> Node:
    """``node`` without attributes that have their default values and that version ``opset`` lacks."""
    known, table = signature(node.operator, opset), operator_of(node).attributes
    silent = [
        name
        for name, value in node.attributes.items()
        if known and name in table and name not in known.attributes and table[name].default == value
    ]
    return replace(node, attributes=without(node, *silent)) if silent else node


def _in_older_form(node: Node, opset: int, scope: Scope, version: int = OPSET) -> Iterator[Node]:
    """``node`` of ``version`` in the form of version ``opset``, undoing one change after the other if possible."""
    changes = (change for change in reversed(changes_of(node.operator)) if opset < change.since <= version)
    change = next(changes, None)
    if change is None or change.older is None:
        yield _without_new_defaults(node, opset)
        return
    for each in change.older(node, scope):
        form = change.since - 1 if each.operator == node.operator else OPSET
        yield from _in_older_form(each, opset, scope, form)


def _express(node: Node, opset: int, scope: Scope, made: list[Node]) -> list[str]:
    """Add ``node`` at version ``opset`` to ``made``, in other operators if need be; why that version cannot express it.

    Raises ``InvalidNode`` where runtimes would disagree on it.
    """

    def write(each: Node) -> None:
        if _substitute(scope.use(each), opset, scope):
            raise RefusalError("there are runtimes that cannot run it")
        each, complain = explicit(each, scope.types), _opaque_complaints if is_opaque(each) else _complaints
        try:
            nodes = list(_in_older_form(each, opset, scope))
        except GraphError as error:  # The translation to other operators does not cover this use.
            raise RefusalError(*(fault.message for fault in error.faults)) from None
        if complaints := dict.fromkeys(text for part in nodes for text in complain(part, opset, scope)):
            raise RefusalError(*complaints)
        made.extend(_with_bodies(part, opset, scope) for part in nodes)

    return lower(node, scope, write, lambda use: _substitute(use, opset, scope) or use.operator.lowering)


class Written(Graph, frozen=True):
    """A body at an opset, with the types of its inputs and of its ``results``: onnxruntime asks a model for them."""

    results: tuple[Value, ...] = ()


def _with_bodies(node: Node, opset: int, scope: Scope) -> Node:
    """``node`` with its bodies at version ``opset``. Raises ``RefusalError``."""
    graphs = dict[str, Attribute]()
    for name, body in bodies(node):
        try:
            types = body_types(scope.use(node), name)
            nodes = tuple(to_opset(body, types, opset, portable=scope.portable))
            inputs, results = (
                tuple(Value(each, *types[each][:2]) for each in side)
                for side in ([value.name for value in body.inputs], body.outputs)
            )
            graphs[name] = (Written(inputs, body.outputs, body.parameters, nodes, body.name, results),)
        except UsageError as error:
            raise RefusalError(f"in '{body.name}', {error}") from None
    return replace(node, attributes={**node.attributes, **graphs}) if graphs else node


def _substitute(use: OperatorContext, opset: int, scope: Scope) -> Callable[..., Any] | None:
    """The function that writes a use which onnxruntime cannot run at version ``opset``, or, if portable, another
    runtime."""
    facts = use.operator.portability
    rule = facts.portable if scope.portable else None
    return (rule and rule(use)) or (facts.substitute and facts.substitute(use, opset)) or None


def to_opset(
    graph: Graph,
    types: Types,
    opset: int,
    *,
    portable: bool = False,
    packed: Mapping[str, str] = MappingProxyType({}),
) -> list[Node]:
    """The nodes of ``graph`` in their form at version ``opset``, with explicit pads.

    If ``portable``, they are such as all runtimes take; otherwise onnxruntime alone counts. Values that are ``packed``
    (see ``packed_at``) are read as they are, or behind a cast to the type that holds them here.

    Raises:
        UsageError: that version cannot express some nodes, or runtimes would disagree on them; each is listed, with
            the lowest opset that can.
    """
    scope = Scope.of(graph, types, portable=portable)._replace(packed=packed)
    nodes: list[Node] = []
    faults: list[str] = []
    for node in graph.nodes:
        try:
            found = _express(node, opset, scope, nodes)
        except InvalidNode as invalid:
            faults.append(f"node {node}: {invalid}")
            continue
        if found:
            lowest = next((v for v in range(opset + 1, OPSET + 1) if not _express(node, v, scope, [])), None)
            advice = f"opset {lowest} is the lowest that can" if lowest else "no opset can"
            faults.append(f"node {found[0]}; {advice}")
    if faults:
        raise UsageError(listed(faults, f"this network cannot be written at opset {opset}"))
    kept = _cast(_without_left_over(nodes, graph), scope, graph.outputs)
    return [_spelled(node, opset) for node in _apart(kept, scope.names)] if portable else kept


def packed_at(graph: Graph, opset: int) -> dict[str, str]:
    """The element types, by value, of packed parameters that version ``opset`` has, and of zero points beside them.

    An output has the type that holds it here.
    """
    lacked = {name for name, code in PACKED.items() if opset < NARROW[code].since}
    found = {each.name: each.packed for each in graph.parameters if each.packed and each.packed not in lacked}
    constants = {node.outputs[0] for node in graph.nodes if node.operator == "Constant"}
    for node in graph.nodes:
        if node.operator == "DequantizeLinear" and node.inputs[0] in found:
            found |= dict.fromkeys(constants.intersection(node.inputs[2:]), found[node.inputs[0]])
    return {name: packed for name, packed in found.items() if name not in graph.outputs}


def reads_packed(node: Node, packed: Mapping[str, str]) -> bool:
    """True if a node reads what is packed as it is: a cast, and a dequantisation with a zero point of the same type."""
    kinds = [packed.get(name) for name in trimmed(node.inputs)]
    return node.operator == "Cast" or (node.operator == "DequantizeLinear" and kinds[1:] in ([None], [None, kinds[0]]))


def _cast(nodes: list[Node], scope: Scope, outputs: Collection[str]) -> list[Node]:
    """``nodes`` with casts to the types that hold narrow ones here, also before what reads no packed value as it is.

    They stand behind each node that rounds to a narrow type, but before other casts.
    """
    if not scope.packed and not any(map(narrow_type, nodes)):
        return nodes
    others = {*outputs, *(name for node in nodes if node.operator != "Cast" for name in node.inputs)}
    made = list[Node]()
    for node in _held(nodes, scope):
        code = narrow_type(node)
        if code and NARROW[code].bits != 8:  # onnxruntime refuses the option for others than floats of 8 bits.
            node = replace(node, attributes=without(node, "saturate"))
        if code and node.outputs[0] in others:
            name = scope.names.fresh(f"{node.outputs[0]}.{NARROW[code].name}")
            made.append(replace(node, name=name, outputs=(name,)))
            node = Node(node.name, "Cast", (name,), node.outputs, {"to": DTYPE_CODES[NARROW[code].held]})
        made.append(node)
    return made


def _held(nodes: Iterable[Node], scope: Scope) -> Iterator[Node]:
    """``nodes`` with a cast of each packed value to the type that holds it here, before the first that needs it."""
    packed, held = scope.packed, dict[str, str]()
    for node in nodes:
        if not reads_packed(node, packed):
            for name in sorted({*packed} & {*node.inputs} - {*held}):
                to = NARROW[PACKED[packed[name]]].held
                held[name] = scope.names.fresh(f"{name}.{to}")
                yield Node(held[name], "Cast", (name,), (held[name],), {"to": DTYPE_CODES[to]})
            node = replace(node, inputs=tuple(held.get(each, each) for each in node.inputs))
        if node.operator == "Constant" and node.outputs[0] in packed:
            literal = cast("Tensor", node.attributes["value"])
            node = replace(node, attributes={"value": replace(literal, dtype=packed[node.outputs[0]])})
        yield node


def _apart(nodes: list[Node], names: Names) -> list[Node]:
    """``nodes`` with an Identity in each chain that a runtime takes for another operator."""
    makers = {name: node for node in nodes for name in node.outputs}
    found = dict[str, dict[str, Node]]()
    for node in nodes:
        for limit in operator_of(node).portability.limits:
            for reader, value in links(node, limit.after, makers) if limit.after else ():
                name = names.fresh(f"{value}.alone")
                identity = Node(name, "Identity", (value,), (name,))
                found.setdefault(reader.name, {}).setdefault(value, identity)
    if not found:
        return nodes
    made = list[Node]()
    for node in nodes:
        between = found.get(node.name, {})
        inputs = tuple(between[name].outputs[0] if name in between else name for name in node.inputs)
        made += [*between.values(), replace(node, inputs=inputs)]
    return made


def _spelled(node: Node, opset: int) -> Node:
    """``node`` with the defaults that runtimes misunderstand where they are left out."""
    known = signature(node.operator, opset)
    added = {
        name: each.default
        for name, each in operator_of(node).attributes.items()
        if each.spelled and name not in node.attributes and known and name in known.attributes
    }
    return replace(node, attributes={**node.attributes, **added}) if added else node


def _without_left_over(nodes: list[Node], graph: Graph) -> list[Node]:
    """``nodes`` without unread constants, which have become attributes."""
    read_before = {name for node in graph.nodes for name in node.inputs}
    unread = {name for node in graph.nodes for name in node.outputs} - read_before
    needed = {name for node in nodes for name in node.inputs}.union(graph.outputs, unread)
    return [node for node in nodes if node.operator != "Constant" or not needed.isdisjoint(node.outputs)]


# -- from an opset


class Translated(NamedTuple):
    """Nodes in the form of the vocabulary, notes on what was changed, and faults; invalid nodes are left out.

    ``refused`` says by their first outputs which opaque nodes are invalid, and why.
    """

    nodes: list[Node]
    notes: list[str]
    faults: list[Fault]
    refused: dict[str, str]


def translated(
    nodes: Sequence[Node],
    types: Types,
    opset: int,
    names: Names,
    outputs: Collection[str],
    folder: Folder | None = None,
) -> Translated:
    """``nodes``, as version ``opset`` has them, in the form of the vocabulary.

    Args:
        nodes: the nodes, in an order in which they can run.
        types: the types of the values that no node makes.
        opset: their version.
        names: gives names to new nodes and values.
        outputs: the values that are read after the last node.
        folder: holds the constant values before these nodes.
    """
    later, inputs = frozenset(outputs), {name for node in nodes for name in node.inputs}
    # Nodes may come one at a time, with the types and outputs of them all, which are not copied for each.
    known: ChainMap[str, Type] = ChainMap({}, types)  # type: ignore[arg-type]  # It writes into the first one alone.
    scope = Scope(known, names, later if inputs <= later else later | inputs)
    result: list[Node] = []
    notes: list[str] = []
    faults: list[Fault] = []
    refused = dict[str, str]()
    folder, unrolled = folder or Folder(names), list[str]()

    def in_body(inner: Sequence[Node], known: Types, read: Collection[str]) -> Sequence[Node]:
        found = translated(inner, known, opset, names, read)
        notes.extend(found.notes)
        if found.faults:
            raise GraphError(found.faults)
        return found.nodes

    def with_bodies(node: Node, scope: Scope, trying: bool = False) -> list[Node]:
        return control(node, scope, lift, in_body, unrolled, result, trying=trying)

    def lift(node: Node, scope: Scope, trying: bool) -> Iterator[Node]:
        return _lifted(node, opset, scope, partial(with_bodies, trying=trying))

    for node in nodes:
        try:
            if not node.domain and (_next_change(node, opset) or has_newer(node, opset)):
                check_form(node, opset)
            for each in _lifted(node, opset, scope, with_bodies):
                plain = numbered(each, scope.types)
                if plain != each:
                    before, after = _only_in(each, plain), _only_in(plain, each)
                    notes.append(f"node {node}: {before} is read as {after}")
                add_types(plain, scope.types)
                for made in folder.folded(plain, scope.types):
                    add_types(made, scope.types)
                    result.append(made)
        except InvalidNode as invalid:
            faults.append(Fault(str(node), f"at opset {opset}, {invalid}"))
            refused |= _refusal(node, invalid)
        except GraphError as error:
            faults.extend(error.faults)
    notes.extend(noted("nodes folded into constants", folder.replaced))
    if unrolled:
        notes.append(f"loops of few turns, of which each has nodes of its own: {', '.join(unrolled)}")
    return Translated(folder.without_taken(result, later), notes, faults, refused)


def _refusal(node: Node, invalid: InvalidNode) -> dict[str, str]:
    """Why an opaque node is invalid, by its outputs; nothing for others."""
    return dict.fromkeys(filter(None, node.outputs) if is_opaque(node) else (), str(invalid))


def _lifted(node: Node, opset: int, scope: Scope, with_bodies: Callable[[Node, Scope], list[Node]]) -> Iterator[Node]:
    """``node`` of version ``opset`` in the form of the vocabulary, one change after the other.

    ``with_bodies`` translates one that has bodies.

    A node stays as it is where the type of an input is unknown: the check of the whole graph reports why.
    """
    node = node if node.domain else _without_defaults(node, opset)
    change = None if node.domain else _next_change(node, opset)
    if any(name and name not in scope.types for name in node.inputs):
        yield node
        return
    if is_opaque(node):
        yield completed(node, scope.types)
        return
    if node.domain:
        yield from of_microsoft(node, scope)
        return
    if any(bodies(node)):
        yield from with_bodies(node, scope)
        return
    if change is None:
        yield from in_vocabulary(node, opset, scope)
        return
    for each in change.newer(node, scope):
        yield from _lifted(each, change.since, scope, with_bodies)


def _next_change(node: Node, opset: int) -> Change | None:
    return next((change for change in changes_of(node.operator) if opset < change.since), None)


def _only_in(node: Node, other: Node) -> str:
    """The attributes of ``node`` that ``other`` does not have."""
    different = sorted(node.attributes.items() - other.attributes.items())
    return ", ".join(f"{name} {value}" for name, value in different)


def _without_defaults(node: Node, opset: int) -> Node:
    """``node`` without attributes that have their default values and that the vocabulary lacks."""
    known, operator = signature(node.operator, opset), REGISTRY.get(("", node.operator))
    silent = [
        name
        for name, value in node.attributes.items()
        if known and operator and name not in operator.attributes and known.defaults.get(name) == value
    ]
    return replace(node, attributes=without(node, *silent)) if silent else node
