"""The preparation of inputs: scales, and steps that do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from portable_nn import layers
from portable_nn.converters.keras.layers.activations import Composed
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, known, numbers_in
from portable_nn.core.tensors import Array
from portable_nn.layers.layer import Layer
from portable_nn.operators import DTYPE_CODES, Symbol, cast, constant, emit, integers, squeezed, unsqueezed


def _affine(name: str, **numbers: Array) -> Layer:
    """x · scale + offset, with frozen numbers for each entry of the last axis."""

    def make(layer: Layer, x: Symbol) -> Symbol:
        scale, offset = (layer.parameter(n, v.shape, x.dtype, v, trainable=False) for n, v in numbers.items())
        return layer.emit("Add", emit("Mul", x, scale), offset)

    return Composed(name, make)


@LAYERS.row("Rescaling")
def rescaling(spec: Spec, x: Held) -> Held:
    """x · scale + offset."""
    scale, offset = spec.get("scale"), spec.get("offset", 0.0)
    if any(isinstance(each, list | Mapping) for each in (scale, offset)):
        both = [_numbers(each, spec) for each in (scale, offset)]
        values = [np.broadcast_to(each, np.broadcast_shapes(*(b.shape for b in both), (1,))) for each in both]
        return Held(spec.once(lambda: _affine(spec.name, scale=values[0], offset=values[1]))(x.plain), mask=x.mask)
    one, other = spec.number("scale"), spec.number("offset")
    return x.each(spec.once(lambda: layers.Rescaling(one, other, name=spec.name)))


def _numbers(value: Any, spec: Spec) -> Array:
    """Numbers as a configuration has them: one, nested lists, or an object that holds them."""
    try:
        found = np.asarray(numbers_in(value), np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if not np.isfinite(found).all():
        spec.refuse("its numbers are none")
    return found


def _moments(spec: Spec, shape: Sequence[int]) -> tuple[Array, Array]:
    """The mean and the variance: options, or weights beside a count."""
    if spec.get("mean") is not None:
        return _numbers(spec["mean"], spec), _numbers(spec["variance"], spec)
    if spec.weights.count(spec.place) > 2:
        spec.weights.take(spec.place, 2)
    return spec.weight(*shape), spec.weight(*shape)


@LAYERS.row("Normalization")
def normalization(spec: Spec, x: Held) -> Held:
    """(x - mean) / std for each entry of some axes; the deviation is at least 1e-7."""
    axes = spec.get("axis", -1)
    kept = sorted(spec.axes("axis", [] if axes is None else axes, x.rank))
    shape = [known(x.shape[axis], "the sizes") if axis in kept else 1 for axis in range(1, x.rank)]
    own = [size for axis, size in enumerate(shape, 1) if axis in kept]
    spec.bounded(*own)
    mean, variance = (
        np.broadcast_to(each.reshape(shape) if each.size == np.prod(shape) else each, shape)
        for each in _moments(spec, own)
    )
    std = np.maximum(np.sqrt(variance), 1e-7)
    invert = spec.flag("invert")
    scale, offset = (std, mean) if invert else (1 / std, -mean / std)
    return Held(spec.once(lambda: _affine(spec.name, scale=scale, offset=offset))(x.plain), mask=x.mask)


@LAYERS.row("Masking")
def masking(spec: Spec, x: Held) -> Held:
    """Steps whose features all have one value do not count; they become 0."""
    value = constant(spec.number("mask_value"), x.dtype)
    differs = cast(emit("Not", emit("Equal", x.plain, value)), x.dtype)
    counted = emit("ReduceMax", differs, integers([x.rank - 1]), keepdims=1)
    mask = emit("Cast", squeezed(counted, x.rank - 1), to=9)
    return Held(emit("Mul", x.plain, counted, name=spec.next_name()), mask=mask)


@LAYERS.row("Discretization")
def discretization(spec: Spec, x: Held) -> Held:
    """The number of the bin that each number is in, or what is made of it."""
    bounds = _numbers(spec["bin_boundaries"], spec)
    for option in ("num_bins", "epsilon"):
        spec.get(option)
    above = cast(emit("GreaterOrEqual", unsqueezed(x.plain, -1), constant(bounds, x.dtype)), "int64")
    return _encoded(spec, emit("ReduceSum", above, integers([-1]), keepdims=0), len(bounds) + 1, "int")


@LAYERS.row("CategoryEncoding")
def category_encoding(spec: Spec, x: Held) -> Held:
    """Ones in the places of categories, or how many there are of each."""
    return _encoded(spec, x.plain, spec.whole("num_tokens"), "multi_hot")


def _encoded(spec: Spec, numbers: Symbol, depth: int, usual: str) -> Held:
    mode = spec.choice("output_mode", ("int", "one_hot", "multi_hot", "count"), usual)
    spec.only("sparse", None, False)
    if mode == "int":
        return Held(emit("Cast", numbers, to=DTYPE_CODES["int32"], name=spec.next_name()))
    rank = len(numbers.shape)
    if mode == "one_hot" and rank > 1 and numbers.shape[-1] == 1:
        numbers = squeezed(numbers, -1)
    elif mode != "one_hot" and rank < 2:
        spec.refuse("it needs a row of categories for each example")
    spec.bounded(depth, depth)
    if numbers.dtype not in ("int32", "int64"):
        numbers = cast(numbers, "int64")
    ones = emit("Gather", constant(np.eye(depth), "float32"), numbers, axis=0)
    if mode == "one_hot":
        return Held(emit("Identity", ones, name=spec.next_name()))
    operator = "ReduceMax" if mode == "multi_hot" else "ReduceSum"
    return Held(emit(operator, ones, integers([1]), keepdims=0, name=spec.next_name()))
