"""Predicting parses a model once, infers its graph once, and makes one plan for each shape of its input."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign import WEIGHT, linear

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, importing
from portable_nn.core.graph import Graph
from portable_nn.engines.plan import Plan
from portable_nn.onnx.storage import files
from portable_nn.opening.onnx_file import UNPROVED
from portable_nn.operators import inference
from portable_nn.prediction.predictions import predict

ROWS = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Six examples, of which batches of 4 leave 2."""
    np.save(tmp_path / "rows.npy", ROWS)
    return tmp_path / "rows.npy"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a model is parsed, a graph is inferred without given shapes, and a plan is made, by its batch."""
    found: Counter[str] = Counter()
    parse, infer, make = files.parsed, inference._infer, Plan.__init__

    def parsed(*args: Any) -> onnx.ModelProto:
        found["parsed"] += 1
        return parse(*args)

    def inferred(graph: Graph, shapes: Any) -> inference.Inference:
        found["inferred with shapes" if shapes else "inferred"] += 1
        return infer(graph, shapes)

    def made(self: Plan, graph: Graph, shapes: Any, *args: Any, **options: Any) -> None:
        [shape] = shapes.values()
        found[f"plan for {shape[0]}"] += 1
        make(self, graph, shapes, *args, **options)

    def refused(*args: Any, **options: Any) -> NoReturn:
        raise AssertionError("the numpy engine alone is asked for")

    monkeypatch.setattr(files, "parsed", parsed)
    monkeypatch.setattr(onnx, "load", refused)
    monkeypatch.setattr(inference, "_infer", inferred)
    monkeypatch.setattr(Plan, "__init__", made)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refused)
    monkeypatch.setattr(importing, "compare", refused)
    return found


EXPECTED = {"inferred": 1, "plan for 4": 1, "plan for 2": 1, "inferred with shapes": 2}
PARSED = {"parsed": 1}


def test_a_foreign_model(tmp_path: Path, rows: Path, counts: Counter[str]) -> None:
    predictions = predict(linear(tmp_path / "linear.onnx"), rows, engine="numpy", batch_size=4, task="classes")
    found = [[probability for _, probability in each.top] for each in predictions]
    assert counts == EXPECTED | PARSED
    assert UNPROVED in predictions.notes
    logits = np.exp(ROWS @ WEIGHT)
    np.testing.assert_allclose([row[0] for row in found], (logits / logits.sum(1, keepdims=True)).max(1), rtol=1e-5)


def test_an_exported_model_is_compared_with_its_manifest_only(tmp_path: Path, rows: Path, counts: Counter[str]) -> None:
    """The graph that is written of the manifest is compared with the one in the file: that infers no other graph."""
    export_onnx(pnn.Sequential(pnn.Input(3), pnn.Dense(5), seed=0), tmp_path / "mine.onnx", verify=False)
    counts.clear()
    predictions = predict(tmp_path / "mine.onnx", rows, engine="numpy", batch_size=4)
    assert len(list(predictions)) == len(ROWS)
    assert counts == EXPECTED | PARSED
    assert UNPROVED not in predictions.notes


def test_an_exported_model_that_another_program_has_changed_is_noted_as_unproved(tmp_path: Path, rows: Path) -> None:
    export_onnx(pnn.Sequential(pnn.Input(3), pnn.Dense(5), seed=0), tmp_path / "mine.onnx", verify=False)
    model = onnx.ModelProto.FromString((tmp_path / "mine.onnx").read_bytes())
    model.graph.node[0].name = "another, longer name"
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    with pytest.warns(pnn.EditedWarning):
        assert UNPROVED in predict(tmp_path / "theirs.onnx", rows, engine="numpy").notes
    assert UNPROVED not in predict(tmp_path / "mine.onnx", rows, engine="numpy").notes


@pytest.mark.parametrize("suffix", ["safetensors", "h5", "npz"])
def test_a_weight_file(tmp_path: Path, rows: Path, counts: Counter[str], suffix: str) -> None:
    pnn.Sequential(pnn.Input(3), pnn.Dense(5), seed=0).save(tmp_path / f"mine.{suffix}")
    counts.clear()
    assert len(list(predict(tmp_path / f"mine.{suffix}", rows, engine="numpy", batch_size=4))) == len(ROWS)
    assert counts == EXPECTED


def test_equal_graphs_have_results_of_their_own_that_go_with_them() -> None:
    before = len(inference._INFERRED)
    first, second = (pnn.Sequential(pnn.Input(3), pnn.Dense(5), seed=0).graph for _ in range(2))
    assert first == second
    assert inference.infer(first) is inference.infer(first) is not inference.infer(second)
    del first, second
    assert len(inference._INFERRED) <= before
