"""Numbers come to a network in float64 with all of their digits, whichever way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.format import InputInfo
from portable_nn.format.meaning import Column
from portable_nn.operators.registry import DTYPE_CODES
from portable_nn.operators.symbols import emit
from portable_nn.preprocessing.steps import ScaleStep
from portable_nn.scale import Predictor, predict_many

X = 1 + np.random.default_rng(0).uniform(1, 2, (40, 3)) * 1e-9
"""What float32 takes for ones."""

WANTED = (X - 1).sum(axis=1) * 1e9


def network(*infos: InputInfo) -> pnn.Network:
    """1e9 · Σ (x - 1), to within the last digits of 3e9."""
    weight, bias = np.full((1, 3), 1e9), np.array([-3e9])
    dense = pnn.Dense(1, weight_initial=weight, bias_initial=bias, name="y")
    found = pnn.Sequential(pnn.Input(3, name="x", dtype="float64"), dense, seed=0)
    found.inputs = infos or found.inputs
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network().save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    """The network for a table whose columns have names."""
    named = network(InputInfo("x", "table", columns=tuple(map(Column, "abc"))))
    named.save(tmp_path / "columns.safetensors")
    return tmp_path / "columns.safetensors"


def close(found: Any) -> bool:
    return bool(np.allclose(np.ravel(found), WANTED, rtol=0, atol=2e-6))


def values(found: Any) -> list[float]:
    return [each.values[0] for each in found]


def csv(path: Path, heading: str = "") -> Path:
    path.write_text(heading + "".join(",".join(map(repr, row)) + "\n" for row in X.tolist()))
    return path


def npy(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), X)
    return path.with_suffix(".npy")


def npz(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), x=X)
    return path.with_suffix(".npz")


def hdf5(path: Path) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["x"] = X
    return path.with_suffix(".h5")


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("file", [csv, npy, npz, hdf5])
def test_of_files(tmp_path: Path, model: Path, file: Callable[[Path], Path], engine: Any) -> None:
    path = file(tmp_path / "rows.csv")
    assert close(values(pnn.predict(model, path, engine=engine)))
    assert close(values(predict_many(model, path, workers=0, shard_size=7, engine=engine)))
    assert close(pnn.run(model, path, engine=engine)["y"])
    assert np.array_equal(pnn.prepare(model, path), X)


@pytest.mark.parametrize("more", [(), ("--workers", "0", "--shard-size", "7")])
@pytest.mark.parametrize("file", [csv, npy])
def test_of_files_of_arrays(tmp_path: Path, model: Path, file: Callable[[Path], Path], more: tuple[str, ...]) -> None:
    path, out = file(tmp_path / "rows.csv"), tmp_path / "out.npz"
    assert main(["predict", str(model), str(path), "--out", str(out), *more]) == 0
    assert close(np.load(out)["y"])


def test_of_columns(tmp_path: Path, columns: Path) -> None:
    path = csv(tmp_path / "rows.csv", "a,b,c\n")
    assert close(values(pnn.predict(columns, path)))
    assert close(values(predict_many(columns, path, workers=0)))
    assert close(values(pnn.predict(columns, dict(zip("abc", X.T, strict=True)))))


def test_of_memory(model: Path) -> None:
    assert close(values(pnn.predict(network(), X)))
    assert close(values(pnn.predict(model, dict(zip("abc", X.T, strict=True)))))
    assert close(Predictor(str(model))(X)["value"])


def test_that_are_scaled_before() -> None:
    """By steps that are computed in float64 as well."""
    scaled = network(InputInfo("x", "tensor", (ScaleStep(1 / 3, 2 / 3),)))
    assert close(values(pnn.predict(scaled, 3 * X - 2)))


def test_evaluate(tmp_path: Path, model: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, y=WANTED)
    assert pnn.evaluate(model, tmp_path / "data.npz", task="numbers").numbers[0].rmse < 2e-6


def test_whole_numbers_that_float32_has_not(tmp_path: Path) -> None:
    ids = np.array([[2**24 + 1, 3], [5, 2**30 + 7]])
    x = pnn.Input(2, name="x", dtype="int64")
    table = pnn.Network(inputs=[x], outputs=[emit("Cast", x, to=DTYPE_CODES["float64"])], seed=0)
    (tmp_path / "ids.csv").write_text("\n".join(",".join(map(str, row)) for row in ids.tolist()) + "\n")
    assert [each.values for each in pnn.predict(table, tmp_path / "ids.csv")] == [tuple(row) for row in ids.tolist()]


def test_answers_have_the_digits_of_a_float64(tmp_path: Path) -> None:
    x = pnn.Input(3, name="x", dtype="float64")
    same = pnn.Network(inputs=[x], outputs=[emit("Identity", x)], seed=0)
    found = [each.values for each in pnn.predict(same, csv(tmp_path / "rows.csv"))]
    assert np.allclose(found, X, rtol=1e-14, atol=0)
