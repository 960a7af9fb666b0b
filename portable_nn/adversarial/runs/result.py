"""The result of a simulation: the points and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.games.options import no_such
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.runs.fitting import fit
from portable_nn.adversarial.runs.rates import Rates
from portable_nn.adversarial.runs.verdict import CONVERGES, WORDS, Verdict, judge
from portable_nn.core.text import fields
from portable_nn.operators.registry import Array

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
        status: 0 converged, 1 converges, 2 cycles, 3 diverges, 4 overflows, (…); ``success`` is 0 or 1.
        message: the verdict in words.
    """

    game: Game
    method: Method
    options: MethodOptions
    rates: Rates
    t: Array
    z: Array
    nfev: int
    njev: int

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
        """The verdict on each run, in the order of the runs' axes."""
        points, lengths = self.z.reshape(len(self.t), -1, self.game.size), self.lengths.reshape(len(self.t), -1)
        period = self.method.period(self.options) if self.method.period else 1
        return [judge(self.game, self.t, points[:, run], lengths[:, run], period) for run in range(points.shape[1])]

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
        """0 converged, 1 converges, 2 cycles, 3 diverges, 4 overflows: a number for one run, else (…)."""
        return self._each([verdict.status for verdict in self.verdicts])

    @property
    def success(self) -> Any:
        """Whether it converges: a bool for one run, else (…)."""
        return self._each([verdict.status <= CONVERGES for verdict in self.verdicts])

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
