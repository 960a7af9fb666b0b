"""Learning-rate schedules: factors of the learning rate as functions of the epoch, fractions of an epoch included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.core.kinds import check_kinds
from portable_nn.training.options import check_number, sign_of

__all__ = ["CosineDecay", "ExponentialDecay", "OneCycle", "ReduceOnPlateau", "StepDecay", "Warmup"]


Schedule: TypeAlias = Callable[[float, float], float]
"""``(epoch, epochs)`` → the factor of the learning rate; ``epoch`` is 0.0 at the first batch of all."""


def _cosine(first: float, last: float, share: float) -> float:
    """From ``first``, where ``share`` is 0, to ``last``, where it is 1, along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, share))) / 2


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
        return _cosine(1.0, self.final, epoch / epochs)


@check_kinds
@dataclass(frozen=True)
class OneCycle:
    """Up along half a cosine to the learning rate of the optimizer, then down along another. Smith, arXiv:1708.07120.

    Args:
        start: the factor at the beginning.
        rise: the share of the epochs in which it rises, more than 0 and less than 1.
        final: the factor at the end.

    The defaults are those of PyTorch. Momentum stays as it is.

    Raises ``UsageError`` for an option out of its range.
    """

    start: float = 1 / 25
    rise: float = 0.3
    final: float = 1 / 250_000

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("final", self.final)):
            check_number(name, value, 0)
        if not 0 < self.rise < 1:
            raise UsageError(f"rise must be more than 0 and less than 1, not {self.rise:g}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        share = epoch / epochs
        if share < self.rise:
            return _cosine(self.start, 1.0, share / self.rise)
        return _cosine(1.0, self.final, (share - self.rise) / (1 - self.rise))


@check_kinds
@dataclass(frozen=True)
class Warmup:
    """A linear rise to 1, then another schedule over the remaining epochs.

    Args:
        length: the epochs of the rise, which may be a fraction.
        after: the schedule that follows, with its epochs counted from there; by default a constant 1. A
            ``ReduceOnPlateau`` watches the epochs that begin after the rise.
        start: the factor at the beginning, from 0 to 1. With 0, the first batch of all changes nothing.

    Raises ``UsageError`` where ``length`` is not more than 0, or ``start`` out of its range.
    """

    length: float
    after: Schedule | ReduceOnPlateau | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        if not self.length > 0:
            raise UsageError(f"length must be more than 0 epochs, not {self.length:g}")
        if not 0 <= self.start <= 1:
            raise UsageError(f"start must be from 0 to 1, not {self.start:g}")

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        if epoch < self.length:
            return self.start + (1 - self.start) * (epoch / self.length)
        if isinstance(self.after, ReduceOnPlateau):
            raise UsageError("a warm-up before ReduceOnPlateau has factors in fit alone, which knows what is watched")
        return self.after(epoch - self.length, epochs - self.length) if self.after else 1.0


@check_kinds
@dataclass(frozen=True)
class ReduceOnPlateau:
    """Multiply the learning rate by ``factor`` when ``monitor`` has not improved for ``patience`` epochs.

    Args:
        patience: after how many epochs without an improvement.
        factor: the factor of each reduction, more than 0 and less than 1.
        monitor: a column of the history: smaller is better where its name ends in ``loss`` or ``error``, larger
            otherwise.
        min_delta: by how much a value must be better to count as an improvement.
        cooldown: the epochs after a reduction that are not counted.
        smallest: the least factor of all reductions together.

    Raises ``UsageError`` for an option out of its range.
    """

    patience: int = 5
    factor: float = 0.1
    monitor: str = "val_loss"
    min_delta: float = 0.0
    cooldown: int = 0
    smallest: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise UsageError(f"patience must be at least 1 epoch, not {self.patience}")
        if not 0 < self.factor < 1:
            raise UsageError(f"factor must be more than 0 and less than 1, not {self.factor:g}")
        for name in ("min_delta", "cooldown", "smallest"):
            check_number(name, getattr(self, name), 0)

    def after(self, rows: Iterable[Mapping[str, float]]) -> float:
        """The factor of the learning rate after the epochs of ``rows``: all of them decide, and nothing else."""
        best, waited, cooling, factor = math.inf, 0, 0, 1.0
        for row in rows:
            value = sign_of(self.monitor) * row[self.monitor]
            if value < best - self.min_delta:
                best, waited = value, 0
            else:
                waited += 1
            if cooling:
                cooling, waited = cooling - 1, 0
            if waited >= self.patience:
                factor, cooling, waited = max(factor * self.factor, self.smallest), self.cooldown, 0
        return factor


def watched(schedule: Schedule | ReduceOnPlateau | None) -> ReduceOnPlateau | None:
    """The part of a schedule that watches a column of the history."""
    while isinstance(schedule, Warmup):
        schedule = schedule.after
    return schedule if isinstance(schedule, ReduceOnPlateau) else None


def settled(schedule: Schedule | ReduceOnPlateau | None, rows: Sequence[Mapping[str, float]]) -> Schedule | None:
    """The schedule of the epoch after those of ``rows``: what watches them has become a number."""
    if isinstance(schedule, ReduceOnPlateau):
        factor = schedule.after(rows)
        return lambda epoch, epochs: factor
    if isinstance(schedule, Warmup):
        return replace(schedule, after=settled(schedule.after, rows[math.ceil(schedule.length) :]))
    return schedule
