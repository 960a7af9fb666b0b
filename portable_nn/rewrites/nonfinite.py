"""Infinities and NaN in attributes of nodes as parameters: JSON has neither, and tensors have both."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from msgspec.structs import replace

from portable_nn.core.graph import Graph, Node, Parameter, Tensor
from portable_nn.operators import Array
from portable_nn.rewrites.program import Names


def in_parameters(nodes: Iterable[Node], names: Names) -> tuple[list[Node], dict[str, Array]]:
    """The nodes, with parameters in place of constants that are not finite; and the values of these.

    A ``Constant`` becomes a parameter of its name, a ``ConstantOfShape`` an ``Expand`` of one.
    """
    kept, arrays = list[Node](), dict[str, Array]()
    for node in nodes:
        value = node.attributes.get("value")
        if node.operator not in _CONSTANTS or not isinstance(value, Tensor) or all(map(math.isfinite, value.data)):
            kept.append(node)
            continue
        array = np.array(value.data, value.dtype)
        if node.operator == "Constant":
            arrays[node.outputs[0]] = array.reshape(value.shape)
        else:
            name = names.fresh(f"{node.name}.value")
            arrays[name] = array
            kept.append(replace(node, operator="Expand", inputs=(name, *node.inputs), attributes={}))
    return kept, arrays


_CONSTANTS = ("Constant", "ConstantOfShape")


def storable(graph: Graph) -> tuple[Graph, dict[str, Array]]:
    """A graph that a file can hold, and the values of its new frozen parameters; the same where there are none."""
    nodes, arrays = in_parameters(graph.nodes, Names.beside(graph))
    if not arrays:
        return graph, arrays
    new = tuple(Parameter(name, array.dtype.name, array.shape, False) for name, array in arrays.items())
    return replace(graph, nodes=tuple(nodes), parameters=graph.parameters + new), arrays
