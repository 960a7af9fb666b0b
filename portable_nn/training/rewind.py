"""The way back to the weights before a step that broke them: a copy now and then, and the steps since, taken again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from portable_nn.core.tensors import is_finite
from portable_nn.operators import Array
from portable_nn.training.sources import Batch
from portable_nn.training.state import State
from portable_nn.training.step import TrainingStep

EVERY: Final = 64
"""The most steps between two copies."""

LARGE: Final = 2**20
"""Arrays of a batch of more bytes are not kept beside those of another: such a step takes longer than a copy."""


class Rewind:
    """Takes back the steps of a training that made a loss or a weight NaN or infinite.

    Args:
        step: the step, and the arrays that it changes.
        state: the state of the training.
        take: takes a step on batches with a factor of the learning rate.
    """

    def __init__(self, step: TrainingStep, state: State, take: Callable[[Sequence[Batch], float], object]) -> None:
        self.state, self.take, self.changed = state, take, step.changed
        self._steps: list[tuple[Sequence[Batch], float]] = []

    @property
    def is_finite(self) -> bool:
        """True if all weights and running statistics that a step changes are numbers."""
        parameters = self.state.network.parameters
        return all(is_finite(parameters[name]) for name in self.changed if name in parameters)

    def begin(self) -> None:
        """Forget the steps so far: an epoch begins."""
        self._steps.clear()

    def keep(self, batches: Sequence[Batch], factor: float) -> None:
        """Remember the step that is about to be taken."""
        if not self._steps or len(self._steps) == EVERY or self._is_large(batches[-1]):
            self._steps.clear()
            self._copy()
        self._steps.append((batches, factor))

    def undo(self) -> None:
        """Put the weights back before the last step, or before one earlier since which they are no numbers."""
        if self._steps:
            self._put_back()
        for batches, factor in self._steps[:-1]:
            self._copy()
            self.take(batches, factor)
            if not self.is_finite:
                self._put_back()
                break

    def _is_large(self, batch: Batch) -> bool:
        arrays, last = batch[1], self._steps[-1][0][-1][1]
        return arrays is not last and sum(array.nbytes for array in arrays.values()) > LARGE

    def _copy(self) -> None:
        self._number, self._generator = self.state.step, self.state.network.rng.bit_generator.state
        self._arrays: dict[str, Array] = {name: array.copy() for name, array in self.changed.items()}

    def _put_back(self) -> None:
        self.state.step, self.state.network.rng.bit_generator.state = self._number, self._generator
        for name, array in self._arrays.items():
            self.changed[name][...] = array
