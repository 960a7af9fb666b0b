"""The stationary distribution of a linear update that contracts, with noise on the gradients."""

from __future__ import annotations

from typing import Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.methods.oracle import Oracle
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.theory.local import Pair
from portable_nn.adversarial.theory.updates import period, update_operator
from portable_nn.operators import Array

DOUBLINGS: Final = 64
"""The covariance is that after 2 to this power of steps."""


class _Injecting(Oracle):
    """F of run i of a batch has a unit of noise on number i % d of draw i // d, and no other."""

    def __init__(self, game: Game) -> None:
        super().__init__(game, noise=1.0)
        self.draws = 0

    def _drawn(self, z: Array) -> Array:
        """The noise of the next draw."""
        found = np.zeros(z.shape)
        places = range(self.draws * self.game.size, min((self.draws + 1) * self.game.size, len(z)))
        for number, place in enumerate(places):
            found[place, number] = 1.0
        self.draws += 1
        return found


def stationary_distance(row: Method, local: Game, rates: Pair, options: MethodOptions, noise: float) -> float:
    """The root mean square distance from 0 in the long run, on a linear game on which the update contracts.

    The covariance C of the state satisfies C = MCMᵀ + σ²NNᵀ, where M is the update operator, and N the effect of each
    number of noise in a period of steps.
    """
    size = local.size
    counted = _run(row, local, rates, options, _Injecting(local), rows=1)[1]
    effects = _run(row, local, rates, options, _Injecting(local), rows=counted * size)[0]
    covariance = noise**2 * effects.T @ effects
    power = update_operator(row, local, rates, **options)
    for _ in range(DOUBLINGS):
        covariance = covariance + power @ covariance @ power.T
        power = power @ power
    return float(np.sqrt(np.trace(covariance[:size, :size])))


def _run(
    row: Method, local: Game, rates: Pair, options: MethodOptions, oracle: _Injecting, rows: int
) -> tuple[Array, int]:
    """The states (rows, s) after a period of steps from 0, and the draws of noise in it."""
    context = StepContext(oracle, np.repeat(rates, local.players), (), options)
    vectors = len(row.begin(StepContext(Oracle(local), context.rate, (), options), np.zeros(local.size)))
    state = tuple(np.zeros((rows, local.size)) for _ in range(vectors))
    state = row.advanced(context, state, period(row, options))
    return np.concatenate(state, axis=-1), oracle.draws
