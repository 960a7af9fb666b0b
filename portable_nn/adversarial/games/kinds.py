"""The kind of a point with F = 0, by the second-order tests of both players.

F = 0 says that neither player gains to first order. Whether either gains by the second order is said by the curvatures:
x maximises f, so that it gains where ∂²f/∂x² has an eigenvalue above 0; y minimises f, and gains where ∂²f/∂y² has one
below 0. Where neither gains, the point is a local Nash equilibrium. Where only x gains, it may still be a local minimax
point: y answers each move of x, and then x loses (Jin, Netrapalli & Jordan 2020, arXiv 1902.00618).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.operators import Array

FLAT: Final = 1e-9
"""Curvatures below this, relative to the largest second derivative, are 0."""


@dataclass(frozen=True)
class Kind:
    """A point with F = 0: whether it is an equilibrium, and of which kind, or who gains there by moving alone.

    ``x_gains`` is the largest curvature of f in x if x gains by moving alone, else 0; ``y_gains`` the smallest in y.
    """

    is_equilibrium: bool
    words: str
    x_gains: float = 0.0
    y_gains: float = 0.0

    def __str__(self) -> str:
        return self.words if self.is_equilibrium else f"no equilibrium: {self.words}"


@np.errstate(all="ignore")
def kind_of(game: Game, point: object) -> Kind:
    """The kind of a point (d,) with F = 0.

    >>> from portable_nn.adversarial import game
    >>> kind_of(game("ridge-other"), (0, 0)).words
    'y gains by moving alone (its curvature is -2)'
    """
    matrix = game.jacobian(point)
    first = game.players[0]
    if not np.isfinite(matrix).all():
        return Kind(True, "an equilibrium")
    # F = (-∂f/∂x, ∂f/∂y): the blocks of J are those of the Hessian, the upper ones with the opposite sign.
    own_x, own_y = -matrix[:first, :first], matrix[first:, first:]
    least = FLAT * max(float(np.abs(matrix).max()), 1e-300)
    x_gains, y_gains = float(_curvatures(own_x)[-1]), float(_curvatures(own_y)[0])
    x_gains, y_gains = x_gains if x_gains > least else 0.0, y_gains if y_gains < -least else 0.0
    if not x_gains and not y_gains:
        return Kind(True, "a local Nash equilibrium")
    if not y_gains and _is_minimax(matrix, first, least):
        return Kind(True, "a local minimax point, no Nash equilibrium", x_gains)
    who = [f"{name} gains" for name, gain in (("x", x_gains), ("y", y_gains)) if gain]
    by = " and ".join(f"{gain:.4g}" for gain in (x_gains, y_gains) if gain)
    its = "its curvature is" if len(who) == 1 else "their curvatures are"
    return Kind(False, f"{' and '.join(who)} by moving alone ({its} {by})", x_gains, y_gains)


def _curvatures(block: Array) -> Array:
    """The eigenvalues of a block of the Hessian, rising."""
    return np.asarray(np.linalg.eigvalsh((block + block.T) / 2))


def _is_minimax(matrix: Array, first: int, least: float) -> bool:
    """True if x loses by every move that y answers best: f has a strict minimum in y, and a maximum along the ridge."""
    own_y = matrix[first:, first:]
    if _curvatures(own_y)[0] <= least:
        return False
    upper, lower = -matrix[:first, first:], matrix[first:, :first]
    return bool(_curvatures(-matrix[:first, :first] - upper @ np.linalg.solve(own_y, lower))[-1] < -least)
