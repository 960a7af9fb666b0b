"""Nodes that are one layer of Keras together: masked steps, a layer for each step, a repeated vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder
from portable_nn.converters.keras.rebuilding.recurrent import Masked, recurrent
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, plain
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Node, Tensor

_RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN"})

Make = Callable[[], None]
Group = tuple[set[str], list[str], Make]
"""The names of nodes, the values that their layer reads, and what makes it."""


def grouped(b: Rebuilder) -> dict[str, tuple[list[str], Make]]:
    """The inputs of the layer of each group, and the function that makes it, by the name of the node at which its
    inputs are there.

    The other nodes of a group are done.
    """
    made = {node.outputs[0]: node for node in b.graph.nodes} | {o: n for n in b.graph.nodes for o in n.outputs if o}
    found: dict[str, tuple[list[str], Make]] = {}
    for node in b.graph.nodes:
        for match in (_masked, _each_step, _repeated, _dropped):
            group = match(b, node, made) if node.name not in b.done else None
            if group is not None:
                names, reads, make = group
                b.done |= names - {node.name}
                found[node.name] = (reads, make)
    return found


def _chain(made: Mapping[str, Node], name: str, *operators: str) -> Node | None:
    """The node that makes a value through nodes of these operators, from the last one on."""
    node: Node | None = None
    for operator in operators:
        node = made.get(name)
        if node is None or node.operator != operator:
            return None
        name = node.inputs[0]
    return node


def _following(b: Rebuilder, name: str, *operators: str) -> Node | None:
    """The node behind a value that nodes of these operators alone read, one after the other."""
    node: Node | None = None
    for operator in operators:
        readers = [each for each in b.consumers.get(name, []) if each.operator != "Shape"]
        if len(readers) != 1 or readers[0].operator != operator or name in b.graph.outputs:
            return None
        node, name = readers[0], readers[0].outputs[0]
    return node


def _inside(b: Rebuilder, made: Mapping[str, Node], ends: Sequence[str], stops: set[str]) -> set[str] | None:
    """The names of the nodes between values, constants left out; ``None`` where others read a value in between."""
    waiting, names = list(ends), set[str]()
    while waiting:
        name = waiting.pop()
        node = made.get(name)
        if name in stops or node is None or not node.inputs or node.name in names:
            continue
        names.add(node.name)
        waiting += [each for each in node.inputs if each]
    for node in b.graph.nodes:
        if node.name in names:
            inner = [each for each in node.outputs if each and each not in ends]
            outside = [other for each in inner for other in b.consumers.get(each, []) if other.name not in names]
            if outside or any(each in b.graph.outputs for each in inner):
                return None
    return names


def _masked(b: Rebuilder, node: Node, made: Mapping[str, Node]) -> Group | None:
    """A recurrent node over the steps of a mask, which are brought to the front before it and back behind it."""
    if node.operator not in _RECURRENT or len(node.inputs) < 5 or not node.inputs[4]:
        return None
    total = _chain(made, node.inputs[4], "Cast", "Max", "Squeeze", "ReduceSum", "Cast")
    gathered = _chain(made, node.inputs[0], "Transpose", "GatherElements")
    if total is None or gathered is None:
        return None
    mask, x = total.inputs[0], gathered.inputs[0]
    steps: Node | None = None
    if b.is_read(node.outputs[0]):
        back = _following(b, node.outputs[0], "Squeeze", "Transpose", "GatherElements")
        steps = b.only_consumer(back.outputs[0]) if back is not None else None
        if steps is None or steps.operator != "Where":
            return None
    states = [_following(b, name, "Squeeze", "Where") if b.is_read(name) else None for name in node.outputs[1:]]
    if any(b.is_read(name) and state is None for name, state in zip(node.outputs[1:], states, strict=True)):
        return None
    there = made[steps.inputs[0]].inputs[0] if steps is not None else mask
    before = {each.inputs[2] for each in states if each is not None}
    ends = [each.outputs[0] for each in (steps, *states) if each is not None]
    names = _inside(b, made, ends, {x, mask, *node.inputs[1:4], *node.inputs[5:], *before})
    if names is None:
        return None
    last = [each.outputs[0] if each is not None else None for each in states]
    run = Masked(x, mask, steps is not None and there == mask, ends[0] if steps is not None else None, last)
    return names, [x, mask], partial(recurrent, b, node, run)


def _dropped(b: Rebuilder, node: Node, made: Mapping[str, Node]) -> Group | None:
    """A product with ones that are dropped, along some axes together."""
    for place in range(2 if node.operator == "Mul" else 0):
        dropout, ones = (_chain(made, node.inputs[place], *each) for each in (("Dropout",), ("Dropout", "Expand")))
        x = node.inputs[1 - place]
        if dropout is None or ones is None or _numbers(made, ones.inputs[0]) != (1,):
            continue
        names, shape = _inside(b, made, node.outputs, {x}), b.types[ones.outputs[0]].shape
        if names is not None and len(shape) == b.rank(x):
            return names, [x], partial(_together, b, node, dropout, shape, x)
    return None


def _together(b: Rebuilder, node: Node, dropout: Node, shape: Sequence[object], x: str) -> None:
    value, rate = b.values[x], b.untrained(dropout, 1)
    if not isinstance(value, Laid):
        b.refuse("what it drops is no tensor")
    noise = [1 if shape[axis] == 1 else None for axis in value.axes]
    layer = keras().layers.Dropout(0.5 if rate is None else float(rate), noise_shape=noise, name=b.key(node.name))
    b.values[node.outputs[0]] = value._replace(tensor=layer(value.tensor))


def _between(b: Rebuilder, names: set[str]) -> Iterator[Node]:
    yield from (node for node in b.graph.nodes if node.name in names)


def _each_step(b: Rebuilder, node: Node, made: Mapping[str, Node]) -> Group | None:
    """Layers between two Reshapes, of which the first makes examples of all steps: ``TimeDistributed``."""
    shape = _numbers(made, node.inputs[1]) if node.operator == "Reshape" else None
    rank = b.rank(node.inputs[0]) if shape is not None else 0
    if shape is None or shape[:1] != (-1,) or len(shape) != rank - 1 or rank < 3:
        return None
    if any(b.size(node.inputs[0], axis + 1) != size for axis, size in enumerate(shape) if axis):
        return None
    for end in b.graph.nodes:
        sizes = made.get(end.inputs[1]) if end.operator == "Reshape" else None
        if sizes is None or not _begins_with(made, sizes, node.inputs[0]):
            continue
        names = _inside(b, made, [end.outputs[0]], {node.inputs[0]})
        if names is not None and node.name in names:
            layers = names - {node.name, end.name} - _inside_of(b, made, end.inputs[1])
            return names, [node.inputs[0]], partial(_time_distributed, b, node, end, layers)
    return None


def _inside_of(b: Rebuilder, made: Mapping[str, Node], name: str) -> set[str]:
    """The nodes that make a value, but for those that others read as well."""
    waiting, names = [name], set[str]()
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.operator in ("Shape", "Concat", "Constant", "Slice"):
            names.add(node.name)
            waiting += [] if node.operator == "Shape" else node.inputs
    return names


def _numbers(made: Mapping[str, Node], name: str) -> tuple[float, ...] | None:
    node = made.get(name)
    value = node.attributes.get("value") if node is not None and node.operator == "Constant" else None
    return tuple(value.data) if isinstance(value, Tensor) else None


def _begins_with(made: Mapping[str, Node], sizes: Node, name: str) -> bool:
    """True if a shape is a Concat of sizes of a value, and numbers."""
    parts = [made.get(each) for each in sizes.inputs] if sizes.operator == "Concat" else []
    return bool(parts) and all(
        part is not None
        and (
            part.operator == "Constant"
            or (part.operator == "Shape" and part.inputs[0] == name)
            or _begins_with(made, part, name)
        )
        for part in parts
    )


def _time_distributed(b: Rebuilder, first: Node, end: Node, layers: set[str]) -> None:
    x = b.laid(first.inputs[0])
    inside = keras().Input(batch_shape=(None, *x.shape[2:]), dtype=b.types[first.inputs[0]].dtype)
    b.values[first.outputs[0]] = Laid(inside, plain(len(x.shape) - 1))
    b.done -= layers
    for node in _between(b, layers):
        if faults := b.make(node):
            raise RefusalError(*faults)
    model = keras().Model(inside, b.laid(end.inputs[0]))
    only = model.layers[1] if len(model.layers) == 2 else model
    made = keras().layers.TimeDistributed(only, name=b.name(end))(x)
    sizes = [size if isinstance(size, int) else -1 for size in b.types[end.outputs[0]].shape[2:]]
    if len(made.shape) != len(sizes) + 2:  # The second Reshape joins or parts the sizes of a step as well.
        made = keras().layers.TimeDistributed(keras().layers.Reshape(sizes))(made)
    b.values[end.outputs[0]] = Laid(made, plain(len(made.shape)))
    b.done |= layers


def _repeated(b: Rebuilder, node: Node, made: Mapping[str, Node]) -> Group | None:
    """A vector for each of several steps: ``RepeatVector``."""
    if node.operator != "Expand":
        return None
    lifted, steps = made.get(node.inputs[0]), b.size(node.outputs[0], 1) if b.rank(node.outputs[0]) == 3 else None
    if lifted is None or lifted.operator != "Unsqueeze" or _numbers(made, lifted.inputs[1]) != (1,) or steps is None:
        return None
    vector = lifted.inputs[0]
    sizes = made.get(node.inputs[1])
    if b.rank(vector) != 2 or sizes is None or not _begins_with(made, sizes, vector):
        return None
    names = _inside(b, made, [node.outputs[0]], {vector})
    if names is None:
        return None

    def make() -> None:
        if isinstance(b.values[vector], Fixed):
            b.refuse("it repeats a weight")
        layer = keras().layers.RepeatVector(steps, name=b.name(node))
        b.values[node.outputs[0]] = Laid(layer(b.laid(vector)), plain(3))

    return names, [vector], make
