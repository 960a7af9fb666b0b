"""What a simulation gives: the points, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.choices import no_such
from portable_nn.adversarial.game import Game, norm
from portable_nn.adversarial.methods import Method, Options
from portable_nn.adversarial.rates import Rates
from portable_nn.adversarial.verdict import CONVERGES, WORDS, Verdict, judge
from portable_nn.operators.registry import Array

WEIGHTS: Final = ("uniform", "linear", "rate")


@dataclass(frozen=True, eq=False)
class Result:
    """A run, or many at once, in the manner of scipy's results.

    ``t`` (n,) are the numbers of the steps that were kept and ``z`` (n, …, d) the points then: the axes of many rates
    come first, then those of many starts. ``nfev`` and ``njev`` count gradients (of both players) and Jacobians of
    one run. Of each run there are ``distance`` to the nearest equilibrium and ``residual`` ‖F‖ (n, …), ``rate``, the
    factor that was measured of the distance a step (…), ``status`` (…), ``success`` where it is 0 (converged) or 1
    (converges), and ``message``, the verdict in words; 2 is circles, 3 diverges, 4 diverges beyond the largest number.
    """

    game: Game
    method: Method
    options: Options
    rates: Rates
    t: Array
    z: Array
    nfev: int
    njev: int

    @property
    def x(self) -> Array:
        """The numbers of the player who maximises: (n, …, numbers of x)."""
        return np.asarray(self.z[..., : self.game.players[0]])

    @property
    def y(self) -> Array:
        """The numbers of the player who minimises: (n, …, numbers of y)."""
        return np.asarray(self.z[..., self.game.players[0] :])

    @cached_property
    def distance(self) -> Array:
        """How far from the nearest equilibrium: (n, …); where none is known, not a number."""
        return self._quiet(self.game.distance, self.z)

    @cached_property
    def residual(self) -> Array:
        """‖F‖, which is 0 in an equilibrium: (n, …)."""
        return self._quiet(lambda z: norm(self.game.field(z)), self.z)

    @cached_property
    def average(self) -> Array:
        """The mean of all points so far, each with the same weight: as z."""
        return self.averaged("uniform")

    def averaged(self, weights: str = "uniform") -> Array:
        """The mean of the kept points so far, as z: ``uniform``, ``linear`` (t + 1), or by the learning ``rate``."""
        if weights not in WEIGHTS:
            raise no_such("weighting", weights, WEIGHTS)
        factors = self.rates.factors.mean(axis=1)
        by_rate = factors[np.minimum(self.t, len(factors) - 1)]
        share = {"uniform": np.ones(len(self.t)), "linear": self.t + 1.0, "rate": by_rate}[weights]
        column = share.reshape(-1, *[1] * (self.z.ndim - 1))
        return self._quiet(lambda z: np.cumsum(z * column, axis=0) / np.cumsum(column, axis=0), self.z)

    def _quiet(self, compute: Callable[[Array], Any], points: Array) -> Array:
        """The result of a computation in which overflow is nothing to warn of."""
        with np.errstate(all="ignore"):
            return np.asarray(compute(points))

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdict on each run, in the order of the runs' axes."""
        measure = self.distance if len(self.game.equilibria) else self.residual
        points, lengths = self.z.reshape(len(self.t), -1, self.game.size), measure.reshape(len(self.t), -1)
        period = self.method.period(self.options) if self.method.period else 1
        with np.errstate(all="ignore"):
            return [judge(self.game, self.t, points[:, run], lengths[:, run], period) for run in range(points.shape[1])]

    def _each(self, values: list[Any]) -> Any:
        """One value of each run: a number for one run, else (…)."""
        found = np.array(values).reshape(self.z.shape[1:-1])
        return found if found.ndim else found.item()

    @property
    def rate(self) -> Any:
        """The factor of the distance a step that was measured: a number for one run, else (…)."""
        return self._each([verdict.factor for verdict in self.verdicts])

    @property
    def status(self) -> Any:
        """0 converged, 1 converges, 2 circles, 3 diverges, 4 diverges beyond the largest number."""
        return self._each([verdict.status for verdict in self.verdicts])

    @property
    def success(self) -> Any:
        """Whether it comes to an equilibrium."""
        return self._each([verdict.status <= CONVERGES for verdict in self.verdicts])

    @property
    def message(self) -> str:
        """The verdict in words; of many runs, how many there are of each."""
        if len(self.verdicts) == 1:
            return self.verdicts[0].message
        words = [WORDS[verdict.status] for verdict in self.verdicts]
        counts = [f"{words.count(word):,} {word}" for word in dict.fromkeys(WORDS) if word in words]
        return f"of {len(words):,} runs: {', '.join(counts)}"
