"""Oracles of a game, which methods query: F, products with J, solutions of linear systems.

A method is written once over ``Oracle``: ``ArrayOracle`` computes a step of many runs at once,
``recording.RecordingOracle`` records a step of a single run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np

from portable_nn.adversarial.games.game import Game, norm, solve
from portable_nn.operators import Array

V = TypeVar("V")
M = TypeVar("M")

NEWTON: Final = 50
"""Newton iterations of an implicit step, at most."""

EXACT: Final = 1e-15
"""Relative tolerance of the Newton iterations of an implicit step."""

SOLVED: Final = 1e-8
"""The residual of an equation that is solved, relative to the sizes of its terms."""

UNDERFLOW: Final = 1e-300
"""Residuals below this are rounding errors of numbers that are too small to have digits."""

NEWTON_FAILS: Final = "Newton's method does not find the end w of the step"


class Oracle(ABC, Generic[V, M]):
    """First-order and second-order information about a game; ``V`` is the type of vectors z, ``M`` that of matrices.

    ``nfev`` and ``njev`` count the evaluations of F and of J.
    """

    def __init__(self) -> None:
        self.nfev, self.njev = 0.0, 0.0

    @abstractmethod
    def field(self, z: V, share: float = 1.0) -> V:
        """F at z; counts as ``share`` of an evaluation: ½ where only one player's gradient is used."""

    @abstractmethod
    def jacobian(self, z: V) -> M:
        """J at z."""

    @abstractmethod
    def join(self, first: V, second: V) -> V:
        """The vector with x from ``first`` and y from ``second``."""

    @abstractmethod
    def root(self, v: V) -> V:
        """The square root of each number."""

    @abstractmethod
    def inner(self, u: V, v: V) -> Any:
        """The inner product, a number by which vectors can be multiplied."""

    @abstractmethod
    def apply(self, matrix: M, v: V) -> V:
        """matrix · v."""

    @abstractmethod
    def transposed(self, matrix: M) -> M:
        """matrixᵀ."""

    @abstractmethod
    def coupling(self, matrix: M) -> M:
        """The off-diagonal blocks, which couple the players; the diagonal blocks are 0."""

    @abstractmethod
    def own(self, matrix: M, player: int) -> M:
        """The diagonal block of one player (0: x, 1: y), and the identity as the other's."""

    @abstractmethod
    def solve(self, matrix: M, v: V) -> V:
        """The w with matrix · w = v."""

    @abstractmethod
    def shifted(self, rate: Any, matrix: M) -> M:
        """I + diag(rate) · matrix."""

    @abstractmethod
    def implicit(self, z: V, rate: Any) -> V:
        """The w with w = z - rate·F(w), by Newton's method from z."""


class Failure(NamedTuple):
    """Runs (…) of which a step has no solution, and why; ``residual`` (…) is what is ``left`` of its equation."""

    runs: Array
    residual: Array
    words: str
    left: str


class ArrayOracle(Oracle[Array, Array]):
    """Over points (…, d), each a run of its own; ``noise`` is the standard deviation of Gaussian noise on F.

    A step that has no solution is nan, and the last ``failure`` says of which runs and why.
    """

    def __init__(self, game: Game, noise: float = 0.0, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        self.game, self.first, self.noise = game, game.players[0], noise
        self.rng = rng or np.random.default_rng(0)
        self.failure: Failure | None = None

    def field(self, z: Array, share: float = 1.0) -> Array:
        """F, in a stochastic game that of a sample, plus noise."""
        self.nfev += share
        found = self._exact(z)
        return found + self._drawn(z) if self.noise else found

    def _exact(self, z: Array) -> Array:
        """F without noise."""
        return self.game.sampled(z, self.rng) if self.game.sampled else self.game.functions.field(z)

    def _drawn(self, z: Array) -> Array:
        """Noise of the shape of z."""
        return np.asarray(self.noise * self.rng.standard_normal(z.shape))

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

    def inner(self, u: Array, v: Array) -> Array:
        """The inner products, (…, 1)."""
        return np.asarray((u * v).sum(-1, keepdims=True))

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
        """By Gaussian elimination; a singular system without a solution is a ``failure``."""
        w = solve(matrix, v)
        left, size = self.apply(matrix, w) - v, np.abs(matrix).max((-1, -2)) * _largest(w) + _largest(v)
        bad = ~(_largest(left) <= SOLVED * size + UNDERFLOW) & np.isfinite(v).all(-1)
        return self._unless(bad, left, "the matrix M of its linear system is singular", "‖Mw - v‖", w)

    def shifted(self, rate: Any, matrix: Array) -> Array:
        """I + diag(rate) · matrix."""
        return np.asarray(np.eye(matrix.shape[-1]) + np.asarray(rate)[..., None] * matrix)

    def implicit(self, z: Array, rate: Any) -> Array:
        """Newton's method to ``EXACT``, at most ``NEWTON`` iterations; one iteration is exact for a linear game.

        The noise is drawn once, for F in the equation. What does not solve it is a ``failure``.
        """
        added = self._drawn(z) if self.noise else None
        w = z
        for _ in range(1 if self.game.linear else NEWTON):
            matrix = self.shifted(rate, self.jacobian(w))
            step = solve(matrix, self._equation(z, w, rate, added))
            w = w - step
            self.nfev += 1
            if not np.any(np.abs(step) > EXACT * np.abs(w)):
                break
        if self.game.sampled:
            return w
        left, size = self._equation(z, w, rate, added), _largest(z) + _largest(w)
        if np.all(_largest(left) <= SOLVED * size + UNDERFLOW):
            return w
        first = _largest(rate * self._exact(z))  # Not finite where the run itself has overflown.
        bad = ~(_largest(left) <= SOLVED * (size + first) + UNDERFLOW) & np.isfinite(_largest(z) + first)
        return self._unless(bad, left, NEWTON_FAILS, "‖w - z + ηF(w)‖", w)

    def _equation(self, z: Array, w: Array, rate: Any, added: Array | None) -> Array:
        """w - z + rate·F(w), which is 0 at the solution."""
        field = self._exact(w)
        return np.asarray(w - z + rate * (field if added is None else field + added))

    def _unless(self, bad: Array, left: Array, words: str, what: str, w: Array) -> Array:
        """The solution w, but nan where it is ``bad``, with what it leaves of its equation, (…, d)."""
        if not np.any(bad):
            return w
        self.failure = Failure(np.asarray(bad), norm(left), words, what)
        return np.where(np.asarray(bad)[..., None], np.nan, w)


def _largest(v: Array) -> Array:
    """The largest absolute value of vectors (…, d): (…)."""
    return np.asarray(np.abs(v).max(-1))
