"""Keras models with random weights, by what they show."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")


@lru_cache(maxsize=1)
def keras() -> Any:
    """Keras, computing with PyTorch."""
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


def randomised(model: Any, seed: int = 0) -> Any:
    """The model with all weights drawn, variances above 0."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.path:
            drawn = 0.3 * rng.standard_normal(weight.shape)
            weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.path else drawn)
    return model


def sequential(shape: tuple[int | None, ...], *layers: Any, dtype: str = "float32") -> Any:
    """A Sequential model with random weights."""
    return randomised(keras().Sequential([keras().Input(shape, dtype=dtype), *layers]))


def functional() -> Any:
    """Two inputs, outputs in a structure, shared layers, models in it, states of an LSTM, attention, arithmetic."""
    k = keras()
    L = k.layers  # noqa: N806
    picture, steps = k.Input((8, 8, 3), name="picture"), k.Input((None, 4), name="steps")
    shared = L.Conv2D(3, 3, padding="same", name="shared_conv")
    first = shared(picture)
    joined = L.Concatenate()([L.Add()([first, L.BatchNormalization()(first)]), shared(first)])
    inner = k.Sequential(
        [
            k.Input((8, 8, 6)),
            L.DepthwiseConv2D(3, activation=L.ReLU(max_value=6)),
            L.Flatten(),
            L.Dense(4, activation="tanh"),
        ],
        name="inner",
    )
    vector, dense = k.Input((4,)), L.Dense(4, activation="relu", name="shared")
    nested = k.Model(vector, [dense(vector), L.Multiply()([dense(vector), vector])], name="nested")
    one, other = nested(inner(joined))
    again, last = nested(one)
    sequence, h, c = L.LSTM(4, return_state=True, return_sequences=True)(steps)
    following = L.LSTM(4, return_sequences=True)(sequence, initial_state=[h, c])
    seen = L.MultiHeadAttention(2, 3, value_dim=4)(following, sequence) + sequence * 2.0
    mean = k.ops.mean(seen, axis=1)[:, :3]
    outputs = {"x": last, "y": [L.Maximum()([other, again]), mean], "z": L.Dot(axes=2)([seen, sequence])}
    return randomised(k.Model([picture, steps], outputs))


def crossed() -> Any:
    """Attention to another sequence of another length, and to what comes before."""
    k = keras()
    one, other = k.Input((None, 4), name="one"), k.Input((None, 6), name="other")
    attention = k.layers.MultiHeadAttention
    both = [attention(2, 3)(one, other), attention(2, 3)(one, one, use_causal_mask=True)]
    return randomised(k.Model([other, one], k.layers.Average()(both)))


def _cases() -> Mapping[str, Callable[[], Any]]:
    L = keras().layers  # noqa: N806

    def s(*shape: Any) -> Callable[..., Any]:
        return lambda layers: lambda: sequential(shape, *layers())

    def activations(*names: str) -> Callable[[], Any]:
        return lambda: sequential((6,), *(L.Activation(name) for name in names))

    return {
        "dense": s(5)(lambda: [L.Dense(4, activation="relu"), L.Dense(3, activation="softmax")]),
        "cnn": s(9, 8, 3)(
            lambda: [
                L.Conv2D(4, 3, padding="same", strides=2, activation="relu"),
                L.BatchNormalization(), L.MaxPooling2D(2, padding="same"), L.Flatten(), L.Dense(3),
            ]
        ),
        "open": s(None, None, 3)(
            lambda: [
                L.Conv2D(4, 3, padding="same", strides=2, activation="gelu"),
                L.BatchNormalization(scale=False), L.AveragePooling2D(2), L.DepthwiseConv2D(3, depth_multiplier=2),
                L.SeparableConv2D(5, 3, depth_multiplier=2), L.GlobalAveragePooling2D(), L.Dense(3),
            ]
        ),
        "causal": s(None, 3)(
            lambda: [
                L.Conv1D(4, 3, padding="causal", dilation_rate=2), L.LayerNormalization(), L.MaxPooling1D(2),
                L.UpSampling1D(3), L.ZeroPadding1D(2), L.Cropping1D((1, 2)), L.GlobalMaxPooling1D(),
            ]
        ),
        "conv3d": s(6, 7, 5, 2)(
            lambda: [L.Conv3D(4, 3, padding="same"), L.MaxPooling3D(2), L.Permute((2, 1, 3, 4)), L.Flatten()]
        ),
        "groups": s(8, 8, 4)(
            lambda: [
                L.Conv2D(8, 3, groups=2), L.GroupNormalization(4),
                L.ReLU(max_value=2, negative_slope=0.1, threshold=0.2), L.PReLU(shared_axes=[1, 2]),
                L.UpSampling2D((2, 3)), L.ZeroPadding2D(((1, 2), (0, 1))), L.Cropping2D(1),
            ]
        ),
        "bilinear": s(5, 4, 2)(lambda: [L.UpSampling2D(2, interpolation="bilinear")]),
        "channels_first": s(3, 8, 9)(
            lambda: [
                L.Conv2D(4, 3, data_format="channels_first"), L.BatchNormalization(axis=1),
                L.MaxPooling2D(data_format="channels_first"), L.Flatten(data_format="channels_first"),
            ]
        ),
        "transposed": s(4, 4, 3)(
            lambda: [
                L.Conv2DTranspose(4, 3, strides=2, padding="same"), L.Conv2DTranspose(2, 3, strides=2),
                L.Conv2DTranspose(2, 2, strides=3, padding="same"),
            ]
        ),
        "transposed_1d": s(None, 3)(lambda: [L.Conv1DTranspose(4, 4, strides=2, padding="same")]),
        "lstm": s(None, 3)(lambda: [L.LSTM(4, return_sequences=True), L.LSTM(5)]),
        "gru": s(7, 3)(
            lambda: [L.GRU(4, return_sequences=True, go_backwards=True), L.GRU(5, reset_after=False)]
        ),
        "rnn": s(None, 3)(
            lambda: [L.SimpleRNN(4, return_sequences=True, activation="relu"), L.SimpleRNN(5, use_bias=False)]
        ),
        "bidirectional": s(None, 3)(
            lambda: [L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Bidirectional(L.GRU(3))]
        ),
        "merged": s(6, 3)(
            lambda: [
                L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode="sum"),
                L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="mul"),
                L.Bidirectional(L.GRU(3, activation="relu", recurrent_activation="hard_sigmoid"), merge_mode="ave"),
            ]
        ),
        "cells": s(6, 3)(
            lambda: [L.RNN([L.LSTMCell(3), L.GRUCell(4)], return_sequences=True), L.RNN(L.SimpleRNNCell(3))]
        ),
        "embedding": s(None)(lambda: [L.Embedding(10, 4), L.GlobalAveragePooling1D(), L.Dense(2)]),
        "masked": s(None)(
            lambda: [L.Embedding(10, 4, mask_zero=True), L.LSTM(4, return_sequences=True), L.GRU(3)]
        ),
        "masked_bidirectional": s(None)(
            lambda: [
                L.Embedding(10, 4, mask_zero=True), L.Bidirectional(L.LSTM(4, return_sequences=True)),
                L.Bidirectional(L.LSTM(3)),
            ]
        ),
        "masked_mean": s(None)(
            lambda: [L.Embedding(10, 4, mask_zero=True), L.Dense(3), L.GlobalAveragePooling1D()]
        ),
        "masking": s(None, 2)(lambda: [L.Masking(), L.LSTM(4)]),
        "time_distributed": s(5, 4, 4, 2)(
            lambda: [
                L.TimeDistributed(L.Conv2D(3, 2, activation="relu")), L.TimeDistributed(L.Flatten()),
                L.TimeDistributed(L.Dense(2)),
            ]
        ),
        "prepared": s(4)(
            lambda: [
                L.Rescaling(1 / 255, -0.5),
                L.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 2.0]),
                L.RepeatVector(3), L.Reshape((2, -1)), L.Dropout(0.5), L.Dense(2),
            ]
        ),
        "dropped": s(4, 5, 3)(
            lambda: [
                L.Conv2D(3, 2), L.SpatialDropout2D(0.3), L.LeakyReLU(), L.ELU(alpha=0.5), L.Softmax(axis=1),
                L.UnitNormalization(),
            ]
        ),
        "einsum": s(4, 5)(
            lambda: [L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de")]
        ),
        "activations": activations(
            "elu", "selu", "celu", "gelu", "softplus", "softsign", "silu", "tanh", "exponential", "hard_sigmoid",
            "hard_silu", "mish", "log_softmax",
        ),
        "more_activations": activations(
            "leaky_relu", "relu6", "log_sigmoid", "tanh_shrink", "squareplus", "hard_tanh", "soft_shrink",
            "hard_shrink", "sigmoid", "linear",
        ),
        "functional": functional,
        "crossed": crossed,
    }  # fmt: skip


NAMES: Final = (
    "dense", "cnn", "open", "causal", "conv3d", "groups", "bilinear", "channels_first", "transposed", "transposed_1d",
    "lstm", "gru", "rnn", "bidirectional", "merged", "cells", "embedding", "masked", "masked_bidirectional",
    "masked_mean", "masking", "time_distributed", "prepared", "dropped", "einsum", "activations", "more_activations",
    "functional", "crossed",
)  # fmt: skip
"""The names of the models; without Keras, nothing else is known of them."""


def build(name: str) -> Any:
    """The model of a name."""
    return _cases()[name]()


def computed(model: Any, *arrays: Any) -> list[Any]:
    """What Keras computes, as arrays in the order of the model's outputs."""
    found = model(arrays[0] if len(arrays) == 1 else list(arrays), training=False)
    flat = keras().tree.flatten(found)
    return [keras().ops.convert_to_numpy(each) for each in flat]
