"""The weights of a network as its operators read them, in layouts that are the same in all code bases.

What a code base does to a tensor before an operator reads it (transposes it, puts gates in another order, joins what it
has for each gate) are nodes that move elements. They are followed from the operator back to the tensors, element by
element, so no layout of a class has to be known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.operators import Array, NamedArrays, Type, infer, lookup

_BASE: Final = 2048
"""All whole numbers below this one are exact in every type of floats."""

_NOTHING: Final = np.zeros(0, int)


@dataclass(eq=False, repr=False)
class Slot:
    """A weight as an operator reads it; an input or output of the network is one without numbers.

    Attributes:
        role: what it is for the operator, such as ``kernel`` or ``bias``.
        before: the slots that are read before it, with none between.
        values: its numbers, in a layout that does not depend on the code base.
        places: where each of them is among the elements of all parameters, one after the other; -1 for a constant.
        names: the parameters that these are of.
    """

    role: str
    before: set[Slot]
    values: Array
    places: Array
    names: tuple[str, ...] = ()


def slots_of(network: Network) -> list[Slot]:
    """The slots of a network, in the order in which they are read."""
    graph, arrays = network.graph, network.parameters.arrays
    moved, weights = _moved(graph)
    types = infer(graph).types
    values = _evaluated(graph, moved, arrays)
    places = _places(graph, moved, values, arrays)
    found = [Slot(f"input {place}", set(), _NOTHING, _NOTHING) for place in range(len(graph.inputs))]
    tails = {value.name: {slot} for value, slot in zip(graph.inputs, found, strict=True)}
    behind = {slot: set[Slot]() for slot in found}
    for node in (node for node in graph.nodes if id(node) not in moved):
        every = set[Slot]().union(*(tails.get(name, ()) for name in node.inputs))
        tail = every.difference(*map(behind.__getitem__, every))  # A way around others is none.
        for index, name in enumerate(node.inputs):
            if name in weights and (places[name] >= 0).any():
                order = _order(graph, node, types) if index == 1 and values[name].ndim == 2 else None
                laid, where = (_laid_out(node, index, each, order) for each in (values[name], places[name]))
                found.append(Slot(_role(node, index), tail, laid, where, _names(arrays, where)))
                behind[found[-1]] = tail.union(*map(behind.__getitem__, tail))
                tail = {found[-1]}
        tails |= dict.fromkeys(node.outputs, tail)
    ends = (tails.get(name, set()) for name in graph.outputs)
    return found + [Slot(f"output {place}", tail, _NOTHING, _NOTHING) for place, tail in enumerate(ends)]


def _names(arrays: NamedArrays, places: Array) -> tuple[str, ...]:
    """The parameters that have elements in these places."""
    stops = np.cumsum([array.size for array in arrays.values()])
    held = np.unique(np.searchsorted(stops, places[places >= 0], side="right"))
    return tuple(name for place, name in enumerate(arrays) if place in held)


def unpacked(slots: Sequence[Slot], others: Sequence[Slot]) -> list[Slot]:
    """The slots, with a kernel of queries, keys and values, and its bias, as the three that the others have."""
    wanted = {slot.values.shape for slot in others if slot.role == "kernel"}
    parts = dict[Slot, list[Slot]]()
    for slot in slots:
        kernels = [{kernel} for each in slot.before if slot.role == "bias" for kernel in parts.get(each, ())]
        slot.before = {part for each in slot.before for part in parts.get(each, [each])}
        if kernels or (slot.role == "kernel" and _has_thirds(slot.values.shape, wanted)):
            parts[slot] = list(_thirds(slot, kernels or [slot.before] * 3))
    return [part for slot in slots for part in parts.get(slot, [slot])]


def _has_thirds(shape: tuple[int, ...], wanted: Set[tuple[int, ...]]) -> bool:
    return shape not in wanted and (shape[0] / 3, *shape[1:]) in wanted


def _thirds(slot: Slot, before: Sequence[set[Slot]]) -> Iterator[Slot]:
    cut = zip(before, np.split(slot.values, 3), np.split(slot.places, 3), ("query", "key", "value"), strict=True)
    for above, values, places, name in cut:
        yield Slot(slot.role, above, values, places, (*slot.names, name))


def _moved(graph: Graph) -> tuple[dict[int, Node], set[str]]:
    """The nodes that move elements of parameters or compute constants, and the values that hold such elements."""
    weights, constants, nodes = {value.name for value in graph.parameters}, {""}, dict[int, Node]()
    for node in graph.nodes:
        reads = not weights.isdisjoint(node.inputs)
        known = node.operator == "Constant" or (
            node.inputs and all(each in weights | constants for each in node.inputs)
        )
        if known and (not reads or lookup(node.operator, node.domain).moves):
            nodes[id(node)] = node
            (weights if reads else constants).update(node.outputs)
    return nodes, weights


def _evaluated(graph: Graph, moved: Mapping[int, Node], arrays: NamedArrays) -> dict[str, Array]:
    """The parameters, and what is made of them by moving elements."""
    made = {name for node in moved.values() if node.inputs for name in node.outputs if name}
    read = {name for node in graph.nodes if id(node) not in moved for name in node.inputs}
    part = Graph((), (), graph.parameters, tuple(moved.values()))
    return {**arrays, **run_numpy(part, arrays, {}, sorted(made & read))}


def _places(graph: Graph, moved: Mapping[int, Node], values: NamedArrays, arrays: NamedArrays) -> dict[str, Array]:
    """The place of each element of ``values`` among those of all parameters; -1 where it is none of these."""
    every = np.concatenate([np.ravel(array) for array in arrays.values()])
    found: dict[str, Array] = {name: np.full(array.shape, -1) for name, array in values.items()}
    power = 1
    while power <= every.size:
        digits, start = dict[str, Array](), 1
        for name, array in arrays.items():
            numbers = np.arange(start, start + array.size) // power % _BASE
            digits[name], start = numbers.reshape(array.shape).astype(array.dtype), start + array.size
        for name, digit in _evaluated(graph, moved, digits).items():
            found[name] = found[name] + digit.astype(np.int64) * power
        power *= _BASE
    return {name: np.where(every[place] == values[name], place, -1) for name, place in found.items()}


def _role(node: Node, index: int) -> str:
    """The role of an input, by the same word for operators that code bases put in each other's place."""
    operator = lookup(node.operator, node.domain)
    if operator.family == "normalization" and index < 5:
        return ("", "scale", "bias", "mean", "var")[index]
    if operator.family == "linear" and operator.input_name(index) in ("W", "B", "C", "Inputs"):
        return "bias" if index == 2 else "kernel" if index < 2 else f"bias of {node.operator}"
    return {"Add": "bias", "Mul": "scale", "Sub": "mean"}.get(node.operator, f"{node.operator} {index}")


def _laid_out(node: Node, index: int, array: Array, order: Array | None) -> Array:
    """A weight in the layout of a slot: matrices have a row for each output, and what broadcasts is one row."""
    if lookup(node.operator, node.domain).elementwise:
        return array.reshape(-1)
    if node.operator == "Einsum":
        terms, _, result = str(node.attributes["equation"]).replace(" ", "").partition("->")
        own = terms.split(",")[index]
        inner = [place for place, letter in enumerate(own) if letter not in result]
        outer = [place for place, letter in enumerate(own) if letter in result]
        array = array.transpose(*outer, *inner)
        return array.reshape(-1, int(np.prod(array.shape[len(outer) :])))
    if index == 1 and (node.operator == "MatMul" or (node.operator == "Gemm" and not node.attributes.get("transB"))):
        array = array.swapaxes(-1, -2) if array.ndim > 1 else array
    return array if order is None or array.ndim != 2 or order.size != array.shape[1] else array[:, order]


def _order(graph: Graph, node: Node, types: Mapping[str, Type]) -> Array | None:
    """The order of the features that a product reads in which they are those of what was flattened before it.

    ``None`` where nothing was, or its sizes are not known.
    """
    known = [each for each in graph.nodes if each.operator == "Constant"]
    chain = list(_chain(graph.makers(), node.inputs[0], {"", *(each.outputs[0] for each in known)}))
    name = chain[-1].inputs[0] if chain else ""
    sizes = [size for size in types[name].shape[1:] if isinstance(size, int)] if chain else []
    if len(sizes) < 2 or len(sizes) + 1 < len(types[name].shape):
        return None
    numbers = np.arange(np.prod(sizes), dtype="float64").reshape(1, *sizes)
    part = Graph((Value(name, "float64", numbers.shape),), (node.inputs[0],), (), (*known, *reversed(chain)))
    try:
        [found] = run_numpy(part, {}, {name: numbers}).values()
    except GraphError:
        return None
    return np.argsort(found[0]) if found.shape == (1, numbers.size) else None


def _chain(makers: Mapping[str, Node], name: str, constants: set[str]) -> Iterator[Node]:
    """The nodes before a value, the last first, as far as they move all its elements or compute each by itself."""
    while (maker := makers.get(name)) is not None and constants.issuperset(maker.inputs[1:]):
        operator = lookup(maker.operator, maker.domain)
        if not (operator.moves or operator.elementwise):
            return
        yield maker if operator.moves else Node(maker.name, "Identity", maker.inputs[:1], maker.outputs[:1])
        name = maker.inputs[0]
