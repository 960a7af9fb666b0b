"""The proof by training, against gradient descent by hand: a linear layer and the mean squared error."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.training import STEPS, Batch, drawn, plain, rate_of, train_both
from portable_nn.core.errors import UsageError, VerificationError


def linear(dtype: str = "float64", scale: float = 1.0) -> pnn.Network:
    x = pnn.Input(3, dtype=dtype, name="x")
    net = pnn.Network(x, pnn.Dense(2, name="dense")(x), seed=0)
    net.parameters["dense.weight"][:] *= scale
    return net


def by_hand(net: pnn.Network, batch: Batch, rate: float) -> dict[str, np.ndarray]:
    """Plain gradient descent: the mean is over examples and outputs."""
    weight, bias = (net.parameters[name].copy() for name in ("dense.weight", "dense.bias"))
    x, [target] = batch.feeds["x"], batch.targets.values()
    for _ in range(STEPS):
        error = 2 * (x @ weight.T + bias - target) / target.size
        weight, bias = weight - rate * error.T @ x, bias - rate * error.sum(0)
    return {"dense.weight": weight, "dense.bias": bias}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_steps_end_with_the_same_weights(dtype: str) -> None:
    net = linear(dtype)
    start = linear(dtype)
    found = train_both(net, lambda batch, rate: by_hand(start, batch, rate), drawn(net, 0), "numpy")
    assert found.check().startswith(f"training proved: after 5 steps of training in {dtype} here and in numpy, ")
    assert found.largest.keys() == {"dense.weight", "dense.bias"}
    assert 0 < found.moved < 5 * 0.02


def test_other_steps_are_refuted_and_every_tensor_is_listed() -> None:
    net, start = linear(), linear()
    found = train_both(net, lambda batch, rate: by_hand(start, batch, 1.01 * rate), drawn(net, 0), "numpy")
    expected = (
        r"after 5 steps of training in float64 here and in numpy: 2 faults\n"
        r"  'dense\.weight' differs by \S+; \S+ would be allowed\n  'dense\.bias' differs by "
    )
    with pytest.raises(VerificationError, match=expected):
        found.check()


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_the_first_step_moves_no_weight_far(scale: float) -> None:
    net = linear(scale=scale)
    batch, before = drawn(net, 0), net.parameters["dense.weight"].copy()
    rate = rate_of(net, batch)
    np.testing.assert_array_equal(net.parameters["dense.weight"], before)
    x, [target] = batch.feeds["x"], batch.targets.values()
    slope = 2 * (x @ before.T - target).T @ x / target.size
    assert rate * np.abs(slope).max() <= 0.01 < 4 * rate * max(1.0, np.abs(slope).max())
    assert np.log2(rate) == round(np.log2(rate))


def test_what_has_no_targets_cannot_be_compared() -> None:
    x = pnn.Input(3, name="x")
    net = pnn.Network(x, pnn.emit("ArgMax", pnn.Dense(2)(x), axis=1), seed=0)
    with pytest.raises(UsageError, match="no output of floats has the batch first"):
        train_both(net, lambda batch, rate: {}, drawn(net, 0), "numpy")


def test_a_plain_network_drops_nothing_and_may_be_wide() -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(4), pnn.Dropout(0.5), pnn.Dense(2), seed=0)
    found = plain(net, wide=True)
    assert "Dropout" not in {node.operator for node in found.graph.nodes}
    assert {array.dtype.name for array in found.parameters.values()} == {"float64"}
