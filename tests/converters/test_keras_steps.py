"""Layers of Keras for each step, and softmax of steps that are masked: as Keras computes and trains them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_models import computed, keras, randomised, sequential

from portable_nn.converters.keras import from_keras
from portable_nn.converters.keras.reading import imported
from portable_nn.core.errors import UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.long
def test_a_batch_norm_of_each_step_trains_by_each_step() -> None:
    L = keras().layers  # noqa: N806
    inner = keras().Sequential([L.Dense(5), L.BatchNormalization(momentum=0.8), L.ReLU()])
    model = randomised(sequential((4, 3), L.TimeDistributed(L.BatchNormalization()), L.TimeDistributed(inner)))
    found = imported(model, prove_training=True)
    assert any("steps of training" in note for note in found.notes)
    assert not any("Keras each step by itself" in note for note in found.notes)
    x = np.random.default_rng(0).standard_normal((5, 4, 3)).astype("float32")
    np.testing.assert_allclose(found.network.predict(x), computed(model, x)[0], rtol=1e-5, atol=1e-6)


def test_of_an_open_number_of_steps_it_is_noted() -> None:
    L = keras().layers  # noqa: N806
    found = imported(randomised(sequential((None, 3), L.TimeDistributed(L.BatchNormalization()))))
    assert any("Keras each step by itself" in note for note in found.notes)


def masked(shape: tuple[int, ...], axis: int) -> Any:
    x, mask = keras().Input((4, 5)), keras().Input(shape, dtype="bool")
    return keras().Model([x, mask], keras().layers.Softmax(axis=axis)(x, mask=mask))


@pytest.mark.parametrize(("shape", "axis"), [((4, 5), -1), ((1, 5), -1), ((4, 1), 1)])
def test_a_softmax_of_what_a_mask_shows(shape: tuple[int, ...], axis: int) -> None:
    model = masked(shape, axis)
    rng = np.random.default_rng(1)
    x, mask = rng.standard_normal((3, 4, 5)).astype("float32"), rng.random((3, *shape)) < 0.6
    mask[0] = False  # Where nothing is seen, all is 0.
    network = from_keras(model)
    given = dict(zip((value.name for value in network.graph.inputs), (x, mask), strict=True))
    [found] = network.compute("numpy", given).values()
    powers = np.where(mask, np.exp(x), 0)
    total = np.broadcast_to(powers, x.shape).sum(axis, keepdims=True)
    wanted = np.where(total > 0, powers / np.where(total > 0, total, 1), 0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(found, computed(model, x, mask)[0], atol=1e-6)


def test_a_mask_of_steps_that_does_not_fit_is_refused() -> None:
    """Keras refuses it, too, when it runs: the mask has the steps where the input has its features."""
    L = keras().layers  # noqa: N806
    with pytest.raises(UnsupportedError, match=r"a mask of \(batch, 6\) does not fit \(batch, 6, 6\)"):
        from_keras(sequential((6, 6), L.Masking(), L.Softmax(axis=1)))
