"""Receptive fields through a network: what every value sees of the input, node by node.

A value has a field for each of its axes, channels and batch included: ``None`` where a cell sees the whole input along
that axis, as channels do behind a convolution. Of a value that no rule leads to, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.analysis.spatial import operation_of
from portable_nn.analysis.survey import Survey
from portable_nn.core.dims import static
from portable_nn.core.errors import ShapeError
from portable_nn.core.graph import Node, Shape
from portable_nn.sizes.operation import Operation, Window
from portable_nn.sizes.receptive import INPUT, Fields, combine, through

SEPARATE: Final = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "BatchNormalization",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Div",
        "Dropout",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "Greater",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LRN",
        "LeakyRelu",
        "Less",
        "Log",
        "Max",
        "Mean",
        "Min",
        "Mish",
        "Mul",
        "Neg",
        "PRelu",
        "Pow",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Sum",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
        "Where",
    }
)
"""The operators whose outputs see what their inputs see, cell by cell; that LRN mixes channels makes no difference."""


class Use(NamedTuple):
    """A node by its place, the values that it reads and that are not constant, and the fields that are known so far."""

    survey: Survey
    place: int
    read: list[str]
    found: Mapping[str, Fields]

    @property
    def node(self) -> Node:
        """The node."""
        return self.survey.nodes[self.place]

    @property
    def fields(self) -> Fields:
        """The fields of the first input."""
        return self.found[self.node.inputs[0]]

    @property
    def before(self) -> Shape:
        """The shape of the first input."""
        return self.survey.shape(self.node.inputs[0]) or ()

    @property
    def after(self) -> Shape:
        """The shape of the first output."""
        return self.survey.shape(self.node.outputs[0]) or ()

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def setting(self, name: str, place: int, default: Any = None) -> Any:
        """Numbers that are an input since some opset and were an attribute before."""
        known = self.survey.numbers(self.node.inputs[place]) if place < len(self.node.inputs) else ()
        return known or self.get(name, default)

    def axis(self, default: int) -> int:
        """The attribute ``axis``, counted from the front."""
        return int(self.get("axis", default)) % len(self.before)


Rule: TypeAlias = Callable[[Use], Fields | None]


def fields_of(survey: Survey) -> dict[str, Fields]:
    """The fields of all values that rules lead to, by name; inputs of less than 3 dimensions have none."""
    found: dict[str, Fields] = {}
    for name in survey.inputs:
        shape = survey.shape(name)
        if shape and len(shape) > 2:
            found[name] = (INPUT,) * len(shape)
    for place in sorted(survey.fitting):
        node = survey.nodes[place]
        read = [name for name in node.inputs if name and name not in survey.constants]
        if read and all(name in found for name in read) and node.outputs[0]:
            fields = _fields(Use(survey, place, read, found))
            if fields is not None:
                found.update({name: fields for name in node.outputs if name and _rank(survey, name) == len(fields)})
    return found


def _fields(use: Use) -> Fields | None:
    """The fields of what a node makes of the values that it reads."""
    rank, operator = len(use.after), use.node.operator
    if all(field is None for name in use.read for field in use.found[name][1:]):
        return (INPUT, *(None,) * (rank - 1)) if rank else ()  # Who sees everything goes on doing so.
    try:
        if operator in SEPARATE:
            return combine([_broadcast(use, name) for name in use.read])
        if operator == "Concat":
            return _joined(combine([use.found[name] for name in use.read]), use)
        alone = use.read == [use.node.inputs[0]] and not use.node.domain
        return RULES[operator](use) if alone and operator in RULES else None
    except ShapeError:  # Branches that do not move over the input alike.
        return None


def _broadcast(use: Use, name: str) -> Fields:
    """The fields of a value that is repeated along axes on which it has one cell."""
    before = use.survey.shape(name) or ()
    missing = len(use.after) - len(before)
    repeated = (
        None if size == 1 and wanted != 1 else field
        for field, size, wanted in zip(use.found[name], before, use.after[missing:], strict=True)
    )
    return (*(None,) * missing, *repeated)


def _joined(fields: Fields, use: Use) -> Fields | None:
    """Fields behind Concat; along its own axis they are known only where all of them see everything."""
    return fields if fields[use.axis(0)] is None else None


def _moved(use: Use, operation: Operation) -> Fields:
    """Behind a spatial operation: over the batch nothing moves, a channel sees all channels."""
    return (use.fields[0], None, *through(use.fields[2:], operation, (1,) * operation.axes))


def _window(use: Use) -> Fields | None:
    operation = operation_of(use.survey, use.place)
    return _moved(use, operation) if operation else None


def _spread(use: Use, factors: Sequence[int], *, smooth: bool = False) -> Fields:
    """Each cell becomes several, as a transposed convolution with a box (or a tent) for a kernel makes them."""
    windows = [
        Window(2 * factor - factor % 2, factor, pad_begin=factor // 2)
        if smooth and factor > 1
        else Window(factor, factor)
        for factor in factors
    ]
    return _moved(use, Operation("convt", tuple(windows)))


def _resize(use: Use) -> Fields | None:
    """Enlarging by whole numbers."""
    mode, coordinates = use.get("mode", "nearest"), use.get("coordinate_transformation_mode", "half_pixel")
    if mode not in {"nearest", "linear"} or (mode == "linear" and not str(coordinates).endswith("half_pixel")):
        return None
    before, after = static(use.before[2:]), static(use.after[2:])
    if not before or not after or any(new % old for old, new in zip(before, after, strict=True)):
        return None
    factors = [new // old for old, new in zip(before, after, strict=True)]
    return _spread(use, factors, smooth=mode == "linear")


def _depth_to_space(use: Use) -> Fields:
    return _spread(use, [use.get("blocksize")] * 2)


def _space_to_depth(use: Use) -> Fields:
    block = use.get("blocksize")
    return _moved(use, Operation("conv", (Window(block, block),) * 2))


def _pad(use: Use) -> Fields | None:
    """Pads are those of a convolution whose kernel is one cell."""
    pads, rank = use.setting("pads", 1, ()), len(use.before)
    pairs = [*zip(map(int, pads[:rank]), map(int, pads[rank:]), strict=False)]
    if len(pads) != 2 * rank or any(map(any, pairs[:2])):
        return None
    return _moved(use, Operation("conv", tuple(Window(1, pad_begin=begin, pad_end=end) for begin, end in pairs[2:])))


def _over_all(axes: Iterable[int], use: Use) -> Fields:
    """Where cells along some axes are taken together."""
    return tuple(None if axis in axes else field for axis, field in enumerate(use.fields))


def _global(use: Use) -> Fields:
    return _over_all(range(1, len(use.fields)), use)


def _reduce(use: Use) -> Fields:
    axes = [int(axis) % len(use.before) for axis in use.setting("axes", 1, range(len(use.before)))]
    kept = _over_all(axes, use)
    return kept if use.get("keepdims", 1) else tuple(field for axis, field in enumerate(kept) if axis not in axes)


def _normalized(use: Use) -> Fields:
    return _over_all(range(use.axis(-1), len(use.fields)), use)


def _along(default: int) -> Rule:
    """Operators that take together what lies along the attribute ``axis``, as Softmax does."""
    return lambda use: _over_all([use.axis(default)], use)


def _transpose(use: Use) -> Fields:
    order = use.get("perm", range(len(use.fields))[::-1])
    return tuple(use.fields[axis] for axis in order)


def _reshape(use: Use) -> Fields | None:
    """Axes at both ends that keep their size keep their fields; those between must see everything."""
    before, after = use.before, use.after
    shared = min(len(before), len(after)) - 1
    tail = next((n for n in range(shared) if before[-1 - n] != after[-1 - n]), shared)
    middle = use.fields[1 : len(before) - tail]
    if before[:1] != after[:1] or not tail or any(field is not None for field in middle):
        return None
    return (use.fields[0], *(None,) * (len(after) - 1 - tail), *use.fields[len(before) - tail :])


def _cut(use: Use) -> Fields | None:
    """Parts along axes on which everything is seen anyway; other axes must keep their size."""
    whole = all(field is None or old == new for field, old, new in zip(use.fields, use.before, use.after, strict=True))
    return use.fields if whole else None


def _matrix(use: Use) -> Fields:
    """A product with a constant matrix: along the last axis everything is seen."""
    return _over_all([len(use.fields) - 1], use)


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"), _window),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _global),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
        _reduce,
    ),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalized),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _along(-1)),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("Slice", "Split"), _cut),
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Pad": _pad,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "MatMul": _matrix,
}  # fmt: skip
"""How fields go through the operators that move, join or mix cells."""


def _rank(survey: Survey, name: str) -> int:
    return len(survey.shape(name) or ())
