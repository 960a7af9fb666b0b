"""Normalizations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import real, whole
from portable_nn.converters.keras.rebuilding.rebuilder import Laid, NoLayerError, Rebuilder, Row, last, plain
from portable_nn.core.graph import Node
from portable_nn.format.tensors import Array


def _affine(*arrays: Array | None) -> dict[str, Any]:
    return {"scale": arrays[0] is not None, "center": arrays[1] is not None}


def _batch_norm(b: Rebuilder, node: Node) -> Laid:
    if whole(node, "training_mode", 0):
        raise NoLayerError("statistics of the batch alone are none of Keras's")
    arrays = [b.fixed(node, place) for place in range(1, 5)]
    order = last(b.rank(node.inputs[0]))
    options = {"epsilon": real(node, "epsilon", 1e-5), "momentum": real(node, "momentum", 0.9)}

    def make(name: str) -> Any:
        return keras().layers.BatchNormalization(axis=-1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0], order), tuple(enumerate(arrays, 1))), order)


def _layer_norm(b: Rebuilder, node: Node) -> Laid:
    rank = b.rank(node.inputs[0])
    axis = whole(node, "axis", -1) % rank
    scale, shift = b.fixed(node, 1), b.fixed(node, 2)
    options = {"epsilon": real(node, "epsilon", 1e-5), **_affine(scale, shift)}
    axes = list(range(axis, rank))

    def make(name: str) -> Any:
        return keras().layers.LayerNormalization(axis=axes if len(axes) > 1 else -1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0]), ((1, scale), (2, shift))), plain(rank))


def _group_norm(b: Rebuilder, node: Node) -> Laid:
    order = last(b.rank(node.inputs[0]))
    options = {"groups": whole(node, "num_groups", 1), "epsilon": real(node, "epsilon", 1e-5)}

    def make(name: str) -> Any:
        return keras().layers.GroupNormalization(axis=-1, name=name, **options)

    arrays = ((1, b.fixed(node, 1)), (2, b.fixed(node, 2)))
    return Laid(b.call(node, make, b.laid(node.inputs[0], order), arrays), order)


ROWS: Final[Mapping[str, Row]] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
}
