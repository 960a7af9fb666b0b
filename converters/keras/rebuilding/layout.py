"""Shapes, borders, rows of tables and larger pictures that are layers of Keras."""

from __future__ import annotations

from typing import Any, Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, last, plain
from portable_nn.core.graph import Node, format_shape
from portable_nn.operators.layout.padding import known_pads


@ROWS.row("Flatten")
def _flatten(b: Rebuilder, node: Node) -> Laid:
    if b.use(node).int("axis") != 1:
        b.refuse("it flattens from another axis than 1")
    return Laid(keras().layers.Flatten(name=b.name(node))(b.laid(node.inputs[0])), (0, 1))


@ROWS.row("Reshape")
def _reshape(b: Rebuilder, node: Node) -> Laid:
    """The sizes of the result are known from its type, so that a shape may be computed; one may be open."""
    before, after = b.types[node.inputs[0]].shape, b.types[node.outputs[0]].shape
    sizes = [size if isinstance(size, int) else -1 for size in after[1:]]
    if not after[:1] or before[:1] != after[:1] or sizes.count(-1) > 1:
        b.refuse(
            f"it makes {format_shape(after)} of {format_shape(before)}, and a Reshape of Keras leaves "
            "the number of examples and one other size open"
        )
    return Laid(keras().layers.Reshape(sizes, name=b.name(node))(b.laid(node.inputs[0])), plain(len(after)))


@ROWS.row("Pad")
def _pad(b: Rebuilder, node: Node) -> Laid:
    use, value, rank = b.use(node), b.untrained(node, 2), b.rank(node.inputs[0])
    pairs, is_odd = known_pads(use), use.string("mode") != "constant" or (value is not None and value.any())
    if is_odd or any(map(any, pairs[:2])) or not 3 <= rank <= 5:
        b.refuse("its borders are none of Keras's layers")
    x = b.laid(node.inputs[0], last(rank))
    for word, sign in (("ZeroPadding", 1), ("Cropping", -1)):
        cells = [(max(sign * begin, 0), max(sign * end, 0)) for begin, end in pairs[2:]]
        if any(map(any, cells)):
            layer = getattr(keras().layers, f"{word}{rank - 2}D")
            x = layer(cells[0] if rank == 3 else cells, name=b.name(node))(x)
    return Laid(x, last(rank))


@ROWS.row("Gather")
def _gather(b: Rebuilder, node: Node) -> Laid:
    """Rows of a matrix of weights are an ``Embedding``."""
    table, rank = b.values[node.inputs[0]], b.rank(node.outputs[0])
    if not isinstance(table, Fixed) or table.array.ndim != 2 or b.use(node).attribute_axis():
        b.refuse("it takes no rows of a matrix of weights")
    if b.free.is_tied(table):
        return Laid(b.free.table(node.inputs[0], table)(b.laid(node.inputs[1])), plain(rank))
    entries, features = table.array.shape

    def make(name: str) -> Any:
        return keras().layers.Embedding(entries, features, name=name)

    return Laid(b.call(node, make, b.laid(node.inputs[1]), ((0, table.array),)), plain(rank))


_INTERPOLATIONS: Final = {"nearest asymmetric floor": "nearest", "linear half_pixel": "bilinear"}
"""The interpolation of Keras by the modes of a Resize."""


@ROWS.row("Resize")
def _resize(b: Rebuilder, node: Node) -> Laid:
    use, scales, rank = b.use(node), b.untrained(node, 2), b.rank(node.inputs[0])
    if scales is None or len(scales) != rank or (scales % 1).any() or (scales < 1).any() or (scales[:2] != 1).any():
        b.refuse("Keras's UpSampling has whole factors")
    modes = [use.string(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    word = _INTERPOLATIONS.get(" ".join(modes[: 2 + (modes[0] == "nearest")]))
    if word is None or (word == "bilinear" and rank != 4):
        b.refuse("its mode is none of Keras's")
    factors, options = [int(each) for each in scales[2:]], {} if word == "nearest" else {"interpolation": word}
    layer = getattr(keras().layers, f"UpSampling{rank - 2}D")(
        factors[0] if rank == 3 else factors, name=b.name(node), **options
    )
    return Laid(layer(b.laid(node.inputs[0], last(rank))), last(rank))
