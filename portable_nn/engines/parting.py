"""A graph with data-dependent sizes, cut where they are decided."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from portable_nn.core.dims import static
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.operators import DataDependentShape, Type, Types, use_of


class Parts(NamedTuple):
    """The nodes that depend on no data-dependent size, those that decide sizes, and those after them.

    ``carried`` are the values that the second and third need of what is known before, or that are ``wanted`` of it.
    """

    before: tuple[Node, ...]
    deciding: tuple[Node, ...]
    after: tuple[Node, ...]
    carried: tuple[str, ...]


def parted(graph: Graph, types: Types, wanted: Collection[str]) -> Parts:
    """The parts of a graph whose inputs have known sizes; the first alone has nodes if all values have."""
    before, deciding, after, late = list[Node](), list[Node](), list[Node](), set[str]()
    for node in graph.nodes:
        if late.isdisjoint(node.inputs):
            if not _decides(node, types):
                before.append(node)
                continue
            deciding.append(node)
        else:
            after.append(node)
        late.update(filter(None, node.outputs))
    known = {value.name for value in graph.inputs}.union(*(node.outputs for node in before))
    read = dict.fromkeys(name for node in after for name in node.inputs if name in known)
    needed = read | dict.fromkeys(name for node in deciding for name in node.inputs) | dict.fromkeys(wanted)
    constants = (_constant(name, types[name]) for name in read if name in types)
    again = tuple(node for node in constants if node)
    return Parts(tuple(before), tuple(deciding), (*again, *after), tuple(filter(known.__contains__, needed)))


def _decides(node: Node, types: Types) -> bool:
    """True if the elements of its inputs, whose sizes are known, decide sizes or whether a node fits."""
    if any(static(types[name].shape) is None for name in node.outputs if name):
        return True
    use = use_of(node, types)
    if use.operator.unsized is None or all(
        type is None or type.constant is not None for type in use.types[1:] or use.types
    ):
        return False
    try:
        use.operator.infer(use)
    except DataDependentShape:
        return True
    return False


def _constant(name: str, type: Type) -> Node | None:
    """A node that makes a constant value again; ``None`` for others."""
    shape = static(type.shape)
    numbers = tuple(each for each in type.constant or () if not isinstance(each, str))
    if shape is None or type.constant is None or len(numbers) < len(type.constant):
        return None
    return Node(f"{name} (known)", "Constant", (), (name,), {"value": Tensor(type.dtype, shape, numbers)})
