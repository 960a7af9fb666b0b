"""Keras models as networks: the same outputs, the same training; Keras is the independent side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import NAMES, build, computed, keras, sequential

from portable_nn.converters.keras import from_keras, read_keras
from portable_nn.core.errors import UnsupportedError, UsageError

QUICK = {"dense", "cnn", "lstm"}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def arrays_of(model: Any, batch: int = 3, length: int = 20) -> list[Any]:
    rng = np.random.default_rng(1)
    shapes = [
        tuple(length + at if size is None else size for size in each.shape[1:]) for at, each in enumerate(model.inputs)
    ]
    whole = any(layer.__class__.__name__ == "Embedding" for layer in model.layers)
    return [
        rng.integers(0, 10, (batch, *shape)).astype("float32") if whole
        else rng.standard_normal((batch, *shape)).astype("float32")
        for shape in shapes
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in NAMES]
)
def test_a_network_computes_and_trains_as_the_keras_model_does(name: str, tmp_path: Path) -> None:
    model = build(name)
    model.save(tmp_path / "model.keras")
    found = read_keras(tmp_path / "model.keras", prove_training=True)
    assert "5 steps of training" in found.notes[-1] or "nothing is trained" in found.notes[-1]
    assert "move weights by up to 0," not in found.notes[-1]
    given = arrays_of(model)
    names = [value.name for value in found.network.graph.inputs]
    ours = found.network.compute("numpy", dict(zip(names, given, strict=True)))
    for mine, theirs in zip(ours.values(), computed(model, *given), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))
    if name == "open":  # ONNX has no pads that depend on a size that is open.
        return
    there = found.network.compute("onnxruntime", dict(zip(names, given, strict=True)))
    for key, mine in ours.items():
        np.testing.assert_allclose(mine, there[key], atol=1e-4 * max(1, np.abs(mine).max()))


def test_names_are_keras_names() -> None:
    layers = keras().layers
    model = sequential((6, 6, 2), layers.Conv2D(3, 3, activation="relu", name="look"), layers.Flatten(),
                       layers.Dense(4, activation="softmax", name="say"))  # fmt: skip
    network = from_keras(model)
    assert list(network.parameters) == ["look.weight", "look.bias", "say.weight", "say.bias"]
    assert network.graph.outputs == ("say",)
    assert {"look", "look.linear", "say", "say.linear"} <= {node.name for node in network.graph.nodes}
    assert network.parameters["look.weight"].shape == (3, 2, 3, 3)
    assert network.graph.inputs[0].shape == ("batch", 6, 6, 2)


def test_what_is_frozen_in_keras_is_frozen_here() -> None:
    layers = keras().layers
    model = sequential((4,), layers.Dense(3, name="a"), layers.BatchNormalization(name="n"), layers.Dense(2, name="b"))
    model.get_layer("a").trainable = False
    trained = {value.name for value in from_keras(model).graph.parameters if value.trainable}
    assert trained == {"n.weight", "n.bias", "b.weight", "b.bias"}


def test_what_has_no_counterpart_is_refused_all_at_once(tmp_path: Path) -> None:
    layers = keras().layers

    class Own(layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x

    model = keras().Sequential(
        [keras().Input((4, 4, 1)), layers.RandomFlip(), Own(name="mine"),
         layers.Lambda(lambda x: x, name="code")]
    )  # fmt: skip
    model.save(tmp_path / "m.keras")
    with pytest.raises(UnsupportedError, match=r"3 faults") as caught:
        read_keras(tmp_path / "m.keras")
    with pytest.raises(UnsupportedError, match=r"'random_flip\w*' \(RandomFlip\) has no counterpart here$"):
        from_keras(model)  # What is code works on symbolic tensors.
    text = str(caught.value)
    assert "(RandomFlip) has no counterpart" in text
    assert "'mine' (Own) is an object of its own" in text
    assert "'code' (Lambda) holds code" in text


def test_what_is_no_model_or_was_never_built_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a Keras model, not a int"):
        from_keras(3)
    with pytest.raises(UsageError, match="was never built"):
        from_keras(keras().Sequential([keras().layers.Dense(3)]))


def test_noise_of_training_is_refused_and_what_else_acts_in_it_alone_is_noted(tmp_path: Path) -> None:
    layers = keras().layers
    dense = layers.Dense(2, kernel_regularizer="l2", name="d")
    model = sequential((3,), dense, layers.GaussianNoise(0.1, name="noise"))
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    with pytest.raises(UsageError, match=r"'noise' \(GaussianNoise\): is left out"):
        read_keras(tmp_path / "m.keras")
    notes = "\n".join(read_keras(tmp_path / "m.keras", training="evaluation").notes)
    assert "'d' (Dense): kernel_regularizer is left out" in notes
    assert "'noise' (GaussianNoise): is left out" in notes
    assert "optimizer are left out" in notes


@pytest.mark.long
def test_reading_needs_no_keras_and_imports_none(tmp_path: Path) -> None:
    model = build("cnn")
    model.save(tmp_path / "m.keras")
    given = arrays_of(model)[0]
    np.save(tmp_path / "x.npy", given)
    program = (
        "import sys; sys.modules['keras'] = None; import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'keras' else find(name, *rest)\n"
        "import numpy as np; from portable_nn.converters.keras import read_keras\n"
        "found = read_keras('m.keras'); assert 'torch' not in sys.modules and not found.outputs\n"
        "assert 'Keras is not installed' in found.notes[-1]\n"
        "np.save('y.npy', found.network.predict(np.load('x.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), computed(model, given)[0], atol=1e-6)


def test_the_books_network_gives_the_same_ten_outputs() -> None:
    rng = np.random.default_rng(3)
    wih, who = rng.normal(0, 784**-0.5, (200, 784)), rng.normal(0, 200**-0.5, (10, 200))
    layers = keras().layers
    model = sequential(
        (784,), layers.Dense(200, "sigmoid", use_bias=False), layers.Dense(10, "sigmoid", use_bias=False)
    )
    model.set_weights([wih.T, who.T])
    x = rng.random((5, 784)).astype("float32")
    formula = 1 / (1 + np.exp(-(1 / (1 + np.exp(-x @ wih.T))) @ who.T))
    np.testing.assert_allclose(from_keras(model).predict(x), formula, atol=1e-6)
    np.testing.assert_allclose(computed(model, x)[0], formula, atol=1e-6)
