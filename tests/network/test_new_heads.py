"""What ``tune --until -1`` puts in the place of a head: the pool of the network, and parameters in closed form."""

from __future__ import annotations

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.data.dataset import Dataset
from portable_nn.operators import emit, integers
from portable_nn.recipes.tuning import tune_classifier

CHANNELS, SIDE, CLASSES = 5, 4, 3


def network(*layers: pnn.Layer) -> pnn.Network:
    """Maps (5, 4, 4), and other layers behind them."""
    body = (pnn.Input(3, SIDE, SIDE), pnn.Conv2d(CHANNELS, 3, padding=1), pnn.ReLU(name="maps"))
    return pnn.Sequential(*body, *layers, seed=0)


def mean_of_maps() -> pnn.Network:
    """As exporters write it: ReduceMean over the last two axes."""
    x = pnn.Input(3, SIDE, SIDE)
    maps = pnn.ReLU(name="maps")(pnn.Conv2d(CHANNELS, 3, padding=1)(x))
    scores = pnn.Conv2d(7, 1)(maps)
    return pnn.Network(x, emit("ReduceMean", scores, integers([2, 3]), keepdims=0), seed=0)


POOLED, FLAT = CHANNELS * CLASSES + CLASSES, CHANNELS * SIDE * SIDE * CLASSES + CLASSES
"""Parameters of a dense layer that reads the mean of each map, and of one that reads all of their pixels."""

AVERAGE, LARGEST = (lambda maps: maps.mean((2, 3))), (lambda maps: maps.max((2, 3)))

CASES = {
    "squeezenet": (lambda: network(pnn.Dropout(), pnn.Conv2d(7, 1), pnn.ReLU(), pnn.GlobalAvgPool(), pnn.Flatten()),
                   "-1", POOLED, AVERAGE),
    "an average over the whole map": (lambda: network(pnn.Conv2d(7, 1), pnn.AvgPool2d(SIDE), pnn.Flatten()),
                                      "-1", POOLED, AVERAGE),
    "a mean over axes": (mean_of_maps, "-1", POOLED, AVERAGE),
    "a global maximum": (lambda: network(pnn.Conv2d(7, 1), pnn.GlobalMaxPool(), pnn.Flatten()), "-1", POOLED, LARGEST),
    "resnet": (lambda: network(pnn.GlobalAvgPool(), pnn.Flatten(), pnn.Dense(7)), "-1", POOLED, AVERAGE),
    "mobilenet, a convolution as its head": (lambda: network(pnn.GlobalAvgPool(), pnn.Conv2d(7, 1), pnn.Flatten()),
                                             "-1", POOLED, AVERAGE),
    "resnet, cut before its pool": (lambda: network(pnn.GlobalAvgPool(), pnn.Flatten(), pnn.Dense(7)),
                                    "maps", POOLED, AVERAGE),
    "no pool": (lambda: network(pnn.Flatten(), pnn.Dense(7)), "-1", FLAT, lambda maps: maps.reshape(len(maps), -1)),
    "a pool of parts": (lambda: network(pnn.MaxPool2d(2), pnn.Flatten(), pnn.Dense(7)), "maps", FLAT,
                        lambda maps: maps.reshape(len(maps), -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_new_head_pools_where_the_network_does(name: str) -> None:
    make, until, count, reduced = CASES[name]
    source = make()
    x = np.random.default_rng(0).normal(size=(12, 3, SIDE, SIDE)).astype(np.float32)
    tuned = tune_classifier(source, Dataset(x, np.arange(12) % CLASSES), until=until, freeze=["*"], epochs=1).network
    body = 3 * CHANNELS * 9 + CHANNELS
    assert sum(array.size for array in tuned.parameters.values()) == body + count
    weight, bias = list(tuned.parameters.values())[-2:]
    maps = source.until("maps").predict(x)
    np.testing.assert_allclose(tuned.predict(x), reduced(maps) @ weight.T + bias, atol=1e-5)
