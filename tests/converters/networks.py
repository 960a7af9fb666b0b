"""Networks by name, with which every code base is tried, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import portable_nn as pnn
from portable_nn.operators.registry import Array


def _recurrent(layer: Any) -> pnn.Network:
    """Two layers in both directions, over any number of steps."""
    return pnn.Sequential(pnn.Input("steps", 3), layer(5, layers=2, bidirectional=True), pnn.Dense(2), seed=0)


def _two_inputs() -> pnn.Network:
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    return pnn.Network([a, b], [a + b, pnn.Dense(2, name="d")(a * b)], seed=0)


def _twice() -> pnn.Network:
    """A layer that is called twice, whose names PyTorch's modules cannot have."""
    x, layer = pnn.Input(3), pnn.Dense(3, name="type")
    return pnn.Network(x, pnn.Dense(2, name="a b/c")(layer(pnn.Tanh()(layer(x)))), seed=0)


NETWORKS: dict[str, Callable[[], pnn.Network]] = {
    "dense": lambda: pnn.Sequential(
        pnn.Input(5), pnn.Dense(4), pnn.Tanh(), pnn.Dense(3), pnn.Softmax(), labels=["a", "b", "c"], seed=0
    ),
    "cnn": lambda: pnn.Sequential(
        pnn.Input(2, 9, 8), pnn.Conv2d(4, 3, padding=1, stride=2), pnn.BatchNorm2d(), pnn.ReLU6(),
        pnn.Conv2d(4, 3, groups=4, padding="same"), pnn.LeakyReLU(), pnn.MaxPool2d(2), pnn.Flatten(), pnn.Dense(3),
        seed=0,
    ),
    "windows": lambda: pnn.Sequential(
        pnn.Input(3, 9, 8), pnn.Conv2d(6, 3, padding=1, groups=3), pnn.BatchNorm2d(), pnn.ReLU(),
        pnn.MaxPool2d(2, stride=1), pnn.Conv2d(4, (2, 3), stride=2, dilation=(1, 2)), pnn.GroupNorm(2), pnn.GELU(),
        pnn.AvgPool2d(2, padding=1), pnn.Flatten(), pnn.Dense(3), pnn.Softmax(), seed=0,
    ),
    "global": lambda: pnn.Sequential(
        pnn.Input(3, 8, 8), pnn.Conv2d(6, 3, dilation=2), pnn.GroupNorm(3), pnn.GELU(), pnn.GlobalAvgPool(),
        pnn.Flatten(), pnn.Dropout(0.3), pnn.Dense(2), seed=0,
    ),
    "any size": lambda: pnn.Sequential(
        pnn.Input(3, "height", "width"), pnn.Conv2d(4, 3, padding=1), pnn.BatchNorm2d(), pnn.ReLU(),
        pnn.GlobalAvgPool(), pnn.Flatten(), pnn.Dense(5), seed=0,
    ),
    "transposed": lambda: pnn.Sequential(
        pnn.Input(3, 4, 4), pnn.ConvTranspose2d(4, 4, stride=2, padding=1), pnn.ConvTranspose2d(2, 3, stride=2), seed=0
    ),
    "causal": lambda: pnn.Sequential(
        pnn.Input(3, "steps"), pnn.Conv1d(4, 3, causal=True, dilation=2), pnn.ELU(0.5), pnn.Conv1d(2, 1), seed=0
    ),
    "RNN": lambda: _recurrent(pnn.RNN),
    "GRU": lambda: _recurrent(pnn.GRU),
    "LSTM": lambda: _recurrent(pnn.LSTM),
    "last of LSTMs": lambda: pnn.Sequential(
        pnn.Input("steps", 3), pnn.LSTM(4, bidirectional=True), pnn.LSTM(5, last=True), pnn.Dense(2), seed=0
    ),
    "last of GRUs": lambda: pnn.Sequential(
        pnn.Input("steps", 3), pnn.GRU(4), pnn.LayerNorm(), pnn.GRU(5, last=True, bidirectional=True), seed=0
    ),
    "plain steps": lambda: pnn.Sequential(
        pnn.Input(6, 3), pnn.RNN(4, nonlinearity="relu", bias=False), pnn.Dense(2), seed=0
    ),
    "encoder": lambda: pnn.Sequential(
        pnn.Input("steps", 8), pnn.TransformerEncoderLayer(heads=2, units=16), pnn.MultiHeadAttention(4, causal=True),
        seed=0,
    ),
    "steps, then attention": lambda: pnn.Sequential(
        pnn.Input("steps", 3), pnn.GRU(5, bidirectional=True, layers=2), pnn.LSTM(4), pnn.TransformerEncoderLayer(2),
        pnn.Dense(2), seed=0,
    ),
    "transformer": lambda: pnn.Sequential(
        pnn.Input("steps", dtype="int64"), pnn.Embedding(11, 8),
        pnn.TransformerEncoderLayer(heads=2, units=16, dropout=0.0), pnn.Dense(2), seed=0,
    ),
    "words": lambda: pnn.Sequential(
        pnn.Input("steps", dtype="int32"), pnn.Embedding(11, 4), pnn.GRU(3, last=True), seed=0
    ),
    "two inputs": _two_inputs,
    "twice": _twice,
}  # fmt: skip

SHIPPED = ("digits", "digits-cnn", "digits-mlp", "digits-gan", "altimetry-swh", "altimetry-track", "altimetry-surface")


def network_of(name: str) -> pnn.Network:
    """One of the networks, or of the models that are shipped."""
    return NETWORKS[name]() if name in NETWORKS else pnn.load_model(name)


def given(network: pnn.Network, batch: int = 3, open_size: int = 7, seed: int = 0) -> dict[str, Array]:
    """Inputs: numbers around 1 or, where they are whole, words from 0 to 9."""
    rng, found = np.random.default_rng(seed), dict[str, Array]()
    for value in network.graph.inputs:
        shape = [size if isinstance(size, int) else open_size if place else batch
                 for place, size in enumerate(value.shape)]  # fmt: skip
        drawn = rng.integers(0, 10, shape) if value.dtype.startswith("int") else rng.normal(1, 1, shape)
        found[value.name] = drawn.astype(value.dtype)
    return found
