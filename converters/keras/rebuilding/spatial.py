"""Convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Laid, last
from portable_nn.core.graph import Node


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padding(b: Rebuilder, node: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Any:
    """``"valid"``, ``"same"``, ``"causal"``, or pairs of cells."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "VALID"):
        return "same" if auto == "SAME_UPPER" else "valid"
    if auto != "NOTSET":
        b.refuse(f"its auto_pad {auto} is none of Keras's")
    axes = len(kernel)
    pads = wholes(node, "pads", [0] * 2 * axes)
    pairs = list(zip(pads[:axes], pads[axes:], strict=True))
    if not any(pads):
        return "valid"
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    known = [b.size(node.inputs[0], axis + 2) for axis in range(axes)]
    if all(
        pair == (_same(n, r, s) if n is not None else ((r - 1) // 2, r - 1 - (r - 1) // 2) if s == 1 else None)
        for pair, n, r, s in zip(pairs, known, reach, strides, strict=True)
    ):
        return "same"
    if axes == 1 and pairs == [(reach[0] - 1, 0)]:
        return "causal"
    return pairs


def _padded(b: Rebuilder, node: Node, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    axes = len(pairs)
    layer = getattr(keras().layers, f"ZeroPadding{axes}D")
    return layer(pairs[0] if axes == 1 else pairs, name=b.key(f"{node.name}.pad"))(x)


def _conv(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    assert weight is not None
    axes, groups = weight.ndim - 2, whole(node, "group", 1)
    kernel, strides = list(weight.shape[2:]), wholes(node, "strides", [1] * axes)
    dilations = wholes(node, "dilations", [1] * axes)
    padding = _padding(b, node, kernel, strides, dilations)
    order = last(axes + 2)
    x = b.laid(node.inputs[0], order)
    if not isinstance(padding, str):
        x, padding = _padded(b, node, x, padding), "valid"
    word = b.activation(node, node.outputs[0])
    options = {
        "strides": strides, "padding": padding, "dilation_rate": dilations, "use_bias": bias is not None,
        "activation": word, "data_format": "channels_last",
    }  # fmt: skip
    layers = keras().layers
    if groups > 1 and weight.shape[1] == 1 and axes < 3 and len(set(strides)) == 1 and padding != "causal":
        times = weight.shape[0] // groups
        turned = np.moveaxis(weight.reshape(groups, times, *kernel), (0, 1), (-2, -1))

        def make(name: str) -> Any:
            return getattr(layers, f"DepthwiseConv{axes}D")(kernel, depth_multiplier=times, name=name, **options)
    else:
        turned = np.moveaxis(weight, (0, 1), (-1, -2))

        def make(name: str) -> Any:
            return getattr(layers, f"Conv{axes}D")(weight.shape[0], kernel, groups=groups, name=name, **options)

    return b.given(node, word, b.call(node, make, x, ((1, turned), (2, bias))), order)


def _conv_transpose(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    assert weight is not None
    axes = weight.ndim - 2
    if (
        whole(node, "group", 1) != 1
        or node.attributes.get("auto_pad", "NOTSET") != "NOTSET"
        or "output_shape" in node.attributes
    ):
        b.refuse("groups, auto_pad and output_shape of a transposed convolution are none of Keras's")
    kernel, strides = list(weight.shape[2:]), wholes(node, "strides", [1] * axes)
    dilations, extra = wholes(node, "dilations", [1] * axes), wholes(node, "output_padding", [0] * axes)
    pads = wholes(node, "pads", [0] * 2 * axes)
    crop, added = [], []
    for axis in range(axes):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        added.append(max(strides[axis] - reach, extra[axis] - pads[axes + axis], 0))
        crop.append((pads[axis], pads[axes + axis] + added[axis] - extra[axis]))
    order = last(axes + 2)
    turned = np.moveaxis(weight, (0, 1), (-1, -2))
    options = {
        "strides": strides,
        "dilation_rate": dilations,
        "use_bias": bias is not None,
        "data_format": "channels_last",
        "output_padding": added,
    }

    def make(name: str) -> Any:
        return getattr(keras().layers, f"Conv{axes}DTranspose")(weight.shape[1], kernel, name=name, **options)

    made = b.call(node, make, b.laid(node.inputs[0], order), ((1, turned), (2, bias)))
    if any(cells for pair in crop for cells in pair):
        layer = getattr(keras().layers, f"Cropping{axes}D")
        made = layer(crop[0] if axes == 1 else crop, name=b.key(f"{node.name}.crop"))(made)
    return Laid(made, order)


def _pool(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        kernel = wholes(node, "kernel_shape", [])
        axes = len(kernel)
        strides, ones = wholes(node, "strides", [1] * axes), [1] * axes
        if whole(node, "ceil_mode", 0) or wholes(node, "dilations", ones) != ones or len(node.outputs) > 1:
            b.refuse("ceil_mode, dilations and indices of a pool are none of Keras's")
        padding, order = _padding(b, node, kernel, strides, ones), last(axes + 2)
        x = b.laid(node.inputs[0], order)
        counts = word == "Average" and whole(node, "count_include_pad", 0)
        if counts and padding != "valid":
            pads = wholes(node, "pads", [0] * 2 * axes)
            padding = list(zip(pads[:axes], pads[axes:], strict=True))
        if not isinstance(padding, str) and counts:
            x, padding = _padded(b, node, x, padding), "valid"
        if not isinstance(padding, str) and word == "Max":  # Cells that are never the largest.
            lowest = float(np.finfo(b.types[node.inputs[0]].dtype).min)
            x, padding = keras().ops.pad(x, [(0, 0), *padding, (0, 0)], constant_values=lowest), "valid"
        if padding not in ("valid", "same"):
            b.refuse("its padding is none of Keras's")
        layer = getattr(keras().layers, f"{word}Pooling{axes}D")
        return Laid(layer(kernel, strides=strides, padding=padding, name=b.name(node))(x), order)

    return build


def _global_pool(word: str) -> Callable[[Rebuilder, Node], Laid | None]:
    def build(b: Rebuilder, node: Node) -> Laid | None:
        rank = b.rank(node.inputs[0])
        layer = getattr(keras().layers, f"Global{word}Pooling{rank - 2}D")
        x = b.laid(node.inputs[0], last(rank))
        following = b.only_consumer(node.outputs[0])
        if following is not None and following.operator == "Flatten" and whole(following, "axis", 1) == 1:
            b.done.add(following.name)
            b.values[following.outputs[0]] = Laid(layer(name=b.name(following))(x), (0, 1))
            return None
        return Laid(layer(keepdims=True, name=b.name(node))(x), last(rank))

    return build


ROWS: Final[Mapping[str, Row]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("Max"),
    "AveragePool": _pool("Average"),
    "GlobalMaxPool": _global_pool("Max"),
    "GlobalAveragePool": _global_pool("Average"),
}
