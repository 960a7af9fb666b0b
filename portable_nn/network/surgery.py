"""Operations on graphs for fine-tuning: freezing, cutting and joining parts of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from portable_nn.core.errors import Fault, GraphError, UsageError, listed
from portable_nn.core.graph import Graph, Parameter, Value
from portable_nn.core.text import quantity
from portable_nn.engines.ranges import preparing
from portable_nn.network.heads import as_place, head_input, main_nodes
from portable_nn.operators import InvalidNode, Leaf, NamedArrays, Symbol, replayed
from portable_nn.rewrites.unused import needed
from portable_nn.training.parameters import NEAR, matching, near

# -- freezing


def with_trainable(graph: Graph, patterns: Sequence[str], *, trainable: bool) -> tuple[Graph, tuple[str, ...]]:
    """``graph`` with the parameters that match trainable or not, and their names. Raises as ``matching`` does."""
    names = matching(graph, patterns, "unfreeze" if trainable else "freeze")
    if trainable:  # What prepares the inputs comes from the data: a pattern for many names does not mean it.
        names = tuple(name for name in names if name in patterns or name not in preparing(graph))
    new = {"trainable": True, "packed": UNSET} if trainable else {"trainable": False}  # Packed numbers cannot train.
    changed = (replace(each, **new) if each.name in names else each for each in graph.parameters)
    return replace(graph, parameters=tuple(changed)), names


# -- cutting


def cut(graph: Graph, names: Sequence[str]) -> Graph:
    """The part of ``graph`` that computes the values ``names``; the name of a node means its first output.

    Inputs, parameters and nodes that are not needed are dropped.

    Raises ``UsageError`` for a name that no value and no node has, with names that are near.
    """
    outputs = _values(graph, names)
    nodes = needed(graph, outputs)
    read = {*outputs, *(name for node in nodes for name in node.inputs)}
    inputs = tuple(value for value in graph.inputs if value.name in read)
    if not inputs:
        raise UsageError(f"until: {', '.join(outputs)} does not depend on any input")
    parameters = tuple(value for value in graph.parameters if value.name in read)
    return replace(graph, inputs=inputs, outputs=outputs, parameters=parameters, nodes=nodes)


def _values(graph: Graph, names: Sequence[str]) -> tuple[str, ...]:
    known = {node.name: next(filter(None, node.outputs)) for node in graph.nodes if any(node.outputs)}
    known |= {name: name for node in graph.nodes for name in node.outputs if name}
    known |= {name: head_input(graph, place) for name in names if name not in known and (place := as_place(name))}
    faults = [
        f"no value and no node is called '{name}': {_suggested(graph, name)}" for name in names if name not in known
    ]
    if not names:
        faults = ["it needs the name of a value or node"]
    if faults:
        raise UsageError(listed(faults, "until"))
    return tuple(dict.fromkeys(known[name] for name in names))


def _suggested(graph: Graph, name: str) -> str:
    """Nodes on the way of the numbers that are called much as ``name``; otherwise the last ones."""
    nodes = main_nodes(graph)
    text = near(name, nodes, "nodes", nodes)
    if not nodes or text.startswith("did you mean"):
        return text
    last = ", ".join(nodes[-NEAR:])
    return f"the last of {quantity(len(nodes), 'node')} are {last}; -1 is for the input of the last linear layer"


# -- joining


def apply(
    graph: Graph, inputs: Sequence[Symbol], parameters: Mapping[str, Leaf], suffix: str = ""
) -> tuple[Symbol, ...]:
    """The outputs of ``graph`` for ``inputs``, symbols of another graph in the making.

    Nodes and values keep their names, with ``suffix`` behind each.

    Raises ``GraphError`` where the inputs do not fit the graph.
    """
    _check_inputs(graph, inputs)
    symbols: dict[str, Symbol] = dict(parameters)
    symbols.update((value.name, symbol) for value, symbol in zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        try:
            made = replayed(node, [*map(symbols.get, node.inputs)], suffix)
        except InvalidNode as invalid:
            raise GraphError([Fault(str(replace(node, name=node.name + suffix)), str(invalid))]) from None
        symbols.update((name, symbol) for name, symbol in zip(node.outputs, made, strict=True) if name)
    return tuple(symbols[name] for name in graph.outputs)


def leaf(value: Parameter, weights: Callable[[], NamedArrays]) -> Leaf:
    """A parameter of a graph as one of another in the making, which begins with the weight that there is then."""
    return Leaf(value.name, value.dtype, value.shape, parameter=True, initial=lambda rng, shape: weights()[value.name])


def _check_inputs(graph: Graph, inputs: Sequence[Symbol]) -> None:
    label = f"'{graph.name}' (network)"
    if len(inputs) != len(graph.inputs):
        names = ", ".join(value.name for value in graph.inputs)
        raise GraphError(
            [Fault(label, f"it takes {quantity(len(graph.inputs), 'input')} ({names}), not {len(inputs)}")]
        )
    faults = [
        Fault(label, f"it takes {value}, not {symbol.type}")
        for value, symbol in zip(graph.inputs, inputs, strict=True)
        if not _fits(value, symbol)
    ]
    if faults:
        raise GraphError(faults)


def _fits(value: Value, symbol: Symbol) -> bool:
    """True if a symbol fits an input: a symbolic dimension takes any other."""
    if value.dtype != symbol.dtype or len(value.shape) != len(symbol.shape):
        return False
    return all(isinstance(want, str) or want == found for want, found in zip(value.shape, symbol.shape, strict=True))
