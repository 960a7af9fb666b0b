"""The form of an operator that is given a sequence in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from portable_nn.core.graph import Shape


class Streamed(NamedTuple):
    """The form of a use that is given a sequence in parts: what it keeps from one part to the next.

    Args:
        steps: the axis of the steps in the first input.
        states: the shape of each state by its role; the first axis is the batch.
        first: for each state, the input that gives it before the first step, if there is one.
        lengths: the input that says how many steps of each sequence are not padding, if there is one.
        build: takes the inputs, the states as symbols and the name of the node, and makes its outputs and new states.
    """

    steps: int
    states: Mapping[str, Shape]
    build: Callable[[Sequence[Any], Sequence[Any], str], tuple[Sequence[Any], Sequence[Any]]]
    first: Sequence[int] = ()
    lengths: int | None = None
