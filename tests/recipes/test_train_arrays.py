"""Training on named arrays: against the same steps by hand, and at the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.data import stored
from portable_nn.data.apart import divided
from portable_nn.recipes.arrays import _statistics
from portable_nn.training import sources

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(600, 6)) * [1, 2, 3, 4, 5, 6] + 7).astype(np.float32)
SWH = (X @ np.arange(6) / 30 + 2).astype(np.float32)
KIND = (SWH.mean() < SWH).astype(np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("waveforms", data=X, chunks=(50, 6), compression="gzip")
        file["swh"], file["epoch"], file["kind"] = SWH, 2 * SWH, KIND
    return tmp_path / "d.h5"


def test_statistics_of_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portable_nn.data.statistics.READ", 100)
    big = np.column_stack([X, np.ones(600), X[:, 0] + 1e6]).astype(np.float64)
    x = stored.as_stored(big, "x")
    mean, std = _statistics(x, divided([x], 0, 0)[0])
    np.testing.assert_allclose(mean, big.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, [*big.std(axis=0)[:6], 1, big.std(axis=0)[7]], rtol=1e-9)


@pytest.mark.parametrize("whole", [True, False])
def test_numbers_have_names_and_units_and_are_learned(path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not whole:
        monkeypatch.setattr(stored, "WHOLE", 0)
        monkeypatch.setattr(sources, "WINDOW", 4000)
    options: dict[str, Any] = {"epochs": 20, "optimizer": pnn.Adam(0.01), "progress": False, "units": {"swh": "m"}}
    found = pnn.train_arrays("6-8-auto", path, inputs="waveforms", targets=["swh", "epoch"], **options)
    [info] = found.network.outputs
    assert (info.labels, info.units, info.kind) == (("swh", "epoch"), ("m", ""), "values")
    blocks = np.random.default_rng(0).permutation(100)[:10]  # Of a hundredth of the rows.
    held = np.isin(np.arange(600) // 6, blocks)
    errors = found.network.predict(X[held]) - np.column_stack([SWH, 2 * SWH])[held]
    assert found.figures["val_rmse of swh"] == pytest.approx(float(np.sqrt((errors[:, 0] ** 2).mean())), rel=1e-4)
    assert found.figures["val_r2 of epoch"] > 0.98
    predictions = list(pnn.predict(found.network, str(path), dataset="waveforms"))
    assert predictions[7].input == f"{path}:7"
    np.testing.assert_allclose([each.values for each in predictions], found.network.predict(X), rtol=1e-5)
    evaluation: Any = pnn.evaluate(found.network, str(path), inputs="waveforms", targets=["swh", "epoch"])
    both = found.network.predict(X) - np.column_stack([SWH, 2 * SWH])
    assert evaluation.numbers[0].rmse == pytest.approx(float(np.sqrt((both[:, 0] ** 2).mean())), rel=1e-4)


@pytest.mark.parametrize(("count", "chunk"), [(1, 1), (7, 3), (1000, 1), (100_000, 64), (123_457, 4096)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_what_is_held_out_is_drawn_all_over(count: int, chunk: int, share: float) -> None:
    rows = np.arange(count)
    x = stored.Stored("x", rows.dtype, rows.shape, chunk, lambda start, stop: rows[start:stop])
    y = stored.as_stored(rows.astype(np.float32) / 2, "y")
    train, held = stored.held_out([x, y], share, seed=3)
    both = [side.of(x)[:] for side in (train, held)]
    np.testing.assert_array_equal(np.sort(np.concatenate(both)), rows)
    assert [len(each) for each in both] == [len(train), len(held)]
    for side, wanted in zip((train, held), both, strict=True):
        assert (np.diff(wanted) > 0).all()
        np.testing.assert_array_equal(side.of(y)[:] * 2, wanted)
        for start, stop in ((0, 1), (3, 11), (len(side) // 3, len(side) - 1)):
            np.testing.assert_array_equal(side.of(x)[start:stop], wanted[start:stop])
    if count >= 1000:
        assert len(held) == pytest.approx(share * count, rel=0.2)
        assert not share or all(len(part) for part in np.split(both[1], np.searchsorted(both[1], [count / 2])))
    again = stored.held_out([x, y], share, seed=4)[1].of(x)[:]
    assert not share or count < 1000 or not np.array_equal(again, both[1])


def test_classes_that_are_sorted_are_judged_all_over() -> None:
    order = np.argsort(KIND, kind="stable")
    options: dict[str, Any] = {"epochs": 12, "optimizer": pnn.Adam(0.02), "progress": False}
    found = pnn.train_arrays([6, 8, 2], {"x": X[order], "y": KIND[order]}, inputs="x", targets="y", **options)
    assert found.figures["val_accuracy"] > 0.8


def test_classes_from_a_mapping_are_those_of_the_file(path: Path) -> None:
    options: dict[str, Any] = {"inputs": "waveforms", "targets": "kind", "labels": ["calm", "rough"]}
    options |= {"epochs": 10, "optimizer": pnn.Adam(0.02), "progress": False}
    one = pnn.train_arrays([6, 8, 2], path, **options)
    with h5py.File(path) as file:
        two = pnn.train_arrays([6, 8, 2], file, **options)
    for name, array in one.network.parameters.items():
        np.testing.assert_array_equal(array, two.network.parameters[name])
    assert one.network.labels == ("calm", "rough")
    evaluation: Any = pnn.evaluate(one.network, path, inputs="waveforms", targets="kind")
    assert evaluation.accuracy == (one.network.predict(X).argmax(axis=1) == KIND).mean() > 0.9


def test_what_does_not_fit_is_refused(path: Path) -> None:
    def train(layers: str, targets: Any = "swh", **options: Any) -> None:
        pnn.train_arrays(layers, path, inputs="waveforms", targets=targets, **options)

    for layers, options, reason in (
        ("5-1", {}, "the first layer has 5 units, but an example has 6 numbers"),
        ("6-2", {}, "the last layer has 2 units, but a target has 1 number$"),
        ("6-1", {"validation": 1.0}, "validation must be a number from 0 to less than 1, not 1.0"),
        ("6-1", {"loss": "cross_entropy"}, "numbers have the loss"),
        ("6-1", {"targets": "kind"}, "holds the classes 0 to 1, and the last layer has 1 unit"),
        ("6-2", {"targets": "kind", "labels": "abc"}, "3 labels cannot name 2 classes"),
        ("6-2", {"task": "classes"}, "classes are one array of whole numbers, and .* is float32"),
    ):
        with pytest.raises(UsageError, match=reason):
            train(layers, **options)
