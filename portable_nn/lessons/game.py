"""The page of a game of two numbers: its surface, the path of a method, eigenvalues, and a race of methods."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from portable_nn.adversarial.games.game import Game, linear_game
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.games.options import Option, as_number
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.program import (
    MethodProgram,
    method_program,
    payoff_program,
    schedule_program,
)
from portable_nn.adversarial.methods.table import COMPARED, METHODS, Method, find_method
from portable_nn.adversarial.methods.tape import Program
from portable_nn.adversarial.runs.rates import DECAYS, read_rates
from portable_nn.adversarial.runs.simulation import START, STEPS
from portable_nn.adversarial.theory.closed_forms import FORMULAS
from portable_nn.adversarial.theory.local import is_smooth
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array
from portable_nn.pages.template import fill

MOST_STEPS: Final = 20_000
"""The most steps of a run on the page."""


def game_page(
    game: str | Game | Callable[[Any, Any], Any] = "bilinear",
    method: str | Method = "simultaneous",
    start: object = None,
    learning_rate: float | str = 0.1,
    steps: int = STEPS,
    *,
    decay: str | None = None,
    scheme: str | None = None,
    called: str | None = None,
    **options: object,
) -> bytes:
    """An HTML file that shows a run, in which all of it can be changed; arguments as in ``simulate``.

    Args:
        game: a game of one number of each player, whose payoff is a formula.
        method: the method that is shown first.
        start: the first point (x, y).
        learning_rate: a number above 0, or a formula of the step t, such as ``"0.1/sqrt(t)"``.
        steps: at most ``MOST_STEPS``.
        decay: a factor of the learning rate: a name of ``DECAYS``.
        scheme: the update scheme, if it is another than the method's.
        called: how ``portable-nn simulate run`` names the game, for the command that the page shows: ``--game 'x*y'``;
            of a game that is given by its name or as a formula that is known.
        options: the method's own.

    Returns:
        The bytes of the file, which needs no network and no other file.

    Raises:
        UsageError: arguments that are not valid, or that a page cannot show.

    >>> from pathlib import Path
    >>> Path("lesson.html").write_bytes(game_page("x*y")) > 20_000  # doctest: +SKIP
    True
    """
    found, row = find_game(game), find_method(method, scheme)
    data = game_data(found)
    names = [entry["name"] for entry in data["methods"]]
    if row.name not in names:
        raise UsageError(
            f"a page cannot show the method '{row.name}' on the game '{found.name}': "
            f"its steps are no formula there; it can show {', '.join(names)}"
        )
    schedule = learning_rate if isinstance(learning_rate, str) else None
    rate = as_number(1.0 if schedule else learning_rate)
    if rate is None or rate <= 0:
        raise UsageError(
            f"learning_rate must be a number above 0, or a formula of t, for a page, not {learning_rate!r}"
        )
    if schedule and decay is not None:
        raise UsageError("a page takes a formula of t or a decay, not both: leave one out")
    read_rates(learning_rate, decay, int(steps) if isinstance(steps, int) else 1)
    formulas = {**DECAYS, **({schedule: schedule} if schedule else {})}
    programs = {name: schedule_program(formula) for name, formula in formulas.items()}
    decays = {name: program and _program(program) for name, program in programs.items()}
    point = [as_number(value) for value in (START if start is None else list(start))]  # type: ignore[call-overload]
    if len(point) != 2 or None in point:
        raise UsageError(f"start must be two numbers, x and y, for a page, not {start!r}")
    settings = {
        "method": row.name,
        "rate": rate,
        "decay": schedule or decay or "constant",
        "start": point,
        "steps": int(Option(STEPS, "steps", 1, MOST_STEPS, whole=True).check("steps", steps)),
        "options": dict(row.fill(options)),
    }
    if called is None and isinstance(game, str):
        called = shlex.join(["--game", game]) if game != "bilinear" else ""
    return fill(
        "game",
        f"{found.title}: a game of two players",
        {**data, "decays": decays, "named": [*DECAYS], "settings": settings, "called": called},
    )


def game_data(game: Game) -> dict[str, Any]:
    """What the page computes with: the payoff and the methods as programs. Raises ``UsageError``."""
    if game.players != (1, 1):
        raise UsageError(
            f"a page shows a game of one number of each player: '{game.name}' has {game.players[0]} and "
            f"{game.players[1]}"
        )
    if game.sampled is not None:
        raise UsageError(f"a page shows no random game, as '{game.name}' is one")
    equilibrium = game.equilibria[0] if len(game.equilibria) else None
    local = None
    if equilibrium is not None and is_smooth(game, equilibrium):
        local = linear_game(game.jacobian(equilibrium))
    is_product = game.linear and game.jacobian((0.0, 0.0)).tolist() == [[0.0, -1.0], [1.0, 0.0]]
    methods = [_method(game, local, row, FORMULAS.get(row.name) if is_product else None) for row in METHODS.values()]
    return {
        "game": {
            "name": game.name,
            "title": game.title,
            "payoff": _program(payoff_program(game)),
            "rest": None if equilibrium is None else _rest(game, equilibrium),
            "isProduct": is_product,
        },
        "methods": [method for method in methods if method is not None],
        "compared": COMPARED,
        "mostSteps": MOST_STEPS,
    }


def _rest(game: Game, point: Array) -> dict[str, Any]:
    """A point with F = 0, for the page."""
    kind = kind_of(game, point)
    name = "the equilibrium" if kind.is_equilibrium else "the point where F = 0"
    return {"at": point.tolist(), "name": name, "kind": str(kind), "linear": game.linear}


def _method(game: Game, local: Game | None, row: Method, formula: str | None) -> dict[str, Any] | None:
    program = method_program(game, row)
    if program is None:
        return None
    near = method_program(local, row) if local is not None and row.has_operator else None
    return {
        "name": row.name,
        "title": row.title,
        "source": row.source,
        "cost": row.cost,
        "formula": formula,
        "options": [_option(name, option) for name, option in row.options.items()],
        "program": _steps(program),
        "local": None if near is None else _steps(near),
    }


def _steps(program: MethodProgram) -> dict[str, Any]:
    return {**program._asdict(), "begin": _program(program.begin), "step": _program(program.step)}


def _program(program: Program) -> dict[str, Any]:
    return program._asdict()


def _option(name: str, option: Option) -> dict[str, Any]:
    return {
        "name": name,
        "meaning": option.meaning,
        "default": option.default,
        "low": option.low if isfinite(option.low) else None,
        "high": option.high if isfinite(option.high) else None,
        "whole": option.whole,
    }
