"""Translations of nodes as they were before opset 7; the docstring of each says what the older form means."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from portable_nn.core.dims import may_be_equal
from portable_nn.core.graph import Node, format_shape
from portable_nn.operators import InvalidNode
from portable_nn.rewrites.scope import Scope, without


def all_states(node: Node, scope: Scope) -> list[Node]:
    """``output_sequence`` said whether the first output is made; now it is where it has a name."""
    return [replace(node, attributes=without(node, "output_sequence"))]


def broadcast_by_attribute(node: Node, scope: Scope) -> list[Node]:
    """B is broadcast to A only with the attribute ``broadcast``, along the axes from ``axis`` on or the last ones."""
    first, second = (scope.type(node, index).shape for index in (0, 1))
    plain = replace(node, attributes=without(node, "broadcast", "axis"))
    if not node.attributes.get("broadcast"):
        if not may_be_equal(first, second):
            shapes = f"A {format_shape(first)} and B {format_shape(second)}"
            raise InvalidNode(f"without the attribute 'broadcast' its inputs have one shape, not {shapes}")
        return [plain]
    axis = node.attributes.get("axis", len(first) - len(second))
    assert isinstance(axis, int)
    place = axis + len(first) if axis < 0 else axis
    covered = first[place : place + len(second)] if place >= 0 else ()
    stretched = tuple(1 if size == 1 else other for size, other in zip(second, covered, strict=False))
    if len(covered) < len(second) or not may_be_equal(stretched, second):
        raise InvalidNode(f"B {format_shape(second)} does not fit A {format_shape(first)} from axis {place} on")
    behind = len(first) - place - len(second)
    return _unsqueezed(plain, scope, range(len(second), len(second) + behind) if second else range(0))


def _unsqueezed(node: Node, scope: Scope, axes: Sequence[int]) -> list[Node]:
    """``node`` with further axes, ``axes``, in its second input."""
    if not axes:
        return [node]
    constant = scope.constant(f"{node.name}.axes", list(axes))
    aligned = scope.names.fresh(f"{node.name}.aligned")
    unsqueeze = Node(aligned, "Unsqueeze", (node.inputs[1], *constant.outputs), (aligned,))
    return [constant, unsqueeze, replace(node, inputs=(node.inputs[0], aligned, *node.inputs[2:]))]


def slope_by_channel(node: Node, scope: Scope) -> list[Node]:
    """A slope is one number, or one for each channel whatever axes follow."""
    x, slope = (scope.type(node, index).shape for index in (0, 1))
    if slope in ((), (1,)):
        return [node]
    if len(slope) != 1 or not may_be_equal(x[1:2], slope):
        raise InvalidNode(
            f"slope {format_shape(slope)} is neither one number nor one for each channel of {format_shape(x)}"
        )
    return _unsqueezed(node, scope, range(1, len(x) - 1))


def sum_by_attribute(node: Node, scope: Scope) -> list[Node]:
    """C is broadcast only with the attribute ``broadcast``."""
    plain = replace(node, attributes=without(node, "broadcast"))
    a, b, c = (scope.type(node, index).shape for index in (0, 1, 2))
    if not node.attributes.get("broadcast") and len(a) == len(b) == 2:
        wanted = (a[1 if node.attributes.get("transA") else 0], b[0 if node.attributes.get("transB") else 1])
        if not may_be_equal(wanted, c):
            raise InvalidNode(
                f"without the attribute 'broadcast' C has the shape {format_shape(wanted)}, not {format_shape(c)}"
            )
    return [plain]


def without_test_mode(node: Node, scope: Scope) -> list[Node]:
    """``is_test`` became having a single output; with it, the other outputs are empty."""
    attributes, testing = without(node, "is_test"), node.attributes.get("is_test")
    unread = testing and not any(name in scope.read for name in node.outputs[1:])
    return [replace(node, attributes=attributes, outputs=node.outputs[:1] if unread else node.outputs)]


def scales_as_list(node: Node, scope: Scope) -> list[Node]:
    """The scales of height and width are attributes, and the mode of a linear one is ``bilinear``."""
    attributes = without(node, "height_scale", "width_scale", "mode")
    scales = (1.0, 1.0, *(float(node.attributes[name]) for name in ("height_scale", "width_scale")))  # type: ignore[arg-type]
    mode = "linear" if node.attributes.get("mode") == "bilinear" else node.attributes.get("mode", "nearest")
    return [replace(node, attributes={**attributes, "mode": mode, "scales": scales})]
