"""Preprocessing as part of the graph: arithmetic becomes nodes, and images are fed as bytes.

The preprocessing that a manifest lists ends with arithmetic: scale and offset, mean and standard deviation, the order
of the axes. Every runtime has operators for those. The steps before them need a picture as a whole (decoding, cropping,
resizing, finding a digit) and stay outside, except an inversion that is known to be needed and comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, Node, Shape, Tensor, Value
from portable_nn.operators import DTYPE_CODES, infer, plain_float
from portable_nn.preprocessing.steps import (
    NormaliseStep,
    PictureStep,
    PolarityStep,
    Preprocessing,
    ReshapeStep,
    ScaleStep,
    Step,
    TransposeStep,
    picture_shape,
)
from portable_nn.rewrites.program import Names, Program, checked

WHITE: Final = 255.0


def preprocessing_inside(program: Program) -> Program:
    """``program`` with nodes for the last steps of its preprocessing; images are then fed as bytes, 0 to 255.

    ``inputs`` of the result lists the steps that are left to do before. Inputs made of tables keep their type.

    Raises ``UsageError`` where no step can be a node, more than one input has steps, or their result does not fit it.
    """
    graph, infos = program.graph, [info for info in program.inputs if info.preprocessing]
    if len(infos) != 1:
        found = "none of its inputs has any" if not infos else f"{len(infos)} of its inputs have"
        raise UsageError(f"the model has no preprocessing that could become nodes: {found}")
    [info] = infos
    value = next(value for value in graph.inputs if value.name == info.name)
    inside, outside = _divided(info.preprocessing)
    if not inside:
        steps = ", ".join(map(str, outside))
        raise UsageError(f"the model has no preprocessing that could become nodes: all of it needs pictures ({steps})")
    start = _start(value, inside, picture_shape(info.preprocessing))
    taken = Value(info.name, "uint8" if info.kind == "image" else "float32", (value.shape[0], *start))
    nodes = _Nodes(graph, info.name)
    nodes.add_steps(inside, len(start), taken.dtype, value.dtype)
    inputs = tuple(taken if each is value else each for each in graph.inputs)
    graph = replace(graph, inputs=inputs, nodes=(*nodes.made, *nodes.reading(graph)))
    after = program._replace(
        graph=graph,
        inputs=tuple(replace(each, preprocessing=outside) if each is info else each for each in program.inputs),
        notes=(
            *program.notes,
            *(f"inside the model: {step}" for step in inside),
            *(f"to be done before, with each picture: {step}" for step in outside),
        ),
    )
    refused = f"the preprocessing does not give what '{info.name}' takes, {value}"
    after = checked(after, program, refused)
    if (type := infer(graph).types[nodes.last]).shape != value.shape:
        raise UsageError(f"{refused}: it gives {type}")
    return after


def _divided(steps: Preprocessing) -> tuple[Preprocessing, Preprocessing]:
    """The steps that can be nodes, which are the last ones, and those before them."""
    count = next((at for at, step in enumerate(steps) if not isinstance(step, PictureStep)), len(steps))
    while count and isinstance(step := steps[count - 1], PolarityStep) and step.found != "auto":
        count -= 1
    return steps[count:], steps[:count]


def _start(value: Value, steps: Sequence[Step], known: tuple[int, ...] | None) -> Shape:
    """The shape of one example before the first of ``steps``, which end with what ``value`` is."""
    if known is not None:
        return known
    shape = value.shape[1:]
    for step in reversed(steps):
        if isinstance(step, TransposeStep) and len(step.axes) == len(shape):
            shape = tuple(shape[step.axes.index(axis)] for axis in range(len(shape)))
    return shape


class _Nodes:
    """Nodes that follow one another, from the input ``start`` on; ``last`` is the value that the last one makes."""

    def __init__(self, graph: Graph, start: str) -> None:
        self._start, self.last = start, start
        self._names = Names.beside(graph)
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

    def add_steps(self, steps: Preprocessing, rank: int, given: str, wanted: str) -> None:
        """The nodes for ``steps``, computed in float32; examples have ``rank`` axes and the type ``given`` at first."""
        if given != "float32":
            self.add("Cast", to=DTYPE_CODES["float32"])
        for step in steps:
            rank = self._add_step(step, rank)
        if wanted != "float32":
            self.add("Cast", to=DTYPE_CODES[wanted])

    def _add_step(self, step: Step, rank: int) -> int:
        """The nodes for one step of examples with ``rank`` axes; the number of axes after it."""
        match step:
            case PolarityStep() if step.found != step.ink:
                self.add("Neg")
                self.add("Add", _float(WHITE))
            case ScaleStep():
                self.add("Mul", _float(step.factor))
                self.add("Add", _float(step.offset))
            case NormaliseStep():
                shape = (len(step.mean),) + (1,) * (rank - step.axis - 1)
                self.add("Sub", _float(*step.mean, shape=shape))
                self.add("Div", _float(*step.std, shape=shape))
            case TransposeStep():
                self.add("Transpose", perm=(0, *(axis + 1 for axis in step.axes)))
            case ReshapeStep():
                self.add("Reshape", Tensor("int64", (len(step.shape) + 1,), (0, *step.shape)))
                return len(step.shape)
        return rank

    def reading(self, graph: Graph) -> list[Node]:
        """The nodes of ``graph``, which read ``last`` instead of the input."""
        new = {self._start: self.last}
        return [replace(node, inputs=tuple(new.get(name, name) for name in node.inputs)) for node in graph.nodes]


def _float(*values: float, shape: tuple[int, ...] = ()) -> Tensor:
    return Tensor("float32", shape, tuple(plain_float(value) for value in values))
