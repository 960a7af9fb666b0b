"""The reading of echoes along a track: the smoother of Rauch, Tung and Striebel (AIAA Journal 3, 1965).

The state of each place is normal, and follows from the one before: x_k = m + F·(x_{k-1} - m) + w, w ~ N(0, Q). Its
measurement is z_k = x_k + v, v ~ N(0, R_k). The smoother gives the mean and the covariance of each state given all
measurements, before and after it, so that it has no lag. Of all estimates, this mean has the least squared error, which
is that covariance: where R is the bound of Cramér and Rao, no network can read a track better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from portable_nn.core.errors import ShapeError
from portable_nn.operators import Array


class Motion(NamedTuple):
    """The motion of states (d,) along the track.

    Attributes:
        transition: F, (d, d).
        noise: Q, (d, d).
        mean: of the first state, (d,).
        covariance: of the first state, (d, d).
    """

    transition: Array
    noise: Array
    mean: Array
    covariance: Array


class Smoothed(NamedTuple):
    """Means (n, d) and covariances (n, d, d) of the states, given all measurements."""

    mean: Array
    covariance: Array


def stationary(mean: Array, deviation: Array, lengths: Array) -> Motion:
    """Independent states of ``mean`` (d,) and standard ``deviation``, with the correlation exp(-k/length) at lag k."""
    rho = np.exp(-1 / np.asarray(lengths))
    variance = np.asarray(deviation) ** 2
    return Motion(np.diag(rho), np.diag(variance * (1 - rho**2)), np.asarray(mean), np.diag(variance))


def smooth(measured: Array, covariance: Array, motion: Motion) -> Smoothed:
    """Smooth measurements (n, d) with covariances (n, d, d). Raises ``ShapeError`` where the shapes do not fit."""
    count, width = measured.shape
    if covariance.shape != (count, width, width) or motion.mean.shape != (width,):
        raise ShapeError(
            f"measurements {measured.shape} have covariances {(count, width, width)} and a mean {(width,)}, not "
            f"{covariance.shape} and {motion.mean.shape}"
        )
    transition = motion.transition
    means, covariances = np.empty((count, width)), np.empty((count, width, width))
    ahead_means, ahead = np.empty_like(means), np.empty_like(covariances)
    for k in range(count):
        if k == 0:
            ahead_means[k], ahead[k] = motion.mean, motion.covariance
        else:
            ahead_means[k] = motion.mean + transition @ (means[k - 1] - motion.mean)
            ahead[k] = transition @ covariances[k - 1] @ transition.T + motion.noise
        gain = np.linalg.solve(ahead[k] + covariance[k], ahead[k]).T
        means[k] = ahead_means[k] + gain @ (measured[k] - ahead_means[k])
        rest = np.eye(width) - gain
        covariances[k] = rest @ ahead[k] @ rest.T + gain @ covariance[k] @ gain.T
    for k in range(count - 2, -1, -1):
        gain = np.linalg.solve(ahead[k + 1], transition @ covariances[k]).T
        means[k] += gain @ (means[k + 1] - ahead_means[k + 1])
        covariances[k] += gain @ (covariances[k + 1] - ahead[k + 1]) @ gain.T
    return Smoothed(means, covariances)
