"""Examples and labels in files of arrays: npy, npz and HDF5 (read by ``plain``), and IDX, the format of MNIST.

The sizes in a header are compared with the size of the file before memory is allocated, and large arrays are
memory-mapped. Nothing is unpickled, and no file can make another one be opened.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, FormatError
from portable_nn.core.files import mapped_array
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.text import said
from portable_nn.data.files import opened
from portable_nn.format import open_arrays
from portable_nn.plain import PlainTensors

Array: TypeAlias = NDArray[Any]

IDX_NAME = re.compile(r"[.-]idx\d\b", re.IGNORECASE)
"""The pattern of the names of IDX files: ``train-images-idx3-ubyte``, ``t10k-labels.idx1-ubyte.gz``."""

IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The element types by the third byte of an IDX file, as the page of the MNIST database defines them."""

PAIRS = (("x", "y"), ("images", "labels"), ("data", "target"))
"""The names of examples and labels that are recognised in a file of several arrays."""


def read_arrays(path: str | Path) -> tuple[Array, Array | None]:
    """The examples and, if there are any, the labels of an ``.npy``, ``.npz`` or HDF5 file.

    They are the arrays named as in ``PAIRS`` at the top level of the file, of one pair or of two, or its only array.
    Contiguous arrays in an ``.npy`` or HDF5 file are memory-mapped. Labels in an ``.npz`` file may be text.

    Raises:
        DataError: the file is damaged or refers to other files, it is ambiguous which arrays are meant, they do not
            hold real numbers, or they would unpack to far more than is stored (``core.limits``).
    """
    with opened(path, f"arrays ({Path(path).suffix.lower()})"):
        pass  # The file exists and can be read.
    try:
        with open_arrays(path, text=True) as tensors:
            names = chosen([name for name in (*tensors, *tensors.skipped) if "/" not in name.strip("/")], path)
            arrays = [_read(tensors, name) for name in names]
    except FormatError as error:
        raise DataError(path, error.reason) from error
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def _read(tensors: PlainTensors, name: str) -> Array:
    where = tensors.path if tensors.path.suffix.lower() == ".npy" else f"{tensors.path}: {name}"
    if reason := tensors.skipped.get(name):
        raise DataError(where, reason)
    entry = tensors.entries[name]
    if entry.dtype.startswith("complex"):
        raise DataError(where, f"expected real numbers, found {entry.dtype}")
    check_not_empty(where, entry.shape)
    if (mapped := tensors.mapped(name)) is not None:
        return mapped
    return tensors[name]


def read_idx(path: str | Path) -> Array:
    """The array in an IDX file, memory-mapped, or unpacked if the name ends in ``.gz``.

    Raises:
        DataError: the file cannot be read, has no IDX header, or has more or less data than the header declares.
    """
    with opened(path, "an IDX file") as file:
        try:
            if str(path).endswith(".gz"):
                with gzip.open(file) as unpacked:
                    return _unpack_idx(unpacked, path)
            dtype, shape = _idx_header(file, path)
            _check_size(path, dtype, shape, Path(path).stat().st_size - file.tell())
            return mapped_array(path, file, dtype, file.tell(), shape)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(
                path, f"expected an IDX file, compressed by gzip, found damaged data {said(error)}"
            ) from error


def _unpack_idx(file: IO[bytes] | gzip.GzipFile, path: str | Path) -> Array:
    dtype, shape = _idx_header(file, path)
    needed = math.prod(shape) * dtype.itemsize
    if fault := excess(needed, Path(path).stat().st_size, UNPACKED):
        raise DataError(path, fault)
    data = bytearray()
    # Reading one byte more than is needed shows excess data; no read asks for more than a mebibyte.
    while len(data) <= needed and (piece := file.read(min(2**20, needed + 1 - len(data)))):
        data += piece
    _check_size(path, dtype, shape, len(data))
    return np.frombuffer(data, dtype).reshape(shape)


def _idx_header(file: IO[bytes] | gzip.GzipFile, path: str | Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES or not 1 <= magic[3] <= 8:
        found = f"bytes {magic.hex(' ')}" if magic else "an empty file"
        raise DataError(path, f"expected an IDX file (two zero bytes, a type, 1 to 8 axes), found {found}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(path, f"expected the sizes of {magic[3]} axes, found a file of {4 + len(sizes)} bytes")
    return np.dtype(IDX_DTYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def check_not_empty(path: str | Path, shape: tuple[int, ...]) -> None:
    """Raise ``DataError`` where an array of such a shape holds nothing."""
    if 0 in shape:
        raise DataError(path, f"the array is empty: its shape is {shape}")


def _check_size(path: str | Path, dtype: np.dtype[Any], shape: tuple[int, ...], found: int) -> None:
    """Raise ``DataError`` unless ``found``, the bytes of data, are as many as the header declares."""
    check_not_empty(path, shape)
    needed = math.prod(shape) * dtype.itemsize
    if found != needed:
        what = f"only {found}" if found < needed else f"at least {found}"
        raise DataError(path, f"expected {needed} bytes of data for {shape} of type {dtype}, found {what}")


def chosen(names: Collection[str], path: str | Path) -> list[str]:
    """The name of the examples and, where the file has labels, theirs."""
    by_name = {name.removeprefix("/").lower(): name for name in names}
    for x, y in PAIRS if len(by_name) == len(names) else ():  # Either of X and x may be meant.
        if x in by_name:
            labels = [by_name[name] for name in (y, *dict(PAIRS).values()) if name in by_name]
            return [by_name[x], *labels[:1]]
    if len(names) == 1:
        return list(names)
    pairs = ", ".join(f"'{x}' and '{y}'" for x, y in PAIRS)
    raise DataError(
        path,
        f"expected one array, or arrays named {pairs}; found "
        f"{', '.join(sorted(name.removeprefix('/') for name in names)) or 'none'}: --inputs and --target "
        "name others (inputs=, targets=)",
    )
