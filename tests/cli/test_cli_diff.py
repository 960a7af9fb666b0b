"""``portable-nn diff``: the case to send, and the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper

import portable_nn as pnn


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelProto:
    """A network as another program's file; beside it, that of this package."""
    monkeypatch.chdir(tmp_path)
    net = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Conv2d(4, kernel=3), pnn.BatchNorm2d(), pnn.MaxPool2d(2), seed=0)
    pnn.export_onnx(net, "a.onnx")
    found = onnx.load("a.onnx")
    del found.metadata_props[:]
    found.producer_name = "somebody"
    return found


def test_a_case_to_send_runs_by_itself(model, run):
    pool = next(each for each in model.graph.node if each.name == "max_pool_1")
    pool.op_type = "AveragePool"
    onnx.save(model, "b.onnx")
    code, out, _ = run("diff", "a.onnx", "b.onnx", "--repro", "case", "--html", "page.html")
    assert code == 1
    assert "max_pool_1" in out
    printed = subprocess.run([sys.executable, "case/run.py"], capture_output=True, text=True, check=True).stdout
    assert float(printed.rpartition(" ")[2]) > 0.1
    for side in "ab":
        [only] = onnx.load(f"case/{side}/model.onnx").graph.node
        assert only.name == "max_pool_1"
        session = onnxruntime.InferenceSession(f"case/{side}/model.onnx")
        x, y = (
            numpy_helper.to_array(onnx.load_tensor(f"case/{side}/test_data_set_0/{name}_0.pb"))
            for name in ("input", "output")
        )
        np.testing.assert_array_equal(session.run(None, {session.get_inputs()[0].name: x})[0], y)
    assert b"max_pool_1" in Path("page.html").read_bytes()
    code, _, err = run("diff", "a.onnx", "b.onnx", "--repro", "case")
    assert (code, "case" in err) == (2, True)


def test_json_has_what_the_table_has(model, run):
    norm = next(each for each in model.graph.node if each.name == "batch_norm_1")
    next(each for each in norm.attribute if each.name == "epsilon").f = 1e-3
    onnx.save(model, "b.onnx")
    found = json.loads(run("diff", "a.onnx", "b.onnx", "--format", "json").out)
    assert found["verdict"] == "parted"
    assert found["partings"][0]["nodes_b"] == ["batch_norm_1"]
    assert found["partings"][0]["why"] == "epsilon is 0.001 in B"


def test_given_inputs_are_read_from_a_file(model, run):
    onnx.save(model, "b.onnx")
    np.savez("x.npz", input=np.zeros((2, 3, 8, 8), np.float32))
    assert run("diff", "a.onnx", "b.onnx", "x.npz").code == 0
