"""Numeric options of games and methods, checked, and the errors for unknown names and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.text import suggestion
from portable_nn.operators import Array

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """A numeric option of a game or method: its default, what it means, and its range.

    Where the default is ``None``, ``meaning`` says what it is. ``whole``: integers only.
    """

    default: float | None
    meaning: str
    low: float = -np.inf
    high: float = np.inf
    whole: bool = False

    def check(self, name: str, value: object) -> float:
        """``value`` as a number. Raises ``UsageError`` with the range."""
        number = as_number(value)
        fits = number is not None and self.low <= number <= self.high and not (self.whole and number % 1)
        if number is None or not fits:
            raise UsageError(f"{name} must be {self.limits()}, not {value!r}")
        return number

    def limits(self) -> str:
        """The range in words."""
        kind = "a whole number" if self.whole else "a number"
        if np.isfinite(self.low) and np.isfinite(self.high):
            return f"{kind} from {self.low:g} to {self.high:g}"
        return f"{kind} of at least {self.low:g}" if np.isfinite(self.low) else kind


def as_number(value: object) -> float | None:
    """``value`` as a float if it is a finite number, else ``None``."""
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)):
        return None
    return float(value) if np.isfinite(value) else None


def rate_pair(rate: object) -> tuple[float, float] | None:
    """The learning rates of x and of y, from one number or a pair; ``None`` for anything else."""
    numbers = [as_number(part) for part in (rate if isinstance(rate, tuple) else (rate, rate))]
    found = [number for number in numbers if number is not None]
    return (found[0], found[1]) if len(found) == len(numbers) == 2 else None


def find(what: str, name: object, known: Mapping[str, T]) -> T:
    """The entry of that name. Raises ``UsageError`` that says which names there are."""
    if name not in known:
        raise UsageError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    return known[str(name)]


def no_such(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a name that is none of ``known``."""
    names = list(known)
    meant = suggestion(str(name), names)
    return UsageError(f"there is no {kind} {name!r}: {meant}{' ' * bool(meant)}there are {', '.join(names)}")


def filled(owner: str, given: dict[str, object], known: dict[str, Option], hint: str = "") -> dict[str, float | None]:
    """All options of a game or method: those ``given``, checked, and defaults. Raises ``UsageError``, with a hint."""
    for name in given:
        if name not in known:
            allowed = ", ".join(f"{key} ({option.default})" for key, option in known.items())
            raise UsageError(f"{owner} has no option '{name}': it has {allowed or 'none'}{hint.format(name)}")
    checked = {name: known[name].check(name, value) for name, value in given.items() if value is not None}
    return {name: option.default for name, option in known.items()} | checked


def finite_array(name: str, value: object, wanted: str) -> Array:
    """``value`` as an array of finite floats. Raises ``UsageError`` with what is ``wanted``."""
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be {wanted}, not {value!r}") from None
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        where = f" at {tuple(place)}" if place else ""
        raise UsageError(f"{name} must be finite: it is {array[tuple(place)]}{where}")
    return array
