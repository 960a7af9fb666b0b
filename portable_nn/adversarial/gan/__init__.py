"""Generative adversarial networks: two of the package's own networks, trained against each other.

Goodfellow et al., NIPS 2014, arXiv:1406.2661. ``train_gan`` trains any pair; ``train_pattern`` and ``train_ring`` are
two examples; ``GameJacobian`` shows the local dynamics of gradient descent; ``sample``, ``between``,
``save_sheet`` and ``save_between`` draw from a generator.
"""

from __future__ import annotations

from portable_nn.adversarial.gan.examples import Pattern, pattern_networks, ring_networks, train_pattern, train_ring
from portable_nn.adversarial.gan.jacobian import GameJacobian
from portable_nn.adversarial.gan.modes import Modes, Ring, mode_metrics
from portable_nn.adversarial.gan.objectives import GAN_LOSSES
from portable_nn.adversarial.gan.sampling import between, sample, save_between, save_sheet
from portable_nn.adversarial.gan.schedules import Fall, LinearFall
from portable_nn.adversarial.gan.stages import GAN_METHODS, OptimisticAdam
from portable_nn.adversarial.gan.training import GanResult, train_gan

__all__ = [
    "GAN_LOSSES",
    "GAN_METHODS",
    "Fall",
    "GameJacobian",
    "GanResult",
    "LinearFall",
    "Modes",
    "OptimisticAdam",
    "Pattern",
    "Ring",
    "between",
    "mode_metrics",
    "pattern_networks",
    "ring_networks",
    "sample",
    "save_between",
    "save_sheet",
    "train_gan",
    "train_pattern",
    "train_ring",
]
