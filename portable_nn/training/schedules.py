"""Learning-rate schedules: factors of the learning rate as functions of the epoch, fractions of an epoch included."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.core.kinds import check_kinds

__all__ = ["CosineDecay", "ExponentialDecay", "StepDecay", "Warmup"]


Schedule: TypeAlias = Callable[[float, float], float]
"""``(epoch, epochs)`` → the factor of the learning rate; ``epoch`` is 0.0 at the first batch of all."""


@check_kinds
@dataclass(frozen=True)
class StepDecay:
    """factor^⌊epoch / every⌋.

    Args:
        every: the number of epochs between two steps.
        factor: the factor of each step.

    Raises ``UsageError`` where ``every`` is less than 1.
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every must be at least 1 epoch, not {self.every}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        return float(self.factor ** (int(epoch) // self.every))


@check_kinds
@dataclass(frozen=True)
class ExponentialDecay:
    """factor^epoch, in every batch.

    Args:
        factor: the factor of a whole epoch.
    """

    factor: float = 0.95

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        return float(self.factor**epoch)


@check_kinds
@dataclass(frozen=True)
class CosineDecay:
    """final + (1 - final)·(1 + cos(π·epoch / epochs)) / 2. Loshchilov and Hutter, "SGDR", ICLR 2017.

    Args:
        final: the factor at the end of the last epoch.
    """

    final: float = 0.0

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, epoch / epochs))) / 2


@check_kinds
@dataclass(frozen=True)
class Warmup:
    """A linear rise from 0 to 1, then another schedule over the remaining epochs.

    Args:
        length: the epochs of the rise, which may be a fraction.
        after: the schedule that follows, with its epochs counted from there; by default a constant 1.

    Raises ``UsageError`` where ``length`` is not more than 0.
    """

    length: float
    after: Schedule | None = None

    def __post_init__(self) -> None:
        if not self.length > 0:
            raise UsageError(f"length must be more than 0 epochs, not {self.length:g}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        if epoch < self.length:
            return epoch / self.length
        return self.after(epoch - self.length, epochs - self.length) if self.after else 1.0
