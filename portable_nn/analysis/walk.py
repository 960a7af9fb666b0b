"""Type inference through a graph that may be faulty: in an order that it finds, and on after invalid nodes.

``operators.infer`` rejects a faulty graph. Here the outputs of an invalid node, or of an operator that this package
lacks, get their types from elsewhere: the file, or the shape inference of the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Final, Literal, TypeAlias

from portable_nn.analysis.report import Finding
from portable_nn.core.dims import names_in, undeclared
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Dim, Node
from portable_nn.core.text import quantity, some, suggestion
from portable_nn.operators import InvalidNode, Type, Types, types_made, types_read
from portable_nn.operators.equal_sizes import fits, sizes_met


def run_order(nodes: Sequence[Node], leaves: Collection[str]) -> tuple[list[int], list[Finding]]:
    """The places of nodes in topological order, as far as there is one, and the faults of the order in the file."""
    known = {"", *leaves}
    maker = dict(reversed([(n, place) for place, node in enumerate(nodes) for n in node.outputs if n not in known]))
    needs = {place: {maker[name] for name in node.inputs if name in maker} for place, node in enumerate(nodes)}
    findings = [*_duplicates(nodes, leaves), *_undefined(nodes, {*leaves, *maker})]
    if all(max(needed, default=-1) < place for place, needed in needs.items()):
        return [*needs], findings
    order, cycles = _sorted(needs)
    findings.extend(_cycle([nodes[place] for place in cycle]) for cycle in cycles)
    cyclic = set[int]().union(*cycles)
    findings.extend(
        Finding(
            "error",
            node.name,
            f"reads '{name}', which node '{nodes[maker[name]].name}' makes only later",
            "a file must have its nodes in an order in which they can run",
        )
        for place, node in enumerate(nodes)
        for name in dict.fromkeys(node.inputs)
        if maker.get(name, -1) > place and not {place, maker[name]} <= cyclic
    )
    return order, findings


def _sorted(needs: dict[int, set[int]]) -> tuple[list[int], list[list[int]]]:
    """The places in topological order, and the cycles that were broken for it."""
    cycles: list[list[int]] = []
    while True:
        try:
            return [*TopologicalSorter(needs).static_order()], cycles
        except CycleError as error:
            cycle = error.args[1]
            cycles.append(cycle)
            needs = needs | {place: needs[place].difference(cycle) for place in cycle}


def _cycle(nodes: Sequence[Node]) -> Finding:
    """The finding on nodes of which each reads an output of the one before it; the last is the first again."""
    way = " → ".join(f"'{node.name}'" for node in nodes)
    return Finding("error", nodes[0].name, f"is part of a cycle, in which no node can run first: {way}")


def _undefined(nodes: Sequence[Node], made: Collection[str]) -> Iterator[Finding]:
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            if name and name not in made:
                yield Finding("error", node.name, f"reads '{name}', which nothing makes", suggestion(name, made))


def _duplicates(nodes: Sequence[Node], leaves: Collection[str]) -> Iterator[Finding]:
    made = dict.fromkeys(leaves, "an input or weight")
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in made:
                yield Finding("error", node.name, f"makes '{name}', which is the name of {made[name]} already")
            made[name] = f"what node '{node.name}' makes"


Translate: TypeAlias = Callable[[int, Types], Sequence[Node]]
"""The translation of the node at a place of a file into the vocabulary, given the types of the values before it."""

GIVE_THOSE: Final = "it depends on symbolic sizes of the inputs: give these sizes"
GIVE_SIZES: Final = "give the sizes of the inputs"

TRIED: Final = 5040
"""A size with many divisors, for trials of whether any size fits."""


Doubt: TypeAlias = Literal["unknown", "follows"]
"""Why it is undecided whether a node fits: sizes are unknown, which may follow from an operator that is not here."""


def walk(
    nodes: Sequence[Node],
    translate: Translate,
    types: dict[str, Type],
    stated: Types,
    unknown: Collection[str] = (),
    lacking: Collection[int] = (),
) -> tuple[list[Finding], frozenset[int]]:
    """Add the types of the outputs of all nodes to ``types``; return findings, and the places of the valid nodes.

    Args:
        nodes: as the file has them, in any order.
        translate: the translation of a node into the vocabulary of ``OPSET``; empty where that lacks it.
        types: those of inputs and weights.
        stated: types of values from elsewhere, for nodes without a rule, or with a fault.
        unknown: further inputs and weights, of unknown type.
        lacking: the places of nodes that this package lacks: what follows from their sizes is no finding.
    """
    order, findings = run_order(nodes, {*types, *unknown})
    declared = {dim for dim in _sizes(types, types) if isinstance(dim, str)}
    said = list[tuple[Finding | Doubt, str]]()
    fitting, following = set(), set[str]()
    for place in order:
        node = nodes[place]
        if not types.keys().isdisjoint(node.outputs):
            continue  # A duplicate value, which run_order has reported.
        known = types.keys() >= {*filter(None, node.inputs)}
        found = list(_infer(node, partial(translate, place), types, declared, following)) if known else []
        said += [(each, node.name) for each in found]
        types.update({name: stated[name] for name in filter(stated.__contains__, node.outputs) if name not in types})
        if place in lacking or not known or not following.isdisjoint(names_in(_sizes(node.inputs, types))):
            following.update(names_in(_sizes(node.outputs, types)) - declared)
        if known and not found and types.keys() >= {*filter(None, node.outputs)}:
            fitting.add(place)
    return [*findings, *_findings(said)], frozenset(fitting)


def _infer(
    node: Node,
    translate: Callable[[Types], Sequence[Node]],
    types: dict[str, Type],
    declared: set[str],
    following: set[str],
) -> Iterator[Finding | Doubt]:
    """Add the types of the outputs of ``node``, whose inputs are known.

    ``declared`` are the names of the inputs' sizes, ``following`` those of sizes that unsupported nodes make.
    """
    try:
        steps = translate(types)
    except GraphError as error:
        for fault in error.faults:
            yield Finding("error", node.name, f"{node.operator} does not fit: {fault.message}")
        return
    for step in steps:
        given = types_read(step, types)
        if any(name and type is None for name, type in zip(step.inputs, given, strict=True)):
            return  # A step before it is invalid.
        try:
            found = types_made(step, given)
        except InvalidNode as invalid:
            yield _invalid(node, step, given, invalid, declared, following)
            return
        types.update({name: type for name, type in zip(step.outputs, found, strict=False) if name})


def _invalid(
    node: Node,
    meant: Node,
    given: Sequence[Type | None],
    invalid: InvalidNode,
    declared: set[str],
    following: set[str],
) -> Finding | Doubt:
    """The finding on an invalid node, or the doubt whether it is one, where sizes are symbolic or unknown."""
    dims = set(sizes_met(given))
    named = {dim for dim in dims if isinstance(dim, str)}
    unknown = undeclared(named, declared)
    trials = [dict[str, Dim].fromkeys(named, size) for size in (TRIED, *(dim for dim in dims if isinstance(dim, int)))]
    trials.append(dict.fromkeys(named, TRIED) | dict.fromkeys(unknown, 1))
    may_fit = any(fits(meant, given, trial) for trial in trials)
    if unknown and (may_fit or meant.operator == "Reshape"):  # Trials cannot find the sizes of a Reshape.
        return "unknown" if undeclared(named, declared | following) else "follows"
    if named and may_fit:
        return Finding("error", node.name, f"{node.operator} fits some sizes alone: {invalid}", GIVE_THOSE)
    return Finding("error", node.name, f"{node.operator} does not fit: {invalid}")


def _sizes(names: Iterable[str], types: Types) -> Iterator[Dim]:
    """The sizes of those of the values whose types are known."""
    return (dim for name in names if name in types for dim in types[name].shape)


def _findings(said: Sequence[tuple[Finding | Doubt, str]]) -> Iterator[Finding]:
    """The findings in what is said of nodes: one for all nodes of which sizes are unknown."""
    yield from (each for each, _ in said if isinstance(each, Finding))
    if names := [name for each, name in said if each == "unknown"]:
        message = "not checked, and refused by import, as the sizes of inputs are unknown"
        yield Finding("error", "", f"{message}, in {quantity(len(names), 'node')}: {some(names)}", GIVE_SIZES)
