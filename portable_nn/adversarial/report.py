"""A run with all that is to be said of it, and the update of a method as linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.forecast import (
    EVERY,
    Forecast,
    Given,
    Methods,
    PerMethod,
    converging,
    forecast,
    near_equilibrium,
    read_methods,
)
from portable_nn.adversarial.game import Game
from portable_nn.adversarial.games import game as find_game
from portable_nn.adversarial.methods import METHODS, Method
from portable_nn.adversarial.rates import Rate
from portable_nn.adversarial.result import Result
from portable_nn.adversarial.simulation import simulate
from portable_nn.adversarial.theory import invariant, spectrum, update_operator
from portable_nn.adversarial.verdict import CIRCLES, DIVERGES, Verdict
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

TENFOLD: Final = 10.0

STILL: Final = 1e-6
"""Angles of eigenvalues under this are rounding: where two of them meet, a root is taken of what rounding leaves."""

CONSERVED: Final = {"alternating": "‖x‖² + ‖y‖² + rate·f", "midpoint": "‖x‖² + ‖y‖²"}
"""What ``theory.invariant`` computes, in words."""


@dataclass(frozen=True, eq=False)
class Report:
    """One run, what was known of it beforehand, and the methods that converge where it is played, best first."""

    result: Result
    forecast: Forecast
    remedies: tuple[Forecast, ...]
    turn: float | None
    """In how many steps the players go once around the equilibrium, by the eigenvalues; ``None`` if they do not."""

    @property
    def verdict(self) -> Verdict:
        """What is said of the run."""
        return self.result.verdicts[0]

    @cached_property
    def lengths(self) -> Array:
        """The distance at each kept point; where no equilibrium is known, ‖F‖: (n,)."""
        return self.result.distance if len(self.result.game.equilibria) else self.result.residual

    @property
    def tenfold(self) -> int | None:
        """After how many steps the distance is ten times what it was, or a tenth of it where it falls.

        Where the run ended before, it is foretold from the factor; ``None`` where the distance goes nowhere.
        """
        if self.verdict.status == CIRCLES or not self.lengths[0] > 0:
            return None
        ratios = self.lengths / self.lengths[0]
        grows = self.verdict.status >= DIVERGES
        reached = ratios >= TENFOLD if grows else ratios <= 1 / TENFOLD
        if reached.any():
            return int(self.result.t[np.argmax(reached)])
        log = abs(float(np.log(self.verdict.factor))) if self.verdict.factor > 0 else 0.0
        return int(np.ceil(np.log(TENFOLD) / log)) if np.isfinite(log) and log > 0 else None

    @property
    def is_reached(self) -> bool:
        """Whether the run itself came to ten times the distance, or a tenth."""
        return self.tenfold is not None and self.tenfold <= int(self.result.t[-1])

    @property
    def averaged(self) -> float:
        """How far the average of all points is from the nearest equilibrium; not a number where none is known."""
        return float(self.result.game.distance(self.result.average[-1]))


def report(
    game: Any = "bilinear", method: str | Method = "simultaneous", learning_rate: Rate = 0.1, **arguments: Any
) -> Report:
    """Let two players play, and say all that there is to say; arguments as those of ``simulate``, for one run.

    Raises ``UsageError`` for what makes no sense, with the valid choices.
    """
    found = find_game(game)
    result = simulate(found, method, learning_rate=learning_rate, **arguments)
    if result.z.ndim != 2:
        raise UsageError("a report is on one run: give one start and one rate")
    known = None if arguments.get("decay") is not None else learning_rate
    foretold = forecast(found, result.method, known, **dict[str, Any](result.options))
    remedies = converging(found, known) if foretold_at(known) else []
    turn = _turn(found, foretold, known) if foretold.spectral_radius is not None else None
    return Report(result, foretold, tuple(remedies), turn)


def foretold_at(rate: object) -> bool:
    """Whether theory has something to say at such a rate: a number, or one for each player."""
    return isinstance(rate, (int, float, tuple))


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a method does to a game near its first equilibrium, at one rate, as linear algebra.

    ``jacobian`` (d, d) is that of the field there; ``operator`` (s, s) is what a step multiplies the method's state by,
    or ``repeats`` steps where the method does the same again after so many; ``eigenvalues`` (s,) are its, the largest
    first. ``conserved`` says in words what never changes, where something does not.
    """

    game: Game
    learning_rate: float | tuple[float, float]
    forecast: Forecast
    equilibrium: Array
    jacobian: Array
    operator: Array
    eigenvalues: Array
    repeats: int
    turn: float | None
    conserved: str | None


def analyse(
    game: Any = "bilinear",
    methods: Methods = ("simultaneous",),
    learning_rates: Sequence[float | tuple[float, float]] = (0.1,),
    *,
    options: PerMethod = None,
) -> list[Analysis]:
    """The update of each method at each rate as a matrix, its eigenvalues, and what follows.

    ``methods`` and ``options`` as in ``compare``; ``"all"`` are those that have such a matrix.

    Raises ``UsageError`` for a method that has none, or a game of which no equilibrium is known.
    """
    found = find_game(game)
    if methods == EVERY:
        methods = [row for row in METHODS.values() if row.linear and row.period is not None]
    return [
        _analysis(found, row, filled, rate) for row, filled in read_methods(methods, options) for rate in learning_rates
    ]


def _analysis(game: Game, row: Method, options: Given, rate: float | tuple[float, float]) -> Analysis:
    with np.errstate(all="ignore"):
        operator = update_operator(row, game, rate, **options)
    if not np.isfinite(operator).all():
        raise UsageError(f"at a rate of {rate} the update of the method '{row.name}' is no matrix of finite numbers")
    eigenvalues = spectrum(row, game, rate, **options)
    foretold = forecast(game, row, rate, **options)
    equilibrium = game.equilibria[0]
    kept = None if isinstance(rate, tuple) else invariant(row, game)
    return Analysis(
        game,
        rate,
        foretold,
        equilibrium,
        game.jacobian(equilibrium),
        operator,
        eigenvalues,
        row.period(options) if row.period else 1,
        _turn(game, foretold, rate),
        CONSERVED[row.name] if kept is not None else None,
    )


def _turn(game: Game, foretold: Forecast, rate: Any) -> float | None:
    """Steps for a whole turn, from the angle of the largest eigenvalue."""
    local, row = near_equilibrium(game), foretold.method
    if local is None or row.period is None or row.period(foretold.options) != 1:
        return None
    found = spectrum(row, local, rate, **foretold.options)
    angle = abs(float(np.angle(found[0])))
    return 2 * np.pi / angle if STILL < angle < np.pi - STILL else None
