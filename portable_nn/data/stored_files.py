"""Named arrays in files, whose rows are read when they are needed: HDF5, npy, npz, zarr and Parquet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import DataError, FormatError, UsageError
from portable_nn.core.isolated import ask
from portable_nn.core.text import either, quantity, some
from portable_nn.data import arrow_side, zarr_side
from portable_nn.data.files import opened, read_by
from portable_nn.data.stored import WHOLE, Array, Stored, as_stored, piece_of, rows_of
from portable_nn.format import open_arrays
from portable_nn.plain import PlainTensors
from portable_nn.plain.packing import Meaning


class StoredFile(NamedTuple):
    """A file of arrays: the names of those that can be read, what reads one by its name, and why others cannot be."""

    names: Sequence[str]
    read: Callable[[str], Stored]
    skipped: Mapping[str, str] = {}


def open_stored(path: str | Path, names: Sequence[str] = (), beside: Iterable[str] = ()) -> Stored:
    """Arrays of a file as one whose rows are read when they are needed; several stand side by side, ``(n, numbers)``.

    Args:
        path: an HDF5 (``.h5``, ``.hdf5``), netCDF-4 (``.nc``, ``.nc4``), ``.npy``, ``.npz`` or Parquet file
            (``.parquet``), or a folder of zarr (``.zarr``). An ``.npz`` is read as a whole, a Parquet file by row
            groups. Arrays that are packed, as netCDF does it, are unpacked (see ``plain.packing``).
        names: the datasets, arrays or columns. None where the file has only one.
        beside: those that are read apart, such as targets: no note says of them that they are not read.

    Raises:
        UsageError: the suffix is another one.
        DataError: the file cannot be read or is damaged, there is no such array, it has no rows or no numbers, or there
            are not as many rows in each.
        MissingPackageError: pyarrow or zarr is missing.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FILES:
        raise UsageError(f"{path}: the name of a file with named arrays ends in {either(FILES)}, not in {suffix!r}")
    try:
        file = FILES[suffix](Path(path))
        chosen = list(names) or _only(file, path)
        if unknown := [name for name in chosen if name.strip("/") not in file.names]:
            if reason := file.skipped.get(unknown[0].strip("/")):
                raise DataError(f"{path}: {unknown[0]}", reason)
            raise DataError(path, f"has no '{unknown[0]}'; it has {some(file.names) or 'none'}")
        found = [_checked(file.read(name.strip("/"))) for name in chosen]
    except FormatError as error:
        raise DataError(error.path, error.reason) from error
    whole = side_by_side(found, str(path))
    others = [
        name for name in (*file.names, *file.skipped) if name not in {each.strip("/") for each in (*chosen, *beside)}
    ]
    return (
        replace(whole, notes=(*whole.notes, f"{path}: not read: {some(others)}")) if whole.notes and others else whole
    )


def _only(file: StoredFile, path: str | Path) -> list[str]:
    if not file.names and len(file.skipped) == 1:
        raise DataError(path, next(iter(file.skipped.values())))
    if len(file.names) != 1:
        raise DataError(
            path, f"holds {quantity(len(file.names), 'array')}, {some(file.names)}: --inputs NAME (dataset=) says which"
        )
    return list(file.names)


def _checked(found: Stored) -> Stored:
    if not found.shape or not found.size:
        raise DataError(found.name, f"expected rows of numbers, found the shape {found.shape}")
    if found.dtype.kind not in "fiub":
        raise DataError(found.name, f"expected real numbers, found {found.dtype}")
    return found


def side_by_side(found: Sequence[Stored], where: str) -> Stored:
    """Arrays as one, ``(n, numbers)``; one alone as it is. Raises ``DataError`` that names ``where``."""
    if len(found) == 1:
        return found[0]
    counts = {each.name: len(each) for each in found}
    if len(set(counts.values())) > 1:
        rows = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
        raise DataError(where, f"there are not as many rows in each: {rows}")
    count, width = len(found[0]), sum(math.prod(each.shape[1:]) for each in found)

    def read(start: int, stop: int) -> Array:
        return np.concatenate([each[start:stop].reshape(stop - start, -1) for each in found], axis=1)

    dtype = np.result_type(*(each.dtype for each in found))
    name, chunk = ", ".join(each.name for each in found), max(each.chunk for each in found)
    notes, meanings = (tuple(chain(*parts)) for parts in zip(*((e.notes, e.meanings) for e in found), strict=True))
    return Stored(name, dtype, (count, width), chunk, read, notes, meanings)


# -- kinds


def _plain(path: Path) -> StoredFile:
    """A file of ``plain``: HDF5, npy or npz."""
    tensors = open_arrays(path, in_pieces=True)

    def read(name: str) -> Stored:
        return _noted(_of_tensors(tensors, name), tensors.unread(name), tensors.meaning(name))

    skipped = {name.strip("/"): reason for name, reason in tensors.skipped.items()}
    return StoredFile([name for name in tensors if name], read, skipped)


def _of_tensors(tensors: PlainTensors, name: str) -> Stored:
    where = str(tensors.path) if tensors.path.suffix.lower() == ".npy" else f"{tensors.path}: {name}"
    entry = tensors.entries[name]
    if (mapped := tensors.mapped(name)) is not None:
        return as_stored(rows_of(mapped, where), where)
    if (chunk := tensors.chunk(name)) is None:
        return as_stored(tensors[name], where)
    # ``tensors`` keeps the file open.
    return Stored(where, np.dtype(entry.dtype), entry.shape, chunk, lambda a, b: tensors.rows(name, a, b))


def _noted(found: Stored, unread: Sequence[str], meaning: Meaning) -> Stored:
    """An array with what its numbers mean, and a note on those of its attributes that are not read."""
    notes = (f"{found.name}: attributes that are not read: {some(unread)}",) * bool(unread)
    return replace(found, notes=notes, meanings=(meaning,))


def _in_parts(read: Callable[[int, int], Array], size: int, start: int, stop: int) -> Array:
    """Rows by parts that end at multiples of ``size``: several processes have a part in memory."""
    found: Array | None = None
    for low in range(start // size * size, stop, size):
        part = read(max(low, start), min(low + size, stop))
        if len(part) == stop - start:
            return part
        if found is None:
            found = np.empty((stop - start, *part.shape[1:]), part.dtype)
        found[max(low, start) - start : min(low + size, stop) - start] = part
    assert found is not None
    return found


def _zarr(path: Path) -> StoredFile:
    def reading() -> AbstractContextManager[None]:
        return read_by("zarr", "zarr", path, "cannot be read as zarr")

    def read(name: str) -> Stored:
        where, what = f"{path}: {name}", {"path": str(path.absolute()), "name": paths[name]}
        with reading():
            [shape, dtype, chunk, stored, unread, (unit, labels, _)], _ = ask(zarr_side.array_layout, 0, **what)

        def rows(start: int, stop: int) -> Array:
            _, [found] = ask(zarr_side.array_rows, stored, **what, start=start, stop=stop)
            return found

        found = Stored(where, np.dtype(dtype).newbyteorder("="), tuple(shape), chunk, rows)
        if not (found.size and shape):
            return found
        found = replace(found, read=partial(_in_parts, rows, piece_of([found], WHOLE)))
        return _noted(as_stored(rows_of(found, where), where), unread, Meaning(unit, tuple(labels)))

    with reading():
        names, _ = ask(zarr_side.array_names, 0, path=str(path.absolute()))
    paths = {each or path.stem: each for each in names}
    return StoredFile(list(paths), read)


def _parquet(path: Path) -> StoredFile:
    def reading() -> AbstractContextManager[None]:
        return read_by("pyarrow", "tables", path, "cannot be read as Parquet")

    def read(name: str) -> Stored:
        where, kept = f"{path}: {name}", dict[int, Array]()

        def groups(first: int, last: int) -> Array:
            what: dict[str, Any] = {"source": seen, "name": name, "first": first, "last": last}
            _, [found] = ask(arrow_side.parquet_groups, seen.stored, **what)
            return found

        if not ends[-1]:
            raise DataError(where, "has no rows")
        if names.count(name) > 1:
            raise DataError(path, f"has {names.count(name)} columns named '{name}'")
        with reading():
            sample = groups(0, 1)
            are_missing, _ = ask(arrow_side.parquet_nulls, seen.stored, source=seen, name=name)
        # What is missing is NaN: also where it is missing only later.
        dtype = np.dtype(float) if sample.dtype.kind in "iub" and are_missing else sample.dtype
        several = max(1, WHOLE // (max(counts) * math.prod(sample.shape[1:]) * dtype.itemsize or 1))

        def rows(start: int, stop: int) -> Array:
            first, last = (int(place) for place in np.searchsorted(ends, [start, stop - 1], side="right") - 1)
            parts = [kept[first]] if first in kept else []
            begins = range(first + len(parts), last + 1, several)
            parts += [groups(begin, min(begin + several, last + 1)) for begin in begins]
            kept.clear()
            if stop < ends[last + 1]:  # The next rows are of the same group.
                kept[last] = parts[-1][ends[last] - ends[last + 1] :]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            return whole[start - ends[first] : stop - ends[first]]

        return Stored(where, dtype, (ends[-1], *sample.shape[1:]), max(counts), rows)

    with reading():
        with opened(path, "Parquet") as file:
            seen = arrow_side.Seen.of(path, file)
        names, [found] = ask(arrow_side.parquet_layout, seen.stored, source=seen)
    counts = found.tolist()
    ends = np.cumsum([0, *counts]).tolist()
    return StoredFile(names, read)


FILES: Final[Mapping[str, Callable[[Path], StoredFile]]] = {
    ".h5": _plain,
    ".hdf5": _plain,
    ".nc": _plain,
    ".nc4": _plain,
    ".npy": _plain,
    ".npz": _plain,
    ".zarr": _zarr,
    ".parquet": _parquet,
}
"""The kinds of files by suffix, and what opens one."""
