"""Batches of arrays, in memory or in files, and of tables of numbers, which become arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.core.text import quantity
from portable_nn.data.ahead import ahead
from portable_nn.data.batches import Bad, Batch, Place, Taken, bad
from portable_nn.data.dataset import kind_of, read_dataset
from portable_nn.data.frames import Dialect
from portable_nn.data.given import Examples, Source
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.data.tables import STDIN, iterate_csv
from portable_nn.preprocessing.applying import apply_arithmetic, picture_shape
from portable_nn.preprocessing.steps import PictureStep, Preprocessing, Tensor, arithmetic


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
                yield from self._table(source) if kind_of(source) == "csv" else self._file(source)
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
        dataset = read_dataset(path)
        x = rows_of(dataset.x, str(path)) if isinstance(dataset.x, np.memmap) else dataset.x
        return self._array(path, x, dataset.y, ":{}")

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
        return Batch(names, self.taken.laid_out(x, file), None if labels is None else labels.tolist())


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
    _check_each(np.isfinite(numbers), names, f"expected finite {dtype} numbers, found NaN or infinity")
    return numbers


def _check_pixels(pixels: Tensor, names: list[str], *, scaled: bool) -> None:
    """Raise ``DataError`` for values not in 0..255 or scaled already: predictions would be silently wrong.

    ``scaled`` says whether steps of preprocessing scale them before they go into the network.
    """
    otherwise = (
        "if the values are what the network takes already, skip its preprocessing: raw (--raw)"
        if scaled
        else "the network itself scales them; raw (--raw) takes any numbers"
    )
    _check_each((pixels >= 0) & (pixels <= 255), names, f"expected pixels from 0 to 255; {otherwise}")
    if pixels.max() <= 1 and (pixels != np.round(pixels)).any():
        raise DataError(names[0], f"expected pixels from 0 to 255, found none above {pixels.max():g}; {otherwise}")


def _check_each(good: NDArray[np.bool_], names: list[str], reason: str) -> None:
    """Raise ``DataError`` with ``reason`` for the first example that is not good in every value."""
    examples = good.reshape(len(names), -1).all(axis=1)
    if not examples.all():
        raise DataError(names[int(examples.argmin())], reason)
