from __future__ import annotations

import gzip
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from drawn import idx
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.core.errors import DataError
from portable_nn.data.arrays import read_arrays, read_idx

X = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
Y = np.array([7, 1])
HUGE = 2**32 - 1


def refused(read: object, path: Path, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}:.*{reason}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def npy_bytes(header: str, data: bytes = b"") -> bytes:
    """Version 1.0 by the letter of NEP 1."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npy_header(descr: str = "'|u1'", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


# npy


def test_npy_by_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy_bytes(npy_header("'>i2'", "(2, 1)"), struct.pack(">hh", 1, -2)))
    assert read_arrays(path)[0].tolist() == [[1], [-2]]


@pytest.mark.parametrize("array", [X, np.asfortranarray(X), X.astype(">f8"), X > 3])
def test_npy_is_mapped(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    found, labels = read_arrays(tmp_path / "a.npy")
    assert labels is None
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, array)


NPY_FAULTS = [
    (b"", "is empty"),
    (b"text, not an array", "begins with b'text, ', not as an .npy file does"),
    (npy_bytes(npy_header(), b"a"), r"is uint8 \(2,\), which takes 2 bytes, but 1 follow the header"),
    (npy_bytes(npy_header(), b"abc"), r"which takes 2 bytes, but 3 follow the header"),
    (npy_bytes(npy_header("'<f8'", f"({HUGE}, {HUGE})")), r"has a shape that no memory can hold"),
    (npy_bytes(npy_header("'<f8'", f"({HUGE},)")), r"but 0 follow the header"),
    (npy_bytes(npy_header(shape="(-1, -2)"), b"ab"), r"is not a list of whole numbers from 0: \(-1, -2\)"),
    (npy_bytes(npy_header(shape="(0, 4)")), r"the array is empty: its shape is \(0, 4\)"),
    (npy_bytes(npy_header("'|O'"), pickle.dumps([os.getcwd])), "Python objects .*never loaded"),
    (npy_bytes(npy_header("[('a', '|O')]"), b"ab"), "Python objects .*never loaded"),
    (npy_bytes(npy_header("'<c8'"), bytes(16)), "expected real numbers, found complex64"),
    (npy_bytes(npy_header("[('a', '<f4')]"), bytes(8)), "holds .*, not numbers"),
    (npy_bytes("__import__('os')"), "has a damaged header: it is not one that numpy writes"),
    (npy_bytes("{'descr': ("), "has a damaged header"),
    (npy_bytes("(" * 3000), "has a damaged header"),
]


@pytest.mark.parametrize(("data", "reason"), NPY_FAULTS)
def test_npy_faults(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    refused(read_arrays, path, reason)


# npz


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("data", "target"), ("X", "Y"), ("x", "labels")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_pairs(tmp_path: Path, names: tuple[str, str], save: object) -> None:
    save(tmp_path / "a.npz", **dict(zip(names, (X, Y), strict=True)), other=Y)
    x, y = read_arrays(tmp_path / "a.npz")
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_npz_with_a_single_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X)
    x, y = read_arrays(tmp_path / "a.npz")
    assert np.array_equal(x, X)
    assert y is None


def zipped(path: Path, data: bytes, name: str = "x.npy", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, data)
    return path.read_bytes()


def test_npz_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=X, b=Y)
    refused(read_arrays, path, "expected one array, or arrays named 'x' and 'y', .*; found a, b")
    path.write_bytes(b"text")
    refused(read_arrays, path, "is not a zip archive, as .npz files are")
    zipped(path, npy_bytes(npy_header(), b"a"))
    refused(read_arrays, path, r"'x' is uint8 \(2,\), which takes 2 bytes, but 1 follow the header")
    zipped(path, npy_bytes(npy_header("'|O'"), pickle.dumps([1])))
    refused(read_arrays, path, "x: holds Python objects")
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "100")
    zipped(path, npy_bytes(npy_header(shape="(100000,)"), bytes(100000)))
    refused(read_arrays, path, "takes 100 kB of memory, with .* B stored; at most .* unless PORTABLE_NN_MEMORY=1G is")


def test_npz_with_a_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    data = bytearray(zipped(path, npy_bytes(npy_header(), b"ab"), compression=zipfile.ZIP_STORED))
    data[data.index(b"\nab") + 1] ^= 1
    path.write_bytes(data)
    refused(read_arrays, path, "'x' in the archive is damaged")


# IDX


CODES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_of_every_type(tmp_path: Path, code: int, suffix: str) -> None:
    array = X.astype(CODES[code])
    data = idx(code, X.shape, array.tobytes())
    path = tmp_path / f"a.idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


IDX_FAULTS = [
    (b"", r"expected an IDX file \(two zero bytes, a type, 1 to 8 axes\), found an empty file"),
    (b"text", "found bytes 74 65 78 74"),
    (b"\0\0\x08\0", "found bytes 00 00 08 00"),
    (b"\0\0\x0a\x01", "found bytes 00 00 0a 01"),
    (b"\0\0\x08\x03\0\0", "expected the sizes of 3 axes, found a file of 6 bytes"),
    (idx(8, (2, 2), b"abc"), r"expected 4 bytes of data for \(2, 2\) of type uint8, found only 3"),
    (idx(8, (2, 2), b"abcde"), "found at least 5"),
    (idx(8, (0, 2), b""), r"the array is empty: its shape is \(0, 2\)"),
]


@pytest.mark.parametrize(("data", "reason"), IDX_FAULTS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_faults(tmp_path: Path, data: bytes, reason: str, suffix: str) -> None:
    path = tmp_path / f"a.idx{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    refused(read_idx, path, reason)


def test_idx_never_allocates_what_it_declares(tmp_path: Path) -> None:
    data = idx(0x0E, (HUGE, HUGE, HUGE), b"")
    (tmp_path / "a.idx3").write_bytes(data)
    refused(read_idx, tmp_path / "a.idx3", "found only 0")
    (tmp_path / "a.idx3.gz").write_bytes(gzip.compress(data))
    refused(read_idx, tmp_path / "a.idx3.gz", "takes .* TB of memory, with .* B stored; at most 1.1 GB unless")
    (tmp_path / "b.idx3.gz").write_bytes(gzip.compress(idx(8, (2**29,), b"abc")))
    refused(read_idx, tmp_path / "b.idx3.gz", "expected 536870912 bytes .* found only 3")


def test_a_gz_bomb_is_read_no_further_than_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.idx1.gz"
    path.write_bytes(gzip.compress(idx(8, (3,), bytes(50_000_000)), 1))
    refused(read_idx, path, "expected 3 bytes of data .* at least 4$")


def test_damaged_gz(tmp_path: Path) -> None:
    path = tmp_path / "a.idx1.gz"
    path.write_bytes(b"not compressed")
    refused(read_idx, path, "expected an IDX file, compressed by gzip, found damaged data")
    path.write_bytes(gzip.compress(idx(8, (3,), b"abc"))[:-9])
    refused(read_idx, path, "expected an IDX file, compressed by gzip, found damaged data")


@pytest.mark.long
@given(st.binary(max_size=60))
def test_any_bytes_give_an_array_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for name, read in [("a.idx3", read_idx), ("a.npy", read_arrays), ("a.npz", read_arrays)]:
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(data)
        with pytest.raises(DataError):
            read(path)


# HDF5


def stored(path: Path, **arrays_by_name: np.ndarray) -> Path:
    with h5py.File(path, "w") as store:
        for name, array in arrays_by_name.items():
            store[name] = array
    return path


def test_hdf5_is_mapped(tmp_path: Path) -> None:
    x, y = read_arrays(stored(tmp_path / "a.h5", images=X, labels=Y))
    assert isinstance(x, np.memmap)
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_hdf5_that_is_compressed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as store:
        store.create_dataset("x", data=X, compression="gzip")
    assert np.array_equal(read_arrays(tmp_path / "a.h5")[0], X)


def test_hdf5_does_not_lead_elsewhere(tmp_path: Path) -> None:
    other = stored(tmp_path / "other.h5", x=X)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as store:
        store["x"] = h5py.SoftLink("/y")
    refused(read_arrays, path, "'/x' is a soft link to '/y': soft links are not followed")
    with h5py.File(path, "w") as store:
        store["x"] = h5py.ExternalLink(other, "x")
    refused(read_arrays, path, "'/x' is an external link to .*: external links are not followed")
    with h5py.File(path, "w") as store:
        layout = h5py.VirtualLayout(X.shape, X.dtype)
        layout[...] = h5py.VirtualSource(other, "x", X.shape)
        store.create_virtual_dataset("x", layout)
    refused(read_arrays, path, "'/x' is a virtual dataset, whose numbers are those of others: they are not followed")
    with h5py.File(path, "w") as store:
        store.create_dataset("x", (4,), "u1", external=[(tmp_path / "secret", 0, 4)])
    refused(read_arrays, path, "'/x' has its numbers in another file, .*, which is not opened")


def test_hdf5_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    path.write_text("text")
    refused(read_arrays, path, "begins with b'text', not as an HDF5 file does")
    path.write_bytes(stored(path, x=X).read_bytes()[:-5])
    refused(read_arrays, path, "the file is damaged, or HDF5 cannot read it")
    refused(read_arrays, stored(path, x="text"), "/x: holds text, not numbers that numpy has")
    with h5py.File(path, "w") as store:
        store.create_dataset("x", (0, 4), "f4")
    refused(read_arrays, path, r"x: the array is empty: its shape is \(0, 4\)")
    with h5py.File(path, "w") as store:
        # A kilobyte of file that claims a hundred gigabytes of zeros.
        store.create_dataset("x", (10**5, 10**5), "f8", chunks=(100, 100))
    refused(read_arrays, path, r"'/x' is float64 .*, but 0 are stored$")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.idx3"])
def test_missing_files_and_folders(tmp_path: Path, name: str) -> None:
    read = read_idx if "idx" in name else read_arrays
    refused(read, tmp_path / name, "expected .*, found no such file")
    (tmp_path / name).mkdir()
    refused(read, tmp_path / name, "expected .*, found a folder")
