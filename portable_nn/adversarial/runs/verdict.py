"""The verdict on a run: its status, what the verdict rests on, its convergence factor, and all of this in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONVERGES, CYCLES, STAYS, DIVERGES, ELSEWHERE, FELL, GREW, TURNED, VARIED, OVERFLOWED, FAILED = range(11)

WORDS: Final = (
    "converges",
    "cycles",
    "stays",
    "diverges",
    "no equilibrium",
    "fell",
    "grew",
    "went round",
    "varied",
    "overflowed",
    "fails",
)
"""The word for each status, with which its message begins: in the present tense what holds for good, else what was."""

PROVED, LOCAL, SEEN = "proved", "local", "seen"
"""The bases of verdicts: a theorem whose conditions are met; the eigenvalues at the equilibrium that the run
approaches, which hold near it; or the steps of this run alone, about which nothing further is said."""

GROWING: Final = frozenset({DIVERGES, GREW, OVERFLOWED})
FALLING: Final = frozenset({CONVERGES, FELL})


@dataclass(frozen=True)
class Verdict:
    """One run.

    Attributes:
        status: a place in ``WORDS``.
        basis, reason: ``PROVED``, ``LOCAL`` or ``SEEN``, and by what: the theorem, the equilibrium, or the steps.
        text: what becomes of the distance, or what became of it.
        factor, exact: the measured convergence factor per step, and whether all points satisfy a recurrence with it.
        low, high: the smallest and the largest distance: of an orbit for good, else as seen; nan where there are none.
    """

    status: int
    basis: str
    reason: str
    text: str
    factor: float = float("nan")
    exact: bool = False
    low: float = float("nan")
    high: float = float("nan")

    @property
    def message(self) -> str:
        """The verdict in a sentence."""
        basis = f" ({self.basis} {self.reason})" if self.reason else ""
        return f"{WORDS[self.status]}{basis}: {self.text}"


def factor_text(factor: float) -> str:
    """A factor in seven digits, or in as many as distinguish it from 1."""
    return next((text for digits in (7, 10, 13) if (text := f"{factor:.{digits}g}") != "1"), "1")
