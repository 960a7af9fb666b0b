"""Operators that move blocks of pixels into channels and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from portable_nn.core.dims import product, quotient, rounded_quotient
from portable_nn.operators.base import (
    NUMBERS,
    REQUIRED,
    Array,
    Attr,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    format_shape,
    integers,
    memory_order,
    moved_fields,
    register,
    spread_fields,
)
from portable_nn.sizes.operation import Operation, Window


def _image(use: OperatorContext) -> tuple[Dim, Dim, Dim, Dim]:
    use.check_dtype(use.type().dtype, NUMBERS)
    shape = use.type().shape
    if len(shape) != 4:
        use.fail(f"input must be (batch, channels, height, width), not {format_shape(shape)}")
    use.at_least("blocksize")
    return shape


def _depth_to_space_type(use: OperatorContext) -> Type:
    (batch, depth, height, width), block = _image(use), use.int("blocksize")
    use.choice("mode", ("DCR", "CRD"))
    channels = quotient(depth, block * block)
    if channels is None:
        use.fail(f"blocksize {block} needs channels in multiples of {block * block}, not {depth}")
    return use.like((batch, channels, product([block, height]), product([block, width])))


def _depth_to_space(n: KernelContext) -> Step:
    """One copy: along the axes, the blocks of the output are views, and so are the parts of the input's depth."""
    x, block, (batch, channels, height, width) = n.x[0], n.int("blocksize"), n.output_shape()
    depth, places = (block, block, channels), (0, 3, 4, 1, 5, 2)
    if n.string("mode") == "CRD":
        depth, places = (channels, block, block), (0, 1, 4, 2, 5, 3)
    source = x.reshape(batch, *depth, height // block, width // block).transpose(places)
    return partial(np.copyto, _blocks(n.out(order=memory_order(x)), block), source)


def _blocks(image: Array, block: int) -> Array:
    """(batch, channels, height, width) with each of the last two axes cut into a number of blocks and their cells."""
    batch, channels, height, width = image.shape
    return image.reshape(batch, channels, height // block, block, width // block, block)


def _depth_to_space_gradient(n: GradientContext) -> Symbol:
    block = n.int("blocksize")
    if n.string("mode") == "DCR":
        return emit("SpaceToDepth", n.dy, blocksize=block)
    depth = n.x[0].shape[1]
    if not isinstance(depth, int):
        n.fail(f"its gradient in mode CRD needs a known number of channels, not {depth}")
    return pixel_unshuffle(n.dy, depth, block)


def pixel_unshuffle(x: Symbol, depth: int, block: int, last: Callable[..., Symbol] = emit) -> Symbol:
    """The inverse of DepthToSpace in mode CRD: (batch, c, h, w) → (batch, ``depth`` = c·block², h/block, w/block).

    SpaceToDepth makes the channel run fastest within the depth; of images with one channel, it has none to run.
    ``last`` makes the last node.
    """
    apart = emit("SpaceToDepth", emit("Reshape", x, integers([-1, 1, 0, 0])), blocksize=block)
    return last("Reshape", apart, integers([-1, depth, 0, 0]))


def _space_to_depth_type(use: OperatorContext) -> Type:
    (batch, channels, *sides), block = _image(use), use.int("blocksize")
    counts: list[Dim] = []
    for axis, size in enumerate(sides):
        if isinstance(size, int) and size % block:
            use.fail(f"blocksize {block} needs sizes in multiples of {block}, and axis {axis + 2} has {size}")
        counts.append(rounded_quotient("floor", size, block))
    return use.like((batch, product([channels, block, block]), *counts))


def _space_to_depth(n: KernelContext) -> Step:
    x, block = n.x[0], n.int("blocksize")
    batch, channels, height, width = x.shape
    goal = n.out(order=memory_order(x)).reshape(batch, block, block, channels, height // block, width // block)
    return partial(np.copyto, goal, _blocks(x, block).transpose(0, 3, 5, 1, 2, 4))


def _space_to_depth_gradient(n: GradientContext) -> Symbol:
    block = n.int("blocksize")
    for axis in (2, 3):
        if quotient(n.x[0].shape[axis], block) is None:
            n.fail(f"its gradient needs sizes in known multiples of {block}, and axis {axis} has {n.x[0].shape[axis]}")
    return emit("DepthToSpace", n.dy, blocksize=block)


def _space_to_depth_fields(use: FieldContext) -> Fields:
    block = use.get("blocksize")
    return moved_fields(use, Operation("conv", (Window(block, block),) * 2))


register(
    Operator(
        "DepthToSpace",
        ("input",),
        _depth_to_space_type,
        _depth_to_space,
        _depth_to_space_gradient,
        {"blocksize": Attr(int, REQUIRED), "mode": Attr(str, "DCR")},
        passes=(0,),
        rearranges=True,
        receptive=lambda use: spread_fields(use, [use.get("blocksize")] * 2),
    )
)
register(
    Operator(
        "SpaceToDepth",
        ("input",),
        _space_to_depth_type,
        _space_to_depth,
        _space_to_depth_gradient,
        {"blocksize": Attr(int, REQUIRED)},
        passes=(0,),
        rearranges=True,
        receptive=_space_to_depth_fields,
    )
)
