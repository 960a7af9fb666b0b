"""What is known of a method before it runs: its factor by closed form and by its eigenvalues, its limit, its cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.adversarial.choices import as_number
from portable_nn.adversarial.game import Game, linear_game
from portable_nn.adversarial.games import coupled
from portable_nn.adversarial.games import game as find_game
from portable_nn.adversarial.methods import METHODS, Method, Options, find_method
from portable_nn.adversarial.theory import STABLE, exact_factor, spectral_radius, stability_limit
from portable_nn.core.errors import UsageError

COMPARED: Final = (
    "simultaneous",
    "alternating",
    "extragradient",
    "optimistic",
    "competitive",
    "consensus",
    "lookahead",
    "alternating-momentum",
)
"""The methods that are compared if none are named: as many as there are colours that all people can tell apart."""

EVERY: Final = "all"
"""What stands for all methods."""

Methods: TypeAlias = "str | Method | Iterable[str | Method] | None"
Given: TypeAlias = dict[str, Any]
"""Options of one method, as its functions take them."""

PerMethod: TypeAlias = "Mapping[str, Mapping[str, object]] | None"
"""Options by the name of the method that they are for."""


@dataclass(frozen=True)
class Forecast:
    """A method on a game at one learning rate, near the game's first equilibrium.

    ``closed_form`` is the factor of the distance a step by the formula of the literature, ``spectral_radius`` the same
    by the eigenvalues of the update, ``stability_limit`` the rate up to which the distance does not grow. What is not
    known is ``None``: all three for a method that is not linear, or a game without an equilibrium; the factors where
    the rate is not one number (for the radius: nor two). ``cost`` is how many gradients a step takes, where the product
    of a Jacobian and a vector counts as one, and solving equations as nothing.
    """

    method: Method
    options: Options
    cost: int
    closed_form: float | None
    spectral_radius: float | None
    stability_limit: float | None

    @property
    def factor(self) -> float | None:
        """The closed form, or failing this the spectral radius."""
        return self.spectral_radius if self.closed_form is None else self.closed_form

    @property
    def per_evaluation(self) -> float | None:
        """The factor for each gradient evaluation."""
        return None if self.factor is None else float(self.factor ** (1 / self.cost))

    @property
    def converges(self) -> bool | None:
        """Whether the distance falls; ``None`` where that is not known."""
        return None if self.factor is None else self.factor < 1 - STABLE


def forecast(
    game: str | Game, method: str | Method, learning_rate: Any = 0.1, *, scheme: str | None = None, **options: object
) -> Forecast:
    """What is known of a method on a game; arguments as those of ``simulate``, whose run it foretells.

    Raises ``UsageError`` for what makes no sense, with the valid choices.
    """
    found, row = find_game(game), find_method(method, scheme)
    filled: Given = dict(row.fill(options))
    cost = row.evaluations + row.jacobians
    local = near_equilibrium(found) if row.linear and row.period is not None else None
    if local is None:
        return Forecast(row, filled, cost, None, None, None)
    return Forecast(
        row,
        filled,
        cost,
        _closed_form(row, local, learning_rate, filled),
        _radius(row, local, learning_rate, filled),
        stability_limit(row, local, **filled),
    )


def converging(game: str | Game, learning_rate: Any = 0.1) -> list[Forecast]:
    """The methods, with their default options, that come to the equilibrium: those first that cost least.

    They are sorted by the factor for each gradient evaluation.
    """
    found = find_game(game)
    rows = [forecast(found, row, learning_rate) for row in METHODS.values() if row.linear]
    return sorted((row for row in rows if row.converges), key=lambda row: row.per_evaluation or 1.0)


def near_equilibrium(game: Game) -> Game | None:
    """The linear game that a game is near its first equilibrium; ``None`` where none is known.

    Of a bilinear one each singular value is left that is not 0: along the others everything is an equilibrium.
    """
    if not len(game.equilibria):
        return None
    jacobian = game.jacobian(game.equilibria[0])
    sizes = _singular_values(jacobian, game.players[0])
    if sizes is None or not sizes.size:
        return linear_game(jacobian, game.players)
    return linear_game(coupled(np.diag(sizes)))


def read_methods(methods: Methods, options: PerMethod) -> list[tuple[Method, Given]]:
    """Methods, each once, with all options of each. Raises ``UsageError``."""
    if methods is None:
        methods = COMPARED
    elif methods == EVERY:
        methods = METHODS
    given = [methods] if isinstance(methods, (str, Method)) else list(methods)
    rows = list({row.name: row for row in map(find_method, given)}.values())
    names = [row.name for row in rows]
    if not names:
        raise UsageError(f"methods must be one or more of {', '.join(METHODS)}, or '{EVERY}'")
    for name in options or {}:
        if name not in names:
            raise UsageError(f"options are given for the method '{name}', which is not among {', '.join(names)}")
    return [(row, dict(row.fill((options or {}).get(row.name, {})))) for row in rows]


def _singular_values(jacobian: Any, first: int) -> Any:
    """Those of A that are not 0 where F = (-Ay, Aᵀx), else ``None``."""
    matrix = -jacobian[:first, first:]
    if np.abs(jacobian - coupled(matrix)).max() > 1e-12 * max(1.0, float(np.abs(jacobian).max())):
        return None
    sizes = np.linalg.svd(matrix, compute_uv=False)
    return sizes[sizes > 1e-12 * max(1.0, float(sizes.max()))]


def _closed_form(row: Method, local: Game, rate: Any, options: Given) -> float | None:
    number = as_number(rate)
    sizes = _singular_values(local.jacobian(np.zeros(local.size)), local.players[0])
    if number is None or sizes is None or row.closed_form is None or not sizes.size:
        return None
    try:
        with np.errstate(all="ignore"):
            found = [float(exact_factor(row, number, float(size), **options)) for size in sizes]
    except np.linalg.LinAlgError:  # A root of numbers beyond the largest.
        return None
    return max(found) if np.isfinite(found).all() else None


def _radius(row: Method, local: Game, rate: Any, options: Given) -> float | None:
    pair = rate if isinstance(rate, tuple) else (rate, rate)
    numbers = [as_number(part) for part in pair]
    if len(numbers) != 2 or None in numbers:
        return None
    return radius(row, local, (float(pair[0]), float(pair[1])), options)


def radius(row: Method, local: Game, rate: tuple[float, float], options: Given) -> float | None:
    """The spectral radius; ``None`` where the update is beyond the largest number."""
    try:
        with np.errstate(all="ignore"):
            found = spectral_radius(row, local, rate, **options)
    except np.linalg.LinAlgError:
        return None
    return found if np.isfinite(found) else None
