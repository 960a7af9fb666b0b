"""Two-player zero-sum games: x maximises the payoff f(x, y), y minimises it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Protocol, TypeAlias

import numpy as np

from portable_nn.adversarial.games.derivatives import Derivation, Derived, Payoff
from portable_nn.adversarial.games.options import finite_array
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.operators import Array

Sampled: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""The vector field of one random sample of a stochastic game, at points (…, d)."""

SEARCHED: Final = 2.0
"""Newton's method starts from points up to this far from 0 in each variable."""


class Samples:
    """The vector field F = Mz of a matrix M that is drawn for each point, from ``matrices`` (n, d, d)."""

    def __init__(self, matrices: Array) -> None:
        self.matrices = matrices

    def __call__(self, z: Array, rng: np.random.Generator) -> Array:
        """At points (…, d): (…, d)."""
        drawn = self.matrices[rng.integers(len(self.matrices), size=z.shape[:-1])]
        return np.asarray((drawn @ z[..., None])[..., 0])


class GameFunctions(Protocol):
    """f, F and J at points (…, d); ``linear`` where J is constant."""

    linear: bool

    def value(self, z: Array) -> Array:
        """f: (…)."""

    def field(self, z: Array) -> Array:
        """F: (…, d)."""

    def jacobian(self, z: Array) -> Array:
        """J: (…, d, d)."""


@dataclass(frozen=True, eq=False)
class Game:
    """A two-player zero-sum game with payoff f(x, y), which x maximises and y minimises.

    z = (x, y) are the variables of both players, points are arrays (…, d). Simultaneous gradient descent-ascent follows
    -F, where F = (-∂f/∂x, ∂f/∂y) is the vector field; J is its Jacobian. An equilibrium is a point where F = 0.

    Attributes:
        name, title, source: for tables and messages; the title is the formula.
        players: the numbers of variables of x and of y.
        functions: f, F and J.
        known: the equilibria (m, d); ``None``: Newton's method looks for them.
        sampled: the vector field of a random sample, for a stochastic game.
        actions: where the numbers of each player are the logits of mixed strategies against that of the last action:
            the names of the actions.

    >>> from portable_nn.adversarial import game
    >>> game("x*y - 0.1*x**2").jacobian([0.0, 0.0])
    array([[ 0.2, -1. ],
           [ 1. ,  0. ]])
    """

    name: str
    title: str
    players: tuple[int, int]
    functions: GameFunctions
    known: Array | None = None
    source: str = ""
    sampled: Sampled | None = None
    actions: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<game {self.name}: {self.title}>"

    @property
    def size(self) -> int:
        """d, the number of variables of both players."""
        return sum(self.players)

    @property
    def function(self) -> Payoff | None:
        """f as a function of symbols; ``None`` for a game that was made otherwise."""
        if isinstance(self.functions, Linear):
            return self.functions.function if self.players == (1, 1) else None
        return self.functions.function if isinstance(self.functions, Derived) else None

    @cached_property
    def derivation(self) -> Derivation | None:
        """f, F and J of a single point as symbols; ``None`` for a game that has no ``function``."""
        return Derivation(self.function, self.players, ()) if self.function else None

    @property
    def linear(self) -> bool:
        """True if F is linear, that is, J is constant."""
        return self.functions.linear

    def value(self, z: object) -> Array:
        """f at points (…, d): (…)."""
        return self.functions.value(self.points(z))

    def field(self, z: object) -> Array:
        """F = (-∂f/∂x, ∂f/∂y) at points (…, d): the same shape."""
        return self.functions.field(self.points(z))

    def jacobian(self, z: object) -> Array:
        """J at points (…, d): (…, d, d), a row for each component of F."""
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
        """The points (m, d) where F = 0: those known, or those that Newton's method finds from points around 0."""
        return self.known if self.known is not None else find_equilibria(self)

    @property
    def lipschitz(self) -> float | None:
        """The Lipschitz constant ‖J‖₂ of a linear F; ``None`` for others."""
        return float(np.linalg.norm(self.jacobian(np.zeros(self.size)), 2)) if self.linear else None

    def distance(self, z: object) -> Array:
        """The distance of points (…, d) to the nearest equilibrium: (…); nan where none is known."""
        points = self.points(z)
        result = np.full(points.shape[:-1], np.nan)
        for equilibrium in self.equilibria:
            result = np.fmin(result, norm(self.offset(points, equilibrium)))
        return result

    @np.errstate(all="ignore")
    def offset(self, points: Array, equilibrium: Array) -> Array:
        """Points (…, d) relative to an equilibrium, orthogonal to the subspace of equilibria through it."""
        offsets = points - equilibrium
        return np.asarray(offsets - offsets @ self._free.T @ self._free) if self._free.size else offsets

    @cached_property
    def _free(self) -> Array:
        """An orthonormal basis (k, d) of the null space of J of a linear game."""
        if not self.linear:
            return np.empty((0, self.size))
        matrix = self.jacobian(np.zeros(self.size))
        _, sizes, directions = np.linalg.svd(matrix)
        return np.asarray(directions[sizes <= 1e-12 * max(1.0, float(sizes[0]))])


@np.errstate(all="ignore")
def norm(vectors: Array) -> Array:
    """The Euclidean norm of vectors (…, d), without overflow or underflow of squares: (…)."""
    largest = np.abs(vectors).max(-1)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.asarray(np.sqrt(np.square(vectors / scale[..., None]).sum(-1)) * scale)


def made_from(
    function: Payoff,
    players: tuple[int, int] = (1, 1),
    *,
    name: str = "custom",
    title: str = "a function of your own",
    equilibria: object = None,
    source: str = "",
) -> Game:
    """A game from a payoff f(x, y), written with + - * / **, ``expressions.FUNCTIONS`` and operators.

    Args:
        function: takes a symbol for each player, or a tuple of symbols where a player has several variables.
        players: the numbers of variables of x and of y.
        name, title, source: for tables and messages.
        equilibria: points (m, d) where F = 0, if they are known.

    Raises ``UsageError`` where the function does not return a scalar.
    """
    game = Game(name, title, players, Derived(function, players), source=source)
    if equilibria is None:
        return game
    points = finite_array("equilibria", equilibria, f"points of {game.size} numbers")
    return replace(game, known=np.atleast_2d(game.points(points)))


class Linear:
    """The functions of a game with F = Jz; f is defined where the game is zero-sum."""

    linear = True

    def __init__(self, matrix: Array, first: int) -> None:
        self.matrix = matrix
        # F = (-∂f/∂x, ∂f/∂y): with the signs undone, J is the Hessian of f.
        signs = np.where(np.arange(len(matrix)) < first, -1.0, 1.0)
        unsigned = signs[:, None] * matrix
        self.hessian = (unsigned + unsigned.T) / 2
        self.zero_sum = bool(np.array_equal(unsigned, unsigned.T))

    @property
    def function(self) -> Payoff | None:
        """f of one number of each player, as a function of symbols; ``None`` where no f has this field."""
        (a, b), (_, c) = self.hessian.tolist()
        return (lambda x, y: x * x * (0.5 * a) + x * y * b + y * y * (0.5 * c)) if self.zero_sum else None

    def value(self, z: Array) -> Array:
        """½ zᵀHz."""
        return np.asarray(0.5 * np.einsum("...i,ij,...j->...", z, self.hessian, z))

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
    """The game with the vector field F = Jz.

    Args:
        jacobian: J, (d, d). If it is not that of a zero-sum game, no payoff f has this field.
        players: the numbers of variables of x and of y; by default half of d each.
        name, title, source: for tables and messages.

    Raises ``UsageError`` where J is not square.
    """
    matrix = finite_array("the Jacobian", jacobian, "a square matrix")
    if matrix.ndim != 2 or len(set(matrix.shape)) != 1 or len(matrix) < 2:
        raise UsageError(f"the Jacobian must be a square matrix of at least 2 rows, not of shape {matrix.shape}")
    players = checked_players(players, len(matrix))
    return Game(name, title, players, Linear(matrix, players[0]), np.zeros((1, len(matrix))), source)


def coupled(matrix: Array) -> Array:
    """The Jacobian of xᵀAy: F = (-Ay, Aᵀx)."""
    rows, columns = matrix.shape
    return np.block([[np.zeros((rows, rows)), -matrix], [matrix.T, np.zeros((columns, columns))]])


def checked_players(players: Sequence[int] | None, size: int) -> tuple[int, int]:
    """The numbers of variables of x and of y, of ``size`` together. Raises ``UsageError``."""
    if players is None:
        if size % 2:
            raise UsageError(f"players must say how many of the {size} numbers are those of x, and how many of y")
        return size // 2, size // 2
    pair = tuple(players)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair) or sum(pair) != size:
        raise UsageError(f"players must be two whole numbers above 0 whose sum is {size}, not {players!r}")
    return pair[0], pair[1]


@np.errstate(all="ignore")
def find_equilibria(game: Game, steps: int = 60, most: int = 16) -> Array:
    """The points (m, d) where F = 0, by Newton's method from 0 and 64 points around it; at most ``most``."""
    rng = np.random.default_rng(0)
    z = np.concatenate([np.zeros((1, game.size)), rng.uniform(-SEARCHED, SEARCHED, (64, game.size))])
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
    """Solve (…, d, d) · w = (…, d), by the pseudoinverse where a matrix is singular; nan where it is not finite."""
    usable = np.asarray(np.isfinite(matrices).all((-1, -2)) & np.isfinite(vectors).all(-1))
    safe = np.where(usable[..., None, None], matrices, np.eye(matrices.shape[-1]))
    try:
        result = np.linalg.solve(safe, vectors[..., None])[..., 0]
    except np.linalg.LinAlgError:
        result = (np.linalg.pinv(safe) @ vectors[..., None])[..., 0]
    return np.where(usable[..., None], result, np.nan)
