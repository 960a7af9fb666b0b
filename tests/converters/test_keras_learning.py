"""What does not learn in a model of Keras does not learn here, nor in the model that is written again.

Models are drawn with ``stop_gradient``, straight-through estimators, frozen layers and
batch norms, models in models, and layers that are used twice; each is trained for five steps in float64 by Keras, and
here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from keras_models import keras as installed

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, to_keras
from portable_nn.converters.keras.installed import computing_in
from portable_nn.core.tensors import Array

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

keras = installed()
ops, layers = keras.ops, keras.layers
Layer = Callable[[Any], Any]


def _straight_through(f: Layer, x: Any) -> Any:
    y = f(x)
    return y + ops.stop_gradient(ops.round(y * 4) / 4 - y)


def _signs(f: Layer, x: Any) -> Any:
    y = f(x)
    return ops.stop_gradient(ops.sign(y)) + ops.tanh(y) - ops.stop_gradient(ops.tanh(y))


def _statistics(f: Layer, x: Any) -> Any:
    y = f(x)
    mean = ops.stop_gradient(ops.mean(y, axis=1, keepdims=True))
    return (y - mean) / (ops.stop_gradient(ops.std(y, axis=1, keepdims=True)) + 0.1)


def _moved(f: Layer, x: Any) -> Any:
    turned = ops.transpose(ops.reshape(f(x), (-1, 2, 2)), (0, 2, 1))
    return ops.reshape(ops.stop_gradient(turned), (-1, 4)) * x


KINDS: Mapping[str, Callable[[Layer, Any], Any]] = {
    "plain": lambda f, x: f(x),
    "input": lambda f, x: f(ops.stop_gradient(x)),
    "output": lambda f, x: ops.stop_gradient(f(x)) + x,
    "straight through": _straight_through,
    "signs": _signs,
    "statistics": _statistics,
    "maximum": lambda f, x: ops.exp(f(x) - ops.stop_gradient(ops.max(f(x), axis=1, keepdims=True))),
    "moved": _moved,
    "where": lambda f, x: ops.where(f(x) > 0, f(x), ops.stop_gradient(x) * 0.1),
}  # fmt: skip


def drawn(seed: int) -> Any:
    """A model; each kind around a layer of its own, some of which are models with a batch norm."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    x = h = keras.Input((4,))
    for place in range(draw.randint(2, 4)):
        dense = layers.Dense(4, activation=draw.choice(["tanh", "relu", "sigmoid", None]), name=f"l{place}")
        dense.trainable = draw.random() < 0.75
        if draw.random() < 0.5:
            inner = keras.Input((4,))
            norm = layers.BatchNormalization(name=f"n{place}", trainable=draw.random() < 0.75)
            part = keras.Model(inner, layers.Dropout(0.0)(norm(dense(inner))), name=f"p{place}")
            norm.set_weights([rng.uniform(0.5, 2, 4) for _ in range(4)])
            body: Layer = part
        else:
            body = dense
        once: dict[int, Any] = {}
        h = KINDS[draw.choice([*KINDS])](lambda y, body=body, once=once: once.setdefault(id(y), body(y)), h)  # type: ignore[misc]
    return keras.Model(x, layers.Dense(2, name="head")(h))


def theirs(model: Any, x: Array, y: Array, optimizer: str) -> dict[str, Array]:
    """The weights by their paths, after five steps."""
    rule = keras.optimizers.SGD(0.01) if optimizer == "sgd" else keras.optimizers.Adam(0.01, epsilon=1e-8)
    model.compile(optimizer=rule, loss="mse")
    for _ in range(5):
        model.train_on_batch(x, y)
    return {each.path: ops.convert_to_numpy(each.value) for each in model.weights if "seed" not in each.path}


def ours(network: pnn.Network, x: Array, y: Array, optimizer: str) -> None:
    steps = pnn.SGD(0.01) if optimizer == "sgd" else pnn.Adam(0.01, epsilon=1e-8)
    network.fit(
        x, y, loss="mean_squared_error", optimizer=steps, epochs=5, batch_size=len(x), shuffle=False, progress=False
    )


APART = {"sgd": 1e-9, "adam": 1e-3}
"""Keras adds the ε of Adam before it corrects the means for their beginning."""


def agree(found: pnn.Network, wanted: pnn.Network, optimizer: str) -> None:
    for name, array in found.parameters.items():
        scale = 1 + np.abs(array).max(initial=0)
        assert np.abs(array - wanted.parameters[name]).max(initial=0) < APART[optimizer] * scale, name


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.long if seed < 25 else pytest.mark.sweep) for seed in range(100)]
)
def test_what_is_drawn_learns_alike_both_ways(seed: int) -> None:
    rng, optimizer = np.random.default_rng(seed), ("sgd", "adam")[seed % 2]
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    with computing_in("float64"):
        model = drawn(seed)
        network, again = from_keras(model), from_keras(model)
        written = to_keras(network)
        before = from_keras(written)
        theirs(model, x, y, optimizer)
        theirs(written, x, y, optimizer)
        ours(network, x, y, optimizer)
        ours(again, x, y, optimizer)
        agree(network, from_keras(model), optimizer)
        ours(before, x, y, optimizer)
        agree(from_keras(written), before, optimizer)
        agree(again, network, optimizer)
        wanted = sorted(float(np.square(array).sum()) for array in network.parameters.values())
        found = sorted(float(np.square(array).sum()) for array in before.parameters.values())
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)


def test_the_gradient_is_stopped_both_ways() -> None:
    x = keras.Input((3,))
    y = layers.Dense(2, name="a")(x)
    network = from_keras(keras.Model(x, ops.stop_gradient(y) * y))
    assert [node.operator for node in network.graph.nodes].count("StopGradient") == 1
    again = from_keras(to_keras(network))
    assert [node.operator for node in again.graph.nodes].count("StopGradient") == 1
