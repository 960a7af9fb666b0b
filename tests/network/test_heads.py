"""Where the head of a network begins: the input of its last linear layer, and nodes that a person would mean."""

from __future__ import annotations

import re

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.network.heads import main_nodes


def chain(*layers: pnn.Layer) -> pnn.Network:
    return pnn.Sequential(pnn.Input(3, 4, 4), pnn.Conv2d(5, 3, name="conv"), *layers, seed=0)


HEADS = {
    "dense": ([pnn.Flatten(name="f"), pnn.Dense(2)], "f"),
    "softmax": ([pnn.Flatten(name="f"), pnn.Dense(2), pnn.Softmax()], "f"),
    "convolution": ([pnn.ReLU(name="r"), pnn.Conv2d(2, 1), pnn.GlobalAvgPool(), pnn.Flatten()], "r"),
    "dropout": ([pnn.Flatten(), pnn.Dropout(0.5, name="d"), pnn.Dense(2)], "d"),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_input_of_the_last_linear_layer(name: str) -> None:
    layers, wanted = HEADS[name]
    network = chain(*layers)
    body = network.until(-1)
    assert body.graph.outputs == (wanted,) == network.until("-1").graph.outputs
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    np.testing.assert_array_equal(body.predict(x), network.until(wanted).predict(x))


def test_a_product_and_a_sum_of_another_program() -> None:
    """MatMul and Add with a bias, as many exporters write a linear layer; and the layer before it."""
    x = pnn.Input(4)
    h = pnn.ReLU(name="h")(pnn.Dense(6, name="one")(x))
    leaf = pnn.Dense(3, name="two")(h)
    network = pnn.Network(x, pnn.Softmax()(leaf + 1.0), seed=0)
    assert network.until(-1).graph.outputs == ("h",)
    with pytest.raises(UsageError, match=r"^until: there is no linear layer before the output"):
        network.until(-9)
    [value] = network.until("one").graph.outputs
    assert value == "one"


def test_a_network_without_one() -> None:
    with pytest.raises(UsageError, match=re.escape("that a new one could replace (number -1); a name of a node")):
        chain(pnn.ReLU()).until(-1)
    x = pnn.Input(4)
    y = pnn.Network(x, pnn.Dense(4)(x) + pnn.Dense(4)(x), seed=0)  # Two ways lead to the output.
    with pytest.raises(UsageError, match=r"^until: there is no linear layer before the output"):
        y.until(-1)


def test_a_wrong_name_suggests_no_constants() -> None:
    network = chain(pnn.Rescaling(0.5, name="half"), pnn.Flatten(name="flat"), pnn.Dense(2, name="head"))
    assert main_nodes(network.graph)[0] == "conv"
    assert not any("const" in name for name in main_nodes(network.graph))
    with pytest.raises(UsageError, match=r"did you mean 'flat'\?$"):
        network.until("flatt")
    with pytest.raises(UsageError, match=r"flat, head; -1 is for the input of the last linear layer$"):
        network.until("constant_1")


def test_a_network_of_one_linear_layer_has_nothing_to_keep() -> None:
    network = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    with pytest.raises(UsageError, match="there is no linear layer before the output 'dense_1' that a new one could"):
        network.until(-1)
