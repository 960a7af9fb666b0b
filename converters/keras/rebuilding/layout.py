"""Reshaping, moving, cutting and reducing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import finite, whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, Sizes, last, plain
from portable_nn.core.graph import Node, Tensor, format_shape
from portable_nn.core.tensors import Array


def _transpose(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    rank = len(value.axes)
    perm = wholes(node, "perm", range(rank)[::-1])
    return Laid(value.tensor, tuple(value.axes[axis] for axis in perm))


def _flatten(b: Rebuilder, node: Node) -> Laid:
    if whole(node, "axis", 1) != 1:
        b.refuse("it flattens from another axis than 1")
    return Laid(keras().layers.Flatten(name=b.name(node))(b.laid(node.inputs[0])), (0, 1))


def _reshape(b: Rebuilder, node: Node) -> Laid:
    """The sizes of the result are known from its type, so that a shape may be computed; one may be open."""
    before, after = b.types[node.inputs[0]].shape, b.types[node.outputs[0]].shape
    x, sizes = b.laid(node.inputs[0]), [size if isinstance(size, int) else -1 for size in after]
    if after[:1] and before[:1] == after[:1] and sizes[1:].count(-1) < 2:
        return Laid(keras().layers.Reshape(sizes[1:], name=b.name(node))(x), plain(len(sizes)))
    if sizes.count(-1) > 1:
        b.refuse(
            f"it makes {format_shape(after)} of {format_shape(before)}, and a Reshape of Keras leaves "
            "the number of examples and one other size open"
        )
    return Laid(keras().ops.reshape(x, sizes), plain(len(sizes)))


def _expand(b: Rebuilder, node: Node) -> Laid:
    """Times ones of the sizes of the result."""
    x, before, after = b.laid(node.inputs[0]), b.types[node.inputs[0]].shape, b.types[node.outputs[0]].shape
    dtype, rank, ops = b.types[node.outputs[0]].dtype, len(after), keras().ops
    lifted = (*[1] * (rank - len(before)), *before)
    new = [size if isinstance(size, int) and size != known else 1 for size, known in zip(after, lifted, strict=True)]
    ones: Any = np.ones(new, dtype)
    for axis, (size, known) in enumerate(zip(after, lifted, strict=True)):
        if isinstance(size, str) and size != known:
            row = ops.expand_dims(b.free.along(size), [each for each in range(rank) if each != axis])
            ones = ops.multiply(ops.cast(row, dtype), ones)
    return Laid((ops.logical_and if dtype == "bool" else ops.multiply)(x, ones), plain(rank))


def _range(b: Rebuilder, node: Node) -> Laid:
    """As many numbers as an open size of an input: sums of ones."""
    start, _, step = (b.types[name].constant for name in node.inputs)
    size, dtype = b.types[node.outputs[0]].shape[0], b.types[node.outputs[0]].dtype
    if start is None or step is None or isinstance(start[0], str) or isinstance(step[0], str) or isinstance(size, int):
        b.refuse("its bounds are computed")
    ops = keras().ops
    places = ops.cast(ops.subtract(ops.cumsum(b.free.along(size), axis=0), 1), dtype)
    return Laid(ops.add(ops.multiply(places, step[0]), start[0]), (0,))


def _constant_of_shape(b: Rebuilder, node: Node) -> Laid:
    value = node.attributes.get("value")
    number = value.data[0] if isinstance(value, Tensor) else 0.0
    dtype, shape = b.types[node.outputs[0]][:2]
    filled: Any = np.full([size if isinstance(size, int) else 1 for size in shape], number, dtype)
    ops = keras().ops
    for axis, size in enumerate(shape):
        if isinstance(size, str):
            row = ops.expand_dims(b.free.along(size), [each for each in range(len(shape)) if each != axis])
            filled = ops.multiply(ops.cast(row, dtype), filled)
    return Laid(filled, plain(len(shape)))


def _squeeze(b: Rebuilder, node: Node) -> Laid:
    axes = b.untrained(node, 1)
    rank = b.rank(node.inputs[0])
    places = [int(axis) % rank for axis in axes] if axes is not None else []
    if not places:
        b.refuse("its axes are not said")
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    gone = sorted(value.axes[place] for place in places)
    kept = [axis for place, axis in enumerate(value.axes) if place not in places]
    return Laid(keras().ops.squeeze(value.tensor, tuple(gone)), tuple(sorted(kept).index(axis) for axis in kept))


def _unsqueeze(b: Rebuilder, node: Node) -> Laid:
    """New axes of size 1; the examples stay along the tensor's first axis wherever the graph has them."""
    axes = b.untrained(node, 1)
    assert axes is not None
    rank = b.rank(node.outputs[0])
    new = {int(each) % rank for each in axes}
    old = [axis for axis in range(rank) if axis not in new]
    order = [*old[:1], *(axis for axis in range(rank) if axis not in old[:1])]
    tensor = b.laid(node.inputs[0])
    for place, axis in enumerate(order):
        if axis in new:
            tensor = keras().ops.expand_dims(tensor, place)
    return Laid(tensor, tuple(order.index(axis) for axis in range(rank)))


def _pad(b: Rebuilder, node: Node) -> Laid:
    pads, value, axes = (b.untrained(node, place) for place in (1, 2, 3))
    rank, number = b.rank(node.inputs[0]), 0.0 if value is None else float(finite(value))
    if node.attributes.get("mode", "constant") != "constant" or pads is None:
        b.refuse("its mode is none of Keras's")
    places = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    given = {axis: (int(pads[at]), int(pads[len(places) + at])) for at, axis in enumerate(places)}
    pairs = [given.get(axis, (0, 0)) for axis in range(rank)]
    if number or any(each for pair in pairs[:2] for each in pair) or not 3 <= rank <= 5:
        x, cut = b.laid(node.inputs[0]), tuple(slice(max(-begin, 0), min(end, 0) or None) for begin, end in pairs)
        x = x if all(each == slice(0, None) for each in cut) else x[cut]
        widths = [(max(begin, 0), max(end, 0)) for begin, end in pairs]
        number = bool(number) if b.types[node.inputs[0]].dtype == "bool" else number
        return Laid(keras().ops.pad(x, widths, constant_values=number), plain(rank))
    x = b.laid(node.inputs[0], last(rank))
    for word, sign in (("ZeroPadding", 1), ("Cropping", -1)):
        cells = [(max(sign * begin, 0), max(sign * end, 0)) for begin, end in pairs[2:]]
        if any(each for pair in cells for each in pair):
            layer = getattr(keras().layers, f"{word}{rank - 2}D")
            x = layer(cells[0] if rank == 3 else cells, name=b.key(node.name))(x)
    return Laid(x, last(rank))


def _numbers(b: Rebuilder, node: Node, place: int) -> Sequence[Any] | Array | None:
    """Numbers that are an input of a node, and names of open sizes among them."""
    if place < len(node.inputs) and isinstance(b.values.get(node.inputs[place]), Sizes):
        return b.types[node.inputs[place]].constant
    return b.untrained(node, place)


def _slice(b: Rebuilder, node: Node) -> Laid:
    starts, ends, axes, steps = (_numbers(b, node, place) for place in range(1, 5))
    assert starts is not None
    assert ends is not None
    rank = b.rank(node.inputs[0])
    places = [int(axis) % rank for axis in axes] if axes is not None else list(range(len(starts)))
    tensor = b.laid(node.inputs[0])
    parts: list[Any] = [slice(None)] * rank
    alone = list[int]()
    for at, axis in enumerate(places):
        step = 1 if steps is None else int(steps[at])
        size = b.types[node.outputs[0]].shape[axis]
        if isinstance(starts[at], str) or isinstance(ends[at], str):
            if step != 1 or isinstance(starts[at], str) or int(starts[at]) < 0 or isinstance(size, int):
                b.refuse("where it begins or ends is computed")
            # No more than there are: the smaller of both sizes has no name.
            ones = b.free.along(size if size.isidentifier() or int(starts[at]) else str(ends[at]))
            index = keras().ops.add(keras().ops.cumsum(ones, axis=0), int(starts[at]) - 1)
            tensor = keras().ops.take(tensor, index, axis=axis)
        elif step == -1 and int(starts[at]) in (-1, 2**31, 2**63 - 1) and int(ends[at]) <= -(2**31):
            tensor = keras().ops.flip(tensor, axis)
        elif step < 1:
            b.refuse("it counts backwards over a part of an axis")
        else:
            end = int(ends[at])
            parts[axis] = slice(int(starts[at]), None if end >= 2**31 - 1 else end, step)
            if b.size(node.outputs[0], axis) == 1 and b.size(node.inputs[0], axis) is None:
                parts[axis], alone = int(starts[at]), [*alone, axis]  # Keras does not know how long a part is.
    made = tensor if parts == [slice(None)] * rank else tensor[tuple(parts)]
    return Laid(keras().ops.expand_dims(made, alone) if alone else made, plain(rank))


def _split(b: Rebuilder, node: Node) -> None:
    axis, rank = whole(node, "axis", 0) % b.rank(node.inputs[0]), b.rank(node.inputs[0])
    ends, total = [], 0
    for name in node.outputs:
        size = b.size(name, axis)
        if size is None:
            b.refuse("the sizes of its parts are not known")
        total += size
        ends.append(total)
    parts = keras().ops.split(b.laid(node.inputs[0]), ends[:-1], axis=axis)
    for name, part in zip(node.outputs, parts, strict=True):
        b.values[name] = Laid(part, plain(rank))


def _gather(b: Rebuilder, node: Node) -> Laid:
    """Rows of a matrix of weights are an ``Embedding``."""
    table, places = b.values[node.inputs[0]], b.values[node.inputs[1]]
    axis, rank = whole(node, "axis", 0) % b.rank(node.inputs[0]), b.rank(node.outputs[0])
    if not isinstance(table, Fixed) or table.array.ndim != 2 or axis:
        index = places.array if isinstance(places, Fixed) and not places.names else b.laid(node.inputs[1])
        size = b.size(node.inputs[0], axis)
        if isinstance(index, np.ndarray) and size is not None:
            index = index % size
        if isinstance(index, np.ndarray) and index.ndim == 0:
            keys = (*[slice(None)] * axis, int(index))
            return Laid(b.laid(node.inputs[0])[keys], plain(rank))
        return Laid(keras().ops.take(b.laid(node.inputs[0]), index, axis=axis), plain(rank))
    if b.free.is_tied(table):
        return Laid(b.free.table(node.inputs[0], table)(b.laid(node.inputs[1])), plain(rank))
    entries, features = table.array.shape

    def make(name: str) -> Any:
        return keras().layers.Embedding(entries, features, name=name)

    made = b.call(node, make, b.laid(node.inputs[1]), ((0, table.array),))
    return Laid(made, plain(rank))


def _gather_elements(b: Rebuilder, node: Node) -> Laid:
    axis, rank = whole(node, "axis", 0), b.rank(node.outputs[0])
    one, other = (b.laid(name) for name in node.inputs)
    return Laid(keras().ops.take_along_axis(one, other, axis=axis), plain(rank))


def _scatter_elements(b: Rebuilder, node: Node) -> Laid:
    """Keras takes the coordinates of all entries in a list, those of the examples as well: sums of ones."""
    ops, rank = keras().ops, b.rank(node.inputs[1])
    axis, size = whole(node, "axis", 0) % rank, b.size(node.inputs[0], whole(node, "axis", 0))
    if size is None or node.attributes.get("reduction", "none") != "none":
        b.refuse("it combines entries, or counts along an axis of an open size")
    x, index, updates = (b.laid(name) for name in node.inputs)
    index = ops.cast(index, "int64")
    places = [ops.subtract(ops.cumsum(ops.ones_like(index), axis=each), 1) for each in range(rank)]
    places[axis] = ops.where(ops.less(index, 0), ops.add(index, size), index)
    listed = ops.reshape(ops.stack(places, axis=-1), (-1, rank))
    return Laid(ops.scatter_update(x, listed, ops.reshape(updates, (-1,))), plain(rank))


def _tile(b: Rebuilder, node: Node) -> Laid:
    times = b.untrained(node, 1)
    assert times is not None
    return Laid(keras().ops.tile(b.laid(node.inputs[0]), [int(each) for each in times]), plain(len(times)))


def _top_k(b: Rebuilder, node: Node) -> None:
    """The largest entries along the last axis, and their places."""
    count, rank = b.untrained(node, 1), b.rank(node.inputs[0])
    if count is None or whole(node, "axis", -1) % rank != rank - 1 or not whole(node, "largest", 1):
        b.refuse("it takes the smallest entries, or those along another axis than the last")
    values, places = keras().ops.top_k(b.laid(node.inputs[0]), int(count.ravel()[0]), sorted=True)
    b.values[node.outputs[0]] = Laid(values, plain(rank))
    if len(node.outputs) > 1 and node.outputs[1]:
        b.values[node.outputs[1]] = Laid(keras().ops.cast(places, "int64"), plain(rank))


def _cast(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    return value._replace(tensor=keras().ops.cast(value.tensor, b.types[node.outputs[0]].dtype))


def _resize(b: Rebuilder, node: Node) -> Laid:
    scales, rank = b.untrained(node, 2), b.rank(node.inputs[0])
    mode = str(node.attributes.get("mode", "nearest"))
    place = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if (
        scales is None
        or len(scales) != rank
        or any(float(each) % 1 or each < 1 for each in scales)
        or any(s != 1 for s in scales[:2])
    ):
        b.refuse("Keras's UpSampling has whole factors")
    factors = [int(each) for each in scales[2:]]
    if mode == "nearest" and (place, node.attributes.get("nearest_mode")) != ("asymmetric", "floor"):
        b.refuse("Keras's UpSampling repeats cells")
    if mode not in ("nearest", "linear") or (mode == "linear" and (rank != 4 or place != "half_pixel")):
        b.refuse("its mode is none of Keras's")
    layer = getattr(keras().layers, f"UpSampling{rank - 2}D")
    options = {"interpolation": "bilinear"} if mode == "linear" else {}
    size = factors[0] if rank == 3 else factors
    return Laid(layer(size, name=b.key(node.name), **options)(b.laid(node.inputs[0], last(rank))), last(rank))


def _depth_to_space(b: Rebuilder, node: Node) -> Laid:
    """Keras's operation has the blocks before the channels, as DCR."""
    if not hasattr(keras().ops, "depth_to_space"):
        b.refuse("this version of Keras has no depth_to_space")
    block, x = whole(node, "blocksize", 1), b.laid(node.inputs[0], last(4))
    if node.attributes.get("mode", "DCR") == "CRD":
        cells = b.size(node.outputs[0], 1) or 0  # A number: the operator refuses open channels.
        x = keras().ops.take(x, np.arange(cells * block * block).reshape(cells, -1).T.ravel(), axis=3)
    return Laid(keras().ops.depth_to_space(x, block, data_format="channels_last"), last(4))


def _space_to_depth(b: Rebuilder, node: Node) -> Laid:
    if not hasattr(keras().ops, "space_to_depth"):
        b.refuse("this version of Keras has no space_to_depth")
    block, x = whole(node, "blocksize", 1), b.laid(node.inputs[0], last(4))
    return Laid(keras().ops.space_to_depth(x, block, data_format="channels_last"), last(4))


ROWS: Final[Mapping[str, Row]] = {
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "ScatterElements": _scatter_elements,
    "Tile": _tile,
    "TopK": _top_k,
    "Expand": _expand,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Slice": _slice,
    "Split": _split,
    "Cast": _cast,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
