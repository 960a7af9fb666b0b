"""A training step in two halves, side by side: each core computes the gradients of half of the batch.

Two threads with a product each are faster than one whose products take turns with everything else, as soon as there is
much else: in networks with convolutions. The loss must be a mean over examples that are independent of each other. The
numbers do not depend on the number of cores: with a single one, the halves are computed one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np

from portable_nn.core.graph import Graph, Node
from portable_nn.engines.plan import Plan
from portable_nn.operators import Array, infer, lookup, window_kind
from portable_nn.operators.linear.blas import single_threaded

SMALLEST: Final = 32
"""The smallest batch for which two halves are faster than a whole."""


def keeps_examples_apart(graph: Graph) -> bool:
    """Whether the examples are computed independently of each other, and the graph has a convolution."""
    firsts = {value.shape[:1] for value in graph.inputs}
    if len(firsts) != 1 or not all(isinstance(dim, str) for dim in next(iter(firsts))):
        return False
    batch, types = next(iter(firsts)), infer(graph).types
    carriers = {value.name for value in graph.inputs}
    for node in graph.nodes:
        if carriers.isdisjoint(node.inputs):
            continue
        if not _is_apart(node, carriers) or any(types[name].shape[:1] != batch for name in node.outputs if name):
            return False
        carriers.update(node.outputs)
    return any(window_kind(node.operator, node.domain) in {"conv", "convt"} for node in graph.nodes)


def _is_apart(node: Node, carriers: set[str]) -> bool:
    """Whether a node computes each example by itself, where values in ``carriers`` have the batch as first axis."""
    operator = lookup(node.operator, node.domain)
    if operator.elementwise or operator.batch_inputs == "all":
        return True
    alone = operator.batch_inputs == "first" and carriers.isdisjoint(node.inputs[1:])
    return alone and not node.attributes.get("transA")


class Halves:
    """The plans of both halves of a batch, and one that makes the step from their outputs; used as a ``Plan`` is.

    ``loss`` is the output of the first two that is averaged; all other outputs of theirs are read by the last one.
    """

    def __init__(self, halves: Sequence[Plan], update: Plan, loss: str) -> None:
        self._halves, self._update, self._loss = halves, update, loss
        self.inputs: dict[str, Array] = {}
        for name, half in halves[0].inputs.items():
            shape = (2 * len(half), *half.shape[1:]) if half.ndim else ()
            self.inputs[name] = np.zeros(shape, half.dtype)
        self.outputs = {loss: halves[0].outputs[loss].copy()}

    def run(self) -> None:
        """Compute the mean loss, and write the updates."""
        with single_threaded():
            if _cores() > 1:
                other = _worker(os.getpid()).submit(self._run_half, 1)
                try:
                    self._run_half(0)
                finally:
                    other.result()
            else:
                self._run_half(0)
                self._run_half(1)
        for name, array in self._update.inputs.items():
            np.copyto(array, self.inputs[name])
        self._update.run()
        one, two = (half.outputs[self._loss] for half in self._halves)
        self.outputs[self._loss][...] = (one + two) / 2

    def _run_half(self, which: int) -> None:
        plan = self._halves[which]
        for name, array in plan.inputs.items():
            whole = self.inputs[name]
            np.copyto(array, whole[which * len(array) : (which + 1) * len(array)] if array.ndim else whole)
        plan.run()


@cache
def _worker(process: int) -> ThreadPoolExecutor:
    """The second thread of ``process``: a forked process does not have that of its parent."""
    return ThreadPoolExecutor(1, f"portable-nn half of {process}")


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
