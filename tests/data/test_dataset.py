from __future__ import annotations

import gzip
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from drawn import idx

from portable_nn.core.errors import DataError, UsageError
from portable_nn.data.dataset import kind_of, read_dataset

X = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
Y = np.array([7, 1], np.uint8)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("-", "csv"),
        ("a.csv", "csv"),
        ("A.TSV", "csv"),
        ("a.npy", "npy"),
        ("a.npz", "npz"),
        ("a.h5", "hdf5"),
        ("train-images-idx3-ubyte", "idx"),
        ("t10k-labels.idx1-ubyte.gz", "idx"),
        ("a.png", "picture"),
        ("no-suffix", "picture"),
        ("kidx3.png", "picture"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label,a,b\n7,1,2\n1,3,4.5\n")
    for dataset in (read_dataset(path), read_dataset(path, width=2)):
        assert dataset.x.tolist() == [[1, 2], [3, 4.5]]
        assert dataset.x.dtype == np.float32
        assert dataset.y.tolist() == [7, 1]
        assert dataset.y.dtype == np.int64
    assert read_dataset(path, width=3).y is None


def test_csv_with_labels_of_its_own_file(tmp_path: Path) -> None:
    x, y = tmp_path / "x.csv", tmp_path / "y.csv"
    x.write_text("1,2\n3,4\n")
    y.write_text("label\n7\n1\n")
    assert read_dataset(x, y, width=2).y.tolist() == [7, 1]
    with pytest.raises(UsageError, match="give width, its number of columns"):
        read_dataset(x, y)
    with pytest.raises(UsageError, match=r"x.csv has labels in its first column, and labels were given as well: .*y"):
        read_dataset(x, y, width=1)


def test_npy_with_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    assert read_dataset(tmp_path / "x.npy").y is None
    dataset = read_dataset(tmp_path / "x.npy", tmp_path / "y.npy")
    assert np.array_equal(dataset.x, X)
    assert dataset.y.tolist() == [7, 1]


def test_npz_and_hdf5(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    with h5py.File(tmp_path / "a.h5", "w") as store:
        store["x"], store["y"] = X, Y
    for name in ("a.npz", "a.h5"):
        dataset = read_dataset(tmp_path / name)
        assert np.array_equal(dataset.x, X)
        assert dataset.y.tolist() == [7, 1]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"),
    ],
)
def test_mnist_finds_its_labels(tmp_path: Path, images: str, labels: str) -> None:
    for name, data in [(images, idx(8, X.shape, X.tobytes())), (labels, idx(8, (2,), b"\x07\x01"))]:
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    dataset = read_dataset(tmp_path / images)
    assert np.array_equal(dataset.x, X)
    assert dataset.y.tolist() == [7, 1]


def test_mnist_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(idx(8, X.shape, X.tobytes()))
    assert read_dataset(path).y is None


def test_counts_must_agree(tmp_path: Path) -> None:
    images, labels = tmp_path / "images-idx3-ubyte", tmp_path / "labels-idx1-ubyte"
    images.write_bytes(idx(8, X.shape, X.tobytes()))
    labels.write_bytes(idx(8, (3,), b"\x07\x01\x02"))
    expected = f"{labels}: expected 2 labels, as {images} has examples, found shape (3,)"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        read_dataset(images)
    np.savez(tmp_path / "a.npz", x=X, y=[1])
    with pytest.raises(DataError, match=r"a\.npz: expected 2 labels, as .* has examples, found shape \(1,\)"):
        read_dataset(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.float32(3), "expected an array of examples, found a single number"),
        (np.array(["a"]), "expected numbers, found text, of type <U1"),
    ],
)
def test_arrays_that_are_no_examples(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=reason):
        read_dataset(tmp_path / "a.npy")


def test_labels_may_be_text_but_not_a_single_number(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=["seven", "one"])
    assert read_dataset(tmp_path / "a.npz").y.tolist() == ["seven", "one"]
    np.savez(tmp_path / "a.npz", x=X, y=7)
    with pytest.raises(DataError, match=r"expected 2 labels, .* found shape \(\)"):
        read_dataset(tmp_path / "a.npz")


def test_pictures_are_no_dataset(tmp_path: Path) -> None:
    forms = "CSV, npy, npz, IDX, HDF5, zarr or Parquet"
    with pytest.raises(DataError, match=r"a\.png: expected a file or folder, found neither"):
        read_dataset(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=rf"a\.png: expected {forms}, found the name of none of them"):
        read_dataset(tmp_path / "a.png")
