"""What a method does to a linear game, exactly: its update as a matrix, the eigenvalues of that, and what follows.

Near an equilibrium every smooth game is linear, F ≈ J(z - z*), so the same tells what happens there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.choices import as_number
from portable_nn.adversarial.closed_forms import ClosedForm
from portable_nn.adversarial.fitting import fit
from portable_nn.adversarial.game import Game, linear_game
from portable_nn.adversarial.games import game as find_game
from portable_nn.adversarial.methods import Method, Options, find_method
from portable_nn.adversarial.oracle import ArrayOracle
from portable_nn.adversarial.result import Result
from portable_nn.adversarial.steps import Now
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

STABLE: Final = 1e-9
"""By how much the spectral radius may be over 1 where eigenvalues on the unit circle are meant."""

SMALLEST, LARGEST, RATIO = 1e-3, 1e6, 1.05
"""The rates, times ‖J‖, among which a stability limit is looked for, and the ratio of each to the last."""


def closed_form(method: str | Method, scheme: str | None = None) -> ClosedForm | None:
    """The factor that a method multiplies the distance by at each step on f = x·y; ``None`` where no form is known.

    It is called as ``form(learning_rate * sigma, **options)``, on a number or an array, for f = xᵀAy at a singular
    value sigma of A; options that are left out are the method's own. Where sigma is not 1, ``gamma`` and ``lam`` are to
    be given times sigma, and Hamiltonian descent takes learning_rate · sigma²: ``exact_factor`` does that.
    """
    row = find_method(method, scheme)
    known = row.closed_form
    if known is None:
        return None

    def form(h: Any, **options: object) -> Any:
        found = known(np.asarray(h, dtype=float), **row.fill(options))
        return float(found) if np.ndim(h) == 0 else np.asarray(found)

    return form


def exact_factor(method: str | Method, learning_rate: Any, sigma: float = 1.0, **options: object) -> Any:
    """The closed form on f = xᵀAy at one singular value of A, with all that it scales scaled; ``None`` without one."""
    row = find_method(method)
    form = closed_form(row)
    if form is None:
        return None
    filled = row.fill(options)
    scaled = {name: value * sigma for name, value in filled.items() if name in {"gamma", "lam"} and value is not None}
    return form(learning_rate * sigma ** (2 if row.name == "hamiltonian" else 1), **{**filled, **scaled})


def update_operator(
    method: str | Method,
    game: str | Game | Array,
    learning_rate: float | tuple[float, float],
    *,
    players: tuple[int, int] | None = None,
    scheme: str | None = None,
    **options: object,
) -> Array:
    """The matrix that a step multiplies the method's state by: z first, then whatever else the method keeps.

    ``game`` is a game, of which the Jacobian in its first equilibrium counts, or a Jacobian (d, d), where ``players``
    says how many numbers are whose. The matrix has the size of the state: d for simultaneous gradient descent, 2d for a
    method that keeps its last gradient. For a method that does the same again after k steps, such as Lookahead, it is
    the matrix of k steps. Raises ``UsageError`` for a method that is not linear, or never does the same again.
    """
    row = find_method(method, scheme)
    return _operator(row, _linearised(game, players), learning_rate, row.fill(options))


def spectrum(
    method: str | Method, game: str | Game | Array, learning_rate: float | tuple[float, float], **options: Any
) -> Array:
    """The eigenvalues of ``update_operator``, the largest first; of k steps, for a method that repeats after k."""
    found = np.linalg.eigvals(update_operator(method, game, learning_rate, **options))
    return np.asarray(found[np.argsort(-np.abs(found), kind="stable")])


def spectral_radius(
    method: str | Method, game: str | Game | Array, learning_rate: float | tuple[float, float], **options: Any
) -> float:
    """By which factor a step multiplies the distance in the long run: the size of the largest eigenvalue."""
    row = find_method(method, options.get("scheme"))
    own = {name: value for name, value in options.items() if name in row.options}
    largest = float(np.abs(spectrum(method, game, learning_rate, **options)[0]))
    return float(largest ** (1 / _period(row, row.fill(own))))


def stability_limit(
    method: str | Method,
    game: str | Game | Array = "bilinear",
    *,
    players: tuple[int, int] | None = None,
    scheme: str | None = None,
    **options: object,
) -> float:
    """The learning rate up to which the distance does not grow, by bisection; 0 where it always does, inf where never.

    It is the end of the first range of rates, from 0 on, whose spectral radius is at most 1.
    """
    row = find_method(method, scheme)
    filled, linear = row.fill(options), _linearised(game, players)
    scale = float(np.linalg.norm(linear.jacobian(np.zeros(linear.size)), 2)) or 1.0

    def stable(rate: float) -> bool:
        return _radius(row, linear, rate, filled) <= 1 + STABLE

    low = SMALLEST / scale
    if not stable(low):
        return 0.0
    high = low * RATIO
    while stable(high):
        low, high = high, high * RATIO
        if high * scale > LARGEST:
            return float("inf")
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return low


def invariant(
    method: str | Method, game: str | Game = "bilinear", learning_rate: float = 0.1
) -> Callable[[Any], Array] | None:
    """What never changes along a run of a method whose factor is 1, as a function of points (…, d); else ``None``.

    On f = xᵀAy alternating gradient descent conserves ‖x‖² + ‖y‖² + ηf (Gidel et al. 2019, arXiv 1807.04740; Bailey,
    Gidel & Piliouras 2020, arXiv 1907.04392), the implicit midpoint rule ‖x‖² + ‖y‖².
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


def fitted_rate(run: Result | Array, *, equilibrium: object = 0.0, period: int = 1) -> Any:
    """The factor of the distance a step, measured: from a result, or from points (n, …, d), one after each step.

    See ``fitting.fit``. A number for one run, else (…).
    """
    if isinstance(run, Result):
        return run.rate
    points = np.asarray(run, dtype=float)
    if points.ndim == 1:
        points = points[:, None]
    offsets = points - np.asarray(equilibrium, dtype=float)
    flat = offsets.reshape(len(points), -1, points.shape[-1])
    with np.errstate(all="ignore"):
        found = np.array([fit(flat[:, run], period).factor for run in range(flat.shape[1])])
    return found.reshape(points.shape[1:-1]) if points.ndim > 2 else float(found[0])


def _linearised(game: str | Game | Array, players: tuple[int, int] | None) -> Game:
    """The linear game that a game is near its first equilibrium."""
    if isinstance(game, (np.ndarray, list)):
        return linear_game(game, players)
    found = find_game(game)
    if not len(found.equilibria):
        raise UsageError(f"no equilibrium of the game '{found.name}' is known: give the Jacobian at a point instead")
    return linear_game(found.jacobian(found.equilibria[0]), found.players)


def _period(row: Method, options: Options) -> int:
    if not row.linear or row.period is None:
        why = "its step is not linear" if not row.linear else "its step is never the same again"
        raise UsageError(f"the method '{row.name}' has no update matrix: {why}")
    return row.period(options)


def _operator(row: Method, linear: Game, learning_rate: float | tuple[float, float], options: Options) -> Array:
    period = _period(row, options)
    pair = learning_rate if isinstance(learning_rate, tuple) else (learning_rate, learning_rate)
    rates = [as_number(rate) for rate in pair]
    if len(rates) != 2 or any(rate is None or rate < 0 for rate in rates):
        raise UsageError(f"learning_rate must be a number of at least 0, or a pair of them, not {learning_rate!r}")
    now = Now(ArrayOracle(linear), np.repeat(np.array(rates, dtype=float), linear.players), (), options)
    count, size = len(row.begin(now, np.zeros(linear.size))), linear.size
    # Each row of the identity is a state; a step turns it into a column of the matrix.
    states = np.eye(count * size).reshape(count * size, count, size)
    state = tuple(states[:, place] for place in range(count))
    for step in range(period):
        now.clock = row.ticks(step, options)
        state = row.step(now, state)
    return np.concatenate(state, axis=-1).T


def _radius(row: Method, linear: Game, rate: float, options: Options) -> float:
    return float(np.abs(np.linalg.eigvals(_operator(row, linear, rate, options))).max())
