"""Schedules of learning rates and of the weights of penalties."""

from __future__ import annotations

from dataclasses import dataclass

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import Positive
from portable_nn.training.schedules import Schedule


@check_kinds
@dataclass(frozen=True)
class Fall:
    """Geometric decay from ``start`` to ``end``, between the fractions ``begin`` and ``until`` of the training.

    It is constant before and after. A ``Schedule``, whose epochs are the steps of ``train_gan``: the factor of a
    learning rate, or the weight of a penalty.
    """

    start: Positive
    end: Positive
    begin: float = 0.0
    until: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.until <= 1:
            raise UsageError(
                f"begin and until are shares of the training, 0 <= begin < until <= 1, not {self.begin:g} and "
                f"{self.until:g}"
            )

    def part(self, epoch: float, epochs: float) -> float:
        """The progress of the decay: 0 up to ``begin``, 1 from ``until`` on."""
        return min(1.0, max(0.0, (epoch / epochs - self.begin) / (self.until - self.begin)))

    def __call__(self, epoch: float, epochs: float) -> float:
        """start·(end / start)^part."""
        return float(self.start * (self.end / self.start) ** self.part(epoch, epochs))


@check_kinds
@dataclass(frozen=True)
class LinearFall(Fall):
    """As ``Fall``, but linear."""

    def __call__(self, epoch: float, epochs: float) -> float:
        """start + (end - start)·part."""
        return self.start + (self.end - self.start) * self.part(epoch, epochs)


def value_at(quantity: float | Schedule | None, step: int, steps: int) -> float:
    """A number, or the value of a schedule; 0 for ``None``."""
    if quantity is None:
        return 0.0
    return float(quantity(step, steps)) if callable(quantity) else float(quantity)
