"""Floats that train in place of what a network computes of stored weights of few bits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import permutations

from msgspec.structs import replace

from portable_nn.core.errors import DataWarning, UsageError, warn
from portable_nn.core.graph import Graph, Node, Parameter
from portable_nn.core.text import some
from portable_nn.engines.once import run_numpy
from portable_nn.operators import FLOATS, Array, NamedArrays, infer, operator_of
from portable_nn.operators.quantised import QUANTISED
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.unused import needed

_SMALL = frozenset({"int8", "uint8", "int16", "uint16"})
"""The element types of stored weights that no DequantizeLinear reads, but a product."""


def dequantized(graph: Graph, arrays: NamedArrays) -> tuple[Graph, dict[str, Array]]:
    """``graph`` with trainable parameters in place of floats that follow from stored whole numbers, and their values.

    Warns with ``DataWarning`` of stored whole numbers that are left, and raises ``UsageError`` where all are.
    """
    graph = _apart(graph)
    graph = replace(graph, nodes=tuple(_in_floats(graph)))
    values = list(dict.fromkeys(_weights(graph)))
    if not values:
        raise UsageError(f"dequantize: no weights are quantised so that they could be floats{_why(graph)}")
    found, names = run_numpy(_part(graph, values), arrays, {}), Names.beside(graph)
    called = {name: name if _short(name) == name else names.fresh(_short(name)) for name in values}
    aside = {name: names.fresh(f"{name}.quantised") for name in values}
    graph = replace(graph, nodes=tuple(_renamed(node, called, aside) for node in graph.nodes))
    nodes = needed(graph, graph.outputs)
    read = {*graph.outputs, *(name for node in nodes for name in node.inputs)}
    kept = [value for value in graph.parameters if value.name in read]
    weights = {value.name: arrays[value.name] for value in kept} | {called[name]: found[name] for name in values}
    made = [Parameter(name, weights[name].dtype.name, weights[name].shape) for name in called.values()]
    _warn_of(kept)
    return replace(graph, parameters=(*kept, *made), nodes=nodes), weights


def _warn_of(kept: Iterable[Parameter]) -> None:
    """Warn of the matrices of whole numbers among ``kept``, the parameters that no floats replace."""
    if left := [value.name for value in kept if value.dtype in _SMALL and len(value.shape) > 1]:
        warn(f"dequantize leaves {some(left)} as whole numbers, which do not train", DataWarning)


def _apart(graph: Graph) -> Graph:
    """``graph`` with products of floats, and nodes that round, in place of products that round their result."""
    types, names = infer(graph).types, Names.beside(graph)
    known, nodes = dict[tuple[str, ...], str](), list[Node]()
    for node in graph.nodes:
        # Scales for each row of the first factor, or for each matrix of a batch, are no scales along one axis.
        scales = node.inputs[1:5:3] if node.operator.startswith("QLinear") else ()
        ranks = [len(types[name].shape) for name in scales]
        nodes += _around(node, names, known) if ranks in ([0, 0], [0, 1]) else [node]
    return replace(graph, nodes=tuple(nodes))


def _in_floats(graph: Graph) -> Iterator[Node]:
    """The nodes, with products of floats where those of whole numbers are scaled: (x - zero)·scale, and the weights."""
    makers, types, names = graph.makers(), infer(graph).types, Names.beside(graph)
    fixed, known = {value.name for value in graph.parameters}, dict[tuple[str, ...], str]()

    def inputs(name: str, operator: str) -> tuple[str, ...]:
        return node.inputs if (node := makers.get(name)) and node.operator == operator else ()

    def scaled(whole: str, both: str) -> Iterator[tuple[Node, str, tuple[str, ...], tuple[str, ...]]]:
        product = makers.get(next(iter(inputs(whole, "Cast")), ""))
        for scale, of_weights in permutations(inputs(both, "Mul"), 2):
            if product and product.operator.endswith("Integer") and scale not in fixed and of_weights in fixed:
                x, weights, *zeros = product.inputs
                yield product, weights, (x, scale, *zeros[:1]), (weights, of_weights, *zeros[1:])

    for node in graph.nodes:
        if fixed.issuperset(filter(None, node.inputs)):
            fixed.update(node.outputs)
        pairs = permutations(node.inputs, 2) if node.operator == "Mul" else ()
        for product, weights, *read in (each for pair in pairs for each in scaled(*pair)):
            shapes = [{types[name].shape for name in each[1:] if name} for each in read]
            by_column = types[weights].shape[1:] if product.operator == "MatMulInteger" else ()
            if shapes[0] == {()} and shapes[1] in ({()}, {by_column}):
                is_new = read[1] not in known  # Two products may have the same weights, which then learn from both.
                floats = names.fresh(f"{read[0][0]}.float"), known.setdefault(read[1], names.fresh(_short(weights)))
                for name, each in zip(floats, read[: 1 + is_new], strict=False):
                    yield Node(name, "DequantizeLinear", tuple(filter(None, each)), (name,), {"axis": 1})
                kind = product.operator.removesuffix("Integer")
                node = replace(product, name=node.name, operator=kind, inputs=floats, outputs=node.outputs)
        yield node


def _around(node: Node, names: Names, known: dict[tuple[str, ...], str]) -> Iterator[Node]:
    """A product of floats between nodes that round as the product of whole numbers does; ``known`` are weights."""
    x, weights, y, bias = node.inputs[:3], node.inputs[3:6], node.inputs[6:8], node.inputs[8:]
    taken, whole = names.fresh(f"{x[0]}.float"), names.fresh(f"{node.outputs[0]}.float")
    yield Node(taken, "DequantizeLinear", x, (taken,), {})
    read = [(weights, 0 if node.operator.endswith("Conv") else -1)]
    if bias:
        scale = names.fresh(f"{bias[0]}.scale")
        yield Node(scale, "Mul", (x[1], weights[1]), (scale,), {})
        read.append(((*bias, scale), 0))
    for each, axis in read:
        if each not in known:
            known[each] = names.fresh(_short(each[0]))
            yield Node(known[each], "DequantizeLinear", each, (known[each],), {"axis": axis})
    inputs = taken, *(known[each] for each, _ in read)
    yield replace(node, operator=node.operator.removeprefix("QLinear"), inputs=inputs, outputs=(whole,))
    yield Node(f"{whole}.rounded", "QuantizeLinear", (whole, *y), node.outputs, {})


def _why(graph: Graph) -> str:
    """The nodes with weights of whole numbers, in words."""
    whole = [str(node) for node in graph.nodes if node.operator in QUANTISED]
    return f": {some(whole)} compute with whole numbers, and have no floats" if whole else ""


def _short(name: str) -> str:
    """The name of a weight whose value onnxruntime's quantiser has called so."""
    return name.removesuffix("_DequantizeLinear_Output").removesuffix("_quantized")


def _renamed(node: Node, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Node:
    """A node with other names for some of its inputs and outputs."""
    read = tuple(inputs.get(name, name) for name in node.inputs)
    return replace(node, inputs=read, outputs=tuple(outputs.get(name, name) for name in node.outputs))


def _part(graph: Graph, values: Collection[str]) -> Graph:
    """The part of a graph that computes values which depend on no input."""
    nodes = needed(graph, values)
    read = {name for node in nodes for name in node.inputs}
    return Graph((), tuple(values), tuple(each for each in graph.parameters if each.name in read), nodes)


def _weights(graph: Graph) -> Iterator[str]:
    """The floats that follow from stored whole numbers, or floats of 8 bits, where something else reads them."""
    types = infer(graph).types
    stored = {name for name, value in types.items() if value.dtype in _SMALL}
    fixed = {value.name for value in graph.parameters}
    few, through = stored & fixed, set[str]()
    for node in graph.nodes:
        inputs = set(filter(None, node.inputs))
        if inputs <= fixed:
            fixed.update(node.outputs)
            if node.operator == "DequantizeLinear" or inputs & through:
                through.update(node.outputs)
            if inputs & few or stored.intersection(node.outputs):
                few.update(node.outputs)
        else:
            at = through | few if operator_of(node).family == "linear" else through
            floats = {name for name in inputs & at if types[name].dtype in FLOATS}
            yield from (name for name in node.inputs if name in floats - {*graph.outputs})
