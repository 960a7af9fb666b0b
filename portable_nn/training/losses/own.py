"""Losses that are functions of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from portable_nn.core.dims import may_be_equal
from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol
from portable_nn.training.losses.base import Built, Loss, mean

Function: TypeAlias = Callable[[Symbol, Symbol], Symbol]
"""``(output, target)`` → the loss of each example or entry, or one number: symbols."""


@dataclass(frozen=True)
class OwnLoss(Loss):
    """A function of the user's own."""

    function: Function

    @property
    def name(self) -> str:
        """``function module.name``."""
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return f"function {named.__module__}.{named.__qualname__}"

    def __str__(self) -> str:
        return self.name

    @property
    def is_apart(self) -> bool:
        """Nobody knows."""
        return False

    def build(self, output: Symbol, target: Symbol, weight: Symbol | None = None) -> Built:
        """The value of the function: a number, or a loss for each example that is averaged. Raises ``UsageError``."""
        found = self.function(output, target)
        what = f"the loss {self.name.removeprefix('function ')}"
        if not isinstance(found, Symbol):
            raise UsageError(
                f"{what} must return a symbol, not {found!r}: it computes with symbols, as emit makes them"
            )
        if found.dtype != output.dtype:
            raise UsageError(f"{what} is {found.dtype}, but the output {output.dtype}: emit('Cast', …) converts")
        if not found.shape:
            if weight is not None:
                raise UsageError(f"{what} is one number: with weights of the examples it must be one for each of them")
            return Built(found)
        if found.shape[0] != output.shape[0]:
            raise UsageError(
                f"{what} has the shape {found.type}: it must have a loss for each example, {output.shape[0]} first, or "
                f"be one number; the output is {output.type}, the target {target.type}"
            )
        if weight is not None and not may_be_equal(found.shape[: len(weight.shape)], weight.shape):
            raise UsageError(f"{what} is {found.type}, and the weights are {weight.type}: a weight for each is needed")
        return Built(mean(found, weight))
