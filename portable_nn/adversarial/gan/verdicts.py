"""Verdicts on a trained GAN, in words: what its samples prove, and else "undecided"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from portable_nn.adversarial.gan.modes import NEAR, Ring
from portable_nn.core.text import percent
from portable_nn.operators import Array

FAR: Final = 2.0
"""The distance of samples from the data, which have a size of 1, from which they diverge."""

FEWEST: Final = 3
"""The looks in half of the steps from which they say so."""


def ring_verdict(ring: Ring, figures: Mapping[str, float], looks: Sequence[Array]) -> str:
    """The verdict on samples (n, 2) at several looks; ``figures`` are the metrics of the last samples."""
    distances = [np.linalg.norm(points[:, None] - ring.centres, axis=2) for points in looks]
    shares = np.array([(each <= NEAR * ring.sigma).mean(axis=0) for each in distances])
    modes = f"{figures['strict']:.0f} of {ring.modes} modes have at least 1 % of the samples"
    at_modes = f"{percent(figures['quality'])} of all samples are at a mode"
    if moved := _moved([each.min(axis=1).mean() for each in distances], shares >= 0.01, shares == 0, "a mode"):
        return f"{moved}; now {modes}"
    if figures["strict"] == ring.modes:
        return f"covered: all {modes}; {at_modes}"
    if figures["quality"] < 0.5:
        return f"undecided: {modes}, but only {at_modes}: too few to say that the others have collapsed"
    return f"collapsed: only {modes}; {at_modes}"


def pattern_verdict(noise: float, figures: Mapping[str, float], errors: Sequence[float]) -> str:
    """The verdict on errors of the mean at several looks; ``figures`` are the metrics of the last samples."""
    error, spread = figures["error"], figures["deviation"] / noise
    now = f"the error of the mean is {error:.2g}, and the data have a standard deviation of {noise:g}"
    near = np.array([errors]).T
    if moved := _moved(errors, near <= noise, near >= 2 * noise, "the pattern"):
        return f"{moved}; now {now}"
    if error > noise:
        return f"undecided: the pattern is not reached, nor left for good: {now}"
    if spread < 0.5:
        return f"collapsed: at the pattern, samples vary only {spread:.2g} times as much as the data"
    return f"covered: {now}; samples vary {spread:.2g} times as much"


def _moved(distances: Sequence[float], reached: ArrayLike, lost: ArrayLike, what: str) -> str:
    """The verdict on samples that went away, or left ``what`` and came back again and again; nothing for others.

    ``reached`` and ``lost`` are (looks, modes). Only the second half of the looks counts: the first is the approach.
    """
    half = len(distances) // 2
    if half >= FEWEST and distances[-1] >= FAR and (np.diff(distances[half:]) > 0).all():
        return f"diverged: samples went farther away at every look, to {distances[-1]:.3g}; the data have a size of 1"
    states = (np.asarray(reached, int) - np.asarray(lost, int))[half:]
    turns = [np.diff(state[state != 0]) for state in states.T]
    returns = max((int((each > 0).sum() - (each[each != 0][:1] > 0).sum()) for each in turns), default=0)
    return (
        f"cycled: {what} was lost and came back {returns} times in the second half of the steps" if returns > 1 else ""
    )
