"""All outputs of a model as arrays, for several inputs as well, and row by row for data of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import NUMBERS, as_array
from portable_nn.core.dims import static
from portable_nn.core.errors import UsageError
from portable_nn.core.foreign_values import is_path, is_picture
from portable_nn.core.graph import Value
from portable_nn.core.names import Engine
from portable_nn.data.ahead import ahead
from portable_nn.data.batches import Batch, Place, Taken
from portable_nn.data.dataset import kind_of, read_examples
from portable_nn.data.given import Examples, Named, Source
from portable_nn.data.sources import iterate
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.data.stored_files import open_stored
from portable_nn.network import Network
from portable_nn.opening.runners import Runnable, cast
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.prediction.options import ModelOptions, Preprocess

__all__ = ["run"]


@check_kinds
def run(
    model: str | Path | Network,
    inputs: Any,
    *,
    engine: Engine = "onnxruntime",
    preprocess: Preprocess | None = None,
    raw: bool = False,
    digest: str | None = None,
    edited: bool = False,
    notes: list[str] | None = None,
    dataset: str | Sequence[str] | None = None,
) -> dict[str, Array]:
    """All outputs of ``model``, by name.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        inputs: pictures or arrays as ``predict`` takes them; or a dict with one of these for each input, by name, of as
            many examples each.
        engine: ``onnxruntime`` or ``numpy``.
        preprocess: how pictures are prepared, as ``predict`` takes it.
        raw: whether arrays are what the inputs take, without the model's preprocessing.
        digest, edited: as ``predict`` takes them.
        notes: a list to which is appended what was assumed.
        dataset: the name of the array that is read in HDF5, npz, zarr and Parquet files (a column there); several
            stand side by side.

    Returns arrays whose first axis is that of the examples, where the model gives such. A model whose outputs are not
    of that kind, such as a list of boxes, gets one example at a time; of several, the outputs are called ``NAME.0``,
    ``NAME.1`` and so on.

    Raises:
        UsageError: inputs that are missing or unknown, or a preparation that does not fit.
        FileError, FormatError: the model cannot be read, or fails on these inputs.
        DataError: an input cannot be read, or holds numbers of another type.

    Warns with ``EditedWarning`` as ``predict`` does.

    >>> import portable_nn as pnn
    >>> pnn.run("detector.onnx", "street.jpg", preprocess="detection")["boxes"].shape  # doctest: +SKIP
    (12, 4)
    """
    return outputs_of(model, inputs, ModelOptions.of(locals()), [] if notes is None else notes)


def outputs_of(model: str | Path | Network, inputs: Any, options: ModelOptions, notes: list[str]) -> dict[str, Array]:
    """As ``run`` gives them, which takes the options one by one."""
    found = options.opened(model)
    names = [value.name for value in found.inputs]
    if not (isinstance(inputs, Mapping) and inputs and set(map(str, inputs)) <= set(names)):
        if len(names) != 1:
            wanted = ", ".join(names) or "none"
            raise UsageError(f"{found.where}: inputs must be a dict (--inputs NAME=FILE) for the inputs {wanted}")
        inputs = {names[0]: inputs}
    if missing := [name for name in names if name not in inputs]:
        raise UsageError(f"{found.where}: no array or picture for the input {', '.join(missing)}{found.numbers()}")
    given = {value.name: _fed(found, value, inputs[value.name], options, notes) for value in found.inputs}
    return _joined(list(_runs(found, given)))


def _fed(model: Runnable, value: Value, given: Any, options: ModelOptions, notes: list[str]) -> list[Array]:
    """Examples for an input, in arrays of one shape each."""
    info = next(info for info in model.description.inputs if info.name == value.name)
    if options.raw or not (are_pictures(given) or info.columns or info.preprocessing or options.preparation):
        return [_plain(value, given, options.named)]
    found = model.prepared(value, options.preparation)
    notes += found.warnings
    batches = iterate(given, found.taken, assumed=notes, named=options.named, dialect=options.dialect)
    return [cast(each.x, value, model.where) for each in batches if isinstance(each, Batch)]


def _plain(value: Value, given: Any, named: Named | None) -> Array:
    """An array as it is; an example alone gets the axis of the batch."""
    given = given[0] if isinstance(given, list) and len(given) == 1 and is_path(given[0]) else given
    if is_path(given):
        where, array = str(given), read_for(value, given) if named is None else open_stored(given, named.inputs)[:]
    else:
        array = as_array(given, where := f"input '{value.name}'")
    return cast(array[np.newaxis] if array.ndim == len(value.shape) - 1 else array, value, where)


def read_for(value: Value, path: str | Path) -> Array:
    """The examples in a file for an input. Raises as ``read_dataset`` does."""
    shape = static(value.shape[1:])
    return read_examples(path, None if shape is None else math.prod(shape), Taken((), dtype=value.dtype).precision)


def are_pictures(given: Any) -> bool:
    """True if the inputs are pictures, or folders of them."""
    each = given[0] if isinstance(given, list | tuple) and given else given
    return is_picture(each) or (is_path(each) and kind_of(each) == "picture")


def _runs(model: Runnable, given: Mapping[str, list[Array]]) -> Iterator[tuple[int, NamedArrays]]:
    """The outputs for some examples, and how many these are."""
    if len(given) > 1:
        if several := [name for name, parts in given.items() if len(parts) != 1]:
            raise UsageError(f"{model.where}: the pictures for the input {several[0]} must have one size")
        yield 1, model.run({name: parts[0] for name, parts in given.items()})
        return
    [entry] = model.inputs
    for part in given[entry.name]:
        if part.ndim == len(entry.shape) and _in_one(model, len(part)):
            yield len(part), model.run({entry.name: part})
            continue
        for place in range(len(part)):
            yield 1, run_one(model, entry, part[place : place + 1])


def run_one(model: Runnable, entry: Value, x: Array) -> NamedArrays:
    """The outputs for one example, a batch of one, whatever batch the model takes."""
    if x.ndim > len(entry.shape):  # It takes a picture without a batch.
        return model.run({entry.name: x[0]})
    fixed = entry.shape[0]
    outputs = model.run({entry.name: np.repeat(x, fixed, axis=0) if isinstance(fixed, int) else x})
    return {name: array[:1] if array.shape[:1] == entry.shape[:1] else array for name, array in outputs.items()}


def _in_one(model: Runnable, count: int) -> bool:
    """True if so many examples can be computed at once, and each has its part in every output."""
    [entry] = model.inputs
    if not isinstance(entry.shape[0], str):
        return entry.shape[0] == count
    return count == 1 or all(value.shape[:1] == entry.shape[:1] for value in model.outputs)


def _joined(runs: Sequence[tuple[int, NamedArrays]]) -> dict[str, Array]:
    """The outputs of all runs: along the first axis where that is the examples', otherwise by number."""
    if len(runs) == 1:
        return dict(runs[0][1])
    found = dict[str, Array]()
    for name in runs[0][1] if runs else ():
        arrays = [outputs[name] for _, outputs in runs]
        if all(
            a.ndim and len(a) == n and a.shape[1:] == arrays[0].shape[1:]
            for a, (n, _) in zip(arrays, runs, strict=True)
        ):
            found[name] = np.concatenate(arrays)
        else:
            found |= {f"{name}.{place}": array for place, array in enumerate(arrays)}
    return found


# -- row by row


@dataclass
class OutputRows:
    """The outputs of a model for the rows of its only input, batch by batch.

    Args:
        model: the model.
        names: the outputs that are wanted.
        found: the outputs, from ``place`` on.
        place: how many examples are passed over without being computed, and how many there are.
        made: how many examples have come.
        bad: for how many of them the model gives NaN or infinity.
        first_bad: the place of the first of them.
    """

    model: Runnable
    names: Sequence[str]
    found: Iterator[dict[str, Array]]
    place: Place = field(default_factory=Place)
    made: int = 0
    bad: int = 0
    first_bad: int | None = None

    @property
    def total(self) -> int | None:
        """The number of all examples, where it is known."""
        return self.place.total

    def state(self) -> dict[str, Any]:
        """The counts so far, as JSON has them."""
        return {"made": self.made, "bad": self.bad, "first_bad": self.first_bad}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Pass over those before ``state``. Nothing is computed yet."""
        self.made = self.place.skip = state["made"]
        self.bad, self.first_bad = state["bad"], state["first_bad"]

    def in_batches(self) -> Iterator[dict[str, Array]]:
        """The outputs, those together that are computed at once."""
        for outputs in self.found:
            bad = np.zeros(row_count(outputs), bool)
            for array in outputs.values():
                if array.dtype.kind == "f":
                    bad |= ~np.isfinite(array).reshape(len(bad), -1).all(axis=1)
            if self.first_bad is None and bad.any():
                self.first_bad = self.made + int(bad.argmax())
            self.bad += int(bad.sum())
            self.made += len(bad)
            yield outputs


def row_count(outputs: NamedArrays) -> int:
    """The number of examples that outputs belong to."""
    return len(next(iter(outputs.values())))


def output_rows(
    model: str | Path | Network, inputs: Sequence[str | Path], options: ModelOptions, notes: list[str]
) -> OutputRows | None:
    """The outputs of ``model`` for pictures and arrays in files, of which a few batches at most are in memory.

    The errors are those of ``run`` and ``predict``. ``None`` where not every output has a row for each example of the
    only input, whatever the batch, or where pictures make examples of any size.
    """
    opened = options.opened(model)
    if not inputs:
        return None
    found = row_wise(opened, options, notes, pictures=options.dataset is None and any(map(are_pictures, inputs)))
    return None if found is None else found.of(inputs, options, notes)


@dataclass(frozen=True)
class RowWise:
    """A model of which every output has a row for each example of its only input, whatever the batch.

    Args:
        model: the model.
        names: the outputs that are wanted.
        taken: how examples are prepared; ``None`` where they are passed on as they are.
    """

    model: Runnable
    names: Sequence[str]
    taken: Taken | None

    def of(self, inputs: Sequence[str | Source], options: ModelOptions, notes: list[str]) -> OutputRows:
        """The outputs for files of arrays, or for parts of them. Raises as ``predict`` does."""
        [entry], place = self.model.inputs, Place()
        batches: Iterator[Array]
        if self.taken is None:
            arrays = [each.x if isinstance(each, Examples) else _rows_in(each, options.named, entry) for each in inputs]
            place.total = sum(map(len, arrays))
            batches = _batches(arrays, entry, self.model.where, options.batch_size, place)
        else:
            given, size, named = list(inputs), options.batch_size, options.named
            each = iterate(
                given, self.taken, batch_size=size, assumed=notes, dialect=options.dialect, named=named, place=place
            )
            batches = (cast(batch.x, entry, self.model.where) for batch in each if isinstance(batch, Batch))
        return OutputRows(self.model, self.names, map(self._computed, place.passed(batches, len)), place)

    def _computed(self, x: Array) -> dict[str, Array]:
        found = self.model.run({self.model.inputs[0].name: x})
        return {name: np.asarray(found[name]) for name in self.names}


def row_wise(model: Runnable, options: ModelOptions, notes: list[str], *, pictures: bool) -> RowWise | None:
    """``model`` as one of that kind, or ``None``.

    ``pictures`` says whether there are any among the inputs, which are then prepared also where the model does not say
    how. Raises ``UsageError`` where it is given with ``raw``.
    """
    if options.raw and pictures:
        raise UsageError("raw (--raw) is for arrays of preprocessed numbers, and pictures were given")
    if len(model.inputs) != 1:
        return None
    [entry] = model.inputs
    if not isinstance(entry.shape[0], str) or any(each.shape[:1] != entry.shape[:1] for each in model.outputs):
        return None
    output, preparation = options.output, options.preparation
    names = [model.output_named(output).name] if output is not None else [value.name for value in model.outputs]
    info = model.description.inputs[0]
    if not pictures and (options.raw or not any((info.columns, info.preprocessing, preparation))):
        return RowWise(model, names, None)
    prepared = model.prepared(entry, preparation)
    if pictures and not prepared.taken.shape:
        return None
    notes += prepared.warnings
    return RowWise(model, names, prepared.taken)


def _rows_in(given: Any, named: Named | None, entry: Value) -> Stored | Array:
    """The examples in a file; one alone gets the axis of the batch."""
    path = Path(given)
    found: Stored | Array
    if named is not None:
        found = open_stored(path, named.inputs)
    else:
        x = read_for(entry, path)
        found = rows_of(x, str(path)) if x.dtype.kind in NUMBERS else x
    return found[:][np.newaxis] if found.ndim == len(entry.shape) - 1 else found


def _batches(arrays: Sequence[Stored | Array], entry: Value, where: str, size: int, place: Place) -> Iterator[Array]:
    """Batches of arrays as they are, in the type of the input; whole pieces that are not wanted are not read."""
    for array in arrays:
        piece = max(1, piece_of([array]) // size) * size if isinstance(array, Stored) else len(array)
        begin = min(place.skip // piece * piece, len(array))
        place.skip -= begin
        places = ((start + begin, stop + begin) for start, stop in pieces(len(array) - begin, piece))
        with closing(ahead(array[start:stop] for start, stop in places)) as read:
            for rows in read:
                for start, stop in pieces(len(rows), size):
                    yield cast(rows[start:stop], entry, where)
