"""Models as people build them, through files, onnxruntime and back to Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import pytest
from keras_models import computed, keras, randomised

import portable_nn as pnn
from portable_nn.converters.keras import from_keras, read_keras, read_keras_weights, to_keras
from portable_nn.converters.onnx import export_onnx

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

Array = np.ndarray[Any, Any]


def _words(rng: np.random.Generator, rows: int, steps: int) -> Array:
    """Numbers of words, with 0 at the ends."""
    found = rng.integers(1, 20, (rows, steps))
    for row in found:
        row[rng.integers(2, steps) :] = 0
    return found.astype("int32")


def _floats(*shape: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.normal(size=(4, *shape)).astype("float32")


def _steps_of(steps: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: _words(rng, 4, steps)


def _numbers(*shape: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.integers(0, 20, (4, *shape)).astype("int32")


def _normalised(x: Any, filters: int, size: int = 3, strides: int = 1, activation: str = "relu") -> Any:
    L = keras().layers  # noqa: N806
    x = L.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return L.Activation(activation)(L.BatchNormalization()(x))


def unet() -> tuple[Any, list[Any]]:
    L, kept = keras().layers, []  # noqa: N806
    picture = x = keras().Input((16, 16, 3))
    for filters in (4, 8):
        x = _normalised(x, filters)
        kept.append(x)
        x = L.MaxPooling2D()(x)
    x = L.Dropout(0.3)(_normalised(x, 16))
    for filters in (8, 4):
        x = L.Conv2DTranspose(filters, 2, strides=2, padding="same")(x)
        x = _normalised(L.Concatenate()([x, kept.pop()]), filters)
    return keras().Model(picture, L.Conv2D(2, 1, activation="softmax")(x)), [_floats(16, 16, 3)]


def resnet() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    picture = keras().Input((16, 16, 3))
    x = _normalised(picture, 8)
    for filters, strides in ((8, 1), (16, 2)):
        y = _normalised(_normalised(x, filters, strides=strides), filters, activation="linear")
        x = L.ReLU()(L.Add()([_normalised(x, filters, 1, strides, "linear"), y]))
    return keras().Model(picture, L.Dense(5, "softmax")(L.GlobalAveragePooling2D()(x))), [_floats(16, 16, 3)]


def efficient() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    picture = keras().Input((17, 17, 3))
    x = L.ZeroPadding2D(((0, 1), (0, 1)))(L.Rescaling(1 / 255)(picture))
    x = _normalised(x, 8, strides=2, activation="swish")
    y = _normalised(x, 32, 1, activation="swish")
    y = L.Activation("swish")(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(y)))
    scale = L.Reshape((1, 1, 32))(L.GlobalAveragePooling2D()(y))
    scale = L.Conv2D(32, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="swish")(scale))
    y = _normalised(L.Multiply()([y, scale]), 8, 1, activation="linear")
    x = L.Add()([x, L.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y)])
    return keras().Model(picture, L.Dense(3)(L.GlobalMaxPooling2D()(x))), [_floats(17, 17, 3)]


def causal_convolutions() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    steps = x = keras().Input((None, 3))
    for dilation in (1, 2, 4):
        y = L.Conv1D(6, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        y = L.SpatialDropout1D(0.1)(L.LayerNormalization()(y))
        x = L.Add()([L.Conv1D(6, 1)(x), L.Conv1D(6, 3, padding="causal", dilation_rate=dilation)(y)])
    return keras().Model(steps, L.Dense(2)(L.GlobalAveragePooling1D()(x))), [_floats(12, 3)]


def translation() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    source, target = keras().Input((None,), dtype="int32"), keras().Input((None,), dtype="int32")
    words = L.Embedding(20, 5, mask_zero=True)
    encoded, h, c = L.LSTM(6, return_sequences=True, return_state=True)(words(source))
    decoded = L.LSTM(6, return_sequences=True)(L.Embedding(20, 5, mask_zero=True)(target), initial_state=[h, c])
    x = L.Concatenate()([decoded, L.Attention()([decoded, encoded])])
    answer = L.TimeDistributed(L.Dense(20, "softmax"))(x)
    return keras().Model([source, target], answer), [_steps_of(7), _steps_of(5)]


def two_towers() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    user, features, item = keras().Input((), dtype="int32"), keras().Input((3,)), keras().Input((), dtype="int32")
    one = L.Dense(4)(L.Concatenate()([L.Embedding(20, 4)(user), features]))
    other = L.Dense(4)(L.Embedding(20, 4)(item))
    return keras().Model([user, features, item], L.Dot(1, normalize=True)([one, other])), [
        _numbers(), _floats(3), _numbers()
    ]  # fmt: skip


def transformer(*, causal: bool) -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    words = keras().Input((8,), dtype="int32")
    x = L.Dropout(0.1)(L.Embedding(20, 8, mask_zero=True)(words))
    for _ in range(2):
        x = L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=causal)]))
        x = L.LayerNormalization()(x + L.Dense(8)(L.Dense(16, "gelu")(x)))
    return keras().Model(words, L.Dense(3, "softmax")(L.GlobalAveragePooling1D()(x))), [_steps_of(8)]


def vision_transformer() -> tuple[Any, list[Any]]:
    L, ops = keras().layers, keras().ops  # noqa: N806
    picture = keras().Input((16, 16, 3))
    x = L.Reshape((16, 8))(L.Conv2D(8, 4, strides=4)(picture)) + L.Embedding(16, 8)(ops.arange(16))
    y = L.LayerNormalization()(x)
    x = x + L.MultiHeadAttention(2, 4)(y, y)
    x = x + L.Dense(8)(L.Dense(16, "gelu")(L.LayerNormalization()(x)))
    return keras().Model(picture, L.Dense(4)(x[:, 0])), [_floats(16, 16, 3)]


def tagger() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    words = keras().Input((None,), dtype="int32")
    x = L.Bidirectional(L.LSTM(5, return_sequences=True, dropout=0.2))(L.Embedding(20, 6, mask_zero=True)(words))
    return keras().Model(words, L.Dense(1, "sigmoid")(L.Bidirectional(L.LSTM(4))(x))), [_steps_of(9)]


def last_state() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    steps = keras().Input((None, 4))
    x = L.Add()([steps, L.GRU(4, return_sequences=True)(steps)])
    x = L.GRU(4, return_sequences=True, go_backwards=True)(x)
    return keras().Model(steps, L.Dense(1)(x[:, -1, :])), [_floats(7, 4)]


def twins() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    one, other = keras().Input((8,)), keras().Input((8,))
    side = keras().Sequential([L.Dense(6, "relu"), L.Dense(4), L.UnitNormalization()])
    apart = keras().ops.abs(L.Subtract()([side(one), side(other)]))
    return keras().Model([one, other], L.Dense(1, "sigmoid")(apart)), [_floats(8), _floats(8)]


def several_answers() -> tuple[Any, list[Any]]:
    L = keras().layers  # noqa: N806
    rows = keras().Input((10,))
    x = L.BatchNormalization()(L.Dense(8, activation="elu", kernel_regularizer="l2")(rows))
    answers = {"kind": L.Dense(3, "softmax", name="kind")(x), "size": L.Dense(1, name="size")(x)}
    return keras().Model(rows, answers), [_floats(10)]


MODELS: Final[dict[str, Callable[[], tuple[Any, list[Any]]]]] = {
    "U-Net": unet, "ResNet": resnet, "EfficientNet": efficient, "causal convolutions": causal_convolutions,
    "translation": translation, "two towers": two_towers, "transformer": lambda: transformer(causal=False),
    "causal transformer": lambda: transformer(causal=True), "vision transformer": vision_transformer,
    "tagger": tagger, "last state": last_state, "twins": twins, "several answers": several_answers,
}  # fmt: skip


@pytest.mark.parametrize("name", [
    "two towers", "twins", *(pytest.param(name, marks=pytest.mark.long) for name in MODELS
                             if name not in ("two towers", "twins")),
])  # fmt: skip
def test_whole_models_go_through_files_and_runtimes_and_back(name: str, tmp_path: Path) -> None:
    model, drawn = MODELS[name]()
    randomised(model)
    rng = np.random.default_rng(2)
    given = [draw(rng) for draw in drawn]
    expected = computed(model, *given)
    network = from_keras(model)
    network.save(tmp_path / "m.safetensors")
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = pnn.load(tmp_path / "m.safetensors")
    feeds = dict(zip([value.name for value in network.graph.inputs], given, strict=True))
    read = read_keras(tmp_path / "m.keras").network
    weighed = read_keras_weights(tmp_path / "m.weights.h5", into=pnn.load(tmp_path / "m.safetensors")).network
    found = {
        "network": network.compute("numpy", feeds), "file": loaded.compute("numpy", feeds),
        "archive": read.compute("numpy", feeds), "weights": weighed.compute("numpy", feeds),
    }  # fmt: skip
    export_onnx(loaded, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    found["onnxruntime"] = dict(zip(network.graph.outputs, session.run(network.graph.outputs, feeds), strict=True))
    for outputs in found.values():
        for mine, theirs in zip(outputs.values(), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
    for mine, theirs in zip(computed(to_keras(loaded), *given), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
