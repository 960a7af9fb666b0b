"""Receptive fields through a network, node by node.

A value has a field for each of its axes, channels and batch included: ``None`` where the field is global along that
axis, as for channels after a convolution. The outputs of operators without a rule for receptive fields have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portable_nn.analysis.spatial import operation_of
from portable_nn.analysis.survey import Survey
from portable_nn.core.errors import ShapeError
from portable_nn.operators import FieldContext, cellwise_fields, find, moved_fields
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
        read = [name for name in node.inputs if name and name not in survey.constants]
        if found.keys() >= {*read} != set() and node.outputs[0]:
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
    operator = find(node.operator, node.domain)
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
