"""The limit to which echoes can be read: the bound of Cramér and Rao.

The power of a gate under gamma speckle of shape L and mean S has the Fisher information L/S² of S, so that that of the
parameters is F_ij = L·Σ ∂_iS·∂_jS/S² over the gates. No unbiased estimate has a covariance below its inverse.
"""

from __future__ import annotations

import numpy as np

from portable_nn.models.altimetry.echoes import JASON, Sea, derivatives, mean_echoes
from portable_nn.operators import Array


def information(sea: Sea, unknowns: int = 3) -> Array:
    """The Fisher information of the first ``unknowns``: (n, unknowns, unknowns).

    They are, in this order, height, epoch, amplitude, sin² of the angle, and noise.
    """
    slopes = derivatives(sea)
    slopes = np.concatenate([slopes, np.ones_like(slopes[..., :1])], axis=-1)[..., :unknowns]
    relative = slopes / mean_echoes(sea)[..., np.newaxis]
    return np.asarray(JASON.looks * relative.transpose(0, 2, 1) @ relative)


def cramer_rao(sea: Sea, unknowns: int = 3) -> Array:
    """The least covariance of unbiased estimates: (n, unknowns, unknowns), in the order of ``information``."""
    return np.linalg.inv(information(sea, unknowns))
