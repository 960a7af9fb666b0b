"""The share of each of several batches in the loss of their step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portable_nn.core.graph import Graph
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, trace
from portable_nn.training.losses import Built
from portable_nn.training.parts import shapes_for
from portable_nn.training.sources import Batch, targets_of
from portable_nn.training.updating import SHARE


class Shares:
    """The share of each batch in each part of the loss of a step: what the part counts in it, of what it counts in all.

    Args:
        parts: the parts of the loss.
        inputs: what they compare with: the targets, and the weights of the examples.
    """

    def __init__(self, parts: Mapping[str, Built], inputs: Sequence[Leaf]) -> None:
        self.names = [SHARE + name for name in parts]
        self.norms = [part.norm for part in parts.values()]
        computed = [norm for norm in self.norms if norm is not None]
        self.graph = trace(inputs, computed, "norms").graph if computed else None
        self._plans: dict[int, Plan] = {}

    def __call__(self, batches: Sequence[tuple[Batch, float]]) -> list[dict[str, float]]:
        """The scalars of each batch, which comes with the weight of its examples."""
        counts = [self._counts(*each) for each in batches]
        sums = [sum(column) or 1.0 for column in zip(*counts, strict=True)]  # Where nothing counts, no share does.
        return [{name: count / of for name, count, of in zip(self.names, each, sums, strict=True)} for each in counts]

    def _counts(self, batch: Batch, weight: float) -> list[float]:
        """The number of examples that each part of the loss counts in a batch."""
        found = iter(self._computed(self.graph, batch) if self.graph else ())
        return [weight if norm is None else next(found) for norm in self.norms]

    def _computed(self, graph: Graph, batch: Batch) -> list[float]:
        """The norms, which depend on the targets alone."""
        size, arrays = targets_of(batch)
        plan = self._plans.get(size)
        if plan is None:
            plan = self._plans[size] = Plan(graph, shapes_for(graph, size), {})
        for name, array in plan.inputs.items():
            array[...] = arrays[name]
        plan.run()
        return [float(plan.outputs[name]) for name in graph.outputs]
