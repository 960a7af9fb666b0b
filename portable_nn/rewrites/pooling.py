"""Max-pooling moved before element-wise operators: the same numbers from less work."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from portable_nn.core.graph import Node, Tensor
from portable_nn.operators.registry import known_operator, window_kind
from portable_nn.rewrites.program import Program, read_once


def max_pool_first(program: Program) -> Program:
    """``program`` with every strided MaxPool before the activation, and the bias of the convolution, that it follows.

    A strided pool leaves a fraction of the elements. Rounding is monotone, so the maximum of sums with a bias is the
    sum of the maximum and the bias, to the last bit. A value that is an output, or has another reader, is not moved.
    """
    graph = program.graph
    makers = read_once(graph)
    placed = {node.name: [node] for node in graph.nodes}
    for pool in filter(_shrinks, graph.nodes):
        source, after = pool.inputs[0], list[Node]()
        while _commutes(makers.get(source)):
            after.insert(0, makers[source])
            source = makers[source].inputs[0]
        conv = makers.get(source)
        if conv and window_kind(conv.operator, conv.domain) in {"conv", "convt"} and len(conv.inputs) == 3:
            placed[conv.name] = [replace(conv, inputs=conv.inputs[:2])]
            *before, add = _bias_after(pool, conv.inputs[2])
            after.insert(0, add)
        else:
            before = []
        for node in after:
            placed[node.name] = []
        chain = list(_chain(source, [pool, *after], pool.outputs[0]))
        placed[pool.name] = [*before, *chain]
    return program._replace(graph=replace(graph, nodes=tuple(node for nodes in placed.values() for node in nodes)))


def _shrinks(node: Node) -> bool:
    strides = node.attributes.get("strides")
    whole = isinstance(strides, tuple) and any(stride != 1 for stride in strides)
    return node.operator == "MaxPool" and not node.domain and len(node.outputs) == 1 and whole


def _commutes(node: Node | None) -> bool:
    operator = known_operator(node) if node else None
    if node is None or operator is None:
        return False
    return operator.monotone(node.attributes) if callable(operator.monotone) else operator.monotone


def _bias_after(pool: Node, bias: str) -> list[Node]:
    """The nodes that add ``bias`` to every channel; the last one's first input is yet to be set."""
    kernel = pool.attributes["kernel_shape"]
    assert isinstance(kernel, tuple)
    shape = Tensor("int64", (len(kernel) + 2,), (1, -1, *[1] * len(kernel)))
    sizes, column = f"{pool.name}/bias shape", f"{pool.name}/bias"
    return [
        Node(sizes, "Constant", (), (sizes,), {"value": shape}),
        Node(column, "Reshape", (bias, sizes), (column,)),
        Node(f"{pool.name}/biased", "Add", ("", column), ("",)),
    ]


def _chain(source: str, nodes: list[Node], result: str) -> Iterator[Node]:
    """The nodes one after the other, each on the value of the one before; the last one makes ``result``."""
    for place, node in enumerate(nodes):
        name = result if place == len(nodes) - 1 else f"{result}/{place}"
        yield replace(node, inputs=(source, *node.inputs[1:]), outputs=(name,))
        source = name
