"""The numpy engine for inputs of any shape: a plan for each set of shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from portable_nn.core.graph import Graph
from portable_nn.engines.plan import Plan
from portable_nn.operators.registry import Array

PLANS: Final = 8
"""Plans that are kept, one for each set of input shapes."""


class Plans:
    """The numpy engine on one graph: a plan for each set of input shapes, of which the last few are kept.

    A plan computes in its own memory: two threads must not use the same one at once.
    """

    def __init__(self, graph: Graph, parameters: Mapping[str, Array]) -> None:
        self.graph, self.parameters = graph, parameters
        self.kept: dict[tuple[tuple[int, ...], ...], Plan] = {}

    def plan(self, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
        """The plan for inputs of these shapes."""
        key = tuple(shapes[value.name] for value in self.graph.inputs)
        found = self.kept.pop(key, None) or Plan(self.graph, shapes, self.parameters)
        self.kept[key] = found
        while len(self.kept) > PLANS:
            del self.kept[next(iter(self.kept))]
        return found

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, for inputs that fit."""
        plan = self.plan({name: array.shape for name, array in feeds.items()})
        for name, array in feeds.items():
            np.copyto(plan.inputs[name], array)
        plan.run()
        return {name: array.copy() for name, array in plan.outputs.items()}
