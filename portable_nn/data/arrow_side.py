"""The questions to pyarrow about files of Parquet, Arrow and Feather, in a process of its own: see ``core.isolated``.

Whatever is read is validated in full before anything else looks at it: pyarrow follows offsets and places in
dictionaries wherever they lead.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arrays import NUMBERS
from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular, stored_bytes
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.text import quantity, some
from portable_nn.data.cells import plain_cell

Array: TypeAlias = NDArray[Any]

Source: TypeAlias = Sequence[Any]
"""A ``Seen``, as JSON says it."""

DAY: Final = "1970-01-01T00:00:00"
"""The stand-in for dates, times and durations: a network has no use for them, and refuses them where it meets them."""

KEPT: Final = 8
"""The files of Parquet whose footers are kept: one of many row groups takes a second to read."""


class Seen(NamedTuple):
    """A file as it was when it was first opened.

    Args:
        path: its absolute path.
        number, size, changed: its number on its disk, its bytes, and when it was changed.
        stored: its bytes without the holes of a sparse file.
    """

    path: str
    number: int
    size: int
    changed: int
    stored: int

    @classmethod
    def of(cls, path: str | Path, file: FileIO | BinaryIO) -> Seen:
        """That of an open file."""
        return cls(str(Path(path).absolute()), *_state(file), stored_bytes(file))


def _state(file: FileIO | BinaryIO) -> tuple[int, int, int]:
    state = os.fstat(file.fileno())
    return state.st_ino, state.st_size, state.st_mtime_ns


@contextmanager
def _opened(seen: Seen) -> Iterator[FileIO]:
    with open_regular(seen.path) as file:
        if _state(file) != (seen.number, seen.size, seen.changed):
            raise FormatError(seen.path, "was replaced or written to since it was opened")
        try:
            yield file
        except OSError as error:  # The library raises it also for what it lacks.
            raise ValueError(str(error)) from None


def prepare() -> None:
    """Import the library, whose pool of memory takes a gigabyte before it is needed, unless it is told not to."""
    os.environ["MIMALLOC_ARENA_EAGER_COMMIT"] = "0"
    import pyarrow.compute
    import pyarrow.feather
    import pyarrow.parquet  # noqa: F401


# -- Parquet by row groups


def parquet_layout(*, source: Source) -> tuple[list[str], list[Array]]:
    """The names of the columns; and how many rows each row group has."""
    seen = Seen(*source)
    _kept.pop(seen, None)
    with _parquet(seen) as file:
        meta = file.parquet.metadata
        counts = [meta.row_group(place).num_rows for place in range(meta.num_row_groups)]
        if min(counts, default=0) < 0:
            raise FormatError(seen.path, f"is damaged: a row group has {min(counts):,} rows")
        return list(file.parquet.schema_arrow.names), [np.array(counts, np.int64)]


def parquet_nulls(*, source: Source, name: str) -> tuple[bool, list[Array]]:
    """True if the statistics of row groups say that numbers of a column are missing."""
    with _parquet(Seen(*source)) as file:
        meta = file.parquet.metadata
        parts = (
            meta.row_group(place).column(part)
            for place in range(meta.num_row_groups)
            for part in file.parts.get(name, ())
        )
        found = (part.statistics for part in parts)
        return any(each is not None and bool(each.null_count) for each in found), []


def parquet_groups(*, source: Source, name: str, first: int, last: int) -> tuple[None, list[list[Array]]]:
    """The numbers of a column in some row groups: ``(n,)``, or ``(n, length)`` of lists of one length."""
    with _parquet(Seen(*source)) as file:
        return None, [[_group(file, Seen(*source), name, place) for place in range(first, last)]]


def _group(file: _Parquet, seen: Seen, name: str, place: int) -> Array:
    where, group = f"{seen.path}: {name}", file.parquet.metadata.row_group(place)
    whole = sum(group.column(part).total_uncompressed_size for part in file.parts.get(name, ()))
    # Encodings make any number of equal numbers out of a few bytes, which the sizes do not count.
    claims = [(whole, 0), (8 * group.num_rows, seen.stored)]
    if fault := next(filter(None, (excess(size, there, UNPACKED) for size, there in claims)), None):
        raise FormatError(where, f"has row groups of which one {fault}")
    column = file.parquet.read_row_group(place, columns=[name], use_threads=False)[name]
    column.validate(full=True)
    found = _numbers_in(column, where)
    if len(found) != group.num_rows:
        raise FormatError(
            where, f"is damaged: it has {quantity(len(found), 'row')} where {group.num_rows:,} were written"
        )
    return found


class _File:
    """A file for the library, open only while it is being read."""

    file: FileIO

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Parquet(NamedTuple):
    """A Parquet file as the library has it.

    Args:
        file: the file.
        parquet: what the library has of it.
        parts: the places of the parts of a column in a row group: lists and structures have several.
    """

    file: _File
    parquet: Any
    parts: Mapping[str, list[int]]


_kept: Final = dict[Seen, _Parquet]()


@contextmanager
def _parquet(seen: Seen) -> Iterator[_Parquet]:
    with _opened(seen) as file:
        found = _kept.pop(seen, None) or _first_opened(file)
        found.file.file = file
        _kept[seen] = found
        if len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
        yield found


def _first_opened(opened: FileIO) -> _Parquet:
    from pyarrow.parquet import ParquetFile

    file, parts = _File(), defaultdict[str, list[int]](list)
    file.file = opened
    found = ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
    for place in range(found.metadata.num_columns):
        words = found.metadata.schema.column(place).path.split(".")
        for count in range(1, len(words) + 1):
            parts[".".join(words[:count])].append(place)
    return _Parquet(file, found, parts)


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
            missing = quantity(column.null_count, "row")
            raise FormatError(where, f"expected lists of one length, and {missing} have none")
        if len(lengths) != 1:
            raise FormatError(where, f"expected lists of one length, found lengths {some(map(str, sorted(lengths)))}")
        return values.reshape(len(column), lengths.pop(), *values.shape[1:])
    found = column.to_numpy()
    if found.dtype.kind not in NUMBERS:
        raise FormatError(where, f"expected numbers, found {kind}")
    return np.ascontiguousarray(found)


def _lengths(column: Any) -> list[int]:
    import pyarrow.compute as pc

    return [0 if length is None else length for length in pc.unique(pc.list_value_length(column)).to_pylist()]


# -- tables


def table_cells(*, source: Source, kind: str) -> tuple[list[Any], list[Array]]:
    """The columns of a ``parquet`` or ``feather`` file: names and cells of each, and numbers (see ``arrow_cells``)."""
    import pyarrow.feather
    from pyarrow.parquet import ParquetFile

    seen = Seen(*source)
    with _opened(seen) as file:
        if kind == "parquet":
            meta = pyarrow.parquet.read_metadata(file)
            _check_size(meta.num_rows, meta.num_columns, seen)
            found = ParquetFile(
                file, metadata=meta, read_dictionary=_words(meta), pre_buffer=False, page_checksum_verification=True
            )
            table = found.read(use_threads=False)
        else:
            table = pyarrow.feather.read_table(file, use_threads=False)
    _check_size(table.num_rows, table.num_columns, seen)
    table.validate(full=True)
    columns = [arrow_cells(column) for column in table.columns]
    named = zip(table.column_names, columns, strict=True)
    return [[name, cells] for name, (cells, _) in named], [numbers for _, numbers in columns]


def _words(meta: Any) -> list[str]:
    """The columns that are read as dictionaries, if they hold text: a few bytes can be a long word in many rows."""
    names = set(meta.schema.to_arrow_schema().names)
    parts = [
        meta.row_group(place).column(part) for place in range(meta.num_row_groups) for part in range(meta.num_columns)
    ]
    found = {part.path_in_schema for part in parts if any("DICTIONARY" in each for each in part.encodings)}
    return sorted(found & names)


def _check_size(rows: int, columns: int, seen: Seen) -> None:
    if fault := excess(8 * rows * columns, seen.stored, UNPACKED):
        raise FormatError(seen.path, f"has {quantity(rows, 'row')}, whose table {fault}")


def arrow_cells(column: Any) -> tuple[list[Any] | None, Array]:
    """The numbers of a column of Arrow, NaN where they are missing; or its different cells, and the place of each row.

    The place -1 is that of a missing cell. Cells that are neither numbers nor text are words that say what they hold.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        return arrow_cells(pa.chunked_array(map(pc.run_end_decode, column.chunks), kind.value_type))
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_temporal(inner):
        return [DAY], np.zeros(len(column), np.int64)
    try:
        if pa.types.is_boolean(inner) or pa.types.is_decimal(inner) or pa.types.is_null(inner):
            return None, column.cast(inner).cast(pa.float64(), safe=False).to_numpy()
        if pa.types.is_integer(inner) or pa.types.is_floating(inner):
            return None, column.cast(inner).to_numpy().astype(np.float64)
        chunks = column.dictionary_encode().unify_dictionaries().chunks
    except pa.ArrowNotImplementedError:  # Lists, structures and the like.
        return [plain_cell(cell) for cell in column.to_pylist()], np.arange(len(column))
    cells = [plain_cell(cell) for cell in chunks[0].dictionary.to_pylist()] if chunks else []
    places = [each.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False) for each in chunks]
    return cells, np.concatenate([np.empty(0, np.int64), *places])


TASKS: Final = (parquet_layout, parquet_nulls, parquet_groups, table_cells)
"""All that may be asked."""
