"""The distance that rounding alone moves a value: the measure of where two right implementations may differ by more.

It is measured on onnxruntime's side alone, by a model whose roundings are others. Were it measured in numpy, a wrong
kernel of numpy, or a node that only the network has, would excuse itself: what it adds counts as rounding there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import numpy as np
from onnx import AttributeProto, ModelProto

from portable_nn.core.errors import PortableNNError
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.onnx.branches import rename
from portable_nn.onnx.verification.differences import Pair, finite_gaps, largest_gap, precision
from portable_nn.onnx.verification.sections import Sides
from portable_nn.operators import DTYPE_CODES, find

TRIES: Final = 6
"""The runs whose inputs and weights are changed by rounding errors."""

ROUNDINGS: Final = 16
"""The multiple of the distance that rounding moves a value which is allowed between the two sides."""

RUNTIME: Final = 4
"""The multiple of the distance of onnxruntime with and without optimisation which is allowed."""


def allowed(sides: Sides, part: ModelProto, feeds: NamedArrays, name: str, pair: Pair) -> float:
    """The distance of the two sides of ``pair`` that rounding explains.

    Args:
        sides: both sides.
        part: what computes the value in onnxruntime.
        feeds: its inputs.
        name: its output that is the value.
        pair: the value on both sides, and what is allowed anyway.
    """
    apart, most = largest_gap(pair.ours, pair.theirs), pair.allowed
    for more in rounding_effects(sides, part, feeds, name):
        most = max(most, pair.allowed + more)
        if apart <= most:
            break
    return most


def rounding_effects(sides: Sides, part: ModelProto, feeds: NamedArrays, name: str) -> Iterator[float]:
    """The distances that rounding explains in the values of ``part``, by several measures, of which the largest counts.

    First by what optimisation changes, and double precision where a kernel is coarse in single precision, then
    ``TRIES`` times by what changes where all inputs, weights and values on the way are off by up to one unit in the
    last place, so that every rounding is another: Parker's Monte Carlo arithmetic (1997). Constants stay as they are.
    Which elements that moves is chance. Nothing where onnxruntime cannot run that.
    """
    made = [each for node in part.graph.node for each in node.output if each in sides.node_of and each != name]
    with suppress(PortableNNError):
        plain = sides.run(sides.session(_copy(part, outputs=made)), feeds)
        with suppress(PortableNNError):
            optimised = sides.run(sides.session(part, optimise=True), feeds)
            yield RUNTIME * _furthest(optimised[name], plain[name])
        for doubled in with_double(part):
            yield RUNTIME * _furthest(sides.run(sides.session(doubled), feeds)[name], plain[name])
        moving = _moving(sides, part, feeds, plain)
        moving.pop(name, None)
        session, rng = sides.session(with_offsets(part, moving)), np.random.default_rng(0)
        for _ in range(TRIES):
            offsets = {each + OFFSET: _offset(array, rng) for each, array in moving.items()}
            yield ROUNDINGS * _furthest(sides.run(session, {**feeds, **offsets})[name], plain[name])


def _moving(sides: Sides, part: ModelProto, feeds: NamedArrays, plain: NamedArrays) -> dict[str, Array]:
    """The inputs, weights and values of ``part`` that rounding moves."""
    trained = {value.name for value in sides.graph.parameters if value.trainable}
    read = {each.name: feeds[each.name] for each in part.graph.input} | {**plain}
    read |= {each.name: sides.parameters[each.name] for each in part.graph.initializer if each.name in trained}
    movable = sides.dependent | trained
    return {each: array for each, array in read.items() if array.dtype.kind == "f" and each in movable}


def _furthest(one: Array, other: Array) -> float:
    return float(finite_gaps(one, other).max(initial=0)) if one.shape == other.shape else math.inf


def _offset(array: Array, rng: np.random.Generator) -> Array:
    """Up to one unit in the last place of each element; float64 has that of float32, as kernels may compute in that.

    Nothing where a number is infinite, or whole and could be none: masks and counts are exact.
    """
    unit = max(float(np.finfo(np.float32).eps), precision(array))
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.isfinite(array) & ((array != np.rint(array)) | (np.abs(array) >= 1 / unit))
        return np.where(rounded, array * rng.uniform(-unit, unit, array.shape), 0).astype(array.dtype)


def with_offsets(part: ModelProto, arrays: NamedArrays) -> ModelProto:
    """``part`` with a further input for each of ``arrays``, values that it reads or makes, which is added to it."""
    found, moved = _copy(part), dict[str, str]()

    def move(names: Iterable[str]) -> None:
        for name in names:
            if name in arrays and name not in moved:
                code, moved[name] = DTYPE_CODES[arrays[name].dtype.name], f"{name} (moved)"
                found.graph.input.add(name=name + OFFSET).type.tensor_type.elem_type = code
                found.graph.node.add(op_type="Sum", input=[name, name + OFFSET], output=[moved[name]])

    del found.graph.node[:]
    move(each.name for each in (*part.graph.input, *part.graph.initializer))
    for node in part.graph.node:
        copy = found.graph.node.add()
        copy.CopyFrom(node)
        rename(copy, moved)
        move(node.output)
    return found


OFFSET: Final = " (offset)"


def with_double(part: ModelProto) -> Iterator[ModelProto]:
    """``part`` with nodes in double precision whose kernels are coarse in single precision, if there are any."""
    found = _copy(part)
    del found.graph.node[:]
    for node in part.graph.node:
        operator = find(node.op_type) if not node.domain else None
        if operator is None or not operator.portability.coarse:
            found.graph.node.add().CopyFrom(node)
            continue
        wide = [
            f"{name} (wide {place})" if name and place not in operator.settings else name
            for place, name in enumerate(node.input)
        ]
        for name, other in zip(node.input, wide, strict=True):
            if other != name:
                found.graph.node.add(op_type="Cast", input=[name], output=[other]).attribute.add(
                    name="to", type=AttributeProto.INT, i=DTYPE_CODES["float64"]
                )
        copy = found.graph.node.add()
        copy.CopyFrom(node)
        copy.input[:], copy.output[:] = wide, [f"{node.output[0]} (wide)"]
        found.graph.node.add(op_type="CastLike", input=[copy.output[0], node.input[0]], output=node.output)
    if len(found.graph.node) > len(part.graph.node):
        yield found


def _copy(part: ModelProto, outputs: Iterable[str] = ()) -> ModelProto:
    """A copy with more ``outputs``."""
    found = ModelProto()
    found.CopyFrom(part)
    for name in outputs:
        found.graph.output.add(name=name)
    return found
