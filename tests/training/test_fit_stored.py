"""Training on examples that are stored: as on the same batches in memory, stopped and resumed, and its faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from steps import classes, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import DataError, ShapeError, UsageError
from portable_nn.data import stored
from portable_nn.operators.registry import Array
from portable_nn.training import sources

N = 250
X, Y, C = draw(N, 5, seed=1), draw(N, 3, seed=2), classes(N, 3)
W = np.random.default_rng(0).uniform(0, 2, N)
MSE: dict[str, Any] = {"loss": "mean_squared_error", "optimizer": "adam"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows, and windows of a few pieces."""
    monkeypatch.setattr(stored, "WHOLE", 0)
    monkeypatch.setattr(stored, "PIECE", 700)
    monkeypatch.setattr(sources, "WINDOW", 4000)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "data.h5", "w") as found:
        found.create_dataset("x", data=X, chunks=(8, 5), compression="gzip")
        found.create_dataset("y", data=Y, chunks=(4, 3))
        found.create_dataset("w", data=W)
        found.create_dataset("c", data=C, chunks=(4,))
        yield found


def same(one: pnn.Network, two: pnn.Network) -> None:
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, two.parameters[name])


def batches(order: Array, size: int, *arrays: Array) -> list[tuple[Array, ...]]:
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    return [tuple(array[part] for array in arrays) for part in parts]


def shuffled(piece: int, several: int, seed: int) -> Array:
    """The documented order, on the whole."""
    cut = [np.arange(start, min(start + piece, N)) for start in range(0, N, piece)]
    pieces = np.random.default_rng([seed, 0]).permutation(len(cut))
    windows = [np.concatenate([cut[n] for n in pieces[at : at + several]]) for at in range(0, len(cut), several)]
    found = [rows[np.random.default_rng([seed, n]).permutation(len(rows))] for n, rows in enumerate(windows, start=1)]
    return np.concatenate(found)


@pytest.mark.parametrize("size", [1, 16, 33, 250, 1000])
def test_in_order_it_is_the_arrays(file: h5py.File, size: int) -> None:
    one, two = mlp(), mlp()
    options: dict[str, Any] = {**MSE, "epochs": 2, "batch_size": size, "shuffle": False}
    wanted = one.fit(X, Y, sample_weight=W, **options)
    found = two.fit(file["x"], file["y"], sample_weight=file["w"], **options)
    same(one, two)
    assert found.rows == wanted.rows


@pytest.mark.parametrize("window", [None, 40])
def test_shuffled_it_is_the_documented_order(file: h5py.File, window: int | None) -> None:
    one, two = mlp(), mlp()
    # A row takes 5 · 8 + 3 · 8 = 64 bytes: a piece is a chunk of 8, and 4,000 bytes are 7 pieces; 40 examples are 5.
    seeds = [int(one.rng.integers(2**63)) for _ in range(3)]
    given = [b for seed in seeds for b in batches(shuffled(8, 5 if window else 7, seed), 16, X, Y)]
    one.fit(given, **MSE, epochs=3, steps_per_epoch=len(given) // 3)
    two.fit(file["x"], file["y"], **MSE, epochs=3, batch_size=16, window=window)
    same(one, two)


def test_classes_metrics_and_a_share_held_out(file: h5py.File) -> None:
    one, two = mlp(), mlp()
    options: dict[str, Any] = {"epochs": 2, "validation": 0.2, "metrics": "accuracy", "train_metrics": True}
    wanted = one.fit(X, C, shuffle=False, **options)
    found = two.fit(file["x"], file["c"], shuffle=False, **options)
    same(one, two)
    for mine, theirs in zip(found.rows, wanted.rows, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)


def test_validation_may_be_stored_alone(file: h5py.File) -> None:
    one, two = mlp(), mlp()
    wanted = one.fit(X, Y, **MSE, epochs=2, validation=(X[:100], Y[:100], W[:100]))
    found = two.fit(X, Y, **MSE, epochs=2, validation=(file["x"][:100], file["y"][:100], file["w"][:100]))
    assert found.rows == wanted.rows
    three = mlp()
    np.save(Path(file.filename).with_name("v.npy"), X[:100])
    mapped = np.load(Path(file.filename).with_name("v.npy"), mmap_mode="r")
    for mine, theirs in zip(
        three.fit(X, Y, **MSE, epochs=2, validation=(mapped, Y[:100], W[:100])).rows, wanted.rows, strict=True
    ):
        assert mine == pytest.approx(theirs, rel=1e-12)


def test_several_inputs_stored_and_in_memory(file: h5py.File) -> None:
    def made() -> pnn.Network:
        a, b = pnn.Input(5, dtype="float64", name="a"), pnn.Input(3, dtype="float64", name="b")
        return pnn.Network([a, b], pnn.Dense(3, name="out")(pnn.concatenate(a, b)), seed=0)

    one, two = made(), made()
    one.fit({"a": X, "b": Y}, C, epochs=2, shuffle=False)
    two.fit({"a": file["x"], "b": Y}, {"out": file["c"]}, epochs=2, shuffle=False)
    same(one, two)
    with pytest.raises(UsageError, match="x must be a dict of arrays by name, for a, b"):
        made().fit(file["x"], file["c"])


@pytest.mark.parametrize("at", [1, 5, 17, 40])
def test_stopped_anywhere_it_resumes_to_the_same_bytes(file: h5py.File, tmp_path: Path, at: int) -> None:
    def made() -> pnn.Network:
        return pnn.Sequential(pnn.Input(5, dtype="float64"), pnn.Dense(7), pnn.Dropout(0.5), pnn.Dense(3), seed=0)

    class StopError(Exception):
        pass

    count = 0

    def augment(batch: Array, rng: np.random.Generator) -> Array:
        nonlocal count
        count += 1
        if count == at:
            raise StopError
        return batch + rng.normal(size=batch.shape)

    options: dict[str, Any] = {**MSE, "epochs": 3, "batch_size": 16, "augment": augment, "validation": 0.1}
    one, two = made(), made()
    count = 1000
    wanted = one.fit(file["x"], file["y"], **options)
    count = 0
    saved: dict[str, Any] = {"checkpoint": tmp_path / "run", "every": 3}
    with pytest.raises(StopError):
        two.fit(file["x"], file["y"], **options, **saved)
    assert "reading ahead" not in {each.name for each in threading.enumerate()}
    three = made()
    found = three.fit(file["x"], file["y"], **options, **saved, resume=True)
    same(one, three)
    assert found.rows == wanted.rows


def test_other_data_or_another_window_are_not_resumed(file: h5py.File, tmp_path: Path) -> None:
    options: dict[str, Any] = {**MSE, "epochs": 1, "checkpoint": tmp_path / "run"}
    mlp().fit(file["x"], file["y"], **options)
    options |= {"resume": True, "epochs": 2}
    with pytest.raises(UsageError, match=r"window: 7 pieces of 8 examples in the checkpoint, 2 pieces of 8 examples"):
        mlp().fit(file["x"], file["y"], **options, window=16)
    with pytest.raises(UsageError, match="window: 7 pieces of 8 examples in the checkpoint, none now"):
        mlp().fit(X, Y, **options)
    file["x"][0] = 1
    with pytest.raises(UsageError, match=r"x: float64 \(250, 5\), fingerprint"):
        mlp().fit(file["x"], file["y"], **options)


def test_faults_name_the_place(file: h5py.File) -> None:
    with pytest.raises(ShapeError, match="as many examples are needed in each, and one at least: x has 250, y has 9"):
        mlp().fit(file["x"], Y[:9], **MSE)
    with pytest.raises(ShapeError, match=r"input '.*' needs \(batch, 5\), not \(\d+, 3\)"):
        mlp().fit(file["y"], file["y"], **MSE)
    with pytest.raises(UsageError, match="class_weight='balanced' counts all examples first"):
        mlp().fit(file["x"], file["c"], loss=pnn.CrossEntropy(class_weight="balanced"))
    with pytest.raises(UsageError, match="window must be a whole number from 1 or None, not 0"):
        mlp().fit(file["x"], file["y"], **MSE, window=0)
    with pytest.raises(UsageError, match="y is missing"):
        mlp().fit(file["x"])
    file["x"][203, 2] = np.nan
    with pytest.raises(UsageError, match=r"^examples from 200 on: x\[3, 2\] is nan: nothing can be learned from it"):
        mlp().fit(file["x"], file["y"], **MSE)
    assert "reading ahead" not in {each.name for each in threading.enumerate()}


def test_a_damaged_chunk_is_an_error(file: h5py.File) -> None:
    info = file["x"].id.get_chunk_info(20)
    file.flush()
    with Path(file.filename).open("r+b") as raw:
        raw.seek(info.byte_offset)
        raw.write(b"\xff" * 20)
    with (
        h5py.File(file.filename, "r", swmr=False) as again,
        pytest.raises(DataError, match=r"x: rows 160 to 167 cannot"),
    ):
        mlp().fit(again["x"], Y, **MSE, shuffle=False)


def test_predict_and_evaluate(file: h5py.File, monkeypatch: pytest.MonkeyPatch) -> None:
    from portable_nn.engines import batching

    monkeypatch.setattr(batching, "READ", 2000)
    net = mlp(labels="abc")
    net.fit(X, C, optimizer="adam", epochs=20)
    np.testing.assert_allclose(net.predict(file["x"]), net.predict(X), rtol=1e-12)
    np.testing.assert_allclose(net.predict({net.inputs[0].name: file["x"]})[net.outputs[0].name], net.predict(X))
    np.testing.assert_allclose(net.predict_proba(file["x"]), net.predict_proba(X), rtol=1e-12)
    assert net.evaluate(file["x"], file["c"]).as_json() == net.evaluate(X, C).as_json()
    assert net.evaluate(file["x"], C, worst=3).as_json() == net.evaluate(X, C, worst=3).as_json()
    found, wanted = (pnn.predict(net, x, raw=True, engine="numpy") for x in (file["x"], X.astype(np.float32)))
    assert [(each.input, each.label) for each in found] == [(each.input, each.label) for each in wanted]
    assert pnn.evaluate(net, file["x"], C, raw=True).accuracy == net.evaluate(X, C).accuracy
    net.calibrate(file["x"], file["c"])


def test_batches_made_in_a_thread() -> None:
    one, two = mlp(), mlp()
    given = batches(np.arange(N), 16, X, Y)
    one.fit(given, **MSE, epochs=3)
    two.fit(pnn.Prefetch(given, ahead=2), **MSE, epochs=3)
    same(one, two)
