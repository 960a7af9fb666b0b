"""Batches of inputs for inference, from pictures, folders of pictures, tables and arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.catalog import CALLED
from portable_nn.core.errors import DataError, DataWarning, UsageError, warn
from portable_nn.core.text import quantity
from portable_nn.data.ahead import ahead
from portable_nn.data.dataset import kind_of, read_dataset
from portable_nn.data.frames import Dialect, read_frame, tables
from portable_nn.data.given import Examples, Labelled, Named, Picture, Source, named_sources, sources
from portable_nn.data.images import SUFFIXES, read_image
from portable_nn.data.rows import TableRows, extra_note
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.data.tables import STDIN, iterate_csv
from portable_nn.format.meaning import Column
from portable_nn.preprocessing.defaults import default_preprocessing
from portable_nn.preprocessing.sheets import Box
from portable_nn.preprocessing.steps import (
    Found,
    PictureStep,
    Preprocessing,
    Tensor,
    apply_arithmetic,
    arithmetic,
    describe,
    lay_out,
    parts,
    picture_shape,
    with_polarity,
)


@dataclass(frozen=True)
class Batch:
    """Some examples, ready for a network.

    ``names`` are the origins of the examples: ``photo.png``, ``table.csv:12`` (line of the file, from 1) or
    ``array.npy:0`` (index, from 0). ``x`` is ``(n, *example_shape)``; ``labels`` has n entries, or is None; so has
    ``boxes``: left, top, right and bottom of each example in its picture, where it is not the whole.
    """

    names: list[str]
    x: Tensor
    labels: list[Any] | None = None
    boxes: list[Box | None] | None = None


@dataclass(frozen=True)
class Bad:
    """An input that cannot be used: its name, as in a batch or that of a whole file, and the reason."""

    name: str
    reason: str


@dataclass
class Place:
    """Where those are who go through examples.

    Args:
        skip: how many examples, from the first, are not wanted; of stored ones, most of these are not even read.
        total: how many there are, where that is known.
        before: how many before the first that is wanted are needed all the same.
    """

    skip: int = 0
    total: int | None = None
    before: int = 0


@dataclass(frozen=True)
class Taken:
    """What a model takes.

    Args:
        shape: the shape of one example, without the batch axis; empty where pictures of any size make examples.
        steps: the steps of its preprocessing.
        kind: the kind of its input, as in a manifest.
        largest: the largest number that it says it is made for, if it does.
        columns: the columns of its tables, if they have names.
        targets: the names of the columns that it predicts; empty where they have none.
        numbers: whether these are numbers, and not classes.
        labelled: whether a row of a table may have a label.
        dtype: the type of the input.
    """

    shape: tuple[int, ...]
    steps: Preprocessing = ()
    kind: str = "tensor"
    largest: float | None = None
    columns: tuple[Column, ...] = ()
    targets: tuple[str, ...] = ()
    numbers: bool = False
    labelled: bool = True
    dtype: str = "float32"


def iterate(
    inputs: Any,
    taken: Taken,
    *,
    batch_size: int = 256,
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
        inputs: a path or several: of a picture, a folder (the pictures directly in it, sorted by name), a CSV, npy,
            npz, IDX or HDF5 file, or ``"-"`` for CSV on standard input; or what is in memory (see ``given.sources``).
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
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}")
    if named is None and taken.columns and not raw and (given := tables(inputs)) is not None:
        return _rows(given, taken, batch_size, strict, assumed, dialect or Dialect())
    taken_from = sources(inputs) if named is None else list(_by_name(inputs, named, strict))
    found = [each for source in taken_from for each in expanded(source, strict)]
    if not found:
        raise UsageError(
            "no input: give pictures, folders, CSV, npy, npz, IDX, HDF5, zarr or Parquet files, or - for CSV on stdin"
        )
    pictures = [each for each in found if _is_picture(each)]
    if raw and pictures:
        raise UsageError(f"raw is for arrays, and {_name(pictures[0])} is taken to be a picture")
    steps = _picture_steps(taken, assumed) if pictures else taken.steps
    if polarity is not None:
        steps = with_polarity(steps, polarity)
    if notes is not None and taken.steps and not raw:
        others = any(not _is_picture(each) and not isinstance(each, Bad) for each in found)
        for what, each in (("pictures", steps if pictures else ()), ("arrays", arithmetic(steps) if others else ())):
            numbered = [f"  {place}. {step}" for place, step in enumerate(describe(each), start=1)]
            notes += [f"the model says how to prepare {what}:", *numbered] if numbered else []
    arithmetical = () if raw else taken.steps
    place = place or Place()
    if len(pictures) == len(found):
        place.total = len(found)
    header = dialect.header if dialect else None
    plan = _Plan(
        steps, arithmetical, taken.shape, batch_size, strict, notes, taken.labelled, place, len(found) == 1, header
    )
    return plan.batches(found)


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


def _rows(
    given: list[Any], taken: Taken, size: int, strict: bool, assumed: list[str] | None, dialect: Dialect
) -> Iterator[Batch | Bad]:
    """The rows of tables, whose columns are found by their names."""
    found: list[TableRows | Bad] = []
    for source in given:
        try:
            frame = read_frame(source, **vars(dialect))
            found.append(TableRows.of(frame, taken.columns, taken.targets, numbers=taken.numbers))
        except DataError as error:
            if strict:
                raise
            found.append(Bad(error.path, error.reason))
    if assumed is not None:
        frames = [rows.frame for rows in found if isinstance(rows, TableRows)]
        assumed += extra_note(frames, taken.columns, taken.targets)
    return _row_batches(found, size, strict)


def _row_batches(found: Sequence[TableRows | Bad], size: int, strict: bool) -> Iterator[Batch | Bad]:
    for rows in found:
        if isinstance(rows, Bad):
            yield rows
            continue
        for part in rows.parts(size):
            if isinstance(part, slice):
                names = [rows.frame.row(place) for place in range(part.start, part.stop)]
                yield Batch(names, rows.x[part], rows.labels and rows.labels[part])
            elif strict:
                raise DataError(rows.frame.row(part), rows.faults[part])
            else:
                yield Bad(rows.frame.row(part), rows.faults[part])


def _in_folder(folder: Path) -> Sequence[Path | Labelled]:
    """The pictures in a folder; where there are none, those in the folders in it, each of which is a class.

    Raises ``DataError`` where there are none at all, or a folder cannot be read.
    """
    found, folders = _listed(folder)
    if not found:
        labelled = [Labelled(path, each.name) for each in folders for path in _listed(each)[0]]
        if not labelled:
            raise DataError(folder, f"the folder has no images (files named {' '.join(sorted(SUFFIXES))})")
        return labelled
    if inner := next((each for each in folders if _listed(each)[0]), None):
        text = f"{folder}: pictures in folders in it, such as {inner}, are not read: give these folders as well"
        warn(text, DataWarning)
    return found


def _samples(name: str) -> Iterator[Path]:
    """The samples of a shipped model, by the shorter one of their paths."""
    for path in sorted(CALLED[name].samples.iterdir()):
        with suppress(ValueError):  # On another drive.
            path = min(path, Path(os.path.relpath(path)), key=lambda each: len(str(each)))
        yield path


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures directly in a folder, and the folders in it, sorted by name, without hidden ones, as macOS puts into
    archives. There may be millions: each is looked at once, as the folder lists it."""
    pictures, folders, endings = list[str](), list[str](), tuple(SUFFIXES)
    try:
        with os.scandir(folder) as entries:
            for each in entries:
                if each.name.startswith("."):
                    continue
                if _is_folder(each):
                    folders.append(each.name)
                elif each.name.lower().endswith(endings):
                    pictures.append(each.name)
    except OSError as error:
        raise DataError(folder, f"the folder cannot be read: {error.strerror}") from error
    return _in_order(folder, pictures), _in_order(folder, folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads nowhere is taken for a picture, which cannot be read.
        return False


def _in_order(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in sorted(names, key=os.path.normcase)]


@dataclass(frozen=True)
class _Plan:
    """The preprocessing and the batches that ``iterate`` makes of files."""

    for_pictures: Preprocessing
    for_arrays: Preprocessing
    example_shape: tuple[int, ...]
    batch_size: int
    strict: bool
    notes: list[str] | None
    labelled: bool
    place: Place
    is_alone: bool
    header: bool | None

    def batches(self, found: list[Source | Bad]) -> Iterator[Batch | Bad]:
        for are_pictures, group in groupby(found, key=_is_picture):
            if are_pictures:
                yield from self.pictures(group)
                continue
            for source in group:
                yield from [source] if isinstance(source, Bad) else self.examples(source)

    def pictures(self, group: Iterable[Any]) -> Iterator[Batch | Bad]:
        ready: list[Batch] = []
        for source in group:
            found = self.picture(source)
            if isinstance(found, Batch):
                if ready and ready[0].x.shape != found.x.shape:  # The model takes any size.
                    yield from _joined(ready)
                    ready.clear()
                ready.append(found)
            if isinstance(found, Bad) or sum(len(each.names) for each in ready) >= self.batch_size:
                yield from _joined(ready)
                ready.clear()
            if isinstance(found, Bad):
                yield found
        yield from _joined(ready)

    def picture(self, source: Source) -> Batch | Bad:
        """A picture as a batch of its own, with an example for each of its drawings."""
        name = _name(source)
        try:
            pixels = source.pixels if isinstance(source, Picture) else read_image(Path(name))
            found = parts(self.for_pictures, pixels, name=name, notes=self.notes)
            names = [name] if len(found) == 1 else [f"{name}#{number}" for number in range(1, len(found) + 1)]
            labels = [source.label] * len(found) if isinstance(source, Labelled) else None
            x = self.shaped(np.stack([part.x for part in found]), name)
            return Batch(names, x, labels, [part.box for part in found])
        except DataError as error:
            return self.bad(error)

    def bad(self, error: DataError) -> Bad:
        """What takes the place of an input. Raises ``error`` with ``strict``."""
        if self.strict:
            raise error
        return Bad(error.path, error.reason)

    def examples(self, source: Source) -> Iterator[Batch | Bad]:
        """The batches of a file that is no picture, or of an array."""
        try:
            if isinstance(source, Path):
                yield from self.table(source) if kind_of(source) == "csv" else self.file(source)
            elif isinstance(source, Examples):
                yield from self.array(source.name, source.x, source.y, source.place, source.first)
        except DataError as error:
            yield self.bad(error)

    def table(self, path: Path) -> Iterator[Batch | Bad]:
        file = "stdin" if str(path) == STDIN else path
        if not self.example_shape:
            raise DataError(
                file, "the model takes examples of any size, which rows of a table do not have: give pictures"
            )
        width = math.prod(self.example_shape)
        for rows in iterate_csv(path, width, self.batch_size, header=self.header, strict=self.strict, words=True):
            if isinstance(rows, DataError):
                yield self.bad(rows)
            elif rows.labels is not None and not self.labelled:
                width = rows.values.shape[1]
                found = f"{width + 1} cells: the model gives values rather than classes, so that no column is a label"
                raise DataError(file, f"row {rows.numbers[0]}: expected {quantity(width, 'value')}, found {found}")
            else:
                yield from self.parts(file, [f"{file}:{place}" for place in rows.numbers], rows.values, rows.labels)

    def file(self, path: Path) -> Iterator[Batch | Bad]:
        dataset = read_dataset(path)
        x = rows_of(dataset.x, str(path)) if isinstance(dataset.x, np.memmap) else dataset.x
        return self.array(path, x, dataset.y, ":{}")

    def array(
        self, where: str | Path, x: NDArray[Any] | Stored, y: NDArray[Any] | Stored | None, place: str, first: int = 0
    ) -> Iterator[Batch | Bad]:
        # An array may be a single example without a batch axis.
        if x.shape in (self.example_shape, picture_shape(self.for_arrays)):
            x, y = x[:][np.newaxis], None
        begin = 0
        if self.is_alone:
            self.place.total = len(x)
            begin = _begin(x, y, max(0, self.place.skip - self.place.before))
            self.place.skip -= begin
        for start, values, labels in _read(x, y, begin):
            for begin, end in pieces(len(values), self.batch_size):
                names = [f"{where}{place.format(first + start + number)}" for number in range(begin, end)]
                yield from self.parts(where, names, values[begin:end], None if labels is None else labels[begin:end])

    def parts(
        self, file: str | Path, names: list[str], values: NDArray[Any], labels: NDArray[Any] | None
    ) -> Iterator[Batch | Bad]:
        """The examples as a batch; where some are bad, as parts that are good, and each bad one by itself."""
        try:
            found: Batch | Bad = self.batch(file, names, values, labels)
        except DataError as error:
            if error.path == str(file):  # It is about all of them.
                raise
            found = self.bad(error)
            if len(names) > 1:
                half = len(names) // 2
                for part in (slice(half), slice(half, None)):
                    yield from self.parts(file, names[part], values[part], None if labels is None else labels[part])
                return
        yield found

    def batch(self, file: str | Path, names: list[str], values: NDArray[Any], labels: NDArray[Any] | None) -> Batch:
        values = _finite(values, names)
        if any(isinstance(step, PictureStep) for step in self.for_arrays):
            _check_pixels(values, names, scaled=bool(arithmetic(self.for_arrays)))
        x = self.shaped(apply_arithmetic(self.for_arrays, values, name=str(file)), file)
        return Batch(names, x, None if labels is None else labels.tolist())

    def shaped(self, examples: Tensor, file: str | Path) -> Tensor:
        if not self.example_shape:
            return examples
        try:
            return lay_out(examples, self.example_shape)
        except ValueError as error:
            raise DataError(file, f"{error}; the model determines what is expected") from None


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


def _joined(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Batches as one, if there are any."""
    if batches:
        labels = [label for each in batches for label in each.labels or [None] * len(each.names)]
        names = [name for each in batches for name in each.names]
        boxes = [box for each in batches for box in each.boxes or [None] * len(each.names)]
        x = np.concatenate([each.x for each in batches])
        yield Batch(names, x, labels if any(labels) else None, boxes if any(boxes) else None)


def _picture_steps(taken: Taken, assumed: list[str] | None) -> Preprocessing:
    """The steps for pictures: the model's own, or the default ones, which are then added to ``assumed``."""
    if any(isinstance(step, PictureStep) for step in taken.steps):
        return taken.steps
    if taken.steps or taken.kind == "table":
        raise UsageError("the preprocessing of this model has no step that makes an array of a picture; give it arrays")
    steps = default_preprocessing(taken.shape, 255 if taken.dtype == "uint8" else taken.largest)
    if assumed is not None:
        assumed.append("the model does not say how to prepare pictures; assumed: " + "; ".join(describe(steps)))
    return steps


def _is_picture(source: Source | Bad) -> bool:
    if isinstance(source, Picture | Labelled):
        return True
    return isinstance(source, Path) and kind_of(source) == "picture"


def _name(source: Source | Bad) -> str:
    return str(source) if isinstance(source, Path) else source.name


def expanded(source: Source | Bad, strict: bool) -> list[Source | Bad]:
    """The files of one input: itself, or the pictures in a folder or, labelled by their names, in its folders; those of
    the samples of a shipped model, which its name stands for where there is no such file.

    Raises ``DataError`` with ``strict``, where there is no such file; otherwise a ``Bad`` takes its place.
    """
    if not isinstance(source, Path):
        return [source]
    try:
        if str(source) in CALLED and not source.exists():
            return list(_samples(str(source)))
        if source.is_dir() and kind_of(source) == "picture":
            return list(_in_folder(source))
        if str(source) != STDIN and not source.exists():
            hint = "; the name of a shipped model, such as digits, stands for its samples"
            raise DataError(source, "expected a file or folder, found neither" + hint * ("samples" in source.parts))
    except DataError as error:
        if strict:
            raise
        return [Bad(error.path, error.reason)]
    return [source]


def _finite(values: NDArray[Any], names: list[str]) -> Tensor:
    """``values`` as float32. Raises ``DataError`` for NaN, infinity and what float32 cannot hold."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, np.float32)
    _check_each(np.isfinite(numbers), names, "expected finite float32 numbers, found NaN or infinity")
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


def decoded(inputs: Any, taken: Taken, assumed: list[str]) -> Iterator[tuple[str, NDArray[Any], Preprocessing]]:
    """Each picture in ``inputs``: its name, its pixels, and the steps for it.

    Raises:
        UsageError: no input, or one that is no picture.
        DataError: one that cannot be read.
    """
    found = [each for source in sources(inputs) for each in expanded(source, strict=True)]
    if not found:
        raise UsageError("no input: give pictures, or folders of them")
    steps = _picture_steps(taken, assumed)
    for source in found:
        if not _is_picture(source):
            raise UsageError(f"expected pictures to draw on, found {_name(source)}")
        yield _name(source), source.pixels if isinstance(source, Picture) else read_image(Path(_name(source))), steps
