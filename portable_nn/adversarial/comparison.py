"""Methods side by side on one fair axis: the distance to the equilibrium against gradient evaluations.

A step of one method costs one gradient, of another four, so equal numbers of steps would compare nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.choices import Option
from portable_nn.adversarial.forecast import Forecast, Methods, PerMethod, forecast, read_methods
from portable_nn.adversarial.game import Game
from portable_nn.adversarial.games import game as find_game
from portable_nn.adversarial.methods import Method
from portable_nn.adversarial.rates import Rate, Schedule
from portable_nn.adversarial.result import Result
from portable_nn.adversarial.simulation import simulate
from portable_nn.adversarial.verdict import Verdict
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

EVALUATIONS: Final = 1000
"""How many gradients each method may evaluate."""

_EVALUATIONS: Final = Option(EVALUATIONS, "evaluations", 1, 1_000_000_000, whole=True)


@dataclass(frozen=True, eq=False)
class Compared:
    """One method: its run, and what was known of it beforehand."""

    forecast: Forecast
    result: Result

    @property
    def name(self) -> str:
        """The method's name."""
        return self.result.method.name

    @property
    def spent(self) -> int:
        """How many gradients were evaluated: see ``spent``."""
        return spent(self.result)

    @cached_property
    def evaluations(self) -> Array:
        """How many gradients had been evaluated at each kept point: (n,), the place of ``result.distance``."""
        steps = int(self.result.t[-1])
        # Where a step solves equations of a game that is not linear, it costs now more, now less: the mean.
        varies = self.result.method.implicit and not self.result.game.linear
        first = 0.0 if varies else float(self.spent - steps * self.forecast.cost)
        return np.asarray(np.where(self.result.t, first + self.result.t * ((self.spent - first) / steps), 0.0))

    @property
    def closed_form(self) -> float | None:
        """The factor of the distance a step by the formula; ``None`` where there is none."""
        return self.forecast.closed_form

    @property
    def spectral_radius(self) -> float | None:
        """The same by the eigenvalues of the update; ``None`` where it is not linear."""
        return self.forecast.spectral_radius

    @property
    def stability_limit(self) -> float | None:
        """The learning rate up to which the distance does not grow; ``None`` where the update is not linear."""
        return self.forecast.stability_limit

    @property
    def measured(self) -> float:
        """The factor a step that was measured of the run."""
        return self.verdict.factor

    @property
    def per_evaluation(self) -> float:
        """The measured factor for each gradient evaluation."""
        return float(self.measured ** (int(self.result.t[-1]) / self.spent))

    @property
    def verdict(self) -> Verdict:
        """What is said of the run."""
        return self.result.verdicts[0]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods on one game, from one start at one rate, each with ``evaluations`` gradients or a few less."""

    game: Game
    evaluations: int
    learning_rate: Rate
    entries: tuple[Compared, ...]

    @property
    def results(self) -> tuple[Result, ...]:
        """The run of each method."""
        return tuple(entry.result for entry in self.entries)

    @property
    def ranked(self) -> tuple[Compared, ...]:
        """The entries, those first that end nearest to the equilibrium; without a known one, with the smallest ‖F‖."""

        def end(entry: Compared) -> float:
            result = entry.result
            last = float((result.distance if len(self.game.equilibria) else result.residual)[-1])
            return last if np.isfinite(last) else np.inf

        return tuple(sorted(self.entries, key=end))


def compare(
    game: Any = "bilinear",
    methods: Methods = None,
    start: object = None,
    learning_rate: Rate = 0.1,
    evaluations: int = EVALUATIONS,
    *,
    decay: str | Schedule | None = None,
    noise: float = 0.0,
    seed: int = 0,
    options: PerMethod = None,
) -> Comparison:
    """Let each method play until it has evaluated so many gradients.

    Args:
        game, start, learning_rate, decay, noise, seed: as in ``simulate``, with one start and one rate.
        methods: Names of ``METHODS``, ``"all"``, or by default those of ``forecast.COMPARED``.
        evaluations: How many gradients. A Jacobian is needed in products with vectors alone, each of which costs about
            as much as a gradient, and counts as one. A method stops before the step that it could not pay in full.
        options: Options by method: ``{"consensus": {"gamma": 0.5}}``.

    Raises ``UsageError`` for what makes no sense, with the valid choices.
    """
    found = find_game(game)
    budget = int(_EVALUATIONS.check("evaluations", evaluations))
    plan = read_methods(methods, options)
    common: dict[str, Any] = {
        "start": start,
        "learning_rate": learning_rate,
        "decay": decay,
        "noise": noise,
        "seed": seed,
    }
    known = None if decay is not None else learning_rate
    entries = [
        Compared(forecast(found, row, known, **filled), _run(found, row, budget, {**common, **filled}))
        for row, filled in plan
    ]
    return Comparison(found, budget, learning_rate, tuple(entries))


def spent(result: Result) -> int:
    """How many gradients a run evaluated; a Jacobian counts as often as a step multiplies it with a vector."""
    return result.nfev + result.njev * max(1, result.method.jacobians)


def _run(game: Game, row: Method, budget: int, arguments: dict[str, Any]) -> Result:
    """As many steps as the budget pays."""
    cost = row.evaluations + row.jacobians
    steps = max(1, budget // cost)
    while True:
        result = simulate(game, row, steps=steps, **arguments)
        if result.z.ndim != 2:
            raise UsageError("methods are compared from one start at one rate: give one of each")
        if spent(result) <= budget:
            return result
        if steps == 1:
            raise UsageError(
                f"evaluations must be at least {spent(result)} for a step of the method '{row.name}', not {budget}"
            )
        # What comes before the first step, and Newton's iterations, are known only when they are done.
        steps = max(1, min(steps - 1, steps * budget // spent(result)))
