"""Files of outputs, some rows at a time: npy, npz, HDF5 and zarr."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from portable_nn.core.atomic import atomic_folder, atomic_write
from portable_nn.core.errors import UsageError
from portable_nn.core.packages import need
from portable_nn.core.partial import Assemble
from portable_nn.core.text import said
from portable_nn.data.stored import pieces
from portable_nn.format.manifest import PRODUCER
from portable_nn.opening.runners import Description
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.outputs.forms import Form
from portable_nn.prediction.arrays import OutputRows, row_count
from portable_nn.prediction.options import ModelOptions

READ: Final = 2**22
"""The bytes that are read at once of what was written."""


OTHER_SHAPES: Final = "the outputs of these examples have other shapes than those of the first ones"


def kinds_of(outputs: NamedArrays) -> list[Any]:
    """The name, the type and the shape of a row of each. Raises ``UsageError`` where they are no numbers."""
    if bad := [name for name, a in outputs.items() if a.dtype.kind not in "fiubc"]:
        raise UsageError(f"output '{bad[0]}' is {outputs[bad[0]].dtype}, and numbers are written")
    return [[name, a.dtype.str, list(a.shape[1:])] for name, a in outputs.items()]


class Records(Form[NamedArrays]):
    """OutputRows of outputs as bytes: those of a ``.npy`` file, with a field for each output where there are several.

    Args:
        model: the name of the model.
        found: where the outputs come from.
        suffix: that of the file that is made of the bytes.

    ``begun`` is the name, the type and the shape of a row of each output.
    """

    def __init__(self, model: str, found: OutputRows, suffix: str) -> None:
        self.model, self.found, self.suffix = model, found, suffix
        self.begun = list[Any]()
        if suffix == ".zarr":
            check_zarr()

    def rows(self, outputs: NamedArrays) -> bytes:
        """The next rows, after the header where they are the first. Raises ``UsageError`` where they are no numbers."""
        kinds = kinds_of(outputs)
        head = b""
        if not self.begun:
            self.begun = kinds
            head = self.header()
        if kinds != self.begun:
            raise UsageError(OTHER_SHAPES)
        if len(outputs) == 1:
            return head + next(iter(outputs.values())).tobytes()
        found = np.empty(row_count(outputs), self._dtype)
        for place, array in enumerate(outputs.values()):
            found[f"f{place}"] = array
        return head + found.tobytes()

    @property
    def _dtype(self) -> np.dtype[Any]:
        """The type of a row."""
        return np.dtype([(f"f{place}", dtype, tuple(shape)) for place, (_, dtype, shape) in enumerate(self.begun)])

    def header(self) -> bytes:
        """The header of a ``.npy`` file of the rows so far: as long for any number of rows."""
        return _header(self._dtype["f0"] if len(self.begun) == 1 else self._dtype, self.found.made)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output."""
        return {name: (self.found.made, *shape) for name, _, shape in self.begun}

    def finish(self, file: BinaryIO) -> None:
        """Say in the header how many rows there are."""
        file.seek(0)
        file.write(self.header())

    @property
    def assemble(self) -> Assemble | None:
        """The function that makes a file of another kind from the rows."""
        return {".npy": None, ".npz": self._npz}.get(self.suffix, self._stored)

    def _parts(self, written: Path, names: Sequence[str]) -> Iterator[tuple[str, slice, Array]]:
        """OutputRows of some outputs: of which, and where they belong."""
        dtype = self._dtype
        size = max(1, READ // dtype.itemsize)
        places = {name: place for place, (name, _, _) in enumerate(self.begun)}
        with written.open("rb") as file:
            file.seek(len(self.header()))
            for start, stop in pieces(self.found.made, size):
                found = np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)
                yield from ((name, slice(start, stop), found[f"f{places[name]}"]) for name in names)

    def _npz(self, written: Path, target: Path) -> None:
        with atomic_write(target) as file, zipfile.ZipFile(file, "w") as archive:
            for name, dtype, shape in self.begun:
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    member.write(_header(np.dtype((dtype, tuple(shape))), self.found.made))
                    for _, _, rows in self._parts(written, [name]):
                        member.write(rows.tobytes())

    def _stored(self, written: Path, target: Path) -> None:
        dtypes = {name: np.dtype(dtype) for name, dtype, _ in self.begun}
        parts = self._parts(written, list(dtypes))
        _save(target, self.model, self.found.model.description, self.shapes(), dtypes, parts)


def check_zarr() -> None:
    """Raise ``MissingPackageError`` where zarr is missing."""
    need("writing .zarr", "zarr", "zarr")


def save_arrays(path: Path, model: str, arrays: NamedArrays) -> None:
    """Arrays in memory, outputs of a model, as an HDF5 file or a folder of zarr, by the suffix."""
    described = ModelOptions("numpy").opened(model).description
    shapes, dtypes = ({name: getattr(a, what) for name, a in arrays.items()} for what in ("shape", "dtype"))
    _save(path, model, described, shapes, dtypes, ((name, ..., array) for name, array in arrays.items()))


def _save(
    path: Path,
    model: str,
    described: Description,
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, np.dtype[Any]],
    parts: Iterable[tuple[str, Any, Array]],
) -> None:
    """Outputs that come in parts, each of which has its place, with what the model says of them."""
    with (_zarr if path.suffix.lower() == ".zarr" else _hdf5)(path, shapes, dtypes) as (root, arrays):
        root.attrs.update({"model": model, "created_by": PRODUCER})
        for name, array in arrays.items():
            array.attrs.update(attributes(described, name))
        for name, place, rows in parts:
            arrays[name][place] = rows


@contextmanager
def _hdf5(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A new HDF5 file, and its arrays by name."""
    import h5py

    kinds = {name: h5py.string_dtype() if dtype.kind == "O" else dtype for name, dtype in dtypes.items()}
    with atomic_write(path) as file, h5py.File(file, "w") as root:
        yield root, {name: root.create_dataset(name, shape, kinds[name]) for name, shape in shapes.items()}


@contextmanager
def _zarr(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype[Any]]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A new folder of zarr, and its arrays by name, in chunks of some rows. Raises ``UsageError`` for other names."""
    check_zarr()
    import zarr

    rows = max(1, READ // max(1, sum(dtypes[name].itemsize * math.prod(shape[1:]) for name, shape in shapes.items())))
    found = dict[str, Any]()
    with atomic_folder(path) as folder:
        root = zarr.open_group(str(folder), mode="w")
        for name, shape in shapes.items():
            chunks = tuple(max(1, size) for size in (min(rows, *shape[:1]), *shape[1:]))
            try:
                found[name] = zarr.open_array(
                    str(folder), path=name, mode="w", shape=shape, dtype=dtypes[name], chunks=chunks
                )
            except ValueError as error:
                raise UsageError(f"output '{name}' cannot be an array of zarr {said(error)}") from None
        yield root, found


def _header(dtype: np.dtype[Any], count: int) -> bytes:
    base, rest = dtype.subdtype or (dtype, ())
    text = io.BytesIO()
    descr = {"descr": np.lib.format.dtype_to_descr(base), "fortran_order": False, "shape": (count, *rest)}
    np.lib.format.write_array_header_1_0(text, descr)
    return text.getvalue()


def attributes(model: Description, name: str) -> dict[str, Any]:
    """The meaning of an output, as attributes of a dataset: the kind, labels, units, and the quantity it predicts."""
    info = next((each for each in model.outputs if each.name == name), None)
    if info is None:
        return {}
    found: dict[str, Any] = {"kind": info.kind} if model.known else {}
    found |= {name: list(texts) for name, texts in (("labels", info.labels), ("units", info.each_unit)) if texts}
    more = {"unit": info.unit if not info.each_unit else "", "target": info.target}
    return found | {name: text for name, text in more.items() if text}
