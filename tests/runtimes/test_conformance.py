"""The page of conformance has every layer, shows what was measured, and the light runtimes still compute so."""

from __future__ import annotations

import json
import re

import conformance
import pytest

from portable_nn import layers
from portable_nn.runtimes.checking import trial_of, verdicts_of
from portable_nn.runtimes.table import RUNTIMES

MEASURED = json.loads(conformance.MEASURED.read_bytes())
LIGHT = ("onnxruntime", "openvino", "tract", "opencv", "mnn")
BY_PROCESSOR = ("mnn",)
"""Those whose kernels, some of which compute other numbers, are others for each kind of processor."""


def test_every_layer_has_a_row() -> None:
    named = {re.match(r"\w+", layer)[0] for _, layer, _ in conformance.cases()}  # type: ignore[index]
    others = {"Input", "Layer", "Symbol", "concatenate", "emit", "Embedding"}
    assert set(layers.__all__) - others <= named
    assert "Looked" in named  # An Embedding.


def test_the_page_shows_what_was_measured() -> None:
    assert conformance.tables(MEASURED) in conformance.PAGE.read_text("utf-8")
    assert {name for name, found in MEASURED.items() if found["version"] and found["date"]} <= set(RUNTIMES)


def test_what_needs_no_more_than_this_package_agrees_everywhere() -> None:
    assert {cell["state"] for cell in MEASURED["onnxruntime"]["cells"].values()} == {"agrees"}


@pytest.mark.long
@pytest.mark.parametrize("name", LIGHT)
def test_a_third_of_the_layers_are_as_on_the_page(name: str) -> None:
    if RUNTIMES[name].version is None:
        pytest.skip(RUNTIMES[name].needs)
    chosen = [*conformance.cases()][::3]
    trials = [trial_of(conformance.network(layer, shape), 0) for _, layer, shape in chosen]
    rows = [each.row for each in verdicts_of(name, trials, conformance.LIMITS)]
    found = {f"{group}|{layer}": row.state for (group, layer, _), row in zip(chosen, rows, strict=True)}
    cells = {key: MEASURED[name]["cells"][key]["state"] for key in found}
    if name in BY_PROCESSOR:
        numeric = {"agrees", "differs"}
        found = {key: cells[key] if {state, cells[key]} <= numeric else state for key, state in found.items()}
    if RUNTIMES[name].version != MEASURED[name]["version"]:  # A later version has learned what an earlier one lacked.
        found = {key: cells[key] if state == "agrees" else state for key, state in found.items()}
    assert found == cells
