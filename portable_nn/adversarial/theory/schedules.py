"""Learning rates that change: what becomes of the distance after infinitely many steps.

A step at the rate η multiplies the distance by the spectral radius at η, so that its logarithm grows by the sum of
their logarithms. The sum over all steps decides: minus infinity is convergence, infinity divergence, and a finite sum a
run that stops on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from portable_nn.operators import Array

DECADES: Final = 14
"""The sum is followed over so many decades of steps."""

POINTS: Final = 32
"""Points in a decade at which its terms are computed."""

LASTS, ENDS = 1 - 1e-6, 0.9
"""A sum whose terms of a decade are at least this share of those of the one before has no limit; one whose terms are at
most this share has one. Between the two it is not known. Those of 1/t are all the same."""

NOTHING: Final = 1e-12
"""Sums below this are 0."""


@np.errstate(all="ignore")
def remaining(log_factor: Callable[[Array], Array], rate: Callable[[Array], Array], step: int) -> float | None:
    """The sum of the logarithms over the steps after ``step``: a number, -inf or inf; ``None`` where it is not known.

    Args:
        log_factor: the logarithm by the rate, (n,) from (n,).
        rate: η by t, (n,) from (n,).
        step: the last step that was taken.
    """
    logs = np.linspace(0.0, DECADES * np.log(10), DECADES * POINTS + 1) + np.log(step + 1.0)
    t = np.floor(np.exp(logs))
    try:
        rates = np.asarray(rate(t), dtype=float)
    except Exception:  # A function of the user's, which need not know later steps.
        return None
    if not np.isfinite(rates).all() or (np.diff(rates) > 1e-12 * rates[0]).any():
        return None
    terms = log_factor(rates) * np.exp(logs)  # By the step of log t.
    if not np.isfinite(terms).all():
        return None
    width = logs[1] - logs[0]
    decades = ((terms[1:] + terms[:-1]) / 2 * width).reshape(DECADES, POINTS).sum(1)
    if np.abs(decades).sum() <= NOTHING:
        return 0.0
    if abs(decades[-1]) <= NOTHING:
        return float(decades.sum())
    ratio = float(decades[-1] / decades[-2])
    if ratio >= LASTS:
        return float(np.copysign(np.inf, decades[-1]))
    if 0 <= ratio <= ENDS:
        return float(decades.sum() + decades[-1] * ratio / (1 - ratio))
    return None


def goes_to_zero(rate: Callable[[Array], Array]) -> bool:
    """True if a falling rate goes to 0: if it still falls after ``DECADES`` of steps, be it as slowly as 1/log t."""
    late = rate(10.0 ** np.arange(DECADES - 2, DECADES + 1))
    return bool((late[1:] < LASTS * late[:-1]).all())
