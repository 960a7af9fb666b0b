"""Branches and loops: their bodies are functions, which are written before the line that calls them."""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn.converters.array.use import ArrayUse, Row, tuple_of
from portable_nn.operators import Type
from portable_nn.operators.control.bodies import bodies_of
from portable_nn.operators.control.branches import taken
from portable_nn.operators.control.loops import loop_of, scan_of


def _branch(use: ArrayUse) -> str:
    if name := taken(use):
        return f"{use.function(name)}()"
    return f"{use.function('then_branch')}() if {use.x()} else {use.function('else_branch')}()"


def _empty(use: ArrayUse, types: Sequence[Type]) -> str:
    """Arrays of no turns, as a loop without any makes them."""
    return tuple_of([use.zeros(tuple_of([use.size(dim) for dim in type.shape]), type.dtype) for type in types])


def _called(use: ArrayUse, text: str) -> str:
    return f"{text}[0]" if use.output_count == 1 else text


def _loop(use: ArrayUse) -> str:
    stop = bodies_of(use)["body"].places.start
    states = tuple_of([use.x(place) for place in range(2, stop)])
    turns = loop_of(use).turns
    counts = f"{use.optional(0)}, {use.optional(1, 'True')}"
    if turns is not None and use.knows(0):
        counts = f"{use.size(turns)}, None"
    empty = _empty(use, use.results[stop - 2 :])
    return _called(use, f"loop({use.function('body')}, {counts}, {states}, {empty})")


def _scan(use: ArrayUse) -> str:
    found = scan_of(use)
    states, inputs = (
        tuple_of([use.x(place) for place in places])
        for places in (range(found.states), range(found.states, found.body.places.start))
    )
    read = f"{inputs}, {found.axes}, {found.backwards}"
    written = f"{_empty(use, use.results[found.states :])}, {found.out_axes}, {found.out_backwards}"
    return _called(use, f"scan({use.function('body')}, {states}, {read}, {written})")


ROWS = {
    "If": Row(_branch, "what the branch makes that the condition takes"),
    "Loop": Row(_loop, "the states after the last turn, and what each turn makes"),
    "Scan": Row(_scan, "the states after the last step, and what each step makes"),
}
"""Operators with bodies."""
