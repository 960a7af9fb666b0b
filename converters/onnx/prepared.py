"""Preprocessing as part of a network: what is arithmetic becomes nodes, and pictures go in as bytes.

The steps that a network's manifest lists end with arithmetic: scaling, means and deviations, the order of the axes.
Those are operators that every runtime has. What goes before them looks at a picture as a whole (decoding, cropping,
resizing, finding a digit) and stays outside, except an inversion that is known to be needed and comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.onnx.sizing import rebuilt
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Node, Shape, Tensor, Value
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.scope import Names
from portable_nn.operators.registry import DTYPE_CODES
from portable_nn.operators.symbols import plain_float
from portable_nn.preprocessing.steps import (
    Normalise,
    PictureStep,
    Polarity,
    Preprocessing,
    Reshape,
    Scale,
    Step,
    Transpose,
    picture_shape,
)

WHITE: Final = 255.0


class Prepared(NamedTuple):
    """A network that begins with nodes for the ``inside`` steps; whoever runs it has to do those ``outside`` before."""

    network: Network
    input: str
    inside: Preprocessing
    outside: Preprocessing

    def by_hand(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """What the network without these nodes has to be fed instead of ``feeds``: this package's own arithmetic."""
        levels = feeds[self.input].astype(np.float32)
        for step in self.inside:
            levels = step(levels)
        return {**feeds, self.input: np.ascontiguousarray(levels)}


def with_preprocessing(network: Network) -> Prepared:
    """``network`` with nodes for what of the preprocessing can be nodes; pictures then go in as bytes, 0 to 255.

    What is made of tables stays of the type that it has.

    Raises:
        UsageError: it has no such step, more than one input with steps, or steps that cannot give what it takes.
    """
    infos = [info for info in network.inputs if info.preprocessing]
    if len(infos) != 1:
        found = "none of its inputs has any" if not infos else f"{len(infos)} of its inputs have"
        raise UsageError(f"the model has no preprocessing that could become nodes: {found}")
    [info] = infos
    place = [value.name for value in network.graph.inputs].index(info.name)
    value = network.graph.inputs[place]
    inside, outside = _divided(info.preprocessing)
    if not inside:
        steps = ", ".join(map(str, outside))
        raise UsageError(f"the model has no preprocessing that could become nodes: all of it needs pictures ({steps})")
    start = _start(value, inside, picture_shape(info.preprocessing))
    nodes = _Nodes(network, info.name)
    taken = Value(info.name, "uint8" if info.kind == "image" else "float32", (value.shape[0], *start))
    if taken.dtype != "float32":
        nodes.add("Cast", to=DTYPE_CODES["float32"])
    rank = len(start)
    for step in inside:
        _MADE[type(step)](nodes, step, rank)
        rank = len(step.shape) if isinstance(step, Reshape) else rank
    if value.dtype != "float32":
        nodes.add("Cast", to=DTYPE_CODES[value.dtype])
    inputs = tuple(taken if each is value else each for each in network.graph.inputs)
    graph = replace(network.graph, inputs=inputs, nodes=(*nodes.made, *nodes.reading()))
    told = tuple(replace(each, preprocessing=outside) if each is info else each for each in network.inputs)
    refused = f"the preprocessing does not give what '{info.name}' takes, {value}"
    prepared = rebuilt(network, graph, inputs=told, refused=refused)
    if prepared.types[nodes.last].shape != value.shape:
        raise UsageError(f"{refused}: it gives {prepared.types[nodes.last]}")
    return Prepared(prepared, info.name, inside, outside)


def _divided(steps: Preprocessing) -> tuple[Preprocessing, Preprocessing]:
    """The steps that can be nodes, which are the last ones, and those before them."""
    count = next((at for at, step in enumerate(steps) if not isinstance(step, PictureStep)), len(steps))
    while count and _is_settled(steps[count - 1]):
        count -= 1
    return steps[count:], steps[:count]


def _is_settled(step: Step) -> bool:
    return isinstance(step, Polarity) and step.found != "auto"


def _start(value: Value, steps: Sequence[Step], known: tuple[int, ...] | None) -> Shape:
    """The shape of one example before the first of ``steps``, which end with what ``value`` is."""
    if known is not None:
        return known
    shape = value.shape[1:]
    for step in reversed(steps):
        if isinstance(step, Transpose) and len(step.axes) == len(shape):
            shape = tuple(shape[step.axes.index(axis)] for axis in range(len(shape)))
    return shape


class _Nodes:
    """Nodes that follow one another, from the input on; the last one's output stands for what the input was."""

    def __init__(self, network: Network, start: str) -> None:
        graph = network.graph
        self._graph, self._start, self.last = graph, start, start
        self._names = Names([*graph.values(), *(node.name for node in graph.nodes)])
        self.made: list[Node] = []

    def add(self, operator: str, *constants: Tensor, **attributes: Any) -> None:
        """One more node, which takes what the last one makes and ``constants``."""
        name = self._names.fresh(f"{self._start}.{operator.lower()}")
        read = [self.last]
        for constant in constants:
            made = self._names.fresh(f"{name}.by")
            self.made.append(Node(made, "Constant", (), (made,), {"value": constant}))
            read.append(made)
        self.made.append(Node(name, operator, tuple(read), (name,), attributes))
        self.last = name

    def reading(self) -> list[Node]:
        """The network's nodes, which read what the last of these makes instead of the input."""
        new = {self._start: self.last}
        return [replace(node, inputs=tuple(new.get(name, name) for name in node.inputs)) for node in self._graph.nodes]


def _float(*values: float, shape: tuple[int, ...] = ()) -> Tensor:
    return Tensor("float32", shape, tuple(plain_float(value) for value in values))


def _polarity(nodes: _Nodes, step: Any, rank: int) -> None:
    if step.found != step.ink:
        nodes.add("Neg")
        nodes.add("Add", _float(WHITE))


def _scale(nodes: _Nodes, step: Any, rank: int) -> None:
    nodes.add("Mul", _float(step.factor))
    nodes.add("Add", _float(step.offset))


def _normalise(nodes: _Nodes, step: Any, rank: int) -> None:
    shape = (len(step.mean),) + (1,) * (rank - step.axis - 1)
    nodes.add("Sub", _float(*step.mean, shape=shape))
    nodes.add("Div", _float(*step.std, shape=shape))


def _transpose(nodes: _Nodes, step: Any, rank: int) -> None:
    nodes.add("Transpose", perm=(0, *(axis + 1 for axis in step.axes)))


def _reshape(nodes: _Nodes, step: Any, rank: int) -> None:
    nodes.add("Reshape", Tensor("int64", (len(step.shape) + 1,), (0, *step.shape)))


_MADE: Final[Mapping[type, Callable[[_Nodes, Any, int], None]]] = {
    Polarity: _polarity,
    Scale: _scale,
    Normalise: _normalise,
    Transpose: _transpose,
    Reshape: _reshape,
}
"""How a step becomes nodes; it is given how many axes an example has by then."""
