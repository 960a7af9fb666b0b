"""Operators that move elements, or change a shape or an element type."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from portable_nn.converters.torch.aten.rows import (
    Size,
    Use,
    axis_of,
    expanded,
    reshaped,
    row,
    shape_of,
    size_along,
    sliced,
    swapped,
    transposed,
    vector,
)
from portable_nn.core.graph import INTERNAL
from portable_nn.layers.resizing import PixelUnshuffle
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers, squeezed, unsqueezed

END = sys.maxsize
"""An end beyond that of every axis."""


@row("view", "reshape", "_unsafe_view", "_reshape_copy")
def _view(use: Use, x: Symbol, size: Any) -> Symbol:
    if not isinstance(size, (list, tuple)):
        use.refuse("the bits of another element type")
    return reshaped(x, size)


@row("view_as", "reshape_as")
def _view_as(use: Use, x: Symbol, other: Symbol) -> Symbol:
    return reshaped(x, shape_of(other))


@row("flatten")
def _flatten(use: Use, x: Symbol, start_dim: int = 0, end_dim: int = -1) -> Symbol:
    rank = len(x.shape)
    start, end = axis_of(start_dim, rank), axis_of(end_dim, rank)
    if rank and (start, end) == (1, rank - 1):
        return emit("Flatten", x) if rank > 2 else x
    shape = shape_of(x)
    return reshaped(x, [*shape[:start], -1, *shape[end + 1 :]])


@row("unflatten")
def _unflatten(use: Use, x: Symbol, dim: int, sizes: Sequence[Size]) -> Symbol:
    shape, axis = shape_of(x), axis_of(dim, len(x.shape))
    return reshaped(x, [*shape[:axis], *sizes, *shape[axis + 1 :]])


@row("transpose", "swapaxes", "swapdims")
def _transpose(use: Use, x: Symbol, dim0: int, dim1: int) -> Symbol:
    return swapped(x, dim0, dim1)


@row("t", "numpy_T", "mT", "adjoint", "matrix_H")
def _t(use: Use, x: Symbol) -> Symbol:
    if use.target.startswith("aten.numpy_T"):
        return transposed(x, range(len(x.shape))[::-1])
    return swapped(x, -2, -1) if len(x.shape) > 1 else x


@row("permute")
def _permute(use: Use, x: Symbol, dims: Sequence[int]) -> Symbol:
    return transposed(x, [axis_of(axis, len(x.shape)) for axis in dims])


@row("movedim", "moveaxis")
def _movedim(use: Use, x: Symbol, source: Any, destination: Any) -> Symbol:
    rank = len(x.shape)
    pairs = [(source, destination)] if isinstance(source, int) else zip(source, destination, strict=True)
    places = {axis_of(to, rank): axis_of(origin, rank) for origin, to in pairs}
    rest = iter([axis for axis in range(rank) if axis not in places.values()])
    return transposed(x, [places[axis] if axis in places else next(rest) for axis in range(rank)])


@row("contiguous", "clone", "alias", "lift_fresh_copy", "requires_grad_", "positive", "lift")
def _itself(use: Use, x: Symbol, *_: Any) -> Symbol:
    return x


@row("detach", "portable_nn.stop_gradient")
def _detach(use: Use, x: Symbol) -> Symbol:
    return emit("StopGradient", x, domain=INTERNAL) if use.learns else x


@row("to", "_to_copy", "type_as")
def _to(use: Use, x: Symbol, *_: Any, **options: Any) -> Symbol:
    if use.dtype not in {"float32", "float64", "float16", "int32", "int64", "int8", "uint8", "int16", "bool"}:
        use.refuse(f"the element type {use.dtype}")
    return cast(x, use.dtype)


@row("squeeze")
def _squeeze(use: Use, x: Symbol, dim: Any = None) -> Symbol:
    """Axes whose size is not known to be 1 stay, as in PyTorch where they are dynamic."""
    rank = len(x.shape)
    wanted = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [axis for axis in (axis_of(each, rank) for each in wanted) if rank and x.shape[axis] == 1]
    return emit("Squeeze", x, integers(axes)) if axes else x


@row("unsqueeze")
def _unsqueeze(use: Use, x: Symbol, dim: int) -> Symbol:
    return unsqueezed(x, dim + len(x.shape) + 1 if dim < 0 else dim)


@row("expand", "broadcast_to")
def _expand(use: Use, x: Symbol, size: Sequence[Size], implicit: bool = False) -> Symbol:
    return expanded(x, size)


@row("expand_as")
def _expand_as(use: Use, x: Symbol, other: Symbol) -> Symbol:
    return expanded(x, shape_of(other))


@row("repeat", "tile")
def _repeat(use: Use, x: Symbol, repeats: Sequence[Size]) -> Symbol:
    lead = len(repeats) - len(x.shape)
    if lead < 0:
        repeats = [*[1] * -lead, *repeats]
    if all(each == 1 for each in repeats):
        return unsqueezed(x, *range(lead))
    return emit("Tile", unsqueezed(x, *range(lead)), vector(repeats))


@row("repeat_interleave.self_int")
def _repeat_interleave(use: Use, x: Symbol, repeats: Size, dim: int | None = None, output_size: Any = None) -> Symbol:
    if dim is None:
        x, dim = reshaped(x, [-1]), 0
    axis, shape = axis_of(dim, len(x.shape)), shape_of(x)
    wide = expanded(unsqueezed(x, axis + 1), [*shape[: axis + 1], repeats, *shape[axis + 1 :]])
    return reshaped(wide, [*shape[:axis], -1, *shape[axis + 1 :]])


@row("cat", "concat", "concatenate")
def _cat(use: Use, tensors: Sequence[Symbol], dim: int = 0) -> Symbol:
    kept = [use.promoted(each) for each in tensors if each.shape != (0,)] or [use.promoted(tensors[0])]
    return emit("Concat", *kept, axis=axis_of(dim, len(kept[0].shape))) if len(kept) > 1 else kept[0]


@row("stack")
def _stack(use: Use, tensors: Sequence[Symbol], dim: int = 0) -> Symbol:
    axis = axis_of(dim, len(tensors[0].shape) + 1)
    return _cat(use, [unsqueezed(use.promoted(each), axis) for each in tensors], axis)


@row("split", "split_with_sizes", "unsafe_split")
def _split(use: Use, x: Symbol, split_size: Any, dim: int = 0) -> list[Symbol]:
    parts, axis = len(use.results), axis_of(dim, len(x.shape))
    if parts == 1:
        return [x]
    if not isinstance(split_size, (list, tuple)):
        size = x.shape[axis]
        if not isinstance(size, int) or not isinstance(split_size, int):
            use.refuse("parts of a fixed size along an axis of open size")
        split_size = [min(split_size, size - start) for start in range(0, size, split_size)]
    return list(emit_all("Split", x, vector(split_size), outputs=parts, axis=axis))


@row("chunk")
def _chunk(use: Use, x: Symbol, chunks: int, dim: int = 0) -> list[Symbol]:
    parts = len(use.results)
    if parts == 1:
        return [x]
    size = x.shape[dim]
    if isinstance(size, int):
        return _split(use, x, -(-size // chunks), dim)
    return list(emit_all("Split", x, outputs=parts, axis=axis_of(dim, len(x.shape)), num_outputs=parts))


@row("unbind")
def _unbind(use: Use, x: Symbol, dim: int = 0) -> list[Symbol]:
    axis, parts = axis_of(dim, len(x.shape)), len(use.results)
    each = [x] if parts == 1 else emit_all("Split", x, outputs=parts, axis=axis, num_outputs=parts)
    return [squeezed(part, axis) for part in each]


@row("slice.Tensor")
def _slice(
    use: Use, x: Symbol, dim: int = 0, start: Size | None = None, end: Size | None = None, step: int = 1
) -> Symbol:
    return sliced(x, axis_of(dim, len(x.shape)), 0 if start is None else start, END if end is None else end, step)


@row("narrow")
def _narrow(use: Use, x: Symbol, dim: int, start: Size, length: Size) -> Symbol:
    end = start + length
    is_last = isinstance(start, int) and start < 0 and end == 0
    return sliced(x, axis_of(dim, len(x.shape)), start, END if is_last else end)


@row("select.int")
def _select(use: Use, x: Symbol, dim: int, index: Size) -> Symbol:
    axis = axis_of(dim, len(x.shape))
    if isinstance(index, Symbol):
        return squeezed(emit("Gather", x, index, axis=axis), axis)
    if not isinstance(x.shape[axis], int):
        return emit("Gather", x, constant(index, "int64"), axis=axis)
    return squeezed(sliced(x, axis, index, END if index == -1 else index + 1), axis)


@row("diff")
def _diff(
    use: Use, x: Symbol, n: int = 1, dim: int = -1, prepend: Symbol | None = None, append: Symbol | None = None
) -> Symbol:
    axis = axis_of(dim, len(x.shape))
    parts = [each for each in (prepend, x, append) if each is not None]
    x = _cat(use, parts, axis)
    for _ in range(n):
        later, earlier = sliced(x, axis, 1, END), sliced(x, axis, 0, -1)
        x = emit("Xor" if x.dtype == "bool" else "Sub", later, earlier)
    return x


@row("flip")
def _flip(use: Use, x: Symbol, dims: Sequence[int]) -> Symbol:
    axes, ones = [axis_of(axis, len(x.shape)) for axis in dims], [-1] * len(dims)
    return emit("Slice", x, integers(ones), integers([-END] * len(axes)), integers(axes), integers(ones))


@row("roll")
def _roll(use: Use, x: Symbol, shifts: Any, dims: Any = ()) -> Symbol:
    """Each axis in two parts, whose order is exchanged."""
    shifts, dims = ([each] if isinstance(each, int) else list(each) for each in (shifts, dims))
    if not dims:
        return reshaped(_roll(use, reshaped(x, [-1]), shifts, [0]), shape_of(x))
    for shift, dim in zip(shifts, dims, strict=True):
        axis = axis_of(dim, len(x.shape))
        size = x.shape[axis]
        shift = shift % size if isinstance(size, int) else shift
        if shift:
            x = emit("Concat", sliced(x, axis, -shift, END), sliced(x, axis, 0, -shift), axis=axis)
    return x


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@row("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
     "replication_pad2d", "replication_pad3d")  # fmt: skip
def _pad(use: Use, x: Symbol, pad: Sequence[Size], mode: Any = "constant", value: float | None = None) -> Symbol:
    """PyTorch's pads are (begin, end) of the last axis, then of the one before."""
    kind = use.target.removeprefix("aten.")
    if kind.startswith("constant"):
        mode, value = "constant", mode if mode != "constant" else value
    elif kind.startswith("refl"):
        mode = "reflect"
    elif kind.startswith("repl"):
        mode = "replicate"
    axes = [len(x.shape) - 1 - place for place in range(len(pad) // 2)][::-1]
    begins, ends = list(pad[::2])[::-1], list(pad[1::2])[::-1]
    if all(isinstance(each, int) and each == 0 for each in pad):
        return x
    fill = constant(value, x.dtype) if value and mode == "constant" else None
    every = axes == list(range(len(x.shape)))
    return emit(
        "Pad", x, vector([*begins, *ends]), fill, None if every else integers(axes),
        mode=_MODES[mode] if mode != "constant" else None,
    )  # fmt: skip


@row("tril", "triu")
def _triangle(use: Use, x: Symbol, diagonal: Size = 0) -> Symbol:
    k = None if diagonal == 0 else squeezed(vector([diagonal]), 0)
    return emit("Trilu", x, k, upper=int(use.target.startswith("aten.triu")))


@row("pixel_shuffle")
def _pixel_shuffle(use: Use, x: Symbol, upscale_factor: int) -> Symbol:
    return emit("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")


@row("pixel_unshuffle")
def _pixel_unshuffle(use: Use, x: Symbol, downscale_factor: int) -> Symbol:
    return PixelUnshuffle(downscale_factor)(x)


@row("channel_shuffle")
def _channel_shuffle(use: Use, x: Symbol, groups: int) -> Symbol:
    shape = shape_of(x)
    return reshaped(swapped(reshaped(x, [shape[0], groups, -1, *shape[2:]]), 1, 2), shape)


@row("unfold")
def _unfold(use: Use, x: Symbol, dimension: int, size: int, step: int) -> Symbol:
    axis = axis_of(dimension, len(x.shape))
    length = x.shape[axis]
    if not isinstance(length, int):
        use.refuse("windows along an axis of open size")
    windows = [[start + place for place in range(size)] for start in range(0, length - size + 1, step)]
    found = emit("Gather", x, constant(windows, "int64"), axis=axis)
    rank = len(found.shape)
    return transposed(found, [*[each for each in range(rank) if each != axis + 1], axis + 1])


@row("meshgrid")
def _meshgrid(use: Use, tensors: Sequence[Symbol], indexing: str = "ij") -> list[Symbol]:
    rank, sizes = len(tensors), [size_along(each, 0) for each in tensors]
    order = list(range(rank))
    if indexing == "xy" and rank > 1:
        order[:2] = [1, 0]
    wide = [sizes[each] for each in order]
    return [
        expanded(unsqueezed(each, *[axis for axis in range(rank) if order[axis] != place]), wide)
        for place, each in enumerate(tensors)
    ]
