"""One vocabulary, many opsets: where the form of an operator depends on the version of the standard.

A graph has every operator as it is at ``OPSET``. ``CHANGES`` lists the operators whose form was another one before
some version, with the translation to it and back. What no translation can express is found by asking the standard
itself: the ``onnx`` package knows the attributes, inputs and types of each operator at each version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from msgspec.structs import replace
from onnx import defs

from portable_nn.errors import UsageError, listed
from portable_nn.graph import OPSET, Attribute, Graph, Node, Tensor
from portable_nn.operators import Type, lookup

OLDEST: Final = 13
"""The first opset that graphs are written at and read from."""

NEWEST: Final = 28
"""The last opset that graphs are read from. From ``OPSET`` on, only element types were added to the vocabulary."""


class Names:
    """Names for what a translation adds: none that is taken already."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)

    def fresh(self, wish: str) -> str:
        """``wish``, numbered if it is taken; taken from now on."""
        name, number = wish, 1
        while name in self.taken:
            number += 1
            name = f"{wish}_{number}"
        self.taken.add(name)
        return name


class Scope(NamedTuple):
    """What surrounds a node: the types of all values, and names that are free."""

    types: Mapping[str, Type]
    names: Names

    def numbers(self, name: str) -> tuple[int, ...]:
        """The elements of a value that the shape rules know to be constant; none for the value that is left out."""
        return tuple(int(item) for item in self.types[name].content or ()) if name else ()

    def constant(self, wish: str, values: Sequence[int]) -> Node:
        """A new node that makes the 1-D int64 array ``values``."""
        name = self.names.fresh(wish)
        return Node(name, "Constant", (), (name,), {"value": Tensor("int64", (len(values),), tuple(values))})


Translation = Callable[[Node, Scope], list[Node]]


def _given(node: Node, index: int) -> str:
    """The name of an input, ``""`` where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else ""


def _without(node: Node, *names: str) -> dict[str, Attribute]:
    return {name: value for name, value in node.attributes.items() if name not in names}


def _same(node: Node, scope: Scope) -> list[Node]:
    return [node]


def _axes_as_attribute(node: Node, scope: Scope) -> list[Node]:
    axes = scope.numbers(_given(node, 1))
    if not axes:  # All of them, or none at all, which the older form has no words for: the check finds that.
        return [replace(node, inputs=node.inputs[:1])]
    attributes = {**_without(node, "noop_with_empty_axes"), "axes": axes}
    return [replace(node, inputs=node.inputs[:1], attributes=attributes)]


def _axes_as_input(node: Node, scope: Scope) -> list[Node]:
    axes = node.attributes.get("axes")
    if not isinstance(axes, tuple):
        return [node]
    constant = scope.constant(f"{node.name}.axes", [int(axis) for axis in axes])
    return [constant, replace(node, inputs=(*node.inputs, *constant.outputs), attributes=_without(node, "axes"))]


def _pads_of_all_axes(node: Node, scope: Scope) -> list[Node]:
    if not _given(node, 3):
        return [replace(node, inputs=node.inputs[:3])]
    rank = len(scope.types[node.inputs[0]].shape)
    pads, axes = scope.numbers(node.inputs[1]), scope.numbers(node.inputs[3])
    full = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        full[axis % rank], full[axis % rank + rank] = pads[place], pads[place + len(axes)]
    constant = scope.constant(f"{node.name}.pads", full)
    data, _, value, _ = node.inputs
    return [constant, replace(node, inputs=(data, *constant.outputs, value) if value else (data, *constant.outputs))]


def _slice_of_shape(node: Node, scope: Scope) -> list[Node]:
    if not node.attributes:
        return [node]
    rank = len(scope.types[node.inputs[0]].shape)
    first, last, _ = slice(node.attributes.get("start"), node.attributes.get("end")).indices(rank)
    whole = scope.names.fresh(f"{node.name}.whole")
    starts, ends = scope.constant(f"{node.name}.start", [first]), scope.constant(f"{node.name}.end", [max(first, last)])
    return [
        Node(whole, "Shape", node.inputs, (whole,)), starts, ends,
        Node(node.name, "Slice", (whole, *starts.outputs, *ends.outputs), node.outputs),
    ]  # fmt: skip


class Change(NamedTuple):
    """A new form: the version that brought it, the way back to the old form, and the way from the old to the new."""

    since: int
    older: Translation
    newer: Translation


_REDUCTIONS: Final = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSumSquare",
)  # fmt: skip
"""The reductions but for ReduceSum, which had its new form before all others, at opset 13."""

CHANGES: Final[Mapping[str, Change]] = {
    **dict.fromkeys(_REDUCTIONS, Change(18, _axes_as_attribute, _axes_as_input)),
    "Pad": Change(18, _pads_of_all_axes, _same),
    "Shape": Change(15, _slice_of_shape, _same),
}


class Signature(NamedTuple):
    """What the standard says of an operator at one version: the types of its attributes and of its inputs."""

    attributes: Mapping[str, int]
    inputs: Sequence[frozenset[str]]
    most: int


@cache
def signature(operator: str, opset: int) -> Signature | None:
    """The signature of a standard operator, or ``None`` where that version has no such operator."""
    try:
        schema = defs.get_schema(operator, opset, "")
    except defs.SchemaError:
        return None
    attributes = {name: int(attribute.type) for name, attribute in schema.attributes.items()}  # type: ignore[call-overload]
    return Signature(attributes, [frozenset(formal.types) for formal in schema.inputs], schema.max_input)


_TYPE_NAMES: Final = {"float32": "float", "float64": "double"}


def _complaints(node: Node, opset: int, types: Mapping[str, Type]) -> Iterator[str]:
    """What version ``opset`` of the standard lacks of ``node``."""
    known = signature(node.operator, opset)
    if known is None or node.domain:
        yield "there is no such operator"
        return
    for name in sorted(node.attributes.keys() - known.attributes.keys()):
        yield f"there is no attribute '{name}'"
    if len(node.inputs) > known.most:
        yield f"there are at most {known.most} inputs, and it has {len(node.inputs)}"
        return
    for index, name in enumerate(node.inputs):
        dtype = types[name].dtype if name in types else "int64"  # What a translation added.
        if name and f"tensor({_TYPE_NAMES.get(dtype, dtype)})" not in known.inputs[min(index, len(known.inputs) - 1)]:
            yield f"there it is not defined for {dtype}"


def _said_by_saying_nothing(node: Node, opset: int) -> Node:
    """``node`` without attributes that version ``opset`` lacks and that have their default values."""
    known, table = signature(node.operator, opset), lookup(node.operator, node.domain).attributes
    silent = [
        name for name, value in node.attributes.items()
        if known and name in table and name not in known.attributes and table[name].default == value
    ]  # fmt: skip
    return replace(node, attributes=_without(node, *silent)) if silent else node


def _expressed(node: Node, opset: int, scope: Scope) -> tuple[list[Node], list[str]]:
    """``node`` at version ``opset``, and what of it cannot be said there."""
    change = CHANGES.get(node.operator)
    older = change.older(node, scope) if change and opset < change.since else [node]
    nodes = [_said_by_saying_nothing(each, opset) for each in older]
    complaints = (complaint for each in nodes for complaint in _complaints(each, opset, scope.types))
    return nodes, list(dict.fromkeys(complaints))


def to_opset(graph: Graph, types: Mapping[str, Type], opset: int) -> list[Node]:
    """The nodes of ``graph`` in the form that they have at version ``opset``.

    Raises:
        UsageError: they cannot be said there: every such node, and the lowest opset that can.
    """
    scope = Scope(types, Names([*graph.values(), *(node.name for node in graph.nodes)]))
    nodes: list[Node] = []
    faults: list[str] = []
    for node in graph.nodes:
        found, complaints = _expressed(node, opset, scope)
        nodes.extend(found)
        if complaints:
            lowest = next((v for v in range(opset + 1, OPSET + 1) if not _expressed(node, v, scope)[1]), None)
            advice = f"opset {lowest} is the lowest that can" if lowest else "no opset can"
            faults.append(f"node '{node.name}' ({node.operator}): {'; '.join(complaints)}; {advice}")
    if faults:
        raise UsageError(listed(faults, f"this network cannot be written at opset {opset}"))
    return _without_left_over(nodes, graph)


def _without_left_over(nodes: list[Node], graph: Graph) -> list[Node]:
    """``nodes`` without the constants that became attributes and are read no more."""
    read = {name for node in graph.nodes for name in node.inputs} - {name for node in nodes for name in node.inputs}
    left_over = read.difference(graph.outputs)
    return [node for node in nodes if node.operator != "Constant" or left_over.isdisjoint(node.outputs)]


def from_opset(node: Node, opset: int, names: Names) -> list[Node]:
    """``node``, as version ``opset`` has it, in the form of the vocabulary."""
    change = CHANGES.get(node.operator)
    return change.newer(node, Scope({}, names)) if change and opset < change.since else [node]
