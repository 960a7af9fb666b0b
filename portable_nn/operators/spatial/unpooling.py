"""From windows back to the cells that they cover: MaxUnpool and Col2Im."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from portable_nn.core.dims import product, total
from portable_nn.operators.base import (
    ALL,
    FLOATS,
    NUMBERS,
    REQUIRED,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    constant,
    emit,
    format_shape,
    integers,
    register,
    sizes,
)
from portable_nn.operators.layout.indexing import flat
from portable_nn.operators.spatial.window import per_axis, plain_windows, spatial_sizes, taps
from portable_nn.sizes.operation import Window

# -- MaxUnpool


def unpooled(use: OperatorContext) -> Shape:
    """The shape that the indices count through: that of the smallest input of the pool."""
    found = spatial_sizes(use)
    rank = len(found)
    kernel, strides = per_axis(use, "kernel_shape", rank), per_axis(use, "strides", rank)
    pads = per_axis(use, "pads", 2 * rank, 0, 0)
    grown = [
        total([product([stride, size]), extent - stride - before - after])
        for size, extent, stride, before, after in zip(found, kernel, strides, pads[:rank], pads[rank:], strict=True)
    ]
    return (*use.type().shape[:2], *grown)


def _unpool_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    shape = unpooled(use)
    use.expect(1, Type("int64", use.type().shape), ", as X is")
    given = use.constant(2) if use.has(2) else shape
    if len(given) != len(shape):
        use.fail(f"output_shape must have {len(shape)} sizes, not {format_shape(given)}")
    if any(
        isinstance(size, int) and size < (least if isinstance(least, int) else 0)
        for size, least in zip(given, shape, strict=True)
    ):
        use.fail(f"output_shape must be {format_shape(shape)} or more, not {format_shape(given)}")
    if any(isinstance(size, int) and size < 0 for size in given):
        use.fail(f"pads {use.ints('pads')} leave nothing of {format_shape(use.type().shape)}")
    return use.like(given)


def _unpool(n: KernelContext) -> list[Step]:
    x, indices, out = n.x[0], n.x[1], n.out()
    inner = tuple(map(int, unpooled(n)))
    target = out if out.shape == inner else n.scratch(inner, out.dtype)
    size = target.size

    def check() -> None:
        if indices.size and not 0 <= indices.min() <= indices.max() < size:
            n.fail(f"I must hold indices from 0 to {size - 1}, not {indices.min()} to {indices.max()}")

    steps: list[Step] = [check, partial(target.fill, 0)]
    if indices.size:
        steps.append(partial(np.put, target.reshape(-1), indices, x))
    if target is out:
        return steps
    corner = tuple(map(slice, inner))
    return [*steps, partial(out.fill, 0), partial(np.copyto, out[corner], target)]


def _unpool_gradient(n: GradientContext) -> list[Symbol | None]:
    dy, inner = n.dy, unpooled(n)
    if dy.shape != inner:
        known = [size for size in inner if isinstance(size, int)]
        if len(known) < len(inner):
            n.fail(f"its gradient with an output_shape needs known sizes, not {format_shape(n.x[0].shape)}")
        dy = emit("Slice", dy, integers([0] * len(known)), integers(known))
    picked = emit("GatherElements", emit("Reshape", dy, integers([-1])), emit("Reshape", n.x[1], integers([-1])))
    return [emit("Reshape", picked, sizes(n.x[0])), None, None][: n.inputs]


# -- Col2Im


def _windows(use: OperatorContext) -> tuple[list[Window], tuple[int, ...], tuple[int, ...]]:
    """The window along each axis of the image, the sizes of the image, and how often the window fits."""
    image, block = use.numbers(1), use.numbers(2)
    rank = len(image)
    if not rank or len(block) != rank or min(*image, *block) < 1:
        use.fail(f"image_shape and block_shape must be as many sizes of 1 or more, not {image} and {block}")
    found = plain_windows(use, block)
    counts = tuple((size + sum(w.pads) - w.extent) // w.stride + 1 for w, size in zip(found, image, strict=True))
    if min(counts) < 1:
        use.fail(f"a window of {block} does not fit an image of {image}")
    return found, image, counts


def _image_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, NUMBERS)
    found, image, counts = _windows(use)
    shape, cells = use.type().shape, math.prod(w.kernel for w in found)
    if len(shape) != 3:
        use.fail(f"input must be (batch, channels·cells, windows), not {format_shape(shape)}")
    batch, depth, length = shape
    if not isinstance(depth, int) or depth % cells:
        use.fail(f"a block of {cells} cells needs an axis 1 in multiples of {cells}, not {depth}")
    if length != math.prod(counts):
        use.fail(f"{math.prod(counts)} windows fit the image, but axis 2 has {length}")
    return use.like([batch, depth // cells, *image])


def _image(n: KernelContext) -> list[Step]:
    (found, image, counts), out = _windows(n), n.out()
    columns, steps = flat(n, n.x[0])
    columns = columns.reshape(*out.shape[:2], *(w.kernel for w in found), *counts)
    steps.append(partial(out.fill, 0))
    for tap in itertools.product(*(range(w.kernel) for w in found)):
        sides = [taps(*side) for side in zip(found, tap, image, counts, strict=True)]
        here: Any = (..., *(cell for _, cell in sides))
        there: Any = (slice(None), slice(None), *tap, *(place for place, _ in sides))
        cells, part = out[here], columns[there]
        if cells.size:
            steps.append(partial(np.add, cells, part, out=cells))
    return steps


def _image_lowering(x: Symbol, image_shape: Symbol, block_shape: Symbol, **attributes: Sequence[int]) -> Symbol:
    """A transposed convolution whose kernels have a single 1: each cell of the block has a kernel of its own."""
    use = OperatorContext(_COL2IM, [x.type, image_shape.type, block_shape.type], attributes)  # type: ignore[arg-type]
    found, image, counts = _windows(use)
    block = [w.kernel for w in found]
    cells = math.prod(block)
    kernels = np.eye(cells).reshape(cells, 1, *block)
    dtype = x.dtype if x.dtype in FLOATS else "float64"
    plain = x if dtype == x.dtype else emit("Cast", x, to=11)
    left = [
        size + sum(w.pads) - w.extent - (count - 1) * w.stride
        for w, size, count in zip(found, image, counts, strict=True)
    ]
    grown = emit(
        "ConvTranspose",
        emit("Reshape", plain, integers([-1, cells, *counts])),
        constant(kernels, dtype),
        strides=[w.stride for w in found],
        dilations=[w.dilation for w in found],
        pads=[*(w.pad_begin for w in found), *(w.pad_end for w in found)],
        output_padding=left,
    )
    depth = x.shape[1]
    assert isinstance(depth, int)
    made = emit("Reshape", grown, integers([-1, depth // cells, *image]))
    return made if dtype == x.dtype else emit("CastLike", made, x)


register(
    Operator(
        "MaxUnpool",
        ("X", "I", "output_shape?"),
        _unpool_type,
        _unpool,
        _unpool_gradient,
        {"kernel_shape": Attr(tuple, REQUIRED), "pads": Attr(tuple), "strides": Attr(tuple)},
        unsized=lambda use: use.opened(len(use.type().shape), range(2, len(use.type().shape))),
    )
)
_COL2IM = register(
    Operator(
        "Col2Im",
        ("input", "image_shape", "block_shape"),
        _image_type,
        _image,
        "lowering",
        {"dilations": Attr(tuple), "pads": Attr(tuple), "strides": Attr(tuple)},
        lowering=_image_lowering,
        unsized=lambda use: use.opened(total([2, use.length_of(1)]), ALL[1:]),
    )
)
