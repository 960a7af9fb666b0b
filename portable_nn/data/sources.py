"""Batches of inputs for inference, from pictures, folders of pictures, tables and arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arguments import check_argument
from portable_nn.core.errors import DataError, DataWarning, UsageError, warn
from portable_nn.core.names import BATCH_SIZE
from portable_nn.core.numbers import Count
from portable_nn.core.text import quantity
from portable_nn.data.ahead import ahead
from portable_nn.data.batches import Bad, Batch, Place, Taken, bad
from portable_nn.data.columns import MANY, far_fault
from portable_nn.data.dataset import kind_of, read_dataset
from portable_nn.data.expanding import expanded, is_picture, name_of
from portable_nn.data.frames import Dialect, tables
from portable_nn.data.given import Examples, Named, Source, named_sources, sources
from portable_nn.data.json_rows import is_json
from portable_nn.data.picture_batches import Pictures, picture_steps
from portable_nn.data.rows import row_batches
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.data.tables import STDIN, iterate_csv
from portable_nn.preprocessing.applying import apply_arithmetic, picture_shape
from portable_nn.preprocessing.steps import (
    Found,
    PictureStep,
    Preprocessing,
    Tensor,
    arithmetic,
    describe,
    with_polarity,
)


@dataclass(frozen=True)
class Arrays:
    """Arrays as batches of at most ``batch_size`` examples, by the arithmetic ones of ``steps``.

    With ``strict``, an example that cannot be used is an error. ``dialect`` is that of tables. ``place``, where
    there is one input alone, is how many of its examples are skipped, and gets their number.
    """

    taken: Taken
    steps: Preprocessing
    batch_size: int
    strict: bool
    dialect: Dialect
    place: Place | None

    def batches(self, source: Source) -> Iterator[Batch | Bad]:
        """The batches of a file that is no picture, or of an array."""
        try:
            if isinstance(source, Path):
                is_table = kind_of(source) == "csv" and not is_json(source)
                yield from self._table(source) if is_table else self._file(source)
            elif isinstance(source, Examples):
                yield from self._array(source.name, source.x, source.y, source.place, source.first)
        except DataError as error:
            yield bad(error, self.strict)

    def _table(self, path: Path) -> Iterator[Batch | Bad]:
        file = "stdin" if str(path) == STDIN else path
        if not self.taken.shape:
            raise DataError(
                file, "the model takes examples of any size, which rows of a table do not have: give pictures"
            )
        width = math.prod(self.taken.shape)
        header, encoding = self.dialect.header, self.dialect.encoding
        for rows in iterate_csv(
            path, width, self.batch_size, header=header, encoding=encoding, strict=self.strict, words=True
        ):
            if isinstance(rows, DataError):
                yield bad(rows, self.strict)
            elif rows.labels is not None and not self.taken.labelled:
                width = rows.values.shape[1]
                found = f"{width + 1} cells: the model gives values rather than classes, so that no column is a label"
                raise DataError(file, f"row {rows.numbers[0]}: expected {quantity(width, 'value')}, found {found}")
            else:
                yield from self._parts(file, [f"{file}:{place}" for place in rows.numbers], rows.values, rows.labels)

    def _file(self, path: Path) -> Iterator[Batch | Bad]:
        name, place = ("stdin" if str(path) == STDIN else path), "[{}]" if is_json(path) else ":{}"
        dataset = read_dataset(path)
        x = rows_of(dataset.x, str(path)) if isinstance(dataset.x, np.memmap) else dataset.x
        return self._array(name, x, dataset.y, place)

    def _array(
        self, where: str | Path, x: NDArray[Any] | Stored, y: NDArray[Any] | Stored | None, place: str, first: int = 0
    ) -> Iterator[Batch | Bad]:
        # An array may be a single example without a batch axis.
        if x.shape in (self.taken.shape, picture_shape(self.steps)):
            x, y = x[:][np.newaxis], None
        begin = 0
        if self.place:
            self.place.total = len(x)
            begin = _begin(x, y, max(0, self.place.skip - self.place.before))
            self.place.skip -= begin
        for start, values, labels in _read(x, y, begin):
            for begin, end in pieces(len(values), self.batch_size):
                names = [f"{where}{place.format(first + start + number)}" for number in range(begin, end)]
                yield from self._parts(where, names, values[begin:end], None if labels is None else labels[begin:end])

    def _parts(
        self, file: str | Path, names: list[str], values: NDArray[Any], labels: NDArray[Any] | None
    ) -> Iterator[Batch | Bad]:
        """The examples as a batch; where some are bad, as parts that are good, and each bad one by itself."""
        try:
            found: Batch | Bad = self._batch(file, names, values, labels)
        except DataError as error:
            if error.path == str(file):  # It is about all of them.
                raise
            found = bad(error, self.strict)
            if len(names) > 1:
                half = len(names) // 2
                for part in (slice(half), slice(half, None)):
                    yield from self._parts(file, names[part], values[part], None if labels is None else labels[part])
                return
        yield found

    def _batch(self, file: str | Path, names: list[str], values: NDArray[Any], labels: NDArray[Any] | None) -> Batch:
        values = _finite(values, names, self.taken.precision)
        if any(isinstance(step, PictureStep) for step in self.steps):
            _check_pixels(values, names, scaled=bool(arithmetic(self.steps)))
        x = apply_arithmetic(self.steps, values, name=str(file), dtype=self.taken.precision)
        known = None if labels is None else [label if label == label else None for label in labels.tolist()]
        return Batch(names, self.taken.laid_out(x, file), known)


def _begin(x: NDArray[Any] | Stored, y: NDArray[Any] | Stored | None, skip: int) -> int:
    """The beginning of the piece that the example ``skip`` is in; 0 where they are not stored."""
    stored = [each for each in (x, y) if isinstance(each, Stored)]
    return skip // piece_of(stored) * piece_of(stored) if stored else 0


def _read(
    x: NDArray[Any] | Stored, y: NDArray[Any] | Stored | None, begin: int
) -> Iterator[tuple[int, NDArray[Any], NDArray[Any] | None]]:
    """Examples and labels, some at a time where they are stored, from a piece on; with the place of the first."""
    stored = [each for each in (x, y) if isinstance(each, Stored)]
    if not stored:
        yield 0, x[:], None if y is None else y[:]
        return
    places = ((start + begin, stop + begin) for start, stop in pieces(len(x) - begin, piece_of(stored)))
    read = ((start, x[start:stop], None if y is None else y[start:stop]) for start, stop in places)
    with closing(ahead(read)) as found:
        yield from found


def _finite(values: NDArray[Any], names: list[str], dtype: str) -> Tensor:
    """``values`` as ``dtype``. Raises ``DataError`` for NaN, infinity and what that cannot hold."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, dtype)
    if not (finite := np.isfinite(numbers)).all():
        row = int(np.unravel_index(finite.argmin(), finite.shape)[0])
        gaps = np.isnan(numbers[row])
        lost, what = (gaps, "missing (NaN)") if gaps.any() else (~finite[row], "infinite")
        found = f"{lost.sum():,} of {lost.size:,} {what}, the first at {np.argwhere(lost)[0].tolist()}"
        raise DataError(names[row], f"expected finite {dtype} numbers, found {found}")
    return numbers


def _check_pixels(pixels: Tensor, names: list[str], *, scaled: bool) -> None:
    """Raise ``DataError`` for values not in 0..255 or scaled already: predictions would be silently wrong.

    ``scaled`` says whether steps of preprocessing scale them before they go into the network.
    """
    otherwise = (
        "if the values are preprocessed already, pass them on unchanged: raw (--raw)"
        if scaled
        else "the network itself scales them"
    )
    _check_each((pixels >= 0) & (pixels <= 255), names, f"expected pixels from 0 to 255; {otherwise}")
    if pixels.max() <= 1 and (pixels != np.round(pixels)).any():
        raise DataError(
            names[0],
            f"expected pixels from 0 to 255, found none above {pixels.max():g}; {otherwise}; "
            "if they are pixels divided by 255, multiply them by 255",
        )


def _check_each(good: NDArray[np.bool_], names: list[str], reason: str) -> None:
    """Raise ``DataError`` with ``reason`` for the first example that is not good in every value."""
    examples = good.reshape(len(names), -1).all(axis=1)
    if not examples.all():
        raise DataError(names[int(examples.argmin())], reason)


def iterate(
    inputs: Any,
    taken: Taken,
    *,
    batch_size: int = BATCH_SIZE,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = True,
    notes: list[str] | None = None,
    assumed: list[str] | None = None,
    dialect: Dialect | None = None,
    named: Named | None = None,
    place: Place | None = None,
) -> Iterator[Batch | Bad]:
    """Read ``inputs`` in their order as batches of at most ``batch_size`` examples.

    Args:
        inputs: a path or several: of a picture, a folder (the pictures directly in it, sorted by name), a CSV, JSON,
            npy, npz, IDX or HDF5 file, or ``"-"`` for CSV or JSON on standard input; or what is in memory (see
            ``given.sources``).
        taken: what the model takes. Pictures get all of its steps, arrays and tables the arithmetic ones. Where there
            are none, pictures get ``default_preprocessing``.
        batch_size: the most examples in a batch.
        polarity: the colour of the ink in the pictures, in place of the one in the steps.
        raw: pass arrays and tables to the network without any preprocessing, and unchecked.
        strict: raise at the first input that cannot be used. Otherwise a ``Bad`` takes its place, and the others
            follow: one for each picture, row or example, or for the rest of a file that cannot be read on.
        notes: a list to which is appended, in words, how the model says that these inputs are prepared, and what is
            found in the pictures.
        assumed: a list to which the preparation of pictures is appended, in words, where the model does not say it; and
            the columns of tables that are not used.
        dialect: how CSV files are written; where the columns of the model have no names, ``header`` alone counts.
        named: the names of the arrays that are read, in files of which each has several.
        place: gets the total; its ``skip`` is read when the first batch is asked for, and is then what is left of it.

    Raises:
        UsageError: invalid arguments, before the first batch.
        DataError: with ``strict``: a missing file or an empty folder, before the first batch; a damaged file, when it
            is read.
    """
    check_argument("batch_size", batch_size, Count)
    dialect, place = dialect or Dialect(), place or Place()
    if named is None and taken.columns and not raw and (given := tables(inputs)) is not None:
        return _watched(row_batches(given, taken, batch_size, strict, assumed, dialect), taken)
    found = _found(inputs, named, strict)
    if notes is not None:
        notes += _unread(found)
    pictures = [each for each in found if is_picture(each)]
    if raw and pictures:
        raise UsageError(f"raw is for arrays, and {name_of(pictures[0])} is taken to be a picture")
    steps = picture_steps(taken, assumed) if pictures else taken.steps
    steps = steps if polarity is None else with_polarity(steps, polarity)
    if notes is not None and taken.steps and not raw:
        others = [each for each in found if not (isinstance(each, Bad) or is_picture(each))]
        notes += _preparation("pictures", steps, pictures) + _preparation("arrays", arithmetic(steps), others)
    if len(pictures) == len(found):
        place.total = len(found)
    alone = place if len(found) == 1 else None
    arrays = Arrays(taken, () if raw else taken.steps, batch_size, strict, dialect, alone)
    return _watched(_batches(found, Pictures(taken, steps, batch_size, strict, notes), arrays), taken)


def _watched(found: Iterator[Batch | Bad], taken: Taken) -> Iterator[Batch | Bad]:
    """The same; warns once of columns that are far from those of training. Batches may be of one row each."""
    rows, warned = np.empty((0, len(taken.columns))), not taken.columns
    for each in found:
        if isinstance(each, Batch) and not warned:
            rows = np.concatenate([rows[-MANY:], each.x])
            if fault := far_fault(rows, taken.columns):
                warned = True
                warn(f"{each.names[-1].rstrip('0123456789]').rstrip(':[')}: {fault}", DataWarning)
        yield each


def _found(inputs: Any, named: Named | None, strict: bool) -> list[Source | Bad]:
    """The inputs one by one. Raises ``UsageError`` where there are none."""
    given = sources(inputs) if named is None else list(_by_name(inputs, named, strict))
    found = [each for source in given for each in expanded(source, strict)]
    if not found:
        raise UsageError(
            "no input: give pictures, folders, CSV, JSON, npy, npz, IDX, HDF5, zarr or Parquet files, or - for CSV or "
            "JSON on stdin"
        )
    return found


def _batches(found: list[Source | Bad], pictures: Pictures, arrays: Arrays) -> Iterator[Batch | Bad]:
    """The batches of inputs in their order; pictures that follow one another share batches."""
    for are_pictures, group in groupby(found, key=is_picture):
        if are_pictures:
            yield from pictures.batches(group)
            continue
        for source in group:
            yield from [source] if isinstance(source, Bad) else arrays.batches(source)


def _preparation(what: str, steps: Preprocessing, inputs: Sequence[object]) -> list[str]:
    """Steps for inputs in words, one a line, below a heading; nothing where there are none."""
    numbered = [f"  {place}. {step}" for place, step in enumerate(describe(steps) if inputs else (), start=1)]
    return [f"the model says how to prepare {what}:", *numbered] if numbered else []


def _unread(found: Sequence[Source | Bad]) -> list[str]:
    """Notes on what is left unread in the files of stored arrays."""
    arrays = [x for each in found if isinstance(each, Examples) for x in (each.x, each.y)]
    return [note for x in arrays if isinstance(x, Stored) for note in x.notes]


def _by_name(inputs: Any, named: Named, strict: bool) -> Iterator[Source | Bad]:
    """Named arrays of files. Raises ``DataError`` with ``strict``, and where the fault is that of the only file."""
    paths = inputs if isinstance(inputs, list | tuple) else [inputs]
    for path in paths:
        try:
            yield from named_sources(path, named)
        except DataError as error:
            if strict or len(paths) == 1:
                raise
            yield Bad(str(path), str(error).removeprefix(f"{path}: "))
