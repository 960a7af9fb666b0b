"""``.weights.h5`` files into networks that are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

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


WITHOUT: Final = """
import sys
sys.modules["keras"] = None
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "keras" else find(name, *rest)
import portable_nn as pnn
from portable_nn.converters.keras import read_keras_weights
from portable_nn.core.errors import FormatError
for name in sys.argv[1:]:
    found = read_keras_weights(f"{name}.weights.h5", into=pnn.load(f"{name}.before.npz"))
    assert "Keras is not installed" in found.notes[0]
    found.network.save(f"{name}.after.npz")
try:
    read_keras_weights("dense.weights.h5", into=pnn.load("cnn.before.npz"))
except FormatError as error:
    print(error)
"""


@pytest.mark.long
def test_weights_come_without_keras_as_with_it(tmp_path: Path) -> None:
    names = ["dense", "cnn", "open", "causal", "groups", "channels_first", "transposed", "lstm", "gru", "bidirectional"]
    names += ["merged", "masked", "masked_bidirectional", "prepared", "einsum", "crossed"]
    expected = {}
    for name in names:
        model = build(name)
        from_keras(model, verify=False).save(tmp_path / f"{name}.before.npz")
        randomised(model, seed=7).save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = from_keras(model, verify=False).parameters
    command = [sys.executable, "-c", WITHOUT, *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in names:
        found = pnn.load(tmp_path / f"{name}.after.npz").parameters
        for key, array in expected[name].items():
            np.testing.assert_array_equal(found[key], array)
    assert "'layers/dense' fits none that is left in the network" in done.stdout
    assert "has weight (3, 24), bias (3,), and the file weight (4, 5), bias (4,)" in done.stdout


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
