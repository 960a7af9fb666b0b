"""Type inference through a graph that may be faulty: it goes on after invalid nodes.

``operators.infer`` rejects a faulty graph. Here the outputs of an invalid node, or of an operator that this package
lacks, get their types from elsewhere: the file, or the shape inference of the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from portable_nn.analysis.order import run_order
from portable_nn.analysis.report import Finding
from portable_nn.core.dims import names_in, undeclared
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Dim, Node
from portable_nn.core.text import quantity, some
from portable_nn.operators import DataDependentShape, InvalidNode, Type, infer_node, lookup

Translate: TypeAlias = Callable[[int, Mapping[str, Type]], Sequence[Node]]
"""The translation of the node at a place of a file into the vocabulary, given the types of the values before it."""

GIVE_THOSE: Final = "it depends on symbolic sizes of the inputs: give those"
MAY_BE_CONSTANT: Final = (
    "they may be constant for fixed sizes of the inputs: give those, or have a simplifier fold them"
)

TRIED: Final = 5040
"""A size with many divisors, for trials of whether any size fits."""


Doubt: TypeAlias = Literal["data-dependent", "unknown", "follows"]
"""Why it is undecided whether a node fits: sizes, axes or pads are data-dependent, or sizes are unknown, which
may follow from an operator that this package lacks."""


def walk(
    nodes: Sequence[Node],
    translate: Translate,
    types: dict[str, Type],
    stated: Mapping[str, Type],
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
    declared = {dim for type in types.values() for dim in type.shape if isinstance(dim, str)}
    doubts: dict[Doubt, list[str]] = {"data-dependent": [], "unknown": [], "follows": []}
    fitting, following = set(), set[str]()
    for place in order:
        node = nodes[place]
        if not types.keys().isdisjoint(node.outputs):
            continue  # A duplicate value, which run_order has reported.
        known = all(name in types for name in node.inputs if name)
        found = list(_infer(node, partial(translate, place), types, declared, following)) if known else []
        findings.extend(each for each in found if isinstance(each, Finding))
        for each in found:
            if not isinstance(each, Finding):
                doubts[each].append(node.name)
        types.update({name: stated[name] for name in node.outputs if name not in types and name in stated})
        if place in lacking or not known or not following.isdisjoint(names_in(_sizes(node.inputs, types))):
            following.update(names_in(_sizes(node.outputs, types)) - declared)
        if known and not found and all(name in types for name in node.outputs if name):
            fitting.add(place)
    findings.extend(_doubtful(doubt, names) for doubt, names in doubts.items() if names and doubt != "follows")
    return findings, frozenset(fitting)


def _infer(
    node: Node,
    translate: Callable[[Mapping[str, Type]], Sequence[Node]],
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
        given = [types.get(name) if name else None for name in step.inputs]
        if any(name and type is None for name, type in zip(step.inputs, given, strict=True)):
            return  # A step before it is invalid.
        try:
            found = infer_node(lookup(step.operator, step.domain), given, step.attributes, len(step.outputs))
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
    if isinstance(invalid, DataDependentShape):
        return "data-dependent"
    dims = {dim for type in given if type for dim in (*type.shape, *(type.constant or ()))}
    named = {dim for dim in dims if isinstance(dim, str)}
    unknown = undeclared(named, declared)
    trials = [dict.fromkeys(named, size) for size in (TRIED, *(dim for dim in dims if isinstance(dim, int)))]
    trials.append(dict.fromkeys(named, TRIED) | dict.fromkeys(unknown, 1))
    may_fit = any(_fits(meant, given, trial) for trial in trials)
    if unknown and (may_fit or meant.operator == "Reshape"):  # Trials cannot find the sizes of a Reshape.
        return "unknown" if undeclared(named, declared | following) else "follows"
    if named and may_fit:
        return Finding("error", node.name, f"{node.operator} fits some sizes alone: {invalid}", GIVE_THOSE)
    return Finding("error", node.name, f"{node.operator} does not fit: {invalid}")


def _fits(node: Node, given: Sequence[Type | None], sizes: Mapping[str, int]) -> bool:
    """True if a node fits with ``sizes`` for symbolic ones."""
    types = [
        type and Type(type.dtype, tuple(_put(type.shape, sizes)), type.constant and tuple(_put(type.constant, sizes)))
        for type in given
    ]
    try:
        infer_node(lookup(node.operator, node.domain), types, node.attributes, len(node.outputs))
    except InvalidNode:
        return False
    return True


def _put(items: Iterable[Any], sizes: Mapping[str, int]) -> Iterator[Any]:
    return (sizes.get(item, item) for item in items)


def _sizes(names: Iterable[str], types: Mapping[str, Type]) -> Iterator[Dim]:
    """The sizes of those of the values whose types are known."""
    return (dim for name in names if name in types for dim in types[name].shape)


def _doubtful(doubt: Doubt, names: Sequence[str]) -> Finding:
    where = f"in {quantity(len(names), 'node')}: {some(names)}"
    if doubt == "data-dependent":
        return Finding(
            "error",
            names[0] if len(names) == 1 else "",
            f"not supported: data-dependent sizes, axes or pads, {where}",
            MAY_BE_CONSTANT,
        )
    message = f"not checked, and refused by import, as the sizes of inputs are unknown, {where}"
    return Finding("error", "", message, "give the sizes of the inputs")
