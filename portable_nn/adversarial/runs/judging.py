"""What becomes of a run: by the eigenvalues where they decide it, else by the trend of a longer run.

Each rule returns a verdict, or ``None`` where it does not apply; the first that does has the word.
"""

from __future__ import annotations

import numpy as np

from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.runs.by_theory import by_modes, by_noise, by_rest, by_samples, by_schedule
from portable_nn.adversarial.runs.by_trend import by_trend
from portable_nn.adversarial.runs.tracks import Run
from portable_nn.adversarial.runs.verdict import CONVERGED, ELSEWHERE, FAILED, OVERFLOWED, Verdict


def judge(run: Run) -> Verdict:
    """The verdict on a run."""
    track = run.track
    if track.failure:
        return Verdict(FAILED, float("nan"), False, track.failure)
    if track.lengths[0] == 0 and run.still and np.isfinite(track.points).all():
        return _at_the_start(run)
    if not track.finite.all():
        return run.words.overflows(OVERFLOWED, track.t, track.points, track.lengths, int(np.argmin(track.finite)))
    for rule in (by_rest, by_modes, by_schedule, by_noise, by_samples):
        found = rule(run)
        if found:
            return found
    return by_trend(run)


def _at_the_start(run: Run) -> Verdict:
    kind = kind_of(run.game, run.track.points[0])
    if kind.is_equilibrium:
        return Verdict(CONVERGED, 1.0, True, "converged: the start is an equilibrium")
    return run.words.make(ELSEWHERE, f"at the start F = 0, but {kind.words}")
