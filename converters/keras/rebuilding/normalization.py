"""Normalizations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import real, whole
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Fixed, Laid, last, plain
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array


def _affine(b: Rebuilder, node: Node, *, running: bool = False) -> tuple[dict[str, Any], list[tuple[int, Array]]]:
    """The options ``scale`` and ``center`` of a layer, and its weights: untrained ones and zeros are left out.

    Parameters that are both frozen freeze a batch normalization, and so stay in one that is ``running``.
    """
    arrays, left_out, named = dict[int, Array](), set[int](), 0
    for place, number in ((1, 1), (2, 0)):
        array = b.fixed(node, place)
        if array is None:
            continue
        value = b.values[node.inputs[place]]
        assert isinstance(value, Fixed)
        arrays[place], named = array, named + bool(value.names)
        if not value.trained and (array == number).all():
            left_out.add(place)
    if running and len(left_out) == named == 2:
        left_out = set()
    kept = [(place, array) for place, array in arrays.items() if place not in left_out]
    return {"scale": any(place == 1 for place, _ in kept), "center": any(place == 2 for place, _ in kept)}, kept


def _batch_norm(b: Rebuilder, node: Node) -> Laid:
    if whole(node, "training_mode", 0):
        b.refuse("statistics of the batch alone are none of Keras's")
    affine, weights = _affine(b, node, running=True)
    order, parameters = last(b.rank(node.inputs[0])), {value.name for value in b.graph.parameters}
    options = {"epsilon": real(node, "epsilon", 1e-5), "momentum": real(node, "momentum", 0.9), **affine}
    is_still = not parameters.issuperset(node.inputs[3:5])
    held = [value for place in (1, 2) if isinstance(value := b.values[node.inputs[place]], Fixed) and value.names]
    is_apart = is_still or (
        held and not any(value.trained for value in held) and parameters.isdisjoint(node.inputs[1:3])
    )
    if is_apart:  # A layer of Keras keeps its statistics where it is frozen, and there alone.
        options |= {"scale": False, "center": False, "trainable": not is_still}
        weights = []

    def make(name: str) -> Any:
        return keras().layers.BatchNormalization(axis=-1, name=name, **options)

    statistics = [(place, b.fixed(node, place)) for place in (3, 4)]
    made = b.call(node, make, b.laid(node.inputs[0], order), [*weights, *statistics])
    if is_apart:
        made = keras().ops.add(keras().ops.multiply(made, b.laid(node.inputs[1])), b.laid(node.inputs[2]))
    return Laid(made, order)


def _layer_norm(b: Rebuilder, node: Node) -> Laid:
    rank = b.rank(node.inputs[0])
    axis = whole(node, "axis", -1) % rank
    affine, weights = _affine(b, node)
    options = {"epsilon": real(node, "epsilon", 1e-5), **affine}
    axes = list(range(axis, rank))

    def make(name: str) -> Any:
        return keras().layers.LayerNormalization(axis=axes if len(axes) > 1 else -1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0]), weights), plain(rank))


def _group_norm(b: Rebuilder, node: Node) -> Laid:
    order = last(b.rank(node.inputs[0]))
    affine, weights = _affine(b, node)
    options = {"groups": whole(node, "num_groups", 1), "epsilon": real(node, "epsilon", 1e-5), **affine}

    def make(name: str) -> Any:
        return keras().layers.GroupNormalization(axis=-1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0], order), weights), order)


def _instance_norm(b: Rebuilder, node: Node) -> Laid:
    """A group normalization whose groups are the channels."""
    order = last(b.rank(node.inputs[0]))
    affine, weights = _affine(b, node)
    options = {"groups": b.size(node.inputs[0], 1), "epsilon": real(node, "epsilon", 1e-5), **affine}

    def make(name: str) -> Any:
        return keras().layers.GroupNormalization(axis=-1, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0], order), weights), order)


def _rms_norm(b: Rebuilder, node: Node) -> Laid:
    rank, scale = b.rank(node.inputs[0]), b.fixed(node, 1)
    if whole(node, "axis", -1) % rank != rank - 1 or scale is None or scale.ndim != 1:
        b.refuse("its axes are not the last one alone")
    epsilon = real(node, "epsilon", 1e-5)

    def make(name: str) -> Any:
        return keras().layers.RMSNormalization(axis=-1, epsilon=epsilon, name=name)

    return Laid(b.call(node, make, b.laid(node.inputs[0]), ((1, scale),)), plain(rank))


ROWS: Final[Mapping[str, Row]] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "RMSNormalization": _rms_norm,
}
