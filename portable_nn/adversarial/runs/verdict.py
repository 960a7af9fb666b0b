"""The verdict on a run: its status, its convergence factor, and both in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from portable_nn.adversarial.runs.fitting import Fit
from portable_nn.operators.registry import Array

CONVERGED, CONVERGES, CYCLES, DIVERGES, OVERFLOWED, STAYS, ELSEWHERE, FAILED, UNSETTLED = range(9)

WORDS: Final = (
    "converged",
    "converges",
    "cycles",
    "diverges",
    "diverges",
    "stays",
    "no equilibrium",
    "fails",
    "not settled",
)
"""The word for each status, with which its message begins."""

SUCCESSES: Final = frozenset({CONVERGED, CONVERGES})
GROWING: Final = frozenset({DIVERGES, OVERFLOWED})

HUGE: Final = 1e50
"""A distance below this was not about to overflow."""


@dataclass(frozen=True)
class Verdict:
    """One run: its status, the convergence factor per step, whether that is exact, and all of this in words.

    ``low`` and ``high`` are the bounds between which the distance stays in the long run, where that is the verdict.
    """

    status: int
    factor: float
    exact: bool
    message: str
    low: float = float("nan")
    high: float = float("nan")

    @property
    def decided(self) -> bool:
        """Whether it says what becomes of the run."""
        return self.status != UNSETTLED


def factor_text(factor: float) -> str:
    """A factor in seven digits, or in as many as distinguish it from 1."""
    return next((text for digits in (7, 10, 13) if (text := f"{factor:.{digits}g}") != "1"), "1")


SHOWN: Final = 4
"""The most numbers of a point that a verdict names."""

SAME: Final = 5e-4
"""Relative difference of two distances that are the same to the digits that verdicts show."""


@dataclass(frozen=True)
class Words:
    """Makes verdicts on one run: ``what`` is its distance or ‖F‖, ``found`` the measured factor."""

    what: str
    found: Fit

    def make(self, status: int, text: str, low: float = np.nan, high: float = np.nan) -> Verdict:
        """A verdict of that status; its word and a colon come before the text."""
        return Verdict(status, self.found.factor, self.found.exact, f"{WORDS[status]}: {text}", low, high)

    def multiplied(self, status: int, factor: float | None, end: float, after: str = "") -> Verdict:
        """It converges or diverges, by a factor of theory, or else by that measured; ``after`` so many steps."""
        measured = self.found.exact and (factor is None or abs(self.found.factor - factor) < 1e-7)
        by, about = (self.found.factor, "") if measured else (factor, "")
        if by is None:
            by, about = self.found.factor, "about "
        if status in GROWING:
            return self.make(status, f"{self.what} is multiplied by {about}{factor_text(by)} per step")
        fitting = np.isfinite(by) and by < 1
        how = f"is multiplied by {about}{factor_text(by)} per step," if fitting else "falls, ever more slowly,"
        return self.make(status, f"{self.what} {how} to {end:.4g}{after}")

    def cycles(self, low: float, high: float, end: float | None = None, steps: int = 0) -> Verdict:
        """It goes round and round; where its ``end`` is not there yet, as ``steps`` of a longer run show."""
        bounds = f"{low:.4g} and {high:.4g}"
        if end is None or low * (1 - SAME) <= end <= high * (1 + SAME):
            return self.make(CYCLES, f"{self.what} stays between {bounds}", low, high)
        return self.make(CYCLES, f"{self.what} comes to stay between {bounds}, as {steps:,} steps show", low, high)

    def stays(self, low: float, high: float, why: str) -> Verdict:
        """It does not leave these bounds, though it does not go round."""
        same = high - low <= SAME * high
        where = f"at about {high:.4g}" if same else f"between {low:.4g} and {high:.4g}"
        return self.make(STAYS, f"{self.what} stays {where}: {why}", low, high)

    def within(self, high: float, why: str, low: float = 0.0) -> Verdict:
        """It does not go farther away than that."""
        of = "of the equilibrium" if self.what == "the distance" else f"of {self.what} = 0"
        text = f"stays within {high:.4g} {of}: {why}"
        return Verdict(STAYS, self.found.factor, self.found.exact, text, low, high)

    def unsettled(self, steps: int, end: float, tendency: str = "") -> Verdict:
        """The run does not say what becomes of it."""
        text = f"{WORDS[UNSETTLED]} after {steps:,} steps: {self.what} is {end:.4g}{tendency}"
        return Verdict(UNSETTLED, self.found.factor, self.found.exact, text)

    def overflows(self, status: int, t: Array, points: Array, lengths: Array, place: int) -> Verdict:
        """The point at ``place`` is the first that is not finite: by overflow, or as f is not defined there."""
        if lengths[place - 1] < HUGE and np.isnan(lengths[place]):
            before, z = int(t[place - 1]), points[place - 1]
            where = f" ({', '.join(f'{value:.4g}' for value in z)})" if len(z) <= SHOWN else ""
            nan = "f or a gradient is NaN"
            text = f"between step {before:,}{where and f', at{where},'} and step {t[place]:,} {nan}"
            if t[place] - before == 1:
                text = f"step {t[place]:,}{where and f', from{where},'} is not defined: {nan} there"
            return Verdict(FAILED, float("nan"), False, f"{WORDS[FAILED]}: {text}")
        by = f", multiplied by {factor_text(self.found.factor)} per step" if self.found.factor > 1 else ""
        return self.make(status, f"{self.what} overflows after {t[place]:,} steps{by}")
