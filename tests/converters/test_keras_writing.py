"""Networks as Keras models: the same outputs, Keras loads the files, and what is read comes back as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import build, computed, keras, sequential
from networks import network_of

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, read_keras, to_keras, write_keras
from portable_nn.converters.keras.reading import imported
from portable_nn.core.errors import UsageError
from portable_nn.operators import integers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.long
@pytest.mark.parametrize("name", ["einsum", "crossed", "functional", "cells", "masked_mean"])
def test_attention_einsum_states_and_masks_go_back_and_come_again(name: str, tmp_path: Path) -> None:
    network = from_keras(build(name))
    written = write_keras(network, tmp_path / "n.keras", prove_training=True)
    assert "training proved: after 5 steps" in written.notes[-1]
    again = read_keras(tmp_path / "n.keras").network
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.integers(0, 9, [size if isinstance(size, int) else 5 for size in value.shape]).astype(
            value.dtype
        )
        for value in network.graph.inputs
    }
    theirs = again.compute("numpy", feeds)
    for mine, other in zip(network.compute("numpy", feeds).values(), theirs.values(), strict=True):
        np.testing.assert_allclose(other, mine, atol=1e-5 * max(1, np.abs(mine).max()))


def test_lengths_and_first_states_of_recurrent_layers_go_to_keras() -> None:
    keras()
    x, lengths, h = pnn.Input("steps", 3), pnn.Input(dtype="int32"), pnn.Input(4)
    every, last = pnn.GRU(4, name="gru").with_states(x, lengths, [pnn.emit("Unsqueeze", h, integers([0]))])
    network = pnn.Network([x, lengths, h], [every, *last], seed=0)
    model = to_keras(network, verify=False)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 5, 3)).astype("float32"), np.array([5, 2, 1], "int32")]
    arrays.append(rng.normal(size=(3, 4)).astype("float32"))
    ours = network.compute("numpy", dict(zip([value.name for value in network.graph.inputs], arrays, strict=True)))
    found = computed(model, *arrays)
    theirs = dict(zip(sorted(network.graph.outputs), found, strict=True))
    for name, mine in ours.items():
        np.testing.assert_allclose(theirs[name], mine, atol=1e-6)
    assert not next(iter(theirs[name] for name in theirs if theirs[name].ndim == 3))[2, 1:].any()


BOTH_WAYS = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from keras_models import build, keras
from portable_nn.converters.keras import from_keras, to_keras
for name in sys.argv[2:]:
    to_keras(from_keras(build(name), prove_training=True), prove_training=True)
assert keras().backend.backend() == "jax"

import numpy as np
import portable_nn as pnn

for layer in (pnn.LearnedPositions(6), pnn.Dense(4)):  # Training here leaves the weights there as they are.
    net = pnn.Sequential(pnn.Input(6, 4), layer, pnn.Dense(3), seed=0)
    model = to_keras(net, prove_training=True)
    before = [np.array(each) for each in model.get_weights()]
    net.fit(np.ones((8, 6, 4)), np.ones((8, 6, 3)), epochs=1, loss="mean_squared_error", progress=False)
    assert all(map(np.array_equal, before, model.get_weights()))
"""


@pytest.mark.long
def test_both_ways_hold_under_jax() -> None:
    pytest.importorskip("jax")
    names = ["cnn", "bidirectional"]
    subprocess.run(
        [sys.executable, "-c", BOTH_WAYS, str(Path(__file__).parents[1]), *names],
        env={**os.environ, "KERAS_BACKEND": "jax"}, check=True,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", ["dense", "cnn", "causal", "bidirectional", "embedding", "activations"])
def test_what_was_read_goes_back_with_the_same_layers_and_weights(name: str) -> None:
    model = build(name)
    back = to_keras(from_keras(model))
    names = [layer.name for layer in model.layers if layer.weights]
    assert [layer.name for layer in back.layers if layer.weights] == names
    for layer in names:
        for one, other in zip(model.get_layer(layer).get_weights(), back.get_layer(layer).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_layer_that_is_used_twice_is_one_layer_in_keras() -> None:
    k = keras()
    x, dense = k.Input((4,)), k.layers.Dense(4, activation="tanh", name="twice")
    back = to_keras(from_keras(k.Model(x, dense(dense(x)))))
    assert [layer.name for layer in back.layers if layer.weights] == ["twice"]


@pytest.mark.long
def test_pictures_can_have_their_channels_last() -> None:
    network = network_of("cnn")
    x = np.random.default_rng(0).normal(size=(2, 2, 9, 8)).astype("float32")
    model = to_keras(network, channels_last=True)
    assert model.input_shape == (None, 9, 8, 2)
    np.testing.assert_allclose(computed(model, np.moveaxis(x, 1, -1))[0], network.predict(x), atol=1e-5)
    assert to_keras(network).input_shape == (None, 2, 9, 8)


def test_what_keras_has_no_layer_for_is_refused_all_at_once(tmp_path: Path) -> None:
    keras()
    x = pnn.Input(4)
    network = pnn.Network(
        x, pnn.emit("Sinh", pnn.emit("Det", pnn.emit("Reshape", x, pnn.emit("Constant", value=_shape()))))
    )
    with pytest.raises(UsageError, match=r"'det_1' \(Det\): has no layer in Keras"):
        to_keras(network)
    with pytest.raises(UsageError, match=r"ends in \.keras"):
        write_keras(network, tmp_path / "n.h5")
    assert not list(tmp_path.iterdir())


def _shape() -> Any:
    from portable_nn.core.graph import Tensor

    return Tensor("int64", (3,), (-1, 2, 2))


@pytest.mark.long
@pytest.mark.parametrize(("scale", "center"), [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norms_train_with_or_without_their_scales_both_ways(scale: bool, center: bool) -> None:
    layers = keras().layers
    norm = layers.BatchNormalization(scale=scale, center=center, momentum=0.7, epsilon=0.01, name="norm")
    model = sequential((6, 5, 3), layers.Conv2D(4, 3), norm, layers.Flatten(), layers.Dense(2))
    found = imported(model, prove_training=True)
    assert "5 steps of training in float64" in found.notes[-1]
    back = to_keras(found.network, prove_training=True).get_layer("norm")
    assert (back.scale, back.center, len(back.weights)) == (scale, center, 2 + scale + center)
    assert (round(back.momentum, 6), round(back.epsilon, 6)) == (0.7, 0.01)
    norm.trainable = False  # Such a layer predicts in training, too.
    assert "5 steps" in imported(model, prove_training=True).notes[-1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((4, 9, 8), pnn.MaxPool2d(3, stride=2, padding=1)), ((4, 9), pnn.MaxPool1d(3, stride=2, padding=1)),
        ((4, 5, 6), pnn.PReLU()), ((4, 5, 6), pnn.InstanceNorm(affine=True)), ((5, 6), pnn.RMSNorm()),
        ((6,), pnn.Hardshrink()), ((6,), pnn.Softshrink(0.3)),
    ],
)  # fmt: skip
def test_layers_that_keras_has_in_another_form_come_back_too(
    shape: tuple[int, ...], layer: Any, tmp_path: Path
) -> None:
    network = pnn.Sequential(pnn.Input(*shape), layer, pnn.Flatten(), pnn.Dense(2), seed=0)
    written = write_keras(network, tmp_path / "net.keras", prove_training=True)
    assert "training in float64" in written.notes[-1]
    back = read_keras(tmp_path / "net.keras", prove_training=True).network
    x = np.random.default_rng(0).standard_normal((3, *shape)).astype("float32")
    np.testing.assert_allclose(back.predict(x), network.predict(x), atol=1e-5)
