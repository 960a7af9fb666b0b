"""The update of a method on a linear game as a matrix: its eigenvalues, convergence factor and stability limit.

Near an equilibrium z* every smooth game is linear, F ≈ J(z - z*), so that all of this holds there locally.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.adversarial.games.game import Game, linear_game
from portable_nn.adversarial.games.options import rate_pair
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.oracle import Oracle
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions, find_method
from portable_nn.adversarial.theory.closed_forms import FORMS, POWERS
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array

ConstantRate: TypeAlias = float | tuple[float, float]
"""One learning rate, or that of x and that of y."""

STABLE: Final = 1e-9
"""Tolerance of the spectral radius for eigenvalues on the unit circle."""

SMALLEST, LARGEST, RATIO = 1e-3, 1e6, 1.05
"""The geometric grid of rates, times ‖J‖, in which a stability limit is bracketed."""

SECTIONS: Final = 32
"""Into how many parts a bracket is divided at once."""

MOST_ELEMENTS: Final = 1_000_000
"""Elements of the Jacobians that are computed at once."""


def exact_factor(method: str | Method, learning_rate: Any, sigma: float = 1.0, **options: object) -> Any:
    """The convergence factor on f = xᵀAy by the closed form of the literature; ``None`` if none is known.

    Args:
        method: a name of ``METHODS``.
        learning_rate: a number or an array.
        sigma: a singular value of A, 1 for f = x·y.
        options: the method's own.

    >>> round(exact_factor("simultaneous", 0.1), 8)
    1.00498756
    """
    row = find_method(method)
    filled, form = row.fill(options), FORMS.get(row.name)
    if form is None:
        return None
    scaled = {name: None if value is None else value * sigma ** POWERS.get(name, 0) for name, value in filled.items()}
    rate = np.asarray(learning_rate * sigma ** (2 if row.name == "hamiltonian" else 1), dtype=float)
    found = np.asarray(form(rate, **scaled))
    return found if rate.ndim else float(found)


def update_operator(
    method: str | Method,
    game: str | Game | Array,
    learning_rate: ConstantRate,
    *,
    players: tuple[int, int] | None = None,
    scheme: str | None = None,
    **options: object,
) -> Array:
    """The matrix that one step multiplies the method's state by, near an equilibrium.

    The state is z, followed by what else the method keeps, such as the last gradient. For a method with a period of k
    steps, such as Lookahead, it is the matrix of k steps.

    Args:
        method: a name of ``METHODS``.
        game: a game, of which the Jacobian at the first equilibrium is taken, or a Jacobian (d, d).
        learning_rate: a number, or a pair for x and y.
        players: for a Jacobian, how many of the d variables are those of x and of y; by default half each.
        scheme: the update scheme, if it is another than the method's.
        options: the method's own.

    Raises ``UsageError`` for a method that is not linear or has no period.
    """
    row = find_method(method, scheme)
    linear, filled = _linearised(game, players), row.fill(options)
    rates = rate_pair(learning_rate)
    period(row, filled)
    if rates is None or min(rates) < 0:
        raise UsageError(f"learning_rate must be a number of at least 0, or a pair of them, not {learning_rate!r}")
    return np.asarray(_operators(row, linear, np.array([rates]), filled)[0])


def spectrum(method: str | Method, game: str | Game | Array, learning_rate: ConstantRate, **options: Any) -> Array:
    """The eigenvalues of ``update_operator``, by falling modulus; arguments as there.

    Raises ``UsageError`` also where the update is not finite.
    """
    operator = update_operator(method, game, learning_rate, **options)
    if not np.isfinite(operator).all():
        name = find_method(method, options.get("scheme")).name
        raise UsageError(
            f"at a learning rate of {learning_rate} the update of the method '{name}' is no matrix of finite numbers: "
            "it overflows, or it is not defined on this game"
        )
    found = np.linalg.eigvals(operator)
    return np.asarray(found[np.argsort(-np.abs(found), kind="stable")])


def spectral_radius(
    method: str | Method, game: str | Game | Array, learning_rate: ConstantRate, **options: Any
) -> float:
    """The largest modulus of an eigenvalue, for one step: the asymptotic convergence factor.

    Arguments as those of ``update_operator``.

    >>> round(spectral_radius("extragradient", "bilinear", 0.1), 8)
    0.99503769
    """
    row = find_method(method, options.get("scheme"))
    own = {name: value for name, value in options.items() if name in row.options}
    largest = float(np.abs(spectrum(method, game, learning_rate, **options)[0]))
    return float(largest ** (1 / period(row, row.fill(own))))


def stability_limit(
    method: str | Method,
    game: str | Game | Array = "bilinear",
    *,
    players: tuple[int, int] | None = None,
    scheme: str | None = None,
    **options: object,
) -> float:
    """The largest learning rate of the stable range that begins at 0: 0 if there is none, inf if it has no end.

    A rate is stable where the spectral radius is at most 1. Arguments as those of ``update_operator``.
    """
    row = find_method(method, scheme)
    filled, linear = row.fill(options), _linearised(game, players)
    period(row, filled)
    scale = linear.lipschitz or 1.0
    count = int(np.ceil(np.log(LARGEST / SMALLEST) / np.log(RATIO)))
    grid = SMALLEST / scale * RATIO ** np.arange(count + 1)
    place = _first_unstable(row, linear, grid, filled)
    if place is None or place == 0:
        return 0.0 if place == 0 else float("inf")
    low, high = grid[place - 1], grid[place]
    while high - low > 1e-12 * high:
        inner = np.linspace(low, high, SECTIONS + 1)
        found = _first_unstable(row, linear, inner[1:-1], filled)
        low, high = (inner[-2], high) if found is None else (inner[found], inner[found + 1])
    return float(low)


def invariant(
    method: str | Method, game: str | Game = "bilinear", learning_rate: float = 0.1
) -> Callable[[Any], Array] | None:
    """A conserved quantity of a method on f = xᵀAy, as a function of points (…, d); ``None`` if none is known.

    Alternating gradient descent-ascent conserves ‖x‖² + ‖y‖² + ηf (Gidel et al. 2019, arXiv 1807.04740; Bailey, Gidel &
    Piliouras 2020, arXiv 1907.04392), the implicit midpoint rule ‖x‖² + ‖y‖².
    """
    row, found = find_method(method), find_game(game)
    matrix = found.jacobian(np.zeros(found.size)) if found.linear else np.eye(found.size)
    if not found.linear or np.abs(matrix + matrix.T).max() > 0:
        return None
    if row.name == "alternating":
        return lambda z: np.square(z).sum(-1) + learning_rate * found.value(z)
    if row.name == "midpoint":
        return lambda z: np.asarray(np.square(z).sum(-1))
    return None


def period(row: Method, options: MethodOptions) -> int:
    """After how many steps the update recurs. Raises ``UsageError`` for a method that has no update matrix."""
    if not row.linear or row.period is None:
        why = "its step is not linear" if not row.linear else "its step is never the same again"
        raise UsageError(f"the method '{row.name}' has no update matrix: {why}")
    return row.period(options)


def _linearised(game: str | Game | Array, players: tuple[int, int] | None) -> Game:
    """The linearisation of a game at its first equilibrium."""
    if isinstance(game, (np.ndarray, list)):
        return linear_game(game, players)
    found = find_game(game)
    if not len(found.equilibria):
        raise UsageError(f"no equilibrium of the game '{found.name}' is known: give the Jacobian at a point instead")
    return linear_game(found.jacobian(found.equilibria[0]), found.players)


def _operators(row: Method, linear: Game, rates: Array, options: MethodOptions) -> Array:
    """The update matrices (n, s, s) at rates (n, 2) of x and y."""
    size = linear.size
    context = StepContext(Oracle(linear), np.repeat(rates, linear.players, axis=1)[:, None], (), options)
    vectors = len(row.begin(context, np.zeros(size)))
    # Each row of the identity is a state; a step turns it into a column of the matrix.
    states = np.eye(vectors * size).reshape(vectors * size, vectors, size)
    state = tuple(np.repeat(states[None, :, place], len(rates), axis=0) for place in range(vectors))
    state = row.advanced(context, state, period(row, options))
    return np.swapaxes(np.concatenate(state, axis=-1), -1, -2)


@np.errstate(all="ignore")
def radii(row: Method, local: Game, rates: Array, options: MethodOptions) -> Array:
    """The spectral radius for one step on a linear game, at each of the rates (n, 2) of x and y: (n,).

    It is nan where the update is not finite, as that of a method which is not defined on the game.
    """
    operators, repeats = _operators(row, local, rates, options), period(row, options)
    usable = np.isfinite(operators).all((-1, -2))
    if usable.all():
        found = np.abs(np.linalg.eigvals(operators)).max(axis=-1)
    else:
        found = np.full(len(rates), np.nan)
        found[usable] = np.abs(np.linalg.eigvals(operators[usable])).max(axis=-1)
    return np.asarray(found if repeats == 1 else found ** (1 / repeats))


def _first_unstable(row: Method, linear: Game, rates: Array, options: MethodOptions) -> int | None:
    """The place of the first rate with a spectral radius over 1; ``None`` if there is none."""
    batch = max(1, min(2 * SECTIONS, MOST_ELEMENTS // (2 * linear.size**3)))
    for begin in range(0, len(rates), batch):
        part = np.repeat(rates[begin : begin + batch, None], 2, axis=1)
        unstable = ~(radii(row, linear, part, options) <= 1 + STABLE)
        if unstable.any():
            return begin + int(np.argmax(unstable))
    return None
