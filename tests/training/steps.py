"""What the tests of training share: small data, and the gradient that one step of ``fit`` follows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import portable_nn as pnn
from portable_nn.operators.registry import Array


def draw(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers in float64."""
    return np.random.default_rng(seed).normal(size=shape)


def classes(count: int, among: int, seed: int = 1) -> Array:
    """Class numbers."""
    return np.random.default_rng(seed).integers(0, among, count)


def copied(network: pnn.Network) -> dict[str, Array]:
    """The weights as they are now."""
    return {name: array.copy() for name, array in network.parameters.items()}


def gradients_of(network: pnn.Network, x: Any, y: Any, **options: Any) -> dict[str, Array]:
    """What one step of plain descent at rate 1 over all examples takes away; the network stays as it was."""
    before = copied(network)
    size = len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
    network.fit(x, y, optimizer=pnn.SGD(1.0), epochs=1, batch_size=size, shuffle=False, **options)
    after = copied(network)
    network.load_weights(before)
    return {name: array - after[name] for name, array in before.items()}


def mlp(*, dtype: str = "float64", seed: int = 0, **options: Any) -> pnn.Network:
    """5 numbers in, 3 out."""
    layers = pnn.Input(5, dtype=dtype), pnn.Dense(7), pnn.Tanh(), pnn.Dense(3)
    return pnn.Sequential(*layers, seed=seed, **options)


def digest(network: pnn.Network, folder: Path) -> str:
    """The SHA-256 of the file that the network is saved in."""
    path = folder / "digest.safetensors"
    network.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
