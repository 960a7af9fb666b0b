"""Names of classes that are given where a classifier of another code base is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from closed_forms import softmax
from foreign import linear

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from tests.keras_models import keras

NAMES = ["cat", "dog", "owl"]
X = np.random.default_rng(3).normal(size=(20, 4)).astype(np.float32)
W = np.random.default_rng(4).normal(size=(4, 3)).astype(np.float32)


def read(base: str, folder: Path, labels: list[str]) -> pnn.Network:
    """A network of X @ W in a code base."""
    if base == "onnx":
        return pnn.import_onnx(linear(folder / "m.onnx", weight=W), labels=labels)
    if base == "torch":
        torch = pytest.importorskip("torch")
        module = torch.nn.Linear(4, 3, bias=False)
        module.load_state_dict({"weight": torch.tensor(W.T.copy())})
        return pnn.from_object(module, example=torch.zeros(1, 4), labels=labels)
    layers = keras().layers
    model = keras().Sequential([layers.Input((4,)), layers.Dense(3, use_bias=False)])
    model.set_weights([W])
    return pnn.from_keras(model, labels=labels)


@pytest.mark.parametrize("base", ["onnx", "torch", "keras"])
@pytest.mark.long
def test_predictions_are_the_names_of_the_largest_numbers(base: str, tmp_path: Path) -> None:
    network = read(base, tmp_path, NAMES)
    pnn.export_onnx(network, tmp_path / "written.onnx")
    for model in (network, tmp_path / "written.onnx"):
        found = list(pnn.predict(model, X, top=3))
        assert [each.label for each in found] == [NAMES[place] for place in np.argmax(X @ W, axis=1)]
        shares = [[dict(each.top)[name] for name in NAMES] for each in found]
        np.testing.assert_allclose(shares, softmax(X @ W), rtol=1e-4)


@pytest.mark.parametrize("base", ["onnx", "torch", "keras"])
@pytest.mark.long
def test_more_or_fewer_names_than_numbers_are_refused(base: str, tmp_path: Path) -> None:
    for labels in (NAMES[:2], [*NAMES, "bee"]):
        with pytest.raises(UsageError, match=rf"given are {len(labels)} labels, .* is \(.*, 3\)"):
            read(base, tmp_path, labels)
