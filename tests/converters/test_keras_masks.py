"""Masks of steps: what Keras computes of sequences that zeros make longer, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest
from keras_models import computed, keras, randomised, sequential

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, to_keras
from portable_nn.converters.keras.reading import imported
from portable_nn.core.errors import PortableNNError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def _between() -> Mapping[str, Callable[[], Any]]:
    L = keras().layers  # noqa: N806
    return {
        "LayerNormalization": lambda: L.LayerNormalization(),
        "GroupNormalization": lambda: L.GroupNormalization(2),
        "UnitNormalization": lambda: L.UnitNormalization(),
        "RMSNormalization": lambda: L.RMSNormalization(),
        "BatchNormalization": lambda: L.BatchNormalization(),
        "SpatialDropout1D": lambda: L.SpatialDropout1D(0.3),
        "GaussianNoise": lambda: L.GaussianNoise(0.2),
        "PReLU": lambda: L.PReLU(),
        "Dense": lambda: L.Dense(4, activation="relu"),
        "EinsumDense": lambda: L.EinsumDense("abc,cd->abd", output_shape=(None, 4)),
        "Conv1D": lambda: L.Conv1D(4, 3, padding="same"),
        "MaxPooling1D": lambda: L.MaxPooling1D(2),
        "ZeroPadding1D": lambda: L.ZeroPadding1D(1),
        "Permute": lambda: L.Permute((1, 2)),
        "Rescaling": lambda: L.Rescaling(0.5),
        "Normalization": lambda: L.Normalization(mean=[0, 1, 2, 3.0], variance=[1, 2, 1, 2.0]),
        "TimeDistributed": lambda: L.TimeDistributed(L.Dense(4)),
        "Masking": lambda: L.Masking(0.5),
        "LSTM": lambda: L.LSTM(4, return_sequences=True),
        "backwards": lambda: L.GRU(4, return_sequences=True, go_backwards=True),
        "Bidirectional": lambda: L.Bidirectional(L.GRU(2, return_sequences=True)),
        "stacked": lambda: L.RNN([L.GRUCell(3), L.LSTMCell(4)], return_sequences=True),
        "model": lambda: keras().Sequential([L.Dense(4), L.Activation("tanh")]),
    }


LAYERS: Final = (
    "LayerNormalization", "GroupNormalization", "UnitNormalization", "RMSNormalization", "BatchNormalization",
    "SpatialDropout1D", "GaussianNoise", "PReLU", "Dense", "EinsumDense", "Conv1D", "MaxPooling1D", "ZeroPadding1D",
    "Permute", "Rescaling", "Normalization", "TimeDistributed", "Masking", "LSTM", "backwards", "Bidirectional",
    "stacked", "model",
)  # fmt: skip
QUICK: Final = ("UnitNormalization", "Dense")


def _words(rng: np.random.Generator) -> Any:
    """Short sequences with zeros behind, before and between the words, and one of zeros alone."""
    words = rng.integers(0, 5, (5, 6)).astype("float32")
    words[1, 3:] = words[2, :3] = words[3] = 0
    return words


def _same(model: Any, *given: Any) -> None:
    network = from_keras(model, training="evaluation")
    ours = network.compute("numpy", dict(zip([value.name for value in network.graph.inputs], given, strict=True)))
    for mine, theirs in zip(ours.values(), computed(model, *given), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in LAYERS]
)
def test_a_layer_passes_a_mask_on_as_in_keras(name: str, functional: bool) -> None:
    layers = keras().layers
    layer = _between()[name]()
    if functional:
        words = keras().Input((6,))
        value = layer(layers.Embedding(5, 4, mask_zero=True)(words))
        model = randomised(keras().Model(words, layers.LSTM(3)(value)))
    else:
        model = sequential((6,), layers.Embedding(5, 4, mask_zero=True), layer, layers.LSTM(3))
    _same(model, _words(np.random.default_rng(0)))


def _pair(join: Callable[[Any, Any], Any]) -> Any:
    """Two inputs of words in one embedding, joined, and a recurrent layer behind."""
    one, other = keras().Input((6,)), keras().Input((6,))
    words = keras().layers.Embedding(5, 4, mask_zero=True)
    return randomised(keras().Model([one, other], keras().layers.LSTM(3)(join(words(one), words(other)))))


def _joins() -> Mapping[str, Callable[[Any, Any], Any]]:
    L = keras().layers  # noqa: N806
    return {
        "Add": lambda one, other: L.Add()([one, other]),
        "Multiply": lambda one, other: L.Multiply()([one, other]),
        "half Multiply": lambda one, other: L.Multiply()([one, L.Conv1D(4, 1)(other)]),
        "Concatenate": lambda one, other: L.Concatenate()([one, other]),
        "half Concatenate": lambda one, other: L.Concatenate()([one, L.Conv1D(4, 1)(other)]),
        "Concatenate of steps": lambda one, other: L.Concatenate(axis=1)([one, other]),
        "Attention": lambda one, other: L.Attention()([one, other]),
        "causal Attention": lambda one, other: L.Attention(use_scale=True)([one, other], use_causal_mask=True),
        "Attention of sums": lambda one, other: L.Attention(score_mode="concat", use_scale=True)([one, other, one]),
        "AdditiveAttention": lambda one, other: L.AdditiveAttention()([one, other]),
        "MultiHeadAttention": lambda one, other: L.MultiHeadAttention(2, 3)(one, other),
        "operations": lambda one, other: one * 2.0 + other,
        "states": lambda one, other: L.LSTM(4, return_sequences=True)(
            other, initial_state=L.LSTM(4, return_state=True)(one)[1:]
        ),
    }


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["Add", "Multiply", "half Multiply", "Concatenate", "half Concatenate", "Concatenate of steps", "Attention",
     "causal Attention", "Attention of sums", "AdditiveAttention", "MultiHeadAttention", "operations", "states"],
)  # fmt: skip
def test_layers_of_two_sequences_join_their_masks_as_in_keras(name: str) -> None:
    rng = np.random.default_rng(1)
    words = _words(rng)
    other = _words(rng)
    other[3, :2] = 3  # Attention to no step at all is a mean of rounding errors.
    if "Attention" in name:
        words[3, 4] = other[3, 3] = 1
    _same(_pair(_joins()[name]), words, other)


def test_a_mask_that_is_given_counts() -> None:
    steps, mask = keras().Input((5, 3)), keras().Input((5,), dtype="bool")
    model = keras().Model([steps, mask], keras().layers.GRU(3, return_sequences=True)(steps, mask=mask))
    rng = np.random.default_rng(2)
    _same(randomised(model), rng.standard_normal((4, 5, 3)).astype("float32"), rng.random((4, 5)) < 0.6)


def _models() -> Mapping[str, tuple[Callable[[], Any], list[str]]]:
    L = keras().layers  # noqa: N806

    def words(*layers: Any) -> Callable[[], Any]:
        return lambda: sequential((None,), L.Embedding(5, 4, mask_zero=True), *layers)

    return {
        "recurrent": (words(L.LSTM(4, return_sequences=True), L.GRU(3)), ["Embedding", "LSTM", "GRU"]),
        "both directions": (
            words(L.Bidirectional(L.GRU(4, return_sequences=True)), L.SimpleRNN(3)),
            ["Embedding", "Bidirectional", "SimpleRNN"],
        ),
        "zeros": (words(L.LSTM(4, return_sequences=True, zero_output_for_mask=True)), ["Embedding", "LSTM"]),
        "masking": (lambda: sequential((6, 3), L.Masking(), L.GRU(2, go_backwards=True)), ["Multiply", "GRU"]),
        "steps": (
            lambda: sequential((None, 3), L.TimeDistributed(L.Dense(4, activation="relu")), L.LSTM(2)),
            ["TimeDistributed", "LSTM"],
        ),
        "pictures": (
            lambda: sequential((4, 6, 6, 2), L.TimeDistributed(L.Conv2D(3, 3)), L.TimeDistributed(L.Flatten())),
            ["TimeDistributed", "TimeDistributed"],
        ),
        "models": (
            lambda: sequential((4, 6), L.TimeDistributed(keras().Sequential([L.Dense(4), L.ReLU(), L.Dense(2)]))),
            ["TimeDistributed"],
        ),
        "repeated": (
            lambda: sequential((5,), L.RepeatVector(4), L.LSTM(3, return_sequences=True)), ["RepeatVector", "LSTM"]
        ),
    }  # fmt: skip


ROUND_TRIPS: Final = ("recurrent", "both directions", "zeros", "masking", "steps", "pictures", "models", "repeated")


@pytest.mark.long
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_masks_and_layers_for_each_step_come_back_as_layers(name: str) -> None:
    make, layers = _models()[name]
    model = make()
    back = to_keras(from_keras(model), prove_training=True)
    kinds = [type(each).__name__ for each in back.layers]
    assert [kind for kind in kinds if hasattr(keras().layers, kind) and kind != "InputLayer"] == layers
    rng = np.random.default_rng(4)
    shape = [size or 6 for size in model.input_shape[1:]]
    given = rng.standard_normal((5, *shape)).astype("float32") if "Embedding" not in layers else _words(rng)
    if name == "masking":
        given[1, 3:] = given[2, :2] = given[3] = 0
    np.testing.assert_allclose(computed(back, given)[0], computed(model, given)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [
        ((3, 3), 2, "same", 1), ((3, 3), 2, "same", 0), ((3, 3), 2, "valid", 1), ((3, 4), (2, 3), "same", (1, 2)),
        ((2, 5), 3, "same", 2), ((4, 1), 2, "same", None),
    ],
)  # fmt: skip
def test_transposed_convolutions_add_cells_as_in_keras(kernel: Any, stride: Any, padding: str, extra: Any) -> None:
    layer = keras().layers.Conv2DTranspose(4, kernel, strides=stride, padding=padding, output_padding=extra)
    model, given = sequential((5, 6, 3), layer), np.ones((2, 5, 6, 3), "float32")
    given *= np.random.default_rng(3).standard_normal(given.shape)
    _same(model, given)
    back = to_keras(from_keras(model))
    np.testing.assert_allclose(computed(back, given)[0], computed(model, given)[0], atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("steps", [6, None])
def test_padded_queries_of_attention_take_what_they_take_in_keras(
    causal: bool, dropout: float, steps: int | None
) -> None:
    layers = keras().layers
    words = keras().Input((steps,), dtype="int32")
    value = layers.Embedding(12, 4, mask_zero=True)(words)
    heads = layers.MultiHeadAttention(2, 3, dropout=dropout)(value, value, use_causal_mask=causal)
    model = randomised(keras().Model(words, layers.LayerNormalization()(value + heads)))
    given = np.array([[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0], [0, 2, 0, 3, 0, 0]], "int32")
    _same(model, given)
    if steps and not dropout:
        back = to_keras(from_keras(model, training="evaluation"))
        np.testing.assert_allclose(computed(back, given)[0], computed(model, given)[0], atol=1e-6)


def test_masked_steps_are_left_out_of_the_loss_by_weights() -> None:
    layers = keras().layers
    model = sequential((6, 4), layers.Masking(0.0), layers.LSTM(3, return_sequences=True, name="steps"))
    found = imported(model)
    assert "Keras masks 'steps', and its fit leaves masked steps out of the loss: here fit(sample_weight=…)" in str(
        found.notes
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 6, 4)).astype("float32"), rng.normal(size=(6, 6, 3)).astype("float32")
    x[:, 4:] = x[0, 2:] = 0
    model.compile(optimizer=keras().optimizers.SGD(0.1), loss="mse")
    for _ in range(3):
        model.train_on_batch(x, y)
    options = {"loss": "mean_squared_error", "optimizer": pnn.SGD(0.1), "shuffle": False, "progress": False}
    network = found.network
    network.fit(x, y, sample_weight=(x != 0).any(axis=2), epochs=3, batch_size=6, **options)
    for name, array in from_keras(model, verify=False).parameters.items():
        np.testing.assert_allclose(network.parameters[name], array, atol=1e-6)
    last = sequential((6, 4), layers.Masking(0.0), layers.LSTM(3))
    assert "masked steps" not in str(imported(last).notes)


def test_tiny_vectors_are_normalised_as_in_keras() -> None:
    model = sequential((6,), keras().layers.UnitNormalization())
    network = from_keras(model)
    for size in (0, 1e-18, 1e-12, 1e-10, 1e-6, 1, 1e10):
        x = (np.random.default_rng(0).normal(size=(5, 6)) * size).astype("float32")
        np.testing.assert_allclose(network.predict(x), computed(model, x)[0], rtol=1e-5)


def test_a_layer_has_one_fault_at_a_time() -> None:
    given = keras().Input((3, 4, 6))
    model = keras().Model(given, keras().layers.MultiHeadAttention(2, 3, name="a")(given, given))
    with pytest.raises(PortableNNError, match=r"'a' \(MultiHeadAttention\): it takes \(batch, steps, features\)$"):
        from_keras(model)
