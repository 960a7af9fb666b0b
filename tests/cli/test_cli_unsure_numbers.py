"""A mark stands wherever a number would be written whose standard deviation is above the model's threshold."""

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
    means, logarithms = np.split(network.predict(X), 2, axis=1)
    given = np.array([each.values for each in pnn.predict(network, X)])
    assert np.isnan(given[expected, :2]).all()
    np.testing.assert_allclose(given[~np.array(expected), :2], means[~np.array(expected)], rtol=1e-6)
    np.testing.assert_allclose(given[:, 2:], np.exp(logarithms / 2), rtol=1e-6)
    assert repr(found).splitlines()[2 + expected.index(True)].split()[1:4] == ["?", "?", "?"]
    pnn.export_onnx(network, tmp_path / "m.onnx")
    assert [each.label == "?" for each in pnn.predict(tmp_path / "m.onnx", X)] == expected


def test_a_model_without_a_threshold_marks_nothing() -> None:
    assert [each.label for each in pnn.predict(gaussian(0.0), X)] == [None] * len(X)


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_mark_is_in_place_of_the_numbers_in_every_form(form: str, run: Any, tmp_path: Path) -> None:
    network = gaussian(0.9)
    network.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", X)
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert run("predict", "m.safetensors", "x.npy", "--out", "p.parquet").code == 0
        table = parquet.read_table(tmp_path / "p.parquet")
        marks = [each or "" for each in table["unsure"].to_pylist()]
        there = [each is not None for each in table["b"].to_pylist()]
    else:
        found = run("predict", "m.safetensors", "x.npy", "--format", form)
        assert found.code == 0
        lines = found.out.splitlines()
        rows = {
            "table": lambda: [("?" * line.endswith("?"), "  ?  " not in line) for line in lines[1:]],
            "csv": lambda: [(row["unsure"], bool(row["b"])) for row in csv.DictReader(io.StringIO(found.out))],
            "json": lambda: [
                (each.get("label", ""), each["values"][1] is not None) for each in json.loads(found.out)["results"]
            ],
        }[form]()
        marks, there = zip(*rows, strict=True)
    assert [each == "?" for each in marks] == [not each for each in there] == lost(network)


def test_echoes_of_no_open_sea_are_marked() -> None:
    echoes = np.load(find_model("altimetry-swh").samples / "echoes.npy")
    deviations = np.exp(pnn.load("altimetry-swh").predict(echoes)[:, 2] / 2)
    found = pnn.predict("altimetry-swh", echoes)
    assert [each.label == "?" for each in found] == [bool(each) for each in deviations > 1]
    assert 0 < found.unsure < len(echoes)
