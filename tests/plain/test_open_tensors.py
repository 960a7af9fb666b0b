"""What all kinds of plain files have in common, and weight files of this package opened as plain ones."""

from __future__ import annotations

import gc
import hashlib
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

import portable_nn as pnn
from portable_nn.core.errors import FileError, FormatError, UsageError
from portable_nn.format import has_manifest, open_arrays
from portable_nn.plain import KINDS, Entry, open_tensors

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/b:0": np.array([1, -2], np.int64),
    "flag": np.array([True, False]),
    "one": np.float64(0.5),
    "none": np.zeros((0, 3), np.float16),
}


def write_h5(arrays, path):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


WRITERS = {
    ".safetensors": lambda arrays, path: safetensors.numpy.save_file(
        {name: np.asarray(array) for name, array in arrays.items()}, path
    ),
    ".h5": write_h5,
    ".hdf5": write_h5,
    ".npz": lambda arrays, path: np.savez(path, **arrays),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_kind_gives_what_was_written(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    WRITERS[suffix](ARRAYS, path)
    found = open_tensors(path)
    assert set(found) == set(ARRAYS)
    assert len(found) == 5
    assert "flag" in found
    assert "no" not in found
    assert found.notes == ()
    for name, array in ARRAYS.items():
        assert found.entries[name] == Entry(array.dtype.name, array.shape, array.nbytes)
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("suffix", WRITERS)
def test_arrays_belong_to_whoever_asked(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    WRITERS[suffix](ARRAYS, path)
    with open_tensors(path) as found:
        first = found["a.weight"]
        first[...] = 0
        np.testing.assert_array_equal(found["a.weight"], ARRAYS["a.weight"])
    assert first.flags.writeable
    assert first.ctypes.data % 64 == 0


@pytest.mark.parametrize("suffix", WRITERS)
def test_names_that_are_not_there(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    WRITERS[suffix](ARRAYS, path)
    found = open_tensors(path)
    with pytest.raises(KeyError, match=r"^'no'$"):
        found["no"]
    assert found.get("no") is None


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_closed_file(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    WRITERS[suffix](ARRAYS, path)
    with open_tensors(path) as found:
        kept = found["flag"]
    with pytest.raises(UsageError, match=rf"theirs{suffix}: is closed, so 'flag' cannot be read any more$"):
        found["flag"]
    assert list(found.entries) == list(found)
    np.testing.assert_array_equal(kept, ARRAYS["flag"])


def open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.long
@pytest.mark.parametrize("suffix", WRITERS)
def test_files_do_not_stay_open(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    WRITERS[suffix](ARRAYS, path)
    gc.collect()
    before = open_files()
    found = open_tensors(path)
    found["flag"]
    del found
    gc.collect()
    assert open_files() == before
    with h5py.File(path, "w"):  # HDF5 refuses to write over what it has open.
        pass


@pytest.mark.parametrize("suffix", WRITERS)
def test_several_threads_may_read_at_once(tmp_path, suffix):
    path = tmp_path / f"theirs{suffix}"
    arrays = {str(number): np.full(10_000, number, np.float32) for number in range(20)}
    WRITERS[suffix](arrays, path)
    wrong = []
    with open_tensors(path) as found:

        def read(numbers):
            wrong.extend(number for number in numbers if not np.all(found[str(number)] == number))

        threads = [threading.Thread(target=read, args=(range(start, 20, 4),)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize("suffix", [".pb", ".keras", ""])
def test_other_suffixes(tmp_path, suffix):
    known = ".safetensors, .h5, .hdf5, .nc, .nc4, .npz, .npy, .pt, .pth or .bin"
    expected = rf"m{suffix}: the name of a file of arrays ends in {known}, not in '{suffix}'$"
    with pytest.raises(UsageError, match=expected):
        open_tensors(tmp_path / f"m{suffix}")


@pytest.mark.parametrize("suffix", KINDS)
def test_no_file(tmp_path, suffix):
    with pytest.raises(FileError, match=r"does not exist$"):
        open_tensors(tmp_path / f"m{suffix}")
    (tmp_path / f"f{suffix}").mkdir()
    with pytest.raises(FileError, match=r"is a folder, not a regular file$"):
        open_tensors(tmp_path / f"f{suffix}")


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty$"),
        (b"<!DOCTYPE html><html>" + bytes(1000), "is an HTML page: the download gave a page about the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer, not the file itself"),
        (
            b"\x80\x02}q\x00." + bytes(1000),
            "is a Python pickle: it can run any code when it is loaded, and is not read",
        ),
        (b"GGUF\x03\0\0\0" + bytes(1000), "is a GGUF file"),
    ],
)
def test_what_a_file_is_instead(tmp_path, suffix, data, message):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        open_tensors(path)


@pytest.mark.parametrize("suffix", KINDS)
def test_other_kinds_under_the_name_of_this_one(tmp_path, suffix):
    kinds = {"is an HDF5 file": ".h5", "is a zip archive": ".npz", "is a numpy .npy file": ".npy"}
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "a.npz", np.zeros(3))
    write_h5(ARRAYS, tmp_path / "a.h5")
    for message, other in kinds.items():
        if KINDS[other] is not KINDS[suffix]:
            path = tmp_path / f"b{suffix}"
            path.write_bytes((tmp_path / f"a{other}").read_bytes())
            with pytest.raises(FormatError, match=message):
                open_tensors(path)


# -- weight files of this package


@pytest.fixture
def net():
    return pnn.Sequential(pnn.Input(3), pnn.Dense(4), pnn.ReLU(), pnn.Dense(2), metadata={"by": "me"}, seed=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
def test_a_weight_file_has_the_names_of_the_network(tmp_path, net, suffix):
    path = tmp_path / f"mine{suffix}"
    net.save(path)
    assert has_manifest(path)
    found = open_arrays(path)
    assert list(found) == ["dense_1.weight", "dense_1.bias", "dense_2.weight", "dense_2.bias"]
    assert found.entries["dense_1.weight"] == Entry("float32", (4, 3), 48)
    assert found.metadata == {"by": "me"}
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
def test_damage_in_a_weight_file_does_not_make_a_plain_one_of_it(tmp_path, net, suffix):
    path = tmp_path / f"mine{suffix}"
    net.save(path)
    data = path.read_bytes()
    at = data.index(b"dense_1")  # in the manifest, which comes first
    path.write_bytes(data[:at] + b"dense_7" + data[at + 7 :])
    assert has_manifest(path)
    with pytest.raises(FormatError, match="the manifest is damaged: its SHA-256 is"):
        open_arrays(path)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = open_arrays(path)
    with pytest.raises(FormatError, match=r"tensor 'dense_2.bias' is damaged or another network's"):
        dict(found)


def test_the_layers_of_an_h5_file_as_other_programs_see_them(tmp_path, net):
    """What h5py wrote anew is a weight file still, and a file of arrays for who wants one."""
    net.save(tmp_path / "mine.h5")
    with h5py.File(tmp_path / "mine.h5") as old, h5py.File(tmp_path / "new.h5", "w") as new:
        for name in old:
            old.copy(name, new)
        text = old["portable_nn"][()].decode()
    assert has_manifest(tmp_path / "new.h5")
    again = open_arrays(tmp_path / "new.h5")
    assert list(again) == ["dense_1.weight", "dense_1.bias", "dense_2.weight", "dense_2.bias"]
    assert again.metadata == {"by": "me"}
    found = open_tensors(tmp_path / "new.h5")
    assert list(found) == ["dense_1/bias", "dense_1/weight", "dense_2/bias", "dense_2/weight"]
    for each, name in ((again, "dense_1.weight"), (found, "dense_1/weight")):
        np.testing.assert_array_equal(each[name], net.parameters["dense_1.weight"], strict=True)
    assert found.metadata == {"portable_nn": text, "portable_nn.sha256": hashlib.sha256(text.encode()).hexdigest()}
