"""Rules for any model: unused values, duplicate names, weights without numbers, symbolic sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import filterfalse

import numpy as np

from portable_nn.analysis.report import Finding, Level
from portable_nn.analysis.survey import Survey
from portable_nn.core.dims import is_open, names_in
from portable_nn.core.graph import Node, format_shape
from portable_nn.core.text import quantity, size, some
from portable_nn.operators.registry import Array, NamedArrays


def outputs_without_source(survey: Survey) -> Iterator[Finding]:
    """Outputs of the model that no node computes."""
    made = {*survey.inputs, *survey.weights, *survey.types, *(name for node in survey.nodes for name in node.outputs)}
    yield from (
        Finding("error", "", f"output '{name}' is made by no node") for name in survey.outputs if name not in made
    )


def names_of_nodes(survey: Survey) -> Iterator[Finding]:
    """Names shared by several nodes."""
    for name, count in Counter(node.name for node in survey.nodes).items():
        if count > 1:
            yield Finding("note", name, f"is the name of {quantity(count, 'node')}: import gives each one of its own")


def dead_ends(survey: Survey) -> Iterator[Finding]:
    """Nodes that lead to no output."""
    reported: set[int] = set()
    dead = _dead(survey)
    for place, node in dead.items():
        if survey.readers.keys().isdisjoint(node.outputs):
            before = _leading_to({place}, dead) - reported
            reported |= before
            names = [dead[other].name for other in sorted(before - {place})]
            others = "does the node" if len(names) == 1 else f"do the {len(names)} nodes"
            more = f", nor {others} before it: {some(names)}" if names else ""
            yield Finding("warning", node.name, f"leads to no output{more}")
    yield from (
        Finding("warning", node.name, "leads to no output") for place, node in dead.items() if place not in reported
    )


def unread(survey: Survey) -> Iterator[Finding]:
    """Weights and inputs that nothing reads."""
    used = {*survey.readers, *survey.outputs}
    if idle := [*filterfalse(used.union(survey.makers).__contains__, survey.weights)]:
        took = size(sum(survey.weights[name].nbytes for name in idle))
        message = f"{quantity(len(idle), 'weight')} {'is' if len(idle) == 1 else 'are'} read by no node: {some(idle)}"
        yield Finding("warning", "", message, f"{took} of the file can go")
    for name in survey.inputs:
        if name not in used:
            yield Finding("warning", "", f"input '{name}' is read by no node")


def numbers(survey: Survey, nonfinite: Level) -> Iterator[Finding]:
    """Weights with NaN or infinities (findings of the level ``nonfinite``), or with equal elements."""
    for name, array in survey.weights.items():
        node = next((survey.nodes[place].name for place in survey.readers.get(name, ())), "")
        shape = format_shape(array.shape)
        if "float" not in array.dtype.name or not array.size:
            continue
        nan, endless = _without_value(array)
        if nan:
            yield Finding(
                nonfinite, node, f"weight '{name}' {shape} is NaN in {nan:,} of {quantity(array.size, 'element')}"
            )
        if endless:
            message = f"weight '{name}' {shape} is infinite in {endless:,} of {quantity(array.size, 'element')}"
            yield Finding(nonfinite, node, message)
        if array.size > max(array.shape, default=1) and (array == array.flat[0]).all():
            yield Finding("note", node, f"weight '{name}' {shape} is {array.flat[0]:g} everywhere")


def unknown_sizes(survey: Survey) -> Iterator[Finding]:
    """Inputs with symbolic or unknown sizes, and nodes with outputs of unknown types."""
    for name in survey.inputs:
        shape = survey.shape(name)
        names = [dim for dim in shape or () if isinstance(dim, str)]
        if shape is None:
            yield Finding("note", "", f"the shape of input '{name}' is unknown", _advice(survey, name, "N,3,H,W"))
        elif names:
            message = f"input '{name}' {format_shape(shape)} has symbolic sizes: {', '.join(dict.fromkeys(names))}"
            yield Finding("note", "", message, _advice(survey, name, ",".join(map(str, shape))))
    yield from _decided(survey)
    unknown = [
        node.name
        for node in survey.nodes
        if all(name in survey.types for name in node.inputs if name)
        and any(name not in survey.types for name in node.outputs if name)
    ]
    if unknown:
        message = f"the types of the outputs of {quantity(len(unknown), 'node')} are unknown: {some(unknown)}"
        yield Finding("note", "", message, "the nodes after them are not checked")


def _decided(survey: Survey) -> Iterator[Finding]:
    """A note on data-dependent sizes."""
    dims = names_in(dim for type in survey.types.values() for dim in type.shape if is_open(dim))
    if found := sorted(filter(is_open, dims)):
        message = f"data decide {quantity(len(found), 'size')}: {some(found)}"
        yield Finding(
            "note", "", message, "each is known once the node that it names has run; numpy then goes on with it"
        )


def _advice(survey: Survey, name: str, sizes: str) -> str:
    prefix = "" if len(survey.inputs) == 1 else f"{name}="
    return f"--in {prefix}{sizes}, with numbers for names, sets them"


def _dead(survey: Survey) -> dict[int, Node]:
    """The nodes that lead to no output, by place."""
    nodes = dict(enumerate(survey.nodes))
    ends = {place for place, node in nodes.items() if not set(survey.outputs).isdisjoint(node.outputs)}
    alive = _leading_to(ends, nodes)
    return {place: node for place, node in nodes.items() if place not in alive}


def _leading_to(ends: set[int], nodes: dict[int, Node]) -> set[int]:
    """The places of the ``nodes`` from which a path leads to ``ends``, with these."""
    maker = {name: place for place, node in nodes.items() for name in node.outputs if name}
    found, needed = set[int](), [*ends]
    while needed:
        place = needed.pop()
        if place not in found:
            found.add(place)
            needed.extend(maker[name] for name in nodes[place].inputs if name in maker)
    return found


def notes_on_nan(weights: NamedArrays) -> list[str]:
    """A note on each weight with NaN, which makes NaN of what follows. Infinities are what masks are made of."""
    found = {
        name: _without_value(array)[0] for name, array in weights.items() if array.dtype.kind == "f" and array.size
    }
    return [
        f"weight '{name}' is NaN in {count:,} of {weights[name].size:,} elements, and so is what follows from it"
        for name, count in found.items()
        if count
    ]


def _without_value(array: Array) -> tuple[int, int]:
    """The numbers of elements that are NaN, and that are infinite."""
    with np.errstate(invalid="ignore"):
        if np.isfinite(array.min()) and np.isfinite(array.max()):  # The extremes suffice, and need no second array.
            return 0, 0
        return int(np.isnan(array).sum()), int(np.isinf(array).sum())
