"""Batch normalisation of nearly equal numbers: what float32 tells apart is normalised, whatever the mean is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portable_nn.core.graph import INTERNAL
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit_all, trace
from portable_nn.operators.elementwise.blocks import BLOCK

Array = np.ndarray[Any, Any]

EPSILON = 1e-5


def computed(x: Array, dy: Array, scale: Array, bias: Array) -> list[Array]:
    """y, the running mean with momentum 0, dx, dscale and dbias."""
    names = {"x": x, "dy": dy, "scale": scale, "bias": bias, "mean": bias * 0, "variance": bias * 0}
    leaves = {name: Leaf(name, "float32", array.shape) for name, array in names.items()}
    before = [leaves[name] for name in ("x", "scale", "bias", "mean", "variance")]
    y, mean, _ = emit_all("BatchNormalization", *before, outputs=3, training_mode=1, momentum=0.0)
    flows = [leaves[name] for name in ("dy", "x", "scale")]
    traced = trace(
        [*leaves.values()], [y, mean, *emit_all("BatchNormalizationGrad", *flows, outputs=3, domain=INTERNAL)]
    )
    plan = Plan(traced.graph, {name: array.shape for name, array in names.items()}, {})
    for name, array in names.items():
        plan.inputs[name][...] = array
    plan.run()
    return [plan.outputs[name] for name in traced.graph.outputs]


def exact(x: Array, dy: Array, scale: Array, bias: Array) -> list[Array]:
    """The same in double: Ioffe and Szegedy, ICML 2015, section 3."""
    x, dy, scale, bias = (array.astype(np.float64) for array in (x, dy, scale, bias))
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    column = (1, -1, *[1] * (x.ndim - 2))
    mean = x.mean(axes, keepdims=True)
    root = np.sqrt(x.var(axes, keepdims=True) + EPSILON)
    normalized = (x - mean) / root
    flow = dy * scale.reshape(column)
    means = [(flow * each).mean(axes, keepdims=True) for each in (1, normalized)]
    dx = (flow - means[0] - normalized * means[1]) / root
    y = normalized * scale.reshape(column) + bias.reshape(column)
    return [y, mean.ravel(), dx, (dy * normalized).sum(axes), dy.sum(axes)]


@pytest.mark.parametrize("shape", [(32, 4), (8, 4, 5, 5), (16, 2, BLOCK // 8)], ids=["row", "picture", "several parts"])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1, 1000), (1e-3, 50), (1e-4, 1000), (0, 7.3)])
def test_nearly_equal_numbers_are_normalised_to_the_last_digits(
    shape: tuple[int, ...], scale: float, shift: float
) -> None:
    rng = np.random.default_rng(0)
    x, dy, weight, bias = (rng.normal(size=size).astype(np.float32) for size in (shape, shape, shape[1], shape[1]))
    x = (x * scale + shift).astype(np.float32)
    for found, wanted in zip(computed(x, dy, weight, bias), exact(x, dy, weight, bias), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-6 * max(1, np.abs(wanted).max()))
