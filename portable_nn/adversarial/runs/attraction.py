"""Local verdicts: by the eigenvalues at the point that a run approaches, where the update contracts all around it.

Where the spectral radius r of the update at a point with F = 0 is below 1, there is a norm in which the linearised
update contracts, by the factor √r at least. A ball of that norm in which the derivative of the update contracts, at
samples all over it, is taken for part of the point's basin of attraction. A run whose state is in such a ball comes to
the point; one that is not is followed for some more steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.methods.oracle import Oracle
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.runs.run import Run
from portable_nn.adversarial.runs.verdict import LOCAL, Verdict
from portable_nn.adversarial.theory.local import FOREVER, limit_operator, local_game
from portable_nn.adversarial.theory.updates import STABLE
from portable_nn.operators import Array

SAMPLES: Final = 24
"""Points for each number of the state at which a ball is sampled, most of them close to its surface."""

ROOMS: Final = (1.0, 4.0, 16.0, 64.0, 256.0)
"""Radii of the balls that are tried, in distances of the state from the centre: the pull of an anchor needs room."""

SMALLEST: Final = 1e-5
"""The smallest radius, relative to the point: in smaller balls differences are subject to rounding errors."""

FURTHER: Final = (1, 4, 16, 64)
"""The states that are looked at are those after so many times the steps of the run, as long as a point attracts."""

FARTHEST: Final = 40_000
"""The steps up to which a run is followed."""

NEWTON: Final = 30
"""Newton iterations from the last point to one with F = 0, at most."""

Step = Callable[[Array], Array]
"""States (n, s) after a step, or a period of steps, from states (n, s)."""


class _Near(NamedTuple):
    """The update near a point: its linear part there (s, s), itself, and what it becomes in the end, if it changes."""

    operator: Array
    now: Step
    later: Step | None
    state: Array

    @property
    def radius(self) -> float:
        """The spectral radius of the linear part."""
        return float(np.abs(np.linalg.eigvals(self.operator)).max())


def by_attraction(run: Run) -> Verdict | None:
    """A run that comes into a ball around a point with F = 0 in which the update contracts."""
    if run.later or not run.still or not (run.method.has_operator or run.method.anchored):
        return None
    for last, state in _states(run):
        attracts = False
        for point in _points(run.game, state[0]):
            near = _near(run, point, state, last)
            if near is None or near.radius >= 1 - STABLE:
                continue
            attracts = True
            if _contracts(near, SMALLEST * (1 + float(norm(point)))):
                return _arriving(run, point, near.radius)
        if not attracts:
            return None
    return None


def _states(run: Run) -> Iterator[tuple[int, Array]]:
    """The last state and those after more steps, as long as they are finite, each with its step."""
    for times in FURTHER:
        last = times * run.last
        if times > 1 and last > FARTHEST:
            return
        state = run.state if times == 1 else run.further(last)
        if not np.isfinite(state).all():
            return
        yield last, state


def _arriving(run: Run, point: Array, radius: float) -> Verdict:
    """It comes to a point where the update has a spectral radius below 1."""
    repeats = run.method.period(run.options) if run.method.period else 1
    away = float(norm(run.points[-1] - point))
    known = len(run.game.equilibria) and abs(away - run.end) <= STABLE * (1 + away)
    what = "the distance" if known else "the distance from there"
    by = "falls as 1/k" if run.method.anchored else f"is multiplied by {radius ** (1 / repeats):.7g} per step"
    near = ", ".join(f"{value:.4g}" for value in point.tolist())
    reason = f"by the eigenvalues near ({near})"
    return run.converging(LOCAL, reason, f"{what} {by}, to {away:.4g}", point)


def _points(game: Game, point: Array) -> Iterator[Array]:
    """The known point with F = 0 that is nearest to a point, and that to which Newton's method goes from there."""
    if len(game.equilibria):
        yield game.equilibria[int(np.argmin(norm(game.equilibria - point)))]
    for _ in range(NEWTON):
        matrix, field = game.jacobian(point), game.field(point)
        if not (np.isfinite(matrix).all() and np.isfinite(field).all()):
            return
        move = np.linalg.lstsq(matrix, field, rcond=None)[0]
        point = point - move
        if norm(move) <= 1e-12 * (1 + norm(point)):
            yield point
            return


def _near(run: Run, point: Array, vectors: Array, last: int) -> _Near | None:
    """The update near a point, from the state (k, d) after the ``last`` step; ``None`` where F has a kink there."""
    row, game, local = run.method, run.game, local_game(run.game, point)
    operator = None if local is None else limit_operator(row, local, run.rates, run.options, tuple(vectors))
    if operator is None or not np.isfinite(operator).all():
        return None
    size, period = game.size, row.period(run.options) if row.period else 1
    kept = row.lasting or tuple(range(len(vectors)))
    context = StepContext(Oracle(game), np.repeat(run.rates, game.players), (), run.options)
    centre = np.concatenate([row.begin(context, point)[place] for place in kept])

    def stepping(first: int, offsets: Array) -> Array:
        vectors = [np.broadcast_to(vector, (len(offsets), size)) for vector in state]
        for number, place in enumerate(kept):
            vectors[place] = (centre + offsets)[:, number * size : (number + 1) * size]
        found = row.advanced(context, tuple(vectors), period, first)
        return np.asarray(np.concatenate([found[place] for place in kept], axis=-1) - centre)

    begun = -(-last // period) * period
    state = row.advanced(context, tuple(vectors), begun - last, last)
    own = np.concatenate([state[place] for place in kept]) - centre
    return _Near(operator, partial(stepping, begun), partial(stepping, FOREVER) if row.anchored else None, own)


def _contracts(near: _Near, smallest: float) -> bool:
    """True if a ball around the point holds the state, if no step leaves it, and if steps in the end contract it."""
    root = np.sqrt(near.radius)
    factor = (1 + root) / 2
    shape = _shape(near.operator / max(root, 1e-3))
    if shape is None or not np.isfinite(near.state).all():
        return False
    back, size = np.linalg.inv(shape), len(near.state)
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((SAMPLES * size, size))
    samples *= (rng.uniform(size=len(samples)) ** (1 / size) / norm(samples))[:, None]
    away = max(float(norm(shape @ near.state)), smallest * float(np.linalg.norm(shape, 2)))
    moved = float(norm(shape @ near.now(np.zeros((1, size)))[0]))
    for room in ROOMS if near.later else ROOMS[:1]:
        most = max(_slope(step, shape, back, room * away * samples) for step in (near.now, near.later) if step)
        if most <= factor and most * room * away + moved <= room * away:
            return True
    return False


def _slope(step: Step, shape: Array, back: Array, samples: Array) -> float:
    """The largest factor of a step for differences around samples (n, s), in the norm ‖shape · v‖, by differences."""
    width = 1e-3 * float(norm(samples).max())
    ends = samples[:, None] + width * np.eye(samples.shape[1]) * np.array([1, -1])[:, None, None, None]
    after = step((ends.reshape(-1, samples.shape[1])) @ back.T) @ shape.T
    ahead, behind = after.reshape(ends.shape)
    slopes = (ahead - behind) / (2 * width)
    return float(np.linalg.norm(slopes, ord=2, axis=(-2, -1)).max()) if np.isfinite(slopes).all() else float("inf")


def _shape(operator: Array) -> Array | None:
    """The L (s, s) for which ‖Lv‖ is a norm in which a matrix with a spectral radius below 1 contracts."""
    total, power = np.eye(len(operator)), operator
    for _ in range(64):
        total = total + power.T @ total @ power
        power = power @ power
        if not np.isfinite(total).all():
            return None
        if not power.any():
            break
    try:
        return np.asarray(np.linalg.cholesky(total / np.abs(total).max()).T)
    except np.linalg.LinAlgError:
        return None
