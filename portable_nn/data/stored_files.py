"""Named arrays in files, whose rows are read when they are needed: HDF5, npy, npz, zarr and Parquet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import DataError, FormatError, MissingPackageError, UsageError
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.text import either, quantity, said, some
from portable_nn.data.stored import Array, Stored, as_stored, rows_of
from portable_nn.plain import PlainTensors, open_tensors


class StoredFile(NamedTuple):
    """A file of arrays: the names of those that can be read, what reads one by its name, and why others cannot be."""

    names: Sequence[str]
    read: Callable[[str], Stored]
    skipped: Mapping[str, str] = {}


def open_stored(path: str | Path, names: Sequence[str] = ()) -> Stored:
    """Arrays of a file as one whose rows are read when they are needed; several stand side by side, ``(n, numbers)``.

    Args:
        path: an HDF5 (``.h5``, ``.hdf5``), ``.npy``, ``.npz`` or Parquet file (``.parquet``), or a folder of zarr
            (``.zarr``). An ``.npz`` is read as a whole, a Parquet file by row groups.
        names: the datasets, arrays or columns. None where the file has only one.

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
                raise DataError(f"{path}: {unknown[0]}", f"{reason}: expected numbers")
            raise DataError(path, f"has no '{unknown[0]}'; it has {some(file.names) or 'none'}")
        found = [_checked(file.read(name.strip("/"))) for name in chosen]
    except FormatError as error:
        raise DataError(path, error.reason) from error
    return side_by_side(found, str(path))


def _only(file: StoredFile, path: str | Path) -> list[str]:
    if not file.names and len(file.skipped) == 1:
        raise DataError(path, f"{next(iter(file.skipped.values()))}: expected numbers")
    if len(file.names) != 1:
        raise DataError(path, f"holds {quantity(len(file.names), 'array')}, {some(file.names)}: say which")
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
    return Stored(", ".join(each.name for each in found), dtype, (count, width), max(e.chunk for e in found), read)


# -- kinds


def _plain(path: Path) -> StoredFile:
    """A file of ``plain``: HDF5, npy or npz."""
    tensors = open_tensors(path, in_pieces=True)

    def read(name: str) -> Stored:
        return _of_tensors(tensors, name)

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


def _zarr(path: Path) -> StoredFile:
    try:
        import zarr
    except ImportError:
        raise MissingPackageError("zarr", f"reading {path}", "zarr") from None
    try:
        found = zarr.open(str(path), mode="r")
        arrays = dict(_in_group(found)) if hasattr(found, "arrays") else {path.stem: found}
    except Exception as error:  # Zarr raises errors of many types.
        raise DataError(path, f"cannot be read as zarr {said(error)}") from error

    def read(name: str) -> Stored:
        each = arrays[name]
        chunk = math.prod(getattr(each, "shards", None) or each.chunks) * each.dtype.itemsize
        if fault := excess(chunk, 0, UNPACKED):
            raise DataError(f"{path}: {name}", f"has chunks of which one {fault}")
        return as_stored(rows_of(each, f"{path}: {name}"), f"{path}: {name}")

    return StoredFile(list(arrays), read)


def _in_group(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays in a group of zarr and in those inside of it, by their paths."""
    for name, array in group.arrays():
        yield before + name, array
    for name, inner in group.groups():
        yield from _in_group(inner, f"{before}{name}/")


def _parquet(path: Path) -> StoredFile:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingPackageError("pyarrow", f"reading {path}", "tables") from None
    try:
        file = ParquetFile(str(path))
    except Exception as error:  # Arrow raises errors of its own and of the system.
        raise DataError(path, f"cannot be read as Parquet {said(error)}") from error
    meta = file.metadata
    names = list(file.schema_arrow.names)
    groups = [meta.row_group(place) for place in range(meta.num_row_groups)]
    ends = np.cumsum([0, *(each.num_rows for each in groups)])

    def read(name: str) -> Stored:
        where, kept = f"{path}: {name}", dict[int, Array]()

        def group(place: int) -> Array:
            if place not in kept:
                count, stored = groups[place].num_rows, path.stat().st_size
                # Encodings make any number of equal numbers out of a few bytes, which the sizes do not count.
                claims = {0: groups[place].total_byte_size, stored: 8 * count}
                if fault := next(filter(None, (excess(size, there, UNPACKED) for there, size in claims.items())), None):
                    raise DataError(where, f"has row groups of which one {fault}")
                try:
                    column = file.read_row_group(place, columns=[name]).column(0)
                except Exception as error:  # As above.
                    raise DataError(where, f"is damaged {said(error)}") from error
                found = _numbers_in(column, where)
                if len(found) != count:
                    raise DataError(where, f"is damaged: it has {len(found):,} rows where {count:,} were written")
                kept.clear()
                kept[place] = found
            return kept[place]

        def rows(start: int, stop: int) -> Array:
            first, last = np.searchsorted(ends, [start, stop - 1], side="right") - 1
            parts = [group(place)[max(0, start - ends[place]) : stop - ends[place]] for place in range(first, last + 1)]
            return np.concatenate(parts)

        if not meta.num_rows:
            raise DataError(where, "has no rows")
        if names.count(name) > 1:
            raise DataError(path, f"has {names.count(name)} columns named '{name}'")
        sample = group(0)
        longest = max(each.num_rows for each in groups)
        # What is missing is NaN: also where it is missing only later.
        dtype = np.dtype(float) if sample.dtype.kind in "iub" and _has_nulls(groups, name) else sample.dtype
        return Stored(where, dtype, (meta.num_rows, *sample.shape[1:]), longest, rows)

    return StoredFile(names, read)


def _has_nulls(groups: Sequence[Any], name: str) -> bool:
    """Whether the statistics of row groups say that numbers are missing."""
    columns = (group.column(place) for group in groups for place in range(group.num_columns))
    found = (each.statistics for each in columns if each.path_in_schema.partition(".")[0] == name)
    return any(each is not None and each.null_count for each in found)


def _numbers_in(column: Any, where: str) -> Array:
    """A column of Arrow as numbers: ``(n,)``, or ``(n, length)`` of lists of one length. What is missing is NaN."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        flat = column.combine_chunks()
        inner = pa.chunked_array([flat.flatten()]) if not isinstance(flat, pa.ChunkedArray) else flat.flatten()[0]
        values = _numbers_in(inner, where)
        lengths = {kind.list_size} if pa.types.is_fixed_size_list(kind) else set(_lengths(column))
        if column.null_count:
            raise DataError(where, f"expected lists of one length, and {quantity(column.null_count, 'row')} have none")
        if len(lengths) != 1:
            raise DataError(where, f"expected lists of one length, found lengths {some(map(str, sorted(lengths)))}")
        return values.reshape(len(column), lengths.pop(), *values.shape[1:])
    found = column.to_numpy()
    if found.dtype.kind not in "fiub":
        raise DataError(where, f"expected numbers, found {kind}")
    return np.ascontiguousarray(found)


def _lengths(column: Any) -> list[int]:
    import pyarrow.compute as pc

    return [0 if length is None else length for length in pc.unique(pc.list_value_length(column)).to_pylist()]


FILES: Final[Mapping[str, Callable[[Path], StoredFile]]] = {
    ".h5": _plain,
    ".hdf5": _plain,
    ".npy": _plain,
    ".npz": _plain,
    ".zarr": _zarr,
    ".parquet": _parquet,
}
"""The kinds of files by suffix, and what opens one."""
