"""Convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
from portable_nn.converters.keras.rebuilding.values import Laid, last
from portable_nn.core.graph import Dim, Node
from portable_nn.operators import OperatorContext, Symbol, emit, emit_all
from portable_nn.operators.spatial.convolution import transpose_windows
from portable_nn.operators.spatial.window import reaching, windows
from portable_nn.rewrites import lowering
from portable_nn.rewrites.lowering import Form
from portable_nn.sizes.operation import Window


def _windows(b: Rebuilder, node: Node, kernel: Sequence[int]) -> tuple[list[Window], Any]:
    """The windows of a convolution or pool, and ``"valid"``, ``"same"``, ``"causal"``, or pairs of cells."""
    use = b.use(node)
    sizes, auto, ceil = use.type().shape[2:], use.string("auto_pad"), use.attributes.get("ceil_mode")
    found, known = windows(use, kernel, sizes), [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes) and (ceil or auto == "SAME_LOWER"):
        b.refuse("ceil_mode and auto_pad SAME_LOWER are none of Keras's where a size is open")
    if ceil:
        found = [reaching(w, size) for w, size in zip(found, known, strict=True)]
    pads = [w.pads for w in found]
    if auto != "SAME_UPPER" and not any(map(any, pads)):
        return found, "valid"
    if auto == "SAME_UPPER" or pads == list(map(_same, found, sizes)):
        return found, "same"
    return found, "causal" if pads == [(found[0].extent - 1, 0)] else pads


def _same(w: Window, size: Dim) -> tuple[int, int] | None:
    """The pads that Keras's "same" is; ``None`` where they depend on an open size."""
    if isinstance(size, str) and w.stride > 1:
        return None
    return w.same(size if isinstance(size, int) else 1, upper=True).pads


def _padded(b: Rebuilder, node: Node, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    axes = len(pairs)
    layer = getattr(keras().layers, f"ZeroPadding{axes}D")
    return layer(pairs[0] if axes == 1 else pairs, name=b.key(f"{node.name}.pad"))(x)


@ROWS.row("Conv")
def _conv(b: Rebuilder, node: Node) -> Laid | None:
    weight, bias = b.fixed(node, 1), b.fixed(node, 2)
    assert weight is not None
    axes, groups, kernel = weight.ndim - 2, b.use(node).int("group"), weight.shape[2:]
    found, padding = _windows(b, node, kernel)
    order, strides = last(axes + 2), [w.stride for w in found]
    x = b.laid(node.inputs[0], order)
    if not isinstance(padding, str):
        x, padding = _padded(b, node, x, padding), "valid"
    word = b.activation(node, node.outputs[0])
    options = {
        "strides": strides, "padding": padding, "dilation_rate": [w.dilation for w in found],
        "use_bias": bias is not None, "activation": word, "data_format": "channels_last",
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


@ROWS.row("ConvTranspose")
def _conv_transpose(b: Rebuilder, node: Node) -> Laid:
    weight, bias, use = b.fixed(node, 1), b.fixed(node, 2), b.use(node)
    assert weight is not None
    if use.int("group") != 1:
        b.refuse("groups of a transposed convolution are none of Keras's")
    found, axes = transpose_windows(use), weight.ndim - 2
    added = [max(w.stride - w.extent, w.output_padding - w.pad_end, 0) for w in found]
    crop = [(w.pad_begin, w.pad_end + more - w.output_padding) for w, more in zip(found, added, strict=True)]
    order = last(axes + 2)
    options = {
        "strides": [w.stride for w in found], "dilation_rate": [w.dilation for w in found],
        "use_bias": bias is not None, "data_format": "channels_last", "output_padding": added,
    }  # fmt: skip

    def make(name: str) -> Any:
        kind = getattr(keras().layers, f"Conv{axes}DTranspose")
        return kind(weight.shape[1], weight.shape[2:], name=name, **options)

    weights = ((1, np.moveaxis(weight, (0, 1), (-1, -2))), (2, bias))
    made = b.call(node, make, b.laid(node.inputs[0], order), weights)
    if any(map(any, crop)):
        layer = getattr(keras().layers, f"Cropping{axes}D")
        made = layer(crop[0] if axes == 1 else crop, name=b.key(f"{node.name}.crop"))(made)
    return Laid(made, order)


@ROWS.row(MaxPool="Max", AveragePool="Average")
def _pool(word: str, b: Rebuilder, node: Node) -> Laid:
    use = b.use(node)
    found, padding = _windows(b, node, use.ints("kernel_shape") or ())
    is_odd = word == "Average" and (use.int("ceil_mode") or (padding != "valid" and use.int("count_include_pad")))
    if is_odd or len(node.outputs) > 1 or any(w.dilation > 1 for w in found):
        b.refuse("dilations and indices of a pool, and some of its means, are none of Keras's")
    order = last(len(found) + 2)
    x = b.laid(node.inputs[0], order)
    if not isinstance(padding, str) and word == "Max":  # Cells that are never the largest.
        lowest = float(np.finfo(b.types[node.inputs[0]].dtype).min)
        x, padding = keras().ops.pad(x, [(0, 0), *padding, (0, 0)], constant_values=lowest), "valid"
    if padding not in ("valid", "same"):
        b.refuse("its padding is none of Keras's")
    layer = getattr(keras().layers, f"{word}Pooling{len(found)}D")
    options = {"strides": [w.stride for w in found], "padding": padding, "name": b.name(node)}
    return Laid(layer([w.kernel for w in found], **options)(x), order)


@ROWS.row(GlobalMaxPool="Max", GlobalAveragePool="Average")
def _global_pool(word: str, b: Rebuilder, node: Node) -> Laid | None:
    rank = b.rank(node.inputs[0])
    layer = getattr(keras().layers, f"Global{word}Pooling{rank - 2}D")
    x = b.laid(node.inputs[0], last(rank))
    following = b.only_consumer(node.outputs[0])
    if following is not None and following.operator == "Flatten" and b.use(following).int("axis") == 1:
        b.done.add(following.name)
        b.values[following.outputs[0]] = Laid(layer(name=b.name(following))(x), (0, 1))
        return None
    return Laid(layer(keepdims=True, name=b.name(node))(x), last(rank))


def form_of(use: OperatorContext) -> Form | None:
    """The node's decomposition into other operators, or ``None``: of a transposed convolution, one for each group."""
    if use.operator.name != "ConvTranspose":
        return lowering.form_of(use)
    groups = use.int("group")
    if groups == 1:
        return None

    def form(x: Symbol, weight: Symbol, bias: Symbol | None = None, **options: Any) -> Symbol:
        def parts(value: Symbol, axis: int) -> Sequence[Symbol]:
            return emit_all("Split", value, outputs=groups, axis=axis, num_outputs=groups)

        shifts = [None] * groups if bias is None else parts(bias, 0)
        made = [
            emit("ConvTranspose", *each, **{**options, "group": 1})
            for each in zip(parts(x, 1), parts(weight, 0), shifts, strict=True)
        ]
        return emit("Concat", *made, axis=1)

    return form
