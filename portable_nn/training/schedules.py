"""Learning-rate schedules: what the learning rate is multiplied by, from epoch 0.0 on, in fractions of an epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from portable_nn.core.errors import UsageError

__all__ = ["CosineDecay", "ExponentialDecay", "StepDecay", "Warmup"]


class Schedule(Protocol):
    """The factor of the learning rate at ``epoch`` (0.0 at the first batch) of ``epochs``."""

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""


@dataclass(frozen=True)
class StepDecay:
    """Multiply by ``factor`` after every ``every`` epochs."""

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every must be at least 1 epoch, not {self.every}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """factor^⌊epoch / every⌋."""
        return float(self.factor ** (int(epoch) // self.every))


@dataclass(frozen=True)
class ExponentialDecay:
    """Multiply by ``factor`` over each epoch, smoothly."""

    factor: float = 0.95

    def __call__(self, epoch: float, epochs: float) -> float:
        """factor^epoch."""
        return float(self.factor**epoch)


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from 1 down to ``final`` at the last epoch. Loshchilov and Hutter, "SGDR", ICLR 2017."""

    final: float = 0.0

    def __call__(self, epoch: float, epochs: float) -> float:
        """final + (1 - final)·(1 + cos(π·epoch / epochs)) / 2."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(1.0, epoch / epochs))) / 2


@dataclass(frozen=True)
class Warmup:
    """Rise linearly from 0 over the first ``length`` epochs, then follow ``after`` over those that are left."""

    length: float
    after: Schedule | None = None

    def __post_init__(self) -> None:
        if not self.length > 0:
            raise UsageError(f"length must be more than 0 epochs, not {self.length:g}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """epoch / length, then ``after`` counted from there."""
        if epoch < self.length:
            return epoch / self.length
        return self.after(epoch - self.length, epochs - self.length) if self.after else 1.0
