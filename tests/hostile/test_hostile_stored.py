"""Files of arrays that are damaged, huge or of another kind: a clear error, or the numbers that other programs read."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import DataError, PortableNNError, UsageError
from portable_nn.data.stored_files import open_stored

X = np.arange(60, dtype=np.float32).reshape(20, 3)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((20, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (20, 3))
    file.create_virtual_dataset("x", layout)


HDF5: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "compound": (lambda f: f.create_dataset("x", (5,), [("a", "f4"), ("b", "i4")]), "records"),
    "references": (lambda f: f.create_dataset("x", (3,), h5py.ref_dtype), "references"),
    "text": (lambda f: f.create_dataset("x", data=["a", "b"]), "text"),
    "bytes": (lambda f: f.create_dataset("x", data=np.array([b"a"])), "text"),
    "vlen": (lambda f: f.create_dataset("x", (2,), h5py.vlen_dtype("f4")), "rows of different lengths"),
    "enum": (lambda f: f.create_dataset("x", (2,), h5py.enum_dtype({"a": 0})), "enumeration"),
    "arrays": (lambda f: f.create_dataset("x", (5,), np.dtype(("f4", (3,)))), "small arrays"),
    "null": (lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "empty and without a shape"),
    "no rows": (lambda f: f.create_dataset("x", (0, 3), "f4", maxshape=(None, 3)), r"found the shape \(0, 3\)"),
    "no columns": (lambda f: f.create_dataset("x", (3, 0), "f4", maxshape=(3, None)), r"found the shape \(3, 0\)"),
    "scalar": (lambda f: f.create_dataset("x", data=3.0), r"found the shape \(\)"),
    "complex": (lambda f: f.create_dataset("x", data=X.astype("c8")), "must hold real numbers"),
    "large chunks": (
        lambda f: f.create_dataset("x", (2**29, 1), "f8", chunks=(2**28, 1)),
        "chunks of which one takes 2",
    ),
    "soft link": (lambda f: f.update({"y": X, "x": h5py.SoftLink("/y")}), "soft link"),
    "external link": (lambda f: f.update({"x": h5py.ExternalLink("other.h5", "x")}), "external link"),
    "external": (lambda f: f.create_dataset("x", (20, 3), "f4", external=[("raw", 0, 240)]), "in another file"),
    "virtual": (virtual, "virtual dataset"),
}


@pytest.mark.parametrize("name", HDF5)
def test_hdf5(tmp_path: Path, name: str) -> None:
    make, reason = HDF5[name]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with pytest.raises(PortableNNError, match=reason) as caught:
        open_stored(tmp_path / "a.h5", ["x"])
    assert isinstance(caught.value, DataError | UsageError)


def test_what_is_unusual_and_right(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["big"], file["half"], file["bool"] = X.astype(">f4"), X.astype("f2"), X > 3
        file.create_dataset("sparse", (2**45, 3), "f4", chunks=(1024, 3), fillvalue=2)
        file.create_dataset("never written", (2**45, 3), "f4")
    for name, wanted in (("big", X), ("half", X), ("bool", X > 3)):
        np.testing.assert_array_equal(open_stored(tmp_path / "a.h5", [name])[:], wanted)
    for name, value in (("sparse", 2), ("never written", 0)):
        rows = open_stored(tmp_path / "a.h5", [name])
        assert (len(rows), rows[2**44 : 2**44 + 2].tolist()) == (2**45, [[value] * 3] * 2)
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    np.save(tmp_path / "b.npy", X.astype(">f8"))
    for name in ("f.npy", "b.npy"):
        np.testing.assert_array_equal(open_stored(tmp_path / name)[3:9], X[3:9])


def test_damaged_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = np.random.default_rng(0).random((1000, 30))
        file.create_dataset("x", data=data, chunks=(100, 30), compression="gzip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        open_stored(path, ["x"])
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2] + os.urandom(300) + whole[len(whole) // 2 + 300 :])
    rows = open_stored(path, ["x"])
    np.testing.assert_array_equal(rows[:100], data[:100])
    with pytest.raises(DataError, match="damaged"):
        rows[:]


NPY: dict[str, tuple[Any, str]] = {
    "objects": (np.array([{}, 1], object), "a pickle"),
    "records": (np.zeros(3, [("a", "f4")]), "not numbers"),
    "text": (np.array(["a", "b"]), "not numbers"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "not numbers"),
    "complex": (X.astype("c8"), "must hold real numbers"),
    "no rows": (X[:0], r"found the shape \(0, 3\)"),
    "scalar": (np.float32(3), r"found the shape \(\)"),
}


@pytest.mark.parametrize("name", NPY)
def test_npy(tmp_path: Path, name: str) -> None:
    array, reason = NPY[name]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises((DataError, UsageError), match=reason):
        open_stored(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "change", [lambda b: b[:-5], lambda b: b + b"zz", lambda b: b.replace(b"(20, 3), ", b"(2000000000, 3), ")]
)
def test_npy_of_another_length(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").write_bytes(change((tmp_path / "a.npy").read_bytes()))
    with pytest.raises(DataError):
        open_stored(tmp_path / "a.npy")


def test_parquet(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    nan = np.nan
    right: list[tuple[Any, Any]] = [
        ([1, 2, None, 4], [1, 2, nan, 4]),  # Missing in the second row group alone.
        ([1.5, None, 3, 4], [1.5, nan, 3, 4]),
        ([[1.0, 2], [3, 4], [5, None]], [[1, 2], [3, 4], [5, nan]]),
        ([[[1.0, 2]], [[3, 4]], [[5, 6]]], [[[1, 2]], [[3, 4]], [[5, 6]]]),
        (pa.array([5, 6, 5]).dictionary_encode(), [5, 6, 5]),
        (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
        (pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32(), 2)), [[1, 2], [3, 4], [5, 6]]),
    ]
    for given, wanted in right:
        pq.write_table(pa.table({"x": given}), tmp_path / "a.parquet", row_group_size=2)
        found = open_stored(tmp_path / "a.parquet", ["x"])
        np.testing.assert_array_equal(found[:], wanted)
        np.testing.assert_array_equal(found[1:], wanted[1:])
    wrong: list[tuple[Any, str]] = [
        ([[1.0, 2], [3.0]], "found lengths 1, 2"),
        ([[1.0, 2], None], "1 row have none|1 row has none"),
        ([Decimal("1.5")], "found decimal128"),
        (["a", "b"], "found string"),
        (pa.array(["a", "b"]).dictionary_encode(), "found dictionary"),
        ([{"a": 1}], "found struct"),
        (pa.nulls(3), "found null"),
        (pa.array([1], pa.timestamp("s")), "found timestamp"),
        (pa.array([], pa.float32()), "has no rows"),
    ]
    for given, reason in wrong:
        pq.write_table(pa.table({"x": given}), tmp_path / "a.parquet")
        with pytest.raises(DataError, match=reason):
            open_stored(tmp_path / "a.parquet", ["x"])[:]
    pq.write_table(pa.table({"x": [1, 2, None]}), tmp_path / "a.parquet", row_group_size=2, write_statistics=False)
    with pytest.raises(DataError, match=r"expected int64 .* found float64"):
        open_stored(tmp_path / "a.parquet", ["x"])[:]
    pq.write_table(pa.table([[1], [2]], names=["x", "x"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has 2 columns named 'x'"):
        open_stored(tmp_path / "a.parquet", ["x"])


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(tmp_path: Path, version: int) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    options: dict[str, Any] = {"shape": (20, 3), "chunks": (5, 3), "dtype": "f4"}
    group.create_array("x", **options)[:] = X
    group.create_array("part", **options, fill_value=7)[:5] = X[:5]
    group.create_group("sub").create_array("x", **options)[:] = X + 1
    group.create_array("no rows", shape=(0, 3), chunks=(1, 3), dtype="f4")
    group.create_array("one", shape=(), dtype="f4")
    group.create_array("large", shape=(2**40, 3), chunks=(2**30, 3), dtype="f4")
    wanted = {"x": X, "part": np.where(np.arange(20)[:, None] < 5, X, 7), "sub/x": X + 1}
    for name, rows in wanted.items():
        np.testing.assert_array_equal(open_stored(tmp_path / "a.zarr", [name])[2:], rows[2:])
    for name, reason in (("no rows", r"\(0, 3\)"), ("one", r"\(\)"), ("large", "chunks of which one takes 13 GB")):
        with pytest.raises(DataError, match=reason):
            open_stored(tmp_path / "a.zarr", [name])
    about = {".zarray", ".zattrs", "zarr.json"}
    chunks = [each for each in (tmp_path / "a.zarr" / "x").rglob("*") if each.is_file() and each.name not in about]
    sorted(chunks)[0].write_bytes(b"junk")
    with pytest.raises(DataError, match="rows 0 to 19 cannot be read"):
        open_stored(tmp_path / "a.zarr", ["x"])[:]
    next(each for each in (tmp_path / "a.zarr" / "x").iterdir() if each.name in about).write_text("{")
    with pytest.raises(DataError, match="cannot be read as zarr"):
        open_stored(tmp_path / "a.zarr", ["x"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["x", "y"])
def test_nothing_is_learned_from_what_is_no_number(tmp_path: Path, name: str, value: float) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.tile(X, (50, 1)), np.ones(1000, np.float32)
        file[name][777 if name == "y" else (777, 1)] = value
    options: dict[str, Any] = {"inputs": "x", "targets": "y", "epochs": 1, "progress": False, "validation": 0}
    for standardise in (True, False):
        with pytest.raises(PortableNNError, match=r"nothing can be learned from it|holds NaN|holds infinite values"):
            pnn.train_arrays("3-1", tmp_path / "a.h5", standardise=standardise, **options)
