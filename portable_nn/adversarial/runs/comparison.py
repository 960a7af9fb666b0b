"""Methods at equal numbers of gradient evaluations, which differ by a factor of four at equal numbers of steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.options import Option, as_number
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import Method, Methods, PerMethod, read_methods
from portable_nn.adversarial.runs.rates import LearningRate, RateSchedule
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.adversarial.runs.verdict import ELSEWHERE, FAILED, WORDS, Verdict
from portable_nn.adversarial.theory.forecast import Forecast, forecast
from portable_nn.core.errors import UsageError
from portable_nn.core.html import html_of
from portable_nn.core.text import table
from portable_nn.operators import Array

EVALUATIONS: Final = 1000
"""The default budget of gradient evaluations."""


@dataclass(frozen=True, eq=False)
class Compared:
    """One method of a comparison: its forecast from theory, and its run."""

    forecast: Forecast
    result: Result

    @property
    def name(self) -> str:
        """The method's name."""
        return self.result.method.name

    @property
    def spent(self) -> int:
        """Gradient evaluations of the run: see ``spent``."""
        return spent(self.result)

    @cached_property
    def evaluations(self) -> Array:
        """Gradient evaluations up to each recorded point, (n,)."""
        steps = int(self.result.t[-1])
        # The cost of an implicit step on a nonlinear game varies with Newton's iterations: the mean is taken.
        varies = self.result.method.implicit and not self.result.game.linear
        first = 0.0 if varies else float(self.spent - steps * self.forecast.cost)
        return np.asarray(np.where(self.result.t, first + self.result.t * ((self.spent - first) / steps), 0.0))

    @property
    def strength(self) -> float | None:
        """The weight of the correction that the method adds to the gradient; ``None`` where it has no option for
        that."""
        row, rates = self.result.method, self.result.rates
        if row.strength is None:
            return None
        own = self.result.options[row.strength]
        return float(np.max(rates.base) * rates.factors[0].max()) if own is None else float(own)

    @property
    def measured(self) -> float:
        """The measured convergence factor per step."""
        return self.verdict.factor

    @property
    def per_evaluation(self) -> float:
        """The measured convergence factor for each gradient evaluation."""
        return float(self.measured ** (int(self.result.t[-1]) / self.spent))

    @property
    def end(self) -> float:
        """The last distance to the equilibrium; ‖F‖ where no equilibrium is known."""
        return float(self.result.lengths[-1])

    @property
    def verdict(self) -> Verdict:
        """The verdict on the run."""
        return self.result.verdicts[0]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods on one game, from one start at one learning rate, each with the same budget of gradient evaluations.

    ``entries`` are in the order in which the methods were named, ``ranked`` by how close they end to an equilibrium.
    The ranking depends on the strengths of the methods; with ``equal_strength`` all are the learning rate.
    """

    game: Game
    evaluations: int
    learning_rate: LearningRate
    entries: tuple[Compared, ...]
    equal_strength: bool = False

    @property
    def ranked(self) -> tuple[Compared, ...]:
        """The entries by ``end``, the smallest first."""
        return tuple(sorted(self.entries, key=lambda entry: entry.end if np.isfinite(entry.end) else np.inf))

    @property
    def reasons(self) -> dict[str, str]:
        """Why methods fail, or come to no equilibrium, by their names."""
        return {
            entry.name: entry.verdict.message for entry in self.ranked if entry.verdict.status in {FAILED, ELSEWHERE}
        }

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_of(self.__repr__)

    def __repr__(self) -> str:
        rows = [
            (
                entry.name,
                f"{WORDS[entry.verdict.status]} ({entry.verdict.basis})",
                f"{entry.end:.6g}",
                f"{entry.measured:.8g}",
            )
            for entry in self.ranked
        ]
        head = f"{self.game.name}, {self.evaluations:,} gradient evaluations each\n"
        end = "distance at the end" if len(self.game.equilibria) else "‖F‖ at the end"
        notes = "".join(f"\n{name} {message}" for name, message in self.reasons.items())
        return (head + table(("method", "verdict", f">{end}", ">factor per step"), rows) + notes).rstrip("\n")


def compare(
    game: Any = "bilinear",
    methods: Methods = None,
    start: object = None,
    learning_rate: LearningRate = 0.1,
    evaluations: int = EVALUATIONS,
    *,
    decay: str | RateSchedule | None = None,
    noise: float = 0.0,
    seed: int = 0,
    options: PerMethod = None,
    equal_strength: bool = False,
) -> Comparison:
    """Run methods with the same budget of gradient evaluations.

    Args:
        game, start, learning_rate, decay, noise, seed: as in ``simulate``, with one start and one learning rate.
        methods: names of ``METHODS``, ``"all"``, or by default those of ``COMPARED``.
        evaluations: the budget. A Jacobian-vector product costs about as much as a gradient and counts as one. A
            method stops before the step that would exceed the budget.
        options: options by method: ``{"consensus": {"gamma": 0.5}}``.
        equal_strength: give the corrections of all methods the weight of the learning rate, which those of optimistic,
            competitive and proximal always have: gamma of consensus and extragradient, and lam of symplectic. With the
            defaults, consensus has ten times that at a rate of 0.1, and ranks higher for that alone: with gamma=1,
            extragradient has exactly its factor on x·y.

    Raises ``UsageError`` for arguments that are not valid, with those that are.

    >>> compare(methods=["extragradient", "optimistic"], evaluations=1000).ranked[0].name
    'optimistic'
    """
    found = find_game(game)
    budget = int(Option(None, "evaluations", 1, 1_000_000_000, whole=True).check("evaluations", evaluations))
    plan = read_methods(methods, options)
    if equal_strength:
        plan = _equally_strong(plan, options, learning_rate if decay is None else decay)
    common = dict[str, Any](start=start, learning_rate=learning_rate, decay=decay, noise=noise, seed=seed)
    known = None if decay is not None else learning_rate
    entries = [
        Compared(forecast(found, row, known, **filled), _run(found, row, budget, {**common, **filled}))
        for row, filled in plan
    ]
    return Comparison(found, budget, learning_rate, tuple(entries), equal_strength)


def _equally_strong(
    plan: list[tuple[Method, dict[str, Any]]], options: PerMethod, rate: Any
) -> list[tuple[Method, dict[str, Any]]]:
    """The methods, with the learning rate as the strength of each that has one. Raises ``UsageError``."""
    number = as_number(rate)
    if number is None:
        raise UsageError(f"equal strengths need one learning rate, the same for both and at each step, not {rate!r}")
    for row, _ in plan:
        if row.strength in (options or {}).get(row.name, {}):
            raise UsageError(f"{row.strength} of {row.name} cannot be set where all strengths are to be equal")
    fixed = [row.strength is not None and row.options[row.strength].default is not None for row, _ in plan]
    return [
        (row, {**filled, str(row.strength): number} if is_fixed else filled)
        for (row, filled), is_fixed in zip(plan, fixed, strict=True)
    ]


def spent(result: Result) -> int:
    """Gradient evaluations of a run; each Jacobian-vector product counts as one."""
    return result.nfev + result.njev * max(1, result.method.jacobians)


def _run(game: Game, row: Method, budget: int, arguments: dict[str, Any]) -> Result:
    """A run of as many steps as the budget allows."""
    steps = max(1, budget // row.cost)
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
        # The cost of the initial state and of Newton's iterations is known only after a run.
        steps = max(1, min(steps - 1, steps * budget // spent(result)))
