from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import PortableNNWarning, UsageError
from portable_nn.data.dataset import Dataset
from portable_nn.recipes.classifier import build_classifier, parse_layers, train_classifier

X = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
Y = np.repeat(np.arange(3), 20)


def test_layers():
    assert parse_layers("784-200-10") == [784, 200, 10]
    assert parse_layers("4-3") == [4, 3]


@pytest.mark.parametrize(
    "text", ["", "784", "784-", "-784-10", "784-x-10", "784--10", "0-10", "784-010", "7 - 3", "7-3\n"]
)
def test_what_is_no_list_of_layers(text):
    with pytest.raises(UsageError, match="layers must be two or more sizes with hyphens between them"):
        parse_layers(text)


def test_the_network_that_is_built():
    net = build_classifier([784, 200, 10], seed=0)
    assert {name: array.shape for name, array in net.parameters.items()} == {
        "dense_1.weight": (200, 784),
        "dense_1.bias": (200,),
        "dense_2.weight": (10, 200),
        "dense_2.bias": (10,),
    }
    assert [node.operator for node in net.graph.nodes] == ["Gemm", "Sigmoid", "Gemm"]
    # LeCun's standard deviation, 1/√784: that of 156,800 draws is off by less than 1 %.
    assert net.parameters["dense_1.weight"].std() == pytest.approx(1 / 28, rel=0.01)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (Y, ("0", "1", "2")),
        (Y + 5, ("5", "6", "7")),
        (Y.astype(float), ("0", "1", "2")),
        (Y + 0.5, ("0.5", "1.5", "2.5")),
        (np.array(["ant", "bee", "cat"])[Y], ("ant", "bee", "cat")),
        (np.eye(3)[Y], ("0", "1", "2")),
        (Y[:, np.newaxis], ("0", "1", "2")),
    ],
)
def test_labels_in_any_form(y, labels):
    net, history = train_classifier([3, 3], Dataset(X, y), optimizer=pnn.SGD(3.0), epochs=20, progress=False)
    assert net.labels == labels
    assert net.predict(np.eye(3)).argmax(axis=1).tolist() == [0, 1, 2]
    assert history.rows[-1]["val_accuracy"] == 1.0


def test_the_kinds_of_outputs():
    kinds = {}
    for loss in ("cross_entropy", "binary_cross_entropy", "mean_squared_error"):
        net, _ = train_classifier([3, 3], Dataset(X, Y), loss=loss, epochs=1, progress=False)
        kinds[loss] = net.outputs[0].kind
    assert kinds == {
        "cross_entropy": "logits",
        "binary_cross_entropy": "binary_logits",
        "mean_squared_error": "probabilities",
    }


def test_standardising_takes_only_what_is_learned_from():
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(50, 7, 60), rng.normal(-1, 0.1, 60), np.full(60, 3.0)]
    net, _ = train_classifier([3, 3], Dataset(x, Y), standardise=True, validation=0.5, epochs=1, progress=False)
    assert (net.inputs[0].preprocessing, net.inputs[0].kind) == ((), "table")
    held_out = np.random.default_rng(0).permutation(60)[:30]
    learned = np.delete(x, held_out, axis=0)
    mean, std = learned.mean(axis=0), [learned[:, 0].std(), learned[:, 1].std(), 1.0]
    np.testing.assert_allclose(net.parameters["normalization_1.mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(net.parameters["normalization_1.std"], std, rtol=1e-5)
    inside = net.until("normalization_1")
    np.testing.assert_allclose(inside.predict(x), (x - mean) / std, rtol=1e-4, atol=1e-5)


PIXELS = np.random.default_rng(0).integers(0, 256, (60, 784))


@pytest.mark.parametrize(
    ("x", "options", "prepared"),
    [
        (PIXELS, {}, PIXELS.astype(np.float32) * np.float32(0.99 / 255) + np.float32(0.01)),
        (X * 50 + 7, {"standardise": True}, ((X * 50 + 7) - (X * 50 + 7).mean(0)) / (X * 50 + 7).std(0)),
    ],
    ids=["pixels", "table"],
)
def test_it_learns_what_a_network_of_prepared_numbers_learns(x, options, prepared):
    """Nearly to the bit: the layers behind are trained on the same numbers."""
    options = {"validation": 0.0, "epochs": 2, "progress": False, "seed": 4, **options}
    sizes = [x.shape[1], 5, 3]
    net, _ = train_classifier(sizes, Dataset(x, Y), **options)
    plain, _ = train_classifier(sizes, Dataset(prepared, Y), preprocess="none", **{**options, "standardise": False})
    for name, array in plain.parameters.items():
        np.testing.assert_allclose(net.parameters[name], array, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.predict(x), plain.predict(prepared), rtol=1e-4, atol=1e-5)
    frozen = [value.name for value in net.graph.parameters if not value.trainable]
    assert len(frozen) == 2
    assert set(net.parameters) - set(plain.parameters) == set(frozen)


def test_what_is_held_out_is_drawn_and_not_the_end():
    # Sorted by class: the last third would be all of one class, and the network could not learn it.
    _, history = train_classifier(
        [3, 3], Dataset(X, Y), optimizer=pnn.SGD(3.0), validation=1 / 3, epochs=20, progress=False
    )
    assert history.rows[-1]["val_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (
            X,
            None,
            {},
            "the data have no labels: in CSV they come first in each row, before the 3 numbers of an example",
        ),
        (X[:, :2], Y, {}, "the first layer has 3 units, but an example has 2 numbers"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, X), Y, {}, r"example 7 \(from 0\) holds NaN, infinity"),
        (X, np.arange(60), {}, r"the last layer has 3 units, but the data have 60 classes: 0, 1, 2, 3, 4, …"),
        (X, np.ones((60, 2)), {}, "the last layer has 3 units, but each example is labelled by 2 numbers"),
        (X, Y, {"activation": "swish"}, "activation must be one of sigmoid, tanh, relu, not 'swish'"),
        (X, Y, {"loss": "hinges"}, "loss must be one of"),
        (X, Y, {"loss": "gaussian"}, "loss 'gaussian' is for numbers, and these are classes"),
        (X, Y, {"validation": 0.001}, "validation of 0.001 leaves nothing on one side of 60 examples"),
        (X, Y, {"labels": ["a"]}, "1 label cannot name the 3 units of the last layer"),
    ],
)
def test_errors(x, y, options, message):
    with pytest.raises(UsageError, match=message):
        train_classifier([3, 3], Dataset(x, y), **options)


def test_pixels_that_are_scaled_already_are_taken_as_they_are():
    x = np.random.default_rng(0).random((20, 784))
    data = Dataset(x / x.max(), np.arange(20) % 10)
    with pytest.warns(PortableNNWarning, match=r"^rows of 784 numbers from .* to 1 are taken as they are$"):
        found = train_classifier([784, 10], data, epochs=1).network
    told = train_classifier([784, 10], data, epochs=1, preprocess="none").network
    assert [node.operator for node in found.graph.nodes] == ["Gemm"]
    np.testing.assert_array_equal(found.predict(data.x), told.predict(data.x))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 255.0), (0.0, 256.0), (-2.0, 1.0)])
def test_what_cannot_be_pixels(low, high):
    x = np.full((20, 784), low)
    x[:, 0] = high
    with pytest.raises(
        UsageError, match=f"rows of 784 numbers are taken for pixels, 0 to 255, found {low:g} to {high:g}"
    ):
        train_classifier([784, 2], Dataset(x, np.arange(20) % 2))
    assert (
        train_classifier([784, 2], Dataset(x, np.arange(20) % 2), preprocess="none", epochs=1)
        .network.inputs[0]
        .preprocessing
        == ()
    )
