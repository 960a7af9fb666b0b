"""The verdict on a run: whether it converges, cycles or diverges, and by which factor per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.runs.fitting import FEW, Fit, fit, quarters
from portable_nn.operators.registry import Array

CONVERGED, CONVERGES, CYCLES, DIVERGES, OVERFLOWED = range(5)
WORDS: Final = ("converged", "converges", "cycles", "diverges", "diverges")
"""The word for each status."""

CLOSE: Final = 1e-9
"""The distance, relative to the first, at which a run has converged."""

ONE: Final = {True: 1e-9, False: 1e-6}
"""Tolerance of an exact factor of 1: for linear games, and for others, where a limit cycle is only approached."""

FALLS, GROWS = 0.95, 1.1
"""Without an exact factor, the ratio of the largest distances in the last two quarters below which a run converges, and
above which it diverges."""

HUGE: Final = 1e50
"""A distance below this was not about to overflow."""

ROUNDED: Final = 1e-13
"""Distances below this, relative to the norm of the equilibrium, are rounding errors."""


@dataclass(frozen=True)
class Verdict:
    """One run: its status, the convergence factor per step, whether that is exact, and all of this in words."""

    status: int
    factor: float
    exact: bool
    message: str


def judge(game: Game, t: Array, points: Array, lengths: Array, period: int) -> Verdict:
    """The verdict on one run.

    Args:
        game: what was played.
        t, points: the recorded steps (n,) and points (n, d).
        lengths: the distances of the points to the nearest equilibrium; ‖F‖ where none is known, (n,).
        period: of the method, in steps.
    """
    what = "the distance" if len(game.equilibria) else "‖F‖"
    finite = np.isfinite(points).all(-1) & np.isfinite(lengths)
    if lengths[0] == 0:
        return Verdict(CONVERGED, 1.0, True, "converged: the start is an equilibrium")
    found = _factor(game, t, points, period)
    if not finite.all():
        return Verdict(
            OVERFLOWED, found.factor, found.exact, _end_in_words(what, t, lengths, int(np.argmin(finite)), found)
        )
    status = _status(lengths, found, ONE[game.linear])
    return Verdict(status, found.factor, found.exact, _in_words(status, what, lengths, found))


def _factor(game: Game, t: Array, points: Array, period: int) -> Fit:
    """The factor per step, from the points relative to the equilibrium nearest to the last of them."""
    spacing = int(t[1] - t[0]) if len(t) > 1 else 1
    if len(t) > 2 and t[-1] - t[-2] != spacing:
        points = points[:-1]
    last = points[np.isfinite(points).all(-1)][-1]
    floor = 0.0
    if len(game.equilibria):
        nearest = game.equilibria[np.argmin(norm(game.equilibria - last))]
        offsets, floor = game.offset(points, nearest), ROUNDED * float(norm(nearest))
    else:
        offsets = game.field(points)
    found = fit(offsets, period // int(np.gcd(period, spacing)), floor)
    return Fit(found.factor ** (1 / spacing), found.exact)


def _status(lengths: Array, found: Fit, one: float) -> int:
    if lengths[-1] <= CLOSE * max(1.0, float(lengths[0])) and (lengths[-1] < lengths[0] or found.factor < 1):
        return CONVERGED
    if found.exact:
        return CYCLES if abs(found.factor - 1) < one else CONVERGES if found.factor < 1 else DIVERGES
    if len(lengths) < FEW:
        return CONVERGES if lengths[-1] < lengths[0] else CYCLES if lengths[-1] == lengths[0] else DIVERGES
    third, last = quarters(lengths)
    return CONVERGES if last < FALLS * third else CYCLES if last <= GROWS * third else DIVERGES


def _end_in_words(what: str, t: Array, lengths: Array, place: int, found: Fit) -> str:
    """Why the point at ``place`` is the first that is not finite: overflow, or f is not defined there."""
    if lengths[place - 1] < HUGE and np.isnan(lengths[place]):
        return f"diverges: after {t[place]:,} steps the gradients are not finite any more"
    by = f", multiplied by {factor_text(found.factor)} per step" if found.factor > 1 else ""
    return f"diverges: {what} overflows after {t[place]:,} steps{by}"


def factor_text(factor: float) -> str:
    """A factor in seven digits, or in as many as distinguish it from 1."""
    return next((text for digits in (7, 10, 13) if (text := f"{factor:.{digits}g}") != "1"), "1")


def _in_words(status: int, what: str, lengths: Array, found: Fit) -> str:
    about = "" if found.exact else "about "
    if status == CYCLES:
        tail = lengths[len(lengths) // 2 :]
        return f"cycles: {what} stays between {tail.min():.4g} and {tail.max():.4g}"
    if status == DIVERGES:
        return f"diverges: {what} is multiplied by {about}{factor_text(found.factor)} per step"
    by = f"is multiplied by {about}{factor_text(found.factor)} per step," if np.isfinite(found.factor) else "falls"
    return f"{WORDS[status]}: {what} {by} to {lengths[-1]:.4g}"
