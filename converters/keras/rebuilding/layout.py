"""Reshaping, moving, cutting and reducing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import Fixed, Laid, NoLayerError, Rebuilder, Row, last, plain
from portable_nn.core.graph import Node


def _transpose(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    rank = len(value.axes)
    perm = wholes(node, "perm", range(rank)[::-1])
    return Laid(value.tensor, tuple(value.axes[axis] for axis in perm))


def _flatten(b: Rebuilder, node: Node) -> Laid:
    if whole(node, "axis", 1) != 1:
        raise NoLayerError("it flattens from another axis than 1")
    return Laid(keras().layers.Flatten(name=b.name(node))(b.laid(node.inputs[0])), (0, 1))


def _reshape(b: Rebuilder, node: Node) -> Laid:
    shape = b.untrained(node, 1)
    assert shape is not None
    wanted = [int(size) for size in shape]
    for place, size in enumerate(wanted):
        if size == 0 and place:
            known = b.size(node.inputs[0], place)
            if known is None:
                raise NoLayerError("it keeps a size that is open")
            wanted[place] = known
    before, after = b.network.types[node.inputs[0]].shape, b.network.types[node.outputs[0]].shape
    if (
        not wanted
        or (wanted[0] not in (0, -1) and before[:1] != after[:1])
        or (wanted[0] == -1 and before[:1] != after[:1])
    ):
        raise NoLayerError("it changes the number of examples, which Keras's Reshape keeps")
    return Laid(keras().layers.Reshape(wanted[1:], name=b.name(node))(b.laid(node.inputs[0])), plain(len(wanted)))


def _squeeze(b: Rebuilder, node: Node) -> Laid:
    axes = b.untrained(node, 1)
    rank = b.rank(node.inputs[0])
    places = [int(axis) % rank for axis in axes] if axes is not None else []
    if not places:
        raise NoLayerError("its axes are not said")
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
    pads, value = b.untrained(node, 1), b.untrained(node, 2)
    rank = b.rank(node.inputs[0])
    is_zero = node.attributes.get("mode", "constant") == "constant" and (value is None or float(value) == 0)
    if (
        pads is None
        or not is_zero
        or len(node.inputs) > 3
        or len(pads) != 2 * rank
        or any(pads[[0, 1, rank, rank + 1]])
    ):
        raise NoLayerError("Keras pads with zeros, and axes behind the channels alone")
    pairs = [(int(pads[axis]), int(pads[rank + axis])) for axis in range(2, rank)]
    x = b.laid(node.inputs[0], last(rank))
    for word, sign in (("ZeroPadding", 1), ("Cropping", -1)):
        cells = [(max(sign * begin, 0), max(sign * end, 0)) for begin, end in pairs]
        if any(each for pair in cells for each in pair):
            layer = getattr(keras().layers, f"{word}{rank - 2}D")
            x = layer(cells[0] if rank == 3 else cells, name=b.key(node.name))(x)
    return Laid(x, last(rank))


def _slice(b: Rebuilder, node: Node) -> Laid:
    starts, ends, axes, steps = (b.untrained(node, place) for place in range(1, 5))
    assert starts is not None
    assert ends is not None
    rank = b.rank(node.inputs[0])
    places = [int(axis) % rank for axis in axes] if axes is not None else list(range(len(starts)))
    tensor = b.laid(node.inputs[0])
    parts: list[Any] = [slice(None)] * rank
    alone = list[int]()
    for at, axis in enumerate(places):
        step = 1 if steps is None else int(steps[at])
        if step == -1 and int(starts[at]) in (-1, 2**31, 2**63 - 1) and int(ends[at]) <= -(2**31):
            tensor = keras().ops.flip(tensor, axis)
        elif step < 1:
            raise NoLayerError("it counts backwards over a part of an axis")
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
            raise NoLayerError("the sizes of its parts are not known")
        total += size
        ends.append(total)
    parts = keras().ops.split(b.laid(node.inputs[0]), ends[:-1], axis=axis)
    for name, part in zip(node.outputs, parts, strict=True):
        b.values[name] = Laid(part, plain(rank))


def _gather(b: Rebuilder, node: Node) -> Laid:
    table = b.values[node.inputs[0]]
    if not isinstance(table, Fixed) or table.array.ndim != 2 or whole(node, "axis", 0):
        raise NoLayerError("it is no Embedding: rows of a matrix of weights")
    entries, features = table.array.shape

    def make(name: str) -> Any:
        return keras().layers.Embedding(entries, features, name=name)

    made = b.call(node, make, b.laid(node.inputs[1]), ((0, table.array),))
    return Laid(made, plain(b.rank(node.outputs[0])))


def _cast(b: Rebuilder, node: Node) -> Laid:
    value = b.values[node.inputs[0]]
    assert isinstance(value, Laid)
    return value._replace(tensor=keras().ops.cast(value.tensor, b.network.types[node.outputs[0]].dtype))


def _function(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        value = b.values[node.inputs[0]]
        assert isinstance(value, Laid)
        return value._replace(tensor=getattr(keras().ops, word)(value.tensor))

    return build


def _reduced(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        axes = b.untrained(node, 1)
        rank = b.rank(node.inputs[0])
        places = tuple(int(axis) % rank for axis in axes) if axes is not None else tuple(range(rank))
        made = getattr(keras().ops, word)(
            b.laid(node.inputs[0]), axis=places, keepdims=bool(whole(node, "keepdims", 1))
        )
        return Laid(made, plain(b.rank(node.outputs[0])))

    return build


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
        raise NoLayerError("Keras's UpSampling has whole factors")
    factors = [int(each) for each in scales[2:]]
    if mode == "nearest" and (place, node.attributes.get("nearest_mode")) != ("asymmetric", "floor"):
        raise NoLayerError("Keras's UpSampling repeats cells")
    if mode not in ("nearest", "linear") or (mode == "linear" and (rank != 4 or place != "half_pixel")):
        raise NoLayerError("its mode is none of Keras's")
    layer = getattr(keras().layers, f"UpSampling{rank - 2}D")
    options = {"interpolation": "bilinear"} if mode == "linear" else {}
    size = factors[0] if rank == 3 else factors
    return Laid(layer(size, name=b.key(node.name), **options)(b.laid(node.inputs[0], last(rank))), last(rank))


ROWS: Final[Mapping[str, Row]] = {
    "Not": _function("logical_not"),
    "Neg": _function("negative"),
    "Abs": _function("absolute"),
    "Sqrt": _function("sqrt"),
    "Log": _function("log"),
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "Cast": _cast,
    "ReduceMean": _reduced("mean"),
    "ReduceSum": _reduced("sum"),
    "ReduceMax": _reduced("max"),
    "ReduceMin": _reduced("min"),
    "Resize": _resize,
}
