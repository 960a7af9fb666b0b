"""Figures that several processes make are those of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_predict_many import digits

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.scale import evaluate_many


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for label in ("1", "4", "7"):
        digits(tmp_path / "classes" / label, [f"{place}.png" for place in range(5)], seed=int(label))
    return tmp_path / "classes"


def test_classes(classes: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"worst": 4, "batch_size": 4}
    found = evaluate_many("digits", classes, tmp_path / "shards", workers=0, shard_size=4, **options)
    assert found.as_json() == pnn.evaluate("digits", classes, **options).as_json()
    again = evaluate_many("digits", classes, tmp_path / "shards", workers=0, shard_size=4, **options)
    assert again.as_json() == found.as_json()
    assert len(list((tmp_path / "shards").glob("*.npz"))) == 4


def test_examples_that_cannot_be_used(classes: Path) -> None:
    (classes / "4" / "broken.png").write_bytes(b"none")
    found = evaluate_many("digits", classes, workers=0, strict=False)
    assert (found.examples, found.left_out) == (15, 1)
    assert found.notes == pnn.evaluate("digits", classes, strict=False).notes


def test_numbers_in_arrays_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=x, right=x.sum(axis=1) + rng.normal(size=50) / 10)
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(1), seed=0)
    network.outputs = (pnn_values(network),)
    network.save(tmp_path / "sum.safetensors")
    options: dict[str, Any] = {"inputs": "inputs", "targets": "right", "batch_size": 8}
    found = evaluate_many(tmp_path / "sum.safetensors", tmp_path / "data.npz", workers=0, shard_size=8, **options)
    wanted = pnn.evaluate(tmp_path / "sum.safetensors", tmp_path / "data.npz", **options)
    assert found.as_json() == wanted.as_json()


def pnn_values(network: pnn.Network) -> Any:
    from msgspec.structs import replace

    return replace(network.outputs[0], kind="values")


def test_wrong_arguments(classes: Path) -> None:
    with pytest.raises(UsageError, match="inputs and targets go together"):
        evaluate_many("digits", classes, workers=0, inputs="x")
    with pytest.raises(UsageError, match="worst must be"):
        evaluate_many("digits", classes, workers=0, worst=-1)


@pytest.mark.long
def test_the_command_prints_the_same_figures(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from portable_nn.cli import main

    assert main(["evaluate", "digits", str(classes)]) == 0
    wanted = capsys.readouterr().out
    assert main(["evaluate", "digits", str(classes), "--workers", "2", "--shard-size", "4"]) == 0
    found = capsys.readouterr()
    assert found.out == wanted
    assert "15 examples in 4 shards: 15 in " in found.err
