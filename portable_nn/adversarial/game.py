"""A game of two players on one function: x maximises f, y minimises it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol, TypeAlias

import numpy as np

from portable_nn.adversarial.choices import finite_array
from portable_nn.adversarial.derivatives import Derived, Function
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.operators.registry import Array

Sampled: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""The field of one random sample of a stochastic game, at points (…, d)."""

SEARCHED: Final = 2.0
"""From how far off 0 in each number equilibria are looked for, where none are given."""


class Functions(Protocol):
    """What computes f, F and J at points (…, d); ``linear`` where J is the same everywhere."""

    linear: bool

    def value(self, z: Array) -> Array:
        """f: (…)."""

    def field(self, z: Array) -> Array:
        """F: (…, d)."""

    def jacobian(self, z: Array) -> Array:
        """J: (…, d, d)."""


@dataclass(frozen=True, eq=False)
class Game:
    """Two players, one function f(x, y), of which x wants much and y little.

    z = (x, y) holds all numbers of both, ``players`` says how many are whose; points are arrays (…, d). Players who
    follow their own slope move along -F, where F = (-∂f/∂x, ∂f/∂y), and J is F's Jacobian. In an equilibrium F = 0.
    ``known`` are the equilibria (m, d) where they are known; otherwise they are looked for. ``sampled`` is the field of
    a random sample, for a game that is played on samples.
    """

    name: str
    title: str
    players: tuple[int, int]
    functions: Functions
    known: Array | None = None
    source: str = ""
    sampled: Sampled | None = None

    def __repr__(self) -> str:
        return f"<game {self.name}: {self.title}>"

    @property
    def size(self) -> int:
        """d, how many numbers z has."""
        return sum(self.players)

    @property
    def function(self) -> Function | None:
        """f as a function of symbols, where the game was made from one."""
        return self.functions.function if isinstance(self.functions, Derived) else None

    @property
    def linear(self) -> bool:
        """Whether F is linear, so that J is the same everywhere."""
        return self.functions.linear

    def value(self, z: object) -> Array:
        """f at points (…, d): (…)."""
        return self.functions.value(self.points(z))

    def field(self, z: object) -> Array:
        """F = (-∂f/∂x, ∂f/∂y) at points (…, d): the same shape."""
        return self.functions.field(self.points(z))

    def jacobian(self, z: object) -> Array:
        """J = J at points (…, d): (…, d, d), a row for each component of F."""
        return self.functions.jacobian(self.points(z))

    def points(self, z: object) -> Array:
        """``z`` as an array (…, d). Raises ``ShapeError``."""
        array = np.asarray(z, dtype=float)
        if array.ndim == 0 or array.shape[-1] != self.size:
            raise ShapeError(
                f"points of the game '{self.name}' have shape (…, {self.size}), {self.players[0]} numbers of x and "
                f"{self.players[1]} of y, not {array.shape}"
            )
        return array

    @cached_property
    def equilibria(self) -> Array:
        """Points (m, d) where F = 0: those known, or those that Newton's method finds from points near 0."""
        return self.known if self.known is not None else find_equilibria(self)

    @property
    def lipschitz(self) -> float | None:
        """The Lipschitz constant of F, its largest stretch ‖J‖; ``None`` where J is not the same everywhere."""
        return float(np.linalg.norm(self.jacobian(np.zeros(self.size)), 2)) if self.linear else None

    def distance(self, z: object) -> Array:
        """How far points (…, d) are from the nearest equilibrium: (…); not a number where none is known."""
        points = self.points(z)
        result = np.full(points.shape[:-1], np.nan)
        for equilibrium in self.equilibria:
            result = np.fmin(result, norm(self.offset(points, equilibrium)))
        return result

    def offset(self, points: Array, equilibrium: Array) -> Array:
        """Where points (…, d) are, seen from the equilibrium that is nearest of a line or plane of such."""
        offsets = points - equilibrium
        if not self._free.size:
            return offsets
        with np.errstate(all="ignore"):
            return np.asarray(offsets - offsets @ self._free.T @ self._free)

    @cached_property
    def _free(self) -> Array:
        """Directions (k, d) along which F of a linear game stays 0: its equilibria fill them."""
        if not self.linear:
            return np.empty((0, self.size))
        matrix = self.jacobian(np.zeros(self.size))
        _, sizes, directions = np.linalg.svd(matrix)
        return np.asarray(directions[sizes <= 1e-12 * max(1.0, float(sizes[0]))])


def norm(vectors: Array) -> Array:
    """The length of vectors (…, d), also of those whose squares are too large or small: (…)."""
    with np.errstate(all="ignore"):
        largest = np.abs(vectors).max(-1)
        scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
        found: Array = np.sqrt(np.square(vectors / scale[..., None]).sum(-1)) * scale
    return found


def made_from(
    function: Function,
    players: tuple[int, int] = (1, 1),
    *,
    name: str = "custom",
    title: str = "a function of your own",
    equilibria: object = None,
    source: str = "",
) -> Game:
    """A game from a function of symbols, written with + - * / ** and operators (see ``expressions.FUNCTIONS``).

    A player of one number is a symbol, one of several is a tuple of symbols. Derivatives come from the package's own
    gradient graph. Raises ``UsageError`` where the function makes no single number.
    """
    game = Game(name, title, players, Derived(function, players), source=source)
    if equilibria is None:
        return game
    points = finite_array("equilibria", equilibria, f"points of {game.size} numbers")
    return Game(name, title, players, game.functions, np.atleast_2d(game.points(points)), source)


class Linear:
    """The functions of a game whose field is F = Jz: f is known where the game is of zero sum."""

    linear = True

    def __init__(self, matrix: Array, first: int) -> None:
        self.matrix = matrix
        # F = (-∂f/∂x, ∂f/∂y), so with signs undone the Jacobian is the second derivative of f.
        signs = np.where(np.arange(len(matrix)) < first, -1.0, 1.0)
        unsigned = signs[:, None] * matrix
        self.curvature = (unsigned + unsigned.T) / 2

    def value(self, z: Array) -> Array:
        """½ zᵀHz."""
        return np.asarray(0.5 * np.einsum("...i,ij,...j->...", z, self.curvature, z))

    def field(self, z: Array) -> Array:
        """Jz."""
        return np.asarray(z @ self.matrix.T)

    def jacobian(self, z: Array) -> Array:
        """J, at every point."""
        return np.broadcast_to(self.matrix, (*z.shape, z.shape[-1])).copy()


def linear_game(
    jacobian: object,
    players: tuple[int, int] | None = None,
    *,
    name: str = "linear",
    title: str = "F = Jz",
    source: str = "",
) -> Game:
    """The game whose field is F = Jz; without ``players`` each has half of the numbers.

    Where J is not that of a game of zero sum, there is no f that is its value. Raises ``UsageError`` where J is not
    square.
    """
    matrix = finite_array("the Jacobian", jacobian, "a square matrix")
    if matrix.ndim != 2 or len(set(matrix.shape)) != 1 or len(matrix) < 2:
        raise UsageError(f"the Jacobian must be a square matrix of at least 2 rows, not of shape {matrix.shape}")
    players = checked_players(players, len(matrix))
    return Game(name, title, players, Linear(matrix, players[0]), np.zeros((1, len(matrix))), source)


def checked_players(players: Sequence[int] | None, size: int) -> tuple[int, int]:
    """How many of ``size`` numbers are whose; without ``players``, half each. Raises ``UsageError``."""
    if players is None:
        if size % 2:
            raise UsageError(f"players must say how many of the {size} numbers are those of x, and how many of y")
        return size // 2, size // 2
    pair = tuple(players)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair) or sum(pair) != size:
        raise UsageError(f"players must be two whole numbers above 0 whose sum is {size}, not {players!r}")
    return pair[0], pair[1]


def find_equilibria(game: Game, steps: int = 60, most: int = 16) -> Array:
    """Where F = 0: Newton's method from 0 and from 64 points around it, those that differ, at most ``most``: (m, d)."""
    rng = np.random.default_rng(0)
    z = np.concatenate([np.zeros((1, game.size)), rng.uniform(-SEARCHED, SEARCHED, (64, game.size))])
    with np.errstate(all="ignore"):
        for _ in range(steps):
            step = solve(game.jacobian(z), game.field(z))
            z = z - step
        good = (np.abs(game.field(z)).max(-1) < 1e-12) & (np.abs(step).max(-1) < 1e-9)
    found: list[Array] = []
    for point in z[good]:
        if np.abs(point).max() < 1e6 and all(norm(point - other) > 1e-6 for other in found):
            found.append(np.where(np.abs(point) < 1e-15, 0.0, point))
    return np.array(found[:most]).reshape(-1, game.size)


def solve(matrices: Array, vectors: Array) -> Array:
    """Solve (…, d, d) · w = (…, d); not a number where a matrix is singular or not finite."""
    usable = np.asarray(np.isfinite(matrices).all((-1, -2)) & np.isfinite(vectors).all(-1))
    safe = np.where(usable[..., None, None], matrices, np.eye(matrices.shape[-1]))
    try:
        result = np.linalg.solve(safe, vectors[..., None])[..., 0]
    except np.linalg.LinAlgError:
        result = (np.linalg.pinv(safe) @ vectors[..., None])[..., 0]
    return np.where(usable[..., None], result, np.nan)
