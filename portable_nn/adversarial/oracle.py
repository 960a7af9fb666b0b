"""What a method asks of a game: F, products with J, and solutions of equations; over arrays, or over symbols.

Over arrays a step is computed for many points at once. Over the symbols of two numbers a step is traced once, so that
it can be compiled (see ``compiled``). A method is written once, for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import numpy as np

from portable_nn.adversarial.derivatives import Derivation, substitute
from portable_nn.adversarial.game import Game, solve
from portable_nn.operators import Symbol, emit
from portable_nn.operators.registry import Array

V = TypeVar("V")
M = TypeVar("M")

NEWTON: Final = 50
"""After how many iterations an implicit step is taken as it is."""

EXACT: Final = 1e-15
"""How small a Newton iteration must have become, beside the point itself, for an implicit step to be done."""


class Oracle(ABC, Generic[V, M]):
    """``V`` is a vector of the numbers of both players, ``M`` a matrix over them. ``nfev`` and ``njev`` count."""

    def __init__(self) -> None:
        self.nfev, self.njev = 0.0, 0.0

    @abstractmethod
    def field(self, z: V, share: float = 1.0) -> V:
        """F at z; ``share`` is how much of it is used, ½ where one player's part is."""

    @abstractmethod
    def jacobian(self, z: V) -> M:
        """J at z."""

    @abstractmethod
    def join(self, first: V, second: V) -> V:
        """The numbers of x from the one, those of y from the other."""

    @abstractmethod
    def root(self, v: V) -> V:
        """The square root of each number."""

    @abstractmethod
    def apply(self, matrix: M, v: V) -> V:
        """matrix · v."""

    @abstractmethod
    def transposed(self, matrix: M) -> M:
        """matrixᵀ."""

    @abstractmethod
    def coupling(self, matrix: M) -> M:
        """What is off the diagonal blocks: how each player's slope depends on the other player."""

    @abstractmethod
    def own(self, matrix: M, player: int) -> M:
        """The diagonal block of that player, with 1 on the diagonal for the other."""

    @abstractmethod
    def solve(self, matrix: M, v: V) -> V:
        """The w with matrix · w = v."""

    @abstractmethod
    def shifted(self, rate: Any, matrix: M) -> M:
        """1 + rate · matrix, where a rate multiplies rows."""

    @abstractmethod
    def implicit(self, z: V, rate: Any) -> V:
        """The w with w = z - rate·F(w), by Newton's method from z."""

    def newton(self, z: V, w: V, rate: Any) -> V:
        """What one iteration for ``implicit`` takes off w."""
        matrix = self.shifted(rate, self.jacobian(w))
        return self.solve(matrix, w - z + rate * self.field(w))  # type: ignore[operator]


class ArrayOracle(Oracle[Array, Array]):
    """Over points (…, d), each its own run; ``noise`` is the standard deviation of what each number of F gets added."""

    def __init__(self, game: Game, noise: float = 0.0, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        self.game, self.first, self.noise = game, game.players[0], noise
        self.rng = rng or np.random.default_rng(0)

    def field(self, z: Array, share: float = 1.0) -> Array:
        """F, or that of a sample, and noise."""
        self.nfev += share
        found = self.game.sampled(z, self.rng) if self.game.sampled else self.game.functions.field(z)
        return found + self.noise * self.rng.standard_normal(z.shape) if self.noise else found

    def jacobian(self, z: Array) -> Array:
        """J."""
        self.njev += 1
        return self.game.functions.jacobian(z)

    def join(self, first: Array, second: Array) -> Array:
        """x of the first, y of the second."""
        return np.concatenate([first[..., : self.first], second[..., self.first :]], axis=-1)

    def root(self, v: Array) -> Array:
        """√v."""
        return np.sqrt(v)

    def apply(self, matrix: Array, v: Array) -> Array:
        """Matrix times vector."""
        return np.asarray((matrix @ v[..., None])[..., 0])

    def transposed(self, matrix: Array) -> Array:
        """The transpose."""
        return np.swapaxes(matrix, -1, -2)

    def coupling(self, matrix: Array) -> Array:
        """Zeros in place of the diagonal blocks."""
        found = matrix.copy()
        found[..., : self.first, : self.first] = 0
        found[..., self.first :, self.first :] = 0
        return found

    def own(self, matrix: Array, player: int) -> Array:
        """One diagonal block."""
        found = np.broadcast_to(np.eye(matrix.shape[-1]), matrix.shape).copy()
        part = slice(None, self.first) if player == 0 else slice(self.first, None)
        found[..., part, part] = matrix[..., part, part]
        return found

    def solve(self, matrix: Array, v: Array) -> Array:
        """By elimination."""
        return solve(matrix, v)

    def shifted(self, rate: Any, matrix: Array) -> Array:
        """1 + rate · matrix."""
        return np.asarray(np.eye(matrix.shape[-1]) + np.asarray(rate)[..., None] * matrix)

    def implicit(self, z: Array, rate: Any) -> Array:
        """Newton's method until nothing changes any more; a linear game takes one iteration."""
        w = z
        for _ in range(1 if self.game.linear else NEWTON):
            step = self.newton(z, w, rate)
            w = w - step
            if not np.any(np.abs(step) > EXACT * np.abs(w)):
                break
        return w


class Pair:
    """Two symbols, or numbers, that are calculated with as one vector."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def _with(self, other: Any, apply: Callable[[Any, Any], Any]) -> Pair:
        x, y = (other.x, other.y) if isinstance(other, Pair) else (other, other)
        return Pair(apply(self.x, x), apply(self.y, y))

    def __add__(self, other: Any) -> Pair:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Pair:
        return self._with(other, lambda a, b: a - b)

    def __mul__(self, other: Any) -> Pair:
        return self._with(other, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> Pair:
        return self._with(other, lambda a, b: b * a)

    def __truediv__(self, other: Any) -> Pair:
        return self._with(other, lambda a, b: a / b)


Square = tuple[Any, Any, Any, Any]
"""A 2 by 2 matrix of symbols, row by row."""


class SymbolOracle(Oracle[Pair, Square]):
    """Over the symbols of a game of two numbers."""

    def __init__(self, game: Game) -> None:
        super().__init__()
        assert game.function is not None
        self.linear = game.linear
        self.derivation = Derivation(game.function, game.players, ())

    def _at(self, z: Pair, outputs: list[Symbol]) -> list[Symbol]:
        return substitute(outputs, dict(zip(self.derivation.leaves, (z.x, z.y), strict=True)))

    def field(self, z: Pair, share: float = 1.0) -> Pair:
        """F."""
        self.nfev += share
        return Pair(*self._at(z, self.derivation.field))

    def jacobian(self, z: Pair) -> Square:
        """J."""
        self.njev += 1
        (a, b), (c, d) = self.derivation.jacobian
        found = self._at(z, [a, b, c, d])
        return found[0], found[1], found[2], found[3]

    def join(self, first: Pair, second: Pair) -> Pair:
        """x of the first, y of the second."""
        return Pair(first.x, second.y)

    def root(self, v: Pair) -> Pair:
        """√v."""
        return Pair(emit("Sqrt", v.x), emit("Sqrt", v.y))

    def apply(self, matrix: Square, v: Pair) -> Pair:
        """Matrix times vector."""
        a, b, c, d = matrix
        return Pair(a * v.x + b * v.y, c * v.x + d * v.y)

    def transposed(self, matrix: Square) -> Square:
        """The transpose."""
        a, b, c, d = matrix
        return a, c, b, d

    def coupling(self, matrix: Square) -> Square:
        """Zeros on the diagonal."""
        a, b, c, d = matrix
        return a * 0.0, b, c, d * 0.0

    def own(self, matrix: Square, player: int) -> Square:
        """One number of the diagonal."""
        a, b, c, d = matrix
        one = a * 0.0 + 1.0
        return (a, b * 0.0, c * 0.0, one) if player == 0 else (one, b * 0.0, c * 0.0, d)

    def solve(self, matrix: Square, v: Pair) -> Pair:
        """By Cramer's rule."""
        a, b, c, d = matrix
        determinant = a * d - b * c
        return Pair((d * v.x - b * v.y) / determinant, (a * v.y - c * v.x) / determinant)

    def shifted(self, rate: Pair, matrix: Square) -> Square:
        """1 + rate · matrix."""
        a, b, c, d = matrix
        return rate.x * a + 1.0, rate.x * b, rate.y * c, rate.y * d + 1.0

    def implicit(self, z: Pair, rate: Pair) -> Pair:
        """One iteration: all that a linear game takes. Raises ``LookupError`` for others, which take a loop."""
        if not self.linear:
            raise LookupError("an implicit step of a game that is not linear")
        return z - self.newton(z, z, rate)
