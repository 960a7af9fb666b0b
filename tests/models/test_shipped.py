"""What holds for every model that comes with the package, and the names that they answer to."""

from __future__ import annotations

from pathlib import Path

import pytest

import portable_nn as pnn
from portable_nn.catalog import CALLED, SHIPPED, find_model
from portable_nn.core.errors import UsageError
from portable_nn.models.recipes import recipe_of
from portable_nn.opening import resolve


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_has_its_files(name: str) -> None:
    model = find_model(name)
    assert model.weights.is_file()
    assert model.onnx.is_file()
    assert any(model.samples.iterdir())
    assert callable(recipe_of(model))
    assert model.card.startswith(f"# {name}\n")
    assert pnn.load(model.weights).metadata["name"] == name


@pytest.mark.parametrize("name", SHIPPED)
def test_the_onnx_file_is_what_export_writes_of_the_weight_file(name: str, tmp_path: Path) -> None:
    model = find_model(name)
    pnn.export_onnx(pnn.load(model.weights), tmp_path / "new.onnx", verify=False)
    assert (tmp_path / "new.onnx").read_bytes() == model.onnx.read_bytes()


def test_digits_is_the_better_of_the_two_for_digits() -> None:
    assert find_model("digits") is SHIPPED["digits-cnn"]
    assert resolve("digits") == SHIPPED["digits-cnn"].weights
    assert pnn.load_model("digits").metadata["name"] == "digits-cnn"


def test_no_two_models_answer_to_one_name() -> None:
    assert len(CALLED) == sum(1 + len(model.aliases) for model in SHIPPED.values())


def test_an_unknown_model() -> None:
    with pytest.raises(UsageError, match=r"^no model is called 'digit': there are digits, digits-cnn, digits-mlp"):
        pnn.load_model("digit")
