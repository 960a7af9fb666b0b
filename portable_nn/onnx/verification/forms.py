"""Nodes as both sides have them: operator, inputs and attributes.

A node that both sides have in the same form needs no more than the same kernels. One that was rewritten is run on drawn
inputs of its own as well (see ``values``). An attribute that both sides state, with the same meaning, and with other
values, is a difference of the two even where no input shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from onnx import NodeProto

from portable_nn.core.graph import Attribute, Node, trimmed
from portable_nn.onnx.opsets.forms import changes_of
from portable_nn.onnx.opsets.standard import signature
from portable_nn.onnx.opsets.support import STANDARD
from portable_nn.onnx.storage.tensors import from_attribute, is_attribute
from portable_nn.operators import operator_of
from portable_nn.operators.narrow import narrow_type
from portable_nn.operators.opaque.nodes import is_opaque

_WINDOW: Final = frozenset({"auto_pad", "pads", "ceil_mode", "output_shape", "output_padding", "kernel_shape"})
"""The attributes that the converter states in another way: pads of windows become explicit."""


class Form(NamedTuple):
    """The form of a node on both sides: whether it is the same, and the attributes that differ."""

    same: bool
    differences: tuple[str, ...] = ()


def form_of(ours: Node, theirs: NodeProto, opset: int) -> Form:
    """The form of a node of the graph beside that of the model, at version ``opset`` of the standard."""
    if is_opaque(ours):
        return Form(True)
    is_rounded_before = narrow_type(ours) and trimmed(ours.inputs) != trimmed(theirs.input)
    if ours.operator != theirs.op_type or theirs.domain not in STANDARD or ours.domain or is_rounded_before:
        return Form(False)
    found = list(_attributes(ours, theirs, opset))
    if any(opset < change.since for change in changes_of(ours.operator)):
        # There it had another form: only numbers that both state mean the same, such as epsilon.
        return Form(False, tuple(text for text, is_float in found if is_float))
    same = not found and trimmed(ours.inputs) == trimmed(theirs.input)
    return Form(same, tuple(text for text, _ in found if text))


def _attributes(ours: Node, theirs: NodeProto, opset: int) -> Iterator[tuple[str, bool]]:
    """The differences of attributes, and whether these are floats; an empty text where only the form differs."""
    known = signature(ours.operator, opset)
    table = operator_of(ours).attributes
    given = {each.name: from_attribute(each, "") for each in theirs.attribute if is_attribute(each)}
    if known is None or any(not is_attribute(each) for each in theirs.attribute):
        yield "", False
        return
    for name in sorted({*ours.attributes, *given, *known.defaults}):
        default = table[name].default if name in table else None
        one, other = ours.attributes.get(name, default), given.get(name, known.defaults.get(name))
        if one == other:
            continue
        stated = one is not None and other is not None and name in known.attributes
        aside = name in _WINDOW or _is_counted_from_the_end(one, other)
        text = f"{name} is {one} in the network and {other} in the file" if stated and not aside else ""
        yield text, bool(text) and isinstance(one, float)


def _is_counted_from_the_end(one: Attribute | None, other: Attribute | None) -> bool:
    """True if two numbers may be one axis, counted from either end."""
    return isinstance(one, int) and isinstance(other, int) and (one < 0) != (other < 0)
