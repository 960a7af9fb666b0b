"""A method near an equilibrium as linear algebra: what the eigenvalues say of a run before it is run.

Where a method's step on a linear game is no matrix that recurs, that of its limit is taken, if it has one: of anchored
extragradient after many steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import Game, linear_game, norm
from portable_nn.adversarial.methods.oracle import Oracle
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.theory.updates import radii, update_operator
from portable_nn.operators import Array

ROUNDING: Final = 1e-14
"""The relative error of an eigenvalue, for each unit of its condition number."""

WORST: Final = 1e-5
"""The error of an eigenvalue that is as ill-conditioned as can be: about the cube root of that of rounding."""

DEFECTIVE: Final = 1e6
"""The condition number of an eigenvalue from which on its powers may grow as those of a Jordan block."""

UNSEEN: Final = 1e-9
"""The share of a mode in the start below which it is not there; rounding errors may bring it in later."""

FOREVER: Final = 10**12
"""The step at which the clock of a method has reached its limit."""

SMOOTH: Final = 1e-4
"""The relative error of J as the derivative of F, very close to a point, where F is smooth."""

Pair = tuple[float, float]


class Modes(NamedTuple):
    """The eigenvectors of an update whose growth is seen in z, and the share of each in the start.

    Attributes:
        values: the eigenvalues, of a period of steps, (m,).
        errors: the error of the modulus of each, (m,).
        parts: the part of each in z at the start, (m, d), with their sum z there.
        present: whether the start has it, (m,).
        defective: whether powers of it may grow by themselves, (m,).
        repeats: steps of a period.
    """

    values: Array
    errors: Array
    parts: Array
    present: Array
    defective: Array
    repeats: int

    def largest(self, *, present: bool = True) -> tuple[float, float]:
        """The largest modulus and its error, of the modes in the start or of all; 0 without any."""
        moduli = np.where(self.present | (not present), np.abs(self.values), 0.0)
        if not len(moduli):
            return 0.0, 0.0
        place = int(np.argmax(moduli))
        return float(moduli[place]), float(self.errors[place])

    def growth(self, *, present: bool = True) -> float:
        """1 or -1 if the largest modulus is above or below 1, 0 if it is 1 within its error."""
        size, error = self.largest(present=present)
        return float(np.sign(size - 1)) if abs(size - 1) > error else 0.0

    @property
    def factor(self) -> float:
        """The largest modulus of the modes in the start, for one step."""
        return float(self.largest()[0] ** (1 / self.repeats))

    def orbit(self, begin: float) -> tuple[float, float, bool] | None:
        """The smallest and the largest distance from a step on where nothing grows, and whether it moves in the end.

        ``None`` where there may be growth of a Jordan block.
        """
        ring = self.present & (np.abs(np.abs(self.values) - 1) <= self.errors)
        if self.defective[ring].any():
            return None
        values, parts = self.values[self.present], self.parts[self.present]
        later = np.concatenate([np.arange(1024.0), np.round(np.geomspace(1024, 1e8, 1024))])
        times = np.round(begin / self.repeats) + np.unique(later)
        falls = np.where(ring[self.present], 0.0, np.log(np.maximum(np.abs(values), 1e-300)))
        lengths = norm((np.exp(np.outer(times, falls + 1j * np.angle(values))) @ parts).real)
        moves = np.abs(np.angle(self.values[ring])).max(initial=0) > 1e-12
        return float(lengths.min()), float(lengths.max()), bool(moves)


@np.errstate(all="ignore")
def modes(row: Method, game: Game, rates: Pair, options: MethodOptions, offset: Array) -> Modes | None:
    """The modes of a method with an update matrix on a linear game, from z (d,) relative to the equilibrium."""
    try:
        operator = update_operator(row, game, rates, **options)
        values, vectors = np.linalg.eig(operator)
        inverse = np.linalg.inv(vectors)
    except np.linalg.LinAlgError:
        return None
    context = StepContext(
        Oracle(linear_game(game.jacobian(offset * 0), game.players)),
        np.repeat(rates, game.players),
        row.ticks(0, options),
        options,
    )
    state = np.concatenate(row.begin(context, offset.copy()))
    weights = inverse @ state
    zero = np.zeros(game.size)
    shown = game.offset(np.concatenate([vectors[: game.size].real.T, vectors[: game.size].imag.T]), zero)
    heads = (shown[: len(values)] + 1j * shown[len(values) :]).astype(complex)
    seen = norm(np.abs(heads)) > 1e-9
    condition = norm(np.abs(inverse)) * norm(np.abs(vectors.T))
    parts = heads * weights[:, None]
    scale = float(norm(offset)) or 1.0
    return Modes(
        values=values[seen],
        errors=np.minimum(ROUNDING * np.maximum(condition, 1.0) * max(1.0, float(np.abs(operator).max())), WORST)[seen],
        parts=parts[seen],
        present=(norm(np.abs(parts)) > UNSEEN * scale)[seen],
        defective=(condition > DEFECTIVE)[seen],
        repeats=row.period(options) if row.period else 1,
    )


@np.errstate(all="ignore")
def limit_operator(
    row: Method, local: Game, rates: Pair, options: MethodOptions, state: tuple[Array, ...] | None = None
) -> Array | None:
    """The update operator near an equilibrium; of an anchored method that of its limit, after many steps.

    ``None`` where there is neither. Vectors of the state on which the limit does not act are those of ``state``.
    """
    if row.has_operator:
        return update_operator(row, local, rates, **options)
    if not row.lasting:
        return None
    context = StepContext(Oracle(local), np.repeat(rates, local.players), row.ticks(FOREVER, options), options)
    size = local.size
    begun = state or row.begin(context, np.zeros(size))
    batch = [np.tile(vector, (len(row.lasting) * size, 1)) for vector in begun]
    for vector in row.lasting:
        batch[vector][:] = 0.0
    for place, vector in enumerate(row.lasting):
        batch[vector][place * size : (place + 1) * size] = np.eye(size)
    after = row.step(context, tuple(batch))
    # Each row of the identity is a state; a step turns it into a column of the matrix.
    return np.asarray(np.concatenate([after[vector] for vector in row.lasting], axis=-1).T)


def local_game(game: Game, point: Array) -> Game | None:
    """The linearisation at a point; ``None`` where F has a kink."""
    return linear_game(game.jacobian(point), game.players) if is_smooth(game, point) else None


@np.errstate(all="ignore")
def is_smooth(game: Game, point: Array) -> bool:
    """True if F near a point is J(z - point): not at a kink, such as that of |x| at 0."""
    if game.linear:
        return True
    matrix = game.jacobian(point)
    if not np.isfinite(matrix).all():
        return False
    directions = np.random.default_rng(0).standard_normal((2 * game.size, game.size))
    reach = 1e-6 * max(1.0, float(norm(point)))
    found = game.field(point + reach * directions) / reach
    wanted = directions @ matrix.T
    return bool(np.abs(found - wanted).max() <= SMOOTH * max(1.0, float(np.abs(matrix).max())))


@np.errstate(all="ignore")
def log_radius(row: Method, local: Game, options: MethodOptions, share: Pair) -> Callable[[Array], Array] | None:
    """The logarithm of the spectral radius by the learning rate η, the rates of x and y being η times their ``share``.

    Small rates are on the power law c·ηᵐ to which it tends. ``None`` where it is not known.
    """
    scale = (local.lipschitz or 0.0) * max(share) or 1.0
    small = np.array([0.01, 0.02]) / scale
    found = np.log(radii(row, local, small[:, None] * share, options))
    if not np.isfinite(found).all():
        return None
    flat = bool(np.abs(found).max() < 1e-13)
    power = 1.0 if flat else float(np.round(np.log2(abs(found[1] / found[0]))))
    times = 0.0 if flat else float(found[0] / small[0] ** power)

    def at(rates: Array) -> Array:
        law = times * rates**power
        large = rates > small[0]
        if large.any():
            law[large] = np.log(radii(row, local, rates[large, None] * share, options))
        return law

    return at
