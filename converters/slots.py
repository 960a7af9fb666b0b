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
from portable_nn.operators import Array, NamedArrays, Types, infer, lookup

_BASE: Final = 128
"""All whole numbers below this one are exact in every type of numbers."""

_NOTHING: Final = np.zeros(0, int)


@dataclass(eq=False, repr=False)
class Slot:
    """A weight as an operator reads it; an input or output of the network is one without numbers.

    Attributes:
        role: what it is for the operator, such as ``kernel`` or ``bias``.
        before: the slots that are read before it, with none between.
        values: its numbers, in a layout that does not depend on the code base.
        places: where each of them is among the elements of all parameters, one after the other; -1 for a constant.
        names: the parameters that they are of.
    """

    role: str
    before: set[Slot]
    values: Array
    places: Array
    names: tuple[str, ...] = ()


def slots_of(network: Network) -> list[Slot]:
    """The slots of a network, in the order in which they are read."""
    graph, types = network.graph, infer(network.graph).types
    moved, sources = _moved(graph)
    values = _evaluated(graph, moved, network.parameters.arrays)
    places = _places(graph, moved, network.parameters.arrays)
    found = [Slot(f"input {place}", set(), _NOTHING, _NOTHING) for place in range(len(graph.inputs))]
    tails = {value.name: {slot} for value, slot in zip(graph.inputs, found, strict=True)}
    behind = {slot: set[Slot]() for slot in found}
    for node in (node for node in graph.nodes if id(node) not in moved):
        every = set[Slot]().union(*(tails.get(name, ()) for name in node.inputs))
        tail = every.difference(*map(behind.__getitem__, every))  # A way around others is none.
        for index, name in enumerate(node.inputs):
            if name in sources and (places[name] >= 0).any():
                order = _order(graph, node, types) if index == 1 else None
                laid, where = (_laid_out(node, index, each, order) for each in (values[name], places[name]))
                found.append(Slot(_role(node, index), tail, laid, where, sources[name]))
                behind[found[-1]] = tail.union(*map(behind.__getitem__, tail))
                tail = {found[-1]}
        tails |= dict.fromkeys(node.outputs, tail)
    ends = (tails.get(name, set()) for name in graph.outputs)
    return found + [Slot(f"output {place}", tail, _NOTHING, _NOTHING) for place, tail in enumerate(ends)]


def unpacked(slots: Sequence[Slot], others: Sequence[Slot]) -> list[Slot]:
    """The slots, with a kernel of queries, keys and values, and its bias, as the three that the others have."""
    wanted = {slot.values.shape for slot in others if slot.role == "kernel"}
    parts = dict[Slot, list[Slot]]()
    for slot in slots:
        kernels = _parts_of_kernel(slot, parts)
        slot.before = {part for each in slot.before for part in parts.get(each, [each])}
        if kernels or (slot.role == "kernel" and _has_thirds(slot.values.shape, wanted)):
            parts[slot] = list(_thirds(slot, kernels or [slot.before] * 3))
    return [part for slot in slots for part in parts.get(slot, [slot])]


def _parts_of_kernel(bias: Slot, parts: Mapping[Slot, Sequence[Slot]]) -> list[set[Slot]]:
    """The parts of the kernel to whose products a bias is added; none of any other slot."""
    packed = [each for each in bias.before if bias.role == "bias" and len(each.values) == len(bias.values)]
    return [{kernel} for each in packed for kernel in parts.get(each, ())]


def _has_thirds(shape: tuple[int, ...], wanted: Set[tuple[int, ...]]) -> bool:
    return shape not in wanted and (shape[0] / 3, *shape[1:]) in wanted


def _thirds(slot: Slot, before: Sequence[set[Slot]]) -> Iterator[Slot]:
    cut = zip(before, np.split(slot.values, 3), np.split(slot.places, 3), ("query", "key", "value"), strict=True)
    for above, values, places, name in cut:
        yield Slot(slot.role, above, values, places, (*slot.names, name))


def _moved(graph: Graph) -> tuple[dict[int, Node], dict[str, tuple[str, ...]]]:
    """The nodes that move elements of parameters or compute constants; the parameters that values have elements of."""
    sources: dict[str, tuple[str, ...]] = {value.name: (value.name,) for value in graph.parameters}
    constants, nodes = {""}, dict[int, Node]()
    for node in graph.nodes:
        held = dict.fromkeys(name for each in node.inputs for name in sources.get(each, ()))
        known = node.operator == "Constant" or (node.inputs and constants.union(sources).issuperset(node.inputs))
        if known and not held:
            constants.update(node.outputs)
        elif known and lookup(node.operator, node.domain).moves:
            sources |= dict.fromkeys(node.outputs, tuple(held))
        if known and (not held or node.outputs[0] in sources):
            nodes[id(node)] = node
    return nodes, sources


def _evaluated(graph: Graph, moved: Mapping[int, Node], arrays: NamedArrays) -> dict[str, Array]:
    """The parameters, and what is made of them by moving elements."""
    made = {name for node in moved.values() if node.inputs for name in node.outputs if name}
    read = {name for node in graph.nodes if id(node) not in moved for name in node.inputs}
    return {**arrays, **run_numpy(Graph((), (), graph.parameters, (*moved.values(),)), arrays, {}, sorted(made & read))}


def _places(graph: Graph, moved: Mapping[int, Node], arrays: NamedArrays) -> dict[str, Array]:
    """The place of each element among those of all parameters, by the values that hold some; -1 of constants.

    They are followed as numbers, some digits at a time, and told from constants by what these are without them.
    """
    ends = np.cumsum([array.size for array in arrays.values()]).tolist()
    starts = dict(zip(arrays, [0, *ends], strict=False))
    places = {name: np.arange(array.size).reshape(array.shape) + starts[name] for name, array in arrays.items()}

    def followed(base: int, power: int) -> dict[str, Array]:
        digits = {name: ((each + 1) // power % base).astype(arrays[name].dtype) for name, each in places.items()}
        made = _evaluated(graph, moved, digits).items()
        return {name: array.astype(np.int64) for name, array in made if name not in arrays}

    still, power = followed(1, 1), 1
    found = {name: np.full(array.shape, -1) for name, array in still.items()}
    while found and power <= ends[-1]:
        found = {name: found[name] + power * (array - still[name]) for name, array in followed(_BASE, power).items()}
        power *= _BASE
    return places | found


def _role(node: Node, index: int) -> str:
    """The role of an input, by the same word for operators that code bases put in each other's place."""
    operator = lookup(node.operator, node.domain)
    if operator.family == "normalization" and index < 5:
        return ("", "scale", "bias", "mean", "var")[index]
    if operator.family == "linear" and operator.input_name(index) in ("W", "B", "C", "Inputs"):
        return "bias" if index == 2 else "kernel" if index < 2 else f"bias of {node.operator}"
    return {"Add": "bias", "Mul": "scale"}.get(node.operator, f"{node.operator} {index}")


def _laid_out(node: Node, index: int, array: Array, order: Array | None) -> Array:
    """A weight in the layout of a slot: a product has a row for each output, and what broadcasts is one row."""
    if lookup(node.operator, node.domain).elementwise:
        return array.reshape(-1)
    if node.operator == "Einsum":
        return _as_matrix(str(node.attributes["equation"]).replace(" ", ""), index, array)
    if index != 1 or array.ndim < 2:
        return array
    if node.operator == "Conv":  # One that sees all of its input is a product.
        return array.reshape(len(array), -1)
    if node.operator == "MatMul" or (node.operator == "Gemm" and not node.attributes.get("transB")):
        array = array.swapaxes(-1, -2)
    return array if order is None or order.shape != array.shape[1:] else array[:, order]


def _as_matrix(equation: str, index: int, array: Array) -> Array:
    """A factor of an Einsum as a matrix with a row for each element that the result has of it."""
    terms, _, result = equation.partition("->")
    kept = [letter in result for letter in terms.split(",")[index]]
    axes = np.argsort(np.logical_not(kept), kind="stable")
    return array.transpose(axes).reshape(int(np.prod(array.shape, where=kept)), -1)


def _order(graph: Graph, node: Node, types: Types) -> Array | None:
    """The order of the features that a product reads in which they are those of what was flattened before it.

    ``None`` where nothing was, or its sizes are not known.
    """
    if lookup(node.operator, node.domain).window:
        return None
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
