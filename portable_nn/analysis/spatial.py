"""Convolutions and pools in a model, as operations of ``sizes``; findings on their coverage; receptive fields.

A value has a field for each of its axes, channels and batch included: ``None`` where the field is global along that
axis, as for channels after a convolution. The outputs of operators without a rule for receptive fields have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import filterfalse
from typing import Final, NamedTuple

from portable_nn.analysis.report import Finding
from portable_nn.analysis.survey import Survey
from portable_nn.core.dims import static
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.text import quantity, some
from portable_nn.operators import FieldContext, cellwise_fields, known_operator, moved_fields, operator_of
from portable_nn.operators.registry import window_kind
from portable_nn.sizes.cautions import cautions
from portable_nn.sizes.coverage import is_faulty
from portable_nn.sizes.notation import node_operation
from portable_nn.sizes.operation import Operation
from portable_nn.sizes.receptive import INPUT, Fields


def fields_of(survey: Survey) -> tuple[dict[str, Fields], dict[int, str]]:
    """The receptive fields of values, by name, as far as rules exist; and why they end, by the places of nodes.

    Inputs of less than 3 dimensions have none.
    """
    ranks = {name: len(survey.types[name].shape) for name in survey.inputs if name in survey.types}
    found: dict[str, Fields] = {name: (INPUT,) * rank for name, rank in ranks.items() if rank > 2}
    ends: dict[int, str] = {}
    for place in sorted(survey.fitting):
        node = survey.nodes[place]
        read = [*filterfalse(survey.constants.__contains__, filter(None, node.inputs))]
        if read and found.keys() >= {*read} and node.outputs[0]:
            fields = _fields(survey, place, read, found)
            if isinstance(fields, str):
                ends[place] = fields
            else:
                found.update({name: fields for name in node.outputs if len(survey.shape(name) or ()) == len(fields)})
    return found, ends


def _fields(survey: Survey, place: int, read: Sequence[str], found: Mapping[str, Fields]) -> Fields | str:
    """The fields of the outputs of a node, or why they are unknown; ``read`` are its inputs that are not constant."""
    node = survey.nodes[place]
    output = survey.shape(node.outputs[0]) or ()
    if not any(any(found[name][1:]) for name in read):  # A global receptive field stays global.
        return (INPUT, *(None,) * len(output))[: len(output)]
    operator = known_operator(node)
    if operator is None:
        return f"{node.operator} is not known"
    shapes = [survey.shape(name) or () for name in node.inputs]
    constants = [survey.numbers(name) for name in node.inputs]
    fields = [found.get(name) for name in node.inputs]
    use = FieldContext(node.attributes, shapes, constants, fields, output)
    try:
        if operator.window:
            operation = operation_of(survey, place)
            return moved_fields(use, operation) if operation else "its padding depends on unknown sizes"
        rule = cellwise_fields if operator.elementwise else operator.receptive
        followed = rule(use) if rule else None
        return f"{node.operator} mixes or moves cells in a way that is not followed" if followed is None else followed
    except ShapeError as error:  # Branches of different effective strides, or inputs that the rule does not support.
        return str(error)


COVERAGE: Final = frozenset({"uncovered", "bias-only"})
RISKS: Final = frozenset({"uneven", "padding", "ceil", "output_padding", "auto_pad"})
"""The cautions of ``sizes`` on uncovered cells, and those on other risks; others matter only to a layer's designer."""

LONGEST: Final = 2**20
"""The most cells along an axis for which coverage is counted."""


class Spatial(NamedTuple):
    """A convolution or pool, and the spatial sizes of its input."""

    operation: Operation
    sizes: tuple[int, ...]

    @property
    def reads_all(self) -> bool:
        """True if the node reads every cell of its input."""
        explicit = self.operation.resolved(self.sizes)
        axes = zip(explicit.windows, self.sizes, explicit.output_size(self.sizes), strict=True)
        return explicit.kind == "convt" or not any(is_faulty(explicit.kind, *axis) for axis in axes)


def spatial(survey: Survey, place: int) -> Spatial | None:
    """The operation at the node ``place``; ``None`` where sizes are unknown or absurdly large, or it is none."""
    if not _is_spatial(survey, place):
        return None
    sizes = static((survey.shape(survey.nodes[place].inputs[0]) or ())[2:])
    if not sizes:
        return None
    try:
        found = Spatial(_operation(survey, place, sizes), sizes)
        outputs = found.operation.output_size(sizes)
    except (UsageError, ShapeError):  # Shape inference has reported it.
        return None
    axes = zip(found.operation.resolved(sizes).windows, sizes, outputs, strict=True)
    reach = [max(size + sum(window.pads), window.stride * output + window.extent) for window, size, output in axes]
    return found if max(reach) <= LONGEST else None


def operation_of(survey: Survey, place: int) -> Operation | None:
    """The operation at the node ``place`` with explicit pads, where these are known; sizes may be unknown."""
    if found := spatial(survey, place):
        return found.operation.resolved(found.sizes)
    node = survey.nodes[place]
    by_rule = node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attributes
    if by_rule or not _is_spatial(survey, place):
        return None
    try:
        return _operation(survey, place, (1,) * (len(survey.shape(node.inputs[0]) or ()) - 2))
    except UsageError:
        return None


def _is_spatial(survey: Survey, place: int) -> bool:
    node = survey.nodes[place]
    return place in survey.fitting and window_kind(node.operator, node.domain) is not None


def _operation(survey: Survey, place: int, sizes: tuple[int, ...]) -> Operation:
    node = survey.nodes[place]
    weight = survey.shape(node.inputs[1]) if len(node.inputs) > 1 else None
    kernel = static(weight[2:]) if weight else None
    return node_operation(node.operator, node.attributes, sizes, kernel, operator_of(node).window)


def coverage_findings(survey: Survey) -> Iterator[Finding]:
    """Uncovered cells, uneven overlap, windows that hold nothing but padding, ambiguous pads."""
    unknown = []
    found = {place: spatial(survey, place) for place in range(len(survey.nodes))}
    # The shortcut of a residual block leaves cells out by design: another node reads them.
    read = {*survey.outputs}
    read.update(name for name, places in survey.readers.items() if any(_reads_all(found[place]) for place in places))
    for place, node in enumerate(survey.nodes):
        operation = found[place]
        if operation is None:
            unknown += [node.name] if _is_spatial(survey, place) else []
            continue
        for caution in cautions(*operation):
            if caution.about in COVERAGE | RISKS and not (caution.about == "uncovered" and node.inputs[0] in read):
                yield Finding("warning", node.name, caution.message, caution.hint)
    if unknown:
        message = f"coverage is unknown in {quantity(len(unknown), 'node')} with unknown sizes: {some(unknown)}"
        yield Finding("note", "", message, "give the sizes of the inputs")


def _reads_all(operation: Spatial | None) -> bool:
    return operation is None or operation.reads_all
