"""Quantised models beside others: the numbers that whole ones stand for, and by which scales."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from onnx import NodeProto

from portable_nn.comparison.side import PUT, Side
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.rounding import is_quantised
from portable_nn.operators import find
from portable_nn.runtimes.subject import Subject

MANY: Final = 0.02
"""The share of numbers at an end of their steps from which on they saturate."""

INTEGER: Final = ("MatMulInteger", "ConvInteger")
"""Products of whole numbers that have no scale."""

_LISTED: Final = """
QuantizeLinear > 12
DequantizeLinear 012
MatMulInteger ConvInteger 0-2 1-3
MatMulIntegerToFloat 024 135
DynamicQuantizeMatMul 123
QGemm 012 345 6-- > 78
QLinearAdd QLinearMul QLinearMatMul 012 345 > 67
QLinearConv 012 345 8-- > 67
QLinearAveragePool QLinearGlobalAveragePool QLinearLeakyRelu QLinearReduceMean QLinearSigmoid QLinearSoftmax 012 > 34
QLinearWhere 123 456 > 78
QLinearConcat > 01
"""

PLACES: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    name: ([each for each in words if not each.isalpha()], made.strip())
    for read, _, made in (line.partition(">") for line in _LISTED.strip().splitlines())
    for words in [read.split()]
    for name in filter(str.isalpha, words)
}
"""By operator, the places of whole numbers that it reads, each with its scale and zero point (- where it has none), and
those of the scale and zero point of its result."""


_NOWHERE: Final[tuple[Sequence[str], str]] = ((), "")

_OF_STEPS: Final = re.compile("QLinear|Integer|ToFloat|^DynamicQuantize|^Q(?=Gemm)")


def base_of(node: NodeProto) -> str:
    """The operator of floats that a node is in steps, or its own."""
    return _OF_STEPS.sub("", node.op_type)


_NONE: Final = np.zeros(0)


class Stepped(NamedTuple):
    """A whole number, its scale and its zero point, by their names: empty where there is none."""

    name: str
    scale: str
    zero: str


def read_by(node: NodeProto) -> Iterator[Stepped]:
    """The whole numbers that a node reads."""
    groups = PLACES.get(node.op_type, _NOWHERE)[0]
    if node.op_type == "QLinearConcat":
        yield from (Stepped(*node.input[place : place + 3]) for place in range(2, len(node.input), 3))
        return
    for group in groups:
        names = (node.input[int(each)] if each != "-" and int(each) < len(node.input) else "" for each in group)
        yield Stepped(*names)


def made_by(node: NodeProto) -> Stepped | None:
    """The whole number that a node makes."""
    if node.op_type == "DynamicQuantizeLinear":
        return Stepped(*node.output)
    places = [int(each) for each in PLACES.get(node.op_type, _NOWHERE)[1]]
    if not places or places[0] >= len(node.input):
        return None
    return Stepped(node.output[0], *(node.input[each] if each < len(node.input) else "" for each in places))


def unpacked(subject: Subject) -> Subject:
    """The same function, where each number that a whole one stands for is a value.

    Behind what makes whole numbers stand a DequantizeLinear and a QuantizeLinear of its name, with the same scale.
    """
    made, known = type(subject.model)(), dict[str, Stepped]()
    made.CopyFrom(subject.model)
    del made.graph.node[:], made.graph.value_info[:]
    apart = {name for node in subject.model.graph.node if node.op_type != "DequantizeLinear" for name in node.input}
    for node in subject.model.graph.node:
        made.graph.node.append(node)
        name, operator = node.output[0], find(node.op_type)
        passes = operator is not None and (operator.moves or node.op_type == "MaxPool")
        step = made_by(node) or (known.get(node.input[0]) if passes else None)
        if step is None or "Dynamic" in node.op_type or (node.op_type == "QuantizeLinear" and name not in apart):
            continue
        known[name] = step
        whole, real = f"{name} (whole)", f"{name} (number)"
        made.graph.node[-1].output[0] = whole
        for kind, source, target in (("DequantizeLinear", whole, real), ("QuantizeLinear", real, name)):
            inputs = [source, *filter(None, step[1:])]
            made.graph.node.add(op_type=kind, name=f"{node.name or name}{PUT}{kind}", input=inputs, output=[target])
    return replace(subject, model=made)


def quantised(side: Side) -> Iterator[tuple[NodeProto, NodeProto, Array]]:
    """Nodes that quantise, those that bring their numbers back, and the scales of these."""
    for node in side.nodes:
        if node.op_type == "DequantizeLinear":
            maker, scale = side.maker.get(node.input[0]), side.constants.get(node.input[1])
            if maker is not None and maker.op_type == "QuantizeLinear" and scale is not None:
                yield maker, node, scale


def steps_at(side: Side, names: Iterable[str]) -> set[object]:
    """The scales, zero points and weights of nodes that quantise; a node itself where one of these is computed."""
    found, known = set[object](), side.constants
    for node in (side.named[name] for name in names):
        if is_quantised(node.op_type):
            own = node.input[1:]
            found.add(tuple(known[each].tobytes() for each in own) if known.keys() >= {*own} else id(node))
    return found


def range_of(side: Side, value: str) -> tuple[float, float] | None:
    """The least and the largest number that a dequantised value can be."""
    node = side.maker[value]
    if node.op_type != "DequantizeLinear" or len(node.input) < 3:
        return None
    scale, zero = (side.constants.get(name) for name in node.input[1:3])
    if scale is None or zero is None or scale.size > 1 or zero.dtype.kind not in "iu":
        return None
    limits = np.iinfo(zero.dtype)
    low, high = ((float(each) - float(zero.item())) * float(scale.item()) for each in (limits.min, limits.max))
    return low, high


class Weight(NamedTuple):
    """A constant as numbers: the node that reads it, its name, the numbers, and half a step of each, or 0."""

    node: NodeProto
    name: str
    numbers: Array
    half: Array


def weights(side: Side, way: Iterable[str]) -> Iterator[Weight]:
    """The constants that nodes read on the ``way`` to a value."""
    nodes = list({id(side.maker[name]): side.maker[name] for name in way}.values())
    known, factors = side.constants, list[Array]()
    if not {*INTEGER}.isdisjoint(node.op_type for node in nodes):  # The scale of such a product stands behind it.
        factors = [known[name] for node in nodes if node.op_type == "Mul" for name in node.input if name in known]
        nodes = [node for node in nodes if node.op_type != "Mul"]
    for node in nodes:
        if node.op_type in PLACES:
            yield from _in_steps(side, node, factors)
            continue
        for name in node.input:
            if name in known and known[name].dtype.kind == "f":
                yield Weight(node, name, known[name], np.zeros(known[name].shape))


def _in_steps(side: Side, node: NodeProto, factors: Sequence[Array]) -> Iterator[Weight]:
    """The constants that a quantised node reads; those without a scale have that of the product of all others."""
    known, read = side.constants, list(read_by(node))
    scales = [known[each.scale] for each in read if each.scale in known] or factors
    for each in read:
        reader, name = moved_from(side, each.name, node)
        steps = known.get(name, np.zeros(()))
        with suppress(ValueError):  # Of another shape than is usual.
            whole = known[each.scale] if each.scale in known else math.prod(scales, start=np.ones(()))
            scale, zero = (_beside(node, steps.ndim, x) for x in (whole, known.get(each.zero, np.zeros(()))))
            numbers = (steps - zero) * scale
            if steps.ndim:
                yield Weight(reader, name, numbers, np.broadcast_to(scale / 2, steps.shape))


def moved_from(side: Side, name: str, reader: NodeProto) -> tuple[NodeProto, str]:
    """The node that reads what ``reader`` has the elements of, as a Gather does of a table, and the name of that."""
    while name in side.dependent and (operator := find(side.maker[name].op_type)) and operator.moves:
        reader, name = side.maker[name], side.maker[name].input[0]
    return reader, name


def _beside(node: NodeProto, rank: int, array: Array) -> Array:
    """A scale or zero point in a shape that broadcasts: it may be one for each filter, or for each column."""
    first = "Conv" in node.op_type or any(each.name == "transB" and each.i for each in node.attribute)
    place = next((each.i % rank for each in node.attribute if each.name == "axis" and rank), 0 if first else rank - 1)
    around = [-1 if axis == place else 1 for axis in range(rank)]
    return array.astype(np.float64).reshape(around if array.size > 1 else ())


def mismatches(side: Side) -> dict[str, str]:
    """By node, what it reads with another scale or zero point than that with which it was made."""
    known = side.constants
    made, found = {each.name: each for node in side.nodes if (each := made_by(node))}, dict[str, str]()
    for node in side.nodes:
        for each in read_by(node):
            names = [pair for pair in zip(each[1:], made.get(each.name, each)[1:], strict=True) if all(pair)]
            if all(x == y or np.array_equal(known.get(x, _NONE), known.get(y, _NONE)) for x, y in names):
                continue
            value = each.name
            while side.shown(value).op_type not in PLACES and side.reads(value):
                value = side.shown(value).input[0]
            maker = side.label(value)
            found[side.node_name(node.output[0])] = (
                f"reads '{each.name}' with another scale or zero point than {maker} gives it"
            )
    return found


def ends_of(side: Side, name: str, arrays: Sequence[Array]) -> str:
    """The end of its steps at which ``MANY`` of the numbers of a value are, in words; 0 may be that of a Relu."""
    numbers = np.concatenate([array.ravel() for array in arrays])
    for end in filter(None, range_of(side, name) or ()):
        if (share := float(np.isclose(numbers, end).mean())) > MANY:
            return f"saturates: {share:.0%} of its numbers are {end:.3g}, an end of its steps"
    return ""
