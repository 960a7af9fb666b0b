"""The page of PyTorch's models shows what was measured, and a light model still comes in and goes back so."""

from __future__ import annotations

import json
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

import torch_models  # noqa: E402 - these need PyTorch
import torch_table  # noqa: E402
from torch_measuring import WAYS  # noqa: E402
from torch_modules import MODELS  # noqa: E402


def test_the_page_shows_what_was_measured() -> None:
    kept = json.loads(torch_table.MEASURED.read_bytes())
    assert torch_table.table(kept) in torch_table.PAGE.read_text("utf-8")
    assert {key.partition("|")[0] for key in kept} <= {*MODELS}


def holds(name: str, way: str) -> None:
    pytest.importorskip("onnxscript" if way == "dynamo" else "torch", reason="an exporter of PyTorch needs it")
    cell = torch_models.alone("row", name, way)
    assert "refused" not in cell, cell
    assert max(cell["outputs"], cell["back"]) <= 1e-5
    if way == "from_torch":
        assert (cell["missing"], cell["more"]) == ([], [])
    if cell["steps"]["far"]:
        assert torch_models.alone("float64", name, way)["apart"] <= 1e-8


@pytest.mark.long
@pytest.mark.minutes
@pytest.mark.parametrize("way", WAYS)
def test_a_classifier_of_sequences_comes_in_by_each_way_and_goes_back(way: str) -> None:
    holds("GRU classifier", way)


@pytest.mark.sweep
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_in_by_each_way_and_goes_back(name: str, way: str) -> None:
    holds(name, way)
