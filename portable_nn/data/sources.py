"""Batches of inputs for inference, from pictures, folders of pictures, tables and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from portable_nn.core.arguments import check_argument
from portable_nn.core.defaults import BATCH_SIZE
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.numbers import Count
from portable_nn.data.array_batches import Arrays
from portable_nn.data.batches import Bad, Batch, Place, Taken
from portable_nn.data.expanding import expanded, is_picture, name_of
from portable_nn.data.frames import Dialect, tables
from portable_nn.data.given import Examples, Named, Source, named_sources, sources
from portable_nn.data.picture_batches import Pictures, picture_steps
from portable_nn.data.rows import row_batches
from portable_nn.data.stored import Stored
from portable_nn.preprocessing.steps import Found, Preprocessing, arithmetic, describe, with_polarity


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
    check_argument("batch_size", batch_size, Count)
    dialect, place = dialect or Dialect(), place or Place()
    if named is None and taken.columns and not raw and (given := tables(inputs)) is not None:
        return row_batches(given, taken, batch_size, strict, assumed, dialect)
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
    return _batches(found, Pictures(taken, steps, batch_size, strict, notes), arrays)


def _found(inputs: Any, named: Named | None, strict: bool) -> list[Source | Bad]:
    """The inputs one by one. Raises ``UsageError`` where there are none."""
    given = sources(inputs) if named is None else list(_by_name(inputs, named, strict))
    found = [each for source in given for each in expanded(source, strict)]
    if not found:
        raise UsageError(
            "no input: give pictures, folders, CSV, npy, npz, IDX, HDF5, zarr or Parquet files, or - for CSV on stdin"
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
