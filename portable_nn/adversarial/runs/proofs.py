"""Verdicts by proof: by the start, the eigenvalues of a linear update, closed forms, and the factors of all steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from portable_nn.adversarial.runs.run import Run
from portable_nn.adversarial.runs.verdict import CYCLES, DIVERGES, PROVED, STAYS, Verdict, factor_text
from portable_nn.adversarial.theory.forecast import local_factor
from portable_nn.adversarial.theory.local import DEFECTIVE, limit_operator, log_radius
from portable_nn.adversarial.theory.noise import stationary_distance
from portable_nn.adversarial.theory.schedules import goes_to_zero, remaining
from portable_nn.adversarial.theory.updates import STABLE

EIGENVALUES: Final = "by the eigenvalues"
PRODUCT: Final = "by the product of the factors of all steps"


def by_rest(run: Run) -> Verdict | None:
    """Learning rates of 0, which move nobody, whatever the noise; or a start with F = 0."""
    if not run.later and not any(run.rates):
        return run.says(STAYS, PROVED, "as the rates are 0", "the point does not move", run.end, run.end)
    # At an equilibrium that is found or given, F has rounding errors.
    moves = np.abs(run.game.field(run.points[0])).max() > (0.0 if run.lengths[0] else 1e-12)
    if moves or not run.still or not np.isfinite(run.points).all():
        return None
    text = "the start is an equilibrium; --start (start=) chooses another"
    return run.converging(PROVED, "as F = 0 there", text, run.points[0])


def by_modes(run: Run) -> Verdict | None:
    """A matrix that is the same at each step: the largest eigenvalue of those that the start has."""
    if not (run.exact and run.still) or run.later:
        return None
    found = run.modes()
    if found is None or found.growth(present=False) > found.growth():
        return None  # Rounding errors may bring in what the start does not have.
    growth = found.growth()
    if growth:
        by = run.multiplied(found.factor)
        if growth > 0:
            return run.says(DIVERGES, PROVED, EIGENVALUES, by)
        return run.converging(PROVED, EIGENVALUES, f"{by}, to {run.end:.4g}", run.game.equilibria[0])
    orbit = found.orbit(0.0)
    if orbit is None:
        return None
    low, high, moves = orbit
    bounds = f"{run.what} stays between {low:.4g} and {high:.4g}"
    text = bounds if moves else "it comes to rest beside the equilibrium"
    return run.says(CYCLES if moves else STAYS, PROVED, EIGENVALUES, text, low, high)


def by_closed_form(run: Run) -> Verdict | None:
    """A step that is no matrix, but has a closed form on this game."""
    local = run.local
    if local is None or run.method.has_operator or run.later or not run.still or run.rates[0] != run.rates[1]:
        return None
    factor = local_factor(run.method, local, run.rates[0], run.options)
    if factor is None or abs(factor - 1) <= STABLE:
        return None
    by = run.multiplied(factor)
    if factor > 1:
        return run.says(DIVERGES, PROVED, "by its closed form", by)
    return run.converging(PROVED, "by its closed form", f"{by}, to {run.end:.4g}", run.game.equilibria[0])


def by_anchor(run: Run) -> Verdict | None:
    """A linear step that is pulled to the start by 1/k: what it tends to contracts, so that the pull alone is left."""
    local = run.local
    if local is None or not (run.method.anchored and run.method.linear and run.still) or run.later:
        return None
    limit = limit_operator(run.method, local, run.rates, run.options)
    if limit is None or not np.abs(np.linalg.eigvals(limit)).max() < 1 - STABLE:
        return None
    text = f"{run.what} falls as 1/k, to {run.end:.4g}"
    return run.converging(PROVED, "by the eigenvalues of its limit", text, run.game.equilibria[0])


def by_schedule(run: Run) -> Verdict | None:
    """A matrix that changes with the rate: the sum of the logarithms of its spectral radius over all steps."""
    left = _left(run) if run.exact and run.still else None
    if left is None:
        return None
    if left == -np.inf:
        text = f"{run.what} falls, ever more slowly, to {run.end:.4g}"
        return run.converging(PROVED, PRODUCT, text, run.game.equilibria[0])
    found = run.modes()
    if found is None or found.largest(present=False) != found.largest():
        return None  # The start lacks what grows most, or falls least.
    if left == np.inf:
        return run.says(DIVERGES, PROVED, PRODUCT, f"{run.what} grows, ever more slowly, to {run.end:.4g}")
    limit, eccentricity = run.end * np.exp(left), _eccentricity(run)
    text = f"the learning rate falls too fast to go on; {run.what} comes to about {limit:.4g}"
    return run.says(STAYS, PROVED, PRODUCT, text, limit / eccentricity, limit * eccentricity)


def _eccentricity(run: Run) -> float:
    """The condition number of the eigenvectors of the rates times J: 1 where small steps go round in circles."""
    rates = np.repeat(run.share, run.game.players)[:, None]
    return float(np.linalg.cond(np.linalg.eig(rates * run.game.jacobian(run.game.equilibria[0]))[1]))


def _left(run: Run) -> float | None:
    """The logarithm by which the distance still grows after the run, where its update is a matrix that changes."""
    local = run.local if run.later else None
    if local is None or _eccentricity(run) > DEFECTIVE:
        return None
    found = log_radius(run.method, local, run.options, run.share)
    left = None if found is None else remaining(found, run.rate, run.last)
    if found is None or left is None or np.isfinite(left):
        return left
    now = float(found(run.rate(np.array([run.last + 1.0])))[0])
    return left if now * left > 0 else None  # What holds in the end has not begun.


def by_noise(run: Run) -> Verdict | None:
    """Noise on a linear map: it keeps the run away from where it would converge."""
    if not (run.exact and run.noise and all(run.rates)) or run.game.sampled:
        return None
    if run.later:
        return _by_falling_noise(run)
    found, local = run.modes(), run.local
    if found is None or local is None or (found.defective & (abs(found.values) > 1 - STABLE)).any():
        return None
    growth = found.growth(present=False)
    by = f"multiplied by {factor_text(found.largest(present=False)[0] ** (1 / found.repeats))} per step"
    if growth > 0:
        return run.says(DIVERGES, PROVED, EIGENVALUES, f"{run.what} is {by}, besides the noise")
    if growth == 0:
        text = f"noise adds up, and {run.what} grows as the square root of the number of steps, to {run.end:.4g}"
        return run.says(DIVERGES, PROVED, EIGENVALUES, text)
    typical = stationary_distance(run.method, local, run.rates, run.options, run.noise)
    text = f"noise keeps {run.what} at about {typical:.4g}; without noise it is {by}"
    return run.says(STAYS, PROVED, EIGENVALUES, text)


def _by_falling_noise(run: Run) -> Verdict | None:
    """Noise on steps that become smaller: where they contract in proportion to the rate, what it adds goes to 0."""
    left, local = _left(run), run.local
    if left == np.inf:
        text = f"{run.what} grows, ever more slowly, to {run.end:.4g}, besides the noise"
        return run.says(DIVERGES, PROVED, PRODUCT, text)
    factor = None if local is None else log_radius(run.method, local, run.options, run.share)
    if factor is None or left != -np.inf or not goes_to_zero(run.rate):
        return None
    once, twice = factor(np.array([1e-6, 2e-6]))
    if twice / once > 2.5:  # By the square of the rate, of which the noise has as much.
        return None
    text = f"{run.what} falls, ever more slowly, to {run.end:.4g}, and so does what the noise adds"
    return run.converging(PROVED, "by Robbins and Monro's condition", text, run.game.equilibria[0])


PROOFS: Final[tuple[Callable[[Run], Verdict | None], ...]] = (
    by_rest,
    by_modes,
    by_closed_form,
    by_anchor,
    by_schedule,
    by_noise,
)
"""The rules, in the order in which they are tried."""
