"""Numbers whose standard deviation is above the model's threshold are marked wherever they are written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.catalog import find_model

X = np.random.default_rng(3).normal(size=(40, 5)).astype(np.float32)


def gaussian(threshold: float) -> pnn.Network:
    """Two numbers and the logarithms of their variances."""
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(4), seed=1)
    [info] = network.outputs
    network.outputs = (replace(info, kind="gaussian", labels=("a", "b"), units=("m", ""), threshold=threshold),)
    return network


def lost(network: pnn.Network) -> list[bool]:
    """Whether the first number is one of those, from the outputs themselves."""
    return [bool(found) for found in np.exp(network.predict(X)[:, 2] / 2) > 0.9]


def test_those_alone_are_marked(tmp_path: Path) -> None:
    network = gaussian(0.9)
    expected = lost(network)
    assert 5 < sum(expected) < 35
    found = pnn.predict(network, X)
    assert [each.label for each in found] == ["?" if each else None for each in expected]
    assert found.unsure == sum(expected)
    pnn.export_onnx(network, tmp_path / "m.onnx")
    assert [each.label == "?" for each in pnn.predict(tmp_path / "m.onnx", X)] == expected


def test_a_model_without_a_threshold_marks_nothing() -> None:
    assert [each.label for each in pnn.predict(gaussian(0.0), X)] == [None] * len(X)


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_the_mark_is_in_every_form(form: str, run: Any, tmp_path: Path) -> None:
    network = gaussian(0.9)
    network.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", X)
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert run("predict", "m.safetensors", "x.npy", "--out", "p.parquet").code == 0
        marks = [each or "" for each in parquet.read_table(tmp_path / "p.parquet")["unsure"].to_pylist()]
    else:
        found = run("predict", "m.safetensors", "x.npy", "--format", form)
        assert found.code == 0
        lines = found.out.splitlines()
        marks = {
            "table": lambda: ["?" * line.endswith("?") for line in lines[1:]],
            "csv": lambda: [row["unsure"] for row in csv.DictReader(io.StringIO(found.out))],
            "json": lambda: [each.get("label", "") for each in json.loads(found.out)["results"]],
        }[form]()
    assert [each == "?" for each in marks] == lost(network)


def test_echoes_of_no_open_sea_are_marked() -> None:
    echoes = np.load(find_model("altimetry-swh").samples / "echoes.npy")
    deviations = np.exp(pnn.load("altimetry-swh").predict(echoes)[:, 2] / 2)
    found = pnn.predict("altimetry-swh", echoes)
    assert [each.label == "?" for each in found] == [bool(each) for each in deviations > 1]
    assert 0 < found.unsure < len(echoes)
