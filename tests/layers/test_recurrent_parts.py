"""Recurrent networks are networks like any other: cut, frozen, fine-tuned, looked at and measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.converters.onnx import export_onnx
from portable_nn.outputs.reports import check

X = np.random.default_rng(0).normal(size=(8, 6, 3)).astype(np.float32)
Y = np.arange(8) % 2


@pytest.fixture
def net() -> pnn.Network:
    layers = (pnn.LSTM(5, layers=2, name="memory"), pnn.GRU(4, last=True, name="judge"), pnn.Dense(2, name="head"))
    return pnn.Sequential(pnn.Input("steps", 3), *layers, seed=0)


def test_until_gives_the_states_of_a_layer_and_fine_tuning_starts_from_there(net: pnn.Network) -> None:
    part = net.until("memory")
    assert part.predict(X).shape == (8, 6, 5)
    inner = net.until("memory", "judge")
    assert [array.shape for array in inner.predict({"input": X}).values()] == [(8, 6, 5), (8, 4)]
    part.freeze("*")
    whole = pnn.Sequential(part, pnn.GRU(4, last=True), pnn.Dense(2), seed=1)
    before = {name: array.copy() for name, array in whole.parameters.items()}
    whole.fit(X, Y, epochs=2, optimizer=pnn.Adam(0.01))
    moved = {name for name, array in whole.parameters.items() if not np.array_equal(array, before[name])}
    assert moved == {name for name in before if not name.startswith("memory.")}


def test_one_layer_of_several_is_frozen(net: pnn.Network) -> None:
    assert set(net.freeze("memory.*_l0")) == {"memory.weight_l0", "memory.recurrent_l0", "memory.bias_l0"}
    before = {name: array.copy() for name, array in net.parameters.items()}
    net.fit(X, Y, epochs=2, optimizer=pnn.Adam(0.01))
    kept = {name for name, array in net.parameters.items() if np.array_equal(array, before[name])}
    assert kept == {"memory.weight_l0", "memory.recurrent_l0", "memory.bias_l0"}
    assert set(net.unfreeze("memory")) >= kept


def test_a_stream_of_a_part_is_that_of_the_part(net: pnn.Network) -> None:
    part = net.until("memory")
    found = np.concatenate(list(map(part.stream(), np.split(X, [2, 3], axis=1))), axis=1)
    np.testing.assert_allclose(found, part.predict(X), atol=1e-6)


def test_check_and_size_net_know_it(net: pnn.Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_onnx(net, tmp_path / "n.onnx")
    assert not [finding for finding in check(tmp_path / "n.onnx").findings if finding.level != "note"]
    net.save(tmp_path / "n.safetensors")
    assert not main(["size", "net", str(tmp_path / "n.safetensors"), "--in", "1,6,3"])
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    for node, gates, units, features in (("memory_layer_1", 4, 5, 3), ("judge_layer_1", 3, 4, 5)):
        assert str(6 * gates * units * (features + units)) in rows[node]  # multiply-adds of six steps
