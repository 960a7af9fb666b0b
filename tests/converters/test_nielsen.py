"""Files that ``Network.save`` of network2.py writes: M. Nielsen, *Neural Networks and Deep Learning*, 2015."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters import nielsen
from portable_nn.core.errors import FormatError
from portable_nn.opening import open_network

RNG = np.random.default_rng(0)


def saved(sizes):
    """As ``Network.default_weight_initializer`` makes them, and as ``save`` writes them."""
    weights = [RNG.normal(size=(made, given)) / given**0.5 for given, made in pairwise(sizes)]
    biases = [RNG.normal(size=(made, 1)) for made in sizes[1:]]
    data = {
        "sizes": sizes,
        "weights": [w.tolist() for w in weights],
        "biases": [b.tolist() for b in biases],
        "cost": "CrossEntropyCost",
    }
    return data, weights, biases


def feedforward(weights, biases, a):
    """The book's own, on a column."""
    for b, w in zip(biases, weights, strict=True):
        a = 1.0 / (1.0 + np.exp(-(np.dot(w, a) + b)))
    return a


def test_a_network_of_the_book_takes_pixels_and_photographs(tmp_path):
    data, weights, biases = saved([784, 30, 10])
    (tmp_path / "network.json").write_text(json.dumps(data))
    x = RNG.integers(0, 256, (5, 784))
    network = open_network(tmp_path / "network.json")
    np.testing.assert_allclose(network.predict(x), feedforward(weights, biases, x.T / 255).T, rtol=1e-10)
    assert network.labels == tuple("0123456789")
    assert len([*pnn.predict(network, find_model("digits").samples / "digit-3.png")]) == 1
    plain = nielsen.import_saved(tmp_path / "network.json", preprocess="none").network
    np.testing.assert_allclose(plain.predict(x / 255), feedforward(weights, biases, x.T / 255).T, rtol=1e-10)


@pytest.mark.parametrize("sizes", [[4, 4, 4, 4], [3, 1], [2, 5, 1]])
def test_sizes_of_any_network(sizes, tmp_path):
    """Square weights fit both ways, and biases of one size any layer: the file says which is which."""
    data, weights, biases = saved(sizes)
    (tmp_path / "network.json").write_text(json.dumps(data))
    x = RNG.random((6, sizes[0]))
    found = nielsen.import_saved(tmp_path / "network.json")
    np.testing.assert_allclose(found.network.predict(x), feedforward(weights, biases, x.T).T, rtol=1e-12)
    assert found.outputs


def cross_entropy(a, y):
    return -(y * np.log(a) + (1 - y) * np.log(1 - a)).mean()


def squared(a, y):
    return ((a - y) ** 2).mean()


@pytest.mark.parametrize(("cost", "formula"), [("CrossEntropyCost", cross_entropy), ("QuadraticCost", squared)])
def test_training_goes_on_by_the_cost_of_the_file(cost, formula, tmp_path):
    data, weights, biases = saved([3, 4, 2])
    (tmp_path / "network.json").write_text(json.dumps(data | {"cost": cost}))
    found = nielsen.import_saved(tmp_path / "network.json")
    found.network.save(tmp_path / "kept.safetensors")
    x, y = RNG.random((6, 3)), RNG.integers(0, 2, (6, 2)).astype(float)
    history = pnn.load(tmp_path / "kept.safetensors").fit(x, y, epochs=1, batch_size=6, progress=False)
    np.testing.assert_allclose(history["loss"], [formula(feedforward(weights, biases, x.T).T, y)])
    assert not found.notes


def test_a_cost_that_is_no_loss_here_is_said(tmp_path):
    data, *_ = saved([3, 2])
    (tmp_path / "network.json").write_text(json.dumps(data | {"cost": "HingeCost"}))
    [note] = nielsen.import_saved(tmp_path / "network.json").notes
    assert "'HingeCost'" in note


def test_a_byte_order_mark_is_no_fault(tmp_path):
    data, *_ = saved([3, 2])
    (tmp_path / "network.json").write_text(json.dumps(data), encoding="utf-8-sig")
    assert nielsen.import_saved(tmp_path / "network.json").network.inputs


LAYER = {"sizes": [2, 1], "weights": [[[1, 2]]], "biases": [[[3]]]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "it cannot be read as JSON"),
        ("[[1, 2]]", "it cannot be [[1, 2]]"),
        ('{"class_name": "Sequential"}', "it lacks the field 'sizes'"),
        (json.dumps(LAYER | {"weights": [[["a", "b"]]]}), "weights cannot be"),
        (
            json.dumps(LAYER | {"weights": [[[1], [2]]]}),
            "weights and biases of (2, 1), (1, 1) do not fit the sizes 2-1",
        ),
        (json.dumps(LAYER | {"weights": [[[1, 2], [3]]]}), ""),
        (json.dumps(LAYER | {"biases": []}), "weights and biases of (1, 2) do not fit the sizes 2-1"),
        (json.dumps({"sizes": [2], "weights": [], "biases": []}), "of no shape do not fit the sizes 2"),
        (json.dumps({"sizes": [0, 1], "weights": [[[]]], "biases": [[[1]]]}), "do not fit the sizes 0-1"),
        (json.dumps(LAYER | {"biases": [[[float("nan")]]]}), "its weights or biases hold NaN or infinity"),
        (json.dumps(LAYER).replace("3", "1e999"), "its weights or biases hold NaN or infinity"),
        (json.dumps(LAYER)[:-1] + ', "weights": [[[1, 2]]]}', "'weights' stands in it twice"),
        ("[" * 100_000, ""),
        ('{"sizes": ' + "[" * 1100 + "]" * 1100 + "}", "it is nested too deeply"),
    ],
)
def test_another_json_is_named(text, found, tmp_path):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(FormatError, match="expected a network as network2.py .*" + re.escape(found)):
        nielsen.import_saved(tmp_path / "other.json")


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(nielsen, "LARGEST", 1 << 20)
    (tmp_path / "other.json").write_text(json.dumps(LAYER) + " " * (1 << 20))
    with pytest.raises(FormatError, match="larger than 1 MB"):
        nielsen.import_saved(tmp_path / "other.json")


def test_many_short_values_are_refused_before_they_take_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(nielsen, "MOST", 1000)
    (tmp_path / "other.json").write_text(json.dumps(LAYER | {"weights": [[]] * 1001}))
    with pytest.raises(FormatError, match="holds more than 1,000 numbers"):
        nielsen.import_saved(tmp_path / "other.json")
