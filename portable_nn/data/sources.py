"""Batches of inputs for inference, from pictures, folders of pictures, tables and arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, UsageError
from portable_nn.data.dataset import kind_of, read_dataset
from portable_nn.data.images import SUFFIXES, read_image
from portable_nn.data.tables import STDIN, iterate_csv
from portable_nn.preprocessing.steps import (
    Found,
    PictureStep,
    Preprocessing,
    Tensor,
    apply,
    apply_arithmetic,
    default_preprocessing,
    describe,
    lay_out,
    picture_shape,
    with_polarity,
)


@dataclass(frozen=True)
class Batch:
    """Some examples, ready for a network.

    ``names`` are the origins of the examples: ``photo.png``, ``table.csv:12`` (line of the file, from 1) or
    ``array.npy:0`` (index, from 0). ``x`` is ``(n, *example_shape)``; ``labels`` has n entries, or is None.
    """

    names: list[str]
    x: Tensor
    labels: list[Any] | None = None


def iterate(
    inputs: Sequence[str | Path],
    preprocessing: Preprocessing,
    example_shape: tuple[int, ...],
    *,
    batch_size: int = 256,
    polarity: Found | None = None,
    raw: bool = False,
    notes: list[str] | None = None,
) -> Iterator[Batch]:
    """Read ``inputs`` in their order as batches of at most ``batch_size`` examples of ``example_shape``.

    Args:
        inputs: each a picture, a folder (the pictures directly in it, sorted by name), a CSV, npy, npz, IDX or HDF5
            file, or ``"-"`` for CSV on standard input.
        preprocessing: the steps of the model. Pictures get all of them, arrays and tables the arithmetic ones. Where
            there are none, pictures get ``default_preprocessing``.
        example_shape: the shape of one example, without the batch axis.
        batch_size: the most examples in a batch.
        polarity: the colour of the ink in the pictures, in place of the one in ``preprocessing``.
        raw: pass arrays and tables to the network without any preprocessing.
        notes: a list to which assumptions about the pictures are appended, in words.

    Raises:
        UsageError: invalid arguments, before the first batch.
        DataError: a missing file or an empty folder, before the first batch; a damaged file, when it is read.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}")
    paths = [path for given in inputs for path in _expand(given)]
    if not paths:
        raise UsageError("no input: give pictures, folders, CSV, npy, npz, IDX or HDF5 files, or - for CSV on stdin")
    pictures = [path for path in paths if kind_of(path) == "picture"]
    if raw and pictures:
        raise UsageError(f"raw is for arrays, and {pictures[0]} is taken to be a picture")
    steps = _picture_steps(preprocessing, example_shape, notes) if pictures else preprocessing
    if polarity is not None:
        steps = with_polarity(steps, polarity)
    return _Plan(steps, () if raw else preprocessing, example_shape, batch_size, notes).batches(paths)


def pictures_in(folder: str | Path) -> list[Path]:
    """The pictures directly in ``folder``, sorted by name, without hidden files (such as macOS puts into archives).

    Raises:
        DataError: the folder has no pictures or cannot be read.
    """
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise DataError(folder, f"the folder cannot be read: {error.strerror}") from error
    named = [path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    found = [path for path in named if path.is_file()]
    if not found:
        raise DataError(folder, f"the folder has no images (files named {' '.join(sorted(SUFFIXES))})")
    return found


@dataclass(frozen=True)
class _Plan:
    """The preprocessing and the batches that ``iterate`` makes of files."""

    for_pictures: Preprocessing
    for_arrays: Preprocessing
    example_shape: tuple[int, ...]
    batch_size: int
    notes: list[str] | None

    def batches(self, paths: list[Path]) -> Iterator[Batch]:
        for are_pictures, group in groupby(paths, key=lambda path: kind_of(path) == "picture"):
            if are_pictures:
                yield from self.pictures(group)
                continue
            for path in group:
                yield from self.table(path) if kind_of(path) == "csv" else self.array(path)

    def pictures(self, paths: Iterator[Path]) -> Iterator[Batch]:
        while chunk := list(islice(paths, self.batch_size)):
            yield Batch([str(path) for path in chunk], np.concatenate([self.picture(path) for path in chunk]))

    def picture(self, path: Path) -> Tensor:
        example = apply(self.for_pictures, read_image(path), name=str(path), notes=self.notes)
        return self.shaped(example[np.newaxis], path)

    def table(self, path: Path) -> Iterator[Batch]:
        file = "stdin" if str(path) == STDIN else path
        for rows in iterate_csv(path, math.prod(self.example_shape), self.batch_size):
            yield self.batch(file, rows.numbers, rows.values, rows.labels)

    def array(self, path: Path) -> Iterator[Batch]:
        dataset = read_dataset(path)
        # An array may be a single example without a batch axis.
        alone = dataset.x.shape in (self.example_shape, picture_shape(self.for_arrays))
        x = dataset.x[np.newaxis] if alone else dataset.x
        y = None if alone else dataset.y
        for start in range(0, len(x), self.batch_size):
            part = slice(start, min(start + self.batch_size, len(x)))
            yield self.batch(path, range(part.start, part.stop), x[part], None if y is None else y[part])

    def batch(
        self, file: str | Path, places: Sequence[int], values: NDArray[Any], labels: NDArray[Any] | None
    ) -> Batch:
        names = [f"{file}:{place}" for place in places]
        values = _finite(values, names)
        if any(isinstance(step, PictureStep) for step in self.for_arrays):
            _check_pixels(values, names)
        x = self.shaped(apply_arithmetic(self.for_arrays, values, name=str(file)), file)
        return Batch(names, x, None if labels is None else labels.tolist())

    def shaped(self, examples: Tensor, file: str | Path) -> Tensor:
        try:
            return lay_out(examples, self.example_shape)
        except ValueError as error:
            raise DataError(file, f"{error}; the model determines what is expected") from None


def _picture_steps(
    preprocessing: Preprocessing, example_shape: tuple[int, ...], notes: list[str] | None
) -> Preprocessing:
    """The steps for pictures: the model's own, or the default ones, which are then added to ``notes``."""
    if any(isinstance(step, PictureStep) for step in preprocessing):
        return preprocessing
    if preprocessing:
        raise UsageError("the preprocessing of this model has no step that makes an array of a picture; give it arrays")
    assumed = default_preprocessing(example_shape)
    if notes is not None:
        notes.append("the model does not say how to prepare pictures; assumed: " + "; ".join(describe(assumed)))
    return assumed


def _expand(given: str | Path) -> list[Path]:
    """The files of one input: itself, or the pictures in a folder."""
    path = Path(given)
    if path.is_dir():
        return pictures_in(path)
    if str(given) != STDIN and not path.exists():
        raise DataError(path, "expected a file or folder, found neither")
    return [path]


def _finite(values: NDArray[Any], names: list[str]) -> Tensor:
    """``values`` as float32. Raises ``DataError`` for NaN, infinity and what float32 cannot hold."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, np.float32)
    _check_each(np.isfinite(numbers), names, "expected finite float32 numbers, found NaN or infinity")
    return numbers


def _check_pixels(pixels: Tensor, names: list[str]) -> None:
    """Raise ``DataError`` for values not in 0..255 or scaled already: predictions would be silently wrong."""
    otherwise = "if the values are what the network takes already, skip its preprocessing: raw (--raw)"
    _check_each((pixels >= 0) & (pixels <= 255), names, f"expected pixels from 0 to 255; {otherwise}")
    if pixels.max() <= 1 and (pixels != np.round(pixels)).any():
        raise DataError(names[0], f"expected pixels from 0 to 255, found none above {pixels.max():g}; {otherwise}")


def _check_each(good: NDArray[np.bool_], names: list[str], reason: str) -> None:
    """Raise ``DataError`` with ``reason`` for the first example that is not good in every value."""
    examples = good.reshape(len(names), -1).all(axis=1)
    if not examples.all():
        raise DataError(names[int(examples.argmin())], reason)
