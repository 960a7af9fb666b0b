"""Forecasts from theory of a method on a game: convergence factor, stability limit and cost, without a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from portable_nn.adversarial.games.game import Game, coupled, linear_game
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.games.options import as_number, rate_pair
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import METHODS, Method, MethodOptions, find_method
from portable_nn.adversarial.theory.closed_forms import FORMS
from portable_nn.adversarial.theory.local import is_smooth
from portable_nn.adversarial.theory.updates import SMALLEST, STABLE, exact_factor, radii, stability_limit
from portable_nn.operators import Array


@dataclass(frozen=True)
class Forecast:
    """The forecast from theory of a method at one learning rate, near the first equilibrium of a game.

    Attributes:
        method, options: those that it is about.
        cost: gradient evaluations per step; a Jacobian-vector product counts as one, solving a system as none.
        closed_form: the convergence factor by the formula of the literature.
        spectral_radius: the convergence factor as the spectral radius of the update operator.
        stability_limit: the largest stable learning rate.

    Unknown values are ``None``: all three for a method that is not defined on the game, and for a game without an
    equilibrium where F is smooth; the last two for a method that is not linear, which has a closed form only where all
    singular values are equal; the factors also where the learning rate is not constant.
    """

    method: Method
    options: MethodOptions
    cost: int
    closed_form: float | None = None
    spectral_radius: float | None = None
    stability_limit: float | None = None

    @property
    def factor(self) -> float | None:
        """The convergence factor per step: the closed form, or else the spectral radius."""
        return self.spectral_radius if self.closed_form is None else self.closed_form

    @property
    def per_evaluation(self) -> float | None:
        """The convergence factor for each gradient evaluation."""
        return None if self.factor is None else float(self.factor ** (1 / self.cost))

    @property
    def converges(self) -> bool | None:
        """True if the factor is below 1; ``None`` where it is not known."""
        return None if self.factor is None else self.factor < 1 - STABLE


def forecast(
    game: str | Game, method: str | Method, learning_rate: Any = 0.1, *, scheme: str | None = None, **options: object
) -> Forecast:
    """The forecast from theory for ``simulate`` with the same arguments.

    >>> round(forecast("bilinear", "optimistic").stability_limit, 6)
    0.57735

    Raises ``UsageError`` for arguments that are not valid, with those that are.
    """
    found, row = find_game(game), find_method(method, scheme)
    filled = dict(row.fill(options))
    local = near_equilibrium(found) if row.has_operator or row.name in FORMS else None
    if local is None or not is_defined(row, local, filled):
        return Forecast(row, filled, row.cost)
    closed = local_factor(row, local, learning_rate, filled)
    if not row.has_operator:
        return Forecast(row, filled, row.cost, closed)
    radius = local_radius(row, local, learning_rate, filled)
    return Forecast(row, filled, row.cost, closed, radius, stability_limit(row, local, **filled))


def converging(game: str | Game, learning_rate: Any = 0.1) -> list[Forecast]:
    """The methods, with default options, that converge; the fastest for each gradient evaluation first.

    There are none where the point at which they would stop is no equilibrium: a player gains there by moving alone.
    """
    found = find_game(game)
    if len(found.equilibria) and not kind_of(found, found.equilibria[0]).is_equilibrium:
        return []
    rows = [forecast(found, row, learning_rate) for row in METHODS.values()]
    return sorted((row for row in rows if row.converges), key=lambda row: row.per_evaluation or 1.0)


def near_equilibrium(game: Game) -> Game | None:
    """The linearisation of a game at its first equilibrium; ``None`` where none is known, or where F has a kink there.

    Of a bilinear game only the singular values that are not 0 are kept: the directions of the others are equilibria.
    """
    if not len(game.equilibria):
        return None
    if not is_smooth(game, game.equilibria[0]):
        return None
    jacobian = game.jacobian(game.equilibria[0])
    sizes = _singular_values(jacobian, game.players[0])
    if sizes is None or not sizes.size:
        return linear_game(jacobian, game.players)
    return linear_game(coupled(np.diag(sizes)))


def local_radius(row: Method, local: Game, rate: Any, options: MethodOptions) -> float | None:
    """The spectral radius on a linear game; ``None`` where the rate is not constant, or where it overflows."""
    pair = rate_pair(rate)
    found = np.nan if pair is None else float(radii(row, local, np.array([pair]), options)[0])
    return found if np.isfinite(found) else None


def is_defined(row: Method, local: Game, options: MethodOptions) -> bool:
    """True if a step is defined on a linear game: that of a method which solves a system may not be."""
    return not row.implicit or bool(np.isfinite(radii(row, local, np.full((1, 2), SMALLEST), options)).all())


def _singular_values(jacobian: Array, first: int) -> Array | None:
    """The singular values of A that are not 0 where F = (-Ay, Aᵀx), else ``None``."""
    matrix = -jacobian[:first, first:]
    if np.abs(jacobian - coupled(matrix)).max() > 1e-12 * max(1.0, float(np.abs(jacobian).max())):
        return None
    sizes = np.linalg.svd(matrix, compute_uv=False)
    return np.asarray(sizes[sizes > 1e-12 * max(1.0, float(sizes.max()))])


def singular_vectors(jacobian: Array, first: int) -> Array | None:
    """The coordinates of ``near_equilibrium`` as unit vectors (k, d), if they are not the numbers of z as they are."""
    sizes = _singular_values(jacobian, first)
    if sizes is None or not sizes.size:
        return None
    left, _, right = np.linalg.svd(-jacobian[:first, first:])
    found = np.zeros((2 * len(sizes), len(jacobian)))
    found[: len(sizes), :first] = left.T[: len(sizes)]
    found[len(sizes) :, first:] = right[: len(sizes)]
    return found


@np.errstate(all="ignore")
def local_factor(row: Method, local: Game, rate: Any, options: MethodOptions) -> float | None:
    """The closed form on a bilinear game; ``None`` where there is none, or where the rate is not constant.

    A step that is not linear is the same map for all points only where all singular values are equal.
    """
    number = as_number(rate)
    sizes = _singular_values(local.jacobian(np.zeros(local.size)), local.players[0])
    if number is None or sizes is None or row.name not in FORMS or not sizes.size:
        return None
    if not row.linear and np.ptp(sizes) > 1e-12 * sizes.max():
        return None
    try:
        found = [float(exact_factor(row, number, float(size), **options)) for size in sizes]
    except np.linalg.LinAlgError:  # A polynomial with infinite coefficients.
        return None
    return max(found) if np.isfinite(found).all() else None
