"""``.weights.h5`` files into networks that are there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_models import build, computed, randomised, sequential
from keras_models import keras as package

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, read_keras_weights
from portable_nn.core.errors import FormatError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize("name", ["dense", *(pytest.param(name, marks=pytest.mark.long) for name in ("cnn", "lstm"))])
def test_saved_weights_come_into_a_network_of_the_same_layers(name: str, tmp_path: Path) -> None:
    model = build(name)
    network = from_keras(model)
    randomised(model, seed=5).save_weights(tmp_path / "w.weights.h5")
    read_keras_weights(tmp_path / "w.weights.h5", into=network)
    x = np.random.default_rng(0).normal(size=(2, *(size or 6 for size in model.input_shape[1:]))).astype("float32")
    np.testing.assert_allclose(network.predict(x), computed(model, x)[0], atol=1e-5)


def test_weights_of_other_layers_change_nothing(tmp_path: Path) -> None:
    layers = package().layers
    sequential((5,), layers.Dense(7), layers.Dense(3)).save_weights(tmp_path / "w.weights.h5")
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(4), pnn.Dense(3), seed=0)
    before = {name: array.copy() for name, array in network.parameters.items()}
    with pytest.raises(FormatError, match="its weights are of other layers"):
        read_keras_weights(tmp_path / "w.weights.h5", into=network)
    with pytest.raises(UsageError, match="into= is the network"):
        read_keras_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "bad.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/hostname", "/x")
    with pytest.raises(FormatError, match="external link"):
        read_keras_weights(tmp_path / "bad.weights.h5", into=network)
    assert all(np.array_equal(before[name], array) for name, array in network.parameters.items())
