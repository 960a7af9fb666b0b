"""Files that are mapped into memory, where the process may not have so many addresses."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from bounded import bounded


@pytest.mark.long
@pytest.mark.parametrize("kind", ["npy", "idx"])
def test_a_sparse_file_beyond_the_address_space_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path, rows = tmp_path / f"x.{kind}", 2**31
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 1), }}".ljust(117) + "\n"
    if kind == "npy":
        head, size = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode(), rows * 4
    else:
        head, size = b"\0\0\x0d\x02" + struct.pack(">II", rows, 1), rows * 4
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    read = {"npy": "portable_nn.data.arrays.read_arrays", "idx": "portable_nn.data.arrays.read_idx"}[kind]
    found = bounded(f"import portable_nn.data.arrays\n{read}({str(path)!r})")
    assert found.text == f"FileError: {path}: cannot be mapped into memory (8.6 GB): Cannot allocate memory"
