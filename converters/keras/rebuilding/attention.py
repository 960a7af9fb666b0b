"""Attention, as an operation of ``keras.ops`` between layers that part the heads and join them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import real, whole
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Laid, plain
from portable_nn.core.graph import Node

_HEADS: Final = (0, 2, 1, 3)
"""The places of the axes of (batch, heads, steps, features) in Keras."""


def _parted(b: Rebuilder, node: Node, place: int, heads: int) -> Any:
    """An input as (batch, steps, heads, features)."""
    name = node.inputs[place]
    if b.rank(name) == 4:
        return b.laid(name, _HEADS)
    features = b.size(name, 2)
    if not heads or features is None:
        b.refuse("the features of its heads are not known")
    return keras().layers.Reshape((-1, heads, features // heads), name=b.key(f"{node.name}.heads"))(b.laid(name))


def _mask(b: Rebuilder, node: Node) -> dict[str, Any]:
    if len(node.inputs) < 4 or not node.inputs[3]:
        return {}
    name = node.inputs[3]
    mask = b.laid(name)
    for _ in range(4 - b.rank(name)):  # ONNX lets a mask without heads, or without examples, hold for all of them.
        mask = keras().ops.expand_dims(mask, 0)
    return {"mask" if b.types[name].dtype == "bool" else "bias": mask}


def _attention(b: Rebuilder, node: Node) -> Laid:
    if any(node.inputs[4:]) or any(b.is_read(name) for name in node.outputs[1:]) or real(node, "softcap", 0.0):
        b.refuse("caches, softcap and scores of attention are none of Keras's")
    flat = b.rank(node.inputs[0]) == 3
    counts = [whole(node, name, 0) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    query, key, value = (_parted(b, node, place, heads) for place, heads in enumerate(counts))
    heads, shared = query.shape[2], key.shape[2]
    if heads != shared:
        key, value = (keras().ops.repeat(each, heads // shared, axis=2) for each in (key, value))
    scale, causal, mask = real(node, "scale", 0.0) or None, bool(whole(node, "is_causal", 0)), _mask(b, node)
    if causal and mask:  # Keras has both, but not with PyTorch.
        b.refuse("not every backend of Keras has a mask beside the causal one")
    options = {"scale": scale, "is_causal": causal, **mask}
    made = keras().ops.dot_product_attention(query, key, value, **options)
    if not flat:
        return Laid(made, _HEADS)
    joined = keras().layers.Reshape((-1, heads * value.shape[3]), name=b.key(f"{node.name}.joined"))
    return Laid(joined(made), plain(3))


ROWS: Final[Mapping[str, Row]] = {"Attention": _attention}
