"""Random functional models of Keras: in from the model and from its file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import computed, keras, randomised

from portable_nn.converters.keras import from_keras, read_keras, to_keras

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def _pictures(rng: np.random.Generator) -> Any:
    """Convolutions, pools and normalisations in branches that are merged, and a classifier."""
    k = keras()
    L = k.layers  # noqa: N806
    inputs = k.Input((int(rng.integers(8, 12)), int(rng.integers(8, 12)), int(rng.integers(1, 4))))

    def one(x: Any) -> Any:
        padding, filters = str(rng.choice(["valid", "same"])), int(rng.choice([2, 4]))
        size = [int(rng.integers(1, 4)), int(rng.integers(1, 4))]
        stride = int(rng.integers(1, 3))
        mode = str(rng.choice(["nearest", "bilinear"]))
        small = min(x.shape[1:3]) < 4
        word = str(rng.choice(["relu", "tanh", "gelu", "swish", "elu", "linear"]))
        kinds = {
            "conv": lambda: L.Conv2D(filters, size, stride, "same", activation=word),
            "dilated": lambda: L.Conv2D(filters, size, 1, "same", dilation_rate=2),
            "depthwise": lambda: L.DepthwiseConv2D(size, stride, "same", depth_multiplier=2, activation=word),
            "separable": lambda: L.SeparableConv2D(filters, size, stride, "same", depth_multiplier=2),
            "transposed": lambda: L.Conv2DTranspose(filters, size, 1 if x.shape[1] > 12 else stride, padding),
            "max": lambda: L.MaxPooling2D(size, stride, "same" if small else padding),
            "average": lambda: L.AveragePooling2D(1 if small else 2, stride, "valid"),
            "batch": lambda: L.BatchNormalization(scale=bool(rng.integers(2)), center=bool(rng.integers(2))),
            "layer": lambda: L.LayerNormalization(axis=[-2, -1] if rng.integers(2) else -1),
            "group": lambda: L.GroupNormalization(-1),
            "pad": lambda: L.ZeroPadding2D(((0, 1), (2, 0))),
            "crop": lambda: L.Cropping2D(((1, 0), (0, 1))) if not small else L.Identity(),
            "up": lambda: L.UpSampling2D(1 if x.shape[1] > 12 else 2, interpolation=mode),
            "permute": lambda: L.Permute((2, 1, 3)),
        }  # fmt: skip
        return kinds[str(rng.choice(list(kinds)))]()(x)

    x = inputs
    for _ in range(int(rng.integers(2, 6))):
        x = one(x)
        if rng.random() < 0.4:
            channels = x.shape[-1]
            branches = [x, L.Conv2D(channels, 3, padding="same")(x), L.DepthwiseConv2D(3, padding="same")(x)]
            merge = [L.Add, L.Multiply, L.Average, L.Maximum, L.Concatenate][int(rng.integers(5))]
            x = merge()(branches[: int(rng.integers(2, 4))])
    last = [L.Flatten(), L.GlobalAveragePooling2D(), L.GlobalMaxPooling2D()][int(rng.integers(3))](x)
    return k.Model(inputs, L.Dense(3, activation=str(rng.choice(["softmax", "sigmoid", "linear"])))(last))


def _sequences(rng: np.random.Generator) -> Any:
    """Recurrent layers on top of each other, convolutions between them."""
    k = keras()
    L = k.layers  # noqa: N806
    tokens, steps = bool(rng.integers(2)), int(rng.integers(5, 9))
    inputs = k.Input((steps,), dtype="int32") if tokens else k.Input((steps, 3))
    x = L.Embedding(9, 4)(inputs) if tokens else inputs
    for _ in range(int(rng.integers(1, 4))):
        units, bias = int(rng.integers(1, 5)), bool(rng.integers(2))
        mode = str(rng.choice(["concat", "sum", "mul", "ave"]))
        made = [
            L.LSTM(units, return_sequences=True, use_bias=bias, go_backwards=bool(rng.integers(2))),
            L.GRU(units, return_sequences=True, use_bias=bias, reset_after=bool(rng.integers(2))),
            L.SimpleRNN(units, return_sequences=True, activation=str(rng.choice(["tanh", "relu"]))),
            L.Bidirectional(L.GRU(units, return_sequences=True, reset_after=bool(rng.integers(2)))),
            L.Bidirectional(L.LSTM(units, return_sequences=True), merge_mode=mode),
            L.Conv1D(units, 2, padding=str(rng.choice(["valid", "same", "causal"]))),
            L.SeparableConv1D(units, 2, padding="same"),
            L.LayerNormalization(),
            L.MaxPooling1D(2, 1, padding="same"),
            L.Dense(units, activation="tanh"),
        ][int(rng.integers(10))]  # fmt: skip
        x = made(x)
    end = [L.LSTM(3), L.GRU(2, reset_after=False), L.Bidirectional(L.GRU(2)), L.GlobalMaxPooling1D(), L.Reshape((-1,))]
    return k.Model(inputs, L.Dense(2)(end[int(rng.integers(5))](x)))


SEEDS = [*(pytest.param(seed, marks=pytest.mark.long) for seed in range(10)),
         *(pytest.param(seed, marks=pytest.mark.sweep) for seed in range(10, 300))]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model_computes_the_same_in_and_back(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    model = randomised((_sequences if seed % 2 else _pictures)(rng), seed)
    model.save(tmp_path / "m.keras")
    network = from_keras(model, verify=False)
    read = read_keras(tmp_path / "m.keras", verify=False).network
    back = to_keras(network, verify=False)
    for batch in (1, 3):
        shape = (batch, *model.input_shape[1:])
        whole = str(model.inputs[0].dtype) == "int32"
        x = rng.integers(0, 9, shape).astype("int32") if whole else rng.standard_normal(shape).astype("float32")
        theirs = computed(model, x)[0]
        atol = 1e-5 * max(1, np.abs(theirs).max())
        for made in (network.predict(x), read.predict(x), computed(back, x)[0]):
            np.testing.assert_allclose(made, theirs, atol=atol)
