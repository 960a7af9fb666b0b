"""Nodes that are one layer of Keras together: those that reading the layer makes, with its weights among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.layers import LAYERS
from portable_nn.converters.keras.rebuilding.guesses import GUESSES, Guess, Nodes
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder
from portable_nn.converters.keras.rebuilding.values import Laid, last, plain
from portable_nn.converters.keras.spec import Held, Numbered, Spec
from portable_nn.core.errors import PortableNNError, RefusalError
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array
from portable_nn.operators import Leaf, Symbol

Make = Callable[[], None]


class Group(NamedTuple):
    """Nodes that are a layer: their names, the values that it reads, and what makes it."""

    names: set[str]
    reads: list[str]
    make: Make


def grouped(b: Rebuilder) -> dict[str, tuple[list[str], Make]]:
    """The inputs of the layer of each group, and the function that makes it, by the name of the node at which its
    inputs are there.

    The other nodes of a group are done. Those that begin a layer for each step come first, then those that end others,
    from the last one on: what is a part of a group is in none of its own.
    """
    nodes, found = Nodes(b), dict[str, tuple[list[str], Make]]()
    for match, order in ((_each_step, b.graph.nodes), (_guessed, b.graph.nodes[::-1])):
        for node in order:
            group = match(nodes, node) if node.name not in b.done else None
            if group is not None and b.done.isdisjoint(group.names):
                begin = max((nodes.places.get(name, -1) for name in group.reads), default=-1)
                place = min(place for name in group.names if (place := nodes.order[name]) > begin)
                b.done |= group.names
                found[b.graph.nodes[place].name] = (group.reads, group.make)
    b.done -= found.keys()
    return found


# -- layers that nodes may be


class _Matching:
    """The values of a graph that are computed as symbols are, by symbol, and the names of their nodes.

    Args:
        nodes: the graph.
        arguments: the values that the first symbols are.
    """

    def __init__(self, nodes: Nodes, arguments: Mapping[Symbol, str]) -> None:
        self.nodes, self.bound, self.names = nodes, dict(arguments), set[str]()

    def agrees(self, symbol: Symbol | None, name: str) -> bool:
        """True if a value is computed as a symbol is; a parameter of a layer may be any of the graph."""
        if symbol is None or not name or symbol in self.bound:
            return self.bound.get(symbol, "") == name if symbol else not name
        node, origin = self.nodes.made.get(name), symbol.origin
        if isinstance(symbol, Leaf):
            same = name in self.nodes.parameters and self.nodes.types[name][:2] == symbol.type[:2]
        else:
            assert origin.operator
            same = node is not None and (node.operator, node.domain, node.attributes, len(node.inputs)) == (
                origin.operator.name, origin.operator.domain, origin.attributes, len(origin.inputs)
            ) and node.outputs[symbol.index : symbol.index + 1] == (name,) and all(
                map(self.agrees, origin.inputs, node.inputs)
            )  # fmt: skip
        if same:
            self.bound[symbol] = name
            self.names |= {node.name} if node is not None and name in self.nodes.varying else set()
        return same

    def follows(self, symbol: Symbol) -> str | None:
        """The value that is computed from what is known already as a symbol is, if anything reads it."""
        if symbol in self.bound or symbol.origin.operator is None:
            return self.bound.get(symbol)
        before = [name for each in symbol.origin.inputs if each is not None and (name := self.follows(each))]
        readers = [node for name in before for node in self.nodes.consumers.get(name, [])]
        names = [name for node in readers for name in node.outputs if name]
        return next((name for name in names if self.agrees(symbol, name)), None)


def _guessed(nodes: Nodes, end: Node) -> Group | None:
    """The layer that the nodes before a last one are, proved by those that reading it makes."""
    for guess in (guess for make in GUESSES.get(end.operator, ()) for guess in make(nodes, end)):
        names = [*_leaves(guess.given), *_leaves(guess.options)]
        if any(name not in nodes.varying for name in names):
            continue
        for moved in (False, True) if any(len(nodes.types[name].shape) > 2 for name in names) else (False,):
            if (group := _proved(nodes, end, guess, moved)) is not None:
                return group
    return None


def _proved(nodes: Nodes, end: Node, guess: Guess, moved: bool) -> Group | None:
    """The group of a guess, whose tensors lie with the channels behind the batch if they are ``moved``."""
    leaves = {name: Leaf(name, *nodes.types[name][:2]) for name in [*_leaves(guess.given), *_leaves(guess.options)]}
    held = {name: Held(moved=leaf) if moved else Held(leaf) for name, leaf in leaves.items()}
    if guess.mask:
        leaves[guess.mask] = Leaf(guess.mask, *nodes.types[guess.mask][:2])
        held[guess.given].mask = leaves[guess.mask]
    weights = Numbered()
    spec = Spec(guess.kind, guess.config, "", "", weights, [])
    try:
        made = LAYERS[guess.kind](spec, _mapped(guess.given, held), **_mapped(guess.options, held))
    except PortableNNError:
        return None
    results = made if isinstance(made, list) else [made]
    symbols = [each.moved if each.lies_moved else each.plain for each in results]
    matching = _Matching(nodes, {leaf: name for name, leaf in leaves.items()})
    if len(symbols) <= guess.place or not matching.agrees(symbols[guess.place], end.outputs[0]):
        return None
    ends = [matching.follows(symbol) for symbol in symbols]
    arrays = _arrays(nodes, weights, matching)
    if arrays is None or not nodes.are_closed(matching.names, ends):
        return None
    outputs = [(name, each.lies_moved) for name, each in zip(ends, results, strict=True)]
    make = partial(_make, nodes.b, end, guess, moved, outputs, arrays)
    return Group(matching.names, [*leaves], make)


def _arrays(nodes: Nodes, weights: Numbered, matching: _Matching) -> list[tuple[str, Array]] | None:
    """The weights of a layer in Keras's order and shapes, each with the parameter that it is in, or a part of.

    Where reading the layer puts each element says where each comes from.
    """
    found, whose, names = np.zeros(weights.size), np.full(weights.size, -1), list[str]()
    for symbol, name in matching.bound.items():
        if isinstance(symbol, Leaf) and symbol.parameter:
            here = nodes.b.network.parameters.arrays[name]
            numbers = np.broadcast_to(np.asarray(symbol.initial, np.float64), here.shape)
            if numbers.size and numbers.flat[0] >= weights.FIRST:
                places = (numbers - weights.FIRST).astype(np.int64)
                found[places], whose[places] = here, len(names)
                names.append(name)
            elif nodes.parameters[name] or not np.array_equal(here, numbers.astype(here.dtype)):
                return None
    if (whose < 0).any():
        return None
    arrays, begin = list[tuple[str, Array]](), 0
    for shape in weights.shapes.values():
        end, name = begin + int(np.prod(shape)), names[whose[begin]]
        dtype = nodes.b.network.parameters.arrays[name].dtype
        arrays.append((name, found[begin:end].reshape(shape).astype(dtype)))
        begin = end
    return arrays


def _make(
    b: Rebuilder,
    end: Node,
    guess: Guess,
    moved: bool,
    outputs: Sequence[tuple[str | None, bool]],
    arrays: Sequence[tuple[str, Array]],
) -> None:
    """Make the layer and call it."""
    names = [*_leaves(guess.given), *_leaves(guess.options)]
    tensors = {name: b.laid(name, last(b.rank(name)) if moved else None) for name in dict.fromkeys(names)}
    options = _mapped(guess.options, tensors) | ({"mask": b.laid(guess.mask)} if guess.mask else {})

    def make(name: str) -> Any:
        layer = getattr(keras().layers, guess.kind)
        return layer.from_config({**guess.config, "name": name})

    if arrays:
        node = Node(end.name, guess.kind, tuple(name for name, _ in arrays), end.outputs, {"config": str(guess.config)})
        weights = [(place, array) for place, (_, array) in enumerate(arrays)]
        made = b.call(node, make, _mapped(guess.given, tensors), weights, **options)
    else:
        made = make(b.name(end))(_mapped(guess.given, tensors), **options)
    for (name, lies_moved), tensor in zip(outputs, made if isinstance(made, list | tuple) else [made], strict=True):
        if name is not None:
            rank = b.rank(name)
            b.values[name] = Laid(tensor, last(rank) if lies_moved else plain(rank))


def _leaves(value: Any) -> Iterator[str]:
    """The values in a structure of arguments."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)


def _mapped(value: Any, made: Mapping[str, Any]) -> Any:
    """A structure of arguments with what stands for each value."""
    if isinstance(value, dict):
        return {key: _mapped(each, made) for key, each in value.items()}
    return [_mapped(each, made) for each in value] if isinstance(value, list) else made.get(value, value)


# -- a layer for each step


def _each_step(nodes: Nodes, first: Node) -> Group | None:
    """Layers between two Reshapes, of which the first makes examples of all steps: ``TimeDistributed``."""
    sizes = nodes.numbers(first.inputs[1]) if first.operator == "Reshape" else ()
    x = first.inputs[0] if sizes else ""
    shape = nodes.types[x].shape if sizes else ()
    if len(shape) < 3 or sizes != (-1, *shape[2:]):
        return None
    for end in nodes.b.graph.nodes:
        if end.operator == "Reshape" and nodes.begins_with(end.inputs[1], x):
            names = nodes.between(x, end)
            if first.name in names:
                rest = names - {first.name, end.name} - nodes.shaping(end.inputs[1])
                return Group(names, [x], partial(_time_distributed, nodes.b, first, end, rest))
    return None


def _time_distributed(b: Rebuilder, first: Node, end: Node, layers: set[str]) -> None:
    x = b.laid(first.inputs[0])
    inside = keras().Input(batch_shape=(None, *x.shape[2:]), dtype=b.types[first.inputs[0]].dtype)
    b.values[first.outputs[0]] = Laid(inside, plain(len(x.shape) - 1))
    b.done -= layers
    for node in b.graph.nodes:
        if node.name in layers and (faults := b.make(node)):
            raise RefusalError(*faults)
    model = keras().Model(inside, b.laid(end.inputs[0]))
    only = model.layers[1] if len(model.layers) == 2 else model
    made = keras().layers.TimeDistributed(only, name=b.name(end))(x)
    sizes = [size if isinstance(size, int) else -1 for size in b.types[end.outputs[0]].shape[2:]]
    if len(made.shape) != len(sizes) + 2:  # The second Reshape joins or parts the sizes of a step as well.
        made = keras().layers.TimeDistributed(keras().layers.Reshape(sizes))(made)
    b.values[end.outputs[0]] = Laid(made, plain(len(made.shape)))
    b.done |= layers
