"""All outputs of a model for data of any size: computed and written some rows at a time."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from portable_nn.core.arrays import NUMBERS
from portable_nn.core.atomic import atomic_folder, atomic_write
from portable_nn.core.dims import static
from portable_nn.core.errors import MissingPackageError, UsageError
from portable_nn.core.graph import Value
from portable_nn.core.kinds import check_argument
from portable_nn.core.names import Engine
from portable_nn.core.numbers import Count
from portable_nn.core.partial import Assemble
from portable_nn.core.text import said
from portable_nn.data.ahead import ahead
from portable_nn.data.batches import Batch, Place, Taken
from portable_nn.data.given import Examples, Named, Source
from portable_nn.data.sources import iterate
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.data.stored_files import open_stored
from portable_nn.format.manifest import PRODUCER
from portable_nn.format.meaning import OutputInfo
from portable_nn.opening.runners import Runnable
from portable_nn.operators.registry import Array
from portable_nn.outputs.outputs import are_pictures, cast, read_for
from portable_nn.prediction.answers import Preprocess, as_preparation, named_in, opened_model

READ: Final = 2**22
"""The bytes that are read at once of what was written."""


@dataclass
class Streamed:
    """The outputs of a model, batch by batch.

    Args:
        model: the model; its only input, and each of its outputs, has the axis of the examples first.
        names: the outputs that are wanted.
        batches: the examples.
        place: how many examples are passed over without being computed, and how many there are.
        computed: the outputs, where something else computes them; ``batches`` are then empty.
    """

    model: Runnable
    names: Sequence[str]
    batches: Iterator[Array]
    place: Place = field(default_factory=Place)
    computed: Iterator[dict[str, Array]] | None = None

    def __iter__(self) -> Iterator[dict[str, Array]]:
        [entry] = self.model.inputs
        for outputs in self.computed or ():
            if self.place.skip > 0:
                self.place.skip -= len(outputs[self.names[0]])
                continue
            yield outputs
        for x in self.batches:
            if self.place.skip > 0:
                self.place.skip -= len(x)
                continue
            found = self.model.run({entry.name: x})
            yield {name: np.asarray(found[name]) for name in self.names}

    def info(self, name: str) -> OutputInfo:
        """What the model says of an output."""
        return next(each for each in self.model.description.outputs if each.name == name)


def streamed(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    engine: Engine = "onnxruntime",
    preprocess: Preprocess | None = None,
    raw: bool = False,
    digest: str | None = None,
    edited: bool = False,
    dataset: str | Sequence[str] | None = None,
    batch_size: int = 256,
    output: str | None = None,
    notes: list[str] | None = None,
) -> Streamed | None:
    """The outputs of ``model`` for pictures and arrays in files, of which a few batches at most are in memory.

    The arguments and errors are those of ``run`` and ``predict``. ``None`` where not every output has a row for each
    example of the only input, whatever the batch, or where pictures make examples of any size.
    """
    check_argument("batch_size", batch_size, Count)
    told = [] if notes is None else notes
    opened = opened_model(model, engine, digest, edited)
    if not inputs:
        return None
    pictures = dataset is None and any(map(are_pictures, inputs))
    found = row_wise(opened, preprocess, raw=raw, output=output, notes=told, pictures=pictures)
    return None if found is None else found.of(inputs, named_in(dataset), batch_size, told)


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

    def of(
        self, inputs: Sequence[str | Source], named: Named | None, batch_size: int, notes: list[str] | None = None
    ) -> Streamed:
        """The outputs for files of arrays, or for parts of them. Raises as ``predict`` does."""
        [entry], place = self.model.inputs, Place()
        if self.taken is None:
            arrays = [each.x if isinstance(each, Examples) else _opened(each, named, entry) for each in inputs]
            place.total = sum(map(len, arrays))
            return Streamed(self.model, self.names, _plain(arrays, entry, self.model.where, batch_size, place), place)
        assumed = list[str]()
        given = list(inputs)
        each = iterate(given, self.taken, batch_size=batch_size, assumed=assumed, named=named, place=place)
        if notes is not None:
            notes += assumed
        batches = (cast(batch.x, entry, self.model.where) for batch in each if isinstance(batch, Batch))
        return Streamed(self.model, self.names, batches, place)


def row_wise(
    model: Runnable, preprocess: Preprocess | None, *, raw: bool, output: str | None, notes: list[str], pictures: bool
) -> RowWise | None:
    """``model`` as one of that kind, or ``None``; the arguments are those of ``streamed``.

    ``pictures`` says whether there are any among the inputs, which are then prepared also where the model does not say
    how. Raises ``UsageError`` where it is given with ``raw``.
    """
    if raw and pictures:
        raise UsageError("raw (--raw) is for arrays that hold what the graph takes, and pictures were given")
    if len(model.inputs) != 1:
        return None
    [entry] = model.inputs
    if not isinstance(entry.shape[0], str) or any(each.shape[:1] != entry.shape[:1] for each in model.outputs):
        return None
    names = [model.output_named(output).name] if output is not None else [value.name for value in model.outputs]
    preparation = as_preparation(preprocess)
    if not pictures and (raw or not (model.description.inputs[0].preprocessing or preparation)):
        return RowWise(model, names, None)
    prepared = model.prepared(entry, preparation)
    shape = static(prepared.value.shape[1:]) or ()
    if pictures and not shape:
        return None
    notes += prepared.warnings
    return RowWise(model, names, Taken(shape, prepared.steps, prepared.kind, dtype=entry.dtype))


def _opened(given: Any, named: Named | None, entry: Value) -> Stored | Array:
    """The examples in a file; one alone gets the axis of the batch."""
    path = Path(given)
    found: Stored | Array
    if named is not None:
        found = open_stored(path, named.inputs)
    else:
        x = read_for(entry, path)
        found = rows_of(x, str(path)) if x.dtype.kind in NUMBERS else x
    return found[:][np.newaxis] if found.ndim == len(entry.shape) - 1 else found


def _plain(arrays: Sequence[Stored | Array], entry: Value, where: str, size: int, place: Place) -> Iterator[Array]:
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


# -- files

OTHER_SHAPES: Final = "the outputs of these examples have other shapes than those of the first ones"


def kinds_of(outputs: Mapping[str, Array]) -> list[Any]:
    """The name, the type and the shape of a row of each. Raises ``UsageError`` where they are no numbers."""
    if bad := [name for name, a in outputs.items() if a.dtype.kind not in "fiubc"]:
        raise UsageError(f"output '{bad[0]}' is {outputs[bad[0]].dtype}, and numbers are written")
    return [[name, a.dtype.str, list(a.shape[1:])] for name, a in outputs.items()]


class Records:
    """Rows of outputs as bytes: those of a ``.npy`` file, with a field for each output where there are several.

    Args:
        streamed: where the outputs come from.

    ``begun`` is what is known of them after the first rows, as JSON has it; ``count`` is the number of rows.
    """

    def __init__(self, streamed: Streamed) -> None:
        self._streamed = streamed
        self.begun: list[Any] = []
        self.count = 0

    def rows(self, outputs: Mapping[str, Array]) -> bytes:
        """The next rows, after the header where they are the first. Raises ``UsageError`` where they are no numbers."""
        kinds = kinds_of(outputs)
        head = b""
        if not self.begun:
            self.begun = kinds
            head = self.header()
        if kinds != self.begun:
            raise UsageError(OTHER_SHAPES)
        rows = len(next(iter(outputs.values())))
        self.count += rows
        if len(outputs) == 1:
            return head + next(iter(outputs.values())).tobytes()
        found = np.empty(rows, self._dtype)
        for place, array in enumerate(outputs.values()):
            found[f"f{place}"] = array
        return head + found.tobytes()

    @property
    def _dtype(self) -> np.dtype[Any]:
        """The type of a row."""
        return np.dtype([(f"f{place}", dtype, tuple(shape)) for place, (_, dtype, shape) in enumerate(self.begun)])

    def header(self) -> bytes:
        """The header of a ``.npy`` file of the rows so far: as long for any number of rows."""
        return _header(self._dtype["f0"] if len(self.begun) == 1 else self._dtype, self.count)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output."""
        return {name: (self.count, *shape) for name, _, shape in self.begun}

    def assembling(self, suffix: str, model: str) -> Assemble | None:
        """What makes a file with a suffix of the rows; ``None`` for that which they are already."""
        if suffix == ".npy":
            return None
        if suffix == ".zarr":
            check_zarr()
        others: dict[str, Assemble] = {".npz": self._npz, ".zarr": partial(self._zarr, model)}
        return others.get(suffix, partial(self._hdf5, model))

    def _parts(self, written: Path, names: Sequence[str]) -> Iterator[tuple[int, str, Array]]:
        """Rows of some outputs: the place of the first, and of which output they are."""
        dtype = self._dtype
        size = max(1, READ // dtype.itemsize)
        places = {name: place for place, (name, _, _) in enumerate(self.begun)}
        with written.open("rb") as file:
            file.seek(len(self.header()))
            for start, stop in pieces(self.count, size):
                found = np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)
                yield from ((start, name, found[f"f{places[name]}"]) for name in names)

    def _npz(self, written: Path, target: Path) -> None:
        with atomic_write(target) as file, zipfile.ZipFile(file, "w") as archive:
            for name, dtype, shape in self.begun:
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    member.write(_header(np.dtype((dtype, tuple(shape))), self.count))
                    for _, _, rows in self._parts(written, [name]):
                        member.write(rows.tobytes())

    def _hdf5(self, model: str, written: Path, target: Path) -> None:
        import h5py

        names = [name for name, _, _ in self.begun]
        with atomic_write(target) as file, h5py.File(file, "w") as found:
            found.attrs.update({"model": model, "created_by": PRODUCER})
            for name, dtype, shape in self.begun:
                entry = found.create_dataset(name, (self.count, *shape), dtype)
                entry.attrs.update(attributes(self._streamed.info(name), known=self._streamed.model.description.known))
            for start, name, rows in self._parts(written, names):
                found[name][start : start + len(rows)] = rows

    def _zarr(self, model: str, written: Path, target: Path) -> None:
        with atomic_folder(target) as folder:
            arrays = zarr_in(folder, model, self.shapes(), {name: np.dtype(dtype) for name, dtype, _ in self.begun})
            for name, _, _ in self.begun:
                info = attributes(self._streamed.info(name), known=self._streamed.model.description.known)
                arrays[name].attrs.update(info)
            for start, name, rows in self._parts(written, list(arrays)):
                arrays[name][start : start + len(rows)] = rows


def check_zarr() -> None:
    """Raise ``MissingPackageError`` where zarr is missing."""
    if find_spec("zarr") is None:
        raise MissingPackageError("zarr", "writing .zarr", "zarr")


def zarr_in(
    folder: Path, model: str, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]]
) -> dict[str, Any]:
    """New arrays of zarr in a folder, by name, in chunks of some rows. Raises ``UsageError`` for names of no file."""
    check_zarr()
    import zarr

    zarr.open_group(str(folder), mode="w").attrs.update({"model": model, "created_by": PRODUCER})
    rows = max(1, READ // max(1, sum(dtypes[name].itemsize * math.prod(shape[1:]) for name, shape in shapes.items())))
    found = dict[str, Any]()
    for name, shape in shapes.items():
        chunks = tuple(max(1, size) for size in (min(rows, *shape[:1]), *shape[1:]))
        try:
            found[name] = zarr.open_array(
                str(folder), path=name, mode="w", shape=shape, dtype=dtypes[name], chunks=chunks
            )
        except ValueError as error:
            raise UsageError(f"output '{name}' cannot be an array of zarr {said(error)}") from None
    return found


def _header(dtype: np.dtype[Any], count: int) -> bytes:
    base, rest = dtype.subdtype or (dtype, ())
    text = io.BytesIO()
    descr = {"descr": np.lib.format.dtype_to_descr(base), "fortran_order": False, "shape": (count, *rest)}
    np.lib.format.write_array_header_1_0(text, descr)
    return text.getvalue()


def attributes(info: OutputInfo, *, known: bool = True) -> dict[str, Any]:
    """What a model says of an output, as attributes of a dataset: the kind, labels, units, and what it predicts."""
    found: dict[str, Any] = {"kind": info.kind} if known else {}
    units = info.units or ((info.unit,) * len(info.labels) if info.unit else ())
    found |= {name: list(texts) for name, texts in (("labels", info.labels), ("units", units)) if texts}
    more = {"unit": info.unit if not units else "", "target": info.target}
    return found | {name: text for name, text in more.items() if text}


def _infos(model: str) -> dict[str, dict[str, Any]]:
    described = opened_model(model, "numpy").description
    return {info.name: attributes(info, known=described.known) for info in described.outputs}


def save_zarr(path: Path, model: str, arrays: Mapping[str, Array]) -> None:
    """Arrays in memory, outputs of a model, as a folder of zarr."""
    infos = _infos(model)
    with atomic_folder(path) as folder:
        shapes, dtypes = ({n: getattr(a, what) for n, a in arrays.items()} for what in ("shape", "dtype"))
        for name, array in zarr_in(folder, model, shapes, dtypes).items():
            array.attrs.update(infos.get(name, {}))
            array[...] = arrays[name]


def save_hdf5(file: BinaryIO, model: str, arrays: Mapping[str, Array]) -> None:
    """Arrays in memory, outputs of a model, as an HDF5 file."""
    import h5py

    infos = _infos(model)
    with h5py.File(file, "w") as found:
        found.attrs.update({"model": model, "created_by": PRODUCER})
        for name, array in arrays.items():
            found.create_dataset(name, data=array).attrs.update(infos.get(name, {}))
