"""The networks of ``keras.applications`` with random weights, from the model and from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import computed, keras

from portable_nn.converters.keras import from_keras, read_keras

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

LONG = {"MobileNetV2", "EfficientNetB0"}
SIZES = {"MobileNetV2": 32, "EfficientNetB0": 32, "ResNet50": 32, "DenseNet121": 32, "VGG16": 32, "Xception": 71}


def application(name: str) -> Any:
    """A network with He's weights, drawn statistics, and scores that are not normalised.

    Statistics that centre the values of a few examples would multiply what float32 rounds off by a third in each of
    fifty layers; neither side would have more than two right digits.
    """
    size = SIZES[name]
    make = getattr(keras().applications, name)
    model = make(input_shape=(size, size, 3), weights=None, classes=5, classifier_activation=None)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        shape = weight.shape
        if "kernel" in weight.path:
            depthwise = "depthwise" in weight.path and len(shape) == 4 and shape[3] == 1
            inputs = np.prod(shape[:2] if depthwise else shape[:-1])
            weight.assign(rng.normal(0, (2 / inputs) ** 0.5, shape))
        elif "variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif "moving_mean" in weight.path or "beta" in weight.path:
            weight.assign(rng.normal(0, 0.1, shape))
    return model


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else pytest.mark.sweep) for name in SIZES]
)
def test_a_network_computes_what_the_application_computes(name: str, tmp_path: Path) -> None:
    model = application(name)
    x = np.random.default_rng(2).uniform(-1, 1, (3, SIZES[name], SIZES[name], 3)).astype("float32")
    theirs = computed(model, x)[0]
    assert theirs.std() > 0.01
    model.save(tmp_path / "m.keras")
    for network in (from_keras(model, verify=False), read_keras(tmp_path / "m.keras", verify=False).network):
        np.testing.assert_allclose(network.predict(x), theirs, atol=1e-5 * max(1, np.abs(theirs).max()))
        operators = [node.operator for node in network.graph.nodes]
        assert operators.count("Transpose") <= 2 + operators.count("Reshape")
