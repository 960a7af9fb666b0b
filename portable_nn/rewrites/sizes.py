"""Dimensions of the inputs: symbolic ones that become numbers, and a fixed batch that becomes symbolic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from portable_nn.core.dims import substituted
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, Graph, Node, Tensor
from portable_nn.core.text import suggestion
from portable_nn.operators import Type, Types, add_types, infer
from portable_nn.rewrites.program import Names, Program, checked
from portable_nn.rewrites.scope import without

BATCH: Final = "batch"
"""The name of a symbolic batch."""


def fixed_sizes(program: Program, sizes: Mapping[str, Dim] = MappingProxyType({})) -> Program:
    """``program`` with numbers, or other names, in place of the named ``sizes`` of its inputs.

    Raises ``UsageError`` for a name that no input has, a size below 1, or one that does not fit the nodes.
    """
    if not sizes:
        return program
    graph = program.graph
    found = resolved(sizes, [dim for value in graph.inputs for dim in value.shape if isinstance(dim, str)])
    inputs = tuple(replace(value, shape=substituted(value.shape, found)) for value in graph.inputs)
    wanted = ", ".join(f"{name} {size}" for name, size in sizes.items())
    fixed = program._replace(graph=replace(graph, inputs=inputs))
    return checked(fixed, program, f"the nodes cannot have {wanted}")


def resolved(sizes: Mapping[str, Dim], names: Iterable[str]) -> dict[str, Dim]:
    """``sizes`` in which no name stands for another that is set as well.

    Raises ``UsageError`` where a name is not among the ``names`` of sizes, a number is below 1, or names are equal to
    each other in a circle.
    """
    known = list(dict.fromkeys(names))
    found = dict[str, Dim]()
    for name, size in sizes.items():
        for each in (name, size):
            if isinstance(each, str) and each not in known:
                there = f"the inputs have {', '.join(known)}" if known else "all sizes are numbers already"
                raise UsageError(f"no size is called '{each}': " + (suggestion(each, known) or there))
        passed = [name]
        while isinstance(size, str) and size in sizes:
            if size in passed:
                raise UsageError(f"the sizes {', '.join(passed)} are set to each other: set one of them to a number")
            passed.append(size)
            size = sizes[size]
        if isinstance(size, int) and size < 1:
            raise UsageError(f"the size '{passed[-1]}' must be at least 1, not {size}")
        found[name] = size
    return found


def batch_of(graph: Graph) -> str:
    """The name of the first size of the inputs. Raises ``UsageError`` where it is a number, or has several names."""
    first = _first_sizes(graph)
    named = [dim for dim in first if isinstance(dim, str)]
    if not named:
        sizes = " and ".join(map(str, first)) or "nothing"
        raise UsageError(f"the batch has a size already, {sizes}: --batch-size any frees it")
    if len(named) > 1:
        raise UsageError(
            f"the first sizes of the inputs are {' and '.join(named)}: --dim NAME=SIZE says which is meant"
        )
    return named[0]


def _first_sizes(graph: Graph) -> list[Dim]:
    return list(dict.fromkeys(dim for value in graph.inputs for dim in value.shape[:1]))


def any_batch(program: Program) -> Program:
    """``program`` with a batch of any size; nodes that name the size that it had take it from their input instead.

    Raises ``UsageError`` where the first sizes of the inputs differ, or a node depends on the size.
    """
    graph, first = program.graph, _first_sizes(program.graph)
    if first and all(isinstance(dim, str) for dim in first):
        note = f"the batch may be of any size as it is: {', '.join(sorted(map(str, first)))}"
        return program._replace(notes=(*program.notes, note))
    if len(first) != 1 or not all(value.shape for value in graph.inputs):
        shapes = ", ".join(map(str, graph.inputs))
        raise UsageError(f"the batch cannot be any: the inputs have not one first size ({shapes})")
    [size] = first
    taken = {dim for value in graph.inputs for dim in value.shape}
    name = next(each for each in (BATCH, "batch_size", "examples") if each not in taken)
    inputs = tuple(replace(value, shape=(name, *value.shape[1:])) for value in graph.inputs)
    graph = replace(graph, inputs=inputs)
    graph = replace(graph, nodes=tuple(_without_size(graph, size, name)))
    note, refused = f"the batch, which was {size}, may be of any size", f"the batch, which is {size}, cannot be any"
    found = checked(program._replace(graph=graph, notes=(*program.notes, note)), program, refused)
    types = infer(graph).types
    if fixed := [output for output in graph.outputs if types[output].shape[:1] != (name,)]:
        raise UsageError(f"{refused}: it is not the first size of output '{fixed[0]}', {types[fixed[0]]}")
    return found


def _without_size(graph: Graph, size: Dim, name: str) -> list[Node]:
    """The nodes; those that reshape or expand to ``size`` in front keep the size of their input there instead."""
    names = Names.beside(graph)
    types = {value.name: Type(value.dtype, value.shape) for value in (*graph.inputs, *graph.parameters)}
    nodes: list[Node] = []
    for node in graph.nodes:
        for each in _opened(node, types, size, name, names):
            nodes.append(each)
            if all(not read or read in types for read in each.inputs):
                add_types(each, types)
    read_before, read = ({name for node in each for name in node.inputs} for each in (graph.nodes, nodes))
    left_over = read_before - read - set(graph.outputs)
    return [node for node in nodes if node.operator != "Constant" or not left_over.intersection(node.outputs)]


def _opened(node: Node, types: Types, size: Dim, name: str, names: Names) -> list[Node]:
    """A node, and before it a constant for the shape that it needs instead of one that begins with ``size``."""
    if node.operator not in ("Reshape", "Expand") or any(read not in types for read in node.inputs):
        return [node]
    target, shape = types[node.inputs[1]].constant, types[node.inputs[0]].shape
    if not target or target[0] != size or shape[:1] != (name,) or not all(isinstance(dim, int) for dim in target):
        return [node]
    front = _IN_FRONT[node.operator]
    if front == 0 and node.attributes.get("allowzero") and 0 in target[1:]:
        return [node]
    literal = Tensor("int64", (len(target),), (front, *(int(dim) for dim in target[1:])))
    made = names.fresh(f"{node.name}.shape")
    return [
        Node(made, "Constant", (), (made,), {"value": literal}),
        replace(node, inputs=(node.inputs[0], made), attributes=without(node, "allowzero")),
    ]


_IN_FRONT: Final = {"Reshape": 0, "Expand": 1}
"""The number in a shape that keeps the dimension of the input."""
