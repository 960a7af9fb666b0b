"""Learning-rate schedules: factors of the learning rate as functions of the epoch, fractions of an epoch included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import Between, Count, Natural, NonNegative, Positive, Share
from portable_nn.training.history_columns import sign_of

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

    Raises ``UsageError`` for an option out of its range.
    """

    every: Count
    factor: Positive = 0.1

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        return float(self.factor ** (int(epoch) // self.every))


@check_kinds
@dataclass(frozen=True)
class ExponentialDecay:
    """factor^epoch, in every batch.

    Args:
        factor: the factor of a whole epoch.

    Raises ``UsageError`` for a factor that is not more than 0.
    """

    factor: Positive = 0.95

    def __call__(self, epoch: float, epochs: float) -> float:
        """The factor."""
        return float(self.factor**epoch)


@check_kinds
@dataclass(frozen=True)
class CosineDecay:
    """final + (1 - final)·(1 + cos(π·epoch / epochs)) / 2. Loshchilov and Hutter, "SGDR", ICLR 2017.

    Args:
        final: the factor at the end of the last epoch, at least 0.

    Raises ``UsageError`` for any other ``final``.
    """

    final: NonNegative = 0.0

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

    start: NonNegative = 1 / 25
    rise: Between = 0.3
    final: NonNegative = 1 / 250_000

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

    length: Positive
    after: Schedule | ReduceOnPlateau | None = None
    start: Share = 0.0

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

    patience: Count = 5
    factor: Between = 0.1
    monitor: str = "val_loss"
    min_delta: NonNegative = 0.0
    cooldown: Natural = 0
    smallest: Share = 0.0

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
