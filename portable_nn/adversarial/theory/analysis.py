"""The update of a method near an equilibrium as linear algebra, all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import EVERY, METHODS, Method, Methods, PerMethod, read_methods
from portable_nn.adversarial.theory.forecast import Forecast, forecast, is_defined, near_equilibrium
from portable_nn.adversarial.theory.updates import ConstantRate, invariant, period, spectrum, update_operator
from portable_nn.operators import Array

STILL: Final = 1e-6
"""Angles of eigenvalues below this are rounding errors, which a double eigenvalue magnifies to their square root."""

CONSERVED: Final = {"alternating": "‖x‖² + ‖y‖² + rate·f", "midpoint": "‖x‖² + ‖y‖²"}
"""The quantity that ``invariant`` computes, as a formula."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The update of a method at one learning rate, near the first equilibrium of a game.

    Attributes:
        game, learning_rate: what was analysed.
        forecast: the method with its options, convergence factors and stability limit.
        equilibrium: (d,).
        jacobian: of the vector field there, (d, d).
        operator: what one step multiplies the method's state by, (s, s); a period of ``repeats`` steps, if it has one.
        eigenvalues: of the operator, (s,), by falling modulus.
        repeats: steps in the period.
        turn: steps for one rotation about the equilibrium; ``None`` without rotation.
        conserved: the conserved quantity as a formula, if one is known.
    """

    game: Game
    learning_rate: ConstantRate
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
    learning_rates: Sequence[ConstantRate] = (0.1,),
    *,
    options: PerMethod = None,
) -> list[Analysis]:
    """The update operator, its eigenvalues and what follows, for each method at each learning rate.

    Args:
        game: as in ``simulate``.
        methods: names of ``METHODS``; ``"all"`` are those that have an update operator on this game.
        learning_rates: numbers, or pairs for x and y.
        options: options by method, as in ``compare``.

    Raises ``UsageError`` for a method without an update operator, or a game without a known equilibrium.
    """
    found = find_game(game)
    if methods == EVERY:
        local = near_equilibrium(found)
        rows = [row for row in METHODS.values() if row.has_operator]
        methods = [row for row in rows if local is None or is_defined(row, local, row.fill({}))]
    return [
        _analysis(found, row, filled, rate) for row, filled in read_methods(methods, options) for rate in learning_rates
    ]


def _analysis(game: Game, row: Method, options: Mapping[str, Any], rate: ConstantRate) -> Analysis:
    with np.errstate(all="ignore"):
        operator = update_operator(row, game, rate, **options)
        eigenvalues = spectrum(row, game, rate, **options)
    theory = forecast(game, row, rate, **options)
    equilibrium = game.equilibria[0]
    kept = None if isinstance(rate, tuple) else invariant(row, game)
    return Analysis(
        game=game,
        learning_rate=rate,
        forecast=theory,
        equilibrium=equilibrium,
        jacobian=game.jacobian(equilibrium),
        operator=operator,
        eigenvalues=eigenvalues,
        repeats=period(row, options),
        turn=steps_for_a_turn(game, theory, rate),
        conserved=CONSERVED[row.name] if kept is not None else None,
    )


def steps_for_a_turn(game: Game, theory: Forecast, rate: ConstantRate) -> float | None:
    """Steps for one rotation about the equilibrium, from the argument of the largest eigenvalue."""
    local, row = near_equilibrium(game), theory.method
    if local is None or period(row, theory.options) != 1:
        return None
    angle = abs(float(np.angle(spectrum(row, local, rate, **theory.options)[0])))
    return 2 * np.pi / angle if STILL < angle < np.pi - STILL else None
