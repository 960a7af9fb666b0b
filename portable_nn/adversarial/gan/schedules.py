"""What changes as training goes on: the learning rate, and the weight of a penalty."""

from __future__ import annotations

from dataclasses import dataclass

from portable_nn.core.errors import UsageError
from portable_nn.training.schedules import Schedule


@dataclass(frozen=True)
class Fall:
    """``start`` for the share ``begin`` of the training, then by one factor a step to ``end`` at the share ``until``.

    A ``Schedule``, whose epochs are the steps of ``train_gan``: of the learning rate, a factor; of a
    penalty, its weight.
    """

    start: float
    end: float
    begin: float = 0.0
    until: float = 1.0

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be more than 0, not {getattr(self, name):g}")
        if not 0 <= self.begin < self.until <= 1:
            raise UsageError(
                f"begin and until are shares of the training, 0 <= begin < until <= 1, not {self.begin:g} and "
                f"{self.until:g}"
            )

    def part(self, epoch: float, epochs: float) -> float:
        """How much of the fall is done: 0 up to ``begin``, 1 from ``until`` on."""
        return min(1.0, max(0.0, (epoch / epochs - self.begin) / (self.until - self.begin)))

    def __call__(self, epoch: float, epochs: float) -> float:
        """start·(end / start)^part."""
        return float(self.start * (self.end / self.start) ** self.part(epoch, epochs))


@dataclass(frozen=True)
class LinearFall(Fall):
    """As ``Fall``, but along a straight line."""

    def __call__(self, epoch: float, epochs: float) -> float:
        """start + (end - start)·part."""
        return self.start + (self.end - self.start) * self.part(epoch, epochs)


def value_at(quantity: float | Schedule | None, step: int, steps: int) -> float:
    """A number as it is, or what a schedule gives; 0 for ``None``."""
    if quantity is None:
        return 0.0
    return float(quantity(step, steps)) if callable(quantity) else float(quantity)
