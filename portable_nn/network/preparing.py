"""The arithmetic steps of an older file as nodes, which every runtime computes.

The network then takes the data as they are. The steps before them need a picture as a whole (decoding, resizing,
finding a digit) and stay in the description of the input.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from msgspec.structs import replace

from portable_nn.core.dims import static
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import Shape, Value
from portable_nn.format.meaning import InputInfo
from portable_nn.layers import Normalization, Rescaling, Reshape
from portable_nn.network.network import Network
from portable_nn.operators import DTYPE_CODES, FLOATS, Leaf, Symbol, emit
from portable_nn.preprocessing.applying import picture_shape
from portable_nn.preprocessing.steps import (
    ArithmeticStep,
    NormaliseStep,
    ReshapeStep,
    ScaleStep,
    TransposeStep,
    arithmetic,
    pictorial,
)
from portable_nn.rewrites.program import Program, checked


def steps_inside(network: Network) -> Network:
    """``network`` with frozen parameters and nodes in place of the arithmetic steps of its preprocessing.

    Its inputs then take the numbers that these steps were given, in the floating-point type that they had, or else in
    float32. The weights are copied; a network without such steps is returned as it is.

    Raises ``UsageError`` where the steps do not give what their input takes.
    """
    if not any(arithmetic(info.preprocessing) for info in network.inputs):
        return network
    leaves, prepared = list[Leaf](), list[Symbol]()
    for value, info in zip(network.graph.inputs, network.inputs, strict=True):
        leaf, symbol = _prepared(value, info)
        leaves.append(leaf)
        prepared.append(symbol)
    made = rebuilt(network, leaves, network(*prepared))
    made.inputs = tuple(replace(info, preprocessing=pictorial(info.preprocessing)) for info in network.inputs)
    made.outputs = network.outputs
    return made


def rebuilt(network: Network, inputs: Sequence[Leaf], outputs: Symbol | Sequence[Symbol]) -> Network:
    """A network from ``inputs`` to ``outputs``, which uses of ``network`` make; what that says of itself is kept."""
    made = Network(inputs, outputs, metadata=network.metadata, name=network.graph.name)
    made.rng = copy.deepcopy(network.rng)
    before = Program(network.graph, network.parameters.arrays, network.inputs, network.documentation)
    made.documentation = checked(before._replace(graph=made.graph), before).documentation
    return made


def _prepared(value: Value, info: InputInfo) -> tuple[Leaf, Symbol]:
    """A new input, and what the steps make of it, which is what the network takes."""
    steps = arithmetic(info.preprocessing)
    if not steps:
        leaf = Leaf(value.name, value.dtype, value.shape)
        return leaf, leaf
    leaf = Leaf(
        value.name,
        value.dtype if value.dtype in FLOATS else "float32",
        (value.shape[0], *_start(value.shape[1:], steps, picture_shape(info.preprocessing))),
    )
    refused = f"the preprocessing does not give what '{info.name}' takes, {value}"
    symbol: Symbol = leaf
    try:
        for step in steps:
            symbol = _applied(step, symbol)
    except (GraphError, UsageError) as error:
        raise UsageError(f"{refused}: {error}") from None
    if symbol.shape != value.shape:
        raise UsageError(f"{refused}: it gives {symbol.type}")
    return leaf, symbol if symbol.dtype == value.dtype else emit("Cast", symbol, to=DTYPE_CODES[value.dtype])


def _start(shape: Shape, steps: Sequence[ArithmeticStep], picture: tuple[int, ...] | None) -> Shape:
    """The shape of one example before the steps, which end with ``shape``.

    Where the order of the elements stays, it is ``shape`` itself: rows of pixels may go in as well as pictures.
    """
    example = static(shape)
    in_order = all(isinstance(step, ScaleStep | ReshapeStep) for step in steps)
    if picture and not (in_order and example and math.prod(example) == math.prod(picture)):
        return picture
    for step in reversed(steps):
        if isinstance(step, TransposeStep) and len(step.axes) == len(shape):
            shape = tuple(shape[step.axes.index(axis)] for axis in range(len(shape)))
    return shape


def _applied(step: ArithmeticStep, x: Symbol) -> Symbol:
    match step:
        case ScaleStep():
            return Rescaling(step.factor, step.offset)(x)
        case NormaliseStep():
            return Normalization(step.axis + 1, mean=step.mean, std=step.std)(x)
        case TransposeStep():
            return emit("Transpose", x, perm=(0, *(axis + 1 for axis in step.axes)))
        case ReshapeStep():
            return x if x.shape[1:] == step.shape else Reshape(*step.shape)(x)
