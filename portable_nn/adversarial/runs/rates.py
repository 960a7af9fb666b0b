"""Learning rates: a number, one for each player, many at once, and schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.adversarial.games.expressions import parse
from portable_nn.adversarial.games.options import no_such, rate_pair
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

RateSchedule: TypeAlias = Callable[[int], Any]
"""The learning rate at a step, from 0: a number, or a pair of them."""

LearningRate: TypeAlias = "float | tuple[Any, Any] | list[float] | Array | str | RateSchedule"

DECAYS: Final[Mapping[str, str]] = {
    "constant": "1",
    "1/sqrt(t)": "1/sqrt(t)",
    "1/t": "1/t",
    "1/t^2": "1/t**2",
    "log": "1/log(t + 1.718281828459045)",
}
"""Schedules by name: the factor of the learning rate at step t = 1, 2, …, as a formula."""

EXPECTED: Final = (
    "a number of at least 0, a pair (rate of x, rate of y), a list or array of rates, a formula of t such as "
    "'0.1/sqrt(t)', or a function of the step"
)


class Rates(NamedTuple):
    """Base rates of x and y (…), and ``factors`` of both: at each step (steps, 2), or constant (1, 2)."""

    base: tuple[Array, Array]
    factors: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The leading axes of the runs: those of an array of rates."""
        return np.broadcast_shapes(self.base[0].shape, self.base[1].shape)

    def column(self, player: int, steps: int) -> list[float]:
        """The rate of a player at each step of a single run."""
        found = np.broadcast_to(float(self.base[player]) * self.factors[:, player], steps)
        return [float(rate) for rate in found.tolist()]


def read_rates(rate: LearningRate, decay: str | RateSchedule | None, steps: int) -> Rates:
    """The rates of ``steps`` steps. Raises ``UsageError`` with what a rate can be."""
    if isinstance(decay, str) and decay not in DECAYS:
        raise no_such("decay", decay, DECAYS)
    factors = np.ones((1, 2)) if decay is None else _scheduled(decay, steps)
    if isinstance(rate, str) or callable(rate):
        return Rates((np.array(1.0), np.array(1.0)), _scheduled(rate, steps) * factors)
    pair = rate if isinstance(rate, tuple) else (rate, rate)
    if len(pair) != 2:
        raise _wrong(rate)
    first, second = (_numbers(part, rate) for part in pair)
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise UsageError(f"learning_rate has {first.size} rates of x and {second.size} of y: give as many") from None
    return Rates((first, second), factors)


def _wrong(rate: object) -> UsageError:
    return UsageError(f"learning_rate must be {EXPECTED}, not {rate!r}")


def _numbers(part: Any, rate: object) -> Array:
    try:
        found = np.array(part, dtype=float)
    except (TypeError, ValueError):
        raise _wrong(rate) from None
    if isinstance(part, (bool, str)) or not np.isfinite(found).all() or (found < 0).any() or not found.size:
        raise _wrong(rate)
    return found


def _scheduled(rate: str | RateSchedule, steps: int) -> Array:
    """The rates of x and y at each step, (steps, 2)."""
    factors = _formula(rate, steps) if isinstance(rate, str) else _called(rate, steps)
    wrong = ~(np.isfinite(factors) & (factors >= 0)).all(axis=1)
    if wrong.any():
        step = int(np.argmax(wrong))
        found = ", ".join(f"{factor:g}" for factor in dict.fromkeys(factors[step].tolist()))
        raise UsageError(f"learning_rate {rate!r} gives {found} at step {step}: it must be finite and at least 0")
    return factors


def _formula(text: str, steps: int) -> Array:
    expression = parse(DECAYS.get(text, text), "t")
    with np.errstate(all="ignore"):
        found = np.broadcast_to(expression.evaluate({"t": np.arange(1.0, steps + 1)}), steps)
    return np.repeat(np.asarray(found, dtype=float)[:, None], 2, axis=1)


def _called(schedule: RateSchedule, steps: int) -> Array:
    found = np.empty((steps, 2))
    for step in range(steps):
        value = schedule(step)
        pair = rate_pair(value)
        if pair is None:
            raise UsageError(f"learning_rate gives {value!r} at step {step}: the function must give a number or a pair")
        found[step] = pair
    return found
