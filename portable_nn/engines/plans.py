"""The numpy engine on one graph, for inputs of any shape.

Where examples are computed by themselves, a batch with convolutions is computed in parts whose tensors stay in the
cache of a core, by two cores if nothing in them is divided among threads already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Final, TypeAlias

import numpy as np

from portable_nn.core.graph import Graph
from portable_nn.engines.apart import has_convolution, keeps_examples_apart
from portable_nn.engines.batching import largest_of_one
from portable_nn.engines.plan import Kept, Plan
from portable_nn.engines.threads import side_by_side
from portable_nn.operators import Array, NamedArrays, infer
from portable_nn.rewrites import INFERENCE

SMALLEST: Final = 8
"""The fewest examples in a part: products of fewer columns are slow."""
CACHED: Final = 2**19
"""The bytes that the largest tensor of a part may have, if it has more than the fewest examples."""

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class Plans:
    """The numpy engine on one graph: a plan for each set of input shapes, of which the last few are kept.

    A plan computes in its own memory: two threads must not use the same ``Plans`` at once.
    """

    def __init__(self, graph: Graph, parameters: NamedArrays) -> None:
        self.graph, self.parameters = graph, parameters
        self.kept = Kept()
        self._sizes: dict[Shapes, int] = {}

    def run(self, feeds: NamedArrays) -> dict[str, Array]:
        """The outputs by name, for arrays that fit the inputs."""
        count = len(next(iter(feeds.values()))) if self._in_parts else 0
        parts = -(-count // self._size(feeds)) if count > SMALLEST else 1
        if parts == 1:
            return {name: array.copy() for name, array in self._run_plan(feeds).items()}
        size = -(-count // (parts + parts % 2))  # As many parts for either core.
        places = [slice(start, start + size) for start in range(0, count, size)]
        return self._run_parts(feeds, count, places)

    def plan(self, feeds: NamedArrays) -> Plan:
        """The plan for such shapes."""
        key = tuple(feeds[value.name].shape for value in self.graph.inputs)
        shapes = {name: array.shape for name, array in feeds.items()}
        return self.kept.at(key, partial(Plan, self.graph, shapes, self.parameters, rewrites=INFERENCE))

    def _run_plan(self, feeds: NamedArrays) -> NamedArrays:
        plan = self.plan(feeds)
        for name, array in feeds.items():
            np.copyto(plan.inputs[name], array)
        plan.run()
        return plan.outputs

    def _run_parts(self, feeds: NamedArrays, count: int, places: Sequence[slice]) -> dict[str, Array]:
        one = self.plan({name: array[places[0]] for name, array in feeds.items()})
        found = {name: np.empty((count, *array.shape[1:]), array.dtype) for name, array in one.outputs.items()}

        def run(plans: Plans, chosen: Sequence[slice]) -> None:
            for place in chosen:
                for name, array in plans._run_plan({name: array[place] for name, array in feeds.items()}).items():
                    found[name][place] = array

        if one.is_on_one_thread:
            side_by_side(partial(run, self, places[::2]), partial(run, self._beside, places[1::2]))
        else:
            run(self, places)
        return found

    @cached_property
    def _beside(self) -> Plans:
        """The plans of the second thread."""
        return Plans(self.graph, self.parameters)

    @cached_property
    def _in_parts(self) -> bool:
        """True if a batch may be computed in parts, and may be faster so."""
        if not has_convolution(self.graph) or not keeps_examples_apart(self.graph):
            return False
        types, batch = infer(self.graph).types, self.graph.inputs[0].shape[:1]
        return all(types[name].shape[:1] == batch for name in self.graph.outputs)

    def _size(self, feeds: NamedArrays) -> int:
        """The examples in a part, for shapes such as those of ``feeds``."""
        key = tuple(feeds[value.name].shape[1:] for value in self.graph.inputs)
        if key not in self._sizes:
            self._sizes[key] = max(
                SMALLEST, CACHED // max(1, largest_of_one(self.graph, infer(self.graph).types, feeds))
            )
        return self._sizes[key]
