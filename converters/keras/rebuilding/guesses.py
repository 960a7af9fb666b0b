"""The layers of Keras that nodes may be, by the operator of their last node: classes, options and arguments.

A guess that is wrong does no harm: it is a layer only where reading that layer makes the very nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from portable_nn.converters.keras.rebuilding.nodes import whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder
from portable_nn.converters.keras.rebuilding.recurrent import options_of
from portable_nn.converters.keras.rebuilding.words import WORDS, plain_activation
from portable_nn.converters.layers.gates import OPERATORS
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Node, Tensor


class Guess(NamedTuple):
    """A layer that nodes may be.

    Attributes:
        kind: its class.
        config: its options.
        given: its argument: the name of a value, or a list of names.
        options: its arguments by name.
        mask: the value that is the mask of its argument.
        place: which of its results the last node makes.
    """

    kind: str
    config: Mapping[str, Any]
    given: Any
    options: Mapping[str, Any] = {}
    mask: str = ""
    place: int = 0


class Nodes:
    """The nodes of a graph: which makes a value, which read it, and which depend on an input."""

    def __init__(self, b: Rebuilder) -> None:
        self.b, self.types, self.consumers, self.outputs = b, b.types, b.consumers, b.graph.outputs
        self.made = b.graph.makers()
        self.order = {node.name: place for place, node in enumerate(b.graph.nodes)}
        self.places = {name: self.order[node.name] for name, node in self.made.items()}
        self.parameters = {each.name: each.trainable for each in b.graph.parameters}
        self.varying = {each.name for each in b.graph.inputs}
        for node in b.graph.nodes:
            if not self.varying.isdisjoint(node.inputs):
                self.varying.update(filter(None, node.outputs))

    def numbers(self, name: str) -> tuple[Any, ...]:
        """The numbers of a constant; none of another value."""
        node = self.made.get(name)
        value = node.attributes.get("value") if node is not None and node.operator == "Constant" else None
        return tuple(value.data) if isinstance(value, Tensor) else ()

    def maker(self, name: str, *operators: str) -> Node | None:
        """The node that makes a value, if it is one of these operators."""
        node = self.made.get(name)
        return node if node is not None and node.operator in operators else None

    def above(self, name: str, *operators: str, most: int = 24) -> Node | None:
        """The nearest node of these operators that a value depends on, among so many."""
        waiting, seen = [name], set[str]()
        while waiting and len(seen) < most:
            node = self.made.get(name := waiting.pop(0))
            if node is not None and node.operator in operators:
                return node
            if node is not None and name in self.varying and name not in seen:
                seen.add(name)
                waiting += filter(None, node.inputs)
        return None

    def begins_with(self, sizes: str, name: str) -> bool:
        """True if a shape is a Concat of sizes of a value, and numbers."""
        node = self.made.get(sizes)
        return node is not None and node.operator == "Concat" and all(
            self.maker(part, "Constant") is not None
            or ((shape := self.maker(part, "Shape")) is not None and shape.inputs[0] == name)
            or self.begins_with(part, name)
            for part in node.inputs
        )  # fmt: skip

    def shaping(self, sizes: str) -> set[str]:
        """The nodes that make a shape."""
        node = self.maker(sizes, "Shape", "Concat")
        parts = node.inputs if node is not None and node.operator == "Concat" else ()
        return {*([node.name] if node is not None else ()), *(each for part in parts for each in self.shaping(part))}

    def between(self, x: str, end: Node) -> set[str]:
        """The names of the nodes between two values, constants left out; none where others read a value in between."""
        waiting, names = [end.outputs[0]], set[str]()
        while waiting:
            name = waiting.pop()
            node = self.made.get(name)
            if name != x and node is not None and node.inputs and node.name not in names:
                names.add(node.name)
                waiting += filter(None, node.inputs)
        return names if self.are_closed(names, end.outputs) else set()

    def are_closed(self, names: set[str], ends: Sequence[str | None]) -> bool:
        """True if no other nodes read what these make, but for their results."""
        inner = {name for each in names for name in self.b.graph.nodes[self.order[each]].outputs if name} - {*ends}
        readers = {node.name for name in inner for node in self.consumers.get(name, ())}
        return readers <= names and inner.isdisjoint(self.outputs)


Guesser = Callable[[Nodes, Node], Iterator[Guess]]

GUESSES: Final[dict[str, list[Guesser]]] = {}
"""The functions that guess layers, by the operator of the last node: ``(nodes, the last node) → guesses``."""


def _ends(*operators: str) -> Callable[[Guesser], Guesser]:
    """Decorate a function that guesses layers whose last node is one of these operators."""

    def add(make: Guesser) -> Guesser:
        for operator in operators:
            GUESSES.setdefault(operator, []).append(make)
        return make

    return add


def _described(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A layer in the options of another one."""
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


# -- layers of one tensor


@_ends("Div")
def _unit(nodes: Nodes, end: Node) -> Iterator[Guess]:
    total = nodes.above(end.inputs[1], "ReduceSum", most=3)
    for axis in nodes.numbers(total.inputs[1]) if total is not None else ():
        yield Guess("UnitNormalization", {"axis": axis}, end.inputs[0])


@_ends("Expand")
def _repeated(nodes: Nodes, end: Node) -> Iterator[Guess]:
    lifted, shape = nodes.maker(end.inputs[0], "Unsqueeze"), nodes.types[end.outputs[0]].shape
    if lifted is not None and len(shape) == 3 and isinstance(shape[1], int):
        yield Guess("RepeatVector", {"n": shape[1]}, lifted.inputs[0])


@_ends("Mul")
def _dropped(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """A product with ones that are dropped, along some axes together."""
    dropout = nodes.maker(end.inputs[1], "Dropout")
    ones = nodes.maker(dropout.inputs[0], "Expand") if dropout is not None else None
    rates = nodes.numbers(dropout.inputs[1]) if dropout is not None and len(dropout.inputs) > 1 else ()
    if ones is None or not rates:
        return
    shape = nodes.types[ones.outputs[0]].shape
    yield Guess(f"SpatialDropout{len(shape) - 2}D", {"rate": rates[0]}, end.inputs[0])
    for order in (shape, (*shape[:1], *shape[2:], *shape[1:2])):
        noise = [1 if size == 1 else None for size in order]
        yield Guess("Dropout", {"rate": rates[0], "noise_shape": noise}, end.inputs[0])


@_ends("Where")
def _bounded(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """ReLU with a slope, a threshold and a largest value."""
    above, product_, top = (nodes.made.get(name) for name in (end.inputs[0], end.inputs[2], end.inputs[1]))
    if above is None or above.operator != "Greater" or product_ is None or product_.operator != "Mul":
        return
    most = nodes.numbers(top.inputs[1]) if top is not None and top.operator == "Min" else ()
    for threshold, slope in zip(nodes.numbers(above.inputs[1]), nodes.numbers(product_.inputs[1]), strict=False):
        config = {"negative_slope": slope, "threshold": threshold, "max_value": most[0] if most else None}
        yield Guess("ReLU", config, above.inputs[0])


@_ends("PRelu")
def _prelu(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """Slopes of all entries, or of those of the last axis."""
    sizes, slopes = (nodes.types[name].shape for name in end.inputs)
    if len(slopes) == len(sizes) - 1 and slopes[-1] != 1:
        shared = [axis for axis, size in enumerate(slopes, 1) if size == 1 != sizes[axis]]
        yield Guess("PReLU", {"shared_axes": shared or None}, end.inputs[0])


@_ends("Add", "Mul")
def _rescaled(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """A product with a frozen parameter, and a sum with another one."""
    first = end if end.operator == "Mul" else nodes.maker(end.inputs[0], "Mul")
    names = [each.inputs[1] for each in (first, end) if each is not None]
    if first is not None and nodes.parameters.keys() >= {*names}:
        arrays = [nodes.b.network.parameters.arrays[name] for name in dict.fromkeys(names)]
        for numbers in ([each.tolist() for each in arrays], [float(each.flat[0]) for each in arrays]):
            yield Guess("Rescaling", dict(zip(("scale", "offset"), [*numbers, 0.0], strict=False)), first.inputs[0])


@_ends("Cast")
def _binned(nodes: Nodes, end: Node) -> Iterator[Guess]:
    above = nodes.above(end.inputs[0], "GreaterOrEqual", most=3)
    lifted = nodes.maker(above.inputs[0], "Unsqueeze") if above is not None else None
    if above is not None and lifted is not None:
        yield Guess("Discretization", {"bin_boundaries": [*nodes.numbers(above.inputs[1])]}, lifted.inputs[0])


@_ends("ReduceMax", "ReduceSum")
def _encoded(nodes: Nodes, end: Node) -> Iterator[Guess]:
    rows = nodes.maker(end.inputs[0], "Gather")
    if rows is not None and nodes.maker(rows.inputs[0], "Constant"):
        tokens, cast = nodes.types[rows.inputs[0]].shape[0], nodes.maker(rows.inputs[1], "Cast")
        for mode, name in product(("multi_hot", "count", "one_hot"), {rows.inputs[1], *(cast.inputs if cast else ())}):
            yield Guess("CategoryEncoding", {"num_tokens": tokens, "output_mode": mode}, name)


@_ends("Resize")
def _resized(nodes: Nodes, end: Node) -> Iterator[Guess]:
    height, width = (*nodes.types[end.outputs[0]].shape, None, None)[2:4]
    mode = {"linear": "bilinear"}.get(str(end.attributes.get("mode")), "nearest")
    yield Guess("Resizing", {"height": height, "width": width, "interpolation": mode}, end.inputs[0])


# -- convolutions


def _activated(nodes: Nodes, end: Node, operator: str) -> tuple[Node | None, dict[str, Any]]:
    """A node with weights that is the last one, or the one before the activation of its layer, and the options that
    both have."""
    word = plain_activation(end)
    node = nodes.maker((end.inputs if word else end.outputs)[0], operator)
    if node is None or (word is not None and nodes.b.activation_of(node, end.inputs[0]) != word):
        return None, {}
    return node, {"activation": word, "use_bias": len(node.inputs) > 2}


def _window(node: Node) -> dict[str, Any]:
    kernel = wholes(node, "kernel_shape", [])
    strides, dilations = (wholes(node, name, [1] * len(kernel)) for name in ("strides", "dilations"))
    return {"kernel_size": kernel, "strides": strides, "dilation_rate": dilations}


@_ends("Conv", *WORDS)
def _separable(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """Two convolutions, of which the names of the weights say that they are one layer."""
    last, options = _activated(nodes, end, "Conv")
    first = nodes.maker(last.inputs[0], "Conv") if last is not None else None
    if last is None or first is None or first.inputs[1] != f"{last.inputs[1].removesuffix('weight')}depthwise.weight":
        return
    filters, channels = (nodes.types[each.inputs[1]].shape[0] for each in (last, first))
    times = int(channels) // whole(first, "group", 1)
    config = {"filters": filters, "depth_multiplier": times, **_window(first), **options}
    for padding in ("valid", "same"):
        kind = f"SeparableConv{len(config['kernel_size'])}D"
        yield Guess(kind, {**config, "padding": padding}, first.inputs[0])


@_ends("ConvTranspose", *WORDS)
def _transposed(nodes: Nodes, end: Node) -> Iterator[Guess]:
    node, options = _activated(nodes, end, "ConvTranspose")
    if node is not None:
        config = {"filters": nodes.types[node.inputs[1]].shape[1], **_window(node), **options}
        for padding in ("valid", "same"):
            kind = f"Conv{len(config['kernel_size'])}DTranspose"
            yield Guess(kind, {**config, "padding": padding}, node.inputs[0])


# -- layers of several tensors


@_ends("Einsum", "Unsqueeze")
def _dot(nodes: Nodes, end: Node) -> Iterator[Guess]:
    node = nodes.above(end.outputs[0], "Einsum", most=2)
    sides, _, kept = str(node.attributes["equation"]).partition("->") if node is not None else ("", "", "")
    left, _, right = sides.partition(",")
    axes = [[side.find(letter) for side in (left, right)] for letter in left if letter in right and letter not in kept]
    if node is None or len(node.inputs) != 2:
        return
    before = [nodes.maker(name, "Div") for name in node.inputs]
    for pair in axes:
        if all(before):
            yield Guess("Dot", {"axes": pair, "normalize": True}, [each.inputs[0] for each in before if each])
        yield Guess("Dot", {"axes": pair}, [*node.inputs])


@_ends("Add", "MatMul")
def _attention(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """MultiHeadAttention and GroupQueryAttention."""
    node = nodes.above(end.outputs[0], "Attention", most=3)
    sides = [nodes.above(name, "MatMul", most=2) for name in node.inputs[:3]] if node is not None else []
    if node is None or any(each is None for each in sides):
        return
    query, key, value = (each.inputs[0] for each in sides if each is not None)
    sizes = [nodes.types[name].shape[-1] for name in (*node.inputs[:3], end.outputs[0])]
    heads, shared = (whole(node, name, 0) for name in ("q_num_heads", "kv_num_heads"))
    if not heads or not shared or not all(isinstance(each, int) for each in sizes):
        return
    depth, deep, features = sizes[0] // heads, sizes[2] // shared, sizes[3]  # type: ignore[operator]
    mask = nodes.above(node.inputs[3], "Unsqueeze") if len(node.inputs) > 3 else None
    options = {"value": value} | ({} if key == value else {"key": key})
    options |= {"attention_mask": mask.inputs[0]} if mask is not None else {}
    bias = {"use_bias": end.operator == "Add"}
    of_many = {"num_heads": heads, "key_dim": depth, "value_dim": deep, "output_shape": features, **bias}
    of_groups = {"head_dim": depth, "num_query_heads": heads, "num_key_value_heads": shared, **bias}
    for causal in ({}, {"use_causal_mask": True}):
        if heads == shared:
            yield Guess("MultiHeadAttention", of_many, query, {**options, **causal})
        yield Guess("GroupQueryAttention", of_groups, query, {**options, **causal})


@_ends("Identity")
def _scored(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """Attention and AdditiveAttention."""
    made = nodes.maker(end.inputs[0], "MatMul")
    softmax = nodes.maker(made.inputs[0], "Softmax") if made is not None else None
    if made is None or softmax is None:
        return
    scores = nodes.above(softmax.inputs[0], "MatMul", "Tanh")
    both = nodes.above(scores.inputs[0], "Add", most=4) if scores is not None and scores.operator == "Tanh" else scores
    if both is None:
        return
    turned = [nodes.maker(name, "Transpose" if both is scores else "Unsqueeze") for name in both.inputs]
    turned[0] = None if both is scores else turned[0]
    query, key = (name if node is None else node.inputs[0] for name, node in zip(both.inputs, turned, strict=True))
    given = [query, made.inputs[1], *([key] if key != made.inputs[1] else [])]
    for scale, causal in product((False, True), ({}, {"use_causal_mask": True})):
        for mode in ("dot", "concat"):
            yield Guess("Attention", {"use_scale": scale, "score_mode": mode}, given, causal)
        yield Guess("AdditiveAttention", {"use_scale": scale}, given, causal)


# -- recurrent layers


class _Run(NamedTuple):
    """A node of a recurrent layer: its class and options, and what it reads."""

    kind: str
    config: Mapping[str, Any]
    x: str
    mask: str
    states: list[str]
    backwards: bool


def _run(nodes: Nodes, node: Node) -> _Run | None:
    """The layer that a node is a part of, with those that order, reverse and drop what it reads."""
    kind = OPERATORS[node.operator].keras_class
    both = 2 if node.attributes.get("direction") == "bidirectional" else 1
    try:
        config = {"units": node.attributes["hidden_size"], **options_of(node, both)}
    except RefusalError:
        return None
    turned = nodes.maker(node.inputs[0], "Transpose")
    x, backwards = turned.inputs[0] if turned is not None else "", False
    while (before := nodes.maker(x, "GatherElements", "Slice", "Mul")) is not None:
        if before.operator == "Mul":
            dropout = nodes.maker(before.inputs[1], "Dropout")
            if dropout is None or nodes.above(dropout.inputs[0], "Expand", most=2) is None:
                break
            config["dropout"] = nodes.numbers(dropout.inputs[1])[0]
        backwards = backwards or before.operator == "Slice"
        x = before.inputs[0]
    inputs = [*node.inputs, "", "", "", ""]
    total = nodes.above(inputs[4], "ReduceSum") if inputs[4] else None
    counted = nodes.maker(total.inputs[0], "Cast") if total is not None else None
    mask = counted.inputs[0] if counted is not None else ""
    if backwards and mask and (whole := nodes.maker(mask, "Slice")) is not None:
        mask = whole.inputs[0]
    states = [each.inputs[0] for name in inputs[5:7] if (each := nodes.maker(name, "Unsqueeze")) is not None]
    return _Run(kind, config, x, mask, states, backwards)


@_ends("Identity", "Reshape", "Squeeze", "Transpose", "Where")
def _recurrent(nodes: Nodes, end: Node) -> Iterator[Guess]:
    """LSTM, GRU and SimpleRNN, cells on top of each other, and two directions."""
    node = nodes.above(end.outputs[0], "LSTM", "GRU", "RNN")
    ran = _run(nodes, node) if node is not None else None
    if node is None or ran is None or not ran.x:
        return
    is_both, is_named = node.attributes.get("direction") == "bidirectional", end.operator == "Identity"
    given = {"initial_state": ran.states} if ran.states else {}
    sequences = {"return_sequences": len(nodes.types[end.outputs[0]].shape) == 3}
    place = 0 if is_named or is_both else _place_of_state(nodes, node, end)
    if is_named:
        yield from _cells(nodes, ran, {**sequences, "zero_output_for_mask": False})
    for state, zeros in product((False, True), (False, True) if ran.mask else (True,)):
        options = {**sequences, "return_state": state, "zero_output_for_mask": zeros}
        if is_both:
            for mode in ("concat", "sum", "mul", "ave")[: None if is_named else not state]:
                config: dict[str, Any] = {"layer": _described(ran.kind, {**ran.config, **options}), "merge_mode": mode}
                yield Guess("Bidirectional", config, ran.x, given, ran.mask)
        elif is_named or (state and place):
            config = {**ran.config, **options, "go_backwards": ran.backwards}
            yield Guess(ran.kind, config, ran.x, given, ran.mask, place)
    if is_named:
        yield from _pair(nodes, end, {**sequences, "zero_output_for_mask": sequences["return_sequences"]})


def _place_of_state(nodes: Nodes, node: Node, end: Node) -> int:
    """The number of the last state that a node squeezes, among the results of a layer; 0 for another value."""
    last = nodes.maker(end.inputs[1], "Squeeze") if end.operator == "Where" else end
    is_state = last is not None and last.operator == "Squeeze" and last.inputs[0] in node.outputs[1:]
    return node.outputs.index(last.inputs[0]) if last is not None and is_state else 0


def _cells(nodes: Nodes, ran: _Run, options: Mapping[str, Any]) -> Iterator[Guess]:
    """Cells on top of each other: a node reads the steps of another one as they are."""
    cells = list[dict[str, Any]]()
    found: _Run | None = ran
    while found is not None:
        cells, ran = [_described(f"{found.kind}Cell", found.config), *cells], found
        turned = nodes.maker(ran.x, "Transpose", "Where")
        node = nodes.above(turned.inputs[-1], "LSTM", "GRU", "RNN", "Identity", most=5) if turned is not None else None
        found = _run(nodes, node) if node is not None and node.operator != "Identity" else None
    if len(cells) > 1:
        config = {"cell": _described("StackedRNNCells", {"cells": cells}), "go_backwards": ran.backwards, **options}
        yield Guess("RNN", config, ran.x, {}, ran.mask)


def _pair(nodes: Nodes, end: Node, options: Mapping[str, Any]) -> Iterator[Guess]:
    """Two directions that are a node each."""
    merged = nodes.above(end.outputs[0], "Concat", "Add", "Mul", most=3)
    if merged is not None and nodes.numbers(merged.inputs[-1]):  # The half of a sum.
        merged = nodes.maker(merged.inputs[0], "Add")
    both = [nodes.above(name, "LSTM", "GRU", "RNN") for name in merged.inputs[:2]] if merged is not None else []
    runs = [_run(nodes, node) for node in both if node is not None]
    if len(runs) == 2 and (one := runs[0]) is not None and (other := runs[1]) is not None:
        layer, back = ({**each.config, **options, "go_backwards": each.backwards} for each in (one, other))
        layers: dict[str, Any] = {"layer": _described(one.kind, layer), "backward_layer": _described(other.kind, back)}
        for mode in ("concat", "sum", "mul", "ave"):
            yield Guess("Bidirectional", {**layers, "merge_mode": mode}, one.x, {}, one.mask)
