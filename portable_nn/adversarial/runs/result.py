"""The result of a simulation: the points and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.runs.attraction import by_attraction
from portable_nn.adversarial.runs.proofs import PROOFS
from portable_nn.adversarial.runs.rates import Rates
from portable_nn.adversarial.runs.run import Run
from portable_nn.adversarial.runs.seen import as_seen, ended, failed
from portable_nn.adversarial.runs.verdict import CONVERGES, WORDS, Verdict
from portable_nn.core.html import html_curve, html_of
from portable_nn.core.text import fields, quantity
from portable_nn.operators import Array


def judge(run: Run) -> Verdict:
    """The verdict on a run: by proof, else by the eigenvalues near the point to which it goes, else by sight.

    Each rule returns a verdict, or ``None`` where it does not apply; the first that does has the word.
    """
    for rule in (failed, *PROOFS, ended, by_attraction):
        found = rule(run)
        if found:
            return found
    return as_seen(run)


DRAWN: Final = 1000
"""At most so many points of a path are drawn in a notebook."""


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
        state: the vectors of the method after the last step, (k, …, d).
        status: what holds for good: 0 converges, 1 cycles, 2 stays, 3 diverges, 4 comes to a point with F = 0 that is
            no equilibrium; or what was seen of the distance: 5 fell, 6 grew, 7 went round, 8 varied, 9 overflowed, 10
            the method fails, (…); ``success`` is 0.
        message: the verdict in words.
        noise: the standard deviation of the noise on the gradients.
        failures: why runs have ended, by their place among all of them.
        again: makes the same run of another number of steps, without the points on its way.
    """

    game: Game
    method: Method
    options: MethodOptions
    rates: Rates
    t: Array
    z: Array
    state: Array
    nfev: int
    njev: int
    noise: float = 0.0
    failures: Mapping[int, str] = field(default_factory=dict)
    again: Callable[[int], Result] | None = None

    def __repr__(self) -> str:
        runs = int(np.prod(self.z.shape[1:-1]))
        rows = [
            ("game", f"{self.game.name}: {self.game.title}" if self.game.name != self.game.title else self.game.title),
            ("method", self.method.name),
            ("steps", f"{int(self.t[-1]):,}" + (f", {quantity(runs, 'run')}" if runs > 1 else "")),
            ("last iterate", f"({', '.join(f'{value:.6g}' for value in self.z[-1].ravel())})" if runs == 1 else ""),
            ("verdict", self.message),
        ]
        return fields(rows).rstrip("\n")

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the text, and the path of a run of two numbers."""
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
    @np.errstate(all="ignore")
    def average(self) -> Array:
        """The average iterate: as z."""
        return np.asarray(
            np.cumsum(self.z, axis=0) / (np.arange(len(self.z)) + 1.0).reshape(-1, *[1] * (self.z.ndim - 1))
        )

    @cached_property
    @np.errstate(all="ignore")
    def verdicts(self) -> list[Verdict]:
        """The verdict on each run, in the order of the runs' axes."""
        return [judge(self._run(run)) for run in range(int(np.prod(self.z.shape[1:-1])))]

    def _run(self, run: int) -> Run:
        bases = [part.ravel() for part in np.broadcast_arrays(*self.rates.base)]
        place = run // (int(np.prod(self.z.shape[1:-1])) // max(1, len(bases[0])))
        # A constant schedule has a factor, too.
        x, y = self.rates.factors[0].tolist() if self.rates.constant else (1.0, 1.0)
        return Run(
            game=self.game,
            method=self.method,
            options=self.options,
            rates=(float(bases[0][place]) * x, float(bases[1][place]) * y),
            later=None if self.rates.constant else self.rates.later,
            noise=self.noise,
            t=self.t,
            points=self.z.reshape(len(self.t), -1, self.game.size)[:, run],
            lengths=self.lengths.reshape(len(self.t), -1)[:, run],
            state=self._states[:, run],
            further=lambda steps: self._further(steps)[:, run],
            failure=self.failures.get(run),
        )

    @property
    def _states(self) -> Array:
        """The last state of each run: (k, runs, d)."""
        return self.state.reshape(len(self.state), -1, self.game.size)

    def _further(self, steps: int) -> Array:
        """The same after so many steps; it is computed once for all runs."""
        if steps not in self._known and self.again:
            self._known[steps] = self.again(steps)._states
        return self._known.get(steps, np.full_like(self._states, np.nan))

    @cached_property
    def _known(self) -> dict[int, Array]:
        return {}

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
        """True if the run converges, proved or by the eigenvalues where it goes: a bool for one run, else (…)."""
        return self._each([verdict.status == CONVERGES for verdict in self.verdicts])

    @property
    def message(self) -> str:
        """The verdict in words; for many runs, how many have which."""
        if len(self.verdicts) == 1:
            return self.verdicts[0].message
        words = [WORDS[verdict.status] for verdict in self.verdicts]
        counts = [f"{words.count(word):,} {word}" for word in dict.fromkeys(WORDS) if word in words]
        return f"of {quantity(len(words), 'run')}: {', '.join(counts)}"
