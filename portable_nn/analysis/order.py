"""The order of nodes: undefined and duplicate values, nodes that come too late, and cycles."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from portable_nn.analysis.report import Finding
from portable_nn.core.graph import Node


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
                close = get_close_matches(name, made, n=1)
                hint = f"did you mean '{close[0]}'?" if close else ""
                yield Finding("error", node.name, f"reads '{name}', which nothing makes", hint)


def _duplicates(nodes: Sequence[Node], leaves: Collection[str]) -> Iterator[Finding]:
    made = dict.fromkeys(leaves, "an input or weight")
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in made:
                yield Finding("error", node.name, f"makes '{name}', which is the name of {made[name]} already")
            made[name] = f"what node '{node.name}' makes"
