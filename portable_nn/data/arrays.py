"""Arrays in files: npy and npz, IDX (the format of MNIST), HDF5.

What a header promises is compared with what the file holds before anything of that size is allocated, and large
arrays are mapped rather than read. Nothing is unpickled, and no file makes another one be opened.
"""

from __future__ import annotations

import gzip
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.data.files import MAX_UNPACKED, opened, what_is

Array: TypeAlias = NDArray[Any]

IDX_NAME = re.compile(r"[.-]idx\d\b", re.IGNORECASE)
"""``train-images-idx3-ubyte``, ``t10k-labels.idx1-ubyte.gz``: how IDX files are recognised."""

IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The third byte of an IDX file, as the page of the MNIST database defines it."""

HEADER_ERRORS = (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What numpy raises for a bad header, which it reads with the tokenizer and the parser of Python."""

PAIRS = (("x", "y"), ("images", "labels"), ("data", "target"))
"""The names by which examples and their labels are found in a file of several arrays."""


def read_npy(path: str | Path) -> Array:
    """The array in an ``.npy`` file, mapped into memory.

    Raises:
        DataError: the file is not one, is cut short or too long, or holds anything but numbers.
    """
    with opened(path, "an array (.npy)") as file:
        _check_npy(file, Path(path).stat().st_size, path)
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_npz(path: str | Path) -> tuple[Array, Array | None]:
    """The examples and, if there are any, the labels of an ``.npz`` file: see ``PAIRS``, or the only array.

    Raises:
        DataError: the file is damaged, its arrays cannot be told apart, or it would unpack to over 4 GiB.
    """
    with opened(path, "arrays (.npz)") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                names = _choose(members, path)
                return _pair([_read_member(archive, members[name], path) for name in names])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            # zipfile raises RuntimeError for encrypted members, NotImplementedError for rare compressions.
            raise DataError(path, f"expected arrays (.npz), found a damaged archive: {error}") from error


def read_hdf5(path: str | Path) -> tuple[Array, Array | None]:
    """The examples and, if there are any, the labels at the top of an HDF5 file: see ``PAIRS``, or the only dataset.

    What lies in one piece in the file is mapped into memory.

    Raises:
        DataError: the file is damaged, its datasets cannot be told apart, or one of them lives in another file.
    """
    import h5py

    with opened(path, "an HDF5 file") as file:
        start = file.read(64)
    try:
        with h5py.File(path, "r") as store:
            # Soft and external links are left out: they lead elsewhere.
            links = {name: store.get(name, getlink=True) for name in store}
            hard = [name for name, link in links.items() if isinstance(link, h5py.HardLink)]
            datasets = {name: store[name] for name in hard if isinstance(store[name], h5py.Dataset)}
            names = _choose(datasets, path)
            return _pair([_read_dataset(datasets[name], path) for name in names])
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        # TypeError: a type that numpy lacks. ValueError: the file is shorter than what is to be mapped.
        found = "a damaged one" if start.startswith(b"\x89HDF") else what_is(start)
        raise DataError(path, f"expected an HDF5 file, found {found}") from error


def read_idx(path: str | Path) -> Array:
    """The array in an IDX file, mapped into memory, or unpacked if its name ends in ``.gz``.

    Raises:
        DataError: no IDX header, or more or less data than it declares.
    """
    with opened(path, "an IDX file") as file:
        try:
            if str(path).endswith(".gz"):
                with gzip.open(file) as unpacked:
                    return _unpack_idx(unpacked, path)
            return _map_idx(file, path)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(path, f"expected an IDX file that gzip compressed, found damaged data: {error}") from error


def _map_idx(file: IO[bytes], path: str | Path) -> Array:
    dtype, shape = _idx_header(file, path)
    offset = file.tell()
    _check_size(path, dtype, shape, Path(path).stat().st_size - offset)
    return np.memmap(path, dtype, "r", offset, shape)


def _unpack_idx(file: IO[bytes] | gzip.GzipFile, path: str | Path) -> Array:
    dtype, shape = _idx_header(file, path)
    needed = math.prod(shape) * dtype.itemsize
    _check_unpacked(path, needed)
    data = bytearray()
    # One byte more than is needed shows that there is more; no read asks for more than a mebibyte.
    while len(data) <= needed and (piece := file.read(min(2**20, needed + 1 - len(data)))):
        data += piece
    _check_size(path, dtype, shape, len(data))
    return np.frombuffer(data, dtype).reshape(shape)


def _idx_header(file: IO[bytes] | gzip.GzipFile, path: str | Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES or not 1 <= magic[3] <= 8:
        raise DataError(path, f"expected an IDX file (two zero bytes, a type, 1 to 8 axes), found {_shown(magic)}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(path, f"expected the sizes of {magic[3]} axes, found a file of {4 + len(sizes)} bytes")
    return np.dtype(IDX_DTYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())


def _shown(magic: bytes) -> str:
    return f"bytes {magic.hex(' ')}" if magic else "an empty file"


def _check_size(path: str | Path, dtype: np.dtype[Any], shape: tuple[int, ...], found: int) -> None:
    """See that exactly the data that a header declares are there; ``found`` counts bytes."""
    if min(shape, default=1) < 1:
        raise DataError(path, f"the array is empty: its shape is {shape}")
    needed = math.prod(shape) * dtype.itemsize
    if found != needed:
        what = f"only {found}" if found < needed else f"at least {found}"
        raise DataError(path, f"expected {needed} bytes of data for {shape} of type {dtype}, found {what}")


def _check_unpacked(path: str | Path, size: int) -> None:
    if size > MAX_UNPACKED:
        raise DataError(path, f"it would unpack to {size} bytes, over the limit of {MAX_UNPACKED}: unpack it to a file")


def _check_npy(file: IO[bytes], size: int, path: str | Path) -> None:
    """Read the header and compare it with the ``size`` in bytes of the whole file."""
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 in its encoding alone, which matters for names of fields, which are refused.
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except HEADER_ERRORS as error:
        raise DataError(path, "expected an array (.npy), found no header of one") from error
    if dtype.hasobject:
        raise DataError(path, "it holds Python objects (pickles), which can run code and are never loaded")
    _check_dtype(path, dtype)
    _check_size(path, dtype, shape, size - file.tell())


def _check_dtype(path: str | Path, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biufU":
        raise DataError(path, f"expected numbers, found {dtype}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str | Path) -> Array:
    _check_unpacked(path, member.file_size)
    where = f"{path}: {member.filename}"
    with archive.open(member) as file:
        _check_npy(file, member.file_size, where)
    with archive.open(member) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_dataset(dataset: Any, path: str | Path) -> Array:
    """A dataset of h5py (which has no types)."""
    where = f"{path}: {dataset.name}"
    if dataset.is_virtual or dataset.external:
        raise DataError(where, "its data are in another file, which is not followed")
    if dataset.shape is None or 0 in dataset.shape:
        raise DataError(where, f"the array is empty: its shape is {dataset.shape}")
    _check_dtype(where, dataset.dtype)
    # None for what is chunked, compressed or not stored at all.
    offset = dataset.id.get_offset()
    if offset is not None:
        return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
    _check_unpacked(where, math.prod(dataset.shape) * dataset.dtype.itemsize)
    array: Array = dataset[...]
    return array


def _choose(arrays: Mapping[str, object], path: str | Path) -> list[str]:
    """The names of the examples and, if there are any, of the labels."""
    by_name = {name.lower(): name for name in arrays}
    for x, y in PAIRS:
        if x in by_name:
            return [by_name[name] for name in (x, y) if name in by_name]
    if len(arrays) == 1:
        return list(arrays)
    pairs = ", ".join(f"'{x}' and '{y}'" for x, y in PAIRS)
    raise DataError(path, f"expected one array, or arrays named {pairs}; found {', '.join(sorted(arrays)) or 'none'}")


def _pair(arrays: list[Array]) -> tuple[Array, Array | None]:
    return arrays[0], arrays[1] if len(arrays) > 1 else None
