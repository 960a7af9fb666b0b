"""The oracle of a game, which methods query: F, products with J, solutions of linear systems.

A method is written once over ``Oracle``, which computes a step of many runs at once; as ``recording.RecordingOracle``
it records a step of a single run.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import Game, norm, solve
from portable_nn.operators import Array

NEWTON: Final = 50
"""Newton iterations of an implicit step, at most."""

EXACT: Final = 1e-15
"""Relative tolerance of the Newton iterations of an implicit step."""

SOLVED: Final = 1e-8
"""The residual of an equation that is solved, relative to the sizes of its terms."""

UNDERFLOW: Final = 1e-300
"""Residuals below this are rounding errors of numbers that are too small to have digits."""

NEWTON_FAILS: Final = "Newton's method does not find the end w of the step"


class Failure(NamedTuple):
    """Runs (…) of which a step has no solution, and why; ``residual`` (…) is what is ``left`` of its equation."""

    runs: Array
    residual: Array
    words: str
    left: str


class Oracle:
    """First-order and second-order information about a game, over points (…, d), each a run of its own.

    Elements are floats, or scalars of a tape (see ``recording.RecordingOracle``). ``noise`` is the standard deviation
    of Gaussian noise on F. A step that has no solution is nan, and the last ``failure`` says of which runs and why.
    ``nfev`` and ``njev`` count the evaluations of F and of J.
    """

    def __init__(self, game: Game, noise: float = 0.0, rng: np.random.Generator | None = None) -> None:
        self.game, self.first, self.noise = game, game.players[0], noise
        self.rng = rng or np.random.default_rng(0)
        self.nfev, self.njev = 0.0, 0.0
        self.failure: Failure | None = None

    def field(self, z: Array, share: float = 1.0) -> Array:
        """F, in a stochastic game that of a sample, plus noise.

        It counts as ``share`` of an evaluation: ½ where only one player's gradient is used.
        """
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
        """The vector with x from ``first`` and y from ``second``."""
        return np.concatenate([first[..., : self.first], second[..., self.first :]], axis=-1)

    def root(self, v: Array) -> Array:
        """The square root of each number."""
        return np.sqrt(v)

    def inner(self, u: Array, v: Array) -> Array:
        """The inner products, (…, 1), by which vectors can be multiplied."""
        return np.asarray((u * v).sum(-1, keepdims=True))

    def apply(self, matrix: Array, v: Array) -> Array:
        """Matrix times vector."""
        return np.asarray((matrix @ v[..., None])[..., 0])

    def transposed(self, matrix: Array) -> Array:
        """Its transpose."""
        return np.swapaxes(matrix, -1, -2)

    def coupling(self, matrix: Array) -> Array:
        """The off-diagonal blocks, which couple the players; the diagonal blocks are 0."""
        found = matrix.copy()
        found[..., : self.first, : self.first] = 0.0
        found[..., self.first :, self.first :] = 0.0
        return found

    def own(self, matrix: Array, player: int) -> Array:
        """The diagonal block of one player (0: x, 1: y), and the identity as the other's."""
        found = np.broadcast_to(np.eye(matrix.shape[-1]).astype(matrix.dtype), matrix.shape).copy()
        part = slice(None, self.first) if player == 0 else slice(self.first, None)
        found[..., part, part] = matrix[..., part, part]
        return found

    def solve(self, matrix: Array, v: Array) -> Array:
        """The w with matrix · w = v; a singular system without a solution is a ``failure``."""
        w = solve(matrix, v)
        left, size = self.apply(matrix, w) - v, np.abs(matrix).max((-1, -2)) * _largest(w) + _largest(v)
        bad = ~(_largest(left) <= SOLVED * size + UNDERFLOW) & np.isfinite(v).all(-1)
        return self._unless(bad, left, "the matrix M of its linear system is singular", "‖Mw - v‖", w)

    def shifted(self, rate: Any, matrix: Array) -> Array:
        """I + diag(rate) · matrix."""
        return np.asarray(np.eye(matrix.shape[-1]) + np.asarray(rate)[..., None] * matrix)

    def implicit(self, z: Array, rate: Any) -> Array:
        """The w with w = z - rate·F(w), by Newton's method from z, one iteration of which is exact for a linear game.

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
