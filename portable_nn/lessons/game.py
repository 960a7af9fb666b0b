"""The page of a game: its surface, the path of a method, eigenvalues, and a race of methods."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.derivatives import Payoff, names
from portable_nn.adversarial.games.game import Game, Samples, coupled
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.games.options import Option, as_number, rate_pair
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.program import MethodProgram, method_program, payoff_program, schedule_program
from portable_nn.adversarial.methods.recording import MOST_NUMBERS
from portable_nn.adversarial.methods.table import COMPARED, METHODS, Method, find_method
from portable_nn.adversarial.runs.rates import DECAYS, read_rates
from portable_nn.adversarial.runs.simulation import START, STEPS
from portable_nn.adversarial.theory.closed_forms import FORMULAS
from portable_nn.adversarial.theory.forecast import is_defined, near_equilibrium, singular_vectors
from portable_nn.core.errors import UsageError
from portable_nn.pages.template import fill

MOST_STEPS: Final = 20_000
"""The most steps of a run on the page."""

MOST_SEED: Final = 2**53 - 1
"""The largest seed, which is a number of JavaScript."""

MOST_ENTRIES: Final = 100_000
"""The most entries of the random matrices of a stochastic game, which the page holds."""


def game_page(
    game: str | Game | Payoff = "bilinear",
    method: str | Method = "simultaneous",
    start: object = None,
    learning_rate: float | tuple[float, float] | str = 0.1,
    steps: int = STEPS,
    *,
    decay: str | None = None,
    noise: float = 0.0,
    seed: int = 0,
    scheme: str | None = None,
    called: str | None = None,
    **options: object,
) -> bytes:
    """An HTML file that shows a run, in which all of it can be changed; arguments as in ``simulate``.

    Args:
        game: a game of at most ``MOST_NUMBERS`` numbers, whose payoff is a formula or xᵀAy.
        method: the method that is shown first.
        start: the first point, the numbers of x and then those of y.
        learning_rate: a number, that of x and that of y, or a formula of the step t, such as ``"0.1/sqrt(t)"``.
        steps: at most ``MOST_STEPS``.
        decay: a factor of the learning rate: a name of ``DECAYS``.
        noise: standard deviation of Gaussian noise on each component of each gradient.
        seed: of the noise and of the samples of a stochastic game; the page draws the numbers that ``simulate`` draws.
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
    data = game_data(found, {row.name: options})
    shown = [entry["name"] for entry in data["methods"]]
    if row.name not in shown:
        raise UsageError(
            f"a page cannot show the method '{row.name}' on the game '{found.name}': "
            f"its steps are no formula there; it can show {', '.join(shown)}"
        )
    rate, falls, decays = _rates(learning_rate, decay, steps)
    settings = {
        "method": row.name,
        "rate": rate,
        "decay": falls,
        "start": _start(found, start),
        "steps": _at_most(MOST_STEPS, "steps", int(Option(STEPS, "steps", 1, whole=True).check("steps", steps))),
        "noise": Option(0.0, "noise", 0).check("noise", noise),
        "seed": _at_most(MOST_SEED, "a seed", int(Option(0, "seed", 0, whole=True).check("seed", seed))),
        "options": dict(row.fill(options)),
    }
    if called is None and isinstance(game, str):
        called = shlex.join(["--game", game]) if game != "bilinear" else ""
    return fill(
        "game",
        f"{found.title}: a game of two players",
        {**data, "decays": decays, "named": [*DECAYS], "settings": settings, "called": called},
    )


def _rates(rate: Any, decay: str | None, steps: Any) -> tuple[tuple[float, float], str, dict[str, Any]]:
    """Both learning rates, the name of how they fall, and all ways of falling as programs. Raises ``UsageError``."""
    schedule = rate if isinstance(rate, str) else None
    pair = rate_pair(1.0 if schedule else rate)
    if pair is None or min(pair) < 0:
        raise UsageError(
            "learning_rate must be a number of at least 0, two of them (of x and of y), or a formula of t, for a page, "
            f"not {rate!r}"
        )
    if schedule and decay is not None:
        raise UsageError("a page takes a formula of t or a decay, not both: leave one out")
    read_rates(rate, decay, int(steps) if isinstance(steps, int) else 1)
    formulas = {**DECAYS, **({schedule: schedule} if schedule else {})}
    programs = {name: schedule_program(formula) for name, formula in formulas.items()}
    falling = {name: None if program is None else program._asdict() for name, program in programs.items()}
    return pair, schedule or decay or "constant", falling


def _at_most(most: int, what: str, value: int) -> int:
    """The value. Raises ``UsageError`` where it is more than a page takes, though ``simulate`` does."""
    if value > most:
        raise UsageError(f"a page takes {what} up to {most:,}, not {value:,}")
    return value


def _start(game: Game, start: object) -> list[float]:
    """The numbers of the start. Raises ``UsageError``."""
    given = np.repeat(START, game.players).tolist() if start is None else list(start)  # type: ignore[call-overload]
    point = [as_number(value) for value in given]
    if len(point) != game.size or None in point:
        wanted = "two numbers, x and y" if game.size == 2 else f"{game.size} numbers, {', '.join(names(game.players))}"
        raise UsageError(f"start must be {wanted}, for a page, not {start!r}")
    return [number for number in point if number is not None]


def game_data(game: Game, given: Mapping[str, Mapping[str, object]] | None = None) -> dict[str, Any]:
    """The data of the page: the payoff and the methods as programs, made with options that are ``given``.

    Raises ``UsageError`` for a game that a page cannot show.
    """
    if game.size > MOST_NUMBERS:
        raise UsageError(
            f"a page shows games of at most {MOST_NUMBERS} numbers: '{game.name}' has {game.players[0]} of x and "
            f"{game.players[1]} of y"
        )
    samples = _samples(game)
    equilibria = game.equilibria
    local = near_equilibrium(game)
    is_product = game.linear and game.jacobian((0.0,) * game.size).tolist() == [[0.0, -1.0], [1.0, 0.0]]
    is_formula = is_product and samples is None
    methods = [
        _method(game, local, row, (given or {}).get(row.name, {}), FORMULAS.get(row.name) if is_formula else None)
        for row in METHODS.values()
    ]
    return {
        "game": {
            "name": game.name,
            "title": game.title,
            "names": names(game.players),
            "players": game.players,
            "actions": game.actions,
            "payoff": payoff_program(game)._asdict(),
            "rest": _rest(game, local) if len(equilibria) else None,
            "isProduct": is_product,
            "matrix": _matrix(game),
            "shown": _shown(game),
            "samples": samples,
        },
        "methods": [method for method in methods if method is not None],
        "compared": COMPARED,
        "mostSteps": MOST_STEPS,
    }


def _samples(game: Game) -> list[list[float]] | None:
    """The random matrices, row by row, of a stochastic game. Raises ``UsageError`` where a page cannot hold them."""
    if game.sampled is None:
        return None
    if not isinstance(game.sampled, Samples):
        raise UsageError(f"a page shows no random game but one of matrices, as '{game.name}' is none")
    matrices = game.sampled.matrices
    if matrices.size > MOST_ENTRIES:
        raise UsageError(
            f"a page holds at most {MOST_ENTRIES:,} entries of random matrices: the {len(matrices):,} of '{game.name}' "
            f"have {matrices.size:,}; give fewer samples"
        )
    found: list[list[float]] = matrices.reshape(len(matrices), -1).tolist()
    return found


def _matrix(game: Game) -> list[list[float]] | None:
    """A, where f is xᵀAy and not x·y."""
    jacobian, first = game.jacobian(np.zeros(game.size)), game.players[0]
    matrix = -jacobian[:first, first:]
    is_bilinear = game.linear and np.array_equal(jacobian, coupled(matrix))
    return matrix.tolist() if is_bilinear and game.size > 2 else None


def _shown(game: Game) -> tuple[int, int]:
    """The places of the two numbers that are shown first: a number of x, and that of y which it has most to do with."""
    point = game.equilibria[0] if len(game.equilibria) else np.zeros(game.size)
    coupling = np.abs(np.nan_to_num(game.jacobian(point)[: game.players[0], game.players[0] :]))
    first = int(np.argmax(coupling.max(axis=1) > 0))
    return first, game.players[0] + int(np.argmax(coupling[first]))


def _rest(game: Game, local: Game | None) -> dict[str, Any]:
    """A point with F = 0, for the page; ``local`` is the game near it.

    ``directions`` project on those in which a distance counts, ``coordinates`` are unit vectors of those that ``local``
    has on a linear game; ``None`` for all numbers as they are.
    """
    point = game.equilibria[0]
    kind = kind_of(game, point)
    name = "the equilibrium" if kind.is_equilibrium else "the point where F = 0"
    if len(game.equilibria) > 1:
        name = "the nearest point where F = 0"
    directions = game.offset(np.eye(game.size), np.zeros(game.size)) if game.linear else np.eye(game.size)
    coordinates = None if local is None or not game.linear else singular_vectors(game.jacobian(point), game.players[0])
    return {
        "at": point.tolist(),
        "points": game.equilibria.tolist(),
        "directions": None if np.array_equal(directions, np.eye(game.size)) else directions.tolist(),
        "coordinates": None if coordinates is None else coordinates.tolist(),
        "size": 1.0 if local is None else float(np.linalg.norm(local.jacobian(np.zeros(local.size)), 2)) or 1.0,
        "isTurned": local is not None
        and not np.array_equal(local.jacobian(np.zeros(local.size)), game.jacobian(point)),
        "name": name,
        "kind": str(kind),
        "isEquilibrium": kind.is_equilibrium,
        "linear": game.linear,
    }


def _method(
    game: Game, local: Game | None, row: Method, given: Mapping[str, object], formula: str | None
) -> dict[str, Any] | None:
    options = row.fill(given)
    if local is not None and game.linear and not is_defined(row, local, options):
        return None
    program = method_program(game, row, given)
    if program is None:
        return None
    is_local = local is not None and row.has_operator and is_defined(row, local, options)
    near = method_program(local, row, given, random=False) if local is not None and is_local else None
    fixed = [name for name, option in row.options.items() if option.whole and not row.clock]
    return {
        "name": row.name,
        "title": row.title,
        "source": row.source,
        "cost": row.cost,
        "implicit": row.implicit,
        "formula": formula,
        "options": [_option(name, option) for name, option in row.options.items()],
        "fixed": {name: options[name] for name in fixed},
        "program": _steps(program),
        "local": None if near is None else _steps(near),
    }


def _steps(program: MethodProgram) -> dict[str, Any]:
    return {**program._asdict(), "begin": program.begin._asdict(), "step": program.step._asdict()}


def _option(name: str, option: Option) -> dict[str, Any]:
    return {
        "name": name,
        "meaning": option.meaning,
        "default": option.default,
        "low": option.low if isfinite(option.low) else None,
        "high": option.high if isfinite(option.high) else None,
        "whole": option.whole,
    }
