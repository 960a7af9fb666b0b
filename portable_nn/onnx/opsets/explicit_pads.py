"""Explicit pads in place of ``auto_pad``, ``output_shape`` and ``ceil_mode``, which runtimes interpret differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from portable_nn.core.dims import static
from portable_nn.core.graph import Attribute, Dim, Node, format_shape
from portable_nn.operators import InvalidNode, OperatorContext, Type, Types, types_made, types_read, use_of, window_kind
from portable_nn.operators.spatial.unpooling import unpooled
from portable_nn.operators.spatial.window import per_axis, reaching, spatial_sizes
from portable_nn.rewrites.scope import without
from portable_nn.sizes.notation import node_operation
from portable_nn.sizes.operation import Window

ANY_SIZE: Final = 1
"""Used for an unknown size where the pads do not depend on it."""

PLENTY: Final = 2**20
"""Used for an unknown size where it must be large enough for any kernel."""


def explicit(node: Node, types: Types) -> Node:
    """``node`` with explicit pads in place of the other attributes; it computes the same.

    Raises ``InvalidNode`` where a size that decides them is unknown, or no pads compute the same.
    """
    if node.operator == "MaxUnpool":
        _check_unpool(use_of(node, types))
    if window_kind(node.operator, node.domain) is None:
        return node
    node = _numbered(node, types)
    return _without_ceil(node, types) if node.attributes.get("ceil_mode") else node


def _check_unpool(use: OperatorContext) -> None:
    counted = unpooled(use)
    if use.has(2) and use.type(2).constant != counted:
        given = "of the data" if use.type(2).constant is None else format_shape(use.constant(2))
        use.fail(
            f"runtimes disagree on whether its indices count through output_shape {given} or {format_shape(counted)}: "
            "leave output_shape out, and pad the output"
        )


def numbered(node: Node, types: Types) -> Node:
    """``node`` with explicit pads in place of ``auto_pad`` and ``output_shape``; itself where a size is unknown."""
    if window_kind(node.operator, node.domain) is None:
        return node
    try:
        _check_fit(node, types)
        return _numbered(node, types)
    except InvalidNode:
        return node


def _check_fit(node: Node, types: Types) -> None:
    """Raise ``InvalidNode`` where the node would fit no input size, however large."""
    inputs = types_read(node, types)
    large = [type and Type(type.dtype, tuple(_or(PLENTY, size) for size in type.shape)) for type in inputs[:1]]
    types_made(node, [*large, *inputs[1:]])


def _numbered(node: Node, types: Types) -> Node:
    use, wanted = use_of(node, types), node.attributes.get("output_shape")
    if wanted is None and node.attributes.get("auto_pad", "NOTSET") == "NOTSET":
        return node
    found = _windows(use)
    paddings = tuple(w.output_padding for w in found)
    if any(w.output_padding >= max(w.stride, w.dilation) for w in found):
        use.fail(f"output_shape {wanted} would need output_padding {paddings}, which must be less than the stride")
    more = {"output_padding": paddings} if any(paddings) else {}
    return replace(node, attributes=without(node, "auto_pad", "output_shape") | _pads(found) | more)


def _pads(found: Sequence[Window]) -> dict[str, Attribute]:
    return {"pads": (*(w.pad_begin for w in found), *(w.pad_end for w in found))}


def _windows(use: OperatorContext) -> Sequence[Window]:
    """The windows with explicit pads. Raises ``InvalidNode`` where the pads depend on an unknown size.

    The pads of ``auto_pad`` depend on no size where the stride is 1, and never for a transposed convolution, whose
    output has ``stride`` cells for each input cell.
    """
    mode, by_shape = use.string("auto_pad"), "output_shape" in use.attributes
    by_size = mode.startswith("SAME") and use.operator.name != "ConvTranspose"
    sizes, reason = spatial_sizes(use), "output_shape" if by_shape else f"auto_pad {mode}"
    known = [
        _known(use, axis, size, reason) if by_shape or (by_size and stride > 1) else _or(ANY_SIZE, size)
        for axis, (size, stride) in enumerate(zip(sizes, per_axis(use, "strides", len(sizes)), strict=True), start=2)
    ]
    kernel = static(use.type(1).shape[2:]) if use.operator.name.startswith("Conv") else None
    found = node_operation(use.operator.name, use.attributes, known, kernel, use.operator.window)
    return found.resolved(known).windows


def _known(use: OperatorContext, axis: int, size: Dim, reason: str) -> int:
    if not isinstance(size, int):
        use.fail(f"the pads of {reason} depend on the size along axis {axis}, which is unknown: give it a number")
    return size


def _or(stand_in: int, size: Dim) -> int:
    return size if isinstance(size, int) else stand_in


def _without_ceil(node: Node, types: Types) -> Node:
    """The end padding extends to the end of the last window of ``ceil_mode``, where padding changes no result."""
    use = use_of(node, types)
    sides = zip(_windows(use), spatial_sizes(use), strict=True)
    found = [_reaching(use, axis, w, size) for axis, (w, size) in enumerate(sides, start=2)]
    return replace(node, attributes=without(node, "ceil_mode") | _pads(found))


def _reaching(use: OperatorContext, axis: int, w: Window, size: Dim) -> Window:
    if w.stride == 1:
        return w  # No step is cut short.
    known = _known(use, axis, size, "ceil_mode")
    found = reaching(w, known)
    if found.pad_end >= max(w.kernel, w.pad_end + 1):
        use.fail(
            f"ceil_mode would need an end padding of {found.pad_end} along axis {axis}, which must be less than the "
            f"kernel of {w.kernel}"
        )
    return found
