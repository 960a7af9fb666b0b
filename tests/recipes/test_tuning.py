"""Classifiers that learn further: more of the same, or other classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.data.dataset import Dataset
from portable_nn.format import InputInfo
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.defaults import DIGIT, default_preprocessing
from portable_nn.recipes.arrays import tune_arrays
from portable_nn.recipes.tuning import tune_classifier

RNG = np.random.default_rng(0)
CENTRES = np.array([[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]])
Y = np.arange(90) % 3
X = (CENTRES[Y] + RNG.normal(scale=0.3, size=(90, 4))).astype("float32")


def network(*, softmax: bool = False, labels: str = "abc") -> pnn.Network:
    end = [pnn.Softmax(name="p")] if softmax else []
    return pnn.Sequential(
        pnn.Input(4),
        pnn.Dense(6, name="hidden"),
        pnn.Tanh(name="tanh"),
        pnn.Dense(3, name="head"),
        *end,
        labels=labels,
        seed=0,
    )


def named(y: Array) -> Array:
    return np.array(list("abc"))[y]


@pytest.mark.parametrize("y", [Y, named(Y), Y.astype(float), np.eye(3)[Y]], ids=["number", "name", "float", "one-hot"])
@pytest.mark.parametrize("softmax", [False, True])
def test_more_of_the_same(y: Array, softmax: bool) -> None:
    before = network(softmax=softmax)
    weights = {name: array.copy() for name, array in before.parameters.items()}
    tuned, history = tune_classifier(before, Dataset(X, y), epochs=30, optimizer=pnn.Adam(0.03), validation=0.2)
    assert history["val_accuracy"][-1] == 1
    assert (tuned.labels, tuned.outputs[0].kind) == (tuple("abc"), "logits")
    assert (tuned.predict(X).argmax(axis=1) == Y).all()
    for name, array in before.parameters.items():
        np.testing.assert_array_equal(array, weights[name])
        assert not np.array_equal(tuned.parameters[name], array)


def test_names_are_those_of_the_network_in_whatever_order_the_data_come() -> None:
    """Of two classes, of which the network has three."""
    rows = Y > 0
    tuned, _ = tune_classifier(network(), Dataset(X[rows], named(Y)[rows]), epochs=30, optimizer=pnn.Adam(0.03))
    assert (tuned.predict(X[rows]).argmax(axis=1) == Y[rows]).all()


@pytest.mark.parametrize(
    ("labels", "y"), [("123", Y + 2), ("123", Y), ("abc", Y + 1), ("abc", 10 * Y), ("123", Y + 0.5)]
)
def test_numbers_that_are_no_classes_of_the_network_are_refused(labels: str, y: Array) -> None:
    """As many as the classes they are, and would be learned as others than ``evaluate`` takes them for."""
    with pytest.raises(UsageError, match=f"than the network, {', '.join(labels)}: until -1"):
        tune_classifier(network(labels=labels), Dataset(X, y), epochs=1)


def test_numbers_that_name_classes_are_their_names() -> None:
    rows = Y > 0
    tuned, _ = tune_classifier(network(labels="123"), Dataset(X, Y + 1.0), epochs=30, optimizer=pnn.Adam(0.03))
    assert (tuned.predict(X).argmax(axis=1) == Y).all()
    arrays = {"x": X[rows], "y": Y[rows] + 1}
    options = {"inputs": "x", "targets": "y", "validation": 0, "progress": False}
    again, _ = tune_arrays(tuned, arrays, epochs=30, optimizer=pnn.Adam(0.03), **options)
    assert (again.predict(X[rows]).argmax(axis=1) == Y[rows]).all()
    with pytest.raises(UsageError, match="y holds 4, and the network's classes are 1, 2, 3"):
        tune_arrays(tuned, arrays | {"y": Y[rows] + 2}, epochs=1, **options)


def test_a_network_without_labels_gets_those_of_the_data() -> None:
    tuned, _ = tune_classifier(network(labels=""), Dataset(X, np.array(["z", "x", "y"])[Y]), epochs=1)
    assert tuned.labels == ("x", "y", "z")


def test_other_classes_on_what_is_frozen() -> None:
    before = network()
    y = np.array(["no", "yes", "no"])[Y]
    tuned, history = tune_classifier(
        before, Dataset(X, y), until="tanh", freeze=["*"], epochs=60, optimizer=pnn.Adam(0.05)
    )
    assert tuned.labels == ("no", "yes")
    assert [node.name for node in tuned.graph.nodes] == ["hidden", "tanh", "dense_1"]
    for name in ("hidden.weight", "hidden.bias"):
        np.testing.assert_array_equal(tuned.parameters[name], before.parameters[name])
    assert history["val_accuracy"][-1] == 1


def test_a_head_on_values_of_several_axes_is_flat_first() -> None:
    net = pnn.Sequential(pnn.Input(1, 2, 2), pnn.Conv2d(3, 1, name="conv"), pnn.Flatten(), pnn.Dense(2), seed=0)
    tuned, _ = tune_classifier(net, Dataset(X, Y), until="conv", labels="xyz", epochs=1)
    assert [node.operator for node in tuned.graph.nodes] == ["Conv", "Flatten", "Gemm"]
    assert (tuned.labels, tuned.predict(X[:, None].reshape(-1, 1, 2, 2)).shape) == (tuple("xyz"), (90, 3))


def older(net: pnn.Network) -> pnn.Network:
    """The network as an older file has it: what scales pixels to 0.01 to 1 is beside the graph."""
    net.inputs = (InputInfo("input", "image", default_preprocessing((784,))),)
    return net


def raw_outputs(net: pnn.Network, x: np.ndarray) -> np.ndarray:
    return x @ net.parameters["d.weight"].T + net.parameters["d.bias"]


def test_the_steps_of_an_older_file_become_a_part_of_the_network() -> None:
    """Pixels are scaled to 0.01 to 1: one step of descent on them, by hand."""
    net = older(pnn.Sequential(pnn.Input(784), pnn.Dense(2, name="d"), seed=0))
    pixels = RNG.integers(0, 256, (8, 28, 28))
    y = np.arange(8) % 2
    options: Mapping[str, Any] = {"epochs": 1, "batch_size": 8, "validation": 0, "optimizer": pnn.SGD(0.1)}
    tuned, _ = tune_classifier(net, Dataset(pixels, y), **options)
    x = pixels.reshape(8, -1) / 255 * 0.99 + 0.01
    p = {name: array.astype(float) for name, array in net.parameters.items()}
    powers = np.exp(x @ p["d.weight"].T + p["d.bias"])
    delta = (powers / powers.sum(axis=1, keepdims=True) - np.eye(2)[y]) / 8
    np.testing.assert_allclose(tuned.parameters["d.weight"], p["d.weight"] - 0.1 * delta.T @ x, rtol=1e-5, atol=1e-6)
    assert tuned.inputs == (InputInfo("input", "image", DIGIT),)
    np.testing.assert_allclose(tuned.predict(pixels.reshape(8, -1)), raw_outputs(tuned, x), rtol=1e-4, atol=1e-5)
    raw, _ = tune_classifier(net, Dataset(x, y), preprocess="none", **options)
    np.testing.assert_allclose(raw.parameters["d.weight"], tuned.parameters["d.weight"], rtol=1e-5, atol=1e-6)
    assert (raw.inputs, raw.graph) == (tuned.inputs, tuned.graph)


def test_same_seed_same_bytes() -> None:
    one, two = (tune_classifier(network(), Dataset(X, Y), epochs=2, seed=5).network for _ in range(2))
    assert one.parameters["head.weight"].tobytes() == two.parameters["head.weight"].tobytes()


A, B = pnn.Input(4, name="a"), pnn.Input(4, name="b")
IMAGES = pnn.Sequential(pnn.Input(784), pnn.Rescaling(1 / 255), pnn.Dense(3), preprocessing=DIGIT)


@pytest.mark.parametrize(
    ("net", "data", "options", "message"),
    [
        (
            pnn.Network([A, B], A + B),
            (X, Y),
            {},
            "only a network with one input and one output can be tuned: this has 2 inputs and 1 output",
        ),
        (network(), (X[:, :3], Y), {}, "the data do not fit the network: expected examples of shape (4,), found (3,)"),
        (network(), (X, None), {}, "the data have no labels: in CSV they come first in each row, before the 4 numbers"),
        (network(), (X, None), {"until": "tanh"}, "the data have no labels: in CSV they come first in each row"),
        (
            network(),
            (X, np.arange(90)),
            {},
            "the data have other classes, 3, 4, 5, 6, 7, and 82 more, than the network, a",
        ),
        (
            network(),
            (X, np.array(["a", "d", "e"])[Y]),  # As many as the network has, and yet others.
            {},
            "the data have other classes, d, e, than the network, a, b, c: until -1 (until='-1') gives it a new last",
        ),
        (network(), (X, Y), {"labels": "xyz"}, "the classes of a trained network have their names: others are for a"),
        (network(), (X, Y), {"labels": "xy", "until": "tanh"}, "2 labels cannot name the 3 classes of the data"),
        (network(), (X, Y), {"until": "tan"}, "until: no value and no node is called 'tan': did you mean 'tanh'?"),
        (network(), (X, Y), {"freeze": ["hiden"]}, "freeze: no parameter matches 'hiden': did you mean 'hidden'"),
        (network(), (X, Y), {"validation": 1.0}, "validation must be a number from 0 to less than 1, not 1"),
        (network(), (X * np.inf, Y), {}, "example 0 (from 0) holds NaN, infinity or a number that is too large"),
        (
            IMAGES,
            (np.full((9, 784), 0.5), Y[:9]),
            {},
            "the network takes pixels, 0 to 255, found 0.5 to 0.5: preprocess none",
        ),
        (
            older(IMAGES.until("dense_1")),
            (np.full((9, 784), 0.5), Y[:9]),
            {},
            "the network takes pixels, 0 to 255, found",
        ),
        (
            pnn.Sequential(pnn.Input(2, 2), pnn.ReLU(name="r")),
            (X, Y),
            {},
            "output 'r' is (batch, 2, 2), and not (batch, classes): until can cut before it",
        ),
    ],
)
def test_messages(net: pnn.Network, data: tuple[Any, Any], options: Mapping[str, Any], message: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(PortableNNError, match=f"^{re.escape(message)}"):
        tune_classifier(net, Dataset(*data), **{"epochs": 1, **options})


def test_pictures_become_what_a_foreign_network_has_learned_from() -> None:
    """It says nothing of pictures: it was trained on pixels from 0 to 255, so that is what ``prepare`` gives."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 28, 28))
    foreign = pnn.Sequential(pnn.Input(1, 28, 28), pnn.Flatten(), pnn.Dense(2), seed=0)
    with pytest.warns(pnn.DataWarning, match="if it was trained on 0 to 1, divide them by 255 first"):
        tuned = tune_classifier(foreign, Dataset(pixels, np.arange(40) % 2), epochs=1, progress=False).network
    stroke = np.full((60, 60), 255, np.uint8)
    stroke[10:50, 28:33] = 0
    [[drawn]] = pnn.prepare(tuned, image.fromarray(stroke))
    assert (drawn.min(), drawn.max() > 200) == (0, True)
    assert pnn.prepare(foreign, image.fromarray(stroke)).max() <= 1
    scaled = tune_classifier(foreign, Dataset(pixels / 255, np.arange(40) % 2), epochs=1, progress=False).network
    assert pnn.prepare(scaled, image.fromarray(stroke)).max() <= 1


def test_colour_pictures_that_predict_would_scale_are_warned_of() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8))
    foreign = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(2), seed=0)
    with pytest.warns(pnn.DataWarning, match="^the examples are pixels from 0 to 255, but predict scales pictures"):
        tune_classifier(foreign, Dataset(pixels, np.arange(40) % 2), epochs=1, progress=False)
    scaling = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Rescaling(1 / 255), pnn.Flatten(), pnn.Dense(2), seed=0)
    tune_classifier(scaling, Dataset(pixels, np.arange(40) % 2), epochs=1, progress=False)


@pytest.mark.parametrize("frozen", [(), ("*",)])
def test_a_new_head_for_other_classes(frozen: tuple[str, ...]) -> None:
    before = network(softmax=True)
    y = np.array(["no", "yes", "no"])[Y]
    tuned, history = tune_classifier(
        before, Dataset(X, y), until="-1", freeze=frozen, epochs=60, optimizer=pnn.Adam(0.05), progress=False
    )
    assert [node.name for node in tuned.graph.nodes] == ["hidden", "tanh", "dense_1"]
    assert (tuned.labels, history["val_accuracy"][-1]) == (("no", "yes"), 1)
    same = np.array_equal(tuned.parameters["hidden.weight"], before.parameters["hidden.weight"])
    assert same == bool(frozen)
