"""A graph that numpy runs once."""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn.core.graph import Graph
from portable_nn.engines.claims import size_of
from portable_nn.engines.plan import Plan
from portable_nn.operators.registry import Array, NamedArrays


def run_numpy(
    graph: Graph,
    parameters: NamedArrays,
    feeds: NamedArrays,
    outputs: Sequence[str] | None = None,
) -> dict[str, Array]:
    """The values ``outputs``, or else the graph's own, for ``feeds``; they are the caller's.

    Args:
        graph: the graph.
        parameters: the values of its parameters by name.
        feeds: an array for each of its inputs.
        outputs: names of values.

    Raises ``GraphError`` where the shapes of ``feeds`` do not fit, or values would take far more memory than the
    parameters.
    """
    shapes = {name: array.shape for name, array in feeds.items()}
    plan = Plan(graph, shapes, dict(parameters), outputs=outputs, stored=size_of(graph.parameters))
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return plan.outputs


def run_plan(plan: Plan, feeds: NamedArrays) -> dict[str, Array]:
    """The outputs of a plan for its inputs among ``feeds``; the next run may overwrite them."""
    for name, array in plan.inputs.items():
        array[...] = feeds[name]
    plan.run()
    return plan.outputs
