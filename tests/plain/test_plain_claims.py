"""Files that claim more memory than they store: what is taken is measured, in a process with a limit."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from bounded import bounded

import portable_nn as pnn
from portable_nn.core.errors import FormatError
from portable_nn.plain import open_tensors

MANY = 100_000_000


def npz(path: Path) -> None:
    np.savez_compressed(path, x=np.zeros(MANY, np.uint8))


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (MANY,), "u1", chunks=(MANY // 4,), compression="gzip", shuffle=False)
        for start in range(0, MANY, MANY // 4):
            file["x"][start : start + MANY // 4] = np.zeros(MANY // 4, np.uint8)


def nothing(path: Path, **options: object) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (MANY,), "f8", fillvalue=3, **options)


def chunked(path: Path) -> None:
    nothing(path, chunks=(1000,), compression="gzip")


def sparse_npy(path: Path) -> None:
    np.lib.format.write_array_header_1_0(
        file := path.open("wb"), {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    )
    file.truncate(file.tell() + 2**43)
    file.close()


def sparse_safetensors(path: Path) -> None:
    head = json.dumps({"x": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + 2**40)


def torch_save(member: str, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"data.pkl": b"\x80\x02}.", member: bytes(MANY)}.items():
            archive.writestr(f"x/{name}", data)


BOMBS: list[tuple[str, Callable[[Path], None], str]] = [
    ("a.npz", npz, r"takes 100 MB of memory, with .* kB stored; at most 94 MB unless PORTABLE_NN_MEMORY=1G is set"),
    ("a.h5", hdf5, r"takes 100 MB of memory, with .* kB stored; at most 94 MB unless PORTABLE_NN_MEMORY=1G is set"),
    ("b.h5", nothing, r"'/x' is float64 \(100000000,\), which takes 800000000 bytes, but 0 are stored"),
    ("c.h5", chunked, r"'/x' is float64 \(100000000,\), which takes 800000000 bytes .*, but 0 are stored"),
    ("a.npy", sparse_npy, r"takes 8.8 TB of memory, with .* kB stored; at most 94 MB unless .*=8192G is set"),
    ("a.pt", partial(torch_save, "data/0"), r"takes 100 MB of memory, with .* kB stored; at most 94 MB unless"),
    ("b.pt", partial(torch_save, "byteorder"), r"takes 100 MB of memory, with .* kB stored; at most 94 MB unless"),
    ("c.pt", partial(torch_save, "data.pkl"), r"takes 600 MB of memory, with .* kB stored; at most 94 MB unless"),
    ("a.safetensors", sparse_safetensors, r"takes 1.1 TB of memory, with .* kB stored; at most 94 MB unless"),
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "write", "reason"), BOMBS, ids=[name for name, *_ in BOMBS])
def test_a_bomb_takes_no_memory(
    tmp_path: Path, name: str, write: Callable[[Path], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    write(path)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "90M")
    found = bounded(f"print(dict(portable_nn.plain.open_tensors({str(path)!r})))")
    with pytest.raises(FormatError, match=reason):
        dict(open_tensors(path))
    assert found.text.startswith(f"FormatError: {path}: ")
    assert found.bytes < 50e6


def test_chunks_that_claim_more_bytes_than_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("x", (4096,), "u1", chunks=(4096,), compression="gzip", data=np.zeros(4096, np.uint8))
        [chunk] = [file["x"].id.get_chunk_info(0)]
    data = path.read_bytes()
    size = struct.pack("<II", chunk.size, chunk.filter_mask)  # The key of the B-tree of chunks.
    assert data.count(size) == 1
    path.write_bytes(data.replace(size, struct.pack("<II", 2**30, chunk.filter_mask)))
    with pytest.raises(FormatError, match=r"in chunks of 1073741824 bytes together, more than the file has"):
        open_tensors(path)


@pytest.mark.long
def test_a_head_of_550_000_tensors(tmp_path: Path) -> None:
    path, each = tmp_path / "a.safetensors", '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    head = "{" + ",".join(each % place for place in range(550_000)) + "}"
    assert len(head) > 32_000_000
    path.write_bytes(struct.pack("<Q", len(head)) + head.encode())
    found = bounded(f"portable_nn.plain.open_tensors({str(path)!r})")
    assert found.text == f"FormatError: {path}: holds 550,000 tensors; at most 131,072 are allowed"
    assert found.bytes < 3 * len(head)


@pytest.mark.long
def test_a_head_whose_keys_are_escaped(tmp_path: Path) -> None:
    path, each = tmp_path / "a.safetensors", '"t%d":{"dtype":"F32","shape":[0],"data_offset\\u0073":[0,0]}'
    head = "{" + ",".join(each % place for place in range(140_000)) + "}"
    path.write_bytes(struct.pack("<Q", len(head)) + head.encode())
    with pytest.raises(FormatError, match="it holds more than 131072 tensors, the most that are allowed"):
        open_tensors(path)


def test_a_sparse_weight_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(2**18), seed=0)
    net.parameters["dense_1.weight"][...] = 0
    net.save(tmp_path / "a.safetensors")
    assert np.array_equal(pnn.load(tmp_path / "a.safetensors").predict(np.ones((1, 4))), np.zeros((1, 2**18)))
    data = (tmp_path / "a.safetensors").read_bytes()
    with (tmp_path / "b.safetensors").open("wb") as file:
        head = len(data.rstrip(b"\0"))
        file.write(data[:head])
        file.truncate(len(data))
    if (tmp_path / "b.safetensors").stat().st_blocks * 512 > 2**20:
        pytest.skip("the file system has no sparse files")
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "100K")
    pnn.load(tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match=r"takes 5.2 MB of memory, with .* kB stored; at most .* unless"):
        pnn.load(tmp_path / "b.safetensors")
