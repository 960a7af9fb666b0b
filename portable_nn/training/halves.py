"""A training step in two halves, side by side: each core computes the gradients of half of the batch.

Two threads with a product each are faster than one whose products take turns with everything else, as soon as there is
much else: in networks with convolutions. The loss must be a mean over examples that are independent of each other. The
numbers do not depend on the number of cores: with a single one, the halves are computed one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from portable_nn.engines.plan import Plan
from portable_nn.engines.threads import side_by_side
from portable_nn.operators import Array
from portable_nn.operators.linear.blas import single_threaded

SMALLEST: Final = 32
"""The smallest batch for which two halves are faster than a whole."""


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
            side_by_side(partial(self._run_half, 0), partial(self._run_half, 1))
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
