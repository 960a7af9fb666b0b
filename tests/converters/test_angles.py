"""The angle of a point, read from PyTorch and JAX: exact in each quadrant, near the axes and on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.network import Network

RNG = np.random.default_rng(0)
ROUND = RNG.normal(size=(200, 2)) * np.repeat([[1, 1], [1e-5, 1], [1, 1e-5], [1e-3, 1e3]], 50, axis=0)
AXES = [[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]]
POINTS = np.concatenate([ROUND, AXES]).astype(np.float32)
"""Points (y, x)."""


def in_torch() -> Network:
    torch = pytest.importorskip("torch")

    class Angle(torch.nn.Module):
        def forward(self, points: Any) -> Any:
            return torch.atan2(points[:, 0], points[:, 1])

    return pnn.from_torch(Angle(), torch.zeros(2, 2))


def in_jax() -> Network:
    jnp = pytest.importorskip("jax.numpy")
    found = pnn.from_jax(lambda _, points: jnp.arctan2(points[:, 0], points[:, 1]), {}, example=jnp.zeros((2, 2)))
    return found.network


@pytest.mark.parametrize("read", [in_torch, in_jax])
def test_the_angle_is_that_of_numpy_in_double_precision(read: Callable[[], Network]) -> None:
    y, x = POINTS.astype(np.float64).T
    np.testing.assert_allclose(read().predict(POINTS), np.arctan2(y, x), rtol=5e-7, atol=0)
