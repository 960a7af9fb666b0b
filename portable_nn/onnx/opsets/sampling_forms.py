"""Translations of Resize, GridSample and RoiAlign, which changed more than their form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from portable_nn.core.graph import Node
from portable_nn.operators import Symbol, constant, emit, emit_all, integers, lookup, sizes
from portable_nn.rewrites.scope import Scope, without


def resize_with_options(node: Node, scope: Scope) -> list[Node]:
    """Positions have no offset; the nearest cell is the one before when upsampling, the one after when downsampling."""
    scales, linear = scope.numbers(node.inputs[1]), node.attributes.get("mode") == "linear"
    if not scales:
        return scope.spliced(node, _by_computed_scales)
    both = [[max(scale, 1.0) for scale in scales], [min(scale, 1.0) for scale in scales]]
    steps = [(factors, how) for factors, how in zip(both, ("floor", "ceil"), strict=True) if set(factors) != {1.0}]
    if linear or len(steps) < 2:
        steps = [(list(scales), steps[0][1] if steps else "floor")]
    nodes, x = list[Node](), node.inputs[0]
    for place, (factors, how) in enumerate(steps):
        last = place == len(steps) - 1
        name, made = (node.name, node.outputs[0]) if last else [scope.names.fresh(f"{node.name}.grown")] * 2
        constant = scope.constant(f"{node.name}.scales", factors, "float32")
        attributes = {**node.attributes, "coordinate_transformation_mode": "asymmetric", "nearest_mode": how}
        nodes += [constant, Node(name, "Resize", (x, "", *constant.outputs), (made,), attributes)]
        x = made
    return nodes


def _by_computed_scales(x: Symbol, scales: Symbol, *, mode: str = "nearest") -> Symbol:
    options = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    if mode == "linear":
        return emit("Resize", x, None, scales, **options)
    grown = emit("Resize", x, None, emit("Max", scales, constant(1.0, scales.dtype)), **options, nearest_mode="floor")
    return emit("Resize", grown, None, emit("Min", scales, constant(1.0, scales.dtype)), **options, nearest_mode="ceil")


_TF_HALF_PIXEL: Final = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}
"""Rounding of positions half a cell further on, and the equal rounding of the positions themselves."""


def without_tf_half_pixel(node: Node, scope: Scope) -> list[Node]:
    """``tf_half_pixel_for_nn`` is ``half_pixel`` with positions half a cell further on."""
    rounding = node.attributes.get("nearest_mode", "round_prefer_floor")
    special = node.attributes.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn"
    if not special or rounding not in _TF_HALF_PIXEL or node.attributes.get("mode", "nearest") != "nearest":
        return [node]
    options = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": _TF_HALF_PIXEL[str(rounding)]}
    return [replace(node, attributes=node.attributes | options)]


def resize_along_all_axes(node: Node, scope: Scope) -> list[Node]:
    """There is no attribute ``axes``: regions, scales and sizes are given for all axes."""
    if "axes" not in node.attributes:
        return [node]

    def along_all(x: Symbol, *settings: Symbol | None, axes: Sequence[int], **attributes: Any) -> Symbol:
        roi, scales, wanted = (*settings, None, None)[:3]
        places = [axis % len(x.shape) for axis in axes]
        rest = [axis for axis in range(len(x.shape)) if axis not in places]
        back = integers([[*places, *rest].index(axis) for axis in range(len(x.shape))])

        def completed(value: Symbol, further: Symbol) -> Symbol:
            return emit("Gather", emit("Concat", value, further, axis=0), back)

        def completed_by(value: Symbol, further: float) -> Symbol:
            return completed(value, constant([further] * len(rest), value.dtype))

        if roi is not None and roi.shape != (0,):
            starts, stops = emit_all("Split", roi, num_outputs=2, outputs=2)
            roi = emit("Concat", completed_by(starts, 0.0), completed_by(stops, 1.0), axis=0)
        if scales is not None and scales.shape != (0,):
            scales = completed_by(scales, 1.0)
        if wanted is not None and wanted.shape != (0,):
            wanted = completed(wanted, sizes(x, rest))
        return emit("Resize", x, roi, scales, wanted, **attributes)

    return scope.spliced(node, along_all)


SAMPLING: Final = {"bilinear": "linear", "bicubic": "cubic"}
"""The newer names of modes, which do not imply that an image has two axes."""


def sampling_renamed(node: Node, scope: Scope, names: Mapping[str, str]) -> list[Node]:
    """Modes have other ``names``."""
    mode = str(node.attributes.get("mode", ""))
    return [replace(node, attributes={**node.attributes, "mode": names[mode]})] if mode in names else [node]


def sampling_of_images(node: Node, scope: Scope) -> list[Node]:
    """The older form has no volumes: those are written in other operators."""
    if len(scope.type(node).shape) != 4:
        return scope.spliced(node, lookup("GridSample").lowering)  # type: ignore[arg-type]
    return sampling_renamed(node, scope, {name: first for first, name in SAMPLING.items()})


_WITHOUT_SHIFT: Final = "output_half_pixel"
"""The ``coordinate_transformation_mode`` before the attribute existed."""


def shift_said(node: Node, scope: Scope) -> list[Node]:
    """Positions have no offset of half a cell, and no attribute says so."""
    return [replace(node, attributes={**node.attributes, "coordinate_transformation_mode": _WITHOUT_SHIFT})]


def shift_unsaid(node: Node, scope: Scope) -> list[Node]:
    """The same, written: where there is an offset, in other operators."""
    name = "coordinate_transformation_mode"
    if node.attributes.get(name) == _WITHOUT_SHIFT:
        return [replace(node, attributes=without(node, name))]
    return scope.spliced(node, lookup("RoiAlign").lowering)  # type: ignore[arg-type]
