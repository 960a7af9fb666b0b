"""Learning rates: a number, one for each player, many at once, and schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.adversarial.games.expressions import parse
from portable_nn.adversarial.games.options import no_such, rate_pair
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array

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
    """Base rates of x and y (…), and ``factors`` of both: at each step (steps, 2), or constant (1, 2).

    ``later`` gives the factors (n, 2) at any other steps t (n,), counted from 1. It raises ``LookupError`` where a
    function gives them, of whose later values nothing is known.
    """

    base: tuple[Array, Array]
    factors: Array
    later: Callable[[Array], Array] = lambda t: np.ones((len(t), 2))

    @property
    def constant(self) -> bool:
        """True if the rates are the same at each step."""
        return len(self.factors) == 1

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
    schedules = [given for given in (decay, rate) if isinstance(given, str) or callable(given)]
    factors = np.ones((1, 2))
    for given in schedules:
        factors = factors * _scheduled(given, np.arange(1.0, 2 if _is_constant(given) else steps + 1))

    def later(t: Array) -> Array:
        found = np.ones((len(t), 2))
        for given in schedules:
            if callable(given):
                raise LookupError("a function of the user's")
            found = found * _scheduled(given, t)
        return found

    if isinstance(rate, str) or callable(rate):
        return Rates((np.array(1.0), np.array(1.0)), factors, later)
    pair = rate if isinstance(rate, tuple) else (rate, rate)
    if len(pair) != 2:
        raise _wrong(rate)
    first, second = (_numbers(part, rate) for part in pair)
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise UsageError(f"learning_rate has {first.size} rates of x and {second.size} of y: give as many") from None
    return Rates((first, second), factors, later)


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


def _scheduled(rate: str | RateSchedule, t: Array) -> Array:
    """The rates of x and y at steps t (n,), from 1: (n, 2)."""
    factors = _formula(rate, t) if isinstance(rate, str) else _called(rate, t)
    wrong = ~(np.isfinite(factors) & (factors >= 0)).all(axis=1)
    if wrong.any():
        place = int(np.argmax(wrong))
        found = ", ".join(f"{factor:g}" for factor in dict.fromkeys(factors[place].tolist()))
        raise UsageError(
            f"learning_rate {rate!r} gives {found} at step {int(t[place]) - 1}: it must be finite and at least 0"
        )
    return factors


def _is_constant(schedule: str | RateSchedule) -> bool:
    """True if a schedule is a formula without t."""
    return isinstance(schedule, str) and not parse(DECAYS.get(schedule, schedule), "t").names


def _formula(text: str, t: Array) -> Array:
    expression = parse(DECAYS.get(text, text), "t")
    with np.errstate(all="ignore"):
        found = np.broadcast_to(expression.evaluate({"t": t}), len(t))
    return np.repeat(np.asarray(found, dtype=float)[:, None], 2, axis=1)


def _called(schedule: RateSchedule, t: Array) -> Array:
    found = np.empty((len(t), 2))
    for place, step in enumerate((t - 1).astype(int).tolist()):
        value = schedule(step)
        pair = rate_pair(value)
        if pair is None:
            raise UsageError(f"learning_rate gives {value!r} at step {step}: the function must give a number or a pair")
        found[place] = pair
    return found
