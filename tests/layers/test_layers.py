"""Builders: what each computes (against numpy), what it names, and what it refuses."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from closed_forms import softmax

import portable_nn as pnn
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.operators.registry import Array

X = np.random.default_rng(0).normal(size=(4, 3))


def run(*layers: Any, x: Array = X) -> Array:
    return pnn.Sequential(pnn.Input(*x.shape[1:], dtype="float64"), *layers).predict(x)


ACTIVATIONS: list[tuple[Any, Array]] = [
    (pnn.ReLU(), np.maximum(X, 0)),
    (pnn.LeakyReLU(), np.where(X > 0, X, np.float32(0.01) * X)),
    (pnn.LeakyReLU(0.25), np.where(X > 0, X, 0.25 * X)),
    (pnn.Sigmoid(), 1 / (1 + np.exp(-X))),
    (pnn.Tanh(), np.tanh(X)),
    (pnn.Softplus(), np.log1p(np.exp(X))),
    (pnn.Softmax(), softmax(X)),
    (pnn.LogSoftmax(), np.log(softmax(X))),
    (pnn.Flatten(), X),
    (pnn.Dropout(0.9), X),
    (pnn.Reshape(3, 1), X[:, :, None]),
    (pnn.Reshape(1, -1), X[:, None]),
]


@pytest.mark.parametrize(("layer", "wanted"), ACTIVATIONS)
def test_what_they_compute(layer: Any, wanted: Array) -> None:
    np.testing.assert_allclose(run(layer), wanted, rtol=1e-7)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (3, 2, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_dense_works_over_the_last_axis(shape: tuple[int, ...], bias: bool) -> None:
    x = np.random.default_rng(1).normal(size=(4, *shape))
    network = pnn.Sequential(
        pnn.Input(*shape, dtype="float64"), pnn.Dense(3, bias=bias, bias_initial=0.5, name="d"), seed=0
    )
    assert list(network.parameters) == ["d.weight", *(["d.bias"] if bias else [])]
    wanted = x @ network.parameters["d.weight"].T + (0.5 if bias else 0)
    assert wanted.shape == (4, *shape[:-1], 3)
    np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-12)


def test_dense_starts_with_glorot_weights_and_no_bias() -> None:
    network = pnn.Sequential(pnn.Input(30), pnn.Dense(20), seed=4)
    limit = np.sqrt(6 / 50)
    wanted = np.random.default_rng(4).uniform(-limit, limit, (20, 30))
    np.testing.assert_allclose(network.parameters["dense_1.weight"], wanted, rtol=1e-6)
    assert not network.parameters["dense_1.bias"].any()


def test_softmax_and_reshape_of_several_axes() -> None:
    x = np.random.default_rng(1).normal(size=(4, 3, 5))
    np.testing.assert_allclose(run(pnn.Softmax(axis=1), x=x), softmax(x, 1), rtol=1e-12)
    np.testing.assert_array_equal(run(pnn.Flatten(), x=x), x.reshape(4, 15))
    np.testing.assert_array_equal(run(pnn.Reshape(5, -1), x=x), x.reshape(4, 5, 3))


def test_concatenate() -> None:
    a, b = pnn.Input(2, 3, name="a"), pnn.Input(2, 3, name="b")
    x = {name: np.random.default_rng(i).normal(size=(4, 2, 3)).astype("float32") for i, name in enumerate("ab")}
    network = pnn.Network([a, b], [pnn.concatenate(a, b, name="one"), pnn.concatenate(b, a, a, axis=-1, name="two")])
    found = network.predict(x)
    np.testing.assert_array_equal(found["one"], np.concatenate([x["a"], x["b"]], 1))
    np.testing.assert_array_equal(found["two"], np.concatenate([x["b"], x["a"], x["a"]], -1))


def test_arithmetic_on_symbols() -> None:
    x = pnn.Input(3, dtype="float64")
    y = (2 - x * 3) / (x * x + 1) + x**2 - 1 / (3 + -x)
    wanted = (2 - X * 3) / (X * X + 1) + X**2 - 1 / (3 - X)
    np.testing.assert_allclose(pnn.Network(x, y).predict(X), wanted, rtol=1e-12)


@pytest.mark.parametrize("name", [None, "twin"])
def test_a_layer_called_twice_uses_its_parameters_twice(name: str | None) -> None:
    x, layer = pnn.Input(3, dtype="float64"), pnn.Dense(3, name=name)
    network = pnn.Network(x, layer(pnn.Tanh()(layer(x))), seed=0)
    stem = name or "dense_1"
    w, b = network.parameters[f"{stem}.weight"], network.parameters[f"{stem}.bias"]
    assert len(network.parameters) == 2
    b[...] = 0.5
    np.testing.assert_allclose(network.predict(X), np.tanh(X @ w.T + b) @ w.T + b, rtol=1e-12)
    assert [node.name for node in network.graph.nodes] == [stem, "tanh_1", f"{name or 'dense'}_2"]


@pytest.mark.parametrize("make", [pnn.ReLU, pnn.Flatten, pnn.Dropout, lambda name: pnn.Reshape(3, name=name)])
def test_a_named_layer_can_be_called_twice(make: Callable[..., Any]) -> None:
    x, layer = pnn.Input(3), make(name="l")
    network = pnn.Network(x, layer(layer(x)))
    assert [node.name for node in network.graph.nodes if node.operator != "Constant"] == ["l", "l_2"]


def test_sizes_from_numpy_are_sizes() -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(np.int64(2)))  # type: ignore[arg-type]
    assert network.graph.parameters[0].shape == (2, 3)
    assert type(network.graph.parameters[0].shape[0]) is int


WRONG: list[tuple[Callable[[], Any], type[PortableNNError], str]] = [
    (lambda: pnn.Input(0), UsageError, "Input: a size must be a whole number from 1 or a name, not 0"),
    (lambda: pnn.Input(3, -1), UsageError, "Input: a size must be a whole number from 1 or a name, not -1"),
    (lambda: pnn.Input(2.5), UsageError, "Input: a size must be a whole number from 1 or a name, not 2.5"),  # type: ignore[arg-type]
    (lambda: pnn.Input(True), UsageError, "Input: a size must be a whole number from 1 or a name, not True"),
    (
        lambda: pnn.Input(3, dtype="float"), UsageError,
        "Input: dtype must be one of float32, uint8, int8, uint16, int16, int32, int64, bool, float16, float64, "
        "uint32, uint64, not 'float'",
    ),
    (lambda: pnn.Dense(0), UsageError, "Dense: units must be a whole number from 1, not 0"),
    (lambda: pnn.Dense("10"), UsageError, "Dense: units must be a whole number from 1, not '10'"),  # type: ignore[arg-type]
    (lambda: pnn.Dropout(1.0), UsageError, "Dropout: ratio must be a number from 0 to less than 1, not 1.0"),
    (lambda: pnn.Dropout(-0.1), UsageError, "Dropout: ratio must be a number from 0 to less than 1, not -0.1"),
    (
        lambda: pnn.Dense(3)(pnn.Input("width")), GraphError,
        "'dense' (Dense): it needs (batch, …, a known size), not (batch, width)",
    ),
    (
        lambda: pnn.Dense(3, name="top")(pnn.Input()), GraphError,
        "'top' (Dense): it needs (batch, …, a known size), not (batch,)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_arguments(make: Callable[[], Any], error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: pnn.Reshape(4, name="r")(x), r"^'r' \(Reshape\): "),
        (lambda x: pnn.concatenate(x, pnn.Dense(2)(x), axis=0, name="c"), r"^'c' \(Concat\): "),
        (lambda x: x + pnn.Dense(2)(x), r"^Add: the shapes \(batch, 3\) and \(batch, 2\) do not broadcast$"),
        (lambda x: pnn.Softmax(axis=2, name="s")(x), r"^'s' \(Softmax\): "),
        (lambda x: pnn.ReLU(name="n")(pnn.Input(3, dtype="bool")), r"^'n' \(Relu\): "),
    ],
)
def test_errors_name_the_node(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make(pnn.Input(3))


def test_parameters_are_named_after_their_layer_whatever_it_is_made_of() -> None:
    network = pnn.Sequential(pnn.Input(5, 8), pnn.Dense(3), pnn.ReLU(), pnn.Dense(2, name="last"))
    assert list(network.parameters) == ["dense_1.weight", "dense_1.bias", "last.weight", "last.bias"]
    assert network.graph.outputs == ("last",)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (pnn.Dense(3), "Dense(3)"),
        (pnn.Conv2d(8, 3, padding=1, name="first"), "Conv2d(8, 3, padding=1, name='first')"),
        (pnn.LeakyReLU(0.2, name="a"), "LeakyReLU(0.2, name='a')"),
        (pnn.ReLU(), "ReLU()"),
        (pnn.Hardtanh(), "Hardtanh()"),
    ],
)
def test_a_layer_prints_itself(layer: Any, text: str) -> None:
    assert repr(layer) == text
    assert repr(pickle.loads(pickle.dumps(layer))) == text
