"""Data sets, examples with their labels, from files of arrays or tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.text import shortened
from portable_nn.data.arrays import IDX_NAME, check_not_empty, chosen, read_arrays, read_idx
from portable_nn.data.cells import MISSING, plain_cell
from portable_nn.data.csv_columns import headings
from portable_nn.data.frames import Dialect, columns_of
from portable_nn.data.given import side_by_side
from portable_nn.data.json_rows import is_json, read_json
from portable_nn.data.stored_files import open_stored
from portable_nn.data.tables import STDIN, iterate_csv, whole

Kind: TypeAlias = Literal["csv", "json", "npy", "npz", "idx", "hdf5", "stored", "picture"]

KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".nc": "stored",
    ".nc4": "stored",
    ".zarr": "stored",
    ".parquet": "stored",
}


@dataclass(frozen=True)
class Dataset:
    """Examples ``x``, ``(n, *shape)``, which may be memory-mapped, and labels ``y``, ``(n, ...)``, or None."""

    x: NDArray[Any]
    y: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.x)

    def taken(self, places: NDArray[Any]) -> Dataset:
        """The examples at ``places`` alone."""
        return Dataset(self.x[places], None if self.y is None else self.y[places])


def kind_of(path: str | Path) -> Kind:
    """The kind of a file, by its name alone: a picture unless the name is that of another kind."""
    path = Path(path)
    if str(path) == STDIN:
        return "csv"
    if IDX_NAME.search(path.name):
        return "idx"
    return KINDS.get(path.suffix.lower(), "picture")


def read_dataset(
    path: str | Path,
    labels_path: str | Path | None = None,
    *,
    width: int | None = None,
    dialect: Dialect | None = None,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """The examples in a CSV, JSON, npy, npz, IDX, HDF5, zarr or Parquet file, and their labels.

    Labels come from ``labels_path`` if it is given; else from the first column of a CSV, from the array beside the
    examples in npz, HDF5 and JSON, or for the images of MNIST from the file of labels in the same folder. ``width`` is
    the number of values in a row of CSV, before which labels may be words; without it the first column holds the
    labels, as numbers. ``dialect`` has the header and the encoding of CSV, and ``dtype`` is the type of its values.

    Raises:
        DataError: a file is damaged or of another kind, or the numbers of labels and of examples differ.
        UsageError: ``path`` is a picture, ``labels_path`` is given for a CSV that has labels, or ``width`` is missing
            for a CSV that has none.
    """
    found = _read(path, width, labels_path is None, dialect or Dialect(), dtype)
    if labels_path is None:
        labels_path = sibling_labels(path)
    elif found.y is not None and kind_of(path) == "csv":
        raise UsageError(f"{path} has labels in its first column, and labels were given as well: {labels_path}")
    y = found.y if labels_path is None else _read_labels(labels_path)
    count = len(found.x)
    if y is not None and y.shape[:1] != (count,):
        raise DataError(labels_path or path, f"expected {count} labels, as {path} has examples, found shape {y.shape}")
    return Dataset(found.x, y)


def read_examples(path: str | Path, width: int | None, dtype: DTypeLike) -> NDArray[Any]:
    """The examples in a file for an input that takes ``width`` numbers, or any number of them: then no column of a
    table is a label. Numbers of CSV are read as ``dtype``. Raises as ``read_dataset`` does.
    """
    found = read_dataset(path, width=width, dtype=dtype)
    if width is None and kind_of(path) == "csv" and found.y is not None:
        return np.column_stack([found.y, found.x])
    return found.x


def _read(path: str | Path, width: int | None, has_labels: bool, dialect: Dialect, dtype: DTypeLike) -> Dataset:
    match "json" if is_json(path) else kind_of(path):
        case "json":
            dataset = _of_json(path)
        case "csv":
            if width is None and not has_labels:
                raise UsageError(f"{path} is read without labels of its own: give width, its number of columns")
            return _read_table(path, width, dialect, dtype)
        case "npy" | "npz" | "hdf5":
            dataset = Dataset(*read_arrays(path))
        case "idx":
            dataset = Dataset(read_idx(path), None)
        case "stored":  # Several arrays are asked for by name, as they are from the larger of the files above.
            dataset = Dataset(open_stored(path)[:], None)
        case "picture":
            if not Path(path).exists():
                raise DataError(path, "expected a file or folder, found neither")
            forms = "CSV, npy, npz, IDX, HDF5, zarr or Parquet"
            raise UsageError(f"{path}: expected {forms}, found the name of none of them")
    if dataset.x.ndim == 0:
        raise DataError(path, "expected an array of examples, found a single number")
    if dataset.x.dtype.kind == "U":
        raise DataError(path, f"expected numbers, found text, of type {dataset.x.dtype}")
    return dataset


def _of_json(path: str | Path) -> Dataset:
    """Lists of numbers as an array, an object of them as an npz file has arrays, and cells by names side by side."""
    where, found = read_json(path)
    columns = columns_of(found, where)
    if not isinstance(columns, Mapping):
        return Dataset(_numbers(columns, where), None)
    arrays = {str(name): _numbers(values, f"{where}: {name}") for name, values in columns.items()}
    if all(array.ndim == 1 for array in arrays.values()):
        try:
            return Dataset(side_by_side(arrays), None)
        except UsageError as error:
            raise DataError(where, str(error)) from None
    x, *labels = (arrays[name] for name in chosen(arrays, where))
    return Dataset(x, labels[0] if labels else None)


def _numbers(found: Any, where: str) -> NDArray[Any]:
    """Lists in lists as an array, in which null is NaN. Raises ``DataError`` where they are of several lengths."""
    try:
        array = np.asarray(found)
    except ValueError:
        sizes = [len(row) if isinstance(row, list) else 0 for row in found]
        place = next((place for place, size in enumerate(sizes) if size != sizes[0]), 0)
        raise DataError(f"{where}[{place}]", "expected lists of numbers, as many in each as in the first") from None
    check_not_empty(where, array.shape)
    if array.dtype.kind != "O":
        return array
    for at in (each for each in np.ndindex(array.shape) if not isinstance(array[each], int | float | None)):
        raise DataError(f"{where}{list(at)}", f"expected a number, found {shortened(array[at])}")
    return np.array([plain_cell(cell) for cell in array.flat], np.float64).reshape(array.shape)


def _read_table(path: str | Path, width: int | None, dialect: Dialect, dtype: DTypeLike) -> Dataset:
    labels, values = list[NDArray[Any]](), list[NDArray[Any]]()
    words = width is not None  # Otherwise the first column may hold a number of the example.
    for chunk in iterate_csv(path, width, header=dialect.header, encoding=dialect.encoding, words=words):
        assert not isinstance(chunk, DataError)  # It is raised: the reading is strict.
        labels += [] if chunk.labels is None else [chunk.labels]
        values.append(chunk.values.astype(dtype))
        if labels and (lacking := [label in MISSING for label in labels[-1].tolist()]).count(True):
            raise DataError(
                path, f"row {chunk.numbers[lacking.index(True)]}: there is no label, or one such as ? or NA"
            )
    # The labels of one chunk may all be integers, and those of another not.
    y = whole(np.concatenate(labels)) if labels else None
    return Dataset(np.concatenate(values), y)


def _read_labels(path: str | Path) -> NDArray[Any]:
    """Labels from a file of their own: ``(n,)`` from a CSV with one column, else unchanged."""
    is_csv = kind_of(path) == "csv"
    is_first = is_csv and str(path) != STDIN and headings(path) == ["0"]  # One label too many would be noticed.
    dataset = _read(path, 1, has_labels=False, dialect=Dialect(False if is_first else None), dtype=np.float64)
    return whole(dataset.x[:, 0]) if is_csv else dataset.x


def sibling_labels(path: str | Path) -> Path | None:
    """``train-labels-idx1-ubyte`` for ``train-images-idx3-ubyte``, with a dot or a hyphen, compressed or not."""
    path = Path(path)
    if kind_of(path) != "idx" or "images" not in path.name:
        return None
    name = path.name.replace("images", "labels").removesuffix(".gz")
    names = [re.sub(r"[.-]idx\d", f"{mark}idx1", name) + end for end in ("", ".gz") for mark in "-."]
    return next((sibling for sibling in map(path.with_name, names) if sibling.exists()), None)
