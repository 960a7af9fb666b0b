"""Changes of operators between opsets: one translation for each change, to the newer form and back.

A graph has every operator as it is at ``OPSET``. ``changes_of`` has the steps in the history of an operator.
The docstring of a translation says what the older form means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from portable_nn.core.dims import may_be_equal, quotient
from portable_nn.core.graph import Node, format_shape
from portable_nn.onnx.opsets.sampling_forms import (
    SAMPLING,
    resize_along_all_axes,
    resize_with_options,
    sampling_of_images,
    sampling_renamed,
    shift_said,
    shift_unsaid,
    without_tf_half_pixel,
)
from portable_nn.onnx.opsets.standard import signature
from portable_nn.operators import DTYPE_CODES, InvalidNode, Symbol, emit, integers, sizes
from portable_nn.rewrites.scope import Scope, given, without


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


Translation = Callable[[Node, Scope], list[Node]]


class Change(NamedTuple):
    """A new form: the opset that introduced it, the translation from the form before, and the one back to it.

    ``older`` is ``None`` where there is none, or where graphs are never written at so old an opset.
    """

    since: int
    newer: Translation
    older: Translation | None = None


def same(node: Node, scope: Scope) -> list[Node]:
    """The node unchanged: for changes that only add something."""
    return [node]


# -- attributes that became inputs


def _with_inputs(node: Node, scope: Scope, *wanted: Node | str, drop: Sequence[str]) -> list[Node]:
    """``node`` with the inputs ``wanted``, values or new constants, after its first; without attributes ``drop``."""
    constants = [each for each in wanted if isinstance(each, Node)]
    inputs = [each.outputs[0] if isinstance(each, Node) else each for each in wanted]
    while inputs and not inputs[-1]:
        del inputs[-1]
    changed = replace(node, inputs=(node.inputs[0], *inputs), attributes=without(node, *drop))
    return [*constants, changed]


def _as_inputs(**dtypes: str) -> Translation:
    """Attributes that became inputs, in this order, with their types, ``"T"`` for that of the data.

    Lists and integers become arrays of one dimension, other numbers scalars.
    """

    def as_input(node: Node, scope: Scope, name: str, dtype: str) -> Node | str:
        value: Any = node.attributes.get(name)
        if value is None:
            return ""
        if isinstance(value, tuple) or dtype == "int64":
            return scope.constant(f"{node.name}.{name}", value if isinstance(value, tuple) else [value], dtype)
        return scope.scalar(f"{node.name}.{name}", value, scope.type(node).dtype if dtype == "T" else dtype)

    def translate(node: Node, scope: Scope) -> list[Node]:
        wanted = [as_input(node, scope, name, dtype) for name, dtype in dtypes.items()]
        return _with_inputs(node, scope, *wanted, drop=list(dtypes)) if any(wanted) else [node]

    return translate


_axes_as_input: Final = _as_inputs(axes="int64")


def _axes_as_attribute(node: Node, scope: Scope) -> list[Node]:
    name = given(node, 1)
    axes = scope.numbers(name)
    if name and not axes and scope.types[name].shape != (0,):
        return [node]  # They are computed, which the older form cannot express either.
    if not axes:  # All axes; or none, which the older form cannot express: the check reports that.
        return [replace(node, inputs=node.inputs[:1])]
    attributes = {**without(node, "noop_with_empty_axes"), "axes": axes}
    return [replace(node, inputs=node.inputs[:1], attributes=attributes)]


# -- shapes, pads and parts


def _pads_of_all_axes(node: Node, scope: Scope) -> list[Node]:
    if not given(node, 3):
        return [replace(node, inputs=node.inputs[:3])]
    rank = len(scope.type(node).shape)
    pads, axes = scope.numbers(node.inputs[1]), scope.numbers(node.inputs[3])
    places = [len(pads)] * (2 * rank)  # That of a zero behind the pads.
    for place, axis in enumerate(axes):
        places[axis % rank], places[axis % rank + rank] = place, place + len(axes)
    if all(isinstance(each, int) for each in pads):
        full = scope.constant(f"{node.name}.pads", [(*pads, 0)[place] for place in places])
        return _with_inputs(node, scope, full, node.inputs[2], drop=[])

    def of_all(x: Symbol, pads: Symbol, value: Symbol | None, _: Symbol, **options: Any) -> Symbol:
        known = emit("Concat", pads, integers([0]), axis=0)
        return emit("Pad", x, emit("Gather", known, integers(places), axis=0), value, **options)

    return scope.spliced(node, of_all)


def _slice_of_shape(node: Node, scope: Scope) -> list[Node]:
    if not node.attributes:
        return [node]
    rank = len(scope.type(node).shape)
    first, last, _ = slice(node.attributes.get("start"), node.attributes.get("end")).indices(rank)
    whole = scope.names.fresh(f"{node.name}.whole")
    starts, ends = scope.constant(f"{node.name}.start", [first]), scope.constant(f"{node.name}.end", [max(first, last)])
    return [
        Node(whole, "Shape", node.inputs, (whole,)),
        starts,
        ends,
        Node(node.name, "Slice", (whole, *starts.outputs, *ends.outputs), node.outputs),
    ]


def _number_of_parts(node: Node, scope: Scope) -> list[Node]:
    if given(node, 1):
        return [node]
    return [replace(node, attributes={**node.attributes, "num_outputs": len(node.outputs)})]


def _sizes_of_parts(node: Node, scope: Scope) -> list[Node]:
    """Equal parts are the default; unequal ones need their sizes, which must be known."""
    plain = replace(node, attributes=without(node, "num_outputs"))
    axis, count = node.attributes.get("axis", 0), len(node.outputs)
    size = scope.type(node).shape[axis]  # type: ignore[index]
    if given(node, 1) or quotient(size, count) is not None:
        return [plain]
    if not isinstance(size, int):
        return [node]
    each = -(-size // count)
    parts = scope.constant(f"{node.name}.split", [each] * (count - 1) + [size - each * (count - 1)])
    return _with_inputs(plain, scope, parts, drop=[])


def _without_dilations(node: Node, scope: Scope) -> list[Node]:
    dilations: Any = node.attributes.get("dilations", ())
    return [replace(node, attributes=without(node, "dilations"))] if set(dilations) <= {1} else [node]


def _axis_as_input(node: Node, scope: Scope) -> list[Node]:
    """The axis is 1 where it is not said."""
    axis = scope.scalar(f"{node.name}.axis", node.attributes.get("axis", 1), "int64")  # type: ignore[arg-type]
    return _with_inputs(node, scope, given(node, 1), axis, drop=["axis"])


def _axis_as_attribute(node: Node, scope: Scope) -> list[Node]:
    found = scope.numbers(given(node, 2)) if given(node, 2) else (-2,)
    if not found:
        return [node]
    attributes = {**node.attributes, "axis": found[0] % len(scope.type(node).shape)}
    return [replace(node, inputs=tuple(filter(None, node.inputs[:2])), attributes=attributes)]


# -- normalisation


def _by_all_further_axes(node: Node, scope: Scope) -> list[Node]:
    """All axes from ``axis`` on are normalised together."""
    shape, axis = scope.type(node).shape, node.attributes.get("axis", 1)
    assert isinstance(axis, int)
    if not -len(shape) <= axis < len(shape) or all(dim == 1 for dim in shape[axis % len(shape) + 1 :]):
        return [replace(node, attributes={**node.attributes, "axis": axis})]

    def flat(x: Symbol, *, axis: int = 1) -> Symbol:
        return emit("Reshape", emit(node.operator, emit("Flatten", x, axis=axis), axis=1), sizes(x))

    return scope.spliced(node, flat)


def _over_batches(node: Node, scope: Scope) -> list[Node]:
    """Batches are an axis before that of the steps, and may be of several lengths."""
    raise InvalidNode("it scans batches of several lengths, which no later opset has")


def _position_by_position(
    x: Symbol, scale: Symbol, bias: Symbol, mean: Symbol, variance: Symbol, *, epsilon: float = 1e-5, **_: Any
) -> Symbol:
    return (x - mean) / emit("Sqrt", variance + epsilon) * scale + bias


def _spatial(node: Node, scope: Scope) -> list[Node]:
    """With ``spatial`` 0 each position has a mean, variance, scale and bias of its own."""
    if node.attributes.get("spatial", 1) == 0 and len(node.outputs) == 1:
        return scope.spliced(node, _position_by_position)
    return [replace(node, attributes=without(node, "spatial"))]


def _training_as_attribute(node: Node, scope: Scope) -> list[Node]:
    """With the running statistics among its outputs it normalises by the batch."""
    if len(node.outputs) == 1 or any(name in scope.read for name in node.outputs[3:]):
        return [node]
    names = [*node.outputs[1:3], ""][:2]
    statistics = [name or scope.names.fresh(f"{node.name}.running") for name in names]
    attributes = {**node.attributes, "training_mode": 1}
    return [replace(node, outputs=(node.outputs[0], *statistics), attributes=attributes)]


def _scale_by_channel(node: Node, scope: Scope) -> list[Node]:
    """There is one scale and one bias for each group, not for each channel."""

    def by_channel(x: Symbol, scale: Symbol, bias: Symbol, *, num_groups: int, **attributes: Any) -> Symbol:
        channels = x.shape[1] if len(x.shape) > 1 else None

        def spread(value: Symbol) -> Symbol:
            if not isinstance(channels, int) or value.shape != (num_groups,):
                return value  # The check of the graph reports this.
            each = emit("Expand", emit("Unsqueeze", value, integers([1])), integers([1, channels // num_groups]))
            return emit("Reshape", each, integers([channels]))

        return emit("GroupNormalization", x, spread(scale), spread(bias), num_groups=num_groups, **attributes)

    return scope.spliced(node, by_channel)


def _mask_of_truth_values(node: Node, scope: Scope) -> list[Node]:
    """The mask has the type of the data; one that nothing reads is left out."""
    if len(node.outputs) == 1 or node.outputs[1] not in scope.read:
        return [replace(node, outputs=node.outputs[:1])]
    dtype, mask = scope.type(node).dtype, scope.names.fresh(f"{node.name}.mask")
    cast = Node(scope.names.fresh(f"{node.name}.cast"), "Cast", (mask,), node.outputs[1:], {"to": DTYPE_CODES[dtype]})
    return [replace(node, outputs=(node.outputs[0], mask)), cast]


def _renamed(operator: str) -> Translation:
    return lambda node, scope: [replace(node, operator=operator)]


def _wrapped(node: Node, scope: Scope) -> list[Node]:
    """``wrap`` becomes a Gather of the cells that it copies."""
    shape, pads = scope.type(node).shape, scope.numbers(node.inputs[1])
    axes = scope.numbers(given(node, 3)) or range(len(shape))
    sides = [(axis % len(shape), *pads[place :: len(axes)]) for place, axis in enumerate(axes)]
    sides = [side for side in sides if any(side[1:])]
    known = [size for axis, _, _ in sides if isinstance(size := shape[axis], int)]
    if node.attributes.get("mode") != "wrap" or len(known) < len(sides):
        return [node]

    def gathered(x: Symbol, *_: Symbol | None, mode: str) -> Symbol:
        for (axis, before, after), size in zip(sides, known, strict=True):
            first, left = max(0, -before), size + min(0, before) + min(0, after)  # Negative pads cut before others add.
            places = range(-max(0, before), left + max(0, after))
            x = emit("Gather", x, integers(first + place % left for place in places), axis=axis)
        return x

    return scope.spliced(node, gathered)


CHANGES: Final[Mapping[str, tuple[Change, ...]]] = {
    "AveragePool": (Change(19, same, _without_dilations),),
    "BatchNormalization": (
        Change(7, without_test_mode), Change(9, _spatial), Change(14, _training_as_attribute, same)
    ),
    # A bound that is absent was the largest float: no bound but for infinities.
    "Clip": (Change(11, _as_inputs(min="T", max="T")),),
    "DFT": (Change(20, _axis_as_input, _axis_as_attribute),),
    "Dropout": (
        Change(7, without_test_mode), Change(10, _mask_of_truth_values), Change(12, _as_inputs(ratio="float32")),
    ),
    "Gemm": (Change(7, sum_by_attribute),),
    "GridSample": (Change(20, partial(sampling_renamed, names=SAMPLING), sampling_of_images),),
    "GroupNormalization": (Change(21, _scale_by_channel),),
    "LpPool": (Change(18, same, _without_dilations),),
    "Pad": (
        Change(11, _as_inputs(pads="int64", value="T")), Change(18, same, _pads_of_all_axes),
        Change(19, same, _wrapped),
    ),
    "PRelu": (Change(7, slope_by_channel),),
    "Scan": (Change(9, _over_batches),),
    "Resize": (
        Change(11, resize_with_options), Change(13, without_tf_half_pixel),
        Change(18, same, resize_along_all_axes),
    ),
    "RoiAlign": (Change(16, shift_said, shift_unsaid),),
    "Scatter": (Change(11, _renamed("ScatterElements")),),
    "Shape": (Change(15, same, _slice_of_shape),),
    "Slice": (Change(10, _as_inputs(starts="int64", ends="int64", axes="int64")),),
    "Split": (Change(13, _as_inputs(split="int64")), Change(18, _number_of_parts, _sizes_of_parts)),
    "TopK": (Change(10, _as_inputs(k="int64")),),
    "Upsample": (Change(7, scales_as_list), Change(9, _as_inputs(scales="float32")), Change(10, _renamed("Resize"))),
}  # fmt: skip
"""The changes of operators with a history of their own, the oldest first."""

SHARED: Final = (
    ("broadcast", Change(7, broadcast_by_attribute)),
    ("output_sequence", Change(7, all_states)),
    ("axis", Change(13, _by_all_further_axes)),
    ("axes", Change(13, _axes_as_input)),
    ("axes", Change(18, _axes_as_input, _axes_as_attribute)),
)
"""Changes of all other operators whose attribute of this name went, or got another default, at that opset."""


@cache
def changes_of(operator: str) -> tuple[Change, ...]:
    """The changes of an operator, the oldest first."""
    shared = (change for attribute, change in SHARED if _is_changed(operator, attribute, change.since))
    return CHANGES.get(operator) or tuple(shared)


def _is_changed(operator: str, attribute: str, since: int) -> bool:
    """True if the standard took away an attribute of an operator at an opset, or gave it another default."""
    before, after = signature(operator, since - 1), signature(operator, since)
    if before is None or after is None or attribute not in before.attributes:
        return False
    return attribute not in after.attributes or before.defaults.get(attribute) != after.defaults.get(attribute)
