"""Named arrays in files, written by the libraries of their formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from portable_nn.core.errors import DataError, PortableNNError, UsageError
from portable_nn.data import stored
from portable_nn.data.stored_files import open_stored

X = np.random.default_rng(0).normal(size=(103, 6)).astype(np.float32)
Y = np.arange(103, dtype=np.int16)


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "d.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(10, 6), compression="gzip", shuffle=True)
        file.create_group("more")["y"] = Y
        file["word"] = "text"
    return folder / "d.h5"


def npz(folder: Path) -> Path:
    np.savez_compressed(folder / "d.npz", **{"x": X, "more/y": Y})
    return folder / "d.npz"


def zarr(folder: Path) -> Path:
    group = pytest.importorskip("zarr").open_group(str(folder / "d.zarr"), mode="w")
    group.create_array("x", data=X, chunks=(10, 6))
    group.create_array("more_y", data=Y, chunks=(40,))
    return folder / "d.zarr"


def parquet(folder: Path) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 6)
    table = pa.table({"x": fixed, "lists": pa.array(X.tolist(), pa.list_(pa.float32())), "more/y": Y})
    pq.write_table(table, folder / "d.parquet", row_group_size=10)
    return folder / "d.parquet"


def other(name: str, path: Path) -> str:
    return "more_y" if path.suffix == ".zarr" else name


@pytest.mark.parametrize("size", [0, stored.WHOLE], ids=["in pieces", "whole"])
@pytest.mark.parametrize("made", [hdf5, npz, zarr, parquet])
def test_rows_are_those_that_were_written(
    made: Callable[[Path], Path], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "WHOLE", size)
    path = made(tmp_path)
    x, y = open_stored(path, ["x"]), open_stored(path, [other("more/y", path)])
    assert (x.shape, x.dtype, y.shape) == ((103, 6), np.float32, (103,))
    for part in (slice(0, 103), slice(7, 8), slice(5, 35), slice(99, None)):
        np.testing.assert_array_equal(x[part], X[part])
        np.testing.assert_array_equal(y[part], Y[part])
    both = open_stored(path, ["x", other("more/y", path)])
    np.testing.assert_array_equal(both[20:50], np.column_stack([X, Y])[20:50])
    if path.suffix == ".parquet":
        np.testing.assert_array_equal(open_stored(path, ["lists"])[3:33], X[3:33])
        assert x.chunk == 10
    with pytest.raises(DataError, match=r"has no 'z'; it has .*x"):
        open_stored(path, ["z"])
    with pytest.raises(DataError, match=r"holds [23] arrays, .*: --inputs NAME \(dataset=\) says which"):
        open_stored(path)


def test_npy_needs_no_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(">f8"))
    np.testing.assert_array_equal(open_stored(tmp_path / "x.npy")[4:9], X[4:9])


def test_chunks_that_were_never_written_are_fill_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        sparse = file.create_dataset("x", (10**9, 104), np.float32, chunks=(1024, 104), fillvalue=2)
        sparse[5000] = 1
        file.create_dataset("late", (10**9, 104), np.float32)
    x = open_stored(tmp_path / "s.h5", ["x"])
    assert x.shape == (10**9, 104)
    assert (x[5000:5001] == 1).all()
    assert (x[10**9 - 5 :] == 2).all()
    assert (open_stored(tmp_path / "s.h5", ["late"])[10**8 : 10**8 + 2] == 0).all()


def test_a_chunk_that_would_take_all_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1M")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("x", (2**20, 4), np.float32, chunks=(2**18, 4))
    with pytest.raises(DataError, match=r"'/x' has chunks of which one takes 4\.2 MB of memory"):
        open_stored(tmp_path / "bomb.h5", ["x"])


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.h5, .*not in '\.csv'"):
        open_stored("x.csv", ["x"])
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["empty"], file["one"], file["five"] = np.empty((0, 3)), 3.0, np.zeros(5)
        file["link"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(DataError, match=r"is an external link to '/x' in 'other\.h5'"):
        open_stored(tmp_path / "e.h5", ["five"])
    with h5py.File(tmp_path / "e.h5", "a") as file:
        del file["link"]
        file["six"] = np.zeros(6)
    for name in ("empty", "one"):
        with pytest.raises(DataError, match=f"e.h5: {name}: expected rows of numbers, found the shape"):
            open_stored(tmp_path / "e.h5", [name])
    with pytest.raises(DataError, match=r"there are not as many rows in each: 5 in .*five, 6 in .*six"):
        open_stored(tmp_path / "e.h5", ["five", "six"])
    (tmp_path / "no.parquet").write_bytes(b"PAR1 but no more")
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_stored(tmp_path / "no.parquet", ["x"])


def test_lists_of_several_lengths_and_words_are_refused(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table: Any = pa.table({"lists": [[1.0], [2.0, 3.0]], "words": ["a", "b"], "holes": [1.0, None]})
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(DataError, match="expected lists of one length, found lengths 1, 2"):
        open_stored(tmp_path / "d.parquet", ["lists"])
    with pytest.raises(DataError, match="expected numbers, found string"):
        open_stored(tmp_path / "d.parquet", ["words"])
    np.testing.assert_array_equal(open_stored(tmp_path / "d.parquet", ["holes"])[:], [1, np.nan])


@pytest.mark.long
def test_damaged_parquet_is_refused_by_name_or_read(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    data = path.read_bytes()
    refused = list[str]()
    for place in range(4, len(data), 41):
        for byte in (data[place] ^ 0x80, 255):
            path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
            try:
                found = open_stored(path, ["x"])
                assert len(found[: len(found)]) == len(found)
            except PortableNNError as error:
                refused.append(str(error))
    assert len(refused) > 10
    assert all("d.parquet" in each for each in refused)


def test_a_few_bytes_of_parquet_that_claim_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    count = 1_000_000
    pq.write_table(pa.table({"x": np.zeros(count, np.int8)}), tmp_path / "d.parquet", row_group_size=count)
    assert (tmp_path / "d.parquet").stat().st_size < 10_000
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1M")
    with pytest.raises(DataError, match=r"d.parquet: x: has row groups of which one takes 8.0 MB of memory"):
        open_stored(tmp_path / "d.parquet", ["x"])
