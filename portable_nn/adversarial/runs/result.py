"""The result of a simulation: the points and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.games.options import no_such
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.runs.fitting import fit
from portable_nn.adversarial.runs.judging import judge
from portable_nn.adversarial.runs.rates import Rates
from portable_nn.adversarial.runs.tracks import HORIZON, Run, Track
from portable_nn.adversarial.runs.verdict import SUCCESSES, WORDS, Verdict
from portable_nn.core.html import html_curve, html_of
from portable_nn.core.text import fields
from portable_nn.operators.registry import Array

OPERATIONS: Final = 35_000_000
"""The most operations on plain floats of a longer run for a verdict."""

FURTHER: Final = 12_000_000
"""The same for one that is made where that has not settled the verdict."""

ARRAY_STEPS: Final = {True: 48_000, False: 12_000}
"""The most gradients of a longer run for a verdict that is made with numpy, on a linear game and on others."""

LONG: Final = 25_000
"""A longer run has at least so many steps, as far as that is fast: Adam forgets its start in some thousands."""

COPIES: Final = 2
"""Copies of a longer run that are compared with it where it is irregular or noisy."""

MOST_RUNS: Final = 100
"""Of more runs at once no longer ones are made."""

RECORDED: Final = 400_000
"""At most about so many points of longer runs are kept, of all of them together."""

DRAWN: Final = 1000
"""At most so many points of a path are drawn in a notebook."""

WEIGHTS: Final = ("uniform", "linear", "rate")


@dataclass(frozen=True, eq=False)
class Result:
    """One run or many, in the manner of scipy's results.

    Attributes:
        game, method, options, rates: what was run.
        t: the steps that were recorded, (n,).
        z: the points there, (n, …, d); axes of learning rates come first, then those of starts.
        nfev, njev: evaluations of the gradients (of both players) and of the Jacobian, for one run.
        distance, residual: to the nearest equilibrium, and ‖F‖: (n, …); ``lengths`` is the former if it is known.
        rate: the measured convergence factor per step, (…).
        status: 0 converged, 1 converges, 2 cycles, 3 diverges, 4 overflows, 5 stays, 6 comes to a point with F = 0 that
            is no equilibrium, 7 fails, 8 not settled, (…); ``success`` is 0 or 1.
        message: the verdict in words.
        noise: the standard deviation of the noise on the gradients.
        failures: why runs have ended, by their place among all of them.
        again: makes the same run of another number of steps, of which it records every so many; a copy, 1, 2, …, has
            other noise, and a start that is hardly another.
        operations: those of a step on plain floats; ``None`` where the run was not made on them.
    """

    game: Game
    method: Method
    options: MethodOptions
    rates: Rates
    t: Array
    z: Array
    nfev: int
    njev: int
    noise: float = 0.0
    failures: Mapping[int, str] = field(default_factory=dict)
    again: Callable[[int, int, int], Result] | None = None
    operations: int | None = None

    def __repr__(self) -> str:
        runs = int(np.prod(self.z.shape[1:-1]))
        rows = [
            ("game", f"{self.game.name}: {self.game.title}" if self.game.name != self.game.title else self.game.title),
            ("method", self.method.name),
            ("steps", f"{int(self.t[-1]):,}" + (f", {runs:,} runs" if runs > 1 else "")),
            ("last iterate", f"({', '.join(f'{value:.6g}' for value in self.z[-1].ravel())})" if runs == 1 else ""),
            ("verdict", self.message),
        ]
        return fields(rows).rstrip("\n")

    def _repr_html_(self) -> str:
        """What a notebook shows: the same, and the path of a run of two numbers."""
        facts = html_of(self.__repr__)
        if self.z.ndim != 2 or self.z.shape[1] != 2:
            return facts
        shown = self.z[:: -(-len(self.z) // DRAWN)]
        return facts + html_curve(shown.tolist(), f"The path of {self.method.name} in the plane of x and y")

    @property
    def x(self) -> Array:
        """The variables of the maximising player: (n, …, variables of x)."""
        return np.asarray(self.z[..., : self.game.players[0]])

    @property
    def y(self) -> Array:
        """The variables of the minimising player: (n, …, variables of y)."""
        return np.asarray(self.z[..., self.game.players[0] :])

    @cached_property
    @np.errstate(all="ignore")
    def distance(self) -> Array:
        """The distance to the nearest equilibrium: (n, …); nan where none is known."""
        return self.game.distance(self.z)

    @cached_property
    @np.errstate(all="ignore")
    def residual(self) -> Array:
        """‖F‖, which is 0 at an equilibrium: (n, …)."""
        return norm(self.game.field(self.z))

    @property
    def lengths(self) -> Array:
        """The distance to the nearest equilibrium; ‖F‖ where none is known: (n, …)."""
        return self.distance if len(self.game.equilibria) else self.residual

    @cached_property
    def average(self) -> Array:
        """The average iterate, with uniform weights: as z."""
        return self.averaged("uniform")

    @np.errstate(all="ignore")
    def averaged(self, weights: str = "uniform") -> Array:
        """The average iterate with weights that are ``uniform``, ``linear`` (t + 1) or the learning ``rate``: as z."""
        if weights not in WEIGHTS:
            raise no_such("weighting", weights, WEIGHTS)
        factors = self.rates.factors.mean(axis=1)
        by_rate = factors[np.minimum(self.t, len(factors) - 1)]
        share = {"uniform": np.ones(len(self.t)), "linear": self.t + 1.0, "rate": by_rate}[weights]
        column = share.reshape(-1, *[1] * (self.z.ndim - 1))
        return np.asarray(np.cumsum(self.z * column, axis=0) / np.cumsum(column, axis=0))

    @cached_property
    @np.errstate(all="ignore")
    def verdicts(self) -> list[Verdict]:
        """The verdict on each run, in the order of the runs' axes.

        Where the eigenvalues do not decide, it is that of a longer run, which takes some tenths of a second, and an
        implicit one of four numbers a second or two.
        """
        return [self._judged(run) for run in range(int(np.prod(self.z.shape[1:-1])))]

    def _judged(self, run: int) -> Verdict:
        """The verdict by a longer run, and where that does not settle it, by the longest that is to be had."""
        found = judge(self._run(run, lambda: self.longer))
        if found.decided or self.operations is None or self.longest.t[-1] < 2 * self.longer.t[-1]:
            return found
        return judge(self._run(run, lambda: self.longest))

    def _run(self, run: int, longer: Callable[[], Result]) -> Run:
        bases = [part.ravel() for part in np.broadcast_arrays(*self.rates.base)]
        starts = int(np.prod(self.z.shape[1:-1])) // max(1, len(bases[0]))
        return Run(
            game=self.game,
            method=self.method,
            options=self.options,
            rates=self._rates([float(part[run // starts]) for part in bases]),
            later=None if self.rates.constant else self.rates.later,
            noise=self.noise,
            track=self._track(run),
            longer=lambda: longer()._track(run),
            copies=lambda: self._copies(longer()),
        )

    def _rates(self, base: list[float]) -> tuple[float, float]:
        """The rates of x and y, with the factor of a constant schedule."""
        factors = self.rates.factors[0].tolist() if self.rates.constant else (1.0, 1.0)
        return base[0] * factors[0], base[1] * factors[1]

    def _track(self, run: int) -> Track:
        points, lengths = self.z.reshape(len(self.t), -1, self.game.size), self.lengths.reshape(len(self.t), -1)
        return Track(self.t, points[:, run], lengths[:, run], self.failures.get(run))

    def _copies(self, long: Result) -> list[Track]:
        """Tracks of copies of a longer run, if it is made on plain floats and fast."""
        if self.operations is None or self.again is None or long is self:
            return []
        return [self.again(int(long.t[-1]), int(long.t[1]), copy)._track(0) for copy in range(1, COPIES + 1)]

    @property
    def _cost(self) -> int:
        """About how many gradients a step takes, each iteration of Newton's method counted."""
        return -(-(self.nfev + self.njev) // int(self.t[-1])) or 1

    @cached_property
    def longer(self) -> Result:
        """The same for ``HORIZON`` times as many steps or more, as far as that is fast; else this result itself."""
        most = OPERATIONS // max(1, self.operations) if self.operations else ARRAY_STEPS[self.game.linear] // self._cost
        return self._made_longer(min(max(HORIZON * int(self.t[-1]), LONG), most))

    @cached_property
    def longest(self) -> Result:
        """The same for as many steps as are worth their time where a longer run has not settled the verdict."""
        return self._made_longer(FURTHER // max(1, self.operations or FURTHER))

    @np.errstate(all="ignore")
    def _made_longer(self, wanted: int) -> Result:
        """The same for so many steps; this result itself where they are hardly more, or the runs are many."""
        runs = int(np.prod(self.z.shape[1:-1]))
        if wanted < 2 * int(self.t[-1]) or runs > MOST_RUNS or self.again is None:
            return self
        try:
            return self.again(wanted, (wanted * runs // RECORDED) | 1, 0)
        except Exception:  # A schedule that is a function of the user's need not know later steps.
            return self

    def _each(self, values: list[Any]) -> Any:
        """One value of each run: a number for one run, else (…)."""
        found = np.array(values).reshape(self.z.shape[1:-1])
        return found if found.ndim else found.item()

    @property
    def rate(self) -> Any:
        """The measured convergence factor per step: a number for one run, else (…)."""
        return self._each([verdict.factor for verdict in self.verdicts])

    @property
    def status(self) -> Any:
        """The status: a number for one run, else (…)."""
        return self._each([verdict.status for verdict in self.verdicts])

    @property
    def success(self) -> Any:
        """Whether it converges: a bool for one run, else (…)."""
        return self._each([verdict.status in SUCCESSES for verdict in self.verdicts])

    @property
    def message(self) -> str:
        """The verdict in words; for many runs, how many have which."""
        if len(self.verdicts) == 1:
            return self.verdicts[0].message
        words = [WORDS[verdict.status] for verdict in self.verdicts]
        counts = [f"{words.count(word):,} {word}" for word in dict.fromkeys(WORDS) if word in words]
        return f"of {len(words):,} runs: {', '.join(counts)}"


@np.errstate(all="ignore")
def fitted_rate(run: Any, *, equilibrium: object = 0.0, period: int = 1) -> Any:
    """The measured convergence factor per step of points (n, …, d), or of a ``Result``: a number for one run, else (…).

    Args:
        run: a result, which has its own equilibrium and period, or points, one after each step.
        equilibrium: what the points converge to.
        period: steps after which the update recurs, such as Lookahead's k.
    """
    if isinstance(run, Result):
        return run.rate
    points = np.asarray(run, dtype=float)
    if points.ndim == 1:
        points = points[:, None]
    offsets = points - np.asarray(equilibrium, dtype=float)
    flat = offsets.reshape(len(points), -1, points.shape[-1])
    found = np.array([fit(flat[:, run], period).factor for run in range(flat.shape[1])])
    return found.reshape(points.shape[1:-1]) if points.ndim > 2 else float(found[0])
