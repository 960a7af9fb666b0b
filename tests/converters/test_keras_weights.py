"""``.weights.h5`` files into networks that are there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

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


def _of(shape: tuple[int, ...], make: Callable[[Any], Any], dtype: str = "float32") -> Callable[[], Any]:
    def build() -> Any:
        given = package().Input(shape, dtype=dtype)
        return randomised(package().Model(given, make(given)))

    return build


def _models() -> Mapping[str, Callable[[], Any]]:
    """A model for each layer that has weights, and for each way that layers hold others."""
    L, sequence = package().layers, package().Sequential  # noqa: N806
    rows, steps, words, picture = (6,), (6, 4), (6,), (4, 4, 3)

    def cells(*kinds: str) -> Callable[[Any], Any]:
        return lambda x: L.RNN([getattr(L, f"{kind}Cell")(place + 2) for place, kind in enumerate(kinds)])(x)

    def nested(x: Any) -> Any:
        first, last = package().Input((6,)), package().Input((6,))
        one = package().Model(first, L.Add()([L.Dense(6)(first), L.Dense(6, use_bias=False)(first)]))
        inner = sequence([L.Dense(7), L.LayerNormalization()])
        two = package().Model(last, L.Dense(6)(inner(L.Dense(5)(last))))
        return L.Dense(2)(one(two(L.Dense(6)(x))))

    found = {
        "Dense": _of(rows, lambda x: L.Dense(3)(x)),
        "EinsumDense": _of(steps, lambda x: L.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(x)),
        "Embedding": _of(words, lambda x: L.Embedding(12, 4)(x), "int32"),
        "MultiHeadAttention": _of(steps, lambda x: L.MultiHeadAttention(2, 3)(x, x)),
        "MultiHeadAttention of other sizes": _of(
            steps, lambda x: L.MultiHeadAttention(2, 3, use_bias=False, value_dim=5, output_shape=7)(x, x)
        ),
        "masked MultiHeadAttention": _of(
            words,
            lambda x: (lambda e: L.MultiHeadAttention(2, 3)(e, e))(L.Embedding(12, 4, mask_zero=True)(x)),
            "int32",
        ),
        "Attention without weights": _of(steps, lambda x: L.Attention()([x, x])),
        "Attention": _of(steps, lambda x: L.Attention(use_scale=True)([x, L.Dense(4)(x)])),
        "Attention of sums": _of(steps, lambda x: L.Attention(use_scale=True, score_mode="concat")([x, x])),
        "AdditiveAttention": _of(steps, lambda x: L.AdditiveAttention()([x, x])),
        "PReLU": _of(picture, lambda x: L.PReLU()(L.PReLU(shared_axes=[1, 2])(L.Conv2D(5, 1)(x)))),
        "BatchNormalization": _of(picture, lambda x: L.BatchNormalization(scale=False)(L.BatchNormalization()(x))),
        "LayerNormalization": _of(steps, lambda x: L.LayerNormalization(center=False)(L.LayerNormalization()(x))),
        "GroupNormalization": _of((4, 4, 6), lambda x: L.GroupNormalization(3)(x)),
        "RMSNormalization": _of(steps, lambda x: L.RMSNormalization()(x)),
        "RNN of cells": _of(steps, cells("GRU", "LSTM", "GRU", "SimpleRNN")),
        "RNN of a cell": _of(steps, lambda x: L.RNN(L.LSTMCell(3), return_sequences=True)(x)),
        "TimeDistributed": _of(steps, lambda x: L.RNN(L.GRUCell(2))(L.TimeDistributed(L.Dense(5))(x))),
        "models in models": _of(rows, nested),
    }
    for axes, shape in ((1, (5, 3)), (2, picture)):
        for name, options in (("Conv{}D", {"dilation_rate": 2}), ("DepthwiseConv{}D", {"depth_multiplier": 2}),
                              ("SeparableConv{}D", {"depth_multiplier": 2, "use_bias": False}),
                              ("Conv{}DTranspose", {})):  # fmt: skip
            kind, first = getattr(L, name.format(axes)), () if "Depthwise" in name else (5,)
            found[name.format(axes)] = _of(
                shape, lambda x, kind=kind, first=first, options=options: kind(*first, 2, **options)(x)
            )
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        layer = getattr(L, kind)
        found[kind] = _of(steps, lambda x, layer=layer: layer(3)(L.Masking()(layer(4, return_sequences=True)(x))))
        found[f"Bidirectional {kind}"] = _of(
            steps, lambda x, layer=layer: L.Bidirectional(layer(3, return_sequences=True), merge_mode="mul")(x)
        )
        found[f"masked Bidirectional {kind}"] = _of(
            steps, lambda x, layer=layer: L.Bidirectional(layer(3), merge_mode="sum")(L.Masking()(x))
        )
    return found


QUICK: Final = ("MultiHeadAttention", "models in models", "RNN of cells")


@pytest.mark.parametrize("name", [
    *QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in (
        "Dense", "EinsumDense", "Embedding", "MultiHeadAttention of other sizes", "masked MultiHeadAttention",
        "Attention without weights", "Attention", "Attention of sums", "AdditiveAttention", "PReLU",
        "BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "RNN of a cell",
        "TimeDistributed", *(f"{name}{axes}D{end}" for axes in (1, 2) for name, end in (
            ("Conv", ""), ("DepthwiseConv", ""), ("SeparableConv", ""), ("Conv", "Transpose"))),
        *(f"{front}{kind}" for kind in ("LSTM", "GRU", "SimpleRNN")
          for front in ("", "Bidirectional ", "masked Bidirectional ")))),
])  # fmt: skip
def test_the_weights_of_a_model_come_into_the_network_that_was_made_of_it(name: str, tmp_path: Path) -> None:
    model = _models()[name]()
    network = from_keras(model, verify=False)
    randomised(model, seed=5).save_weights(tmp_path / "w.weights.h5")
    expected = from_keras(model, verify=False).parameters
    read_keras_weights(tmp_path / "w.weights.h5", into=network)
    for key, array in expected.items():
        np.testing.assert_array_equal(network.parameters[key], array)


def test_statistics_of_normalization_must_be_those_of_the_network(tmp_path: Path) -> None:
    layer = package().layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(2, 3, size=(9, 6)))
    model = package().Sequential([package().Input((6,)), layer, package().layers.Dense(2)])
    network = from_keras(model, verify=False)
    model.layers[-1].kernel.assign(np.full((6, 2), 0.25))
    model.save_weights(tmp_path / "w.weights.h5")
    read_keras_weights(tmp_path / "w.weights.h5", into=network)
    x = np.random.default_rng(1).normal(size=(4, 6)).astype("float32")
    np.testing.assert_allclose(network.predict(x), computed(model, x)[0], atol=1e-5)
    layer.adapt(np.random.default_rng(0).normal(5, 1, size=(9, 6)))
    model.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(FormatError, match=r"'layers/normalization' fits none that is left"):
        read_keras_weights(tmp_path / "w.weights.h5", into=network)
