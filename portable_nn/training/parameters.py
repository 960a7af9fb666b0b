"""The parameters of a graph that a gradient can train, by patterns of their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Graph, Node
from portable_nn.core.text import either, nearest
from portable_nn.operators import FLOATS, lookup

NEAR: Final = 3
"""The most names in a message."""


def matching(graph: Graph, patterns: Sequence[str], what: str) -> tuple[str, ...]:
    """The parameters that match one of ``patterns`` and that a gradient can train, in the graph's order.

    A pattern matches a parameter by its name, by the front of the name up to a ``.`` or ``/``, or by a node that reads
    it. ``*``, ``?`` and ``[…]`` mean what they mean in the names of files, but ``*`` does not stop at a dot.

    Raises ``UsageError`` for every pattern that matches none, with names that are near; ``what`` is the method's name.
    """
    if not patterns:
        raise UsageError(f"{what} needs a pattern of parameter names, such as 'features.*'; '*' is for all")
    called = _called(graph)
    fixed = _fixed(graph)
    found, faults = set[str](), list[str]()
    for pattern in patterns:
        matched = [
            name
            for name, names in called.items()
            if any(each == pattern or fnmatchcase(each, pattern) for each in names)
        ]
        found.update(name for name in matched if name not in fixed)
        if not matched:
            faults.append(f"no parameter matches '{pattern}': {_near(pattern, called)}")
        elif fixed.keys() >= set(matched):
            faults.append(f"'{pattern}' matches nothing that a gradient trains: '{matched[0]}' {fixed[matched[0]]}")
    if faults:
        raise UsageError(listed(faults, what))
    return tuple(name for name in called if name in found)


def _called(graph: Graph) -> dict[str, list[str]]:
    """The names that match each parameter: its own, those of the nodes that read it, and the fronts of both."""
    called = {value.name: [value.name] for value in graph.parameters}
    for node in graph.nodes:
        for name in node.inputs:
            if name in called:
                called[name].append(node.name)
    return {name: list(dict.fromkeys(_fronts(names))) for name, names in called.items()}


def _fronts(names: Iterable[str]) -> Iterator[str]:
    """``a.b.c``, ``a.b``, ``a``."""
    for name in names:
        yield name
        yield from (name[: cut.start()] for cut in reversed([*re.finditer("[./]", name)]) if cut.start())


def _fixed(graph: Graph) -> dict[str, str]:
    """The parameters that no gradient trains, and why."""
    whole = {each.name: f"holds {each.dtype}" for each in graph.parameters if each.dtype not in FLOATS}
    return whole | dict.fromkeys(
        (name for node in graph.nodes for name in states(node)),
        "is a running statistic, which is frozen with the weight and bias of its normalisation",
    )


def states(node: Node) -> tuple[str, ...]:
    """The inputs of a node that training updates without a gradient: running statistics."""
    return tuple(node.inputs[place] for place in lookup(node.operator, node.domain).state.values())


def _near(wanted: str, called: Mapping[str, Iterable[str]]) -> str:
    names = dict.fromkeys(name for each in called.values() for name in each)
    return near(re.sub(r"[*?]", "", wanted).strip("./"), names, "parameters", list(called))


def near(wanted: str, names: Collection[str], what: str, all_names: Sequence[str]) -> str:
    """The names nearest to ``wanted``; if none is near, some of all."""
    if close := nearest(wanted, names, NEAR):
        return f"did you mean {either(map(repr, close))}?"
    if not all_names:
        return f"the network has no {what}"
    some = ", ".join(all_names[:NEAR]) + ", …" * (len(all_names) > NEAR)
    return f"there are {some} ({len(all_names)} {what})"
