"""Layers that prepare inputs, share heads, or hold another layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from keras_models import computed, keras, randomised

from portable_nn.converters.keras import from_keras, read_keras, read_keras_weights
from portable_nn.converters.keras.reading import imported
from portable_nn.core.errors import VerificationError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

Array = np.ndarray[Any, Any]

RNG: Final = np.random.default_rng(0)
FLOATS: Final = RNG.normal(size=(4, 5)).astype("float32")
STEPS: Final = RNG.normal(size=(3, 6, 8)).astype("float32")
PICTURE: Final = RNG.normal(size=(2, 6, 6, 3)).astype("float32")
WORDS: Final = RNG.integers(0, 7, (3, 5)).astype("int32")
PADDED: Final = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]], "int32")


def _grouped(x: Any, *, causal: bool = False, **options: Any) -> Any:
    return keras().layers.GroupQueryAttention(4, 4, 2, **options)(x, x, use_causal_mask=causal)


LAYERS: Final[dict[str, tuple[Array, Callable[[Any], Any]]]] = {
    "bins": (FLOATS, lambda x: keras().layers.Discretization([-1.0, 0.0, 0.5])(x)),
    **{f"bins, {mode}": (FLOATS, lambda x, mode=mode: keras().layers.Discretization([-0.5, 0.5], output_mode=mode)(x))
       for mode in ("one_hot", "multi_hot", "count")},
    "embedded bins": (FLOATS, lambda x: keras().layers.Embedding(3, 4)(keras().layers.Discretization([0.0, 1.0])(x))),
    **{f"categories, {mode}": (WORDS, lambda x, mode=mode: keras().layers.CategoryEncoding(7, output_mode=mode)(x))
       for mode in ("one_hot", "multi_hot", "count")},
    "one category": (WORDS[:, :1], lambda x: keras().layers.CategoryEncoding(7, output_mode="one_hot")(x)),
    "shared heads": (STEPS, _grouped),
    "causal shared heads": (STEPS, lambda x: _grouped(x, causal=True, use_bias=False)),
    "masked shared heads": (PADDED, lambda x: _grouped(keras().layers.Embedding(12, 8, mask_zero=True)(x))),
    **{f"normalised over {axes}": (PICTURE, lambda x, axes=axes: keras().layers.LayerNormalization(axis=axes)(x))
       for axes in ([1, 3], [1, 2, 3])},
    "a divided convolution": (PICTURE, lambda x: keras().layers.SpectralNormalization(keras().layers.Conv2D(4, 3))(x)),
    "a divided layer": (FLOATS, lambda x: keras().layers.Dense(2)(
        keras().layers.SpectralNormalization(keras().layers.Dense(4, "relu"))(x))),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_what_they_do_in_keras(name: str, tmp_path: Path) -> None:
    x, make = LAYERS[name]
    given = keras().Input(x.shape[1:], dtype=x.dtype.name)
    model = randomised(keras().Model(given, make(given)))
    network = from_keras(model)
    [expected] = computed(model, x)
    assert network.predict(x).dtype == expected.dtype
    np.testing.assert_allclose(network.predict(x), expected, atol=1e-6)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(read_keras(tmp_path / "m.keras").network.predict(x), expected, atol=1e-6)
    for array in (network.parameters[value.name] for value in network.graph.parameters if value.trainable):
        array[...] = 0.5
    read_keras_weights(tmp_path / "m.weights.h5", into=network)
    np.testing.assert_allclose(network.predict(x), expected, atol=1e-6)


def test_what_training_leaves_out_is_a_note() -> None:
    x, make = LAYERS["a divided layer"]
    given = keras().Input(x.shape[1:])
    assert "training does not divide the weights by their largest singular value" in str(
        imported(keras().Model(given, make(given))).notes
    )


def test_what_keras_itself_cannot_run_is_said_to_be_so() -> None:
    given = keras().Input((6, 6, 3))
    model = keras().Model(given, keras().layers.LayerNormalization(axis=[1, 2])(given))
    try:
        [expected] = computed(model, PICTURE)
    except RuntimeError:  # PyTorch's own normalisation is for the last axes.
        with pytest.raises(VerificationError, match="Keras cannot run the model with torch, so that nothing is"):
            from_keras(model)
        mean, var = PICTURE.mean(axis=(1, 2), keepdims=True), PICTURE.var(axis=(1, 2), keepdims=True)
        expected = (PICTURE - mean) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(from_keras(model, verify=False).predict(PICTURE), expected, atol=1e-5)
