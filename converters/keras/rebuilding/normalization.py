"""Normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
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


def _layer(
    b: Rebuilder, node: Node, kind: str, weights: Sequence[tuple[int, Array | None]], *, axis: Any = -1, **options: Any
) -> Laid:
    """A normalization whose last axis is the channels, or the last one of the graph where ``axis`` is said."""
    rank = b.rank(node.inputs[0])
    order = plain(rank) if kind in ("LayerNormalization", "RMSNormalization") else last(rank)
    options["epsilon"] = b.use(node).float("epsilon")

    def make(name: str) -> Any:
        return getattr(keras().layers, kind)(axis=axis, name=name, **options)

    return Laid(b.call(node, make, b.laid(node.inputs[0], order), weights), order)


@ROWS.row("BatchNormalization")
def _batch_norm(b: Rebuilder, node: Node) -> Laid:
    use, parameters = b.use(node), {value.name for value in b.graph.parameters}
    if use.int("training_mode"):
        b.refuse("statistics of the batch alone are none of Keras's")
    affine, weights = _affine(b, node, running=True)
    options = {"momentum": use.float("momentum"), **affine}
    is_still = not parameters.issuperset(node.inputs[3:5])
    held = [value for place in (1, 2) if isinstance(value := b.values[node.inputs[place]], Fixed) and value.names]
    is_apart = is_still or (
        held and not any(value.trained for value in held) and parameters.isdisjoint(node.inputs[1:3])
    )
    if is_apart:  # A layer of Keras keeps its statistics where it is frozen, and there alone.
        options |= {"scale": False, "center": False, "trainable": not is_still}
        weights = []
    statistics = [(place, b.fixed(node, place)) for place in (3, 4)]
    made = _layer(b, node, "BatchNormalization", [*weights, *statistics], **options)
    if not is_apart:
        return made
    scaled = keras().ops.multiply(made.tensor, b.laid(node.inputs[1]))
    return made._replace(tensor=keras().ops.add(scaled, b.laid(node.inputs[2])))


@ROWS.row("LayerNormalization")
def _layer_norm(b: Rebuilder, node: Node) -> Laid:
    affine, weights = _affine(b, node)
    axes = [*range(b.use(node).attribute_axis(), b.rank(node.inputs[0]))]
    return _layer(b, node, "LayerNormalization", weights, axis=axes if len(axes) > 1 else -1, **affine)


@ROWS.row("GroupNormalization", "InstanceNormalization")
def _group_norm(b: Rebuilder, node: Node) -> Laid:
    """Of groups of channels, or of each channel of each example."""
    affine, weights = _affine(b, node)
    is_instance = node.operator == "InstanceNormalization"
    groups = b.size(node.inputs[0], 1) if is_instance else b.use(node).int("num_groups")
    return _layer(b, node, "GroupNormalization", weights, groups=groups, **affine)


@ROWS.row("RMSNormalization")
def _rms_norm(b: Rebuilder, node: Node) -> Laid:
    scale = b.fixed(node, 1)
    if b.use(node).attribute_axis() != b.rank(node.inputs[0]) - 1 or scale is None or scale.ndim != 1:
        b.refuse("its axes are not the last one alone")
    return _layer(b, node, "RMSNormalization", ((1, scale),))
