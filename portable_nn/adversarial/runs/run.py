"""A run, and what is known of it, for the rules that say what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.runs.verdict import CONVERGES, ELSEWHERE, Verdict, factor_text
from portable_nn.adversarial.theory.forecast import near_equilibrium
from portable_nn.adversarial.theory.local import Modes, Pair, modes
from portable_nn.operators import Array

WINDOW: Final = 600
"""The number of the last points that are used."""

ORDERS: Final = 8
"""The largest order of a recurrence."""

FITS: Final = 1e-10
"""The largest relative residual of a recurrence that fits."""

SPREAD: Final = 24
"""Strides in a window: points of small steps are taken farther apart."""

SMALLEST: Final = 1e-280
"""Distances below this are subject to underflow."""

FEW: Final = 8
"""With fewer points than this, the factor is that from the first point to the last."""


class Fit(NamedTuple):
    """The factor from point to point; ``exact`` where it is the root of a recurrence that all points satisfy."""

    factor: float
    exact: bool


def fit(offsets: Array, period: int = 1, floor: float = 0.0) -> Fit:
    """The convergence factor of one run, from its points (n, d) relative to the equilibrium.

    A linear method on a linear game satisfies zₙ₊ₚ = c₀zₙ + … + cₚ₋₁zₙ₊ₚ₋₁ for some p, and the largest root of
    λᵖ - cₚ₋₁λᵖ⁻¹ - … is the factor (Prony's method): the smallest p that fits all points is taken, with points a
    multiple of ``period`` apart. If none fits, it is the mean factor from the largest distance in the third quarter of
    the run to that in the last. Points closer than ``floor`` are left out.
    """
    lengths = norm(offsets)
    usable = np.isfinite(lengths) & (lengths > max(floor, SMALLEST))
    end = len(usable) if usable.all() else int(np.argmin(usable))
    if end < 2:
        return Fit(np.nan, exact=False)
    points, sizes = offsets[max(0, end - WINDOW) : end], lengths[:end]
    stride = period * max(1, len(points) // (SPREAD * period))
    for order in range(1, ORDERS + 1):
        if len(points) - order * stride < max(3, 2 * order // points.shape[1] + 2):
            break
        found = _recurrence(points, order, stride)
        if found is not None:
            return Fit(found ** (1 / stride), exact=True)
    return Fit(_envelope(sizes), exact=False)


def _recurrence(points: Array, order: int, stride: int) -> float | None:
    """The largest root of the recurrence of that order; ``None`` if none fits."""
    rows = len(points) - order * stride
    columns = [points[place * stride : place * stride + rows] for place in range(order + 1)]
    scale = np.max([np.abs(column).max(-1) for column in columns], axis=0)[:, None]
    matrix = np.stack([(column / scale).ravel() for column in columns], axis=-1)
    before, after = matrix[:, :-1], matrix[:, -1]
    coefficients, *_ = np.linalg.lstsq(before, after, rcond=None)
    error = np.abs(before @ coefficients - after).max()
    if not error <= FITS * min(1.0, float(np.abs(after).max())):
        return None
    roots = np.roots([1.0, *(-coefficients[::-1])])
    return float(np.abs(roots).max()) if len(roots) else 0.0


def _envelope(sizes: Array) -> float:
    """The mean factor between the largest distances of the last two quarters; of few points, over all."""
    count = len(sizes)
    if count < FEW:
        return float((sizes[-1] / sizes[0]) ** (1 / (count - 1)))
    third, last = quarters(sizes)
    return float(np.exp((np.log(last) - np.log(third)) / (count // 4)))


def quarters(sizes: Array) -> tuple[float, float]:
    """The largest distance of the third and of the last quarter."""
    quarter = len(sizes) // 4
    return float(sizes[-2 * quarter : -quarter].max()), float(sizes[-quarter:].max())


ROUNDED: Final = 1e-13
"""Distances below this, relative to the norm of the equilibrium, are rounding errors."""


@dataclass(frozen=True)
class Run:
    """One run, and what is known of it.

    Attributes:
        game, method, options: what was run.
        rates: those of x and y at the first step, if they are the same at all; else their base.
        later: the factors (n, 2) of the rates at steps (n,) from 1; ``None`` for a constant rate.
        noise: its standard deviation.
        t, points, lengths: the steps (n,), the points there (n, d), and their distances (n,), or ‖F‖ if none is known.
        state: the vectors of the method after the last step, (k, d).
        further: gives the state after another number of steps.
        failure: why it has ended, if it has.
    """

    game: Game
    method: Method
    options: MethodOptions
    rates: Pair
    later: Callable[[Array], Array] | None
    noise: float
    t: Array
    points: Array
    lengths: Array
    state: Array
    further: Callable[[int], Array]
    failure: str | None = None

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.t[-1])

    @property
    def end(self) -> float:
        """The last distance."""
        return float(self.lengths[-1])

    @property
    def still(self) -> bool:
        """True if nothing about it is random."""
        return not self.noise and not self.game.sampled

    @property
    def exact(self) -> bool:
        """True if a step is a matrix, where the rate is constant."""
        return self.game.linear and self.method.has_operator and len(self.game.equilibria) > 0

    @cached_property
    def local(self) -> Game | None:
        """The game near its equilibrium where F is linear, without directions in which nothing moves."""
        return near_equilibrium(self.game) if self.game.linear else None

    @property
    def what(self) -> str:
        """The name of ``lengths``."""
        return "the distance" if len(self.game.equilibria) else "‖F‖"

    @cached_property
    def found(self) -> Fit:
        """The measured factor per step, from the points relative to the equilibrium nearest to the last of them."""
        period = self.method.period(self.options) if self.method.period else 1
        points, spacing = self.points, int(self.t[1] - self.t[0])
        if self.t[-1] - self.t[-2] != spacing:
            points = points[:-1]
        offsets, floor = self.game.field(points), 0.0
        if len(self.game.equilibria):
            last = points[np.isfinite(points).all(-1)][-1]
            nearest = self.game.equilibria[np.argmin(norm(self.game.equilibria - last))]
            offsets, floor = self.game.offset(points, nearest), ROUNDED * float(norm(nearest))
        found = fit(offsets, period // int(np.gcd(period, spacing)), floor)
        return Fit(found.factor ** (1 / spacing), found.exact)

    def says(
        self, status: int, basis: str, reason: str, text: str, low: float = float("nan"), high: float = float("nan")
    ) -> Verdict:
        """A verdict with the measured factor; it says if the point that the distance is from is no equilibrium."""
        known = self.game.equilibria
        if status != ELSEWHERE and len(known) == 1 and not (kind := kind_of(self.game, known[0])).is_equilibrium:
            text = f"{text}; {in_words(known[0])}, where F = 0, is {kind}"
        return Verdict(status, basis, reason, text, self.found.factor, self.found.exact, low, high)

    def multiplied(self, factor: float) -> str:
        """That each step multiplies the distance by a factor of theory, as measured where that has more digits."""
        measured = self.found.exact and abs(self.found.factor - factor) < 1e-7
        return f"{self.what} is multiplied by {factor_text(self.found.factor if measured else factor)} per step"

    def converging(self, basis: str, reason: str, text: str, point: Array) -> Verdict:
        """It goes to a point with F = 0, which may be no equilibrium."""
        kind = kind_of(self.game, point)
        if not kind.is_equilibrium:
            text = f"it converges to {in_words(point)}, where F = 0, but {kind.words}"
            return self.says(ELSEWHERE, basis, reason, text)
        return self.says(CONVERGES, basis, reason, f"{text}, {kind.words}" if kind.x_gains else text)

    def modes(self) -> Modes | None:
        """The modes from the start at the first rates."""
        return modes(self.method, self.game, self.rates, self.options, self.points[0] - self.game.equilibria[0])

    @property
    def share(self) -> Pair:
        """Both rates as shares of the larger one."""
        top = max(self.rates) or 1.0
        return self.rates[0] / top, self.rates[1] / top

    def rate(self, t: Array) -> Array:
        """The larger rate at steps t. Raises ``LookupError`` where x and y have schedules of their own."""
        assert self.later is not None
        factors = self.later(t)
        if not np.array_equal(factors[:, 0], factors[:, 1]):
            raise LookupError("x and y have schedules of their own")
        return np.asarray(factors[:, 0] * max(self.rates))


def in_words(point: Array) -> str:
    """(0.6, 0.7)."""
    return "(" + ", ".join(f"{value:.6g}" for value in point.tolist()) + ")"
