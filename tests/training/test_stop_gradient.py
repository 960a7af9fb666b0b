"""What does not learn: ``StopGradient`` in training, in files, and in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.converters.source import write_c, write_numpy
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import INTERNAL
from portable_nn.operators import Symbol

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))


def stopped(x: Symbol) -> Symbol:
    return pnn.emit("StopGradient", x, domain=INTERNAL)


def quantised() -> pnn.Network:
    """A straight-through estimator between two layers, and a branch of the first one that does not learn."""
    x = pnn.Input(3, name="x", dtype="float64")
    h = pnn.Dense(4, name="a")(x)
    y = pnn.Dense(2, name="b")(h + stopped(pnn.emit("Round", h * 4.0) * 0.25 - h)) + pnn.Dense(2, name="c")(stopped(h))
    return pnn.Network(x, y, seed=0)


def by_hand(start: dict[str, Any], steps: int, rate: float) -> dict[str, Any]:
    """Gradient descent on mean squared errors, with the derivatives written out: dq/dh = 1, and nothing through c."""
    w = {name: array.copy() for name, array in start.items()}
    for _ in range(steps):
        h = X @ w["a.weight"].T + w["a.bias"]
        q = np.round(h * 4) / 4
        y = q @ w["b.weight"].T + w["b.bias"] + h @ w["c.weight"].T + w["c.bias"]
        dy = 2 * (y - Y) / y.size
        dh = dy @ w["b.weight"]
        slopes = {
            "a.weight": dh.T @ X, "a.bias": dh.sum(0), "b.weight": dy.T @ q, "b.bias": dy.sum(0),
            "c.weight": dy.T @ h, "c.bias": dy.sum(0),
        }  # fmt: skip
        w = {name: w[name] - rate * slope for name, slope in slopes.items()}
    return w


def train(network: pnn.Network) -> None:
    network.fit(
        X, Y, loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=5, batch_size=6, shuffle=False, progress=False
    )


@pytest.mark.parametrize("suffix", ["", "safetensors", "h5", "npz", "onnx"])
def test_training_follows_the_derivatives_written_by_hand(tmp_path: Path, suffix: str) -> None:
    network = quantised()
    start = {name: array.copy() for name, array in network.parameters.items()}
    if suffix == "onnx":
        export_onnx(network, tmp_path / "n.onnx")
        network = import_onnx(tmp_path / "n.onnx")
    elif suffix:
        network.save(tmp_path / f"n.{suffix}")
        network = pnn.load(tmp_path / f"n.{suffix}")
    train(network)
    for name, wanted in by_hand(start, 5, 0.1).items():
        np.testing.assert_allclose(network.parameters[name], wanted, rtol=0, atol=1e-12, err_msg=name)


def test_another_network_keeps_it_in_a_part_of_its_own() -> None:
    inner, x = quantised(), pnn.Input(3, name="x", dtype="float64")
    start = {name: array.copy() for name, array in inner.parameters.items()}
    outer = pnn.Network(x, inner(x), seed=0)
    train(outer)
    for name, wanted in by_hand(start, 5, 0.1).items():
        np.testing.assert_allclose(outer.parameters[name], wanted, rtol=0, atol=1e-12, err_msg=name)


def test_nothing_learns_behind_it() -> None:
    x = pnn.Input(3, name="x", dtype="float64")
    network = pnn.Network(x, stopped(pnn.Dense(2, name="a")(x)), seed=0)
    with pytest.raises(UsageError, match="no gradient reaches a trainable parameter"):
        train(network)


def test_the_numpy_source_and_c_compute_the_same(tmp_path: Path) -> None:
    network = quantised()
    w = network.parameters
    h = X @ w["a.weight"].T + w["a.bias"]
    wanted = np.round(h * 4) / 4 @ w["b.weight"].T + w["b.bias"] + h @ w["c.weight"].T + w["c.bias"]
    np.testing.assert_allclose(network.predict(X), wanted, atol=1e-12)
    for write, name in ((write_numpy, "n.py"), (write_c, "n.c")):  # Each proves what it writes against predict.
        assert max(each.max_abs_error for each in write(network, tmp_path / name).outputs.values()) < 1e-12
