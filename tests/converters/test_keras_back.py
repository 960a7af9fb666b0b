"""Layers of Keras that come back as what they were: taken in, and written again, with their classes and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest
from keras_models import computed, keras, randomised

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, to_keras
from portable_nn.converters.keras.rebuilding import Rebuilder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

PICTURE, STEPS, ROW = (8, 8, 4), (5, 4), (5,)


def _layers() -> Any:
    return keras().layers


def _one(shape: tuple[int, ...], make: Callable[[Any], Any], dtype: str = "float32") -> Callable[[], Any]:
    """A model of one layer, or of several one after the other."""

    def model() -> Any:
        x = first = keras().Input(shape, dtype=dtype)
        made = make(_layers())
        for layer in made if isinstance(made, tuple) else (made,):
            x = layer(x)
        return keras().Model(first, x)

    return model


def _two(
    make: Callable[[Any], Any], *shapes: tuple[int, ...], apart: bool = False, **options: Any
) -> Callable[[], Any]:
    """A model of a layer of two tensors."""

    def model() -> Any:
        both = [keras().Input(shape) for shape in (shapes or (ROW, ROW))]
        layer = make(_layers())
        return keras().Model(both, layer(*both, **options) if apart else layer(both, **options))

    return model


def _twice(layer: Any, shape: tuple[int, ...], attends: bool = False) -> Any:
    """A model that calls a layer on what it made before; one of attention on its input as well."""
    x = keras().Input(shape)
    values = [x] * attends
    return keras().Model(x, layer(layer(x, *values), *values))


MODELS: Final[Mapping[str, Callable[[], Any]]] = {
    "Dense": _one((4,), lambda k: (k.Dense(3, activation="relu"), k.Dense(2))),
    "MultiHeadAttention": _two(lambda k: k.MultiHeadAttention(2, 4), (5, 8), (6, 8), apart=True),
    "Bidirectional": _one(
        STEPS, lambda k: (k.Bidirectional(k.LSTM(6, return_sequences=True)), k.Bidirectional(k.GRU(3)))
    ),
    "Conv1D": _one((9, 3), lambda k: k.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    "Conv2D": _one(PICTURE, lambda k: k.Conv2D(4, 3, strides=2, padding="same", activation="relu")),
    "Conv3D": _one((5, 6, 7, 2), lambda k: k.Conv3D(3, 2)),
    "SeparableConv1D": _one((9, 3), lambda k: k.SeparableConv1D(4, 3, depth_multiplier=2)),
    "SeparableConv2D": _one(PICTURE, lambda k: k.SeparableConv2D(4, 3, padding="same", activation="relu")),
    "DepthwiseConv2D": _one(PICTURE, lambda k: k.DepthwiseConv2D(3, depth_multiplier=2)),
    "Conv2DTranspose": _one(PICTURE, lambda k: k.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")),
    "activations apart": _one(
        PICTURE,
        lambda k: (k.Conv2DTranspose(4, 3, padding="same"), k.ReLU(), k.SeparableConv2D(3, 2), k.ReLU()),
    ),
    "pools": _one(PICTURE, lambda k: (k.MaxPooling2D(2), k.AveragePooling2D(2))),
    "GlobalAveragePooling2D": _one(PICTURE, lambda k: k.GlobalAveragePooling2D()),
    "GlobalMaxPooling1D": _one(STEPS, lambda k: k.GlobalMaxPooling1D()),
    "BatchNormalization": _one(PICTURE, lambda k: k.BatchNormalization()),
    "LayerNormalization": _one(STEPS, lambda k: k.LayerNormalization()),
    "GroupNormalization": _one(PICTURE, lambda k: k.GroupNormalization(2)),
    "RMSNormalization": _one(STEPS, lambda k: k.RMSNormalization()),
    "UnitNormalization": _one(STEPS, lambda k: k.UnitNormalization()),
    "LSTM": _one(STEPS, lambda k: (k.LSTM(6, return_sequences=True), k.LSTM(3))),
    "GRU": _one(STEPS, lambda k: (k.GRU(6, return_sequences=True), k.GRU(3, reset_after=False))),
    "SimpleRNN": _one(STEPS, lambda k: (k.SimpleRNN(6, return_sequences=True), k.SimpleRNN(3, go_backwards=True))),
    "Bidirectional, merged": _one(
        STEPS,
        lambda k: (
            k.Bidirectional(k.LSTM(6, return_sequences=True), merge_mode="sum"),
            k.Bidirectional(k.SimpleRNN(3, return_sequences=True), merge_mode="mul"),
            k.Bidirectional(k.GRU(3, dropout=0.2), merge_mode="ave"),
        ),
    ),
    "StackedRNNCells": _one(STEPS, lambda k: k.RNN([k.LSTMCell(6), k.GRUCell(3), k.SimpleRNNCell(2)])),
    "RNN of one cell": _one(STEPS, lambda k: k.RNN(k.LSTMCell(6), return_sequences=True)),
    "ConvLSTM2D": _one((3, 6, 6, 2), lambda k: k.ConvLSTM2D(4, 3, padding="same")),
    "TimeDistributed": _one(STEPS, lambda k: k.TimeDistributed(k.Dense(3))),
    "GroupQueryAttention": _two(lambda k: k.GroupQueryAttention(4, 4, 2), (5, 8), (6, 8), apart=True),
    "MultiHeadAttention, causal": _two(
        lambda k: k.MultiHeadAttention(2, 4, value_dim=3, use_bias=False, output_shape=7), (5, 8), (5, 8), apart=True,
        use_causal_mask=True,
    ),
    "MultiHeadAttention, called twice": lambda: _twice(_layers().MultiHeadAttention(2, 4), STEPS, attends=True),
    "Conv2DTranspose, called twice": lambda: _twice(
        _layers().Conv2DTranspose(4, 3, padding="same", activation="relu"), PICTURE
    ),
    "SeparableConv2D, called twice": lambda: _twice(
        _layers().SeparableConv2D(4, 3, padding="same", activation="tanh"), PICTURE
    ),
    "DepthwiseConv2D and Conv2D": _one(
        PICTURE, lambda k: (k.DepthwiseConv2D(3, use_bias=False), k.Conv2D(6, 1, activation="relu"))
    ),
    "Attention": _two(lambda k: k.Attention(use_scale=True), (5, 8), (6, 8)),
    "Attention by sums": _two(lambda k: k.Attention(score_mode="concat"), (5, 8), (6, 8)),
    "AdditiveAttention": _two(lambda k: k.AdditiveAttention(), (5, 8), (6, 8)),
    "Embedding": _one((6,), lambda k: k.Embedding(10, 4), "int32"),
    "EinsumDense": _one(STEPS, lambda k: k.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes="d")),
    "Dropout": _one(STEPS, lambda k: (k.Dropout(0.3), k.Dropout(0.2, noise_shape=(None, 1, 4)))),
    "SpatialDropout": _one(STEPS, lambda k: k.SpatialDropout1D(0.3)),
    "ReLU with options": _one(ROW, lambda k: k.ReLU(max_value=6.0, negative_slope=0.1, threshold=0.5)),
    "ReLU": _one(ROW, lambda k: (k.ReLU(max_value=6.0), k.LeakyReLU(0.1), k.ELU(0.7), k.Softmax())),
    "PReLU": _one(STEPS, lambda k: (k.PReLU(shared_axes=[1]), k.PReLU())),
    "Activation": _one(ROW, lambda k: (k.Activation("gelu"), k.Activation("tanh"))),
    "Activation('relu')": _one(ROW, lambda k: k.Activation("relu")),
    "Reshape": _one((6, 4), lambda k: (k.Reshape((4, 6)), k.Permute((2, 1)), k.Flatten(), k.RepeatVector(3))),
    "Cropping2D": _one(PICTURE, lambda k: (k.Cropping2D(1), k.ZeroPadding2D(2), k.UpSampling2D(2))),
    "Cropping1D": _one((6, 4), lambda k: (k.UpSampling1D(2), k.Cropping1D((1, 2)), k.ZeroPadding1D(1))),
    "Resizing": _one(PICTURE, lambda k: k.Resizing(16, 12)),
    "Add": _two(lambda k: k.Add()),
    "Subtract": _two(lambda k: k.Subtract()),
    "Multiply": _two(lambda k: k.Multiply()),
    "Average": _two(lambda k: k.Average()),
    "Maximum": _two(lambda k: k.Maximum()),
    "Concatenate": _two(lambda k: k.Concatenate()),
    "Dot": _two(lambda k: k.Dot(axes=1)),
    "Dot of units": _two(lambda k: k.Dot(axes=(1, 2), normalize=True), (5, 4), (3, 5)),
    "Rescaling": _one(ROW, lambda k: (k.Rescaling(1 / 255, offset=-1.0), k.Rescaling(2.0))),
    "Normalization": _one(ROW, lambda k: k.Normalization(mean=[1.0, 2, 3, 4, 5], variance=[1.0, 4, 9, 2, 3])),
    "Discretization": _one(ROW, lambda k: k.Discretization(bin_boundaries=[0.0, 1.0, 2.0])),
    "CategoryEncoding": _one(ROW, lambda k: k.CategoryEncoding(7, output_mode="multi_hot"), "int32"),
    "Masking": _one(STEPS, lambda k: (k.Masking(0.0), k.LSTM(3))),
}  # fmt: skip

OTHERS: Final = {
    "RNN of one cell": "its nodes are those of LSTM, which it comes back as",
    "Activation('relu')": "its node is that of ReLU(), which it comes back as",
    "Normalization": "the graph has a factor and a shift, of whose rounding no mean and variance can be told",
    "ConvLSTM2D": "its steps are written one after the other",
    "Masking": "its mask is a tensor of its own, which Keras's layers give along with their outputs",
}
"""The layers that come back as others, and why."""


def _classes(model: Any) -> list[tuple[str, ...]]:
    """The classes of the layers and operations of a model, with those that they hold."""
    inner = ("layer", "forward_layer", "backward_layer", "cell")
    held = [[each, *(getattr(each, name, None) for name in inner)] for each in model.operations]
    return [tuple(type(part).__name__ for part in parts if part is not None) for parts in held]


@pytest.mark.parametrize("name", MODELS)
def test_layers_come_back_as_what_they_were(name: str) -> None:
    model = randomised(MODELS[name]())
    back = to_keras(from_keras(model))
    rng = np.random.default_rng(1)
    given = [
        rng.integers(0, 7, (3, *each.shape[1:])).astype(each.dtype)
        if each.dtype == "int32"
        else rng.normal(size=(3, *each.shape[1:])).astype(each.dtype)
        for each in model.inputs
    ]
    for mine, theirs in zip(computed(back, *given), computed(model, *given), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    if name in OTHERS:
        assert _classes(back) != _classes(model), f"{OTHERS[name]}: no longer"
        return
    assert _classes(back) == _classes(model)
    for one, other in zip(back.layers, model.layers, strict=True):
        for mine, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_most_layers_come_back() -> None:
    assert len(MODELS) - len(OTHERS) >= 0.85 * len(MODELS)
    assert set(OTHERS) <= set(MODELS)


@pytest.mark.parametrize("kind", ["Conv2D", "Conv2DTranspose", "SeparableConv2D"])
def test_what_is_before_an_activation_is_called_linear(kind: str) -> None:
    layer = getattr(_layers(), kind)(4, 3, activation="relu", name="c")
    x = keras().Input(PICTURE)
    nodes = from_keras(keras().Model(x, layer(x)), verify=False).graph.nodes
    assert [each.name for each in nodes if each.operator.startswith("Conv")][-1] == "c.linear"


@pytest.mark.parametrize("steps", [5, "steps"])
def test_layers_that_part_heads_bear_the_name_of_their_attention(steps: int | str) -> None:
    network = pnn.Sequential(pnn.Input(steps, 8), pnn.MultiHeadAttention(2, name="attention"), seed=0)
    node = next(each.name for each in network.graph.nodes if each.operator == "Attention")
    layers = [each for each in to_keras(network, verify=False).layers if type(each).__name__ == "Reshape"]
    assert len(layers) == 4
    assert all(each.name.startswith(node.replace(".", "_")) for each in layers)


def test_a_fault_of_this_package_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    keras()
    monkeypatch.setattr(Rebuilder, "laid", None)
    with pytest.raises(TypeError):
        to_keras(pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0))
