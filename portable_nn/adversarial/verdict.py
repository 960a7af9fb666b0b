"""What is said of a run: whether it converges, circles or diverges, by which factor a step, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.adversarial.fitting import FEW, Fit, fit, quarters
from portable_nn.adversarial.game import Game, norm
from portable_nn.operators.registry import Array

CONVERGED, CONVERGES, CIRCLES, DIVERGES, OVERFLOWED = range(5)
WORDS: Final = ("converged", "converges", "circles", "diverges", "diverges")
"""The word for each status."""

CLOSE: Final = 1e-9
"""How near an equilibrium, beside where it began, a run has converged."""

ONE: Final = {True: 1e-9, False: 1e-6}
"""How near 1 an exact factor is 1: of a linear game, and of others, where a cycle is met in the end and never quite."""

FALLS, GROWS = 0.95, 1.1
"""Where no exact factor is found: ratios of the largest distance in the last quarter to that in the third, under and
over which a run falls or grows."""

HUGE: Final = 1e50
"""A distance under this was not about to be beyond the largest number."""

ROUNDED: Final = 1e-13
"""Distances under this, beside the size of the equilibrium, are rounded."""


@dataclass(frozen=True)
class Verdict:
    """One run: its status, the factor of the distance a step, whether that is exact, and why in words."""

    status: int
    factor: float
    exact: bool
    message: str


def judge(game: Game, t: Array, points: Array, lengths: Array, period: int) -> Verdict:
    """The verdict on one run: ``points`` (n, d) at steps ``t``, ``lengths`` (n,) their distances, or failing these ‖F‖.

    ``period`` is after how many steps the method does the same again.
    """
    what = "the distance" if len(game.equilibria) else "‖F‖"
    finite = np.isfinite(points).all(-1) & np.isfinite(lengths)
    if lengths[0] == 0:
        return Verdict(CONVERGED, 1.0, True, "converged: it starts in an equilibrium")
    found = _factor(game, t, points, period)
    if not finite.all():
        return Verdict(
            OVERFLOWED, found.factor, found.exact, _end_in_words(what, t, lengths, int(np.argmin(finite)), found)
        )
    status = _status(lengths, found, ONE[game.linear])
    return Verdict(status, found.factor, found.exact, _in_words(status, what, lengths, found))


def _factor(game: Game, t: Array, points: Array, period: int) -> Fit:
    """The factor a step, from the points as seen from the equilibrium that the last of them is nearest to."""
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
        return CIRCLES if abs(found.factor - 1) < one else CONVERGES if found.factor < 1 else DIVERGES
    if len(lengths) < FEW:
        return CONVERGES if lengths[-1] < lengths[0] else CIRCLES if lengths[-1] == lengths[0] else DIVERGES
    third, last = quarters(lengths)
    return CONVERGES if last < FALLS * third else CIRCLES if last <= GROWS * third else DIVERGES


def _end_in_words(what: str, t: Array, lengths: Array, place: int, found: Fit) -> str:
    """Why the point at ``place`` is the first that is no number: it grew, or f has no value where the run came."""
    if lengths[place - 1] < HUGE and np.isnan(lengths[place]):
        return f"diverges: after {t[place]:,} steps the slopes are no numbers any more"
    by = f", growing by {factor_text(found.factor)} a step" if found.factor > 1 else ""
    return f"diverges: {what} is beyond the largest number after {t[place]:,} steps{by}"


def factor_text(factor: float) -> str:
    """A factor in seven digits, or in as many as tell it from 1."""
    return next((text for digits in (7, 10, 13) if (text := f"{factor:.{digits}g}") != "1"), "1")


def _in_words(status: int, what: str, lengths: Array, found: Fit) -> str:
    about = "" if found.exact else "about "
    if status == CIRCLES:
        tail = lengths[len(lengths) // 2 :]
        return f"circles: {what} neither falls nor grows for long, and stays from {tail.min():.4g} to {tail.max():.4g}"
    if status == DIVERGES:
        return f"diverges: {what} grows by {about}{factor_text(found.factor)} a step"
    by = f" by {about}{factor_text(found.factor)} a step" if np.isfinite(found.factor) else ""
    return f"{WORDS[status]}: {what} falls{by}, to {lengths[-1]:.4g}"
