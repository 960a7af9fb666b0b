"""Sizes of what goes into a network: names that become numbers, and a batch that may be of any size again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from msgspec.structs import replace
from onnx import ModelProto, TensorShapeProto, ValueInfoProto

from portable_nn.core.errors import GraphError, UsageError, listed
from portable_nn.core.graph import Dim, Graph, Node, Tensor, Value
from portable_nn.format.documentation import Documentation, ValueRemark
from portable_nn.format.manifest import InputInfo, OutputInfo
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.scope import Names
from portable_nn.operators import Type, infer, lookup
from portable_nn.operators.registry import Misfit
from portable_nn.operators.symbols import infer_node

BATCH: Final = "batch"
"""What the first size of the inputs is called where it may be any."""


def batch_of(graph: Graph) -> str:
    """The name of the first size of the inputs.

    Raises:
        UsageError: it has no name, being a number, or more than one.
    """
    first = list(dict.fromkeys(dim for value in graph.inputs for dim in value.shape[:1]))
    named = [dim for dim in first if isinstance(dim, str)]
    if not named:
        sizes = " and ".join(map(str, first)) or "nothing"
        raise UsageError(f"the batch has a size already, {sizes}: --dynamic makes it any")
    if len(named) > 1:
        raise UsageError(
            f"the first sizes of the inputs are {' and '.join(named)}: --dim NAME=SIZE says which is meant"
        )
    return named[0]


def with_sizes(network: Network, sizes: Mapping[str, int]) -> Network:
    """``network`` with numbers in place of named sizes of its inputs.

    Raises:
        UsageError: no input has a size of that name, a size below 1, or one that the nodes cannot have.
    """
    graph = network.graph
    _check_sizes(sizes, [dim for value in graph.inputs for dim in value.shape if isinstance(dim, str)])
    inputs = tuple(
        Value(
            value.name, value.dtype, tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in value.shape)
        )
        for value in graph.inputs
    )
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    return rebuilt(network, replace(graph, inputs=inputs), refused=f"the nodes cannot have {told}")


def sized(model: ModelProto, sizes: Mapping[str, int]) -> ModelProto:
    """``model`` with numbers in place of named sizes of its inputs; itself where ``sizes`` are none.

    Exporters call sizes open that they have worked into the nodes: such a model is whole only at those.

    Raises:
        UsageError: no input has a size of that name, or a size below 1.
    """
    if not sizes:
        return model
    _check_sizes(sizes, [dim.dim_param for dim in _dims(model.graph.input) if dim.dim_param])
    copy = ModelProto()
    copy.CopyFrom(model)
    for dim in _dims([*copy.graph.input, *copy.graph.output, *copy.graph.value_info]):
        if dim.dim_param in sizes:
            dim.dim_value = sizes[dim.dim_param]
    return copy


def _dims(values: Iterable[ValueInfoProto]) -> Iterator[TensorShapeProto.Dimension]:
    for value in values:
        yield from value.type.tensor_type.shape.dim


def _check_sizes(sizes: Mapping[str, int], names: Iterable[str]) -> None:
    known = list(dict.fromkeys(names))
    for name, size in sizes.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            there = f"the inputs have {', '.join(known)}" if known else "all sizes are numbers already"
            raise UsageError(f"no size is called '{name}': " + (f"did you mean '{close[0]}'?" if close else there))
        if size < 1:
            raise UsageError(f"the size '{name}' must be at least 1, not {size}")


def with_any_batch(network: Network) -> Network:
    """``network`` whose batch may be of any size; where nodes name the size that it had, they name it no more.

    Raises:
        UsageError: a node that depends on the size, and why; or inputs whose first sizes differ.
    """
    graph = network.graph
    first = {dim for value in graph.inputs for dim in value.shape[:1]}
    if len(first) != 1 or not all(value.shape for value in graph.inputs):
        shapes = ", ".join(map(str, graph.inputs))
        raise UsageError(f"the batch cannot be any: the inputs have not one first size ({shapes})")
    [size] = first
    taken = {dim for value in graph.inputs for dim in value.shape}
    name = next(each for each in (BATCH, "batch_size", "examples") if each not in taken)
    inputs = tuple(Value(value.name, value.dtype, (name, *value.shape[1:])) for value in graph.inputs)
    opened = replace(graph, inputs=inputs, nodes=tuple(_without_size(replace(graph, inputs=inputs), size, name)))
    found = rebuilt(network, opened, refused=f"the batch, which is {size}, cannot be any")
    fixed = [output for output in graph.outputs if found.types[output].shape[:1] != (name,)]
    if fixed:
        raise UsageError(
            f"the batch, which is {size}, cannot be any: it is not the first size of output '{fixed[0]}', "
            f"{found.types[fixed[0]]}"
        )
    return found


def _without_size(graph: Graph, size: Dim, name: str) -> list[Node]:
    """The nodes, where those that reshape to ``size`` in front take over the size that is there."""
    names = Names([*graph.values(), *(node.name for node in graph.nodes)])
    types = {value.name: Type(value.dtype, value.shape) for value in (*graph.inputs, *graph.parameters)}
    nodes: list[Node] = []
    for node in graph.nodes:
        for each in _opened(node, types, size, name, names):
            nodes.append(each)
            if all(not read or read in types for read in each.inputs):
                _add_types(each, types)
    read_before, read = ({name for node in each for name in node.inputs} for each in (graph.nodes, nodes))
    left_over = read_before - read - set(graph.outputs)
    return [node for node in nodes if node.operator != "Constant" or not left_over.intersection(node.outputs)]


def _opened(node: Node, types: Mapping[str, Type], size: Dim, name: str, names: Names) -> list[Node]:
    """A node, and before it the shape that it needs instead of one that begins with ``size``."""
    if node.operator not in ("Reshape", "Expand") or any(read not in types for read in node.inputs):
        return [node]
    target, shape = types[node.inputs[1]].content, types[node.inputs[0]].shape
    if not target or target[0] != size or shape[:1] != (name,) or not all(isinstance(dim, int) for dim in target):
        return [node]
    front = _IN_FRONT[node.operator]
    if front == 0 and node.attributes.get("allowzero"):
        return [node]
    literal = Tensor("int64", (len(target),), (front, *(int(dim) for dim in target[1:])))
    made = names.fresh(f"{node.name}.shape")
    return [
        Node(made, "Constant", (), (made,), {"value": literal}),
        replace(node, inputs=(node.inputs[0], made)),
    ]


_IN_FRONT: Final = {"Reshape": 0, "Expand": 1}
"""What stands for "as it is" in the shape that an operator is given."""


def _add_types(node: Node, types: dict[str, Type]) -> None:
    try:
        known = [types[name] if name else None for name in node.inputs]
        found = infer_node(lookup(node.operator, node.domain), known, node.attributes, len(node.outputs))
    except Misfit:  # It is told with all others, once the graph is there.
        return
    types.update((name, type) for name, type in zip(node.outputs, found, strict=True) if name)


def rebuilt(
    network: Network,
    graph: Graph,
    parameters: Mapping[str, Array] | None = None,
    *,
    inputs: Sequence[InputInfo] | None = None,
    outputs: Sequence[OutputInfo] | None = None,
    refused: str = "",
) -> Network:
    """``network`` with another graph, and with what it says of itself.

    Raises:
        UsageError: the nodes do not fit each other, with ``refused`` before each fault.
    """
    try:
        infer(graph)
    except GraphError as error:
        raise UsageError(listed(map(str, error.faults), refused)) from None
    changed = {name for name, type in infer(graph).types.items() if network.types.get(name) not in (None, type)}
    return Network.from_graph(
        graph,
        network.parameters if parameters is None else parameters,
        inputs=network.inputs if inputs is None else inputs,
        outputs=network.outputs if outputs is None else outputs,
        metadata=network.metadata,
        documentation=_without_sizes(network.documentation.within(graph), changed),
        copy=False,
    )


def _without_sizes(documentation: Documentation, changed: Collection[str]) -> Documentation:
    """``documentation`` without names for the sizes of values that have others now."""
    values = {
        name: replace(remark, sizes=()) if name in changed else remark for name, remark in documentation.values.items()
    }
    return replace(documentation, values={name: remark for name, remark in values.items() if remark != ValueRemark()})
